"""An op: one row of the op table, with its derivative rules and all that the engine has to know about it.

Ops enter the table through the functions of `autograd_ff.engine.register`. `TABLE` finds an op by (NumPy function,
method); `OPS` lists them by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import NoRuleError, RegistrationError
from .domain import Domain, Sampler, elementwise
from .node import Meta, Node
from .site import here

__all__ = ["FINDERS", "NONDIFFERENTIABLE", "OPS", "TABLE", "Op", "Rule", "find"]


class _Marker:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


NONDIFFERENTIABLE: Any = _Marker("NONDIFFERENTIABLE")  # in place of the vjps: the op's result never requires grad

TABLE: dict[tuple[Any, str], Op] = {}
OPS: dict[str, Op] = {}
# Functions that know the op of a function of a package that is imported only where it is used.
FINDERS: list[Callable[[Any], Op | None]] = []


def find(function: Any, method: str) -> Op | None:
    """The op of a function that is not in `TABLE` yet, from one of the `FINDERS`; it is entered for the next time."""
    for finder in FINDERS if method == "__call__" else ():
        op = finder(function)
        if op is not None:
            TABLE[function, method] = op
            return op
    return None


# Where a vjp's argument comes from.
_INPUT, _AFTER, _META, _META_OUT, _PARAM, _INPUTS, _METAS, _NEEDS = range(8)

Lift = Callable[[Node, int], Any]


class Rule:
    """A function of an op's values that asks for them by the names of its parameters."""

    __slots__ = ("function", "names", "sources")

    def __init__(self, op: Op, function: Callable[..., Any], leading: int) -> None:
        self.function = function
        self.names = tuple(inspect.signature(function).parameters)[leading:]
        self.sources = tuple(op.source(name, function) for name in self.names)

    def positions(self, count: int) -> set[int]:
        """The positions of the saved values that the rule reads, for an op with ``count`` inputs."""
        found: set[int] = set()
        for kind, key in self.sources:
            if kind == _INPUT:
                found.add(key)
            elif kind == _AFTER:
                found.add(count + key)
            elif kind == _INPUTS:
                found.update(range(count))
        return found

    def metas(self, count: int) -> set[int]:
        found: set[int] = set()
        for kind, key in self.sources:
            if kind == _META:
                found.add(key)
            elif kind == _METAS:
                found.update(range(count))
        return found

    def arguments(self, node: Node, lift: Lift | None, needs: Sequence[bool] = ()) -> list[Any]:
        """The values that the rule asked for. ``lift`` makes Tensors of saved arrays, where the rule runs on Tensors."""
        values: list[Any] = []
        for kind, key in self.sources:
            if kind == _INPUT:
                values.append(node.saved[key] if lift is None else lift(node, key))
            elif kind == _AFTER:
                key += len(node.parents)
                values.append(node.saved[key] if lift is None else lift(node, key))
            elif kind == _PARAM:
                params = node.params
                values.append(params[key] if key in params else node.op.params[key])
            elif kind == _META:
                values.append(_meta(node, key))
            elif kind == _META_OUT:
                values.append(node)
            elif kind == _INPUTS:
                count = range(len(node.parents))
                values.append([node.saved[at] if lift is None else lift(node, at) for at in count])
            elif kind == _METAS:
                values.append([_meta(node, at) for at in range(len(node.parents))])
            else:
                values.append(tuple(needs))
        return values


def _meta(node: Node, position: int) -> Any:
    """Shape and dtype of an input: of what was saved of it, or else of the tensor that its parent stands for."""
    value = None if node.saved is None else node.saved[position]
    if value is None:
        return node.parents[position]
    return value if hasattr(value, "shape") else Meta(value)


class _SavePlans(dict[int, Any]):
    """For each set of inputs that need a gradient (a bit mask), what to save of inputs, output and residuals.

    None: nothing. Otherwise a triple: positions of inputs to drop, positions of inputs of which only shape and dtype are
    kept, and positions after the inputs that are kept.
    """

    def __init__(self, op: Op, count: int) -> None:
        super().__init__()
        self.op = op
        self.count = count

    def __missing__(self, mask: int) -> Any:
        op, count = self.op, self.count
        tracked = [bool(mask >> position & 1) for position in range(count)]
        read, metas = op.reads(tracked)
        metas = {position for position in metas - read if not tracked[position]}
        drops = set(range(count)) - read - metas
        after = tuple(sorted(position for position in read if position >= count))
        self[mask] = plan = (tuple(sorted(drops)), tuple(sorted(metas)), after) if read or metas else None
        return plan


