"""A gradient check of the very step that trains: the loss of a first batch, with its penalty, in float64.

A central difference along random directions in all parameters at once costs a few forward passes, and finds whether any
gradient is wrong. Only where it disagrees, parameters are looked at one by one, and what is left goes to
`testing.gradcheck`, which knows kinks and noise and names the operation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ...autograd import grad
from ...compiler.trees import flatten, rebuild
from ...engine import TensorCore, enable_grad, wrap
from ...nn import Module
from ...nn.stateless import functional_call
from ..randomness import RandomState
from .finding import Finding, listed
from .inputs import named

__all__ = ["check_gradients", "in_float64"]

_SAMPLES = 32  # of the batch
_FEW = 8  # of a large model's
_LARGE = 1_000_000  # parameters of a large model
_HUGE = 20_000_000  # parameters of one that is not checked
_ROUNDS = 2  # random directions; one for a large model
# One that agrees is enough: among kinks a smaller one does, with noise a larger.
_STEPS = (1e-6, 1e-5, 1e-7, 1e-4, 1e-8, 1e-3)
_TOLERANCE = 1e-5
_EPSILON = float(np.finfo(np.float64).eps)

_Arrays = dict[str, np.ndarray]


def check_gradients(trainer: Any, inputs: Any, targets: Any, weights: Any) -> Iterator[Finding]:
    """Whether the gradients of ``trainer.compute_loss`` are those of its loss."""
    step = _Step(trainer)
    trained = step.trained()
    count = sum(one.array.size for one in trained.values())
    if not trained:
        return
    if count > _HUGE:
        yield _note(f"{count:,} parameters are too many for it before each training")
        return
    random = RandomState(trainer)
    loss = None
    for batch in _parts((inputs, targets, weights), _FEW if count > _LARGE else _SAMPLES):
        precise = _Precise(step, trained, batch, random)
        try:
            loss, gradients = precise.gradients()
            break
        except Exception as error:
            reason = f"the step does not run in float64: {type(error).__name__}: {str(error).splitlines()[0]:.120}"
    if loss is None:
        yield _note(reason)
        return
    if loss.dtype != np.float64 or not np.isfinite(loss).all():
        yield _note("the loss is not finite" if loss.dtype == np.float64 else f"the model computes in {loss.dtype}")
        return
    if loss.size != 1:
        yield _note(f"the loss has shape {loss.shape}, and one number was looked for")
        return
    value = float(loss.item())
    if precise.value({}) != value:
        yield _note("two runs of the same step gave different losses, so there is no derivative to compare with")
        return
    yield from _compared(precise, value, gradients, count)


def _note(why: str) -> Finding:
    return Finding("gradients", f"the gradients were not checked: {why}", severity="info")


class _Step(Module):
    """A trainer's loss as a module, so that its parameters can be exchanged for others."""

    def __init__(self, trainer: Any) -> None:
        super().__init__()
        self.model = trainer.model
        if isinstance(trainer.loss, Module):
            self.loss = trainer.loss
        self._compute = trainer.compute_loss

    def trained(self) -> dict[str, Any]:
        return {name: one for name, one in self.named_parameters() if one.requires_grad and one.array.dtype.kind == "f"}

    def forward(self, inputs: Any, targets: Any, weights: Any) -> Any:
        return self._compute(inputs, targets, weights)[0]


def _parts(batch: tuple[Any, Any, Any], samples: int) -> Iterator[tuple[Any, Any, Any]]:
    """The first samples of a batch; then, for a model that cannot do with less, all of it."""
    lengths = {one.array.shape[0] if one.array.ndim else 0 for part in batch for _, one in named(part, "")}
    if len(lengths) == 1 and lengths.pop() > samples:
        inputs, targets, weights = (_rows(part, samples) for part in batch)
        yield inputs, targets, weights
    yield batch


def _rows(tree: Any, samples: int) -> Any:
    return _each(tree, lambda array: array[:samples])


