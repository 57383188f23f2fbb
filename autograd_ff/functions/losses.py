"""Losses: how far a prediction is from its target.

Each takes ``reduction``: ``"mean"`` (the default) and ``"sum"`` give one number, ``"none"`` one loss for each element or
sample. Losses that compare element by element raise where the shapes differ: PyTorch only warns and broadcasts, so that
predictions (32, 1) against targets (32,) quietly train on 32 x 32 wrong pairs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine import TensorCore, apply, condition, here, scope, warn, wrap
from ..errors import DtypeError, ShapeError
from ..kernels.cross_entropy import class_targets
from ..kernels.cross_entropy import cross_entropy as kernel
from ..rules import activations, elementwise, indexing, losses, reductions, shaping, special

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "gaussian_nll_loss", "huber_loss",
    "kl_div", "l1_loss", "mse_loss", "nll_loss", "smooth_l1_loss",
]  # fmt: skip

_INT64 = np.dtype(np.int64)


# ---------------------------------------------------------------- what they share


def check_reduction(reduction: Any, size_average: Any, reduce: Any, more: tuple[str, ...] = ()) -> str:
    """The reduction that is meant, one of the three or of ``more``; the other two arguments are its old names."""
    if size_average is not None or reduce is not None:  # what PyTorch had before `reduction`
        warn("size_average and reduce are old names; use reduction='mean', 'sum' or 'none'.")
        if reduce is not None and not reduce:
            return "none"
        return "sum" if size_average is not None and not size_average else "mean"
    if reduction not in ("mean", "sum", "none", *more):
        names = ", ".join(f'"{one}"' for one in ("mean", "sum", "none", *more))
        raise ShapeError(f"reduction is one of {names}, got {reduction!r}{here()}")
    return str(reduction)


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.array.shape) if isinstance(value, TensorCore) else np.shape(value)


def _check_shapes(name: str, input: Any, target: Any) -> None:
    if input is None or target is None:
        raise DtypeError(
            f"{name} compares two Tensors, and its {'input' if input is None else 'target'} is None.{here()}"
        )
    first, second = _shape(input), _shape(target)
    if first != second:
        raise ShapeError(
            f"{name} compares element by element, and the input {first} and the target {second} differ in shape."
            f"{here()}\n  {_fix(first, second)}"
        )


def _fix(first: tuple[int, ...], second: tuple[int, ...]) -> str:
    """How to give two shapes one shape."""
    for dim, side in enumerate(first):
        if side == 1 and first[:dim] + first[dim + 1 :] == second:
            return f"Write target.unsqueeze({dim}) or input.squeeze({dim})."
    for dim, side in enumerate(second):
        if side == 1 and second[:dim] + second[dim + 1 :] == first:
            return f"Write input.unsqueeze({dim}) or target.squeeze({dim})."
    if math.prod(first) == math.prod(second):
        return "If the elements correspond in order, write target.reshape(input.shape)."
    try:
        full = np.broadcast_shapes(first, second)
    except ValueError:
        return "Both need the same shape."
    wanted = [f"{name}.expand({full})" for name, shape in (("input", first), ("target", second)) if shape != full]
    return f"If one is meant to be compared with many, say so: {' and '.join(wanted)}."


def _reduced(loss: Any, reduction: str) -> Any:
    if reduction == "none":
        return loss
    return apply(reductions.mean if reduction == "mean" else reductions.sum, (loss,))


def _weighted(loss: Any, weight: Any, name: str) -> Any:
    if weight is None:
        return loss
    shape, weights = _shape(loss), _shape(weight)
    try:
        fits = np.broadcast_shapes(shape, weights) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"the weight {weights} of {name} does not broadcast to the loss {shape}{here()}")
    return apply(elementwise.multiply, (loss, weight))


# ---------------------------------------------------------------- regression


def mse_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The squared error ``(input - target)²``.

    Args:
        input, target: of one shape.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        weight: factors of the elements' losses; the mean divides by their sum.

    Raises:
        ShapeError: the shapes differ.

    >>> import autograd_ff as af
    >>> from autograd_ff.functions.losses import mse_loss
    >>> mse_loss(af.tensor([1.0, 2.0]), af.tensor([1.0, 4.0])).item()
    2.0
    """
    reduction = check_reduction(reduction, size_average, reduce)
    _check_shapes("mse_loss", input, target)
    if weight is None:
        return apply(losses.mse, (input, target), {"reduction": reduction})
    with scope("composite", "mse_loss", "mse_loss"):
        loss = apply(losses.mse, (input, target), {"reduction": "none"})
        return _weighted_mean(loss, weight, reduction, "mse_loss")


