"""The optimizers' updates, each in one pass over its flat arrays.

The formulas are those of `kernels.optimizers`, in the same order, so that both give the same bits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from .nests import Assign
from .steps import Operand, Part, Runtime, Step, dense_strides
from .writer import F64, Block, Number

__all__ = ["UPDATES", "assigns", "is_supported"]

# For each update the names of its arrays, up to "scratch"; the gradients follow.
UPDATES = {
    "sgd_update": ("param",),
    "momentum_start": ("param", "momentum_buffer"),
    "momentum_update": ("param", "momentum_buffer"),
    "adam_update": ("param", "exp_avg", "exp_avg_sq"),
    "amsgrad_update": ("param", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"),
    "rmsprop_update": ("param", "square_avg"),
    "rmsprop_centered_update": ("param", "square_avg", "grad_avg"),
    "rmsprop_momentum_update": ("param", "square_avg", "momentum_buffer"),
    "rmsprop_centered_momentum_update": ("param", "square_avg", "grad_avg", "momentum_buffer"),
    "adagrad_update": ("param", "sum"),
}
DEFAULTS = {
    "lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decay": 0.0, "weight_decay": 0.0, "maximize": False, "step": 1,
    "momentum": 0.9, "dampening": 0.0, "nesterov": False, "alpha": 0.99, "inside": False, "initial": 0.0,
}  # fmt: skip


def is_supported(step: Step) -> bool:
    names = UPDATES[step.op]
    flat, gradients = step.inputs[: len(names)], step.inputs[len(names) + 1 :]
    if not gradients or not all(isinstance(one, Operand) for one in (*flat, *gradients)):
        return False
    dtype = flat[0].dtype
    size = sum(math.prod(one.shape) for one in gradients)
    return (
        dtype.kind == "f"
        and dtype.itemsize >= 4
        and all(one.dtype == dtype for one in (*flat, *gradients))
        and all(one.shape == (size,) and one.strides == (dtype.itemsize,) for one in flat)
        and not any(isinstance(step.params.get(key), (Runtime, Operand)) for key in ("maximize", "nesterov", "inside"))
        and all(isinstance(one, (bool, int, float, Runtime)) for one in step.params.values())
    )


def assigns(step: Step) -> list[Assign]:
    """One assignment for each gradient, over its elements and those of the flat arrays beside it."""
    names = UPDATES[step.op]
    flat, gradients = step.inputs[: len(names)], step.inputs[len(names) + 1 :]
    params = {**DEFAULTS, **step.params}
    made: list[Assign] = []
    start = 0
    for gradient in gradients:
        size = gradient.dtype.itemsize
        strides = dense_strides(gradient.shape, size)
        parts = tuple(Part(one, gradient.shape, strides, start * size) for one in flat)
        read = Part(gradient, gradient.shape, gradient.strides)
        runtime = [key for key, one in params.items() if isinstance(one, Runtime)]
        reads = (read, *parts, *(params[key] for key in runtime))
        made.append(Assign(gradient.shape, reads, parts, _compute(step.op, params, runtime, len(parts))))
        start += math.prod(gradient.shape)
    return made


def _compute(op: str, params: dict[str, Any], runtime: list[str], count: int) -> Callable[..., Any]:
    def compute(block: Block, numbers: list[Any]) -> list[Number]:
        given = dict(zip(runtime, numbers[count + 1 :], strict=True))
        values = [one.text for one in numbers[: count + 1]]
        update = _Update(block, numbers[0].dtype, {**params, **given}, max(one.level for one in numbers))
        return [update.number(text) for text in _FORMULAS[op](update, *values)]

    return compute


class _Update:
    """Scalars are computed in float64 before the loops, and rounded to the arrays' type once."""

    def __init__(self, block: Block, dtype: np.dtype[Any], params: dict[str, Any], level: int) -> None:
        self.block, self.dtype, self.params, self.level = block, dtype, params, level

    def given(self, key: str) -> bool:
        """Whether a parameter is anything but zero or False; one that comes with each call may be."""
        value = self.params[key]
        return isinstance(value, Number) or bool(value)

    def scalar(self, expression: str) -> str:
        """The value of an expression of the parameters, in the arrays' type."""
        known = {key: one for key, one in self.params.items() if not isinstance(one, Number)}
        fresh = {key: one.text for key, one in self.params.items() if isinstance(one, Number)}
        if _substitute(expression, fresh) == expression:
            value = eval(expression, {"sqrt": math.sqrt}, known)
            return self.block.program.constant(value, self.dtype)
        text = _substitute(expression, {**{key: repr(float(one)) for key, one in known.items()}, **fresh})
        wide = self.block.let(text.replace("sqrt(", "math.sqrt("), F64, 0)
        return self.block.convert(wide, self.dtype).text

    def let(self, expression: str) -> str:
        return self.block.let(expression, self.dtype, self.level).text

    def number(self, text: str) -> Number:
        return Number(text, self.dtype, self.level)

    def gradient(self, g: str, p: str) -> str:
        """±g + weight_decay p."""
        if self.params["maximize"]:
            g = self.let(f"-{g}")
        if not self.given("weight_decay"):
            return g
        factor = self.scalar("weight_decay")
        decayed = self.let(f"{g} + {factor} * {p}")
        # A factor that comes with each call may be 0, and then an infinite parameter must not make the gradient NaN.
        return decayed if factor[0] != "v" else self.let(f"{decayed} if {factor} != 0.0 else {g}")


