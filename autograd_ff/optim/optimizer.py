"""`Optimizer`, the base class with PyTorch's parameter groups and state dicts, and `FlatOptimizer`, which updates over
flat buffers."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import Any

import numpy as np

from ..engine import TensorCore, apply_raw, depend, enable_grad, here, host, restructured, touch, versions, warn, wrap
from ..engine.core_ops import write
from ..engine.node import Leaf
from ..engine.subnormals import available as can_flush
from ..engine.subnormals import set_flush
from ..errors import DtypeError, OptimizerError, StateDictError
from ..kernels.optimizers import flush_subnormals
from .flat import FlatBuffer, Layout, ParameterState, check_apart

__all__ = ["FlatOptimizer", "Optimizer"]

Closure = Callable[[], Any]


class Optimizer:
    """Base class of all optimizers: parameter groups, their options, and state dicts, as in PyTorch.

    Args:
        params: Tensors that require grad, or (name, Tensor) pairs, or dicts: groups with options of their own,
            ``{"params": [...], "lr": 0.1}``.
        defaults: the options of groups that do not name them.

    An optimizer of your own derives from this class, keeps what it likes in ``self.state[p]`` and writes `step`, as
    in PyTorch. `SGD`, `Adagrad`, `Adam`, `AdamW` and `RMSprop` derive from `FlatOptimizer`.

    Raises:
        OptimizerError (a ValueError and a TypeError): no parameters, a parameter that is not a leaf, not a Tensor, or in
            two groups.

    >>> import autograd_ff as af
    >>> from autograd_ff import optim
    >>> class SignDescent(optim.Optimizer):
    ...     def __init__(self, params, lr=0.1):
    ...         super().__init__(params, {"lr": lr})
    ...
    ...     @af.no_grad()
    ...     def step(self, closure=None):
    ...         for group in self.param_groups:
    ...             for p in group["params"]:
    ...                 p -= group["lr"] * p.grad.sign()
    >>> w = af.tensor([1.0, -2.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> SignDescent([w]).step()
    >>> [round(value, 3) for value in w.tolist()]
    [0.9, -1.9]
    """

    # How many times step() ran, for schedulers to see whether it did; None where a subclass's step does not count.
    steps_taken: int | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let a ``step`` written outside of this package say that it depends on the options, which it reads as it likes."""
        super().__init_subclass__(**kwargs)
        step = cls.__dict__.get("step")
        if step is not None and not cls.__module__.startswith(f"{__package__}."):

            @functools.wraps(step)
            def declared(self: Any, *args: Any, **kwargs: Any) -> Any:
                depend(self._options)
                return step(self, *args, **kwargs)

            cls.step = declared  # type: ignore[method-assign]

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        if isinstance(params, TensorCore):
            raise OptimizerError(
                f"params should be a list of Tensors or of dicts, not one Tensor of shape {params.array.shape}.{here()}\n"
                "  Pass [tensor], or model.parameters()."
            )
        if not isinstance(params, Iterable):
            way_out = "its .parameters()" if hasattr(params, "parameters") else "model.parameters()"
            raise OptimizerError(
                f"params should be a list of Tensors or of dicts, not a {type(params).__name__}.{here()}\n  Pass {way_out}."
            )
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: Any = defaultdict(dict)
        groups = list(params)
        if not groups:
            raise OptimizerError(
                f"an optimizer got no parameters.{here()}\n"
                "  A generator such as model.parameters() can be used once only; pass list(model.parameters()), and "
                "check that the model registers its layers."
            )
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, with options of its own where it names them.

        >>> import autograd_ff as af
        >>> from autograd_ff import optim
        >>> body, head = af.zeros(2, requires_grad=True), af.zeros(2, requires_grad=True)
        >>> optimizer = optim.SGD([body], lr=0.1)
        >>> optimizer.add_param_group({"params": [head], "lr": 1.0})
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.1, 1.0]
        """
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise OptimizerError(f'a parameter group is a dict with a key "params", got {param_group!r}{here()}')
        group = dict(param_group)
        params, names = _parameters(group["params"])
        group["params"] = params
        if names:
            group["param_names"] = names
        for one in self.param_groups:
            if ("param_names" in one) != ("param_names" in group):
                raise OptimizerError(f"either all parameter groups have names, or none.{here()}")
        known = {id(param) for one in self.param_groups for param in one["params"]}
        for position, param in enumerate(params):
            if id(param) in known:
                raise OptimizerError(
                    f"some parameters appear in more than one parameter group: parameter {position} of this one, of "
                    f"shape {param.array.shape}, is in another already.{here()}"
                )
        for name, default in self.defaults.items():
            group.setdefault(name, default)
        self._check_options(group)
        self.param_groups.append(group)
        restructured()

    def _check_options(self, group: dict[str, Any]) -> None:
        """Raise where an option of a group cannot be worked with."""

    def _parameters(self) -> Iterator[Any]:
        for group in self.param_groups:
            yield from group["params"]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or, with ``set_to_none=False``, fill them with zeros.

        A parameter without a gradient is skipped by `step`; one with a gradient of zeros is not: its moments decay, and
        momentum and weight decay still move it.
        """
        for group in self.param_groups:
            for param in group["params"]:
                touch(param, "write" if set_to_none else "read")
                if set_to_none:
                    param._grad = None
                elif param._grad is not None:
                    gradient = param._grad
                    gradient.node = None
                    if gradient.array.flags.writeable:
                        apply_raw(write, (gradient.array, np.zeros((), gradient.array.dtype)))
                    else:
                        gradient.array = np.zeros_like(gradient.array)

    def _options(self) -> Any:
        return [
            {key: _comparable(value) for key, value in group.items() if key not in ("params", "param_names")}
            for group in self.param_groups
        ]

    def step(self, closure: Closure | None = None) -> Any:
        """Update all parameters once."""
        raise NotImplementedError(f"{type(self).__name__} does not define step()")

    # ---------------------------------------------------------------- state dicts

    def state_dict(self) -> dict[str, Any]:
        """A snapshot of the state and the options, in PyTorch's layout.

        ``{"state": {index: {...}}, "param_groups": [{"lr": ..., "params": [index, ...]}]}``, parameters numbered
        through all groups. The tensors are copies: unlike PyTorch's, a state dict does not change when training goes on.
        """
        groups = []
        indices: dict[int, int] = {}
        for group in self.param_groups:
            packed = {key: deepcopy(value) for key, value in group.items() if key != "params"}
            packed["params"] = list(range(len(indices), len(indices) + len(group["params"])))
            indices.update(zip((id(param) for param in group["params"]), packed["params"], strict=True))
            groups.append(packed)
        state = {indices[id(param)]: _snapshot(values) for param, values in self.state.items() if id(param) in indices}
        return {"state": dict(sorted(state.items())), "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the state and the options of `state_dict`, of this optimizer or of PyTorch's of the same name.

        Values may be Tensors, NumPy arrays, numbers or torch tensors; they are copied, and cast to the parameters'
        dtypes. Make schedulers before loading: making one sets the learning rates.

        Raises:
            StateDictError: other numbers of groups or of parameters, or a state of another kind or shape.
        """
        try:
            saved_groups, saved_state = list(state_dict["param_groups"]), dict(state_dict["state"])
        except (KeyError, TypeError):
            raise StateDictError(
                f'an optimizer\'s state dict has the keys "state" and "param_groups", this one has '
                f"{list(state_dict) if isinstance(state_dict, Mapping) else type(state_dict).__name__}.{here()}"
            ) from None
        if len(saved_groups) != len(self.param_groups):
            raise StateDictError(
                f"loaded state dict has a different number of parameter groups: {len(saved_groups)}, and the optimizer "
                f"has {len(self.param_groups)}.{here()}"
            )
        pairs: list[tuple[Any, Any]] = []
        for position, (saved, group) in enumerate(zip(saved_groups, self.param_groups, strict=True)):
            if len(saved["params"]) != len(group["params"]):
                raise StateDictError(
                    f"loaded state dict has {len(saved['params'])} parameters in group {position}, and the optimizer has "
                    f"{len(group['params'])}.{here()}"
                )
            pairs += zip(saved["params"], group["params"], strict=True)
        # Keys that went through JSON are strings.
        states = {id(param): saved_state.get(index, saved_state.get(str(index))) for index, param in pairs}
        self._load_state(states)
        restructured()
        for saved, group in zip(saved_groups, self.param_groups, strict=True):
            options = {key: deepcopy(value) for key, value in saved.items() if key != "params"}
            if "betas" in options:
                options["betas"] = tuple(options["betas"])  # a list after JSON
            group.update(options)

    def snapshot(self) -> Callable[[], None]:
        """What puts state and options back as they are now, when it is called, in this process.

        >>> import autograd_ff as af
        >>> w = af.ones(1, requires_grad=True)
        >>> optimizer = af.optim.SGD([w], lr=0.1)
        >>> put_back = optimizer.snapshot()
        >>> optimizer.param_groups[0]["lr"] = 0.5
        >>> put_back()
        >>> optimizer.param_groups[0]["lr"]
        0.1
        """
        state = self.state_dict()
        return lambda: self.load_state_dict(state)

    def _load_state(self, states: dict[int, Any]) -> None:
        self.state = defaultdict(dict)
        for param in self._parameters():
            values = states[id(param)]
            if values:
                self.state[param] = _snapshot(values)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for position, group in enumerate(self.param_groups):
            sizes = [param.array.size for param in group["params"]]
            lines.append(f"Parameter Group {position}: {len(sizes)} parameters, {sum(sizes):,} numbers")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key not in ("params", "param_names")]
        return "\n".join([*lines, ")"])


def _parameters(params: Any) -> tuple[list[Any], list[str]]:
    """The Tensors of a group, each once, and their names where they have any."""
    if isinstance(params, (set, frozenset)):
        raise OptimizerError(
            f"parameters need an order that is the same in every run, which a set does not have; pass a list.{here()}"
        )
    entries = [params] if isinstance(params, TensorCore) else list(params)
    names = [entry[0] for entry in entries if isinstance(entry, tuple)]
    if names and len(names) != len(entries):
        raise OptimizerError(f"{len(entries) - len(names)} of {len(entries)} parameters have no name.{here()}")
    tensors = [entry[1] if isinstance(entry, tuple) else entry for entry in entries]
    for position, tensor in enumerate(tensors):
        if not isinstance(tensor, TensorCore):
            raise OptimizerError(
                f"an optimizer works on Tensors, and parameter {position} is a {type(tensor).__name__}.{here()}"
            )
        if tensor.node is not None and not isinstance(tensor.node, Leaf):
            raise OptimizerError(
                f"can't optimize a non-leaf Tensor: parameter {position}, of shape {tensor.array.shape}, is the result of "
                f"{tensor.node.op.name}.{here()}\n  Optimize what it was computed from, or x.detach().requires_grad_()."
            )
        if tensor.node is not None and tensor.array.dtype.kind != "f":
            raise DtypeError(
                f"parameter {position} is {tensor.array.dtype}; only real floating ones are updated.{here()}"
            )
    if len({id(tensor) for tensor in tensors}) < len(tensors):
        warn("a parameter group names the same parameter several times; it is updated once a step.")
        first = {id(tensor): position for position, tensor in reversed(list(enumerate(tensors)))}
        keep = sorted(first.values())
        tensors = [tensors[position] for position in keep]
        names = [names[position] for position in keep] if names else names
    return tensors, names


def _snapshot(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: wrap(value.array.copy()) if isinstance(value, TensorCore) else deepcopy(value)
        for name, value in values.items()
    }


def _comparable(value: Any) -> Any:
    """An option as something that can be kept and compared later."""
    if isinstance(value, (list, tuple)):
        return tuple(_comparable(one) for one in value)
    return value if value is None or isinstance(value, (int, float, str)) else id(value)


class FlatOptimizer(Optimizer):
    """Base class of optimizers that update over flat buffers.

    A subclass names its moments in `moment_names` and writes `_update`, which runs kernels on the windows of a
    `FlatBuffer`. The parameters' memory moves when the optimizer is made (see `autograd_ff.optim.flat`).

    A step is counted, and its learning rate looked up, by `autograd_ff.engine.host`; on which of its options the choice
    of kernels depends, `_course_options` says. So a recorded step can be replayed with the rates of that time.

    >>> import autograd_ff as af
    >>> weight, bias = af.ones(2, 3, requires_grad=True), af.ones(2, requires_grad=True)
    >>> optimizer = af.optim.SGD([weight, bias], lr=0.1)
    >>> isinstance(optimizer, FlatOptimizer), weight.array.base is bias.array.base  # one flat array holds both
    (True, True)
    """

    moment_names: tuple[str, ...] = ()
    counts_steps = True  # the state of a parameter has an entry "step"
    # Where gradients stay zero, decaying moments become subnormal, and a step up to 24 times slower. With this on, they
    # become zero instead: the processor does it while a step runs, or, where it cannot be told to, every so many steps
    # the moments are looked through.
    flushes_subnormals = True
    _flush_interval = 64
    _make_buffer: Callable[..., FlatBuffer] = FlatBuffer

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self.steps_taken = 0
        self._layouts: list[Layout] = []
        self._settled = -1  # versions.structure when all layouts were last known to hold
        # The state of parameters that a user took out of all groups, until they come back.
        self._kept: dict[int, tuple[Any, ParameterState]] = {}
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        try:
            self._settle()
        except Exception:
            self.param_groups.pop()
            raise

    add_param_group.__doc__ = Optimizer.add_param_group.__doc__

    def _settle(self) -> list[Layout]:
        """The layouts of all groups, brought up to date."""
        layouts, groups = self._layouts, self.param_groups
        if self._holds():
            self._settled = versions.structure
            return layouts
        check_apart(list(self._parameters()))
        while len(layouts) > len(groups):
            layouts.pop().settle([], self._kept)
        while len(layouts) < len(groups):
            layouts.append(Layout(self._make_buffer))
        # First those that lose parameters: another group may have received them.
        for layout, group in zip(layouts, groups, strict=True):
            present = {id(param) for param in group["params"]}
            if not layout.holds(group["params"]):
                layout.settle([param for param in layout.params if id(param) in present], self._kept)
        for layout, group in zip(layouts, groups, strict=True):
            if not layout.holds(group["params"]):
                layout.settle(group["params"], self._kept)
        self._settled = versions.structure
        return layouts

    def _holds(self) -> bool:
        """Whether every parameter lies where it was laid."""
        layouts, groups = self._layouts, self.param_groups
        if len(layouts) != len(groups):
            return False
        for layout, group in zip(layouts, groups, strict=True):  # noqa: SIM110 (a generator takes its time)
            if not layout.holds(group["params"]):
                return False
        return True

    def _course(self) -> Any:
        """What decides which kernels a step runs on which memory, beside which parameters have a gradient.

        Asked before every replay of a recorded step, so it looks for parameters that moved only if something did.
        """
        groups = self.param_groups
        if self._settled != versions.structure:
            if not self._holds():
                return object()  # equal to nothing: the next step will move parameters
            self._settled = versions.structure
        elif len(groups) != len(self._layouts):
            return object()
        course: list[Any] = []
        for layout, group in zip(self._layouts, groups):  # noqa: B905 (compared above; strict takes its time)
            if len(group["params"]) != len(layout.params):
                return object()
            course += [id(group), self._course_options(group), self.flushes_subnormals]
            for buffer in layout.buffers:
                course.append(self._course_state(buffer))
        return course

    def _course_options(self, group: dict[str, Any]) -> Any:
        """The options on which `_update` decides; by default all, so that none is taken for a constant unnoticed."""
        return {key: _comparable(value) for key, value in group.items() if key not in ("params", "param_names")}

    def _course_state(self, buffer: FlatBuffer) -> Any:
        """What `_update` decides on in a buffer."""
        return buffer.pattern

    def step(self, closure: Closure | None = None) -> Any:
        """Update all parameters that have a gradient, once.

        Args:
            closure: computes the loss anew, with gradients; called first.

        Returns:
            What the closure returned, or None.

        Raises:
            ShapeError, DtypeError: a gradient does not fit its parameter.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        layouts = self._settle()
        depend(self._course)
        # All gradients are checked before the first parameter is written.
        work = [
            (buffer, buffer.gradients(), group)
            for layout, group in zip(layouts, self.param_groups, strict=True)
            for buffer in layout.buffers
        ]
        flushes = self.flushes_subnormals
        before = set_flush(True) if flushes else False
        try:
            with np.errstate(all="ignore"):  # infinities and NaN take their course, as in PyTorch
                for buffer, gradients, group in work:
                    self._update(buffer, gradients, group)
                if flushes and not can_flush():
                    self._flush([buffer for buffer, _, _ in work])
        finally:
            if flushes:
                set_flush(before)
        host(self._count_step)
        return loss

    def _flush(self, buffers: list[FlatBuffer]) -> None:
        options = host(self._flush_options)
        for buffer in buffers:
            for moment in buffer.moments.values():
                apply_raw(flush_subnormals, (moment,), options)

    def _flush_options(self) -> dict[str, Any]:
        assert self.steps_taken is not None
        return {"due": self.steps_taken % self._flush_interval == self._flush_interval - 1}

    def _count_step(self) -> None:
        assert self.steps_taken is not None
        self.steps_taken += 1

    def _update(self, buffer: FlatBuffer, gradients: list[np.ndarray | None], group: dict[str, Any]) -> None:
        """Update the parameters of one buffer that have a gradient."""
        raise NotImplementedError

    # ---------------------------------------------------------------- state

    @property
    def state(self) -> Any:
        """What is kept for each parameter: ``optimizer.state[p]["exp_avg"]``, a Tensor on the optimizer's own memory.

        Writing into such a Tensor changes the state; entries cannot be added or replaced, for which there is
        `load_state_dict`. ``optimizer.state = {}`` forgets all state.
        """
        return _State(self)

    @state.setter
    def state(self, value: Any) -> None:
        if value:
            raise OptimizerError(f"an optimizer's state is set by load_state_dict.{here()}")
        self._load_state({id(param): None for param in self._parameters()})

    def _states(self) -> Iterator[tuple[Any, FlatBuffer, int]]:
        """The parameters that have a state, each with its place."""
        for layout in self._layouts:
            for param, home in zip(layout.params, layout.homes, strict=True):
                if home is not None and home[0].counts[home[1]]:
                    yield param, *home

    def _show(self, buffer: FlatBuffer, position: int) -> Mapping[str, Any]:
        values = {"step": wrap(np.array(buffer.counts[position], np.float32))} if self.counts_steps else {}
        for name in self.moment_names:
            if name in buffer.moments:
                values[name] = wrap(buffer.part(buffer.moments[name], position))
        return MappingProxyType(values)

    def _load_state(self, states: dict[int, Any]) -> None:
        if not self.param_groups:  # the base class starts with no state
            return
        layouts = self._settle()
        loaded: list[tuple[tuple[FlatBuffer, int], ParameterState]] = []
        index = 0
        for layout in layouts:
            for param, place, home in zip(layout.params, layout.placed, layout.homes, strict=True):
                if home is not None:
                    loaded.append((home, self._parse_state(states[id(param)] or {}, place.shape, index)))
                index += 1
        for (buffer, position), state in loaded:
            buffer.set_state(position, state)
        self._kept.clear()

    def _parse_state(self, values: Mapping[str, Any], shape: tuple[int, ...], index: int) -> ParameterState:
        moments: dict[str, np.ndarray] = {}
        count = 0
        for name, value in values.items():
            if value is None:
                continue
            array = value.array if isinstance(value, TensorCore) else np.asarray(value)
            if name == "step":
                count = int(array)
            elif name not in self.moment_names:
                known = ", ".join((*(("step",) if self.counts_steps else ()), *self.moment_names))
                raise StateDictError(
                    f"the state of parameter {index} has an entry {name!r}, which {type(self).__name__} does not keep (it "
                    f"keeps {known}).{here()}\n  The state dict is another optimizer's."
                )
            elif array.shape != shape:
                raise StateDictError(
                    f"{name} of parameter {index} has shape {array.shape} in the state dict, and the parameter has "
                    f"{shape}.{here()}"
                )
            else:
                moments[name] = array
        if not self.counts_steps:
            count = 1 if moments else 0
        return ParameterState(count, moments)

    # ---------------------------------------------------------------- copying

    def __getstate__(self) -> dict[str, Any]:
        attributes = {
            key: value for key, value in self.__dict__.items() if key not in ("_layouts", "_kept", "_settled")
        }
        attributes["_saved"] = [
            [None if home is None else home[0].state(home[1]) for home in layout.homes] for layout in self._layouts
        ]
        return attributes

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        attributes = dict(attributes)
        saved = attributes.pop("_saved")
        self.__dict__.update(attributes)
        self._layouts, self._kept, self._settled = [], {}, -1
        for layout, states in zip(self._settle(), saved, strict=True):
            for home, state in zip(layout.homes, states, strict=True):
                if home is not None and state is not None and state.count:
                    home[0].set_state(home[1], state)


class _State(Mapping[Any, Any]):
    """What an optimizer keeps, by parameter, read when asked for."""

    def __init__(self, optimizer: FlatOptimizer) -> None:
        self._optimizer = optimizer

    def __getitem__(self, param: Any) -> Any:
        for known, buffer, position in self._optimizer._states():
            if known is param:
                return self._optimizer._show(buffer, position)
        return MappingProxyType({})

    def __contains__(self, param: object) -> bool:
        return any(known is param for known, _, _ in self._optimizer._states())

    def __iter__(self) -> Iterator[Any]:
        return (param for param, _, _ in self._optimizer._states())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def items(self) -> Any:
        return [(param, self._optimizer._show(buffer, at)) for param, buffer, at in self._optimizer._states()]

    def __repr__(self) -> str:
        return f"{{{', '.join(f'{param!r}: {dict(values)!r}' for param, values in self.items())}}}"


def check_number(name: str, value: Any, *, below: float | None = None) -> None:
    """Raise unless an option is a number from 0 up, and less than ``below`` where given."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise OptimizerError(f"{name} must be a number, got {value!r}{here()}") from None
    if not number >= 0.0 or (below is not None and not number < below):
        limits = "at least 0" if below is None else f"at least 0 and less than {below:g}"
        raise OptimizerError(f"Invalid {name}: {value}; it must be {limits}.{here()}")


def check_hints(hints: Iterable[tuple[str, Any]]) -> None:
    """PyTorch's arguments about how to run an update: nothing to choose from here, and one that is not offered."""
    for name, value in hints:
        if name not in ("foreach", "fused", "capturable", "differentiable"):
            raise OptimizerError(f"unknown argument {name!r}{here()}")
        if name == "differentiable" and value:
            raise OptimizerError(
                f"differentiable=True is not offered: step() writes in place, outside of the graph.{here()}\n"
                "  Write the update as a computation on Tensors, p = p - lr * grad with create_graph=True."
            )
