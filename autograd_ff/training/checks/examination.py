"""The look at the first batch before the first epoch: what is wrong is said before anybody has waited for it.

`examine` runs the step on one batch, forward and backward, leaves no trace of it, and returns what it found. Its checks, by
name:

- ``"shapes"``: outputs and targets that do not fit each other, or that a loss broadcasts.
- ``"labels"``: classes out of range, targets that are no probabilities where the loss takes these, NaN.
- ``"inputs"``: numbers that are not scaled, NaN, a batch of equal samples.
- ``"float64"``: float64 arrays that slow a float32 model down.
- ``"parameters"``: those that get no gradient, or one of 0, and those that the optimizer does not hold.
- ``"gradients"``: the derivative of the step's loss, held against numeric ones.
- ``"output"``: softmax before cross-entropy and its like.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from ...autograd import grad
from ...engine import Node, here, no_grad, observe
from ...errors import ShapeError
from ...functions import Tensor
from ...nn import Module
from ..randomness import RandomState
from ..untouched import untouched
from .finding import Finding
from .gradients import check_gradients
from .inputs import Entering, check_inputs
from .parameters import check_held, check_zero, named_parameters
from .targets import check_labels, check_outputs, check_shapes

__all__ = ["NAMES", "examine"]

NAMES = ("shapes", "labels", "inputs", "float64", "parameters", "gradients", "output")

_SEVERITIES = ("error", "warning", "info")
_OF_LINT = {  # which check a finding of visualize.lint belongs to; one of another kind belongs to none
    "broadcast": "shapes",
    "float64": "float64",
    "no gradient": "parameters",
    "kept alive": "parameters",
    "scores": "output",
    "mode": "output",
}

_ADVICE = {
    "no gradient": "Let the gradient through there (no detach(), no_grad(), sign() … on the way) if it is to be trained; freeze it if not: "
    "requires_grad_(False).",
    "float64": "float64 takes twice the memory and time; of NumPy arrays say x.astype(np.float32).",
}


def examine(
    trainer: Any, inputs: Any, targets: Any = None, weights: Any = None, which: Collection[str] | bool = True
) -> list[Finding]:
    """What looks wrong in the first step of a training, worst first.

    The step runs in training mode, forward and backward, without an update. Parameters, buffers, gradients, modes,
    attributes of the modules and the states of random generators are afterwards as they were. (What hooks do elsewhere is
    theirs.) A step that raises is no finding of its own, unless nothing else explains it. What is looked at is the loss of
    ``trainer.compute_loss``; where a subclass has a ``train_step`` that does not call it, there is nothing to look at.

    Args:
        trainer: a `Trainer`.
        inputs, targets, weights: one batch.
        which: names of checks, True for all.

    Raises:
        ShapeError: there is no check of that name.

    >>> import autograd_ff as af
    >>> from autograd_ff.training import Trainer
    >>> model = af.nn.Linear(4, 3)
    >>> trainer = Trainer(model, af.nn.CrossEntropyLoss(), af.optim.SGD(model.parameters(), lr=0.1))
    >>> print(examine(trainer, af.eye(4), af.tensor([1, 2, 3, 1]))[0])
    error: the labels run from 1 to 3, and the model has 3 outputs, for the classes 0 to 2
      Subtract 1: y - 1.
    """
    names = _chosen(which)
    if not names or not _looks_at_compute_loss(trainer):
        return []
    with untouched(trainer), np.errstate(all="ignore"):  # what is not finite is told by the findings
        found = list(_Examination(trainer, inputs, targets, weights).findings(names))
    return sorted(dict.fromkeys(found), key=lambda one: _SEVERITIES.index(one.severity))


def _looks_at_compute_loss(trainer: Any) -> bool:
    """Whether the step descends the loss that is looked at here; one of the user's own may leave it aside."""
    step = getattr(type(trainer).train_step, "__code__", None)
    base = type(trainer).train_step.__module__.startswith(__name__.partition(".")[0])
    return base or step is None or not {"compute_loss", "train_step"}.isdisjoint(step.co_names)


