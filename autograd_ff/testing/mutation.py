"""How good is a gradient checker? The share of planted wrong rules that it catches, and its false alarms.

Every rule of an op is changed in all the ways that `autograd_ff.testing.faults` lists. A changed op (a *mutant*) is a copy
outside the op table, drawn from the op's own domain and handed to the checker. The share of mutants that the checker
catches is its *mutation score*; `false_alarms` counts the right rules that it does not accept. Both work on a user's own
primitive just as well, where the score says how much the examples that its domain draws are worth:

>>> from autograd_ff.engine import OPS
>>> score = mutation_score(OPS["tanh"])
>>> score.share, score.survivors
(1.0, [])
>>> mutation_score(OPS["tanh"], check=lambda op, call: "PASS").share
0.0

Source: R. DeMillo, R. Lipton, F. Sayward, "Hints on test data selection: help for the practicing programmer", Computer 11
(1978).
"""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..autograd import grad
from ..engine import Call, Op, TensorCore, enable_grad, wrap
from ..engine.dispatch import NUMPY_ERRORS
from ..engine.op import Rule
from ..errors import AutogradError
from .comparison import dense
from .draws import NumPyDraw
from .faults import FAMILIES, Fault, cuts, faults
from .gradcheck import gradcheck
from .report import FAIL, NONFINITE, PASS
from .table import as_tensors, checked_positions, run, sample
from .tree import flatten

__all__ = ["FalseAlarms", "Mutant", "MutationScore", "false_alarms", "mutants", "mutation_score", "plant", "verdict"]

Check = Callable[[Op, Call], str]

CAUGHT = (FAIL, NONFINITE)  # verdicts that call a gradient wrong; KINK and UNRELIABLE call it neither right nor wrong

_APART = 1e-9  # of two gradients, relative to the larger one of their largest elements: what counts as a difference
_ROUNDING = 1e-12  # of numbers near 1, whose difference should be 0


@dataclass(frozen=True)
class Mutant:
    """An op with one wrong rule."""

    op: Op
    input: str
    fault: Fault

    def __str__(self) -> str:
        return f"{self.op.name}, {self.input}: {self.fault.name}"


def plant(op: Op, position: int, fault: Fault) -> Op:
    """A copy of ``op`` outside the op table whose gradient for the input at ``position`` has a fault.

    Of a rule that returns the gradients of all inputs at once, the one at ``position`` is changed. The table and the
    op itself stay as they are.

    >>> from autograd_ff.engine import OPS
    >>> wrong = plant(OPS["square"], 0, Fault("sign", "opposite sign", lambda right, g, values: -right(g, values)))
    >>> verdict(wrong, sample(wrong, NumPyDraw(0))), verdict(OPS["square"], sample(wrong, NumPyDraw(0)))
    ('FAIL', 'PASS')
    """
    mutant = copy.copy(op)
    if op.joint is not None:
        mutant.joint = Rule(mutant, _wrong(op.joint, fault, position), 1)
        if op.backward is not None:  # the same function as an op of its own, which runs where backward is observed
            mutant.backward = _backward(op, mutant.joint)
    else:
        right = op.vjps[position]
        if right is None:
            raise ValueError(f"{op.name} has no rule for its input {op.inputs[position]!r}")
        rules = list(op.vjps)
        rules[position] = Rule(mutant, _wrong(right, fault), 1)
        mutant.vjps = tuple(rules)
    if op.plans is not None:  # the wrong rule may read other values than the right one, so other ones are saved
        mutant.plans = type(op.plans)(mutant, len(op.inputs))
    return mutant


def _wrong(rule: Rule, fault: Fault, position: int | None = None) -> Callable[..., Any]:
    """A rule's function with a fault in it, which asks for its values by name as every rule does."""
    names = (*rule.names, *(name for name in fault.asks if name not in rule.names))

    def right(g: Any, values: dict[str, Any]) -> Any:
        return rule.function(g, *(values[name] for name in rule.names))

    def wrong(g: Any, *values: Any) -> Any:
        given = dict(zip(names, values, strict=True))
        if position is None:
            return fault.wrong(right, g, given)
        results = list(right(g, given))
        if -len(results) <= position < len(results) and results[position] is not None:
            results[position] = fault.wrong(lambda g, values: right(g, values)[position], g, given)
        return results

    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("g", *names)]
    wrong.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return wrong


