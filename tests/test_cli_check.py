"""``python -m autograd_ff check``: what it finds in users' files, what it says, leaves and refuses."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import autograd_ff
from autograd_ff.cli import main
from autograd_ff.engine import OPS
from autograd_ff.engine import TABLE as OP_TABLE
from autograd_ff.errors import AutogradError
from autograd_ff.testing import Report
from visualize.drawing import layout

CUBE = """\
from autograd_ff.autograd import Function


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * 2 * x**2  # wrong: the factor is 3
"""

RIGHT = """\
import numpy as np

import autograd_ff as af
from autograd_ff import nn
from autograd_ff.autograd import Function
from autograd_ff.engine import REAL, composite, primitive


def squared(x):
    return x * x


square_op = primitive(squared, lambda g, x: 2 * g * x, domain=REAL, inputs=("x",), name="cli_square")


@composite(domain=(REAL, REAL), name="cli_middle")
def middle(x1, x2):
    return x1 + 0.5 * (x2 - x1)


class Scaled(Function):
    @staticmethod
    def forward(ctx, x, y, factor: float):
        assert x.shape == y.shape
        ctx.save_for_backward(x, y)
        ctx.factor = factor
        return x * y * factor

    @staticmethod
    def backward(ctx, gradient):
        x, y = ctx.saved_tensors
        return gradient * y * ctx.factor, gradient * x * ctx.factor, None


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(7, 5)
        self.drop = nn.Dropout(0.4)
        self.out = nn.Linear(5, 2)

    def forward(self, x):
        return self.out(self.drop(self.hidden(x).tanh()))


