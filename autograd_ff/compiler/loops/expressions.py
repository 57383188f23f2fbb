"""The ops of one element: what each computes, as an expression of numbers in registers.

Each form says in which type it computes: that of its inputs together ("common"), the output's ("float"), or truth values
("truth"); comparisons compute in the common type and give a truth value. The formulas are those of `autograd_ff.rules`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .steps import Operand, Runtime, Step
from .writer import BOOL, F32, F64, Block, Number

__all__ = ["COMPUTED", "FORMS", "compute", "is_supported", "result_type"]

COMPUTED = {np.dtype(one) for one in (np.float32, np.float64, np.int64, np.int32)}
READ = COMPUTED | {np.dtype(one) for one in (np.bool_, np.uint8, np.int8, np.int16)}
# With libm's functions, which take one number at a time, loops beat NumPy only where its calls cost more than its work.
LIBM_MOST = 1 << 12


class Maker:
    """What a form is handed: constants and intermediate values in its type, at its level."""

    def __init__(self, block: Block, dtype: np.dtype[Any], level: int, dtypes: list[Any]) -> None:
        self.block, self.dtype, self.level, self.dtypes = block, dtype, level, dtypes

    def constant(self, value: Any) -> str:
        return self.block.program.constant(value, self.dtype)

    def let(self, expression: str) -> str:
        return self.block.let(expression, self.dtype, self.level).text

    def truth(self, expression: str) -> str:
        return self.block.let(expression, BOOL, self.level).text

    def function(self, name: str, x: str) -> str:
        """A helper of `scalars` in float32, and libm's in float64."""
        if self.dtype == F32:
            return f"{self.block.program.helper(f'{name}_f32')}({x})"
        return f"{_LIBM[name]}({x})"


_LIBM = {name: f"math.{name}" for name in ("exp", "expm1", "log", "log1p", "tanh")}


@dataclass(frozen=True)
class Form:
    function: Callable[..., str]
    kind: str = "common"
    libm: str = ""  # "double": calls libm in float64; "always": in float32 too
    params: tuple[str, ...] = ()
    floats: bool = False  # whole numbers have no such form
    whole: bool = True  # the inputs take part in the type
    accepts: Callable[[Step], bool] = lambda step: True


FORMS: dict[str, Form] = {}


def form(*names: str, **details: Any) -> Callable[[Callable[..., str]], Callable[..., str]]:
    def enter(function: Callable[..., str]) -> Callable[..., str]:
        for name in names:
            FORMS[name] = Form(function, **details)
        return function

    return enter


def _simple(text: str, *names: str, **details: Any) -> None:
    """A form that is a template: {0} and {1} are the inputs."""
    form(*names, **details)(lambda make, *inputs: text.format(*inputs))


def result_type(step: Step) -> np.dtype[Any]:
    """The type of all inputs together; Python's numbers adapt themselves, as in NumPy."""
    given = [
        one.dtype if isinstance(one, Operand) else 0.0 if isinstance(one, Runtime) else one
        for one in step.inputs
        if one is not None
    ]
    return np.result_type(*given)


def compute_type(step: Step) -> np.dtype[Any]:
    kind = FORMS[step.op].kind
    if kind == "truth":
        return BOOL
    if kind == "float" or (kind == "output" and step.outputs):
        return step.outputs[0].dtype
    return result_type(step)


