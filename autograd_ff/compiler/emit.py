"""From a plan to Python: straight-line source over NumPy, and the names that it needs.

Arrays whose memory is the same at every call are made once and bound to names; what comes with each call (arguments,
what an op allocates) and views of it are local variables.
"""

from __future__ import annotations

import functools
import keyword
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..engine.subnormals import set_flush
from .plan import Instruction, Plan
from .threads import ALL, EITHER, blas_threads, choose, switches
from .values import Memory, Value

__all__ = ["Program", "emit"]

PROGRAM = "<compiled step>"  # the file name of its code in tracebacks
_SIMPLE = (int, float, bool, str, type(None))
_SMALL = 4096  # bytes up to which a Python number is spread to a whole array, which NumPy takes up three times as fast


@dataclass(eq=False)
class Program:
    """The source of a replay and what its names stand for."""

    source: str
    names: dict[str, Any]
    actions: list[str] = field(default_factory=list)  # names that stand for actions, in the order of their calls

    def function(self, **replaced: Any) -> Callable[..., Any]:
        """The replay, with other things in the places of some names."""
        names = {**self.names, **replaced}
        exec(compile(self.source, PROGRAM, "exec"), names)
        made: Callable[..., Any] = names.pop("replay")  # without a cycle, its memory is freed with it
        return made

    def site(self, line: int) -> str:
        """The user's line that a line of the source carries out."""
        above = [one.strip() for one in self.source.splitlines()[:line]]
        return next((one[2:] for one in reversed(above) if re.match(r"# (?!loop(_\d+)?: ).*:", one)), "")

    def acts(self, line: int) -> bool:
        """Whether a line of the source is an action."""
        words = re.findall(r"\w+", self.source.splitlines()[line - 1])
        return bool(words) and words[-1] in self.actions


def emit(plan: Plan, title: str, choose_threads: bool) -> Program:
    """The program of a plan; with ``choose_threads``, each product on as many BLAS threads as suit its size."""
    return _Writer(plan, choose_threads).write(title)