def _weighted_mean(loss: Any, weight: Any, reduction: str, name: str) -> Any:
    loss = _weighted(loss, weight, name)
    if reduction != "mean":
        return _reduced(loss, reduction)
    full = np.broadcast_to(weight, _shape(loss))
    return apply(elementwise.divide, (apply(reductions.sum, (loss,)), apply(reductions.sum, (full,))))


def l1_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The absolute error ``|input - target|``; its gradient where both are equal is 0.

    Arguments and errors are those of `mse_loss`.

    >>> import autograd_ff as af
    >>> from autograd_ff.functions.losses import l1_loss
    >>> l1_loss(af.tensor([1.0, 2.0]), af.tensor([1.0, 4.0])).item()
    1.0
    """
    reduction = check_reduction(reduction, size_average, reduce)
    _check_shapes("l1_loss", input, target)
    with scope("composite", "l1_loss", "l1_loss"):
        loss = apply(elementwise.absolute, (apply(elementwise.subtract, (input, target)),))
        return _reduced(loss, reduction) if weight is None else _weighted_mean(loss, weight, reduction, "l1_loss")


def smooth_l1_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:  # fmt: skip
    """``d² / (2 beta)`` where ``|d| < beta``, else ``|d| - beta / 2``, with ``d = input - target``.

    Args:
        input, target: of one shape.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        beta: where the parabola meets the straight line; 0 gives `l1_loss`.

    Raises:
        ShapeError: the shapes differ, or beta is negative.

    Source: Girshick, 2015, "Fast R-CNN".

    >>> import autograd_ff as af
    >>> from autograd_ff.functions.losses import smooth_l1_loss
    >>> smooth_l1_loss(af.tensor([0.5, 3.0]), af.tensor([0.0, 0.0]), reduction="none").tolist()
    [0.125, 2.5]
    """
    reduction = check_reduction(reduction, size_average, reduce)
    if beta < 0:
        raise ShapeError(f"smooth_l1_loss needs beta >= 0, got {beta}{here()}")
    _check_shapes("smooth_l1_loss", input, target)
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    with scope("composite", "smooth_l1_loss", "smooth_l1_loss"):
        return _reduced(apply(losses.huber, (input, target), {"delta": beta, "scale": 1 / beta}), reduction)


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """``d² / 2`` where ``|d| <= delta``, else ``delta (|d| - delta / 2)``, with ``d = input - target``.

    Args:
        input, target: of one shape.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        delta: where the parabola meets the straight line.
        weight: factors of the elements' losses; the mean divides by their number, not by the sum of the factors as that
            of `mse_loss` does (so PyTorch has it).

    Raises:
        ShapeError: the shapes differ, or delta is not positive.

    Source: Huber, 1964, "Robust Estimation of a Location Parameter".

    >>> import autograd_ff as af
    >>> from autograd_ff.functions.losses import huber_loss
    >>> huber_loss(af.tensor([0.5, 3.0]), af.tensor([0.0, 0.0]), reduction="none", delta=2.0).tolist()
    [0.125, 4.0]
    """
    reduction = check_reduction(reduction, None, None)
    if delta <= 0:
        raise ShapeError(f"huber_loss needs delta > 0, got {delta}{here()}")
    _check_shapes("huber_loss", input, target)
    with scope("composite", "huber_loss", "huber_loss"):
        loss = apply(losses.huber, (input, target), {"delta": delta, "scale": 1.0})
        return _reduced(_weighted(loss, weight, "huber_loss"), reduction)


def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Tensor | float, full: bool = False, eps: float = 1e-6, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """``(log(var) + (target - input)² / var) / 2``: the negative log-likelihood of a normal distribution.

    With a variance that the network gives for each sample, it learns how uncertain its means are.

    Args:
        input: the means.
        target: of the shape of ``input``.
        var: the variances: of the shape of ``input``; or without its last side, or with one side of length 1 there, where
            samples share one; or a number.
        full: whether to add the constant ``log(2π) / 2``.
        eps: a smaller variance counts as this one; its gradient is that at ``eps``, so it can grow again.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ShapeError: shapes that do not fit, or a variance below 0.

    Source: Nix and Weigend, 1994, "Estimating the Mean and Variance of the Target Probability Distribution".

    >>> import autograd_ff as af
    >>> from autograd_ff.functions.losses import gaussian_nll_loss
    >>> mean, target = af.tensor([0.0, 2.0]), af.tensor([1.0, 2.0])
    >>> gaussian_nll_loss(mean, target, af.tensor([1.0, 1.0]), reduction="none")
    tensor([0.5, 0.0])
    """
    reduction = check_reduction(reduction, None, None)
    _check_shapes("gaussian_nll_loss", input, target)
    below = condition(_any_below_zero, var.array) if isinstance(var, TensorCore) else _any_below_zero(var)
    if below:
        raise ShapeError(
            f"gaussian_nll_loss takes variances, and there is one below 0.{here()}\n"
            "  Let the network give their logarithm: var = exp(output)."
        )
    with scope("composite", "gaussian_nll_loss", "gaussian_nll_loss"):
        var = _variances(var, _shape(input))
        if isinstance(var, TensorCore):
            # The variance plus what it lacks to eps, which is a constant: the gradient passes.
            values: Any = wrap(var.array)
            lack = apply(elementwise.subtract, (apply(elementwise.maximum, (values, eps)), values))
            var = apply(elementwise.add, (var, lack))
            log = apply(elementwise.log, (var,))
        else:
            var = np.maximum(var, eps)
            log = np.log(var)
        error = apply(elementwise.square, (apply(elementwise.subtract, (input, target)),))
        loss = apply(elementwise.add, (apply(elementwise.divide, (error, var)), log))
        loss = apply(elementwise.multiply, (loss, 0.5))
        if full:
            loss = apply(elementwise.add, (loss, 0.5 * math.log(2 * math.pi)))
        return _reduced(loss, reduction)


def _any_below_zero(values: Any) -> bool:
    return bool(np.any(np.less(values, 0)))


def _variances(var: Any, shape: tuple[int, ...]) -> Any:
    """Variances that broadcast to the means, as PyTorch lets them."""
    if isinstance(var, (int, float)):
        return float(var)
    if not isinstance(var, TensorCore):
        raise DtypeError(
            f"the var of gaussian_nll_loss is a Tensor or a number, got {type(var).__name__}; use tensor(...).{here()}"
        )
    given = tuple(var.array.shape)
    if given == shape:
        return var
    if given == shape[:-1]:
        return apply(shaping.reshape, (var,), {"shape": (*given, 1)})
    if len(given) == len(shape) and [one for one, side in zip(given, shape, strict=True) if one != side] == [1]:
        return var
    raise ShapeError(
        f"gaussian_nll_loss of means {shape} needs variances of that shape, or of {shape[:-1]}, or of that shape with one "
        f"side of length 1, got {given}{here()}"
    )


# ---------------------------------------------------------------- two classes


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Any = None, reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """``-(target * log(input) + (1 - target) * log(1 - input))`` for probabilities; logarithms stop at -100.

    Take `binary_cross_entropy_with_logits` where the input comes from a sigmoid: it is exact where this one saturates.

    Args:
        input: probabilities in [0, 1].
        target: in [0, 1], of the shape of ``input``.
        weight: factors of the losses, broadcast to their shape.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ShapeError: the shapes differ, or the input is no probability.

    >>> import autograd_ff as af
    >>> from autograd_ff.functions.losses import binary_cross_entropy
    >>> binary_cross_entropy(af.tensor([0.5, 0.5]), af.tensor([0.0, 1.0]))
    tensor(0.6931)
    """
    reduction = check_reduction(reduction, size_average, reduce)
    _check_shapes("binary_cross_entropy", input, target)
    with scope("composite", "binary_cross_entropy", "binary_cross_entropy"):
        loss = apply(losses.binary_cross_entropy, (input, target))
        return _reduced(_weighted(loss, weight, "binary_cross_entropy"), reduction)


def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Any = None, reduce: Any = None,
    reduction: str = "mean", pos_weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """`binary_cross_entropy` of ``sigmoid(input)``, without overflow: ``log(1 + exp(x)) - x target``.

    Args:
        input: logits, any shape.
        target: in [0, 1], of the shape of ``input``.
        weight: factors of the losses, broadcast to their shape.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        pos_weight: factors of the positive part, broadcast to the input's shape: above 1 they favour recall.

    Raises:
        ShapeError: the shapes differ.

    >>> import autograd_ff as af
    >>> from autograd_ff.functions.losses import binary_cross_entropy_with_logits
    >>> binary_cross_entropy_with_logits(af.tensor([0.0, 1000.0]), af.tensor([1.0, 1.0]), reduction="none")
    tensor([0.6931, 0.0000])
    """
    name = "binary_cross_entropy_with_logits"
    reduction = check_reduction(reduction, size_average, reduce)
    _check_shapes(name, input, target)
    with scope("composite", name, name):
        if pos_weight is None:
            loss = apply(losses.binary_cross_entropy_with_logits, (input, target))
        else:
            positive = apply(elementwise.multiply, (target, _minus_one(pos_weight)))
            factor = apply(elementwise.add, (positive, 1.0))
            opposite = apply(elementwise.negative, (input,))
            surprise = apply(activations.softplus, (opposite,), {"beta": 1.0, "threshold": math.inf})
            missed = apply(elementwise.multiply, (apply(elementwise.subtract, (1.0, target)), input))
            loss = apply(elementwise.add, (missed, apply(elementwise.multiply, (factor, surprise))))
            if _shape(loss) != _shape(input):
                raise ShapeError(
                    f"the pos_weight {_shape(pos_weight)} does not broadcast to the input {_shape(input)}{here()}"
                )
        return _reduced(_weighted(loss, weight, name), reduction)


def _minus_one(value: Any) -> Any:
    return apply(elementwise.subtract, (value, 1.0)) if isinstance(value, TensorCore) else value - 1.0


# ---------------------------------------------------------------- many classes


def cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Any = None, ignore_index: int = -100,
    reduce: Any = None, reduction: str = "mean", label_smoothing: float = 0.0,
) -> Tensor:  # fmt: skip
    """``logsumexp(input) - input[target]``: the negative log-probability of the target under ``softmax(input)``.

    Args:
        input: logits, (N, C), (C,) for one sample, or (N, C, d₁, …, dₖ), C being the number of classes.
        target: class indices, integers in [0, C), of the shape of ``input`` without C; or probabilities, floating, of the
            shape of ``input``.
        weight: (C,), a factor for each class; the mean divides by the sum of the factors of the targets.
        ignore_index: targets of this value count nowhere.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        label_smoothing: how much of each target is spread evenly over all classes (Szegedy et al., 2015).

    Raises:
        ShapeError: sizes that do not fit, or a class out of range.
        DtypeError: class indices that are not integers.

    >>> import autograd_ff as af
    >>> from autograd_ff.functions.losses import cross_entropy
    >>> logits = af.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 5.0]])
    >>> round(cross_entropy(logits, af.tensor([0, 2])).item(), 3)
    0.126
    """
    old_names = size_average is not None or reduce is not None
    if weight is None and not label_smoothing and not old_names and _is_plain(input, target, ignore_index, reduction):
        return apply(kernel, (input, target), {"reduction": reduction})
    reduction = check_reduction(reduction, size_average, reduce)
    if not 0 <= label_smoothing <= 1:
        raise ShapeError(f"label_smoothing lies in [0, 1], got {label_smoothing}{here()}")
    with scope("composite", "cross_entropy", "cross_entropy"):
        array = _array("cross_entropy", "target", target)
        _array("cross_entropy", "input", input)
        if array.shape == input.array.shape and array.dtype.kind == "f":
            return _with_probabilities(input, target, weight, ignore_index, reduction, label_smoothing)
        return _with_indices("cross_entropy", input, target, weight, ignore_index, reduction, label_smoothing)


def _is_plain(input: Any, target: Any, ignore_index: int, reduction: str) -> bool:
    """Whether this is the common case, one int64 target a row and all that count, which goes straight to the kernel."""
    if not (isinstance(input, TensorCore) and isinstance(target, TensorCore)):
        return False
    shape, classes = input.array.shape, target.array
    if len(shape) != 2 or classes.dtype is not _INT64 or classes.shape != shape[:1] or not classes.size:
        return False
    return ignore_index < 0 and reduction in ("mean", "sum", "none") and condition(_are_below, classes, shape[1])


def _are_below(classes: np.ndarray, count: int) -> bool:
    """Whether all int64 numbers are in [0, count)."""
    # One look at the largest, read as an unsigned number: where that is in range, none is negative (an ignored one of
    # -100 would be) and none too large.
    return int(np.maximum.reduce(classes.view(np.uint64))) < count


def nll_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Any = None, ignore_index: int = -100,
    reduce: Any = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """``-input[target]`` for log-probabilities: what `cross_entropy` does after `log_softmax`.

    Args:
        input: log-probabilities, (N, C), (C,) or (N, C, d₁, …, dₖ).
        target: class indices, integers in [0, C), of the shape of ``input`` without C.
        weight: (C,), a factor for each class; the mean divides by the sum of the factors of the targets.
        ignore_index: targets of this value count nowhere.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    >>> import autograd_ff as af
    >>> from autograd_ff.functions.losses import nll_loss
    >>> nll_loss(af.tensor([[-0.5, -1.0]]), af.tensor([1])).item()
    1.0
    """
    reduction = check_reduction(reduction, size_average, reduce)
    with scope("composite", "nll_loss", "nll_loss"):
        _array("nll_loss", "input", input)
        _array("nll_loss", "target", target)
        return _with_indices("nll_loss", input, target, weight, ignore_index, reduction, 0.0)


def _array(name: str, what: str, value: Any) -> np.ndarray:
    if not isinstance(value, TensorCore):
        raise DtypeError(f"the {what} of {name} must be a Tensor, got {type(value).__name__}; use tensor(...).{here()}")
    return value.array


def _class_dimension(name: str, shape: tuple[int, ...]) -> int:
    if not shape:
        raise ShapeError(f"{name} takes an input of shape (N, C), (C,) or (N, C, …), got a single number{here()}")
    return 1 if len(shape) > 1 else 0


def _class_weights(name: str, weight: Any, classes: int) -> np.ndarray | None:
    if weight is None:
        return None
    weights = weight.array if isinstance(weight, TensorCore) else np.asarray(weight)
    if weights.shape != (classes,):
        raise ShapeError(
            f"{name} needs one weight for each of {classes} classes, got a shape of {weights.shape}{here()}"
        )
    return weights


def _as_rows(value: Any, dim: int) -> Any:
    """The class dimension last, all others as one: (rows, classes)."""
    ndim, classes = value.array.ndim, value.array.shape[dim]
    if ndim > 2:
        axes = tuple(one for one in range(ndim) if one != dim)
        value = apply(shaping.transpose, (value,), {"axes": (*axes, dim)})
    rows = value.array.size // classes if classes else math.prod(value.array.shape[:-1])
    return value if ndim == 2 else apply(shaping.reshape, (value,), {"shape": (rows, classes)})


def _check_classes(name: str, input: Any, target: Any, dim: int) -> None:
    """Raise unless the targets are integers of the input's shape without its classes."""
    shape, array = input.array.shape, target.array
    expected = shape[:dim] + shape[dim + 1 :]
    if array.shape != expected:
        hint = ""
        if array.shape == shape and array.dtype.kind in "bui":
            hint = "\n  One-hot targets of whole numbers are taken for probabilities after target.float()."
        elif math.prod(array.shape) == math.prod(expected):
            hint = f"\n  Write target.reshape{expected if len(expected) != 1 else '(-1)'}."
        raise ShapeError(
            f"{name} of an input {shape} needs class indices of shape {expected}, got {array.shape}{here()}{hint}"
        )
    if array.dtype.kind not in "ui":
        raise DtypeError(
            f"the class indices of {name} must be integers, got {array.dtype}{here()}\n"
            "  Write target.long(); probabilities instead of indices need the shape of the input."
        )


