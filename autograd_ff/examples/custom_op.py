"""An operation with a gradient of one's own: wrong at first, in a way that the usual check lets pass, then right,
twice.

log cosh is a loss that is smooth like the squared error at 0 and grows like the absolute error. Written out,
log(cosh(x)) overflows; as an operation of its own it does not, and its gradient is simply tanh(x). The wrong version
forgets to multiply by the gradient that comes from above. As that is 1 below a sum, comparing the gradient of
`f(x).sum()` with differences finds nothing; `gradcheck` lets random gradients come from above, finds it inside a
model, and says which operation it is and why.

An operation is either a `Function`, a class with forward and backward, as in PyTorch; or an `engine.primitive`: a
NumPy function, its rule as a NumPy expression, and the domain that tests may draw from. Both can be differentiated
again; "second order" asks whether that derivative of the gradient is right, whatever the gradient is.

Sources: S. Chen et al., "Log Hyperbolic Cosine Loss Improves Variational Auto-Encoder" (2018), of the loss; K.
Claessen and J. Hughes, "QuickCheck" (2000), of tests on inputs that are drawn.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import autograd_ff as af
from autograd_ff import engine
from autograd_ff.autograd import Function, FunctionContext
from autograd_ff.testing import NumPyDraw, Report, given_gradients, gradcheck, table, tensors

from . import command

Loss = Callable[[af.Tensor], af.Tensor]


class Forgetful(Function):
    """log cosh x with a mistake."""

    @staticmethod
    def forward(ctx: FunctionContext, x: af.Tensor) -> af.Tensor:
        ctx.save_for_backward(x)
        return abs(x) + af.log1p(af.exp(-2 * abs(x))) - math.log(2)  # nothing in it overflows

    @staticmethod
    def backward(ctx: FunctionContext, gradient: af.Tensor) -> af.Tensor:
        (x,) = ctx.saved_tensors
        return af.tanh(x)  # wrong: times what?


class LogCosh(Forgetful):
    """log cosh x."""

    @staticmethod
    def backward(ctx: FunctionContext, gradient: af.Tensor) -> af.Tensor:
        (x,) = ctx.saved_tensors
        return gradient * af.tanh(x)


@functools.cache  # an op has its name once; a program of its own enters it at the top of a module
def log_cosh() -> Loss:
    """The same as an op of the engine."""

    def value(x: np.ndarray) -> np.ndarray:
        size = np.abs(x)
        return size + np.log1p(np.exp(-2 * size)) - math.log(2)

    return engine.primitive(
        value, lambda g, x: g * np.tanh(x), name="log_cosh", inputs=("x",), promotion="float", domain=engine.REAL
    )  # fmt: skip


def model_with(loss: Loss) -> Callable[..., af.Tensor]:
    """Where the loss is used: in the middle of something."""

    def model(x: af.Tensor, weight: af.Tensor) -> af.Tensor:
        errors = loss(af.tanh(x @ weight) - 1)
        return errors.mean()

    return model


def seems_right(loss: Loss, x: af.Tensor, step: float = 1e-6) -> bool:
    """The usual check: the gradient of the sum against differences."""
    x = x.double().requires_grad_()
    analytic: Any = af.autograd.grad(loss(x).sum(), x)[0]
    with af.no_grad():
        numeric = (loss(x + step) - loss(x - step)) / (2 * step)
    return af.allclose(analytic, numeric, atol=1e-6)


def survives(loss: Loss, examples: int) -> bool | None:
    """Whether no input that Hypothesis draws refutes the gradient or its gradient; None where it is not installed."""
    try:
        from hypothesis import settings
    except ImportError:
        return None

    @given_gradients(x=tensors(), order=2, settings=settings(max_examples=examples, derandomize=True, database=None))
    def property(x: af.Tensor) -> af.Tensor:
        return loss(x)

    try:
        property()
    except AssertionError:
        return False
    return True


@dataclass
class Outcome:
    seems_right: bool
    report: Report  # of a model around it
    second_order: Report
    property: bool | None
    at_1000: float  # in float32


def run(examples: int = 50, seed: int = 0) -> dict[str, Outcome]:
    """What each check says of each version, the formula as one would write it included."""
    af.manual_seed(seed)
    x, weight = af.randn(4, 3), af.randn(3, 2)
    versions: dict[str, Loss] = {
        "log(cosh(x))": lambda x: af.log(af.cosh(x)),
        "Function, wrong": Forgetful.apply,
        "Function": LogCosh.apply,
        "primitive": log_cosh(),
    }
    outcomes = {}
    for name, loss in command.progress(versions.items(), "versions"):
        model = model_with(loss)
        first, second = (gradcheck(model, (x, weight), order=order) for order in (1, 2))
        with np.errstate(over="ignore"):
            large = loss(af.tensor(1000.0)).item()
        outcomes[name] = Outcome(seems_right(loss, x), first, second, survives(loss, examples), large)
    # What the domain is for: whoever tests the table of ops can draw inputs of ours too.
    op = engine.OPS["log_cosh"]
    draw = NumPyDraw(np.random.default_rng(seed))
    for order in (1, 2):
        table.check_gradient(op, table.sample(op, draw), order)  # raises where the rule is wrong
    return outcomes


def main(arguments: Sequence[str] | None = None) -> int:
    options = command.parser(__doc__, picture=False)
    options.add_argument(
        "--examples", type=command.positive, default=50, metavar="N", help="that a property test draws"
    )
    chosen = options.parse_args(arguments)
    outcomes = run(chosen.examples, chosen.seed)

    words = {True: "passes", False: "refuted", None: "(no Hypothesis)"}
    command.table(
        ["log cosh as", "sum and differences", "gradcheck", "second order", "property test", "at 1000"],
        [
            [
                name,
                words[one.seems_right],
                one.report.verdict,
                one.second_order.verdict,
                words[one.property],
                one.at_1000,
            ]
            for name, one in outcomes.items()
        ],
    )
    wrong, right = outcomes["Function, wrong"], [outcomes["Function"], outcomes["primitive"]]
    print(f"\nThe report on the wrong one:\n\n{wrong.report}\n")
    passed = all(one.report.passed and one.second_order.passed and one.property is not False for one in right)
    culprit = wrong.report.culprit
    print(
        f"The usual check {'lets the wrong version pass' if wrong.seems_right else 'refutes the wrong version'}; "
        f"gradcheck names {'nothing' if culprit is None else f'{culprit.op} ({culprit.cause})'}; the right ones "
        f"{'pass every check' if passed else 'DO NOT pass every check'}, and at 1000 give {right[0].at_1000:.2f}, "
        f"where log(cosh(x)) gives {outcomes['log(cosh(x))'].at_1000}."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
