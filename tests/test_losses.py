"""Losses beside PyTorch's, by their formulas, and the errors that they owe their users."""

from __future__ import annotations

import math

import numpy as np
import pytest
from beside_torch import assert_agrees
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff.autograd import grad
from autograd_ff.errors import DtypeError, ShapeError
from autograd_ff.functions import losses

REDUCTIONS = ["mean", "sum", "none"]


def numbers(shape, low=-3.0, high=3.0, seed=0):
    return np.asarray(np.random.default_rng(seed).uniform(low, high, shape))


def theirs(name):
    return getattr(pytest.importorskip("torch").nn.functional, name)


def assert_as_pytorch(name, *arrays, order=2, **params):
    """The loss of these arrays, ours and PyTorch's; Tensor parameters are given as arrays."""
    torch = pytest.importorskip("torch")
    mine = {key: af.tensor(value) if isinstance(value, np.ndarray) else value for key, value in params.items()}
    other = {key: torch.tensor(value) if isinstance(value, np.ndarray) else value for key, value in params.items()}
    ours = getattr(losses, name)
    assert_agrees(lambda *t: ours(*t, **mine), lambda *t: theirs(name)(*t, **other), *arrays, order=order)


# ---------------------------------------------------------------- element by element


@pytest.mark.torch
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 3)])
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("mse_loss", {}), ("l1_loss", {}), ("smooth_l1_loss", {}), ("smooth_l1_loss", {"beta": 0.5}),
        ("smooth_l1_loss", {"beta": 0.0}), ("huber_loss", {}), ("huber_loss", {"delta": 2.5}),
        ("binary_cross_entropy_with_logits", {}),
    ],
)  # fmt: skip
def test_elementwise_as_pytorch(name, params, shape, reduction):
    target = numbers(shape, 0.05, 0.95, seed=1)
    assert_as_pytorch(name, numbers(shape), target, reduction=reduction, **params)


@pytest.mark.torch
@pytest.mark.filterwarnings(
    "ignore:Mean of empty slice", "ignore:invalid value", "ignore:.*kl_div.*", "ignore:reduction"
)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    "name", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy_with_logits"]
)
def test_empty_as_pytorch(name, reduction):
    assert_as_pytorch(name, np.zeros((0, 2)), np.zeros((0, 2)), reduction=reduction, order=1)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"])
def test_ties_as_pytorch(name):
    assert_as_pytorch(name, np.array([0.0, 1.0, 2.0, -1.0]), np.array([0.0, 0.0, 1.0, -1.0]), reduction="sum", order=1)


@pytest.mark.torch
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_weighted_as_pytorch(name, reduction):
    assert_as_pytorch(
        name, numbers((4, 3)), numbers((4, 3), seed=1), reduction=reduction, weight=numbers((4, 3), 0.1, 2, seed=2)
    )


@pytest.mark.torch
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("var", [(4, 3), (4,), (4, 1), (1, 3)])
def test_gaussian_nll_as_pytorch(var, full, reduction):
    x, target, var = numbers((4, 3)), numbers((4, 3), seed=1), numbers(var, 0.1, 2, seed=2)
    assert_as_pytorch("gaussian_nll_loss", x, target, var, full=full, reduction=reduction)
    # Variances below eps count as eps, and get its gradient.
    assert_as_pytorch("gaussian_nll_loss", x, target, var, full=full, eps=0.7, reduction=reduction)
    assert_as_pytorch("gaussian_nll_loss", x, target, var=0.5, full=full, reduction=reduction)


@pytest.mark.parametrize("var", [-1.0, np.array([[1.0, -1e-9]]), np.ones(3), np.ones((1, 1, 2))])
def test_variances_that_are_none(var):
    var = var if isinstance(var, float) else af.tensor(var)
    with pytest.raises(ShapeError, match=r"varianc") as caught:
        losses.gaussian_nll_loss(af.zeros(1, 2), af.zeros(1, 2), var)
    assert "test_losses.py" in str(caught.value)
    with pytest.raises(ShapeError, match="differ in shape"):
        losses.gaussian_nll_loss(af.zeros(4, 1), af.zeros(4), af.ones(4))