def _with_indices(
    name: str, input: Any, target: Any, weight: Any, ignore_index: int, reduction: str, smoothing: float
) -> Any:
    dim = _class_dimension(name, input.array.shape)
    classes = input.array.shape[dim]
    shape = target.array.shape
    _check_classes(name, input, target, dim)
    weights = _class_weights(name, weight, classes)
    rows = _as_rows(input, dim)
    dtype = input.array.dtype if input.array.dtype.kind == "f" else np.dtype(np.float32)
    params = {"classes": classes, "ignore_index": ignore_index, "dtype": dtype}
    targets: Any = apply(class_targets, (target, weights), params)
    safe, counts, factors = targets
    if not safe.array.size or not classes:
        loss = apply(reductions.sum, (rows,), {"axis": 1})  # of nothing: keeps the graph
    elif name == "cross_entropy":
        loss = apply(kernel, (rows, safe), {"reduction": "none"})
    else:
        loss = apply(
            elementwise.negative, (apply(indexing.take, (rows,), {"index": (np.arange(safe.array.size), safe.array)}),)
        )
    # 0 for ignored rows, whatever their logits
    loss = apply(elementwise.multiply, (apply(elementwise.where, (counts, loss, 0.0)), factors))
    if smoothing:
        logs = apply(activations.log_softmax, (rows,), {"axis": 1})
        if weights is not None:
            logs = apply(elementwise.multiply, (logs, weights.astype(dtype, copy=False)))
        even = apply(elementwise.negative, (apply(reductions.sum, (logs,), {"axis": 1}),))
        even = apply(elementwise.where, (counts, even, 0.0))
        loss = apply(
            elementwise.add,
            (
                apply(elementwise.multiply, (loss, 1 - smoothing)),
                apply(elementwise.multiply, (even, smoothing / classes)),
            ),
        )
    if reduction == "none":
        return loss if loss.array.shape == shape else apply(shaping.reshape, (loss,), {"shape": shape})
    total = apply(reductions.sum, (loss,))
    if reduction == "sum":
        return total
    with np.errstate(divide="ignore", invalid="ignore"):  # the mean over no target at all is NaN, as in PyTorch
        return apply(elementwise.divide, (total, apply(reductions.sum, (factors,))))