def mish(x):
    return x * np.tanh(np.log1p(np.exp(x)))
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Writes files into the folder that commands run in; what they register and import is forgotten afterwards."""
    ops, table, modules, path = dict(OPS), dict(OP_TABLE), set(sys.modules), list(sys.path)
    monkeypatch.chdir(tmp_path)

    def write(**texts: str) -> None:
        for name, text in texts.items():
            target = tmp_path / f"{name}.py"
            target.parent.mkdir(exist_ok=True, parents=True)
            target.write_text(text)

    yield write
    for kept, now in ((ops, OPS), (table, OP_TABLE)):
        for key in set(now) - set(kept):
            del now[key]
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    sys.path[:] = path


@pytest.fixture
def check(capsys):
    """Runs ``check``; gives exit code, standard output and standard error."""

    def run(*options: str):
        capsys.readouterr()
        try:
            code = main(["check", *options])
        except SystemExit as leaving:  # of argparse
            code = leaving.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


# ---------------------------------------------------------------- what it finds


def test_a_wrong_function_is_found_and_localised(files, check):
    files(cube=CUBE)
    code, out, err = check("cube.py")
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert lines[0] == "FAIL  Cube (Function, cube.py:4): x 3x4 from -2 to 2, seed 0"
    assert lines[1].startswith("  FAIL: gradient of 1 input")
    assert lines[2].startswith("    guilty: Cube (Function)")
    assert "likely cause: a factor: the gradient is 2/3 of what it should be" in out
    assert lines[-1] == "To draw what is wrong, and to keep it as a test: --output FOLDER"
    assert len(lines) < 16


@pytest.mark.parametrize("target", ["cube.py", "cube.py:Cube", "cube:Cube", "cube", "cube:Cube.apply", "./cube.py"])
def test_ways_to_name_it(files, check, target):
    files(cube=CUBE)
    code, out, _ = check(target)
    assert code == 1
    assert "guilty: Cube (Function)" in out


def test_the_right_one_passes(files, check):
    files(cube=CUBE.replace("gradient * 2", "gradient * 3"))
    assert check("cube.py") == (
        0,
        "PASS  Cube (Function, cube.py:4): x 3x4; x 4; x scalar from -2 to 2; 3 examples\n",
        "",
    )
    code, out, _ = check("cube.py", "--order", "2", "--examples", "1", "--shape", "2x3")
    assert (code, out) == (
        0,
        "PASS  Cube (Function, cube.py:4): x 2x3 from -2 to 2; 1 example, first and second order\n",
    )


def test_all_that_a_file_defines(files, check):
    files(right=RIGHT)
    code, out, err = check("right.py")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "PASS  square_op (primitive, right.py:13): 10 examples from its domain",
        "PASS  middle (composite, right.py:16): 10 examples from its domain",
        "PASS  Scaled (Function, right.py:21): x 3x4, y 3x4, factor=0.5; x 4, y 4, factor=0.5; "
        "x scalar, y scalar, factor=0.5 from -2 to 2; 3 examples",
        "PASS  Net (Module, right.py:35): 4 parameters, x 4x7 from -2 to 2; 3 examples",
        "4 of 4 pass",
    ]


# Each a line of RIGHT made wrong, and who is found guilty of it.
FAULTS = {
    "a factor": ("2 * g * x,", "g * x,", r"square_op \(primitive(.|\n)*guilty: cli_square"),
    "an input's value": ("gradient * y * ctx.factor,", "gradient * x * ctx.factor,", "guilty: Scaled"),
    "another input": ("gradient * x * ctx.factor, None", "gradient * x, None", "guilty: Scaled"),
    "a cut": ("x1 + 0.5 *", "np.asarray(x1.tolist()) + 0.5 *", "middle(.|\n)*cut at tolist"),
    "off by 0.1 %": ("2 * g * x,", "2.002 * g * x,", "guilty: cli_square"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_planted_faults_are_found(files, check, name):
    before, after, said = FAULTS[name]
    assert before in RIGHT
    files(planted=RIGHT.replace(before, after))
    code, out, _ = check("planted.py")
    assert code == 1
    assert out.count("FAIL  ") == 1
    assert re.search(said, out)
    assert re.search("^3 of 4 pass$", out, re.MULTILINE)


def test_a_module_with_a_wrong_function_inside(files, check):
    text = "from autograd_ff import nn\nfrom cube import Cube\n\n\nclass Net(nn.Module):\n"
    text += "    def __init__(self, width):\n        super().__init__()\n        self.fc = nn.Linear(width, 3)\n\n"
    text += "    def forward(self, x):\n        return Cube.apply(self.fc(x))\n\n\n"
    files(cube=CUBE, net=text + "small = Net(5)\n", bare=text)
    code, out, _ = check("net.py")
    assert code == 1
    assert out.startswith("FAIL  small (Module, net.py:5): x 4x5 from -2 to 2, seed 0")
    assert re.search(r"guilty: Cube \(Function\), .*net.py:11: return Cube.apply\(self.fc\(x\)\)", out)
    assert "fc.weight" in out
    assert "Cube (Function, cube.py" not in out, "only what the file itself defines"
    # of a class that needs arguments there is nothing to check
    code, out, _ = check("bare.py")
    assert code == 1
    assert out.startswith("NOT CHECKED  Net (Module, bare.py:5): it needs arguments: width\n  Make an instance")


def test_a_plain_function(files, check):
    files(right=RIGHT)
    code, out, _ = check("right:mish")
    assert (code, out.split(":")[0]) == (0, "PASS  mish (function, right.py")
    code, out, err = check("right.py:mish", "--shape", "scalar", "--examples", "2", "--low", "0", "--high", "50")
    assert (code, err) == (0, "")
    assert out.endswith(": x scalar from 0 to 50; 2 examples\n")


def test_numbers_are_guessed_where_the_outputs_are_finite(files, check):
    files(
        logs="def logs(x):\n    return x.log() + (x * 0.1).sqrt()\n\n\ndef edge(x):\n    return (1 - x).log() * x.log()\n"
    )
    assert "x 3x4; x 4; x scalar from 0.2 to 2; 3 examples" in check("logs.py:logs")[1]
    assert check("logs.py:edge", "--low", "0.1", "--high", "0.9")[0] == 0
    code, out, _ = check("logs.py:logs", "--high", "-1")
    assert code == 1
    assert out.startswith("NONFINITE  logs")
    assert "--output" not in out, "there is nothing wrong to draw"


def test_shapes_are_guessed_until_it_runs(files, check):
    text = "import autograd_ff as af\n\n\ndef product(x, w):\n    return x @ w\n\n\n"
    text += "def layer(x, w, b):\n    assert w.shape[1] == b.shape[0] != x.shape[0]\n    return x @ w + b\n\n\n"
    text += "def images(x):\n    assert x.ndim == 4\n    return x.mean((2, 3))\n\n\n"
    text += "def joined(parts):\n    return af.cat(parts)\n\n\ndef counted(x):\n    return x.argmax()\n"
    files(shapes=text)
    assert "x 3x4, w 4x2" in check("shapes.py:product")[1]
    assert "x 3x4, w 4x2, b 2 from" in check("shapes.py:layer")[1]
    assert "x 2x3x4x4 from" in check("shapes.py:images")[1]
    code, out, _ = check("shapes.py:product", "--shape", "5", "5x1")
    assert (code, "x 5, w 5x1" in out) == (0, True)
    code, out, _ = check("shapes.py:joined")
    assert code == 1
    assert re.match(r"NOT CHECKED  joined .*: it does not run on parts 3x4: DtypeError at shapes.py:19: cat takes", out)
    assert out.endswith("\n  Write a function of Tensors alone that calls joined, and name that: file.py:name\n")
    assert "returns no floating Tensor, but Tensor" in check("shapes.py:counted")[1]


def test_verdicts_other_than_fail(files, check):
    text = "import random\nimport autograd_ff as af\n\n\ndef noisy(x):\n    return x * random.random()\n\n\n"
    text += "def dropped(x):\n    return af.nn.functional.dropout(x, 0.5)\n\n\n"
    text += "def kinked(x):\n    y = x - x.detach()\n    return af.relu(y) - af.relu(-y)\n"
    files(odd=text)
    code, out, _ = check("odd.py:noisy")
    assert (code, out.split()[0]) == (1, "NONDETERMINISTIC")
    assert check("odd.py:dropped")[0] == 0, "dropout draws the same mask in each evaluation"


def test_what_backward_raises_is_a_failure(files, check):
    wrong = CUBE.replace("return gradient * 2", "raise ValueError('no idea')\n        return gradient * 2")
    files(raising=wrong, half=CUBE.split("    @staticmethod\n    def backward")[0])
    code, out, err = check("raising.py")
    assert (code, err) == (1, "")
    assert out.startswith("FAIL  Cube (Function, raising.py:4): x 3x4")
    assert "backward raised ValueError: no idea" in out
    code, out, _ = check("half.py")
    assert (code, out) == (1, "NOT CHECKED  Cube (Function, half.py:4): it has no backward\n")


def test_seeds_and_examples(files, check):
    late = CUBE.replace("gradient * 2 * x**2", "gradient * (2 if x.detach().numpy().flat[0] > 1.2 else 3) * x**2")
    files(late=late)
    assert check("late.py", "--shape", "3", "--examples", "1")[0] == 0
    code, out, _ = check("late.py", "--shape", "3", "--examples", "20")
    assert code == 1
    found = re.search(r"seed (\d+)", out)[1]
    assert check("late.py", "--shape", "3", "--examples", "1", "--seed", found)[0] == 1


def test_networks_made_on_import_are_the_same_again(files, check):
    text = "from autograd_ff import nn\nfrom cube import Cube\n\nnet = nn.Sequential(nn.Linear(3, 2))\n\n\n"
    text += "def loss(x):\n    return Cube.apply(net(x)).sum()\n"
    files(cube=CUBE, one=text, two=text)
    first, second = (check(f"{name}.py:loss", "--shape", "4x3", "--seed", "5")[1] for name in ("one", "two"))
    assert first.replace("one.py", "two.py") == second
    assert first.startswith("FAIL")


def test_a_file_in_a_package_may_import_relatively(files, check):
    user = "from .cube import Cube\n\n\ndef f(x):\n    return Cube.apply(x)\n"
    files(**{"pack/__init__": "", "pack/cube": CUBE, "pack/user": user})
    for target in ("pack/user.py:f", "pack.user:f"):
        code, out, _ = check(target)
        assert code == 1
        assert re.search(r"guilty: Cube \(Function\), .*user.py:5: return Cube.apply\(x\)", out)


# ---------------------------------------------------------------- users' code that does as it likes


LEAVING = """\
import sys