def _each(tree: Any, function: Any) -> Any:
    """The tree with a function applied to the arrays of its Tensors."""
    leaves: list[Any] = []
    structure = flatten(tree, leaves)
    made = (wrap(function(one.array)) if isinstance(one, TensorCore) else one for one in leaves)
    return rebuild(structure, made.__next__)


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if array.dtype.kind == "f" else array


class _Precise:
    """The loss as a function of the parameters, in float64, with the same random numbers in every call."""

    def __init__(
        self, step: _Step, trained: Mapping[str, Any], batch: tuple[Any, Any, Any], random: RandomState
    ) -> None:
        self._step, self._random = step, random
        self._batch = tuple(_each(part, _wide) for part in batch)
        state = [*step.named_parameters(), *step.named_buffers()]
        self._others = {name: one.array for name, one in state if name not in trained}
        self.values = {name: one.array.astype(np.float64) for name, one in trained.items()}

    def run(self, tensors: Mapping[str, Any]) -> Any:
        self._random.restore()
        # Buffers may be written, running statistics say, so each call gets copies.
        place = {name: wrap(np.array(_wide(array))) for name, array in self._others.items()}
        return functional_call(self._step, {**place, **tensors}, self._batch)

    def value(self, moved: Mapping[str, np.ndarray]) -> float:
        """The loss where some parameters have other values."""
        with enable_grad():  # a loss may differentiate inside
            return float(
                self.run({name: wrap(moved.get(name, value)) for name, value in self.values.items()}).array.item()
            )

    def gradients(self) -> tuple[np.ndarray, _Arrays]:
        tensors = {name: wrap(value.copy()) for name, value in self.values.items()}
        for one in tensors.values():
            one.requires_grad = True
        with enable_grad():
            loss = self.run(tensors)
            found = (
                grad(loss, list(tensors.values()), allow_unused=True) if loss.requires_grad else [None] * len(tensors)
            )
        zeros = self.values
        return loss.array, {
            name: np.zeros_like(zeros[name]) if one is None else np.asarray(one.detach().array, np.float64)
            for name, one in zip(tensors, found, strict=True)
        }


# ---------------------------------------------------------------- the comparison


def _compared(precise: _Precise, value: float, gradients: _Arrays, count: int) -> Iterator[Finding]:
    generator = np.random.default_rng(0)
    directions: _Arrays = {}
    for _ in range(1 if count > _LARGE else _ROUNDS):
        directions = _directions(generator, precise.values, gradients)
        if not _agree(precise, value, gradients, directions):
            break
    else:
        return
    suspects = [
        name for name, one in directions.items() if not _agree(precise, value, gradients, {name: one})
    ]  # fmt: skip
    if not suspects:
        return
    suspects.sort(key=lambda name: precise.values[name].size)
    yield from _judged(precise, directions, suspects, 1 if count > _LARGE else 3)


def _directions(generator: np.random.Generator, values: _Arrays, gradients: _Arrays) -> _Arrays:
    """A random direction for each parameter, in steps of its own size, larger where the loss depends little on it."""
    found: _Arrays = {}
    sizes: dict[str, float] = {}
    for name, value in values.items():
        direction = generator.random(value.shape, np.float32) - np.float32(0.5)
        direction *= np.float32(max(float(np.sqrt(np.mean(value**2))) if value.size else 0.0, 0.01))
        found[name] = direction
        sizes[name] = float(np.linalg.norm(gradients[name])) * float(np.abs(direction).max(initial=0.0))
    largest = max(sizes.values())
    for name, size in sizes.items():
        found[name] *= np.float32(min(largest / size, 100.0)) if size else np.float32(100.0)
    return found


