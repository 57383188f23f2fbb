"""The gradient of a whole network, parameter by parameter."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from ..autograd import grad
from ..engine import TensorCore, enable_grad, here, no_grad, observe, wrap
from ..errors import GraphError
from .branches import BranchRecorder
from .gradcheck import compare, dense
from .numeric import derivative
from .report import KINK, NONDETERMINISTIC, NONFINITE, PASS, WORST_FIRST, Entry
from .tree import flatten, rebuild

__all__ = ["ModuleReport", "check_module"]


@dataclass(frozen=True)
class ModuleReport:
    """The result of `check_module`: a row for each parameter.

    >>> import autograd_ff as af
    >>> from autograd_ff import nn, testing
    >>> report = testing.check_module(nn.Linear(3, 2), af.ones(4, 3), lambda outputs: (outputs**2).mean())
    >>> report.passed, [(entry.input, shape) for entry, shape in report.rows]
    (True, [('weight', (2, 3)), ('bias', (2,))])
    """

    verdict: str
    rows: list[tuple[Entry, tuple[int, ...]]]  # the worst direction of a parameter, and the parameter's shape
    loss: float
    note: str = ""

    @property
    def passed(self) -> bool:
        return self.verdict == PASS

    @property
    def worst(self) -> Entry | None:
        """The parameter furthest over its tolerance."""
        return max((entry for entry, _ in self.rows), key=lambda entry: entry.error, default=None)

    def table(self) -> str:
        """The rows as text, one parameter a line."""
        head = ("parameter", "shape", "analytic", "numeric", "numeric error", "error/tolerance", "verdict")
        body = [
            (
                entry.input,
                "×".join(map(str, shape)) or "scalar",
                f"{entry.analytic:.9g}",
                f"{entry.numeric:.9g}",
                f"{entry.estimate:.1e}",
                f"{entry.error:.3g}",
                entry.verdict,
            )
            for entry, shape in self.rows
        ]
        widths = [max(len(row[column]) for row in (head, *body)) for column in range(len(head))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (head, *body)
        )

    def as_dict(self) -> dict[str, Any]:
        """The report in plain Python types, for JSON."""
        return {
            "verdict": self.verdict,
            "passed": self.passed,
            "loss": self.loss,
            "note": self.note,
            "parameters": [
                {
                    "name": entry.input,
                    "shape": list(shape),
                    "analytic": entry.analytic,
                    "numeric": entry.numeric,
                    "numeric_error": entry.estimate,
                    "error_over_tolerance": entry.error,
                    "verdict": entry.verdict,
                }
                for entry, shape in self.rows
            ],
        }

    def __str__(self) -> str:
        first = f"{self.verdict}: the gradient of {len(self.rows)} parameters along random directions"
        return "\n".join([first, *([self.note] if self.note else []), self.table()])


def check_module(
    module: Any,
    inputs: Any,
    loss: Callable[[Any], Any],
    *,
    directions: int = 2,
    rtol: float = 1e-5,
    atol: float = 1e-7,
    seed: int = 0,
) -> ModuleReport:
    """Hold the gradient of every parameter of a module against numeric derivatives along random dense directions.

    Works on a float64 copy; the module itself is not touched. Layers keep their mode: call ``module.eval()`` first
    where dropout would make two calls differ.

    Args:
        module: an ``nn.Module``, with ``named_parameters()`` and ``double()``.
        inputs: the Tensor (or tuple of them) to call it with.
        loss: a function of the module's output that returns a tensor of one element.
        directions: how many random directions for each parameter.
        rtol: what a derivative may differ by, relative to itself.
        atol: what it may differ by, relative to the norm of the parameter's gradient.
        seed: of the directions.

    Returns:
        A report: ``passed``, ``rows``, ``table()``, ``as_dict()``.

    Raises:
        GraphError: the loss is not one number, or no parameter requires grad.

    >>> import autograd_ff as af
    >>> net = af.nn.Linear(3, 2)
    >>> report = check_module(net, af.ones(4, 3), lambda output: (output * output).mean())
    >>> report.passed, [entry.input for entry, shape in report.rows]
    (True, ['weight', 'bias'])
    """
    network = copy.deepcopy(module).double()
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    arguments = rebuild(arguments, [_in_float64(leaf) for leaf in flatten(arguments)])
    parameters = {name: one for name, one in network.named_parameters() if one.requires_grad}
    if not parameters:
        raise GraphError(f"no parameter of this module requires grad, so there is no gradient to check.{here()}")

    def value() -> tuple[float, bytes]:
        """The loss, and the smooth piece that it was computed on: which units of a ReLU were on."""
        with no_grad(), observe(recorder := BranchRecorder()):
            return float(loss(network(*arguments)).array.reshape(())), recorder.digest

    with enable_grad():
        result = loss(network(*arguments))
        if not isinstance(result, TensorCore) or result.array.size != 1:
            raise GraphError(f"the loss must be a Tensor of one element, for example a mean.{here()}")
    (first, home_piece), (second, _) = value(), value()
    if first != second:
        note = "two calls with the same inputs gave different losses; call module.eval() first if it has dropout"
        return ModuleReport(NONDETERMINISTIC, [], first, note)
    if not np.isfinite(first):
        return ModuleReport(NONFINITE, [], first, f"the loss is {first}")
    gradients: tuple[Any, ...] = (None,) * len(parameters)
    if result.requires_grad:
        gradients = grad([cast(Any, result)], list(parameters.values()), allow_unused=True)
    generator = np.random.default_rng(seed)
    rows: list[tuple[Entry, tuple[int, ...]]] = []
    for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
        home = parameter.array
        slope = np.zeros_like(home) if gradient is None else gradient.array
        entries = []
        for _ in range(directions):
            direction = dense(generator, home.shape)

            def along(t: float, parameter: Any = parameter, home: Any = home, direction: Any = direction) -> Any:
                parameter.data = wrap(np.asarray(home + t * direction))
                moved, piece = value()
                return np.array(moved if piece == home_piece else np.nan)

            numeric, estimate = derivative(along)
            parameter.data = wrap(home)
            analytic = float(np.sum(slope * direction))
            scale = float(np.linalg.norm(slope))
            entry = compare(
                (name, None, None), analytic, float(numeric), float(estimate), scale, abs(first), rtol, atol
            )
            if not np.isfinite(estimate) and np.isfinite(analytic):
                entry = replace(entry, verdict=KINK)
            entries.append(entry)
        rows.append((max(entries, key=lambda entry: (entry.verdict != PASS, entry.error)), home.shape))
    verdicts = [entry.verdict for entry, _ in rows]
    verdict = next((one for one in WORST_FIRST if one in verdicts), PASS)
    return ModuleReport(verdict, rows, first)


def _in_float64(leaf: Any) -> Any:
    if not isinstance(leaf, (TensorCore, np.ndarray)):
        return leaf
    array = leaf.array if isinstance(leaf, TensorCore) else leaf
    return wrap(np.array(array, dtype=np.float64 if array.dtype.kind == "f" else array.dtype))
