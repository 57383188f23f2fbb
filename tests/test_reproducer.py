"""A failure as a file: what is written fails by itself, on the smallest inputs, and passes once the op is mended."""

from __future__ import annotations

import ast
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
from autograd_ff.testing.sources import NoSourceError, literal, source_of

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
    assert "exact((), '0x1.0000000000000p+" in text, "one round number is enough"
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
    assert ast.literal_eval(text.replace("inf", "1e999")) == value


def test_sources_name_what_they_need():
    imports, definitions, name = source_of(Cube)
    assert name == "Cube"
    assert "import numpy as np_alias" in imports
    assert definitions.index("FACTOR = 2") < definitions.index("class Cube")
    space = {}
    exec("\n".join(imports) + "\n" + definitions, space)
    assert space["Cube"].apply(af.tensor([2.0]), 1.0).tolist() == [8.0]
    with pytest.raises(NoSourceError):
        literal(object())
