"""The dialect of derivative rules, held by reading their source.

A rule runs on arrays and on Tensors, so it may use only what means the same on both: ``np.*`` functions, helpers of
`rules`, operators, ``.shape``, ``.ndim``, ``.dtype``. Forward functions and samplers see arrays only and are exempt.
"""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path

import numpy as np
import pytest

import autograd_ff
from autograd_ff.engine import OPS

PACKAGE = Path(autograd_ff.__file__).parent
SOURCES = sorted((PACKAGE / "rules").glob("*.py")) + sorted((PACKAGE / "kernels").glob("*.py"))

SAME_ON_BOTH = {"shape", "ndim", "dtype"}
AMBIGUOUS = (set(dir(np.ndarray)) | set(dir(autograd_ff.Tensor))) - SAME_ON_BOTH
REGISTERING = {"primitive", "kernel", "composite"}
EXEMPT_KEYWORDS = {
    "forward",
    "domain",
    "backward",
}  # a kernel's joint backward runs on arrays, its definition on Tensors
WRITES = {"copyto", "put", "putmask", "place", "fill_diagonal", "put_along_axis"}
NOT_DISPATCHED = {"vectorize", "frompyfunc", "float64", "float32"}
MAKES_ARRAYS = {"array", "asarray", "full"}  # of parameters and shapes, with a dtype; never of values
NEEDS_DTYPE = {"zeros": 2, "ones": 2, "empty": 2, "eye": 4, "tri": 4, "linspace": 6}
OF_TYPES = {"finfo", "iinfo", "issubdtype", "result_type", "dtype", "broadcast_shapes"}  # NumPy functions of no values
VALUE_NAMES = {"g", "out"} | {name for op in OPS.values() for name in (*op.inputs, *op.residuals)}


def faults(source: str) -> list[str]:
    """What the rules of a module do that the dialect forbids, each with its line."""
    tree = ast.parse(source)
    module = _Module(tree)
    found: list[str] = []
    for function in module.rules():
        _Checker(module, function, found).run()
    return found


class _Module:
    """Which functions and lambdas of a module are rules, or are called by rules."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.imports = {
            (alias.asname or alias.name).split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        } | {"np", "math"}
        self.functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        self.wrappers = self._wrappers()

    def _wrappers(self) -> set[str]:
        """Functions of the module that register ops themselves: their callers' arguments are rules too."""
        found: set[str] = set()
        for name, function in self.functions.items():
            called = {
                node.func.id
                for node in ast.walk(function)
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            }
            names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
            if called & REGISTERING and "NONDIFFERENTIABLE" not in names:
                found.add(name)
        return found

    def rules(self) -> list[ast.AST]:
        """The functions that stand as a vjp, a definition or a composite, and all that those call."""
        roots: list[ast.AST] = []
        for node in ast.walk(self.tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in REGISTERING | self.wrappers
            ):
                # The first argument of `primitive` computes forward; that of `kernel` is the definition.
                positional = node.args if node.func.id == "kernel" else node.args[1:]
                given = [*positional, *(one.value for one in node.keywords if one.arg not in EXEMPT_KEYWORDS)]
                for argument in given:
                    if isinstance(argument, ast.Lambda):
                        roots.append(argument)
                    elif isinstance(argument, ast.Name) and argument.id in self.functions:
                        roots.append(self.functions[argument.id])
            if isinstance(node, ast.FunctionDef) and any(_name_of(one) == "composite" for one in node.decorator_list):
                roots.append(node)
        found: list[ast.AST] = []
        while roots:
            root = roots.pop()
            if root in found:
                continue
            found.append(root)
            for node in ast.walk(root):
                if (
                    isinstance(node, ast.Name)
                    and node.id in self.functions
                    and not node.id.lstrip("_").startswith("draw")
                ):
                    roots.append(self.functions[node.id])
        return found


def _name_of(decorator: ast.expr) -> str:
    decorator = decorator.func if isinstance(decorator, ast.Call) else decorator
    return decorator.id if isinstance(decorator, ast.Name) else getattr(decorator, "attr", "")