def _agree(precise: _Precise, value: float, gradients: _Arrays, directions: _Arrays) -> bool:
    """Whether the derivative along the directions together is that of the gradients."""
    parts = [float(np.vdot(gradients[name], one)) for name, one in directions.items()]
    sizes = [np.linalg.norm(gradients[name]) * np.abs(one).max(initial=0.0) for name, one in directions.items()]
    expected, scale = sum(parts), float(np.sqrt(sum(size**2 for size in sizes)))
    for step in _STEPS:
        try:
            ahead, back = (
                precise.value({name: precise.values[name] + side * step * one for name, one in directions.items()})
                for side in (1.0, -1.0)
            )
        except Exception:  # beyond the domain of the loss
            continue
        noise = 16 * _EPSILON * abs(value) / step
        if abs((ahead - back) / (2 * step) - expected) <= _TOLERANCE * scale + noise:
            return True
    return False


def _judged(precise: _Precise, directions: _Arrays, suspects: list[str], most: int) -> Iterator[Finding]:
    """What `testing.gradcheck` says of the parameters whose gradient a difference did not confirm."""
    from ...testing import gradcheck

    chosen = suspects[:most]
    others = {name: wrap(value) for name, value in precise.values.items() if name not in chosen}
    base = {name: wrap(precise.values[name]) for name in chosen}
    along = {name: wrap(directions[name].astype(np.float64)) for name in chosen}

    def loss(steps: Any) -> Any:
        moved = {name: base[name] + steps[name] * along[name] for name in chosen}
        with enable_grad():
            return precise.run({**others, **moved})

    report = gradcheck(loss, ({name: np.zeros(()) for name in chosen},), full=1, frozen=True)
    if report.verdict != "FAIL":
        return
    names = tuple(name.removeprefix("model.") for name in suspects)
    culprit, worst = report.culprit, report.worst
    plural = "gradients of" if len(names) > 1 else "gradient of"
    verb = "are" if len(names) > 1 else "is"
    numbers = (
        "" if worst is None else f"; along a random direction {worst.analytic:.6g}, numerically {worst.numeric:.6g}"
    )
    message = f"the {plural} {listed(names)} {verb} wrong"
    if culprit is None:
        yield Finding(
            "gradients", f"{message}{numbers}",
            "No operation's own rule is wrong: does a value leave the graph on the way (numpy(), item(), .data)?",
            severity="error", names=names,
        )  # fmt: skip
    elif culprit.cut:  # as it may be meant: a target that is held fixed, a straight-through estimate
        yield Finding(
            "gradients",
            f"part of what {listed(names)} do{'es' if len(names) == 1 else ''} to the loss has no gradient: the path is cut "
            f"at {culprit.op}" + (f" ({_plain(culprit.cause)})" if culprit.cause else ""),
            site=culprit.source or "", severity="info", names=names,
        )  # fmt: skip
    else:
        entry = culprit.entry
        what = "" if entry is None else f" of {culprit.op} by its {entry.place}: {entry.numbers}"
        yield Finding(
            "gradients", f"{message}: the derivative{what}" if what else f"{message}{numbers}: {culprit.op}",
            (f"Likely cause: {_plain(culprit.cause)}.\n" if culprit.cause else "")
            + "autograd_ff.testing.gradcheck of this operation shows more.",
            culprit.source or "", "error", names,
        )  # fmt: skip


def _plain(text: str) -> str:
    """Parameters by their names in the model."""
    return re.sub(r"steps\['(?:model\.)?([^']*)'\]", r"\1", text)


def in_float64(trainer: Any, inputs: Any, targets: Any, weights: Any) -> float | None:
    """The loss of a step in float64, where it and all gradients are finite there; else None."""
    step = _Step(trainer)
    trained = step.trained()
    if sum(one.array.size for one in trained.values()) > _HUGE:
        return None
    try:
        loss, gradients = _Precise(step, trained, (inputs, targets, weights), RandomState(trainer)).gradients()
    except Exception:
        return None
    finite = loss.dtype == np.float64 and all(bool(np.isfinite(one).all()) for one in (loss, *gradients.values()))
    return float(np.max(loss)) if finite and loss.size else None