class Op:
    """One row of the op table."""

    __slots__ = (
        "analytic",  # complex step may pass through
        "backward",  # of a kernel: the Op of its joint backward
        "branches",  # Rule: what decides which piece of a piecewise function an element took
        "broadcasts",  # inputs broadcast against each other, so the engine sums gradients back
        "definition",  # of a kernel: the same function in NumPy terms
        "differentiable",
        "domain",  # Sampler
        "forward",  # arrays -> array(s); with residuals, a tuple (output, *residuals)
        "function",  # the NumPy function that it stands for
        "inputs",  # names
        "joint",  # Rule for all inputs at once, instead of `vjps`
        "kind",  # "primitive", "composite" or "kernel"
        "method",
        "mutates",  # positions of the inputs that it writes
        "name",
        "outputs",  # how many
        "params",  # declared keyword parameters and their defaults
        "plans",
        "promoted",  # positions of the inputs that take part in promotion, or None for all
        "promotion",  # "common", "float", "number" or None
        "pullback",  # of a user's Function: (node, gradient, needs, create_graph) -> input gradients
        "residuals",  # names
        "signature",  # all names in NumPy's order, for positional calls
        "variadic",  # the one input is a sequence of any length
        "view",  # the output may show the input's memory
        "vjps",
    )

    def __init__(self, name: str, kind: str, forward: Callable[..., Any], domain: Any, **details: Any) -> None:
        self.name = name
        self.kind = kind
        self.forward = forward
        self.function = details.pop("function", forward)
        self.method = details.pop("method", "__call__")
        self.inputs: tuple[str, ...] = tuple(details.pop("inputs"))
        self.params: dict[str, Any] = dict(details.pop("params", None) or {})
        self.residuals: tuple[str, ...] = tuple(details.pop("residuals", ()))
        self.outputs: int = details.pop("outputs", 1)
        self.variadic: bool = details.pop("variadic", False)
        self.view: bool = details.pop("view", False)
        self.broadcasts: bool = details.pop("broadcasts", False)
        self.analytic: bool = details.pop("analytic", False)
        self.promotion: str | None = details.pop("promotion", None)
        self.promoted: tuple[int, ...] | None = details.pop("promoted", None)
        self.mutates = tuple(self.inputs.index(mutated) for mutated in details.pop("mutates", ()))
        self.definition: Callable[..., Any] | None = details.pop("definition", None)
        self.signature = details.pop("signature", None) or _positional_names(self.function, self.inputs, self.params)
        self.domain: Sampler | None = _sampler(name, domain)
        self.joint: Rule | None = None
        self.backward: Op | None = None
        self.pullback: Callable[..., Any] | None = None
        self.differentiable = True
        self.vjps = self._vjps(details.pop("vjps"), details.pop("joint", None))
        if self.joint is None or self.definition is None:
            self._refuse_residuals()
        branches = details.pop("branches", None)
        self.branches = None if branches is None else Rule(self, branches, 0)
        self.plans = None if self.variadic else _SavePlans(self, len(self.inputs))
        if details:
            raise RegistrationError(f"{name}: unknown detail {', '.join(details)}")

    def _vjps(self, vjps: Sequence[Any], joint: Callable[..., Any] | None) -> tuple[Rule | None, ...]:
        if joint is not None:
            self.joint = Rule(self, joint, 1)
            return ()
        if len(vjps) == 1 and vjps[0] is NONDIFFERENTIABLE:
            self.differentiable = False
            return (None,) * len(self.inputs)
        if len(vjps) != len(self.inputs):
            raise RegistrationError(
                f"{self.name} has {len(self.inputs)} inputs {self.inputs} and {len(vjps)} vjps; give one for each input "
                "(None where it cannot be differentiated), or NONDIFFERENTIABLE alone."
            )
        return tuple(None if vjp is None else Rule(self, vjp, 1) for vjp in vjps)

    def _refuse_residuals(self) -> None:
        for rule in (*self.vjps, self.joint):
            if rule is not None and any(kind == _AFTER and key > 0 for kind, key in rule.sources):
                raise RegistrationError(
                    f"{self.name}: a rule reads a residual, through which no gradient of a gradient can flow. Give it a "
                    "backward and a definition, as a kernel has them, or let the rule compute the value again."
                )

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}>"

    def source(self, name: str, rule: Callable[..., Any]) -> tuple[int, Any]:
        """Where the value of a rule's parameter comes from."""
        if name in self.inputs:
            return (_INPUTS, None) if self.variadic else (_INPUT, self.inputs.index(name))
        if name == "out":
            return _AFTER, 0
        if name in self.residuals:
            return _AFTER, 1 + self.residuals.index(name)
        if name == "meta_out":
            return _META_OUT, None
        if name.startswith("meta_") and name[5:] in self.inputs:
            return (_METAS, None) if self.variadic else (_META, self.inputs.index(name[5:]))
        if name in self.params:
            return _PARAM, name
        if name == "needs":
            return _NEEDS, None
        known = [
            *self.inputs,
            "out",
            *(f"meta_{one}" for one in self.inputs),
            "meta_out",
            *self.residuals,
            *self.params,
        ]
        code = getattr(rule, "__code__", None)
        place = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
        raise RegistrationError(
            f"{self.name}: a rule{place} asks for {name!r}, which this op does not have. It has: {', '.join(known)}."
        )

    def saved_name(self, position: int) -> str:
        if self.variadic or position < len(self.inputs):
            return f"input {position}" if self.variadic else f"input {self.inputs[position]!r}"
        return ("output", *self.residuals)[position - len(self.inputs)]

    def reads(self, tracked: Sequence[bool]) -> tuple[set[int], set[int]]:
        """Positions of the values, and of the shapes, that backward reads when these inputs are tracked."""
        count = len(tracked)
        if self.joint is not None:
            read = self.joint.positions(count)
            if self.definition is not None:  # gradients of gradients run the definition on all the inputs
                read = read | set(range(count))
            return read, self.joint.metas(count)
        rules = [rule for rule, wanted in zip(self.vjps, tracked, strict=True) if wanted and rule is not None]
        return (
            set().union(*(rule.positions(count) for rule in rules)),
            set().union(*(rule.metas(count) for rule in rules)),
        )

    def save_plan(self, mask: int, count: int) -> Any:
        return self.plans[mask] if self.plans is not None else _SavePlans(self, count)[mask]

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """NumPy's arguments, told apart into the op's inputs and parameters."""
        names = self.signature
        if len(args) > len(names):
            raise NoRuleError(f"{self.name} takes at most {len(names)} arguments, got {len(args)}{here()}")
        given = dict(zip(names, args, strict=False))
        for key, value in kwargs.items():
            if key in given:
                raise TypeError(f"{self.name} got several values for argument {key!r}")
            given[key] = value
        inputs: list[Any] = []
        for name in self.inputs:
            if name not in given and name not in self.params:
                raise TypeError(f"{self.name} is missing its argument {name!r}")
            inputs.append(given.pop(name, self.params.get(name)))
        params: dict[str, Any] = {}
        for key, value in given.items():
            if key in self.params:
                params[key] = value
            elif not _absent(self.function, key, value):
                raise NoRuleError(
                    f"the argument {key}={value!r} of {self.name} has no derivative rule; {self.name} of a Tensor takes "
                    f"{', '.join([*self.inputs, *self.params])}.{here()}"
                )
        return (tuple(inputs[0]) if self.variadic else tuple(inputs)), params


def _positional_names(function: Any, inputs: tuple[str, ...], params: dict[str, Any]) -> tuple[str, ...]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        parameters = ()  # type: ignore[assignment]
    names = tuple(one.name for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD))
    return names if set(inputs) <= set(names) else (*inputs, *params)


def _absent(function: Any, key: str, value: Any) -> bool:
    """Whether a keyword argument was given as what NumPy takes for 'not given'."""
    if value is None or value is np._NoValue:
        return True
    try:
        default = inspect.signature(function).parameters[key].default
    except (TypeError, ValueError, KeyError):
        return False
    return value is default or (isinstance(value, (bool, str)) and value == default)


def _sampler(name: str, domain: Any) -> Sampler | None:
    if domain is None or callable(domain):
        return domain
    domains = domain if isinstance(domain, tuple) else (domain,)
    if not domains or not all(isinstance(one, Domain) for one in domains):
        raise RegistrationError(f"{name}: a domain is a Domain, a tuple of one for each input, or a sampler function.")
    return elementwise(*domains)