def _substitute(expression: str, texts: dict[str, str]) -> str:
    return re.sub(r"[a-z][a-z_0-9]*", lambda found: texts.get(found[0], found[0]), expression)


def _sgd(u: _Update, g: str, p: str) -> list[str]:
    return [u.let(f"{p} - {u.scalar('lr')} * {u.gradient(g, p)}")]


def _descend(u: _Update, g: str, p: str, buffer: str) -> str:
    if u.params["nesterov"]:
        p = u.let(f"{p} - {u.scalar('lr')} * {g}")
        return u.let(f"{p} - {u.scalar('lr * momentum')} * {buffer}")
    return u.let(f"{p} - {u.scalar('lr')} * {buffer}")


def _momentum_start(u: _Update, g: str, p: str, buffer: str) -> list[str]:
    g = u.gradient(g, p)
    return [_descend(u, g, p, g), g]


def _momentum(u: _Update, g: str, p: str, buffer: str) -> list[str]:
    g = u.gradient(g, p)
    taken = u.let(f"{g} * {u.scalar('1 - dampening')}") if u.given("dampening") else g
    buffer = u.let(f"{buffer} * {u.scalar('momentum')} + {taken}")
    return [_descend(u, g, p, buffer), buffer]


def _adam(u: _Update, g: str, p: str, m: str, v: str, largest: str = "") -> list[str]:
    g = u.gradient(g, p)
    if u.given("decay"):
        p = u.let(f"{p} * {u.scalar('1 - decay')}")
    taken = u.let(f"{g} * {u.scalar('1 - beta1')}")
    m = u.let(f"{m} * {u.scalar('beta1')} + {taken}")
    v = u.let(f"{v} * {u.scalar('beta2')} + ({taken} * {taken}) * {u.scalar('(1 - beta2) / (1 - beta1) ** 2')}")
    root = v
    if largest:
        root = largest = u.let(f"{largest} if ({largest} >= {v}) | ({largest} != {largest}) else {v}")
    epsilon = u.scalar("eps * sqrt(1 - beta2 ** step)")
    rate = u.scalar("lr * sqrt(1 - beta2 ** step) / (1 - beta1 ** step)")
    p = u.let(f"{p} - {rate} * ({m} / ({u.let(f'np.sqrt({root})')} + {epsilon}))")
    return [p, m, v, largest] if largest else [p, m, v]


def _rmsprop(u: _Update, g: str, p: str, v: str, mean: str = "", buffer: str = "") -> list[str]:
    g = u.gradient(g, p)
    v = u.let(f"{v} * {u.scalar('alpha')} + ({g} * {g}) * {u.scalar('1 - alpha')}")
    below = v
    if mean:
        mean = u.let(f"{mean} + ({g} - {mean}) * {u.scalar('1 - alpha')}")
        below = u.let(f"{v} - {mean} * {mean}")
    if u.params["inside"]:
        inner = u.let(f"{below} + {u.scalar('eps')}")
        root = u.let(f"np.sqrt({inner})")
    else:
        root = u.let(f"{u.let(f'np.sqrt({below})')} + {u.scalar('eps')}")
    step = u.let(f"{g} / {root}")
    if buffer:
        buffer = u.let(f"{buffer} * {u.scalar('momentum')} + {step}")
    p = u.let(f"{p} - {u.scalar('lr')} * {buffer or step}")
    return [one for one in (p, v, mean, buffer) if one]


def _adagrad(u: _Update, g: str, p: str, v: str) -> list[str]:
    g = u.gradient(g, p)
    if u.given("initial"):
        v = u.let(f"{v} + {u.scalar('initial')}")
    v = u.let(f"{v} + {g} * {g}")
    step = u.let(f"{g} / ({u.let(f'np.sqrt({v})')} + {u.scalar('eps')})")
    return [u.let(f"{p} - {u.scalar('lr')} * {step}"), v]


_FORMULAS: dict[str, Callable[..., list[str]]] = {
    "sgd_update": _sgd,
    "momentum_start": _momentum_start,
    "momentum_update": _momentum,
    "adam_update": _adam,
    "amsgrad_update": _adam,
    "rmsprop_update": _rmsprop,
    "rmsprop_centered_update": _rmsprop,
    "rmsprop_momentum_update": lambda u, g, p, v, buffer: _rmsprop(u, g, p, v, "", buffer),
    "rmsprop_centered_momentum_update": _rmsprop,
    "adagrad_update": _adagrad,
}
