"""Every public function that PyTorch has too, held against PyTorch: values, gradients, second gradients, dtypes."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_cases import CASES, SKIPPED

import autograd_ff as af
import autograd_ff.nn.functional
from autograd_ff import autograd
from autograd_ff.engine import TensorCore, wrap
from autograd_ff.errors import AutogradError
from autograd_ff.testing import HypothesisDraw, NumPyDraw
from autograd_ff.testing.gradcheck import dense
from autograd_ff.testing.tree import flatten, rebuild

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")

pytestmark = pytest.mark.torch

# Where we differ from PyTorch on purpose, or where PyTorch has no answer.
UNDEFINED_VALUES = {"empty_like"}
NO_SECOND_GRADIENT = {
    "huber_loss",
    "smooth_l1_loss",
}  # PyTorch's second derivative of these is incomplete in some modes


def functions(name):
    """Ours and PyTorch's; torch.nn.functional's where it has one, whose signature ours follows."""
    ours = getattr(af, name, None) or getattr(af.nn.functional, name, None)
    return ours, getattr(torch.nn.functional, name, None) or getattr(torch, name, None)


NAMES = [name for name in sorted(CASES) if all(functions(name))]


def as_arrays(tree):
    """NumPy's scalars, which arithmetic on 0-d arrays makes, as 0-d arrays again."""
    leaves = [np.asarray(leaf) if isinstance(leaf, np.generic) else leaf for leaf in flatten(tree)]
    return rebuild(tree, leaves)


def as_torch(tree):
    """Arrays as torch tensors. A tuple of the arguments stays a tuple; a list of arrays stays a list."""
    leaves = [torch.tensor(leaf) if isinstance(leaf, np.ndarray) else leaf for leaf in flatten(tree)]
    return rebuild(tree, leaves)


def as_ours(tree):
    leaves = [wrap(leaf.copy()) if isinstance(leaf, np.ndarray) else leaf for leaf in flatten(tree)]
    return rebuild(tree, leaves)


def track(tree):
    """Make all floating tensors require grad; they, in order."""
    kind = (TensorCore, torch.Tensor)
    found = [leaf for leaf in flatten(tree) if isinstance(leaf, kind) and "float" in str(leaf.dtype)]
    return [leaf.requires_grad_() for leaf in found]


def numbers(tensor):
    return tensor.detach().numpy(force=True) if isinstance(tensor, torch.Tensor) else tensor.detach().array


def outputs_of(result):
    """The tensors (or plain numbers and booleans) that a function returned."""
    return flatten(tuple(result) if isinstance(result, tuple) else result)


def assert_same(one, other, what):
    if not isinstance(one, TensorCore):
        assert one == other, f"{what}: {one}, PyTorch {other}"
        return
    mine, theirs = numbers(one), numbers(other)
    assert mine.shape == theirs.shape, f"{what}: shape {mine.shape}, PyTorch {theirs.shape}"
    assert mine.dtype == theirs.dtype, f"{what}: dtype {mine.dtype}, PyTorch {theirs.dtype}"
    rtol = 1e-6 if mine.dtype == np.float32 else 1e-9
    assert np.allclose(mine, theirs, rtol=rtol, atol=rtol, equal_nan=True), f"{what}: {mine}, PyTorch {theirs}"


def differentiable(results):
    return [one for one in results if isinstance(one, (TensorCore, torch.Tensor)) and one.requires_grad]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=10)
@given(data=st.data())
def test_values_gradients_and_second_gradients(name, data):
    assert_like_torch(name, *CASES[name](HypothesisDraw(data)))


