"""Special functions: ufuncs of `scipy.special`, which is imported when the first of them is computed.

``scipy.special.erf(t)`` of a Tensor finds its op here too: SciPy's ufuncs speak NumPy's protocol.
"""

from __future__ import annotations

import importlib
import math
import sys
from typing import Any

import numpy as np

from ..engine import POSITIVE, PROBABILITY, REAL, UNIT, Domain, Op, primitive
from ..engine.op import FINDERS
from .nested import nested

SQRT_PI = math.sqrt(math.pi)
SQRT_TWO_PI = math.sqrt(2 * math.pi)

_BY_NAME: dict[str, Op] = {}  # ops by the name of the ufunc in scipy.special


class SciPyUfunc:
    """A ufunc of scipy.special that imports SciPy when it is first called."""

    __slots__ = ("__name__", "_ufunc")

    def __init__(self, name: str) -> None:
        self.__name__ = name
        self._ufunc: Any = None

    def __call__(self, *arrays):
        if self._ufunc is None:
            self._ufunc = getattr(importlib.import_module("scipy.special"), self.__name__)
        return self._ufunc(*arrays)

    def __repr__(self) -> str:
        return f"scipy.special.{self.__name__}"


def stands_for(scipy_name, op):
    """Let ``op`` answer where the ufunc of that name in scipy.special is called with a Tensor."""
    _BY_NAME[scipy_name] = op
    return op


def _special(scipy_name, *vjps, domain, name=None, analytic=False):
    op = primitive(
        SciPyUfunc(scipy_name),
        *vjps,
        name=name or scipy_name,
        inputs=("x",) if len(vjps) == 1 else ("x1", "x2"),
        promotion="float",
        promoted=tuple(range(len(vjps))),
        broadcasts=True,
        domain=domain,
        analytic=analytic,
    )
    return stands_for(scipy_name, op)


def _find(function):
    """The op of a ufunc of scipy.special. Whoever holds the ufunc has imported SciPy already."""
    name = str(getattr(function, "__name__", ""))
    module = sys.modules.get("scipy.special")
    return _BY_NAME.get(name) if module is not None and getattr(module, name, None) is function else None


FINDERS.append(_find)


# the error function and the normal distribution
erf = _special("erf", lambda g, x: g * (2 / SQRT_PI * np.exp(-x * x)), domain=REAL, analytic=True)
erfc = _special("erfc", lambda g, x: g * (-2 / SQRT_PI * np.exp(-x * x)), domain=REAL, analytic=True)
erfinv = _special("erfinv", lambda g, out: g * (SQRT_PI / 2 * np.exp(out * out)), domain=UNIT)
ndtr = _special("ndtr", lambda g, x: g * (np.exp(-0.5 * x * x) / SQRT_TWO_PI), domain=REAL, analytic=True)
log_ndtr = _special("log_ndtr", lambda g, x, out: g * (np.exp(-0.5 * x * x - out) / SQRT_TWO_PI), domain=REAL)
ndtri = _special("ndtri", lambda g, out: g * (SQRT_TWO_PI * np.exp(0.5 * out * out)), domain=PROBABILITY)

# the gamma function and its derivatives; zeta's derivative in its first argument has no closed form
zeta = _special(
    "zeta",
    None,
    lambda g, x1, x2: -g * x1 * _zeta(x1 + 1.0, x2),
    domain=(Domain(2.0, 4.0), POSITIVE),
)
_zeta: Any = nested(zeta)
digamma = _special("psi", lambda g, x: g * _zeta(2.0, x), name="digamma", domain=POSITIVE)
_digamma = nested(digamma)
gammaln = _special("gammaln", lambda g, x: g * _digamma(x), domain=POSITIVE)

# logarithms and probabilities
logit = _special("logit", lambda g, x: g / (x * (1 - x)), domain=PROBABILITY)
entr = _special("entr", lambda g, x: g * (-np.log(x) - 1), domain=POSITIVE)


def _log_where_it_counts(g, x, y):
    """``g log(y)``, and 0 where x = 0 and y ≤ 0: there ``x log(y)`` is 0 by definition."""
    dead = np.logical_and(np.equal(x, 0), np.less_equal(y, 0))
    return np.where(dead, np.zeros((), g.dtype), g * np.log(np.where(dead, np.ones((), g.dtype), y)))


xlogy = _special(
    "xlogy",
    lambda g, x1, x2: _log_where_it_counts(g, x1, x2),
    lambda g, x1, x2: g * x1 / x2,
    domain=(REAL, POSITIVE),
)
xlog1py = _special(
    "xlog1py",
    lambda g, x1, x2: _log_where_it_counts(g, x1, x2 + 1),
    lambda g, x1, x2: g * x1 / (1 + x2),
    domain=(REAL, POSITIVE),
)


def _sigmoid(x):
    # 1 / (1 + exp(-x)) is precise where the result is small. 0.5 * tanh(x / 2) + 0.5 is faster, but in float32 it is 0
    # from x = -17 on, and its logarithm then infinite.
    out = np.negative(x, out=np.empty_like(x))
    with np.errstate(over="ignore"):  # an infinite exponential makes the 0 that it should
        np.exp(out, out=out)
    out += 1
    return np.reciprocal(out, out=out)


sigmoid = stands_for(
    "expit",
    primitive(
        _sigmoid,
        lambda g, out: g * (out * (1 - out)),
        name="sigmoid",
        inputs=("x",),
        promotion="float",
        domain=REAL,
        analytic=True,
    ),
)