def test_gaussian_nll_is_least_at_mean_and_variance_of_the_targets():
    target = af.tensor(numbers(50))
    at = af.tensor([target.mean().item()]).expand(50), af.tensor([target.var(unbiased=False).item()]).expand(50)
    mean, var = (one.clone().requires_grad_() for one in at)
    loss = af.nn.GaussianNLLLoss()(mean, target, var)
    assert [abs(one.sum().item()) < 1e-6 for one in grad(loss, (mean, var))] == [True, True]


@pytest.mark.torch
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weight", [None, (3,), (2, 3), (2, 1)])
def test_binary_cross_entropy_as_pytorch(weight, reduction):
    weight = None if weight is None else numbers(weight, 0.1, 2, seed=2)
    x, target = numbers((2, 3), 0.05, 0.95), numbers((2, 3), 0, 1, seed=1)
    assert_as_pytorch("binary_cross_entropy", x, target, weight=weight, reduction=reduction)
    hard = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
    assert_as_pytorch("binary_cross_entropy", x, hard, weight=weight, reduction=reduction)


@pytest.mark.torch
def test_binary_cross_entropy_of_certainties_as_pytorch():
    torch = pytest.importorskip("torch")
    x, target = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0, 1.0])
    mine, other = af.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    loss = losses.binary_cross_entropy(mine, af.tensor(target), reduction="none")
    expected = torch.nn.functional.binary_cross_entropy(other, torch.tensor(target), reduction="none")
    assert loss.tolist() == expected.tolist() == [0.0, 100.0, 100.0, 0.0]
    loss.sum().backward()
    expected.sum().backward()
    np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy())


@pytest.mark.torch
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weight", [None, (2, 3), (3,)])
@pytest.mark.parametrize("pos_weight", [None, (3,), (1,), (2, 3)])
def test_binary_cross_entropy_with_logits_as_pytorch(weight, pos_weight, reduction):
    weight = None if weight is None else numbers(weight, 0.1, 2, seed=2)
    pos_weight = None if pos_weight is None else numbers(pos_weight, 0.1, 3, seed=3)
    x, target = numbers((2, 3), -40, 40), numbers((2, 3), 0, 1, seed=1)
    assert_as_pytorch(
        "binary_cross_entropy_with_logits", x, target, weight=weight, pos_weight=pos_weight, reduction=reduction
    )