def assert_like_torch(name, args, kwargs):
    ours, theirs = functions(name)
    args, kwargs = as_arrays((args, kwargs))
    our_args, their_args = as_ours((args, kwargs)), as_torch((args, kwargs))
    our_inputs, their_inputs = track(our_args[0]), track(their_args[0])  # weights and other options are constants
    mine = outputs_of(ours(*our_args[0], **our_args[1]))
    other = outputs_of(theirs(*their_args[0], **their_args[1]))
    assert len(mine) == len(other)
    if name not in UNDEFINED_VALUES:
        for position, (one, two) in enumerate(zip(mine, other, strict=True)):
            assert_same(one, two, f"{name}, output {position}")
    mine, other = differentiable(mine), differentiable(other)
    assert len(mine) == len(other), f"{name}: {len(mine)} outputs require grad, in PyTorch {len(other)}"
    if not mine:
        return
    try:
        compare_derivatives(name, mine, other, our_inputs, their_inputs)
    except RuntimeError as error:  # PyTorch has no derivative of some functions, or no second one
        if "is not implemented" not in str(error) or isinstance(error, AutogradError):
            raise


def compare_derivatives(name, mine, other, our_inputs, their_inputs, order=1):
    """The gradients of random combinations of the outputs; then, once more, of those gradients."""
    generator = np.random.default_rng(order)
    seeds = [dense(generator, numbers(one).shape) for one in mine]
    again = order == 1 and name not in NO_SECOND_GRADIENT
    theirs = torch.autograd.grad(
        other, their_inputs, [torch.tensor(seed) for seed in seeds], create_graph=again, allow_unused=True
    )
    ours = autograd.grad(mine, our_inputs, [wrap(seed) for seed in seeds], create_graph=again, allow_unused=True)
    compare_gradients(name, "gradient" if order == 1 else "second gradient", ours, theirs)
    if not again:
        return
    pairs = [(one, two) for one, two in zip(ours, theirs, strict=True) if one is not None and two is not None]
    pairs = [(one, two) for one, two in pairs if one.requires_grad or two.requires_grad]
    # One of the two may have found that its gradient is constant; the other then must say zero.
    pairs = [(tracked(one, our_inputs), tracked(two, their_inputs)) for one, two in pairs]
    if pairs:
        compare_derivatives(name, *map(list, zip(*pairs, strict=True)), our_inputs, their_inputs, order=2)


def tracked(gradient, inputs):
    """A gradient that does not depend on anything, tied to an input by a zero."""
    return gradient if gradient.requires_grad else gradient + (inputs[0] * 0).sum()


def compare_gradients(name, what, ours, theirs):
    """None and zeros are the same answer: who finds that an input does not matter may say either."""
    for position, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        mine = 0.0 if one is None else numbers(one)
        expected = 0.0 if other is None else numbers(other)
        assert np.allclose(mine, expected, rtol=1e-8, atol=1e-8, equal_nan=True), (
            f"{name}: {what} of input {position} is {mine}, PyTorch's {expected}"
        )