def _chosen(which: Collection[str] | bool) -> set[str]:
    if isinstance(which, bool):
        return set(NAMES) if which else set()
    names = {which} if isinstance(which, str) else set(which)
    for name in sorted(map(str, names - set(NAMES))):
        near = difflib.get_close_matches(name, NAMES, 1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise ShapeError(f"there is no check {name!r}{meant} The checks are {', '.join(map(repr, NAMES))}.{here()}")
    return names


class _Examination:
    """One run of the step, seen by all checks."""

    def __init__(self, trainer: Any, inputs: Any, targets: Any, weights: Any) -> None:
        self.trainer = trainer
        self.inputs, self.targets, self.weights = inputs, targets, weights
        self.loss: Any = None
        self.outputs: Any = None
        self.error: Exception | None = None
        self.lint: tuple[Any, ...] = ()
        self.parameters: dict[str, Any] = {}
        self.gradients: dict[str, np.ndarray] = {}
        self.finite = False
        self.entering = Entering(inputs)
        self._random = RandomState(trainer)

    def findings(self, names: set[str]) -> Iterator[Finding]:
        self.trainer.model.train()
        self._run()
        self._differentiate()
        found = [
            one for name in NAMES if name in names and name not in ("parameters", "gradients") for one in self._of(name)
        ]
        yield from found
        if self.error is not None:
            if not any(one.severity == "error" for one in found):
                what = f"{type(self.error).__name__}: {self.error}"
                yield Finding("shapes", f"the step raises {what}", severity="info")
            return
        if "parameters" in names:
            yield from self._of("parameters")
        if "gradients" in names:
            yield from check_gradients(self.trainer, self.inputs, self.targets, self.weights)

    def _of(self, name: str) -> Iterator[Finding]:
        loss = self.trainer.loss
        if name == "shapes":
            yield from check_shapes(loss, self.outputs, self.targets)
        elif name == "labels":
            yield from check_labels(loss, self.outputs, self.targets)
        elif name == "inputs":
            yield from check_inputs(self.inputs, self.entering, self.finite)
        elif name == "output" and not any(one.kind == "scores" for one in self.lint):
            yield from check_outputs(loss, self.outputs)
        yield from self._linted(name)
        if name == "parameters":
            yield from self._parameters()

    # ---------------------------------------------------------------- the run

    def _step(self) -> Any:
        self._random.restore()
        loss, self.outputs = self.trainer.compute_loss(self.inputs, self.targets, self.weights)
        return loss

    def _run(self) -> None:
        """The step once, under the eyes of `visualize.lint`."""
        from visualize import lint

        trainer = self.trainer
        modules = [one for one in (trainer.model, trainer.loss) if isinstance(one, Module)]

        def step(inputs: Any, targets: Any, weights: Any) -> Any:
            assert modules  # lint looks for modules in what a function reads from around it
            try:
                self.loss = self._step()
            except Exception as error:
                self.error = error
                raise
            return self.loss

        try:
            with observe(self.entering):
                self.lint = tuple(lint(step, self.inputs, self.targets, self.weights, names={"model": trainer.model}))
        except Exception:  # the step's own, or lint met something that it cannot read
            if self.error is None and self.loss is None:
                with observe(self.entering):
                    self._without_lint()
        if self.error is not None and self.outputs is None:
            try:  # what the loss refused
                self._random.restore()
                with no_grad():
                    self.outputs = trainer(self.inputs)
            except Exception:  # it was the model
                pass

    def _without_lint(self) -> None:
        try:
            self.loss = self._step()
        except Exception as error:
            self.error = error

    def _differentiate(self) -> None:
        if not isinstance(self.loss, Tensor) or self.loss.node is None or self.loss.array.size != 1:
            return
        self.parameters = {name: one for name, one in named_parameters(self.trainer).items() if one.requires_grad}
        if not self.parameters:
            return
        try:
            found = grad(self.loss, list(self.parameters.values()), retain_graph=True, allow_unused=True)
        except Exception as error:
            self.error = error
            return
        self.gradients = {
            name: one.detach().array
            for name, one in zip(self.parameters, found, strict=True)
            if one is not None
        }  # fmt: skip
        arrays = [self.loss.array, *self.gradients.values()]
        self.finite = all(bool(np.isfinite(one).all()) for one in arrays)

    # ---------------------------------------------------------------- what only the run shows

    def _linted(self, name: str) -> Iterator[Finding]:
        for one in self.lint:
            if _OF_LINT.get(one.kind) == name:
                site = "" if one.source is None else str(one.source)
                yield Finding(name, one.message, _ADVICE.get(one.kind, ""), site, one.severity, one.names)

    def _parameters(self) -> Iterator[Finding]:
        if self.loss is None or not isinstance(self.loss, Tensor):
            return
        yield from check_held(self.trainer, _nodes_behind(self.loss.node))
        if self.gradients and self.finite:
            yield from check_zero(self.parameters, self.gradients, self._step)


def _nodes_behind(root: Node | None) -> set[Node]:
    seen: set[Node] = set()
    work = [root]
    while work:
        node = work.pop()
        if node is not None and node not in seen:
            seen.add(node)
            work += node.parents
    return seen
