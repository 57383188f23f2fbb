"""A decorator that turns a function into a property test of its gradient."""

from __future__ import annotations

import functools
import inspect
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import TensorCore, here
from ..errors import GraphError
from ..functions.random import get_rng_state, manual_seed, set_rng_state
from .gradcheck import gradcheck
from .report import KINK, UNRELIABLE
from .strategies import Strategy, gufunc_shapes, hypothesis_strategies, tensors
from .tree import flatten

__all__ = ["given_gradients"]

_UNDECIDED = (KINK, UNRELIABLE)


def given_gradients(
    *arguments: Any,
    order: int = 1,
    frozen: bool = True,
    rtol: float = 1e-6,
    atol: float = 1e-8,
    max_examples: int | None = None,
    settings: Any = None,
    **strategies: Any,
) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Turn a function into a property test: the gradient of what it returns is right for all the inputs drawn.

    The test that results is one of Hypothesis: pytest collects it, other parameters are fixtures, and a failing example
    shrinks to the smallest shape that fails. What is then raised is an AssertionError with the report of `gradcheck`.

    Each example is checked with the engine's random numbers seeded anew (the same example always gets the same seed),
    and the stream is put back where it was. Hypothesis's deadline and its explanations are off. An example that cannot be
    judged, because it lies on a kink or next to a pole, is replaced by another one; where that happens to most of them,
    Hypothesis says so.

    Args:
        arguments: the inputs by position, as for Hypothesis's ``given``: they belong to the function's last parameters.
            Or, in one string, the signature of a generalised ufunc such as ``"(m,n),(n,p)->(m,p)"``: then every
            parameter is a tensor, and their shapes fit.
        order: 2 to check the gradient and the gradient of the gradient.
        frozen: whether each evaluation within an example sees the same random numbers, so that dropout drops the same
            elements.
        rtol: what a derivative may differ by, relative to itself.
        atol: what it may differ by, relative to the largest derivative of the same input.
        max_examples: how many examples are drawn; Hypothesis's 100 if None.
        settings: a ``hypothesis.settings``, in place of a decorator of that name.
        strategies: the inputs by name. Each is a strategy (see `tensors`), or a shape. What is drawn may be a tensor or
            an array, tuples, lists and dicts of them, or anything else that the function takes.

    >>> @given_gradients(x=(2, 3), y=tensors((3,), domain=(0.5, 2.0)), order=2, max_examples=10)
    ... def test_quotient(x, y):
    ...     return x / y
    >>> test_quotient()

    >>> @given_gradients("(m,n),(n,p)->(m,p)", max_examples=10)
    ... def test_product(a, b):
    ...     return a @ b
    >>> test_product()

    >>> @given_gradients(x=tensors(), max_examples=10)
    ... def test_wrong(x):
    ...     return x * x.detach()
    >>> test_wrong()  # doctest: +IGNORE_EXCEPTION_DETAIL +ELLIPSIS
    Traceback (most recent call last):
    AssertionError: FAIL: gradient, ...
    """
    if order not in (1, 2):
        raise ValueError(f"order is 1 or 2, not {order}.{here()}")

    def decorate(function: Callable[..., Any]) -> Callable[..., None]:
        import hypothesis

        drawn = _by_name(function, arguments, strategies)

        @functools.wraps(function)
        def check(*args: Any, **kwargs: Any) -> None:
            __tracebackhide__ = True  # by pytest: what matters is the report
            values = {name: kwargs.pop(name) for name in drawn}

            def value(*tensors: Any) -> Any:
                return function(*args, **kwargs, **dict(zip(values, tensors, strict=True)))

            # By this gradcheck knows what the inputs are called.
            value.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
                [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in values]
            )
            before = get_rng_state()
            try:
                for one in range(1, order + 1):
                    manual_seed(_seed_of(values))
                    report = gradcheck(value, tuple(values.values()), order=one, rtol=rtol, atol=atol, frozen=frozen)
                    if report.verdict in _UNDECIDED:
                        hypothesis.reject()
                    if not report.passed:
                        raise AssertionError(str(report))
            finally:
                set_rng_state(before)

        chosen = vars(check).get("_hypothesis_internal_use_settings") if settings is None else settings
        # By a decorator below this one: it is in `chosen`.
        vars(check).pop("_hypothesis_internal_settings_applied", None)
        chosen = chosen or hypothesis.settings()
        options: dict[str, Any] = {} if max_examples is None else {"max_examples": max_examples}
        # Explaining a failure traces each line of the engine, for minutes; the report explains better.
        options["phases"] = [phase for phase in chosen.phases if phase is not hypothesis.Phase.explain]
        check = hypothesis.settings(chosen, deadline=None, **options)(check)
        return hypothesis.given(**drawn)(check)

    return decorate


def _by_name(
    function: Callable[..., Any], arguments: tuple[Any, ...], strategies: dict[str, Any]
) -> dict[str, Strategy]:
    """A strategy for each parameter that is drawn."""
    st = hypothesis_strategies()
    parameters = inspect.signature(function).parameters.values()
    names = [one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    if len(arguments) == 1 and isinstance(arguments[0], str):
        shapes = st.shared(gufunc_shapes(arguments[0]), key=object())
        count = arguments[0].split("->")[0].count("(")
        arguments = tuple(tensors(shapes.map(lambda found, at=at: found[0][at])) for at in range(count))
    if len(arguments) > len(names):
        raise GraphError(
            f"{function.__name__} has {len(names)} parameters ({', '.join(names)}), and there are {len(arguments)} inputs "
            f"to draw.{here()}"
        )
    found = dict(zip(names[len(names) - len(arguments) :], arguments, strict=True))
    unknown = [name for name in strategies if name not in names or name in found]
    if unknown or not (found or strategies):
        raise GraphError(
            f"given_gradients draws inputs of {function.__name__}({', '.join(names)}); it was given "
            f"{', '.join(map(repr, unknown)) or 'none'}{', which is no further parameter' if unknown else ''}.{here()}"
        )
    found |= strategies
    found = {name: found[name] for name in names if name in found}
    return {name: one if isinstance(one, st.SearchStrategy) else tensors(one) for name, one in found.items()}


def _seed_of(values: dict[str, Any]) -> int:
    """A seed that the numbers of an example determine."""
    seed = 0
    for leaf in flatten(values):
        array = leaf.array if isinstance(leaf, TensorCore) else leaf
        if isinstance(array, (np.ndarray, int, float)):
            seed = zlib.crc32(np.ascontiguousarray(array).tobytes(), seed)
    return seed