def is_supported(step: Step) -> bool:
    found = FORMS.get(step.op)
    if found is None or len(step.outputs) != 1 or not isinstance(step.outputs[0], Operand):
        return False
    output = step.outputs[0]
    for one in step.inputs:
        if isinstance(one, Operand):
            if one.dtype not in READ or len(one.shape) > len(output.shape):
                return False
            if any(mine not in (1, its) for mine, its in zip(one.shape[::-1], output.shape[::-1], strict=False)):
                return False
        elif one is not None and not isinstance(one, (bool, int, float, Runtime)):
            return False
    if output.dtype not in READ or any(isinstance(one, (Operand, Runtime)) for one in step.params.values()):
        return False
    dtype = compute_type(step)
    if found.floats and dtype.kind != "f":
        return False
    if dtype not in COMPUTED and not (dtype == BOOL and found.kind in ("output", "compare", "bits", "truth")):
        return False
    result = BOOL if found.kind in ("compare", "truth") else dtype
    if result.kind == "f" and output.dtype.kind in "iu":
        return False  # a cast whose result C leaves open for NaN and numbers out of range
    if found.kind == "output" and output.dtype.kind in "iu":
        for one in step.inputs:
            if isinstance(one, (float, Runtime)) or (isinstance(one, Operand) and one.dtype.kind == "f"):
                return False
    slow = found.libm == "always" or (found.libm == "double" and dtype == F64)
    if slow and math.prod(output.shape) > LIBM_MOST:
        return False
    return found.accepts(step)


def compute(step: Step, block: Block, inputs: list[Number | None]) -> Number:
    """The value of a step for one element, in the type of its output."""
    found = FORMS[step.op]
    dtype = compute_type(step)
    level = max((one.level for one in inputs if one is not None), default=0)
    atoms: list[str | None] = []
    dtypes: list[Any] = []
    for position, one in enumerate(inputs):
        dtypes.append(None if one is None else one.dtype)
        if one is None:
            atoms.append(None)
        elif step.op == "where" and position == 0:
            atoms.append(block.convert(one, BOOL).text)
        else:
            atoms.append(block.convert(one, dtype).text)
    make = Maker(block, dtype, level, dtypes)
    expression = found.function(make, *atoms, **{key: step.params[key] for key in found.params if key in step.params})
    result = BOOL if found.kind in ("compare", "truth") else dtype
    if result.kind in "iu" and result != np.int64:
        expression = f"np.{result.name}({expression})"  # numba computes in int64
    return block.convert(block.let(expression, result, level), step.outputs[0].dtype)


# ---------------------------------------------------------------- arithmetic

_simple("{0} + {1}", "add")
_simple("{0} - {1}", "subtract")
_simple("{0} * {1}", "multiply")
_simple("{0} / {1}", "divide", kind="float", floats=True)
_simple("-{0}", "negative")
_simple("{0}", "positive")
_simple("{0} * {0}", "square")
_simple("abs({0})", "abs")
_simple("np.sqrt({0})", "sqrt", kind="float", floats=True)
for _name in ("floor", "ceil", "trunc"):
    _simple(f"np.{_name}({{0}})", _name, floats=True)


@form("reciprocal", kind="float", floats=True)
def _reciprocal(make: Maker, x: str) -> str:
    return f"{make.constant(1)} / {x}"


@form("rsqrt", kind="float", floats=True)
def _rsqrt(make: Maker, x: str) -> str:
    return f"{make.constant(1)} / {make.let(f'np.sqrt({x})')}"


def _is_small_power(step: Step) -> bool:
    return step.params.get("exponent", 2) in (2, 3, 0.5, -1, 1) and (
        isinstance(step.params.get("exponent", 2), int) or step.outputs[0].dtype.kind == "f"
    )


@form("power_scalar", params=("exponent",), floats=True, accepts=_is_small_power)
def _power_scalar(make: Maker, x: str, exponent: float = 2) -> str:
    if exponent == 0.5:
        return f"np.sqrt({x})"
    if exponent == -1:
        return f"{make.constant(1)} / {x}"
    return " * ".join([x] * int(exponent))


