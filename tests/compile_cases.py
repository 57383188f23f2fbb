"""Twins: the same step built twice from one seed, one run eagerly and one compiled, compared bit for bit at each call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

import autograd_ff as af
from autograd_ff import nn, optim
from autograd_ff.engine import TensorCore
from autograd_ff.errors import CaptureError

# With the same kernels on as many threads as eagerly: equal bit for bit.
exactly = functools.partial(af.compile, fast=False, threads=False)


class World:
    """A step and all that it may change, by name: modules, optimizers, schedulers, tensors."""

    def __init__(self, step: Callable[..., Any], **state: Any) -> None:
        self.raw = step
        self.step = step
        self.state = state
        self.runs = 0  # how often the Python of the step ran

    def compiled(self) -> World:
        def counted(*args, **kwargs):
            self.runs += 1
            return self.raw(*args, **kwargs)

        self.step = exactly(counted)
        return self

    def __getattr__(self, name):
        return self.__dict__["state"][name]


def plain(thing: Any) -> Any:
    """Something as nested tuples of numbers and bytes, which compare exactly (NaN with NaN, and 0.0 is not -0.0)."""
    if isinstance(thing, TensorCore):
        return "tensor", *plain(thing.array)
    if isinstance(thing, np.ndarray):
        return "array", str(thing.dtype), thing.shape, thing.tobytes()
    if isinstance(thing, (tuple, list)):
        return type(thing).__name__, tuple(plain(one) for one in thing)
    if isinstance(thing, dict):
        return type(thing).__name__, tuple((str(key), plain(one)) for key, one in thing.items())
    if isinstance(thing, float):
        return "float", thing.hex()
    return repr(type(thing)), thing


def snapshot(world: World, result: Any = None) -> dict[str, Any]:
    """Everything about a world that must not depend on whether it was compiled."""
    found: dict[str, Any] = {"returned": plain(result)}
    for label, one in world.state.items():
        if isinstance(one, nn.Module):
            for name, tensor in one.named_parameters():
                found[f"{label}.{name}"] = plain(tensor)
                found[f"{label}.{name}.grad"] = plain(tensor._grad)
            for name, tensor in one.named_buffers():
                found[f"{label}.{name}"] = plain(tensor)
        elif isinstance(one, optim.Optimizer):
            found[f"{label}.state"] = plain(one.state_dict())
        elif isinstance(one, optim.lr_scheduler.LRScheduler):
            found[f"{label}.lr"] = plain(one.get_last_lr()), one.last_epoch
        elif isinstance(one, TensorCore):
            found[label] = plain(one)
            found[f"{label}.grad"] = plain(one._grad)
    found["random state"] = plain(af.get_rng_state())
    return found


def difference(eager: dict[str, Any], compiled: dict[str, Any]) -> str:
    """What differs between two snapshots, in words; nothing where they are equal."""
    lines = []
    for name in eager.keys() | compiled.keys():
        one, other = eager.get(name), compiled.get(name)
        if one != other:
            lines.append(f"{name}: {_shown(one)} eagerly, {_shown(other)} compiled")
    return "\n".join(sorted(lines))


def _shown(thing: Any) -> str:
    if isinstance(thing, tuple) and len(thing) == 4 and thing[0] == "tensor":
        return f"unlike {thing}"
    if isinstance(thing, tuple) and len(thing) == 5:
        return f"{np.frombuffer(thing[4], thing[2])[:6]}{thing[3]}"
    return f"{thing!r:.300}"


def history(world: World, calls: list[Any], between: Callable[[World, int], Any] | None, seed: int) -> list[Any]:
    """The snapshots after each call, beginning with the random generator of ``seed``."""
    af.manual_seed(seed)
    found = []
    for number, call in enumerate(calls):
        if between is not None:
            between(world, number)
        arguments = call() if callable(call) else call
        arguments = arguments if isinstance(arguments, tuple) else (arguments,)
        found.append(snapshot(world, world.step(*arguments)))
    return found


def check_twins(
    make: Callable[[], World],
    calls: list[Any],
    between: Callable[[World, int], Any] | None = None,
    *,
    seed: int = 0,
    most_runs: int | None = None,
) -> World:
    """Run a world eagerly and its twin compiled, and assert that nothing tells them apart.

    Args:
        calls: the arguments of each call, a tuple or a function that makes it anew (where the step writes into them).
        between: done to both worlds before each call, with its number.
        most_runs: how often the Python of the compiled step may run at most; by default 2, all else being replays.
    """
    af.manual_seed(seed)
    eager = make()
    af.manual_seed(seed)
    compiled = make().compiled()
    expected = history(eager, calls, between, seed)
    got = history(compiled, calls, between, seed)
    for number, (one, other) in enumerate(zip(expected, got, strict=True)):
        wrong = difference(one, other)
        assert not wrong, f"after call {number}:\n{wrong}"
    most_runs = 2 if most_runs is None else most_runs
    assert compiled.runs <= most_runs, (
        f"{compiled.runs} of {len(calls)} calls ran the Python, at most {most_runs} expected"
    )
    return compiled


def batches(count: int = 8, rows: int = 5, features: int = 4, classes: int = 3, seed: int = 1, **_: Any) -> list[Any]:
    """Batches of float inputs and integer labels."""
    draw = np.random.default_rng(seed)
    return [
        (
            af.tensor(draw.standard_normal((rows, features)).astype(np.float32)),
            af.tensor(draw.integers(0, classes, rows)),
        )
        for _ in range(count)
    ]


def arrays(count: int, *shape: int, dtype: Any = np.float32, seed: int = 0) -> list[Any]:
    """Tensors of random numbers, each its own."""
    draw = np.random.default_rng(seed)
    return [(af.tensor(draw.standard_normal(shape).astype(dtype)),) for _ in range(count)]


def classifier(make_optimizer: Any = None, **layers: Any) -> World:
    """A small classifier with Adam."""
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    optimizer = (make_optimizer or optim.Adam)(model.parameters())

    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return World(step, model=model, optimizer=optimizer)


def numbers(*shape, seed=0, dtype=np.float32):
    return af.tensor(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def regression(make_optimizer=lambda params: optim.SGD(params, lr=0.1), model=None, make_scheduler=None, **zero):
    """A linear model with everything in its step."""
    model = model or nn.Linear(3, 2)
    optimizer = make_optimizer(model.parameters())
    scheduler = make_scheduler(optimizer) if make_scheduler else None

    def step(x):
        optimizer.zero_grad(**zero)
        loss = model(x).pow(2).sum()
        loss.backward()
        optimizer.step()
        if scheduler:
            scheduler.step()
        return loss

    return World(step, model=model, optimizer=optimizer, **({"scheduler": scheduler} if scheduler else {}))


def check_same(function, calls, most_runs=2):
    """A function without state of its own: compiled equals eager; each call is a function that makes the arguments."""
    runs = []

    def counted(*args, **kwargs):
        runs.append(1)
        return function(*args, **kwargs)

    compiled = exactly(counted)
    for number, call in enumerate(calls):
        assert plain(compiled(*call())) == plain(function(*call())), f"call {number}"
    assert len(runs) <= most_runs
    return compiled


def check_correct_or_refused(function, calls):
    """Each call gives what eager gives, or raises CaptureError. Returns how many were refused."""
    compiled, refused = exactly(function), 0
    for number, call in enumerate(calls):
        try:
            got = compiled(*call())
        except CaptureError:
            refused += 1
            continue
        assert plain(got) == plain(function(*call())), f"call {number}"
    return refused