def _with_probabilities(
    input: Any, target: Any, weight: Any, ignore_index: int, reduction: str, smoothing: float
) -> Any:
    if ignore_index >= 0:
        raise ShapeError(f"ignore_index names a class, and the targets here are probabilities{here()}")
    shape = input.array.shape
    dim = _class_dimension("cross_entropy", shape)
    classes = shape[dim]
    weights = _class_weights("cross_entropy", weight, classes)
    logs = apply(activations.log_softmax, (input,), {"axis": dim})
    if smoothing:
        kept = apply(elementwise.multiply, (target, 1 - smoothing))
        target = apply(elementwise.add, (kept, smoothing / classes))
    product = apply(elementwise.multiply, (logs, target))
    if weights is not None:
        along = weights.reshape((-1,) + (1,) * (len(shape) - dim - 1)).astype(input.array.dtype, copy=False)
        product = apply(elementwise.multiply, (product, along))
    loss = apply(elementwise.negative, (apply(reductions.sum, (product,), {"axis": dim}),))
    return _reduced(loss, reduction)


def kl_div(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:  # fmt: skip
    """``target * (log(target) - input)``: the Kullback-Leibler divergence of log-probabilities from probabilities.

    Args:
        input: log-probabilities.
        target: probabilities, or their logarithms where ``log_target``; of the shape of ``input``.
        reduction: ``"batchmean"`` is the divergence by definition, the sum divided by the first side. ``"mean"`` (the
            default, as in PyTorch) divides by all sides; ``"sum"`` and ``"none"`` as elsewhere.
        log_target: whether ``target`` is given as logarithms.

    Raises:
        ShapeError: the shapes differ.

    >>> import autograd_ff as af
    >>> from autograd_ff.functions.losses import kl_div
    >>> p = af.tensor([[0.5, 0.5]])
    >>> kl_div(p.log(), p, reduction="batchmean").item()
    0.0
    """
    reduction = check_reduction(reduction, size_average, reduce, ("batchmean",))
    _check_shapes("kl_div", input, target)
    with scope("composite", "kl_div", "kl_div"):
        if log_target:
            difference = apply(elementwise.subtract, (target, input))
            loss = apply(elementwise.multiply, (apply(elementwise.exp, (target,)), difference))
        else:
            own = apply(special.xlogy, (target, target))
            loss = apply(elementwise.subtract, (own, apply(elementwise.multiply, (target, input))))
        if reduction == "batchmean":
            shape = _shape(input)
            return apply(elementwise.divide, (apply(reductions.sum, (loss,)), shape[0] if shape else 1))
        return _reduced(loss, reduction)