@given(st.lists(st.tuples(st.floats(-700, 700), st.floats(0, 1)), min_size=1, max_size=6))
def test_logits_and_probabilities_agree(pairs):
    """The loss of logits is the loss of their sigmoid where that is not saturated, and finite everywhere."""
    x, target = (np.array(column) for column in zip(*pairs, strict=True))
    loss = losses.binary_cross_entropy_with_logits(af.tensor(x), af.tensor(target), reduction="none").numpy()
    assert np.isfinite(loss).all()
    near = np.abs(x) < 10
    p = 1 / (1 + np.exp(-x[near]))
    expected = -(target[near] * np.log(p) + (1 - target[near]) * np.log1p(-p))
    np.testing.assert_allclose(loss[near], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize("log_target", [False, True])
@pytest.mark.parametrize("reduction", [*REDUCTIONS, "batchmean"])
def test_kl_div_as_pytorch(reduction, log_target):
    x = np.log(np.random.default_rng(0).dirichlet(np.ones(3), 4))
    target = np.random.default_rng(1).dirichlet(np.ones(3), 4)
    assert_as_pytorch("kl_div", x, np.log(target) if log_target else target, reduction=reduction, log_target=log_target)
    if not log_target:
        certain = np.eye(3)[[0, 2, 1, 1]]
        value = losses.kl_div(af.tensor(x), af.tensor(certain), reduction=reduction)
        expected = theirs("kl_div")(*map(pytest.importorskip("torch").tensor, (x, certain)), reduction=reduction)
        np.testing.assert_allclose(value.numpy(), expected.numpy())


# ---------------------------------------------------------------- classes

CLASS_SHAPES = [
    ((4, 3), (4,)),
    ((3,), ()),
    ((2, 3, 4), (2, 4)),
    ((2, 3, 2, 2), (2, 2, 2)),
    ((1, 1), (1,)),
    ((5, 40), (5,)),
]


@pytest.mark.torch
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignore", [None, -100, 0])
@pytest.mark.parametrize("shapes", CLASS_SHAPES)
def test_cross_entropy_of_indices_as_pytorch(shapes, ignore, weighted, smoothing, reduction):
    shape, expected = shapes
    classes = shape[1] if len(shape) > 1 else shape[0]
    target = np.asarray(np.random.default_rng(1).integers(0, classes, expected))
    params = {"reduction": reduction, "label_smoothing": smoothing}
    if ignore is not None:
        params["ignore_index"] = ignore
        if target.size > 1:
            target.flat[0], target.flat[1] = ignore, classes - 1
    if weighted:
        params["weight"] = numbers((classes,), 0.2, 2, seed=2)
    if ignore is not None and (target == ignore).all() and reduction == "mean":
        return  # a mean over nothing: below
    assert_as_pytorch("cross_entropy", numbers(shape), target, **params)
    if not smoothing:
        params.pop("label_smoothing")
        assert_as_pytorch("nll_loss", numbers(shape), target, **params)


@pytest.mark.torch
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(4, 3), (3,), (2, 3, 4), (2, 3, 2, 2)])
def test_cross_entropy_of_probabilities_as_pytorch(shape, weighted, smoothing, reduction):
    classes = shape[1] if len(shape) > 1 else shape[0]
    target = numbers(shape, 0, 1, seed=1)
    target /= target.sum(1 if len(shape) > 1 else 0, keepdims=True)
    params = {"weight": numbers((classes,), 0.2, 2, seed=2)} if weighted else {}
    assert_as_pytorch("cross_entropy", numbers(shape), target, reduction=reduction, label_smoothing=smoothing, **params)


@pytest.mark.torch
@pytest.mark.parametrize("dtype", [np.int32, np.int16, np.uint8, np.int64])
def test_dtypes_of_classes(dtype):
    x, target = numbers((4, 3)).astype(np.float32), np.array([0, 2, 1, 1], dtype=dtype)
    loss = losses.cross_entropy(af.tensor(x), af.tensor(target))
    torch = pytest.importorskip("torch")
    expected = torch.nn.functional.cross_entropy(torch.tensor(x), torch.tensor(target.astype(np.int64)))
    assert loss.dtype == np.float32
    np.testing.assert_allclose(loss.item(), expected.item(), rtol=1e-6)


@pytest.mark.torch
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_nothing_to_learn_from(reduction):
    """No row at all, or only ignored ones: the mean is NaN and the sum 0, as in PyTorch, and the gradient is not lost."""
    torch = pytest.importorskip("torch")
    for shape, target in (((0, 3), []), ((2, 3), [-100, -100])):
        x = af.tensor(np.ones(shape), requires_grad=True)
        loss = losses.cross_entropy(x, af.tensor(target, dtype=af.int64), reduction=reduction)
        expected = torch.nn.functional.cross_entropy(
            torch.ones(shape, dtype=torch.float64), torch.tensor(target, dtype=torch.int64), reduction=reduction
        )
        np.testing.assert_array_equal(loss.detach().numpy(), expected.numpy())
        if reduction == "sum":
            assert not grad(loss, x)[0].numpy().any()


def test_ignored_rows_may_hold_nonsense():
    x = af.tensor([[1.0, 2.0], [math.nan, math.inf]], requires_grad=True)
    with np.errstate(all="ignore"):
        loss = losses.cross_entropy(x, af.tensor([1, -100]))
    assert math.isfinite(loss.item())


