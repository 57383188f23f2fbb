"""The layers of the package, held by reading imports; what importing costs; that public names are documented."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import autograd_ff
import autograd_ff.distributed
import autograd_ff.finetuning
import autograd_ff.hub
import autograd_ff.keras
import autograd_ff.testing
import autograd_ff.text
import autograd_ff.training
import visualize

PACKAGE = Path(autograd_ff.__file__).parent
TOP = PACKAGE.parent
VISUALIZE = TOP / "visualize"

# Lowest first. A layer imports lower ones; layers of one row do not import each other.
ROWS = [
    ("errors",),
    ("engine",),
    ("rules",),
    ("kernels",),
    ("functions",),
    ("autograd",),
    ("nn", "optim", "data", "serialization"),
    ("func",),
    ("compiler",),
    ("distributed",),
    ("text",),
    ("hub",),
    ("finetuning",),
    ("testing",),
    ("training",),
    ("keras",),
    ("cli",),
    ("examples",),
    ("__main__",),
]
RANK = {layer: row for row, layers in enumerate(ROWS) for layer in layers}

# Imports upward, each inside a function and each for one reason. This list may only become shorter.
UPWARD = {
    ("functions/tensor.py", "autograd"),  # Tensor.backward is a method of the class that autograd works on
    ("autograd/gradcheck.py", "testing"),  # PyTorch has its checker under autograd, and ours is there under its name
}

HEAVY = {
    "scipy", "graphviz", "pygraphviz", "matplotlib", "safetensors", "tqdm", "hypothesis", "pytest", "torch", "jax", "numba",
    "threadpoolctl", "tensorboardX", "pandas", "IPython", "tokenizers", "transformers", "mpi4py",
}  # fmt: skip
MAY_DRAW = {"cli", "training", "keras", "testing"}  # import visualize, inside functions
AS_USERS = {"examples"}  # programs as users write them: they import what they like


def python_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def layer_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imports(source: str, path: Path) -> list[tuple[str, int, str | None]]:
    """(full dotted name, line, enclosing function or None) of everything that a module imports."""
    found: list[tuple[str, int, str | None]] = []
    package = list(path.relative_to(TOP).with_suffix("").parts)[:-1]

    def visit(node: ast.AST, function: str | None) -> None:
        if isinstance(node, ast.Import):
            found.extend((alias.name, node.lineno, function) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *(node.module.split(".") if node.module else [])]
            found.extend((".".join([*base, alias.name]), node.lineno, function) for alias in node.names)
        inside = node.name if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else function
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(ast.parse(source), None)
    return found


def violations(source: str, path: Path) -> list[str]:
    """What a module of autograd_ff imports that it may not."""
    layer, name = layer_of(path), path.relative_to(PACKAGE).as_posix()
    found: list[str] = []
    if layer in AS_USERS:
        return found
    for imported, line, function in imports(source, path):
        first, *rest = imported.split(".")
        place = f"{name}:{line}: {imported}"
        if first in HEAVY and function is None:
            found.append(f"{place}: import it inside the function that uses it")
        if first == "visualize" and not (
            function is not None and (layer in MAY_DRAW or function == "_repr_mimebundle_")
        ):
            found.append(f"{place}: only the command line and _repr_mimebundle_ draw, and import it there")
        if first != "autograd_ff" or name == "__init__.py":
            continue
        target = rest[0] if rest else ""
        if target not in RANK:
            found.append(f"{place}: the package itself hands names on and is imported by no layer")
        elif target != layer and RANK[target] >= RANK[layer] and ((name, target) not in UPWARD or function is None):
            found.append(f"{place}: {layer} is not above {target}")
    return found


@pytest.mark.parametrize("path", python_files(PACKAGE), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_layers_import_only_lower_ones(path):
    assert violations(path.read_text(), path) == []


def test_every_file_has_its_layer():
    layers = {layer_of(path) for path in python_files(PACKAGE)} - {"__init__"}
    assert layers <= set(RANK), f"give {layers - set(RANK)} a place among the layers"


def test_upward_imports_are_still_there():
    """The list of exceptions does not outlive them."""
    for name, target in UPWARD:
        path = PACKAGE / name
        used = [one for one, _, _ in imports(path.read_text(), path) if one.startswith(f"autograd_ff.{target}")]
        assert used, f"{name} no longer imports {target}: take it off the list"


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("engine/new.py", "from ..functions.tensor import Tensor"),
        ("engine/new.py", "from .. import functions"),
        ("engine/new.py", "import autograd_ff.rules.linalg"),
        ("engine/new.py", "import autograd_ff"),
        ("engine/new.py", "def f():\n    from ..functions import Tensor"),
        ("rules/new.py", "from ..kernels import linear"),
        ("nn/new.py", "from ..optim import SGD"),
        ("nn/utils/new.py", "from ...optim.sgd import SGD"),
        ("functions/tensor.py", "from ..autograd import grad"),
        ("functions/new.py", "from .. import no_grad"),
        ("functions/new.py", "import scipy.special"),
        ("data/new.py", "from tqdm import tqdm"),
        ("cli/new.py", "import visualize"),
        ("nn/new.py", "def show(self):\n    import visualize"),
    ],
)
def test_planted_imports_are_found(name, source):
    assert violations(source, PACKAGE / name)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("engine/new.py", "from ..errors import GraphError\nfrom .op import Op\nimport numpy as np"),
        ("nn/utils/new.py", "from ...functions import Tensor\nfrom ..module import Module"),
        ("functions/new.py", "def erf(x):\n    import scipy.special"),
        ("cli/new.py", "def graph():\n    import visualize"),
        ("functions/tensor.py", "def _repr_mimebundle_(self):\n    from visualize import render"),
        ("functions/tensor.py", "def backward(self):\n    from ..autograd.differentiate import backward"),
        ("testing/new.py", "from ..nn import Module"),
    ],
)
def test_right_imports_pass(name, source):
    assert violations(source, PACKAGE / name) == []


@pytest.mark.parametrize("path", python_files(VISUALIZE), ids=lambda path: path.name)
def test_visualize_imports_nothing_heavy(path):
    outside = [
        f"{path.name}:{line}: {name}"
        for name, line, function in imports(path.read_text(), path)
        if name.split(".")[0] in HEAVY and function is None
    ]
    assert outside == []


@pytest.mark.parametrize(
    "module",
    ["autograd_ff", "visualize", "autograd_ff.testing", "autograd_ff.training", "autograd_ff.keras", "autograd_ff.hub"],
)
def test_importing_brings_numpy_and_nothing_heavier(module):
    code = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "numpy" in loaded
    assert loaded & HEAVY == set()
    if module == "autograd_ff":
        assert "visualize" not in loaded


def test_importing_leaves_the_loop_generator_for_those_who_fuse():
    code = "import sys, autograd_ff; print('autograd_ff.compiler.loops' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_package_is_typed_and_small_files_stay_small():
    assert (PACKAGE / "py.typed").exists()
    assert (VISUALIZE / "py.typed").exists()
    long = {
        path.relative_to(TOP).as_posix(): count
        for path in (*python_files(PACKAGE), *python_files(VISUALIZE))
        if (count := len(path.read_text().splitlines())) >= 900
    }
    assert long == {}


def test_every_module_says_what_it_is_for():
    silent = [
        path.relative_to(TOP).as_posix()
        for path in (*python_files(PACKAGE), *python_files(VISUALIZE))
        if path.name != "__main__.py" and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


# ---------------------------------------------------------------- documentation


# The modules whose names users write.
FACES = [
    autograd_ff, autograd_ff.autograd, autograd_ff.func, autograd_ff.nn, autograd_ff.nn.functional, autograd_ff.nn.init,
    autograd_ff.nn.utils, autograd_ff.optim, autograd_ff.optim.lr_scheduler, autograd_ff.data, autograd_ff.datasets,
    autograd_ff.transforms, autograd_ff.testing, autograd_ff.nn.regularizers, visualize,
    autograd_ff.training, autograd_ff.training.callbacks, autograd_ff.training.metrics, autograd_ff.hub, autograd_ff.text,
    autograd_ff.finetuning, autograd_ff.distributed,
    autograd_ff.keras, *(getattr(autograd_ff.keras, name) for name in autograd_ff.keras.__all__ if name.islower()),
]  # fmt: skip


def public() -> dict[str, object]:
    """The functions and classes that users are handed, by their qualified names; errors aside, which say all in a line."""
    found = {
        f"{face.__name__}.{name}": getattr(face, name)
        for face in FACES
        for name in getattr(face, "__all__", None) or [name for name in vars(face) if not name.startswith("_")]
    }
    return {
        name: one
        for name, one in found.items()
        if (inspect.isfunction(one) or (inspect.isclass(one) and not issubclass(one, Exception)))
        and one.__module__.split(".")[0] in ("autograd_ff", "visualize")
    }


def test_public_names_have_docstrings_with_an_example():
    assert len(public()) > 300
    without = sorted(name for name, one in public().items() if not inspect.getdoc(one))
    assert without == [], "no docstring"
    no_example = sorted(name for name, one in public().items() if ">>>" not in (inspect.getdoc(one) or ""))
    assert no_example == [], "no doctest"


def test_public_functions_are_typed():
    untyped = sorted(
        name
        for name, one in public().items()
        if inspect.isfunction(one)
        and any(
            annotation is inspect.Signature.empty
            for annotation in (
                inspect.signature(one).return_annotation,
                *(parameter.annotation for parameter in inspect.signature(one).parameters.values()),
            )
        )
    )
    assert untyped == []