def _backward(op: Op, joint: Rule) -> Op:
    assert op.backward is not None
    changed = copy.copy(op.backward)
    upstream, *others = changed.inputs

    def forward(*arrays: Any, **params: Any) -> Any:
        values = {**dict(zip((upstream, *others), arrays, strict=True)), **params}
        results = joint.function(values.pop(upstream), *(values[name] for name in joint.names))
        return tuple(results) if changed.outputs > 1 else results[0]

    changed.forward = forward
    return changed


def mutants(op: Op, order: int = 1) -> list[Mutant]:
    """All the wrong versions of an op: of each rule, or of the first and the last gradient of a rule for many inputs.

    With ``order=2``, those whose gradient is right and whose gradient of the gradient is not. An op without rules of its
    own has none: a composite, whose gradient comes from what it calls; a user's Function; what is not differentiable.

    >>> from autograd_ff.engine import OPS
    >>> len(mutants(OPS["exp"])) > 20, mutants(OPS["var"])[0].input, mutants(OPS["floor"])[0].fault.family
    (True, 'a', 'factor')
    """
    if op.kind == "composite" or op.pullback is not None or not op.differentiable:
        return []
    if order == 2 and op.definition is not None and op.joint is not None:
        return []  # a kernel's second derivative goes through its definition
    if op.joint is None:
        places = [(position, op.inputs[position]) for position, rule in enumerate(op.vjps) if rule is not None]
    elif op.variadic:
        places = [(0, f"{op.inputs[0]}[0]"), (-1, f"{op.inputs[0]}[-1]")]
    else:
        places = list(enumerate(op.inputs))
    listed = faults if order == 1 else cuts
    return [
        Mutant(plant(op, position, fault), name, fault) for position, name in places for fault in listed(op, position)
    ]


def verdict(op: Op, call: Call, order: int = 1, full: int = 1024) -> str:
    """What `gradcheck` says of an op at one example of its domain; PASS where there is nothing to differentiate.

    >>> from autograd_ff.engine import OPS
    >>> verdict(OPS["exp"], sample(OPS["exp"], NumPyDraw(0)))
    'PASS'
    """
    positions = checked_positions(op, call)
    if not positions:
        return PASS
    tensors = as_tensors(call, positions)
    return gradcheck(lambda *inputs: run(op, inputs, call.params), tensors, order=order, full=full).verdict


@dataclass
class MutationScore:
    """What became of the mutants of one op or of several; scores add up with ``+``."""

    families: dict[str, list[int]] = field(default_factory=dict)  # caught and counted ones of each family
    survivors: list[str] = field(default_factory=list)
    at_once: int = 0  # of the caught ones, those caught at the first example that told them from the right rule
    equivalent: int = 0  # not counted: no example told them from the right rule
    crashing: int = 0  # not counted: where they differ from the right rule they raise, and need no checker
    unable: int = 0  # not counted: the checker cannot be run on any of the examples

    @property
    def counted(self) -> int:
        return sum(counted for _, counted in self.families.values())

    @property
    def caught(self) -> int:
        return sum(caught for caught, _ in self.families.values())

    @property
    def share(self) -> float:
        """Caught ones over counted ones; NaN where there are none."""
        return self.caught / self.counted if self.counted else float("nan")

    def __add__(self, other: MutationScore) -> MutationScore:
        families = {name: list(counts) for name, counts in self.families.items()}
        for name, (caught, counted) in other.families.items():
            before = families.setdefault(name, [0, 0])
            families[name] = [before[0] + caught, before[1] + counted]
        return MutationScore(
            families,
            self.survivors + other.survivors,
            self.at_once + other.at_once,
            self.equivalent + other.equivalent,
            self.crashing + other.crashing,
            self.unable + other.unable,
        )

    def __str__(self) -> str:
        lines = [f"caught {self.caught} of {self.counted} wrong rules ({self.share:.2%})"]
        for name in FAMILIES:
            if name in self.families:
                caught, counted = self.families[name]
                lines.append(f"  {name:20}{caught:6} of {counted:5}")
        lines.append(f"  not counted: {self.equivalent} equivalent, {self.crashing} that raise, {self.unable} unable")
        lines += [f"  survived: {name}" for name in self.survivors]
        return "\n".join(lines)