class _Checker:
    def __init__(self, module: _Module, function: ast.AST, found: list[str]) -> None:
        self.module = module
        self.function = function
        self.found = found
        self.lists = {  # local names bound to a fresh list, dict or tuple: Python's own, not values
            target.id
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and _is_container(node.value)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        self.numbers = {  # local names that start as a Python number
            target.id
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        self.values = VALUE_NAMES | {
            target.id
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and self._is_numpy_call(node.value)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

    def fault(self, node: ast.AST, message: str) -> None:
        self.found.append(f"line {node.lineno}: {message}")  # type: ignore[attr-defined]

    def run(self) -> None:
        body = self.function.body
        nodes = [one for part in (body if isinstance(body, list) else [body]) for one in ast.walk(part)]
        for node in nodes:
            if isinstance(node, ast.Attribute):
                self.attribute(node)
            elif isinstance(node, ast.Call):
                self.call(node)
            elif isinstance(node, ast.AugAssign):
                if not (isinstance(node.target, ast.Name) and node.target.id in self.numbers):
                    self.fault(node, "an augmented assignment writes in place; write x = x + y")
            elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.Delete)):
                self.assignment(node)
            elif isinstance(node, (ast.If, ast.IfExp, ast.While, ast.Assert)):
                self.test(node.test)
            elif isinstance(node, ast.BoolOp):
                for value in node.values:
                    self.test(value)
            elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
                self.test(node.operand)
            elif isinstance(node, ast.comprehension):
                for condition in node.ifs:
                    self.test(condition)

    def _root(self, node: ast.AST) -> str | None:
        while isinstance(node, ast.Attribute):
            node = node.value
        return node.id if isinstance(node, ast.Name) else None

    def attribute(self, node: ast.Attribute) -> None:
        if self._root(node) in self.module.imports or self._root(node) in self.lists:
            return
        if node.attr in AMBIGUOUS:
            self.fault(node, f".{node.attr} means different things on arrays and on Tensors")

    def _is_numpy_call(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and self._root(node.func) == "np"

    def call(self, node: ast.Call) -> None:
        if not self._is_numpy_call(node):
            return
        assert isinstance(node.func, ast.Attribute)
        name = node.func.attr
        keywords = {one.arg for one in node.keywords}
        if name in WRITES or "out" in keywords or (name == "at" and isinstance(node.func.value, ast.Attribute)):
            self.fault(node, f"np.{name} writes in place")
        if name in NOT_DISPATCHED:
            self.fault(node, f"np.{name} of a Tensor does not reach its rule")
        if name in MAKES_ARRAYS and any(
            isinstance(one, ast.Name) and one.id in self.values for part in node.args for one in _walk_values(part)
        ):
            self.fault(node, f"np.{name} of a Tensor does not reach its rule")
        if name in MAKES_ARRAYS and "dtype" not in keywords:
            self.fault(node, f"np.{name} without a dtype")
        if name in NEEDS_DTYPE and "dtype" not in keywords and len(node.args) < NEEDS_DTYPE[name]:
            self.fault(node, f"np.{name} without a dtype makes float64")
        if isinstance(getattr(np, name, None), np.ufunc) and node.args and all(map(_is_constant, node.args)):
            self.fault(node, f"np.{name} of constants is a float64 scalar; use math")
        if name in ("prod", "cumprod") and node.args and _mentions_shape(node.args[0]):
            self.fault(node, f"np.{name} of a shape; use math.prod")

    def assignment(self, node: ast.Assign | ast.AnnAssign | ast.Delete) -> None:
        targets = node.targets if isinstance(node, (ast.Assign, ast.Delete)) else [node.target]
        for target in targets:
            for part in target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]:
                if isinstance(part, ast.Attribute) or (
                    isinstance(part, ast.Subscript)
                    and not (isinstance(part.value, ast.Name) and part.value.id in self.lists)
                ):
                    self.fault(part, "writes in place")

    def test(self, node: ast.expr) -> None:
        """A condition may look at shapes, dtypes and parameters, never at values."""
        if isinstance(node, (ast.BoolOp,)) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)):
            return  # its operands are tested on their own
        if isinstance(node, ast.Compare) and any(isinstance(one, (ast.Is, ast.IsNot)) for one in node.ops):
            return
        for part in _walk_values(node):
            if isinstance(part, ast.Name) and part.id in self.values:
                self.fault(node, f"a branch on the value of {part.id}; compute a mask")
            elif isinstance(part, ast.Call) and self._is_numpy_call(part) and part.func.attr not in OF_TYPES:
                self.fault(node, "a branch on the result of a NumPy function; compute a mask")


