"""A failure as a file: what is written fails by itself, on the smallest inputs, and passes once the op is mended."""

from __future__ import annotations

import importlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff.autograd import Function
from autograd_ff.engine import wrap
from autograd_ff.testing import gradcheck
from autograd_ff.testing.shrink import shrink
from autograd_ff.testing.sources import NoSourceError, SourceFile, literal

FACTOR = 2  # wrong: 3
np_alias = np


def scaled(x, factor):
    return np_alias.multiply(x, factor)


class Cube(Function):
    """x³, with a wrong gradient."""

    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x)
        ctx.scale = scale
        return scaled(x**3, scale)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return scaled(gradient * FACTOR * x**2, ctx.scale), None


def network(x, w):
    return Cube.apply(np.tanh(x @ w), 0.5).sum()


def cut(pair, exponent):
    return (pair["a"] ** exponent * pair["b"].detach()).sum()


def dropped(x):
    """Wrong where the mask lets something through."""
    return x * 1e-3 + af.nn.functional.dropout(x * x.detach(), 0.7)


def run_file(path):
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n0", str(path)],
        capture_output=True, text=True, cwd=path.parent, check=False,
    )  # fmt: skip


def saved(report, path):
    assert report.verdict == "FAIL", report
    assert report.save(path) == str(path)
    return path.read_text(encoding="utf-8")


def test_the_guilty_function_alone_fails_again_in_its_own_file(tmp_path):
    path = tmp_path / "test_repro.py"
    random = np.random.default_rng(0)
    text = saved(gradcheck(network, (random.normal(size=(5, 4)), random.normal(size=(4, 3)))), path)
    assert "exact((), '0x1.4p+0'" in text, "one round number is enough"
    assert "class Cube(Function)" in text
    assert "def network" not in text
    assert "FACTOR = 2" in text
    assert "import numpy as np_alias" in text
    outcome = run_file(path)
    assert outcome.returncode == 1, outcome.stdout
    assert "guilty: Cube" in outcome.stdout
    path.write_text(text.replace("FACTOR = 2", "FACTOR = 3"), encoding="utf-8")
    mended = run_file(path)
    assert mended.returncode == 0, mended.stdout


def test_where_no_op_is_guilty_the_whole_function_is_written(tmp_path):
    path = tmp_path / "test_repro.py"
    arguments = ({"a": np.arange(6.0).reshape(2, 3) + 1, "b": np.array([1.7, -2.3, 0.1])}, 3)
    text = saved(gradcheck(cut, arguments), path)
    assert "def cut" in text
    assert "{'a': exact(" in text
    assert run_file(path).returncode == 1


def test_lambdas_and_second_order(tmp_path):
    path = tmp_path / "test_repro.py"
    text = saved(gradcheck(lambda x: x * x.detach(), np.array([1.5, 2.5]), order=2), path)
    assert "function = lambda x: x * x.detach()" in text
    assert "order=2" in text
    assert run_file(path).returncode == 1


def test_what_cannot_be_written_says_why(tmp_path):
    factor = wrap(np.array(2.0))
    report = gradcheck(lambda x: x.detach() * factor, np.array([1.5]))
    with pytest.raises(NoSourceError, match="uses variables of the function around it"):
        report.save(tmp_path / "test_repro.py")
    model = af.nn.Linear(2, 1)
    report = gradcheck(model, af.ones(3, 2), lambda output: output.detach().sum() + 0 * output.sum())
    with pytest.raises(NoSourceError, match="state_dict"):
        report.save(tmp_path / "test_repro.py")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="no failure"):
        gradcheck(np.sin, np.ones(2)).save(tmp_path / "test_repro.py")


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 5), columns=st.integers(1, 5), where=st.integers(0, 24))
@settings(max_examples=40)
def test_shrinking_keeps_the_failure_and_finds_its_place(seed, rows, columns, where):
    x = np.random.default_rng(seed).uniform(0.1, 1, (rows, columns))
    x.flat[where % x.size] = 100.5
    (least,) = shrink([x], lambda leaves: bool(np.any(leaves[0] > 50)))
    assert least.size == 1
    assert least > 50


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_shrinking_cuts_dimensions_that_belong_together(seed):
    random = np.random.default_rng(seed)
    left, right = random.normal(size=(4, 5)), random.normal(size=(5, 3))

    def fails(leaves):
        try:
            return bool(np.all(np.isfinite(leaves[0] @ leaves[1]))) and leaves[0].ndim == 2
        except ValueError:
            return False

    one, two = shrink([left, right], fails)
    assert one.shape == (1, 1)
    assert two.size == 1


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
        lambda part: st.one_of(st.lists(part), st.tuples(part), st.dictionaries(st.text(), part)),
        max_leaves=8,
    )
)
@settings(max_examples=60)
def test_literals_give_the_same_value(value):
    text = literal(value)
    assert eval(text) == value