def mutation_score(
    ops: Op | Iterable[Op],
    *,
    check: Check | None = None,
    examples: int = 20,
    seed: int = 0,
    order: int = 1,
    every: int = 1,
) -> MutationScore:
    """The share of wrong rules that a checker catches.

    Each mutant is tried on the examples that its op's own domain draws for the seeds ``seed`` to ``seed + examples - 1``,
    until it is caught. It *counts* if it is not equivalent to the right rule: if on one of these examples the engine
    computes another gradient with it. Another one is one of which an element differs from the right gradient's by more
    than 1e-9 of the largest element of either (and by more than rounding, 1e-12), for a random dense upstream gradient or
    for its negative. Examples where both gradients agree, and those where the wrong rule raises an error or returns
    the wrong shape, so that it cannot go unnoticed, are not shown to the checker and cannot count for it.

    Args:
        ops: an op or several; they need not be in the table.
        check: the checker, a function of op and `Call` that returns a verdict; ``"FAIL"`` and ``"NONFINITE"`` catch the
            mutant, and ``"UNABLE"`` says that it cannot check this op here. By default `gradcheck`.
        examples: how many examples are drawn for each mutant at most.
        seed: the first seed of the examples.
        order: 1 for wrong gradients, 2 for right gradients with a wrong derivative, checked at the second order.
        every: where time is short, take every so manyth mutant only, counted through all the ops.

    >>> from autograd_ff.engine import OPS
    >>> print(mutation_score(OPS["log"], order=2))
    caught 3 of 3 wrong rules (100.00%)
      cut                      3 of     3
      not counted: 0 equivalent, 0 that raise, 0 unable
    """
    check = check or (lambda op, call: verdict(op, call, order))
    total = MutationScore()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # NumPy's, of divisions by zero and means of nothing in the wrong rules
        planted = 0
        for op in [ops] if isinstance(ops, Op) else ops:
            chosen = [mutant for number, mutant in enumerate(mutants(op, order), planted) if number % every == 0]
            planted += len(mutants(op, order))
            calls = [sample(op, NumPyDraw(one)) for one in range(seed, seed + examples)] if chosen else []
            drawn = [(call, _gradients(op, call, order)) for call in calls]
            for mutant in chosen:
                _try(mutant, drawn, check, order, total)
    return total


def _try(mutant: Mutant, drawn: list[tuple[Call, Any]], check: Check, order: int, total: MutationScore) -> None:
    """One mutant on its examples, until it is caught."""
    raised, verdicts = False, []
    for call, right in drawn:
        try:
            wrong = _gradients(mutant.op, call, order)
        except (AutogradError, *NUMPY_ERRORS):
            raised = True
            continue
        if not any(map(_differ, wrong, right)):
            continue
        verdicts.append(check(mutant.op, call))
        if verdicts[-1] in CAUGHT:
            break
    if not verdicts:
        total.crashing += raised
        total.equivalent += not raised
    elif set(verdicts) == {"UNABLE"}:
        total.unable += 1
    else:
        counts = total.families.setdefault(mutant.fault.family, [0, 0])
        counts[0] += verdicts[-1] in CAUGHT
        counts[1] += 1
        total.at_once += verdicts[0] in CAUGHT
        if verdicts[-1] not in CAUGHT:
            total.survivors.append(str(mutant))