class _Writer:
    def __init__(self, plan: Plan, choose_threads: bool) -> None:
        self.plan = plan
        self.names: dict[str, Any] = {"__builtins__": {}}
        self.lines: list[str] = []
        self.actions: list[str] = []
        self.bound: dict[Any, str] = {}  # names of values, by memory and geometry
        self.locals: dict[Memory, list[str]] = {}  # names of what ops allocated, and of its views
        self.functions: dict[int, str] = {}
        self.copies: dict[Any, np.ndarray] = {}
        # Memory that changes after it was made or brought: a copy of it would not.
        self.written = {
            value.memory for one in plan.instructions if one.form != "plain" for value in (*one.made, *one.writes)
        }
        self.results_of: dict[int, str] = {}  # names of what actions returned, by id of the action
        self.site: Any = None
        self.switches = _thread_switches(plan) if choose_threads and blas_threads().available else {}
        self.names |= {"switch": None, "every": None}

    def write(self, title: str) -> Program:
        arguments = [self.fresh(value.name or "x") for value in self.plan.arguments]
        _prepare([one.function for one in self.plan.instructions if one.form == "kernel"])
        for value, name in zip(self.plan.arguments, arguments, strict=True):
            self.bound[_key(value)] = name
        ending = _endings(self.plan)
        for at, one in enumerate(self.plan.instructions):
            self.instruction(one)
            if at in ending:
                self.forget(ending[at])
        returned = [f"{self.array(value)}.copy('K')" for value in self.plan.results.values()]
        body = [f"    {line}" for line in self.lines]
        body.append(f"    return ({', '.join(returned)}{',' if len(returned) == 1 else ''})")
        head = [f"# {title}", f"def replay({', '.join(arguments)}):"]
        if any(number != EITHER for number in self.switches.values()):
            blas = blas_threads()
            acquire, release = self.fresh("acquire", blas.acquire), self.fresh("release", blas.release)
            body = [f"    {line}" for line in body]
            body = [f"    switch, every = {acquire}()", "    try:", *body, "    finally:", f"        {release}(every)"]
        return Program("\n".join([*head, *body, ""]), self.names, self.actions)

    def forget(self, memories: list[Memory]) -> None:
        """Free what was allocated in this call and is not used again."""
        gone = [name for memory in memories for name in self.locals.pop(memory, ())]
        if gone:
            self.lines.append(f"del {', '.join(gone)}")

    # ---------------------------------------------------------------- names

    def fresh(self, wish: str, thing: Any = None) -> str:
        """A name that is still free, for ``thing`` or a local variable."""
        wish = re.sub(r"\W", "_", wish) or "_"
        if wish[0].isdigit() or keyword.iskeyword(wish):
            wish = f"_{wish}"
        name, number = wish, 1
        while name in self.names:
            number += 1
            name = f"{wish}_{number}"
        self.names[name] = thing
        return name

    def of_function(self, function: Any, wish: str = "") -> str:
        name = self.functions.get(id(function))
        if name is None:
            wish = wish or getattr(function, "__name__", "function").strip("_").replace("<lambda>", "function")
            name = self.functions[id(function)] = self.fresh(wish, function)
        return name

    def array(self, value: Value) -> str:
        """The name of an array; it is bound, or made, where that has not happened yet."""
        name = self.bound.get(_key(value))
        if name is not None:
            return name
        memory = value.memory
        if memory.fixed:
            name = self.fresh(self.wish(value), self.fixed(value))
        else:
            name = self.view(value)
            if memory.kind == "fresh":
                self.locals.setdefault(memory, []).append(name)
        self.bound[_key(value)] = name
        return name

    def wish(self, value: Value) -> str:
        if value.name:
            return value.name
        if value.made_from is not None:
            op, source, _ = value.made_from
            return f"{self.wish(source)}_{'T' if op.name in ('transpose', 'swapaxes') else op.name}"
        memory = value.memory
        return f"gradient_{memory.number}" if memory.kept else f"{memory.kind}_{memory.number}"

    def fixed(self, value: Value) -> np.ndarray:
        memory = value.memory
        if memory.array is not None:
            return value.array_in(memory.array)
        arena = self.plan.arena
        start = arena.kept + memory.offset
        return value.array_in(arena.array[start : start + memory.size])

    def view(self, value: Value) -> str:
        """A look at memory that came with the call."""
        if value.made_from is None:
            raise AssertionError(f"{value!r} has no origin")
        op, source, params = value.made_from
        name = self.fresh(self.wish(value))
        given = ", ".join([self.array(source), *self.keywords(params)])
        self.lines.append(f"{name} = {self.of_function(op.forward)}({given})")
        return name

    # ---------------------------------------------------------------- text

    def operand(self, thing: Any) -> str:
        if isinstance(thing, Value):
            return self.array(thing)
        # A number of NumPy's may be a float too, and is not written like one.
        simple = isinstance(thing, _SIMPLE) and not isinstance(thing, np.generic)
        if simple and not (isinstance(thing, float) and not np.isfinite(thing)):
            return repr(thing)
        if isinstance(thing, slice):
            return f"{self.of_function(slice)}({thing.start!r}, {thing.stop!r}, {thing.step!r})"
        if isinstance(thing, (tuple, list)):
            inner = ", ".join(map(self.operand, thing))
            if isinstance(thing, list):
                return f"[{inner}]"
            return f"({inner},)" if len(thing) == 1 else f"({inner})"
        return self.fresh(type(thing).__name__.lower() if not np.isscalar(thing) else "number", thing)

    def keywords(self, params: dict[str, Any]) -> list[str]:
        return [f"{name}={self.operand(value)}" for name, value in params.items()]

    def instruction(self, one: Instruction) -> None:
        if one.site is not None and one.site != self.site:
            self.lines.append(f"# {one.site}")
            self.site = one.site
        if one.form == "action":
            self.action(one)
            return
        if one.form == "kernel":
            self.kernel(one)
            return
        inputs = [self.operand(value) for value in (_spread(one) if one.form == "out" else one.inputs)]
        function = self.of_function(
            updating(one.function, one.flushes) if one.updates else one.function, "" if one.form == "out" else one.name
        )
        if (number := self.switches.get(id(one), EITHER)) != EITHER:
            self.lines.append("switch(every)" if number is ALL else f"switch({number})")
        if one.form == "out":
            self.lines.append(f"{function}({', '.join(inputs)}, out={self.array(one.outputs[0])})")
        elif one.form == "into":
            outputs = [self.operand(value) for value in one.outputs]
            self.lines.append(f"{function}({', '.join([*outputs, *inputs, *self.keywords(one.params)])})")
        elif one.form == "write":
            numbers = [f"**{self.results_of[id(one.runtime)]}"] if one.runtime else self.keywords(one.params)
            self.lines.append(f"{function}({', '.join([*inputs, *numbers])})")
        else:
            self.plain(one, function, inputs)

    def plain(self, one: Instruction, function: str, inputs: list[str]) -> None:
        call = f"{function}({', '.join([*inputs, *self.keywords(one.params)])})"
        asarray = self.of_function(np.asarray)
        if len(one.outputs) == 1:
            call = f"{asarray}({call})"
        targets: list[str] = []
        copies: list[str] = []
        for value in one.outputs:
            if value is None:
                targets.append("_")
            elif value.memory.kind == "fresh":
                targets.append(self.fresh(value.name))
                self.bound[_key(value)] = targets[-1]
                self.locals.setdefault(value.memory, []).append(targets[-1])
            else:  # memory that stays
                targets.append(self.fresh("new"))
                copies.append(f"{self.of_function(np.copyto)}({self.array(value)}, {targets[-1]})")
        self.lines.append(f"{', '.join(targets)} = {call}")
        self.lines += copies

    def kernel(self, one: Instruction) -> None:
        """A compiled loop: bound to the arrays that stay, and told where those are that come with the call."""
        given: list[np.ndarray] = []
        moving: list[tuple[int, str]] = []
        for position, value in enumerate(one.inputs):
            if value.memory.fixed:
                given.append(self.fixed(value))
            elif value.nbytes <= _SMALL and value.memory not in self.written:
                given.append(self.staged(value))
            else:
                moving.append((position, self.array(value)))
                given.append(_room(value))
        bound = one.function.bind(*given)  # type: ignore[attr-defined]
        addresses = bound.addresses
        if one.flushes:
            bound = flushing(bound)
        name = self.fresh("loop", bound)
        self.lines.append(f"# {name}: {one.name}")
        if moving:
            table = self.fresh(f"{name}_addresses", addresses)
            for position, array in moving:
                self.lines.append(f'{table}[{position}] = {array}.__array_interface__["data"][0]')
        numbers = [f"{self.results_of[id(action)]}[{key!r}]" for action, key in one.params["numbers"]]
        self.lines.append(f"{name}({', '.join(numbers)})")

    def staged(self, value: Value) -> np.ndarray:
        """A copy of a small array that comes with the call: made sooner than its address is found."""
        key = _key(value)
        if key not in self.copies:
            room = self.copies[key] = _room(value)
            name = self.array(value)
            self.lines.append(f"{self.of_function(np.copyto)}({self.fresh(f'{name}_copy', room)}, {name})")
        return self.copies[key]

    def action(self, one: Instruction) -> None:
        bound = functools.partial(one.function, *one.inputs) if one.inputs else one.function
        name = self.fresh(getattr(one.function, "__name__", "action").strip("_"), bound)
        self.actions.append(name)
        assert one.runtime is not None
        if one.runtime.result is None:
            self.lines.append(f"{name}()")
        else:
            result = self.results_of[id(one.runtime)] = self.fresh("numbers")
            self.lines.append(f"{result} = {name}()")