def _walk_values(node: ast.AST) -> list[ast.AST]:
    """The nodes of an expression except what stands under .shape, .ndim, .dtype, len() and isinstance()."""
    if isinstance(node, ast.Attribute) and node.attr in SAME_ON_BOTH:
        return []
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("len", "isinstance", "hasattr")
    ):
        return []
    found = [node]
    for child in ast.iter_child_nodes(node):
        found += _walk_values(child)
    return found


def _is_container(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp):
        return _is_container(node.left) or _is_container(node.right)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in ("list", "dict", "sorted", "set", "tuple")
    return isinstance(node, (ast.List, ast.ListComp, ast.Dict, ast.DictComp, ast.Set, ast.SetComp))


def _is_constant(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, (int, float, complex))
    if isinstance(node, ast.BinOp):
        return _is_constant(node.left) and _is_constant(node.right)
    if isinstance(node, ast.UnaryOp):
        return _is_constant(node.operand)
    return isinstance(node, ast.Attribute) and node.attr in ("pi", "e", "inf", "nan", "euler_gamma")


def _mentions_shape(node: ast.AST) -> bool:
    return any(isinstance(one, ast.Attribute) and one.attr == "shape" for one in ast.walk(node))


# ---------------------------------------------------------------- the rules as they are


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_rules_keep_to_the_dialect(path):
    assert faults(path.read_text()) == []


def test_the_reader_finds_the_rules():
    """An AST test that looks at nothing would pass."""
    count = sum(len(_Module(ast.parse(path.read_text())).rules()) for path in SOURCES)
    assert count > 150


# ---------------------------------------------------------------- the reader itself

RIGHT = [
    "primitive(np.tanh, lambda g, out: g * (1 - out * out), domain=REAL)",
    "primitive(np.sum, lambda g, meta_a, axis: np.broadcast_to(g, meta_a.shape) if axis is None else g, domain=REAL)",
    "primitive(np.matmul, lambda g, x2: g * x2 if x2.ndim == 1 else np.matmul(g, x2), domain=draw)",
    "primitive(f, lambda g, x: g * np.where(np.greater(x, 0), 1.0, 0.0), forward=lambda x: x.copy(), domain=REAL)",
    "primitive(lambda x: x.sum(), lambda g: g, domain=lambda draw: draw.array(()))",
    "primitive(f, lambda g, x: g / math.sqrt(2 / math.pi), domain=REAL)",
    """
    def _pieces(g, metas):
        index = [slice(None)] * len(g.shape)
        index[0] = slice(0, 1)
        index.append(None)
        return g[tuple(index)]
    primitive(np.concatenate, joint=_pieces, domain=draw)
    """,
    """
    def _draw_it(draw):
        array = draw.array(())
        array += 1
        return Call((array.copy(),))
    primitive(f, lambda g: g, domain=_draw_it)
    """,
    """
    def forward(x):
        x = x.copy()
        x += 1
        return x
    kernel(None, NONDIFFERENTIABLE, name="k", forward=forward, inputs=("x",), domain=REAL)
    """,
    """
    def doubling(a, widths):
        reach = 1
        for low in np.asarray(widths, dtype=np.intp):
            reach *= 2
        return a[(slice(None, reach),)]
    primitive(f, lambda g, widths: doubling(g, widths), domain=draw)
    """,
    "primitive(np.exp2, lambda g, out: g * (out * np.log(out)), domain=REAL)",
]

