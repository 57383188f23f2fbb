"""What may not enter the op table: no domain, rules that do not fit, residuals that would lose a gradient."""

from __future__ import annotations

import numpy as np
import pytest

from autograd_ff import engine
from autograd_ff.errors import RegistrationError


def test_a_rule_that_would_lose_the_gradient_of_a_gradient_cannot_be_registered():
    """What flows through a residual, a number that forward computed on the way, has no edge in the graph."""
    before = set(engine.OPS)
    with pytest.raises(RegistrationError, match="residual"):
        engine.primitive(
            lambda x: (x * np.exp(x), np.exp(x)),
            lambda g, x, e: g * e * (1 + x),
            name="careless", inputs=("x",), residuals=("e",), domain=engine.REAL,
        )  # fmt: skip
    assert set(engine.OPS) == before


@pytest.mark.parametrize(
    ("details", "match"),
    [
        ({}, "domain"),
        ({"domain": 3}, "domain"),
        ({"domain": engine.REAL, "vjps": [lambda g, y: g]}, "asks for 'y'"),
        ({"domain": engine.REAL, "vjps": [lambda g: g, lambda g: g]}, "2 vjps"),
        ({"domain": engine.REAL, "name": "add"}, "exists already"),
    ],
)
def test_an_op_without_a_domain_or_with_a_rule_that_does_not_fit_cannot_be_registered(details, match):
    before = set(engine.OPS)
    vjps = details.pop("vjps", [lambda g: g])
    with pytest.raises(TypeError, match=match):  # a RegistrationError, or Python's own for a missing argument
        engine.primitive(lambda x: x, *vjps, inputs=("x",), **{"name": "careless", **details})
    assert set(engine.OPS) == before