def _differ(wrong: np.ndarray, right: np.ndarray) -> bool:
    if not np.array_equal(np.isfinite(wrong), np.isfinite(right)):
        return True
    larger = max(np.max(np.abs(wrong), initial=0.0), np.max(np.abs(right), initial=0.0))
    return bool(np.any(np.abs(wrong - right) > _APART * larger + _ROUNDING))


def _gradients(op: Op, call: Call, order: int) -> list[np.ndarray]:
    """The gradients of all inputs for a dense upstream gradient and for its negative.

    Of order 2: the gradients of those gradients, summed with dense weights, by the inputs and by the upstream gradient.
    """
    inputs = as_tensors(call, checked_positions(op, call))
    targets = _leaves(inputs)
    if not targets:
        return []
    with enable_grad():
        result = run(op, inputs, call.params)
    outputs = _leaves(result)
    generator = np.random.default_rng(1)
    upstream = [dense(generator, output.shape) for output in outputs]
    found: list[np.ndarray] = []
    for sign in (1.0, -1.0):
        seeds: list[Any] = [wrap(np.asarray(sign * one)) for one in upstream]
        if order == 1:
            found += _pulled_back(outputs, targets, seeds)
            continue
        for one in seeds:
            one.requires_grad = True
        first = grad(outputs, targets, seeds, create_graph=True, allow_unused=True)
        weights = [wrap(dense(generator, target.shape)) for target in targets]
        tracked = [pair for pair in zip(first, weights, strict=True) if pair[0] is not None and pair[0].requires_grad]
        found += _pulled_back([one for one, _ in tracked], [*targets, *seeds], [weight for _, weight in tracked])
    return found


def _leaves(tree: Any) -> list[Any]:
    """The Tensors that require grad."""
    return [leaf for leaf in flatten(tree) if isinstance(leaf, TensorCore) and leaf.requires_grad]


def _pulled_back(outputs: list[Any], targets: list[Any], seeds: list[Any]) -> list[np.ndarray]:
    if not outputs:
        return [np.zeros(target.shape) for target in targets]
    gradients = grad(outputs, targets, seeds, retain_graph=True, allow_unused=True)
    return [
        np.zeros(target.shape) if one is None else np.array(one.detach().array)
        for target, one in zip(targets, gradients, strict=True)
    ]


@dataclass
class FalseAlarms:
    """How a checker judged right rules; counts add up with ``+``."""

    examples: int = 0
    alarms: list[str] = field(default_factory=list)  # op and seed of the right rules that were called wrong
    no_verdict: dict[str, int] = field(default_factory=dict)  # neither right nor wrong: KINK, UNRELIABLE, UNABLE

    def __add__(self, other: FalseAlarms) -> FalseAlarms:
        without = dict(self.no_verdict)
        for name, number in other.no_verdict.items():
            without[name] = without.get(name, 0) + number
        return FalseAlarms(self.examples + other.examples, self.alarms + other.alarms, without)


def false_alarms(
    ops: Op | Iterable[Op], *, check: Check | None = None, examples: int = 20, seed: int = 0
) -> FalseAlarms:
    """How many right rules a checker calls wrong, over ``examples`` examples of each op.

    Args:
        ops: an op or several, composites too; those that are not differentiable are left out.
        check: the checker, as for `mutation_score`.
        examples: how many examples of each op are drawn.
        seed: the first seed of the examples.

    >>> from autograd_ff.engine import OPS
    >>> found = false_alarms([OPS["exp"], OPS["amax"]])
    >>> found.examples, found.alarms, found.no_verdict
    (40, [], {})
    """
    check = check or verdict
    total = FalseAlarms()
    for op in [ops] if isinstance(ops, Op) else ops:
        for one in range(seed, seed + examples) if op.differentiable else ():
            said = check(op, sample(op, NumPyDraw(one)))
            total.examples += 1
            if said in CAUGHT:
                total.alarms.append(f"{op.name}, seed {one}: {said}")
            elif said != PASS:
                total.no_verdict[said] = total.no_verdict.get(said, 0) + 1
    return total