WRONG = [
    ("method", "primitive(np.std, lambda g, a: g * a.std(), domain=REAL)", ".std"),
    ("method of an expression", "primitive(f, lambda g, x: (g * x).sum(0), domain=REAL)", ".sum"),
    ("property", "primitive(np.matmul, lambda g, x2: g @ x2.T, domain=REAL)", ".T"),
    ("size", "primitive(np.mean, lambda g, a: g / a.size, domain=REAL)", ".size"),
    ("float64 scalar", "primitive(f, lambda g, x: g * np.sqrt(2 / np.pi), domain=REAL)", "float64 scalar"),
    ("np.log of a number", "primitive(np.exp2, lambda g, out: g * out * np.log(2), domain=REAL)", "float64 scalar"),
    ("branch on a value", "primitive(f, lambda g, x: g if x > 0 else -g, domain=REAL)", "branch on the value of x"),
    ("branch on a function", "primitive(f, lambda g, x: g if np.any(g) else -g, domain=REAL)", "branch"),
    ("and on values", "primitive(f, lambda g, x: x and g, domain=REAL)", "branch"),
    ("not on values", "primitive(f, lambda g, out: g * (not out), domain=REAL)", "branch"),
    ("out=", "primitive(f, lambda g, x: np.multiply(g, x, out=g), domain=REAL)", "writes in place"),
    ("copyto", "primitive(f, lambda g, x: np.copyto(g, x), domain=REAL)", "writes in place"),
    ("ufunc.at", "primitive(f, lambda g, x: np.add.at(g, 0, x), domain=REAL)", "writes in place"),
    ("np.array", "primitive(f, lambda g, x: g * np.array([1.0]), domain=REAL)", "without a dtype"),
    ("np.asarray of a value", "primitive(f, lambda g, x: np.asarray(g, dtype=x.dtype), domain=REAL)", "does not reach"),
    ("zeros without dtype", "primitive(f, lambda g, x: g + np.zeros(x.shape), domain=REAL)", "without a dtype"),
    ("np.prod of a shape", "primitive(np.mean, lambda g, a: g / np.prod(a.shape), domain=REAL)", "math.prod"),
    ("in the branches", "primitive(f, lambda g: g, branches=lambda x: x.argmax(), domain=REAL)", ".argmax"),
    (
        "augmented assignment",
        """
        def rule(g, x):
            g *= x
            return g
        primitive(f, rule, domain=REAL)
        """,
        "augmented",
    ),
    (
        "writing an element",
        """
        def rule(g, x):
            g[0] = 0
            return g
        primitive(f, rule, domain=REAL)
        """,
        "writes in place",
    ),
    (
        "in a helper of a helper",
        """
        def inner(x):
            return x.max()
        def outer(x):
            return inner(x)
        primitive(f, lambda g, x: g * outer(x), domain=REAL)
        """,
        ".max",
    ),
    (
        "in a definition",
        """
        def definition(x):
            return x.mean()
        kernel(definition, name="k", forward=f, inputs=("x",), domain=REAL)
        """,
        ".mean",
    ),
    (
        "in a composite",
        """
        @composite(np.var, domain=draw)
        def var(a):
            return a.mean()
        """,
        ".mean",
    ),
    (
        "through a registering helper",
        """
        def _activation(function, vjp):
            return primitive(function, vjp, domain=REAL)
        _activation(f, lambda g, x: g * x.max())
        """,
        ".max",
    ),
    (
        "branch on a computed mask",
        """
        def rule(g, x):
            mask = np.greater(x, 0)
            if mask:
                return g
            return -g
        primitive(f, rule, domain=REAL)
        """,
        "branch on the value of mask",
    ),
]


@pytest.mark.parametrize("source", RIGHT)
def test_right_rules_pass_the_reader(source):
    assert faults(textwrap.dedent(source)) == []


@pytest.mark.parametrize(("name", "source", "message"), WRONG, ids=[one[0] for one in WRONG])
def test_planted_faults_are_found(name, source, message):
    found = faults(textwrap.dedent(source))
    assert found, f"{name} passed the reader"
    assert any(message in one for one in found), found