def _endings(plan: Plan) -> dict[int, list[Memory]]:
    """After which instruction each memory that ops allocate is not used any more; never, if it is returned."""
    last = {
        value.memory: at for at, one in enumerate(plan.instructions) for value in (*one.reads, *one.made, *one.writes)
    }
    for value in plan.results.values():
        last.pop(value.memory, None)
    found: dict[int, list[Memory]] = {}
    for memory, at in last.items():
        if memory.kind == "fresh":
            found.setdefault(at, []).append(memory)
    return found


def _thread_switches(plan: Plan) -> dict[int, int | None]:
    """How many BLAS threads to set before each product, by the instruction's id."""
    products = [one for one in plan.instructions if one.function is np.matmul]
    choices: list[int | None] = []
    for one in products:
        left, right = (value.shape for value in one.inputs)
        rows, columns = left[-2] if len(left) > 1 else 1, right[-1] if len(right) > 1 else 1
        choices.append(choose(rows, columns, left[-1], one.outputs[0].dtype))
    return dict(zip(map(id, products), switches(choices), strict=True))


def _prepare(kernels: list[Any]) -> None:
    """Compile the loops of a plan, which may take a second for each where their machine code is not on disk yet."""
    if kernels:
        from tqdm import tqdm

        for kernel in tqdm(kernels, "compiling loops", leave=False, delay=2, disable=None):
            kernel.prepare()


