"""Gradients of any function of Tensors, held against numeric derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import GraphError
from ..functions.random import get_rng_state, set_rng_state
from ..nn import Module
from .comparison import BackwardFailed, Comparison, Outcome, Tolerance, dense, told
from .evidence import Evidence
from .localize import find_cut, locate
from .report import FAIL, KINK, NONDETERMINISTIC, Culprit, Report
from .subject import Subject, of_function, of_module, second_order

__all__ = ["assert_gradients", "gradcheck"]


def gradcheck(
    fn: Callable[..., Any],
    inputs: Any,
    loss: Callable[[Any], Any] | None = None,
    *,
    order: int = 1,
    rtol: float = 1e-6,
    atol: float = 1e-8,
    seed: int = 0,
    full: int = 4096,
    frozen: bool = False,
) -> Report:
    """Hold the gradient of ``fn`` against its numeric derivative.

    Everything is computed in float64, on read-only copies of the inputs. Where every operation on the way is analytic
    the numeric derivative is a complex step, exact to rounding; elsewhere central differences, extrapolated, which come
    with an estimate of their own error. Only a difference beyond tolerance and estimate fails. A small Jacobian is
    checked entry by entry; a large one along random dense directions, input by input. Upstream gradients are random and
    dense as well, so a rule that forgets the upstream gradient does not pass.

    Steps that lead to another piece of a piecewise function are made smaller; a point where none is small enough is a
    KINK, neither right nor wrong. Each operation that stands at a kink must still give a gradient between its one-sided
    derivatives. Where a gradient is wrong, every recorded operation is checked by itself, and the report names the one
    whose own rule is wrong, or the place where the path of the gradient is cut.

    Args:
        fn: a function of Tensors that returns a Tensor, or a tuple, list or dict of them; or an ``nn.Module``, of which
            every parameter is checked, by its qualified name.
        inputs: a Tensor or array, or a tuple of arguments, which may be tuples, lists and dicts of Tensors too. Checked
            are the tensors that require grad; where none does, all floating ones (of a module, none).
        loss: of a module: a function of its output.
        order: 1 for the gradient, 2 for the gradient of the gradient.
        rtol: what an entry may differ by, relative to itself.
        atol: what an entry may differ by, relative to the largest entry of the same input.
        seed: of the random upstream gradients and directions.
        full: how many entries the Jacobian of an input may have to be checked whole.
        frozen: draw the same random numbers in every call, so that dropout can be checked.

    Returns:
        A report: ``passed``, ``verdict`` (PASS, FAIL, KINK, NONDETERMINISTIC, NONFINITE, or UNRELIABLE where the numeric
        derivative is too poor to judge by), ``worst``, ``culprit``, ``table()``, a readable ``str``, ``render(path)``
        and ``save(path)``.

    Raises:
        GraphError: there is nothing to check: no floating input or no floating output.

    >>> import autograd_ff as af
    >>> x = af.tensor([0.5, 1.5])
    >>> gradcheck(lambda x: (x * x).sum(), x).passed
    True
    >>> report = gradcheck(lambda x: x * x.detach(), x)
    >>> report.verdict, report.worst.input, report.culprit.op
    ('FAIL', 'x', 'multiply')
    >>> gradcheck(af.relu, af.tensor([0.0, 1.0])).verdict
    'KINK'
    >>> net = af.nn.Sequential(af.nn.Linear(3, 4), af.nn.Tanh(), af.nn.Linear(4, 1))
    >>> report = gradcheck(net, af.ones(5, 3), lambda output: (output**2).mean())
    >>> report.passed, [entry.input for entry in report.entries]
    (True, ['0.weight', '0.bias', '2.weight', '2.bias'])
    """
    if order not in (1, 2):
        raise ValueError(f"order is 1 or 2, not {order}")
    if isinstance(fn, Module):
        subject = of_module(fn, inputs, loss, frozen)
    elif loss is not None:
        raise GraphError(f"a loss belongs to a module; {fn!r} is a function, which may compute it itself")
    else:
        subject = of_function(fn, inputs, frozen)
    tolerance = Tolerance(rtol, atol, seed, full)
    options = {"rtol": rtol, "atol": atol, "seed": seed, "full": full, "frozen": frozen}
    state = get_rng_state()
    try:
        with np.errstate(all="ignore"):  # the verdict says what came of it
            return _checked(Evidence(fn, inputs, loss, subject, options), tolerance, order)
    finally:
        set_rng_state(state)
        subject.forget()


def assert_gradients(
    fn: Callable[..., Any], inputs: Any, loss: Callable[[Any], Any] | None = None, *, order: int = 1, **options: Any
) -> None:
    """Raise an AssertionError with the report where a gradient of ``fn`` is wrong; see `gradcheck`.

    With ``order=2`` the gradient is checked, and the gradient of the gradient.

    >>> import autograd_ff as af
    >>> assert_gradients(lambda x, y: x * y, (af.tensor([1.0, 2.0]), af.tensor(3.0)), order=2)
    """
    for one in range(1, order + 1):
        report = gradcheck(fn, inputs, loss, order=one, **options)
        if not report.passed:
            raise AssertionError(str(report))


_BRANCH = "the next step takes another branch: of a comparison, a sort, or what Python read"


def _checked(evidence: Evidence, tolerance: Tolerance, order: int) -> Report:
    subject = evidence.subject
    recording = subject.record()
    comparison = _comparison(subject, tolerance, order)
    try:
        outcome = comparison.outcome()
    except BackwardFailed as error:
        outcome = Outcome(FAIL, note=f"backward raised {told(error)}")
    verdict, note, entries = outcome.verdict, outcome.note, outcome.entries
    culprit: Culprit | None = None
    if verdict in (FAIL, KINK):
        located = locate(recording, tolerance, order)
        evidence.check, culprit = located.check, located.culprit
        if culprit is None and verdict == FAIL and not located.kinks:
            culprit = find_cut(recording, subject.tracked_arrays(), subject.names)
        if culprit is not None:
            verdict = FAIL
        elif verdict == KINK or (located.kinks and entries):
            # Each op gives what it may, but where pieces meet the whole need not be right.
            verdict = KINK
            entries = [replace(entry, verdict=KINK) if entry.verdict == FAIL else entry for entry in entries]
            kinks = list(dict.fromkeys(located.kinks))
            note = f"at a kink: {', '.join(kinks[:3])}" if kinks else _BRANCH
    elif verdict == NONDETERMINISTIC and not subject.frozen:
        note += "; frozen=True makes dropout draw the same numbers in each call"
    return Report(verdict, order, entries, note, comparison.evaluations, culprit, evidence)


def _comparison(subject: Subject, tolerance: Tolerance, order: int) -> Comparison:
    exact = subject.replay() if order == 1 else None
    if order == 2:
        generator = np.random.default_rng(tolerance.seed)
        upstream = [dense(generator, output.shape) for output in subject.evaluate(subject.values)]
        subject = second_order(subject, upstream)
    return Comparison(
        subject.evaluate,
        subject.gradients,
        subject.values,
        subject.names,
        tolerance,
        exact=exact,
        epsilon=subject.epsilon,
    )