def test_sources_name_what_they_need():
    file = SourceFile()
    assert file.include(Cube) == "Cube"
    imports, definitions = file.text()
    assert "import numpy as np_alias" in imports
    assert definitions.index("FACTOR = 2") < definitions.index("class Cube")
    space = {}
    exec(f"{imports}\n{definitions}", space)
    assert space["Cube"].apply(af.tensor([2.0]), 1.0).tolist() == [8.0]
    with pytest.raises(NoSourceError):
        literal(object())


# -------------------------------------------------------------------- files that stand by themselves

HEAD = """
import numpy as np
import autograd_ff as af
from autograd_ff.autograd import Function
from autograd_ff.testing import gradcheck
"""

CASES = {
    "a target is a constant": (
        """
class MSE(Function):
    @staticmethod
    def forward(ctx, p, t):
        ctx.save_for_backward(p, t)
        return ((p - t) ** 2).sum()
    @staticmethod
    def backward(ctx, g):
        p, t = ctx.saved_tensors
        return 3 * g * (p - t), None
def report():
    return gradcheck(lambda p: MSE.apply(p, af.tensor([0.3, 0.1])), np.array([1.51, 2.52]))
""",
        ("3 * g", "2 * g"),
    ),
    "only one argument of the function is checked": (
        """
def loss(x, pair):
    return (WRONG(x) * pair[0] * pair[1].detach()).sum()
def WRONG(x):
    return x * x.detach()
def report():
    x = af.tensor([1.5, 2.5], requires_grad=True)
    return gradcheck(loss, (x, [af.tensor([2.0, 3.0]), np.array([4.0, 5.0])]))
""",
        ("x * x.detach()", "x * x"),
    ),
    "globals with the names of locals": (
        """
x = af.zeros(100, 100)
ctx = object()
g = object()
class Double(Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2
    @staticmethod
    def backward(ctx, g):
        return [3 * one for one in [g]][0]
def report():
    return gradcheck(Double.apply, np.array([1.5]))
""",
        ("3 * one", "2 * one"),
    ),
    "numbers that are not finite": (
        """
LOWEST = -float("inf")
LIMITS = {"low": LOWEST, "high": [float("inf"), (float("nan"),)]}
TABLE = np.array([np.inf, np.nan, 1.0])
class Bounded(Function):
    @staticmethod
    def forward(ctx, x, limits):
        assert limits["high"][0] == LIMITS["high"][0] == TABLE[0] and np.isnan(TABLE[1])
        return af.maximum(x, LOWEST) * 2
    @staticmethod
    def backward(ctx, g):
        return 3 * g, None
def report():
    return gradcheck(lambda x: Bounded.apply(x, LIMITS), np.array([1.5]))
""",
        ("3 * g", "2 * g"),
    ),
    "functions of a module beside it": (
        """
from helpers import twice as double, Base
class Double(Base):
    @staticmethod
    def backward(ctx, g):
        return double(g) * 1.5
def report():
    return gradcheck(Double.apply, np.array([1.5]))
""",
        ("1.5", "1"),
    ),
    "a module beside it": (
        """
import helpers as tools
class Double(tools.Base):
    @staticmethod
    def backward(ctx, g):
        return tools.twice(g) * tools.FACTOR * 1.5
def report():
    return gradcheck(lambda x: Double.apply(x) * tools.FACTOR, np.array([1.5]))
""",
        ("1.5", "1"),
    ),
    "types only the checker of types sees": (
        """
from typing import TYPE_CHECKING, Any
if TYPE_CHECKING:
    from nowhere import Context
Gradient = object()
class Double(Function):
    @staticmethod
    def forward(ctx: Context, x: Any) -> Nothing:
        y: Gradient = x
        return y * 2
    @staticmethod
    def backward(ctx: "Context", g: Gradient):
        return 3 * g
def report():
    return gradcheck(Double.apply, np.array([1.5]))
""",
        ("3 * g", "2 * g"),
    ),
    "names that the file uses itself": (
        """
import autograd_ff as np
import numpy as exact_
checked = 1
class x(Function):
    @staticmethod
    def forward(ctx, p, t):
        return exact.apply(p) * exact_.float64(checked) + 0 * t
    @staticmethod
    def backward(ctx, g):
        return 2 * g * np.ones(()), None
class exact(Function):
    @staticmethod
    def forward(ctx, p):
        return p * 1
    @staticmethod
    def backward(ctx, g):
        return g
def report():
    return gradcheck(lambda p: x.apply(p, np.ones(1)), np.tensor([1.5]))
""",
        ("2 * g", "1 * g"),
    ),
    "attributes set later": (
        """
class Tail(Function):
    factor = 5
    other: int
    @staticmethod
    def forward(ctx, x):
        return x * Tail.factor * Tail.other
    @staticmethod
    def backward(ctx, g):
        return 3 * g * Tail.factor * Tail.other
Tail.factor = 2
Tail.other = 7
def report():
    return gradcheck(Tail.apply, np.array([1.5]))
""",
        ("3 * g", "g"),
    ),
    "globals of all sorts": (
        """
from math import sqrt
from numpy import exp
from scipy.special import expit
from collections import OrderedDict
half, single, Single, LAST = np.int64(3), np.float32(2), np.float32, slice(0, None)
WEIGHT = af.tensor([2.0, float("inf")])
EMPTY = np.zeros((0, 3), int)
dtype = np.dtype("float64")
square = lambda value: value * value
class Mixed(Function):
    @staticmethod
    def forward(ctx, x, empty):
        assert empty.shape == EMPTY.shape == (0, 3) and empty.dtype == EMPTY.dtype
        ctx.save_for_backward(x)
        assert isinstance(single, Single) and OrderedDict and af.zeros(1, dtype=dtype).dtype == dtype
        return exp(x[LAST]) * sqrt(4.0) * half * single * WEIGHT[0] * expit(0.0) * square(1)
    @staticmethod
    def backward(ctx, g):
        return g * exp(ctx.saved_tensors[0]) * 13, None
def report():
    return gradcheck(lambda x: Mixed.apply(x, EMPTY), np.array([1.5]))
""",
        ("* 13", "* 12"),
    ),
    "classes that something else made, and a counter": (
        """
from enum import Enum
from typing import NamedTuple
class Mode(Enum):
    ON = 1
class Pair(NamedTuple):
    first: object
    second: object = None
MODE = Mode.ON
calls = 0
def product(pair):
    global calls
    calls += 1
    return pair.first * pair.second.detach() if MODE is Mode.ON else None
def report():
    return gradcheck(product, (Pair(np.array([1.5]), np.array([2.5])),))
""",
        (".detach()", ""),
    ),
    "defaults of a loop, and a wrapped function": (
        """
import functools
def once(function):
    @functools.wraps(function)
    def inner(*arguments):
        return function(*arguments) * 1
    return inner
@once
def product(x):
    return x * x.detach()
functions = [lambda x, k=k: product(x) * k / k for k in (1.0, 0.0)]
k = 0.0
def report():
    return gradcheck(functions[0], np.array([1.5]))
""",
        (".detach()", ""),
    ),
    "a class that was renamed": (
        """
class Double(Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2
    @staticmethod
    def backward(ctx, g):
        return 3 * g
Double.__name__ = '<b>\\"\\"\\"&\\\\x\\r'
def report():
    return gradcheck(Double.apply, np.array([1.5]))
""",
        ("3 * g", "2 * g"),
    ),
    "corners": (
        """
class Hard(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return af.clamp(x, -1, 1) + af.relu(x) + abs(x - 0.5)
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 1.5 * g * ((abs(x) < 1) + (x > 0) + af.sign(x - 0.5))
def report():
    return gradcheck(Hard.apply, np.array([[0.31, 0.7, 0.93], [-0.2, 0.11, 3.1]]))
""",
        ("1.5 * g", "g"),
    ),
    "a static method and a once differentiable backward": (
        """
class Holder:
    class Double(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2
        @staticmethod
        @af.autograd.once_differentiable
        def backward(ctx, g):
            return 3 * g
    @staticmethod
    def loss(x):
        return Holder.Double.apply(x).sum()
def report():
    return gradcheck(Holder.loss, np.array([1.5]))
""",
        ("3 * g", "2 * g"),
    ),
    "a class named as a test": (
        """
class TestDouble(Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2
    @staticmethod
    def backward(ctx, g):
        return 3 * g
def report():
    return gradcheck(TestDouble.apply, np.array([1.5]))
""",
        ("3 * g", "2 * g"),
    ),
}