_simple("{0} ** {1}", "power", libm="always", floats=True)
_simple("math.hypot({0}, {1})", "hypot", kind="float", libm="always", floats=True)
_simple("math.atan2({0}, {1})", "arctan2", kind="float", libm="always", floats=True)
for _name in ("sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "arcsinh", "arccosh", "arctanh"):
    _simple(f"np.{_name}({{0}})", _name, kind="float", libm="always", floats=True)
for _name in ("exp2", "log2", "log10"):
    _simple(f"np.{_name}({{0}})", _name, kind="float", libm="always", floats=True)
for _name in ("erf", "erfc"):
    _simple(f"math.{_name}({{0}})", _name, kind="float", libm="always", floats=True)


# ---------------------------------------------------------------- exponentials


def _of_library(name: str) -> None:
    form(name, kind="float", libm="double", floats=True)(lambda make, x: make.function(name, x))


for _name in ("exp", "expm1", "log1p", "tanh"):
    _of_library(_name)


@form("log", kind="float", libm="double", floats=True)
def _log(make: Maker, x: str) -> str:
    return make.function("log", x) if make.dtype == F32 else f"np.log({x})"


@form("sigmoid", kind="float", libm="double", floats=True)
def _sigmoid(make: Maker, x: str) -> str:
    if make.dtype == F32:
        return make.function("sigmoid", x)
    return f"1.0 / (1.0 + {make.let(make.function('exp', f'-{x}'))})"


# ---------------------------------------------------------------- extremes and choices


def _larger(make: Maker, x: str, y: str) -> str:
    """The larger of both, NaN where one of them is."""
    return make.let(f"{x} if ({x} >= {y}) | ({x} != {x}) else {y}")


def _smaller(make: Maker, x: str, y: str) -> str:
    return make.let(f"{x} if ({x} <= {y}) | ({x} != {x}) else {y}")


def _at_least(make: Maker, x: str, bound: float) -> str:
    """max(x, bound) for a bound that is a number: NaN stays."""
    low = make.constant(bound)
    return make.let(f"{low} if {x} < {low} else {x}")


def _at_most(make: Maker, x: str, bound: float) -> str:
    high = make.constant(bound)
    return make.let(f"{high} if {x} > {high} else {x}")


form("maximum")(_larger)
form("minimum")(_smaller)


@form("clip")
def _clip(make: Maker, a: str, a_min: str | None = None, a_max: str | None = None) -> str:
    if a_min is not None:
        a = _larger(make, a, a_min)
    return a if a_max is None else _smaller(make, a, a_max)


@form("where")
def _where(make: Maker, condition: str, x: str, y: str) -> str:
    return f"{x} if {condition} else {y}"


@form("sign")
def _sign(make: Maker, x: str) -> str:
    zero = make.constant(0)
    one, minus = make.constant(1), make.constant(-1)
    return f"{one} if {x} > {zero} else ({minus} if {x} < {zero} else ({zero} if {x} == {zero} else {x}))"


@form("relu")
def _relu(make: Maker, x: str) -> str:
    return _at_least(make, x, 0)


@form("leaky_relu", kind="float", params=("negative_slope",), floats=True)
def _leaky_relu(make: Maker, x: str, negative_slope: float = 0.01) -> str:
    scaled = make.let(f"{x} * {make.constant(negative_slope)}")
    if 0 <= negative_slope <= 1:
        return f"{scaled} if {x} < {scaled} else {x}"
    return f"{x} if {x} > {make.constant(0)} else {scaled}"


@form("elu", kind="float", params=("alpha", "scale", "input_scale"), libm="double", floats=True)
def _elu(make: Maker, x: str, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> str:
    positive, negative = _at_least(make, x, 0), _at_most(make, x, 0)
    if input_scale != 1:
        negative = make.let(f"{negative} * {make.constant(input_scale)}")
    negative = make.let(make.function("expm1", negative))
    if alpha * scale != 1:
        negative = make.let(f"{negative} * {make.constant(alpha * scale)}")
    if scale != 1:
        positive = make.let(f"{positive} * {make.constant(scale)}")
    return f"{positive} + {negative}"


@form("threshold", kind="float", params=("threshold", "value"), floats=True)
def _threshold(make: Maker, x: str, threshold: float = 0.0, value: float = 0.0) -> str:
    return f"{make.constant(value)} if {x} <= {make.constant(threshold)} else {x}"


@form("hardtanh", kind="float", params=("min_val", "max_val"), floats=True)
def _hardtanh(make: Maker, x: str, min_val: float = -1.0, max_val: float = 1.0) -> str:
    return _at_most(make, _at_least(make, x, min_val), max_val)


def _six(make: Maker, x: str) -> str:
    return _at_most(make, _at_least(make, make.let(f"{x} + {make.constant(3)}"), 0), 6)


@form("hardsigmoid", kind="float", floats=True)
def _hardsigmoid(make: Maker, x: str) -> str:
    return f"{_six(make, x)} / {make.constant(6)}"


@form("hardswish", kind="float", floats=True)
def _hardswish(make: Maker, x: str) -> str:
    return f"{x} * {_six(make, x)} / {make.constant(6)}"


# ---------------------------------------------------------------- smooth activations


@form("silu", kind="float", libm="double", floats=True)
def _silu(make: Maker, x: str) -> str:
    return f"{x} * {make.let(_sigmoid(make, x))}"


def _log1p_exp(make: Maker, x: str) -> str:
    small = make.let(make.function("exp", f"-abs({x})"))
    return make.let(f"{make.let(make.function('log1p', small))} + {_at_least(make, x, 0)}")


@form("softplus", kind="float", params=("beta", "threshold"), libm="double", floats=True)
def _softplus(make: Maker, x: str, beta: float = 1.0, threshold: float = 20.0) -> str:
    scaled = x if beta == 1 else make.let(f"{x} * {make.constant(beta)}")
    smooth = _log1p_exp(make, scaled)
    if beta != 1:
        smooth = make.let(f"{smooth} / {make.constant(beta)}")
    return smooth if math.isinf(threshold) else f"{x} if {scaled} > {make.constant(threshold)} else {smooth}"


@form("logsigmoid", kind="float", libm="double", floats=True)
def _logsigmoid(make: Maker, x: str) -> str:
    return f"-{_log1p_exp(make, make.let(f'-{x}'))}"


@form("mish", kind="float", libm="double", floats=True)
def _mish(make: Maker, x: str) -> str:
    return f"{x} * {make.let(make.function('tanh', _log1p_exp(make, x)))}"


@form("softsign", kind="float", floats=True)
def _softsign(make: Maker, x: str) -> str:
    return f"{x} / ({make.constant(1)} + abs({x}))"


@form("tanhshrink", kind="float", libm="double", floats=True)
def _tanhshrink(make: Maker, x: str) -> str:
    return f"{x} - {make.let(make.function('tanh', x))}"


@form("gelu_tanh", kind="float", libm="double", floats=True)
def _gelu_tanh(make: Maker, x: str) -> str:
    cube = make.let(f"{x} * {x} * {x}")
    scale, cubic = make.constant(math.sqrt(2 / math.pi)), make.constant(0.044715)
    t = make.let(make.function("tanh", make.let(f"{scale} * ({x} + {cubic} * {cube})")))
    return f"{make.constant(0.5)} * {x} * ({make.constant(1)} + {t})"


def _normal_cdf(make: Maker, x: str) -> str:
    return make.let(f"0.5 * math.erfc(-{x} * {make.constant(math.sqrt(0.5))})")


@form("gelu", kind="float", libm="double", floats=True)
def _gelu(make: Maker, x: str) -> str:
    if make.dtype == F32:
        return make.function("gelu", x)
    return f"{_at_least(make, x, -40)} * {_normal_cdf(make, x)}"


@form("gelu.backward", kind="float", libm="double", floats=True)
def _gelu_backward(make: Maker, g: str, x: str) -> str:
    if make.dtype == F32:
        return f"{g} * {make.let(make.function('gelu_slope', x))}"
    near = _at_most(make, _at_least(make, x, -40), 40)
    density = make.let(f"math.exp(-0.5 * {near} * {near}) * {make.constant(1 / math.sqrt(2 * math.pi))}")
    return f"{g} * ({_normal_cdf(make, x)} + {near} * {density})"


# ---------------------------------------------------------------- losses by element


@form(
    "mse_loss", kind="float", floats=True, params=("reduction",),
    accepts=lambda step: step.params.get("reduction") == "none",
)  # fmt: skip
def _squared_error(make: Maker, x: str, target: str, reduction: str = "none") -> str:
    difference = make.let(f"{x} - {target}")
    return f"{difference} * {difference}"


@form("huber_loss", kind="float", floats=True, params=("delta", "scale"))
def _huber(make: Maker, x: str, target: str, delta: float = 1.0, scale: float = 1.0) -> str:
    size = make.let(f"abs({x} - {target})")
    near = _at_most(make, size, delta)
    return f"({make.constant(scale)} * {near}) * ({size} - {make.constant(0.5)} * {near})"


@form("binary_cross_entropy_with_logits", kind="float", libm="double", floats=True)
def _with_logits(make: Maker, x: str, target: str) -> str:
    small = make.let(make.function("exp", f"-abs({x})"))
    loss = make.let(make.function("log1p", small))
    return f"{loss} + {_at_least(make, x, 0)} - {x} * {target}"


# ---------------------------------------------------------------- truth

for _name, _sign_text in {
    "equal": "==", "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=",
}.items():  # fmt: skip
    _simple(f"{{0}} {_sign_text} {{1}}", _name, kind="compare")
_simple("{0} & {1}", "logical_and", kind="truth")
_simple("{0} | {1}", "logical_or", kind="truth")
_simple("{0} ^ {1}", "logical_xor", kind="truth")
_simple("not {0}", "logical_not", kind="truth")
_simple("{0} & {1}", "bitwise_and", kind="bits")
_simple("{0} | {1}", "bitwise_or", kind="bits")
_simple("{0} ^ {1}", "bitwise_xor", kind="bits")
_simple("{0} != {0}", "isnan", kind="compare")


@form("isinf", kind="compare", floats=True)
def _isinf(make: Maker, x: str) -> str:
    return f"abs({x}) == {make.constant(math.inf)}"


@form("isfinite", kind="compare", floats=True)
def _isfinite(make: Maker, x: str) -> str:
    return f"abs({x}) < {make.constant(math.inf)}"


# ---------------------------------------------------------------- copies

_simple("{0}", "cast", "cast_to_integers", "copy", kind="output")
_simple("{1}", "write", kind="output")


@form("zeros_like", kind="output")
def _zeros(make: Maker, x: str) -> str:
    return make.constant(0)


@form("ones_like", kind="output")
def _ones(make: Maker, x: str) -> str:
    return make.constant(1)


@form("full_like", kind="output", params=("fill_value",))
def _full(make: Maker, x: str, fill_value: float = 0) -> str:
    return make.constant(fill_value)


@form("nan_to_num", params=("nan", "posinf", "neginf"), floats=True)
def _nan_to_num(make: Maker, x: str, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> str:
    largest = float(np.finfo(make.dtype).max)
    high = make.constant(largest if posinf is None else posinf)
    low = make.constant(-largest if neginf is None else neginf)
    infinite, minus = make.constant(math.inf), make.constant(-math.inf)
    x = make.let(f"{make.constant(nan)} if {x} != {x} else {x}")
    return f"{high} if {x} == {infinite} else ({low} if {x} == {minus} else {x})"


# ---------------------------------------------------------------- in place


@form("clip_gradient", params=("clip_value",), floats=True)
def _clip_gradient(make: Maker, gradient: str, clip_value: float = 1.0) -> str:
    return _at_most(make, _at_least(make, gradient, -clip_value), clip_value)


@form("update_running_statistic", params=("momentum", "factor"), floats=True)
def _update_running(make: Maker, running: str, new: str, momentum: float = 0.1, factor: float = 1.0) -> str:
    return f"{running} * {make.constant(1 - momentum)} + {new} * {make.constant(momentum * factor)}"