@functools.cache
def updating(update: Callable[..., Any], flushes: bool) -> Callable[..., Any]:
    """An optimizer's update as optimizers run it: infinities and NaN take their course, subnormals may become zero."""

    @functools.wraps(update)
    def run(*arrays: Any, **numbers: Any) -> None:
        with np.errstate(all="ignore"):
            update(*arrays, **numbers)

    return flushing(run) if flushes else run


def flushing(function: Callable[..., Any]) -> Callable[..., None]:
    """A function that runs with subnormal numbers flushed to zero."""

    @functools.wraps(function)
    def run(*arrays: Any, **numbers: Any) -> None:
        before = set_flush(True)
        try:
            function(*arrays, **numbers)
        finally:
            set_flush(before)

    return run


def _key(value: Value) -> tuple[Any, ...]:
    return value.memory, value.geometry


def _spread(one: Instruction) -> tuple[Any, ...]:
    """The inputs of a ufunc, with arrays for Python numbers, which NumPy takes up in a third of the time.

    Small ones in the shape of the output: for equal shapes there is a shorter way than for broadcasting.
    """
    output = one.outputs[0]
    dtypes = {value.dtype for value in one.inputs if isinstance(value, Value)}
    if not one.elementwise or one.function is np.power or len(dtypes) != 1 or next(iter(dtypes)).kind != "f":
        return one.inputs
    (dtype,) = dtypes
    full = output.nbytes <= _SMALL and len(one.inputs) == 2  # clip treats one limit for all otherwise than many
    shape = output.shape if full else ()
    inputs: list[Any] = []
    for value in one.inputs:
        if isinstance(value, (int, float)):
            value = _constant(float(value).hex(), shape, dtype)
        elif isinstance(value, Value) and value.shape != output.shape and value.nbytes == output.nbytes:
            value = _as_long(value, output)
        inputs.append(value)
    return tuple(inputs)


def _as_long(value: Value, output: Value) -> Value:
    """A vector as a matrix of one row, beside one: then there is nothing to broadcast."""
    if value.memory.fixed and value.dense and output.dense and value.dtype == output.dtype:
        row = value.derived(value.number, shape=output.shape, strides=output.strides)
        row.name = f"{value.name}_row"
        return row
    return value


def _room(value: Value) -> np.ndarray:
    """An array of a value's shape and strides, in memory of its own."""
    low, high = value.bounds
    return np.ndarray(value.shape, value.dtype, np.zeros(high - low, np.uint8), value.offset - low, value.strides)


_NUMBERS = {0.0: "zero", 1.0: "one", math.inf: "infinity"}


@functools.lru_cache(maxsize=1024)
def _constant(exactly: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Value:
    """An array of one number, which comes in hexadecimal: 0.0 and -0.0 are not the same."""
    number = float.fromhex(exactly)
    array = np.full(shape, number, dtype)
    value = Value(0, array, Memory("constant", 0, array))
    value.name = _NUMBERS.get(number, f"number_{number:g}")
    return value
