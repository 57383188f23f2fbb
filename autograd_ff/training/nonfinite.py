"""Why a loss or a gradient of a training is not finite: the operation, the sample or the weight that it began with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..autograd import detect_anomaly, grad
from ..errors import AnomalyError
from ..functions import Tensor
from .checks.gradients import in_float64
from .checks.inputs import named, spoiled
from .checks.parameters import named_parameters
from .randomness import RandomState
from .untouched import untouched

__all__ = ["explain"]

_GROWN = 1e3  # weights larger than this speak of a training that diverges

# Operations that put infinities in on purpose, as a mask before a softmax does.
_FILLING = {
    "where", "write", "write_view", "copyto", "full_like", "masked_fill", "multiply", "add", "maximum", "minimum",
}  # fmt: skip

_ADVICE = (
    (r"log|log2|log10|log1p|xlogy", "log of 0, or of a number below: clamp(min=1e-8) before it. For log(softmax(x)) use "
     "log_softmax or cross_entropy, for log(sigmoid(x)) binary_cross_entropy_with_logits."),
    (r"exp|exp2|expm1|sinh|cosh|power|square", "The result is too large for float32: for log(sum(exp(x))) use logsumexp, and "
     "softmax for a ratio of exponentials; else bound what goes into it (clamp(max=80))."),
    (r"divide|reciprocal", "Division by 0: add a small number to the denominator (x / (y + 1e-8))."),
    (r"sqrt|norm|vector_norm|hypot|std", "The derivative of a square root is infinite at 0: add a small number under it "
     "((x + 1e-12).sqrt())."),
    (r"softmax|log_softmax|cross_entropy|logsumexp", "A row of scores is infinite: is all of it masked with -inf?"),
    (r"arccos|arcsin|arctanh|acos|asin|atanh", "It lies outside of the domain, or its slope is infinite at the ends: "
     "clamp(-1 + 1e-6, 1 - 1e-6)."),
)  # fmt: skip


def explain(trainer: Any, inputs: Any, targets: Any = None, weights: Any = None) -> str:
    """What made the loss or a gradient of a batch NaN or infinite, and what to do.

    Runs the step again, forward and backward, under `autograd.detect_anomaly`; it draws the random numbers that the
    generators stand at, and leaves no trace.

    Args:
        trainer: a `Trainer`, with the weights, buffers and generators as before the step.
        inputs, targets, weights: the batch.

    >>> import autograd_ff as af
    >>> from autograd_ff.training import Trainer
    >>> model = af.nn.Linear(2, 1)
    >>> trainer = Trainer(model, lambda out, y: (out * 0).log().sum(), af.optim.SGD(model.parameters(), lr=0.1))
    >>> print(explain(trainer, af.ones(3, 2), af.ones(3, 1)).split(" of its output")[0])
    log made -inf at index (0, 0)
    """
    with untouched(trainer), np.errstate(all="ignore"):
        return "\n".join(_lines(trainer, inputs, targets, weights))


def _lines(trainer: Any, inputs: Any, targets: Any, weights: Any) -> Iterator[str]:
    parameters = named_parameters(trainer)
    state = {**parameters, **dict(trainer.model.named_buffers())}
    broken = {name: one.array for name, one in state.items() if not _finite(one.array)}
    if broken:
        name, array = next(iter(broken.items()))
        more = f", and of {len(broken) - 1} others" if len(broken) > 1 else ""
        what = spoiled(name, array, of="")
        yield f"Before this batch {what}{more}: an earlier step made it so, or what the weights were loaded from."
        yield "  Start from weights that are finite; fit(check_finite=True) stops before they break."
        return
    data = [(name, one) for what, part in (("inputs", inputs), ("targets", targets), ("weights", weights))
            for name, one in named(part, what)]  # fmt: skip
    bad = [what for name, tensor in data if (what := spoiled(name, tensor.array))]
    if bad:
        yield "The data are not finite: " + "; ".join(bad) + "."
        yield "  Remove these samples, or fill them in: np.nan_to_num(x), or the mean of the column."
        return
    random = RandomState(trainer)
    told, loss, gradients = _hunt(trainer, parameters, inputs, targets, weights, random)
    if told:
        yield told
        op = _op_of(told)
        for names, advice in _ADVICE:
            if op and re.fullmatch(names, op):
                yield f"  {advice}"
                break
    elif loss is not None:
        yield from _without_anomaly(loss, gradients)
    random.restore()
    yield from _growth(trainer, parameters)
    precise = in_float64(trainer, inputs, targets, weights)
    if precise is not None:
        yield (
            f"  In float64 the same step is finite (the loss is {precise:.6g}): it is an overflow of float32. A lower learning "
            "rate, fit(clip=1.0), or scaled inputs keep the numbers small."
        )


def _finite(array: Any) -> bool:
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())


def _hunt(
    trainer: Any, parameters: dict[str, Any], inputs: Any, targets: Any, weights: Any, random: RandomState
) -> tuple[str, Any, dict[str, np.ndarray]]:
    """What the anomaly detection said, and the loss and the gradients where it said nothing."""
    told = ""
    for allow_infinity in (False, True):
        random.restore()
        try:
            with detect_anomaly(allow_infinity=allow_infinity):
                loss, _ = trainer.compute_loss(inputs, targets, weights)
                if not allow_infinity and isinstance(loss, Tensor) and not _finite(loss.array):
                    continue  # out of infinities that were there from the start
                tensors = {name: one for name, one in parameters.items() if one.requires_grad}
                found: Any = ()
                if isinstance(loss, Tensor) and loss.node is not None:
                    found = grad(loss, list(tensors.values()), allow_unused=True)
        except AnomalyError as error:
            told = "\n".join([str(error), *getattr(error, "__notes__", ())])
            if allow_infinity or _op_of(told) not in _FILLING:
                return told, None, {}
            continue  # a mask of infinities may be meant: what makes a NaN?
        except Exception as error:  # the step raises by itself
            return told or f"Run again, the step raises {type(error).__name__}: {error}", None, {}
        array = loss.array if isinstance(loss, Tensor) else np.asarray(loss)
        gradients = {
            name: one.detach().array for name, one in zip(tensors, found, strict=False) if one is not None
        }  # fmt: skip
        if told and not (_finite(array) and all(map(_finite, gradients.values()))):
            return told, array, gradients  # there is no NaN, so it was the infinity after all
        return "", array, gradients
    return told, None, {}


def _op_of(told: str) -> str:
    found = re.match(r"(?:the derivative of )?(\w+) made ", told)
    return found[1] if found else ""


def _without_anomaly(loss: np.ndarray, gradients: dict[str, np.ndarray]) -> Iterator[str]:
    bad = [name for name, one in gradients.items() if not _finite(one)]
    if not _finite(loss):
        yield f"The loss is {loss}, without an operation that made it so out of finite numbers: a constant is not finite."
    elif bad:
        yield f"The loss is {loss:.6g}, and the gradient of {bad[0]} is not finite: sums of finite gradients overflow."
    else:
        name, largest = max(((name, float(np.abs(one).max(initial=0.0))) for name, one in gradients.items()),
                            key=lambda one: one[1], default=("", 0.0))  # fmt: skip
        if largest > 1e18:
            yield (
                f"All gradients are finite, but their norm is not: that of {name} has elements up to {largest:.3g}, whose "
                "square is too large for float32."
            )
        else:
            yield (
                f"Run again, the step is finite (the loss is {float(np.max(loss)):.6g}): it depends on something that changes "
                "from run to run, such as random numbers of a generator that the trainer does not know."
            )


def _growth(trainer: Any, parameters: dict[str, Any]) -> Iterator[str]:
    sizes = {name: float(np.abs(one.array).max(initial=0.0)) for name, one in parameters.items()}
    if not sizes:
        return
    name = max(sizes, key=lambda one: sizes[one])
    if sizes[name] > _GROWN:
        groups = getattr(trainer.optimizer, "param_groups", None)
        rate = f" (it is {groups[0]['lr']:.3g})" if groups and "lr" in groups[0] else ""
        yield (
            f"  The weights have grown to {sizes[name]:.3g} ({name}): the training diverged before. Lower the learning "
            f"rate{rate}, or clip the gradients: fit(clip=1.0)."
        )