HELPERS = """
FACTOR = 1
def twice(x):
    return 2 * x * FACTOR
class Base(__import__("autograd_ff").autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return twice(x)
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Runs a text as a module, with another beside it."""

    def load(text, name="program"):
        folder = tmp_path / "programs"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, name, raising=False)
        module = importlib.import_module(name)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    yield load
    for name in ("program", "helpers"):
        sys.modules.pop(name, None)


def outcome_of(text):
    """What the file's test says: None, or the error."""
    space = {"__name__": "written"}
    exec(text, space)
    (test,) = (value for name, value in space.items() if name.startswith("test_gradient_of_"))
    try:
        test()
    except AssertionError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", CASES)
def test_the_file_fails_by_itself_and_passes_when_mended(name, program, tmp_path):
    text, (wrong, right) = CASES[name]
    program(HELPERS, "helpers")
    annotations = "from __future__ import annotations\n" if "types" in name else ""
    written = saved(program(annotations + HEAD + text).report(), tmp_path / "test_repro.py")
    assert outcome_of(written).startswith("FAIL"), written
    mended = written.replace(wrong, right)
    assert mended != written
    assert outcome_of(mended) is None, mended


def test_what_was_checked_is_written_with_it(program, tmp_path):
    path = tmp_path / "test_repro.py"
    text = saved(program(HEAD + CASES["a target is a constant"][0]).report(), path)
    assert "x0 = checked((), '0x1.4p+0')" in text
    assert "x1 = exact((), " in text
    assert "(x0, x1)" in text
    assert run_file(path).returncode == 1