@given(st.data())
@settings(max_examples=50)
def test_kernel_is_the_textbook_formula(data):
    rows, classes = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 50))
    seed = data.draw(st.integers(0, 2**32 - 1))
    scale = data.draw(st.sampled_from([1.0, 100.0, 1e4]))
    rng = np.random.default_rng(seed)
    x, target = rng.normal(size=(rows, classes)) * scale, rng.integers(0, classes, rows)
    t = af.tensor(x, requires_grad=True)
    loss = losses.cross_entropy(t, af.tensor(target))
    top = x.max(1, keepdims=True)
    p = np.exp(x - top) / np.exp(x - top).sum(1, keepdims=True)
    expected = np.mean(np.log(np.exp(x - top).sum(1)) + top[:, 0] - x[np.arange(rows), target])
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-10, atol=1e-12)
    one_hot = np.eye(classes)[target]
    np.testing.assert_allclose(grad(loss, t)[0].numpy(), (p - one_hot) / rows, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(t.detach().numpy(), x)  # the kernel works in memory of its own


def test_the_plain_case_is_one_op():
    x = af.tensor(numbers((4, 3)), requires_grad=True)
    assert losses.cross_entropy(x, af.tensor([0, 1, 2, 0])).grad_fn.name == "cross_entropy"
    assert losses.mse_loss(x, af.tensor(numbers((4, 3)))).grad_fn.name == "mse_loss"


# ---------------------------------------------------------------- planted faults that must be caught

ELEMENTWISE = [
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div",
]  # fmt: skip


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize(
    ("first", "second", "fix"),
    [
        ((32, 1), (32,), r"target\.unsqueeze\(1\) or input\.squeeze\(1\)"),
        ((32,), (32, 1), r"input\.unsqueeze\(1\) or target\.squeeze\(1\)"),
        ((1, 4), (4,), r"target\.unsqueeze\(0\) or input\.squeeze\(0\)"),
        ((4, 3), (3,), r"target\.expand\(\(4, 3\)\)"),
        ((6, 2), (12,), r"target\.reshape\(input\.shape\)"),
        ((4, 3), (4, 5), r"the same shape"),
    ],
)
def test_unequal_shapes_raise_and_say_what_to_write(name, first, second, fix):
    with pytest.raises(ShapeError, match=fix) as caught:
        getattr(losses, name)(af.full(first, 0.5), af.full(second, 0.5))
    assert f"{first}" in str(caught.value)
    assert f"{second}" in str(caught.value)
    assert "test_losses.py" in str(caught.value)


@pytest.mark.parametrize("bad", [3, -1, 10**12, -(2**63)])
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_class_out_of_range_is_named(name, bad, reduction):
    with pytest.raises(ShapeError, match=rf"target\[2\] is class {bad}, .* 3 classes, 0 to 2") as caught:
        getattr(losses, name)(af.zeros(4, 3), af.tensor([0, 1, bad, 2]), reduction=reduction)
    assert "test_losses.py" in str(caught.value)


def test_a_class_out_of_range_is_found_beside_ignored_ones():
    with pytest.raises(ShapeError, match=r"target\[1, 0\] is class 7"):
        losses.cross_entropy(af.zeros(2, 3, 2), af.tensor([[-100, 0], [7, 1]]))


@pytest.mark.parametrize(
    ("input", "target", "error", "message"),
    [
        ((4, 3), np.zeros(4), DtypeError, r"must be integers, got float64[\s\S]*target\.long\(\)"),
        ((4, 3), np.zeros(4, dtype=bool), DtypeError, "must be integers, got bool"),
        (
            (4, 3),
            np.zeros((4, 1), dtype=int),
            ShapeError,
            r"class indices of shape \(4,\), got \(4, 1\)[\s\S]*reshape\(-1\)",
        ),
        ((4, 3), np.zeros((4, 3), dtype=int), ShapeError, r"One-hot[\s\S]*float\(\)"),
        ((4, 3), np.zeros(5, dtype=int), ShapeError, r"\(4, 3\) needs class indices of shape \(4,\), got \(5,\)"),
        ((2, 3, 4), np.zeros((2, 3), dtype=int), ShapeError, r"shape \(2, 4\), got \(2, 3\)"),
        ((), np.zeros((), dtype=int), ShapeError, "single number"),
    ],
)
def test_targets_that_do_not_fit(input, target, error, message):
    with pytest.raises(error, match=message) as caught:
        losses.cross_entropy(af.zeros(input), af.tensor(target))
    assert "test_losses.py" in str(caught.value)


def test_other_wrong_arguments():
    x, target = af.zeros(4, 3), af.tensor([0, 1, 2, 0])
    with pytest.raises(ShapeError, match=r'"mean", "sum", "none", got \'average\''):
        losses.cross_entropy(x, target, reduction="average")
    with pytest.raises(ShapeError, match="reduction is one of"):
        losses.mse_loss(x, x, reduction="batchmean")
    with pytest.raises(ShapeError, match=r"label_smoothing lies in \[0, 1\], got 1.5"):
        losses.cross_entropy(x, target, label_smoothing=1.5)
    with pytest.raises(ShapeError, match=r"one weight for each of 3 classes, got a shape of \(2,\)"):
        losses.cross_entropy(x, target, weight=af.ones(2))
    with pytest.raises(ShapeError, match="ignore_index names a class"):
        losses.cross_entropy(x, af.ones(4, 3) / 3, ignore_index=1)
    with pytest.raises(DtypeError, match="must be a Tensor, got list"):
        losses.cross_entropy(x, [0, 1, 2, 0])
    with pytest.raises(ShapeError, match=r"probabilities in \[0, 1\], got numbers from -1.0 to 2.0"):
        losses.binary_cross_entropy(af.tensor([-1.0, 2.0]), af.tensor([0.0, 1.0]))
    with pytest.raises(ShapeError, match="probabilities"):
        losses.binary_cross_entropy(af.tensor([math.nan]), af.tensor([0.0]))
    with pytest.raises(ShapeError, match="does not broadcast"):
        losses.binary_cross_entropy(af.ones(2), af.ones(2), weight=af.ones(3))
    with pytest.raises(ShapeError, match="pos_weight"):
        losses.binary_cross_entropy_with_logits(af.ones(2), af.ones(2), pos_weight=af.ones(3, 2))
    with pytest.raises(ShapeError, match="beta"):
        losses.smooth_l1_loss(x, x, beta=-1.0)
    with pytest.raises(ShapeError, match="delta"):
        losses.huber_loss(x, x, delta=0.0)


def test_old_names_of_reductions():
    x, y = af.tensor(numbers((2, 3))), af.tensor(numbers((2, 3), seed=1))
    with pytest.warns(UserWarning, match="old names"):
        assert losses.mse_loss(x, y, size_average=False).item() == losses.mse_loss(x, y, reduction="sum").item()
    with pytest.warns(UserWarning, match="old names"):
        assert losses.l1_loss(x, y, reduce=False).shape == (2, 3)


@pytest.mark.parametrize("dtype", [af.float16, af.float32, af.float64])
def test_dtypes_are_kept(dtype):
    x = af.full((2, 3), 0.5, dtype=dtype, requires_grad=True)
    y = af.full((2, 3), 0.25, dtype=dtype)
    for name in ELEMENTWISE:
        loss = getattr(losses, name)(x, y)
        assert loss.dtype == dtype, name
        assert grad(loss, x)[0].dtype == dtype
    for params in ({}, {"label_smoothing": 0.1}, {"weight": af.ones(3, dtype=dtype)}):
        loss = losses.cross_entropy(x, af.tensor([0, 2]), **params)
        assert loss.dtype == dtype, params
        assert grad(loss, x)[0].dtype == dtype


@pytest.mark.parametrize("loss", [losses.mse_loss, losses.l1_loss, losses.smooth_l1_loss, losses.huber_loss])
def test_nothing_to_compare_with(loss):
    with pytest.raises(DtypeError, match="target is None"):
        loss(af.ones(2), None)