DTYPES = ("float32", "float16", "int64", "int32", "uint8", "bool")
WHOLE = ("int64", "int32", "uint8")
DTYPES_DIFFER = {  # where ours is another dtype, or an error, and why
    **{(name, dtype): "ours makes activations of whole numbers floating" for name in ("hardtanh", "relu6", "threshold") for dtype in WHOLE},
    **{("masked_fill", dtype): "PyTorch truncates a value of 0.5 silently" for dtype in (*WHOLE, "bool")},
    **{(name, "uint8"): "PyTorch's old masks were uint8, and its answer still is" for name in ("all", "any")},
    ("add", "bool"): "PyTorch has booleans added with alpha=2 saturate",
    ("sign", "bool"): "NumPy has no sign of booleans",
    ("square", "bool"): "NumPy's square of booleans is int8",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.filterwarnings("ignore:.*:UserWarning", "ignore:.*:RuntimeWarning")
def test_dtypes(name, dtype):
    """Where PyTorch takes a dtype we take it, and the results have PyTorch's dtypes."""
    if (name, dtype) in DTYPES_DIFFER:
        return
    ours, theirs = functions(name)
    for seed in range(3):
        args, kwargs = as_arrays(CASES[name](NumPyDraw(seed)))
        leaves = [
            np.asarray(np.abs(leaf), dtype) if isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f" else leaf
            for leaf in flatten((args, kwargs))
        ]
        args, kwargs = rebuild((args, kwargs), leaves)
        their_args, their_kwargs = as_torch((args, kwargs))
        try:
            other = outputs_of(theirs(*their_args, **their_kwargs))
        except (RuntimeError, TypeError, ValueError, IndexError):
            continue
        our_args, our_kwargs = as_ours((args, kwargs))
        with np.errstate(all="ignore"):
            mine = outputs_of(ours(*our_args, **our_kwargs))
        for one, two in zip(mine, other, strict=True):
            if isinstance(one, TensorCore):
                assert str(one.dtype) == str(two.dtype).removeprefix("torch."), (
                    f"{name} of {dtype}: {one.dtype}, PyTorch {two.dtype}"
                )


PROMOTED = ("add", "sub", "mul", "div", "pow", "maximum", "remainder", "floor_divide", "eq", "atan2", "where")
KINDS = ("float64", "float32", "float16", "int64", "int32", "uint8", "bool")


@pytest.mark.parametrize("name", PROMOTED)
@pytest.mark.filterwarnings("ignore")
def test_promotion_of_two_inputs(name):
    """The dtype of a result for every pair of dtypes, of tensors with dimensions, 0-d tensors and Python scalars."""
    ours, theirs = functions(name)
    wrong = []
    for first in KINDS:
        for second in (*KINDS, 2, 2.5, True):
            for shape in ((2,), ()):
                for other_shape in ((2,), ()) if isinstance(second, str) else (None,):
                    x = np.ones(shape, first)
                    y = second if other_shape is None else np.ones(other_shape, second)
                    if name == "pow" and first == "bool" and second is True:
                        continue  # PyTorch's is bool; NumPy has no power of booleans
                    front = (np.ones(shape, bool),) if name == "where" else ()
                    try:
                        expected = theirs(*as_torch((*front, x, y))).dtype
                    except (RuntimeError, TypeError):
                        continue
                    with np.errstate(all="ignore"):
                        got = ours(*as_ours((*front, x, y))).dtype
                    if str(got) != str(expected).removeprefix("torch."):
                        wrong.append(f"{name}({first} {shape}, {second} {other_shape}): {got}, PyTorch {expected}")
    assert wrong == []


def test_no_function_is_left_out():
    """A function that PyTorch has too is compared, or stands among the skipped with the reason."""
    skipped = set(" ".join(SKIPPED.values()).split())
    public = {
        name
        for module in (af, af.nn.functional)
        for name, one in vars(module).items()
        if not name.startswith("_") and inspect.isfunction(one) and one.__module__.startswith("autograd_ff")
    }
    shared = {name for name in public if hasattr(torch, name) or hasattr(torch.nn.functional, name)}
    missing = sorted(shared - set(CASES) - skipped)
    assert missing == [], "add a case to tests/torch_cases.py"
    assert len(NAMES) > 150


def test_planted_differences_are_found(monkeypatch):
    """The comparison itself: a value, a dtype, a gradient and a second gradient that differ."""
    x = (np.array([0.5, 1.5]),)

    def planted(function):
        monkeypatch.setattr(af, "exp", function)
        with pytest.raises((AssertionError, AutogradError)):
            assert_like_torch("exp", x, {})
        monkeypatch.undo()

    exp = af.exp
    assert_like_torch("exp", x, {})
    planted(lambda x: exp(x) * (1 + 1e-6))
    planted(lambda x: exp(x).float())
    planted(lambda x: exp(x).detach())
    planted(lambda x: exp(x) + x - x.detach())
    planted(lambda x: exp(x) + (x - x.detach()) * (x - x.detach()))
    assert math.isfinite(af.exp(af.ones(())).item())