def test_pytest_takes_only_the_test_for_one(program, tmp_path):
    path = tmp_path / "test_repro.py"
    text = saved(program(HEAD + CASES["a class named as a test"][0]).report(), path)
    path.write_text(text.replace("3 * g", "2 * g"), encoding="utf-8")
    outcome = run_file(path)
    assert "1 passed" in outcome.stdout
    assert "warning" not in outcome.stdout


def test_the_options_of_the_check_are_written_too(tmp_path):
    path = tmp_path / "test_repro.py"
    af.manual_seed(1)
    state = af.get_rng_state()
    report = gradcheck(dropped, af.ones(4), rtol=1e-5, seed=3, full=100, frozen=True)
    text = saved(report, path)
    assert "assert_gradients(dropped, (x,), rtol=1e-05, seed=3, full=100, frozen=True)" in text
    assert np.array_equal(af.get_rng_state(), state), "the caller's random numbers stay as they are"
    assert "manual_seed" in text
    assert run_file(path).returncode == 1
    path.write_text(text.replace("x.detach()", "x"), encoding="utf-8")
    assert run_file(path).returncode == 0


BROKEN = """
class Broken(Function):
    @staticmethod
    def forward(ctx, x):
        return x * {factor}
    @staticmethod
    def backward(ctx, g):
        return 3 * g
{after}
def report():
    return gradcheck(Broken.apply, np.array([1.5]))
"""