from autograd_ff import nn
from autograd_ff.autograd import Function


class Strange(BaseException):
    pass


class Mute(Exception):
    def __str__(self):
        raise ValueError


def leaves(x):
    sys.exit(0)


def strange(x):
    raise Strange("never seen")


def mute(x):
    raise Mute


class Late(Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        sys.exit(0)


class Made(nn.Module):
    def __init__(self):
        sys.exit(0)

    def forward(self, x):
        return x


class Twice(Late):
    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2


def __getattr__(name):
    if name == "lazy":
        sys.exit(0)
    raise AttributeError(name)
"""


def test_code_that_ends_the_program_is_an_error_like_others(files, check):
    files(leaving=LEAVING)
    code, out, err = check("leaving.py:leaves")
    assert (code, err) == (1, "")
    assert out.startswith("ERROR  leaves (function, leaving.py:16): x 3x4\n")
    assert "it ends the program by sys.exit(0) at leaving.py:17" in out
    code, out, err = check("leaving.py:strange")
    assert (code, err) == (1, "")
    assert out.startswith("ERROR  strange")
    assert "Strange at leaving.py:21: never seen" in out
    assert "Mute at leaving.py:25" in check("leaving.py:mute")[1]
    assert check("leaving.py:lazy") == (
        2,
        "",
        "error: leaving.py:lazy cannot be read: it ends the program by sys.exit(0) at leaving.py:54\n",
    )


def test_others_are_checked_after_one_that_ends_the_program(files, check):
    files(leaving=LEAVING)
    code, out, err = check("leaving.py")
    assert (code, err) == (1, "")
    assert [line.split(" (")[0] for line in out.splitlines() if not line.startswith(" ")] == [
        "ERROR  Late",
        "PASS  Twice",
        "ERROR  Made",
        "1 of 3 pass",
    ]
    assert "x 3x4 from -2 to 2, seed 0\n  it ends the program by sys.exit(0) at leaving.py:35" in out
    assert "sys.exit(0) at leaving.py:40" in out


def test_an_op_that_ends_the_program(files, check):
    files(planted=RIGHT.replace("2 * g * x,", "__import__('sys').exit(0),"))
    code, out, _ = check("planted.py")
    assert code == 1
    assert out.startswith("ERROR  square_op")
    assert out.endswith("3 of 4 pass\n")


def test_ctrl_c_is_still_obeyed(files, check):
    files(stopped="def f(x):\n    raise KeyboardInterrupt\n")
    assert check("stopped.py:f") == (130, "", "interrupted\n")


@pytest.mark.usefixtures("_recorded")
def test_paths_are_meant_from_where_it_was_started(files, check, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    files(cube=CUBE.replace("import Function", "import Function\nimport os\nos.chdir('elsewhere')"))
    code, out, _ = check("cube.py", "--output", "found", "--save", "test_it.py", "--picture", "wrong.svg")
    assert code == 1
    assert out.startswith("FAIL  Cube (Function, cube.py:6)")
    for one in ("found/Cube_wrong.png", "found/test_Cube_gradient.py", "test_it.py", "wrong.svg"):
        assert (tmp_path / one).is_file()
    assert not list((tmp_path / "elsewhere").iterdir())
    assert "drawn: found/Cube_wrong.png" in out
    assert "run it: pytest test_it.py\n" in out


# ---------------------------------------------------------------- arguments without a gradient, or that are no Tensors


LOSSES = """\
from autograd_ff.autograd import Function


class SquaredError(Function):
    @staticmethod
    def forward(ctx, x, t):
        ctx.save_for_backward(x, t)
        return ((x - t) ** 2).mean()

    @staticmethod
    def backward(ctx, gradient):
        x, t = ctx.saved_tensors
        return gradient * 2 * (x - t) / x.numel(), None


def loss(x, t):
    return ((x - t.detach()) ** 2).mean()


class Nothing(Function):
    @staticmethod
    def forward(ctx, x, y):
        return x + y

    @staticmethod
    def backward(ctx, gradient):
        return None, None
"""


def test_none_is_no_gradient_by_intention(files, check):
    files(losses=LOSSES, wrong=LOSSES.replace("gradient * 2", "gradient * 3"))
    code, out, err = check("losses.py:SquaredError")
    assert (code, err) == (0, "")
    assert out.endswith("; 4 examples; t: no gradient (None)\n")
    code, out, _ = check("wrong.py:SquaredError", "--order", "2")
    assert code == 1
    assert out.startswith("FAIL  SquaredError")
    assert "; t: no gradient (None)\n" in out
    assert re.search(r"guilty: SquaredError(.|\n)*d x\[", out)
    code, out, _ = check("losses.py:Nothing")
    assert (code, out.split()[0]) == (1, "FAIL"), "None for all is a return that was forgotten"


def test_constants(files, check):
    files(losses=LOSSES)
    assert check("losses.py:loss")[0] == 1
    code, out, err = check("losses.py:loss", "--constant", "t")
    assert (code, err) == (0, "")
    assert out.endswith("; t: constant\n")
    code, out, _ = check("losses.py:loss", "--constant", "t", "x")
    assert code == 1
    assert out.startswith("NOT CHECKED")
    assert out.endswith(": each of its Tensors is a constant, so there is nothing to differentiate\n")


DIRTY = """\
from autograd_ff.autograd import Function


class Doubled(Function):
    @staticmethod
    def forward(ctx, x):
        x.mul_(2)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2
"""


def test_a_function_that_writes_its_input_gets_copies(files, check):
    files(dirty=DIRTY, wrong=DIRTY.replace("gradient * 2", "gradient * 3"))
    code, out, err = check("dirty.py", "--order", "2")
    assert (code, err) == (0, "")
    assert out.endswith("; on copies of its inputs, which it writes\n")
    code, out, _ = check("wrong.py")
    assert code == 1
    assert "guilty: Doubled (Function)" in out


ARGUMENTS = """\
from typing import Optional


def keyword(x, *, factor=3.0):
    return x * factor


def needed(x, *, factor):
    return x * factor


def text(x, how: str):
    return x if how == "a" else x * 2


def defaults(x, how="a", count=2, flag=True, bias=None):
    assert (how, count, flag) == ("a", 2, True)
    return x * count if bias is None else x * count + bias


def quoted(x, how: "str | None" = None, factor: float = 3.0):
    assert (how, factor) == (None, 3.0)
    return x * factor


def optional(x, count: Optional[int], more: int | None = None):
    assert count + 0 == 2 and more is None
    return x * count


def later(how="a", x=None):
    assert how == "a"
    return x * 2


def numbers(x, sizes: list[int]):
    return x


def axes(x):
    if x.ndim != 5:
        raise ValueError("five axes")
    return x


def typo(x):
    return y  # noqa: F821
"""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["keyword"], "x 3x4; x 4; x scalar from"),
        (["defaults"], "x 3x4; x 4; x scalar from"),
        (["defaults", "--shape", "3x4", "4"], "x 3x4, how='a', count=2, flag=True, bias 4 from"),
        (["quoted"], "x 3x4; x 4; x scalar from"),
        (["optional"], "x 3x4, count=2; x 4, count=2"),
        (["later"], "how='a', x 3x4; "),
    ],
)
def test_what_is_no_tensor_gets_none(files, check, options, said):
    files(arguments=ARGUMENTS)
    code, out, err = check(f"arguments.py:{options[0]}", *options[1:])
    assert (code, err) == (0, "")
    assert said in out


@pytest.mark.parametrize(
    ("name", "said", "way_out"),
    [
        ("needed", "it needs keyword-only arguments: factor", "Write a function of Tensors alone that calls needed"),
        ("text", "it needs a str for how", "Write a function of Tensors alone that calls text"),
        ("numbers", "it needs a list for sizes", "Write a function of Tensors alone that calls numbers"),
        ("axes", "five axes", "Give the shape of each argument: --shape"),
        ("typo", "NameError at arguments.py:47", ""),
    ],
)
def test_the_way_out_fits_the_reason(files, check, name, said, way_out):
    files(arguments=ARGUMENTS)
    code, out, err = check(f"arguments.py:{name}")
    assert (code, err) == (1, "")
    assert out.startswith("NOT CHECKED")
    first, *others = out.splitlines()
    assert said in first
    assert len(others) == bool(way_out)
    assert way_out in out


# ---------------------------------------------------------------- shapes that broadcast


PRODUCT = """\
from autograd_ff.autograd import Function


class Product(Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx, gradient):
        x, y = ctx.saved_tensors
        to_y = gradient * x
        return gradient * y, to_y
"""


def test_a_sum_that_broadcasting_needs(files, check):
    right = "to_y.sum(0) if to_y.ndim > y.ndim else to_y"
    files(
        missing=PRODUCT,
        mean=PRODUCT.replace(", to_y\n", f", {right.replace('sum', 'mean')}\n"),
        right=PRODUCT.replace(", to_y\n", f", {right}\n"),
        raising=PRODUCT.replace("        to_y =", "        if x.shape != y.shape:\n            raise ValueError\n        to_y ="),
        refusing=PRODUCT.replace("        ctx.save", "        assert x.shape == y.shape\n        ctx.save"),
    )  # fmt: skip
    for name, said in (("missing", "as the gradient of argument 1"), ("mean", "d y[")):
        code, out, err = check(f"{name}.py")
        assert (code, err) == (1, "")
        assert out.startswith("FAIL  Product")
        assert ": x 3x4, y 4 from" in out.splitlines()[0]
        assert "Right on x 3x4, y 3x4; but forward also takes unequal shapes" in out
        assert said in out
    assert check("right.py")[:2] == (
        0,
        "PASS  Product (Function, right.py:4): x 3x4, y 3x4; x 4, y 4; x scalar, y scalar; x 3x4, y 4 from -2 to 2; "
        "4 examples\n",
    )
    for name in ("raising", "refusing"):
        code, out, _ = check(f"{name}.py")
        assert (code, "; 3 examples" in out) == (0, True)
    assert check("missing.py", "--shape", "3x4")[0] == 0


# ---------------------------------------------------------------- the table


def test_all_ops(check):
    code, out, err = check("--all-ops", "--examples", "1")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"(\d+) of \1 pass; --examples 1, --seed 0\n", out)
    assert int(out.split()[0]) == len(OPS)


def test_a_wrong_op_of_the_table_has_a_line(files, check):
    files(planted=RIGHT.replace("2 * g * x,", "g * x,"))
    check("planted.py:mish")
    code, out, _ = check("--all-ops", "--examples", "1", "--seed", "3")
    assert code == 1
    first, *others, summary, hint = out.splitlines()
    assert re.match(r"FAIL  cli_square \(primitive\): x \S+, seed 3; x\[.*analytic .* numeric", first)
    assert others == []
    assert summary == f"{len(OPS) - 1} of {len(OPS)} pass; --examples 1, --seed 3"
    assert "--output" in hint


# ---------------------------------------------------------------- what it leaves


@pytest.fixture
def _recorded(monkeypatch):
    """Reports say that they are drawn and saved, and do neither."""
    monkeypatch.setattr(Report, "render", lambda self, path: Path(path).write_text("picture"))
    monkeypatch.setattr(Report, "save", lambda self, path: Path(path).write_text("test"))


@pytest.mark.usefixtures("_recorded")
def test_where_pictures_and_tests_go(files, check, tmp_path):
    files(two=CUBE + "\n\nclass Quad(Cube):\n    pass\n\n\nclass Right(Cube):\n    @staticmethod\n"
          "    def backward(ctx, gradient):\n        return gradient * 3 * ctx.saved_tensors[0]**2\n")  # fmt: skip
    code, out, _ = check("two.py", "--output", "found/here", "--picture", "first.svg", "--save", "test_first.py")
    assert code == 1
    left = sorted(
        str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*") if one.suffix in (".png", ".svg", ".py")
    )
    assert left == [
        "first.svg",
        "found/here/Cube_wrong.png",
        "found/here/Quad_wrong.png",
        "found/here/test_Cube_gradient.py",
        "found/here/test_Quad_gradient.py",
        "test_first.py",
        "two.py",
    ]
    assert "1 of 3 pass" in out
    assert "drawn: found/here/Cube_wrong.png" in out
    assert "run it: pytest found/here/test_Cube_gradient.py" in out
    assert "To draw what is wrong" not in out


def test_a_test_that_cannot_be_written_is_only_missing(files, check, monkeypatch):
    def refuse(self, path):
        raise AutogradError("a closure")

    monkeypatch.setattr(Report, "save", refuse)
    files(cube=CUBE)
    assert check("cube.py", "--save", "test_it.py")[::2] == (1, "not written: a closure\n")


@pytest.mark.usefixtures("_recorded")
def test_nothing_wrong_leaves_nothing(files, check, tmp_path):
    files(right=RIGHT)
    assert check("right.py:Scaled", "--output", "found", "--picture", "a.png", "--save", "b.py")[0] == 0
    assert [one.name for one in tmp_path.iterdir() if one.name != "__pycache__"] == ["right.py"]


def test_a_picture_that_cannot_be_drawn_is_only_missing(files, check, tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "_engines", lambda format: iter(()))
    files(cube=CUBE)
    code, out, err = check("cube.py", "--output", ".")
    assert code == 1
    assert err.startswith("not drawn: ")
    assert "test written: test_Cube_gradient.py" in out
    assert not (tmp_path / "Cube_wrong.png").exists()


def test_found_localised_drawn_red_and_kept_by_one_command(files, tmp_path):
    """The whole of it, in processes of their own, as a user has it."""
    pytest.importorskip("pygraphviz")
    files(cube=CUBE)
    place = {**os.environ, "PYTHONPATH": str(Path(autograd_ff.__file__).parent.parent)}
    command = [sys.executable, "-m", "autograd_ff", "check", "cube.py", "--output", "."]
    done = subprocess.run(command, capture_output=True, text=True, env=place, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "guilty: Cube (Function)" in done.stdout

    if importlib.util.find_spec("matplotlib"):
        from matplotlib.image import imread

        pixels = imread(tmp_path / "Cube_wrong.png")[..., :3]
        red = (pixels[..., 0] > 0.6) & (pixels[..., 1] < 0.4) & (pixels[..., 2] < 0.4)
        assert red.sum() > 50, "nothing is red"
    text = (tmp_path / "test_Cube_gradient.py").read_text()
    ast.parse(text)
    assert "0x" in text, "inputs to the last bit"

    test = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_Cube_gradient.py"]
    assert subprocess.run(test, capture_output=True, text=True, env=place, check=False).returncode == 1
    (tmp_path / "cube.py").write_text(CUBE.replace("gradient * 2", "gradient * 3"))
    repaired = [text.replace("gradient * 2", "gradient * 3")]  # the test may hold a copy of the code, or import it
    (tmp_path / "test_Cube_gradient.py").write_text(*repaired)
    again = subprocess.run(test, capture_output=True, text=True, env=place, check=False)
    assert again.returncode == 0, again.stdout


# ---------------------------------------------------------------- what it refuses


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["cub.py"], "there is no file cub.py; did you mean cube.py?"),
        (["elsewhere/other.py"], "there is no file elsewhere/other.py; looked from"),
        (["cub:Cube"], "there is no module 'cub'; looked in"),
        (["numpy.nothing"], "there is no module 'numpy.nothing'"),
        (["cube:Cub"], "cube has no attribute 'Cub'; did you mean 'Cube'?"),
        (["cube.py:Cube.x"], "cube.py:Cube has no attribute 'x'"),
        (["cube.py:"], "'cube.py:' names nothing: write file.py, module:name or file.py:name"),
        ([":Cube"], "':Cube' names nothing"),
        (["."], ". is a folder; name one of its files"),
        (["broken.py"], "broken.py:2: '(' was never closed: x = ("),
        (["raising.py"], "importing raising.py failed: ZeroDivisionError at raising.py:3: division by zero"),
        (["leaving.py"], "importing leaving.py failed: it ends the program by sys.exit(3)"),
        (["missing.py"], "importing missing.py failed: ModuleNotFoundError at missing.py:1: No module named 'not_there'"),
        (["missing"], "importing missing failed: ModuleNotFoundError at missing.py:1: No module named 'not_there'"),
        (["values.py:number"], "values.py:number is a int, which cannot be called"),
        (["values.py:Plain"], "values.py:Plain is a class that is neither an nn.Module nor an autograd.Function"),
        (["values.py"], "values.py defines no op, no autograd.Function and no nn.Module.\n  For a plain function, name it: values.py:f"),
    ],
)  # fmt: skip
def test_targets_that_are_not_there(files, check, options, said):
    files(
        cube=CUBE,
        broken="x = 1\nx = (\n",
        raising="\n\n1 / 0\n",
        leaving="import sys\nsys.exit(3)\n",
        missing="import not_there\n",
        values="number = 3\n\n\nclass Plain:\n    pass\n\n\ndef f(x):\n    return x\n",
    )
    code, out, err = check(*options)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert said in err
    assert len(err.splitlines()) <= 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "name what to check: file.py, module:name, or --all-ops"),
        (["cube.py", "--all-ops"], "either name a target or give --all-ops"),
        (["cube.py", "--shape", "3y4"], "'3y4' is not a shape such as 3x4"),
        (["cube.py", "--shape", "0x4"], "'0x4' is not a shape"),
        (["--shape", "3", "cube.py"], "'cube.py' is not a shape"),
        (["cube.py", "--examples", "0"], "'0' is not a positive integer"),
        (["cube.py", "--seed", "-1"], "'-1' is not an integer from 0 on"),
        (["cube.py", "--order", "3"], "invalid choice: 3"),
        (["cube.py", "--low", "a"], "'a' is not a number"),
        (["cube.py", "--low", "nan"], "'nan' is not a number"),
        (["cube.py", "--low", "2", "--high", "-1"], "--low 2 is not below --high -1"),
        (["--all-ops", "--shape", "3"], "--shape goes with a target"),
        (["--all-ops", "--low", "3"], "--low goes with a target"),
        (["--all-ops", "--constant", "x"], "--constant goes with a target"),
        (["cube.py", "--constant", "t"], "--constant t: there is no such argument; there are: x"),
    ],
)
def test_options_that_do_not_fit(files, check, options, said):
    files(cube=CUBE)
    code, out, err = check(*options)
    assert (code, out) == (2, "")
    assert said in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["cube.py:Cube", "--shape", "3", "4"], "2 shapes given, and it takes 1 argument: x"),
        (["right.py:Scaled", "--shape", "3", "3", "3"], "3 shapes given, and it takes 2 arguments: x, y"),
        (["none.py:f"], "it takes no argument"),
        (["none.py:g"], "it takes plain numbers only"),
    ],
)
def test_shapes_that_do_not_fit_the_arguments(files, check, options, said):
    files(cube=CUBE, right=RIGHT, none="def f():\n    return 1\n\n\ndef g(n: int):\n    return n\n")
    code, out, err = check(*options)
    assert (code, err) == (1, "")
    assert out.startswith("NOT CHECKED")
    assert said in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--output", "taken"], "--output taken: taken is a file"),
        (["--output", "taken/inside"], "--output taken/inside: taken is a file"),
        (["--save", "none/test_it.py"], "--save none/test_it.py: there is no folder none"),
        (["--picture", "none/wrong.png"], "there is no folder none"),
        (["--save", "."], "it is a folder"),
        (["--save", f"{'a' * 300}.py"], "name too long"),
        (["--save", "cube.py"], "that is the file to be checked"),
    ],
)
def test_where_nothing_can_be_written_is_seen_before_the_check(files, check, tmp_path, options, said):
    files(cube=CUBE)
    (tmp_path / "taken").write_text("a file")
    for target in ("cube.py", "cube.py:Cube"):
        code, out, err = check(target, *options)
        assert (code, out) == (2, "")
        assert said in err
    assert (tmp_path / "cube.py").read_text() == CUBE
    assert sorted(one.name for one in tmp_path.iterdir()) == ["cube.py", "taken"]


def test_a_folder_that_vanishes_meanwhile(files, check):
    files(cube=CUBE.replace("import Function", "import Function\nimport shutil\nshutil.rmtree('gone')"))
    Path("gone").mkdir()
    code, out, err = check("cube.py", "--save", "gone/test_it.py")
    assert (code, out.split()[0]) == (1, "FAIL")
    assert err.startswith("not written: ")


def test_help_shows_how(check):
    code, out, _ = check("--help")
    assert code == 0
    for part in ("check cube.py --output .", "--all-ops", "exit code: 0"):
        assert part in out


def test_errors_are_errors_of_the_library():
    from autograd_ff.cli.target import TargetError

    assert issubclass(TargetError, AutogradError)
    assert np.isfinite(len(TargetError.__doc__))