REFUSED = {
    "a closure in a method": (
        "def make(factor):\n    "
        + BROKEN.format(factor="factor", after="").partition("def report")[0].strip().replace("\n", "\n    ")
        + "\n    return Broken\ndef report():\n    return gradcheck(make(2).apply, np.array([1.5]))",
        r"variables of the function around it \(factor\)",
    ),
    "a variable around the body of a class": (
        """
factor = 5
def make(factor):
    class Broken(Function):
        scale = factor
        @staticmethod
        def forward(ctx, x):
            return x * Broken.scale
        @staticmethod
        def backward(ctx, g):
            return 3 * g
    return Broken
def report():
    return gradcheck(make(2).apply, np.array([1.5]))
""",
        r"variables of the function around it \(factor\)",
    ),
    "an attribute without a literal": (
        BROKEN.format(factor="2", after="Broken.extra = object()"),
        "extra was set after its definition",
    ),
    "a method set later": (
        BROKEN.format(
            factor="2",
            after="def other(ctx, g):\n    return 4 * g\nother.__name__ = 'backward'\nBroken.backward = other",
        ),
        "backward was",
    ),
    "a module beside it, used as a whole": (
        "import helpers\n" + BROKEN.format(factor="(helpers.FACTOR + (helpers is None))", after=""),
        "from helpers import",
    ),
    "a global object": ("thing = object()\n" + BROKEN.format(factor="(2 + (thing is None))", after=""), "no literal"),
    "a large global": ("BIG = np.ones(10000)\n" + BROKEN.format(factor="BIG[0]", after=""), "too large"),
    "a result that depends on what ran before": (
        "import sys\n" + BROKEN.format(factor="(1 + 2 * ('program' not in sys.modules))", after=""),
        "the gradient is right there",
    ),
    "a file that does not run": (
        "import sys\n" + BROKEN.format(factor="sys.modules['program'].TWO", after="TWO = 2"),
        "KeyError: 'program'",
    ),
    "a function named as a test": (
        "def test_it(x):\n    return x * x.detach()\ndef report():\n    return gradcheck(test_it, np.array([1.5]))",
        "pytest would take",
    ),
    "a bound method": (
        "class Net:\n    def loss(self, x):\n        return x * x.detach()\n"
        "def report():\n    return gradcheck(Net().loss, np.array([1.5]))",
        "method of an object",
    ),
    "a function that depends on two of a name": (
        "import helpers\nFACTOR = 7\nfrom helpers import twice\n" + BROKEN.format(factor="FACTOR * twice(1)", after=""),
        "two different things are named FACTOR",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_not_fail_by_itself_is_refused(name, program, tmp_path):
    text, message = REFUSED[name]
    program(HELPERS, "helpers")
    path = tmp_path / "test_repro.py"
    path.write_text("what was there before", encoding="utf-8")
    report = program(HEAD + text).report()
    assert report.verdict == "FAIL"
    with pytest.raises(NoSourceError, match=message):
        report.save(path)
    assert path.read_text(encoding="utf-8") == "what was there before"


OP = """
from autograd_ff.engine import REAL, primitive
def cube(x):
    return x * x * x
crooked_cube = primitive(cube, lambda g, x: g * 2 * x * x, domain=REAL, inputs=("x",), name="crooked_cube")
"""

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[2])
{op}
import numpy as np
from autograd_ff.testing import gradcheck
print(gradcheck(lambda x: crooked_cube(x).sum(), np.array([1.5, 2.5])).save(sys.argv[1]))
"""


def run_program(tmp_path, op):
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "crooked_ops.py").write_text(OP, encoding="utf-8")
    (folder / "main.py").write_text(PROGRAM.format(op=op), encoding="utf-8")
    return subprocess.run(
        [sys.executable, str(folder / "main.py"), str(tmp_path / "test_repro.py"), str(folder)],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip


def test_an_op_of_a_module_is_imported_from_there(tmp_path):
    outcome = run_program(tmp_path, "from crooked_ops import crooked_cube")
    assert outcome.returncode == 0, outcome.stderr
    text = (tmp_path / "test_repro.py").read_text(encoding="utf-8")
    assert "crooked_ops  # registers the op" in text or "import crooked_ops" in text
    assert run_file(tmp_path / "test_repro.py").returncode == 1
    module = tmp_path / "programs" / "crooked_ops.py"
    module.write_text(OP.replace("g * 2", "g * 3"), encoding="utf-8")
    assert run_file(tmp_path / "test_repro.py").returncode == 0


def test_an_op_of_the_program_itself_is_refused(tmp_path):
    outcome = run_program(tmp_path, OP)
    assert outcome.returncode != 0
    assert "put the op into a module of its own" in outcome.stderr
    assert not (tmp_path / "test_repro.py").exists()


@pytest.mark.parametrize(
    "value",
    [
        np.int64(3), np.float32(0.1), np.float64("inf"), np.bool_(True), np.complex128(1 - 2j), complex(0.5, float("inf")),
        slice(None, float("inf"), 2), {1, 2}, frozenset({1, 2}), range(1, 9, 2), b"x\0", np.dtype("float32"), np.int8, ...,
        np.array([[np.inf, -np.nan, 0.1]], np.float32), np.zeros((0, 3), np.int16), np.array(True), np.array([1 + 2j]),
        {"a": [float("-inf"), (np.zeros((2, 0)),)]},
    ],
    ids=str,
)  # fmt: skip
def test_literals_of_other_values(value):
    found = eval(literal(value), {"np": np})
    assert type(found) is type(value)
    np.testing.assert_equal(found, value)
    if isinstance(value, np.ndarray):
        assert (found.dtype, found.shape) == (value.dtype, value.shape)


def test_a_tensor_has_a_literal():
    value = af.tensor([1.5, float("inf")], dtype=af.float32, requires_grad=True)
    found = eval(literal(value), {"np": np, "af": af})
    assert (found.dtype, found.requires_grad, found.tolist()) == (value.dtype, True, value.tolist())


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 6))
@settings(max_examples=30)
def test_rounder_numbers_are_not_those_of_corners(seed, size):
    x, y = np.random.default_rng(seed).normal(size=(2, size))
    found = shrink([x, y], lambda leaves: all(leaf.shape == (size,) and np.all(np.isfinite(leaf)) for leaf in leaves))
    numbers = np.concatenate(found)
    assert np.all(numbers * 2 % 1 != 0)
    assert np.unique(numbers).size == 2 * size
