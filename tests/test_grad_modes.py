"""no_grad, enable_grad and set_grad_enabled: as contexts, as decorators, nested, and when something raises."""

from __future__ import annotations

import numpy as np
import pytest

import autograd_ff as af
from autograd_ff.engine import Site
from autograd_ff.errors import GraphError


def leaf(data, dtype=np.float64):
    return af.tensor(np.asarray(data, dtype=dtype), requires_grad=True)


def refuses(error, call):
    """``call``, a lambda on one line, raises ``error`` and the message names that line of this file."""
    with pytest.raises(error) as caught:
        call()
    code = call.__code__
    assert str(Site(code.co_filename, code.co_firstlineno, "")) in str(caught.value), str(caught.value)
    return str(caught.value)


def recording():
    assert (leaf([1.0]) * 2.0).requires_grad == af.is_grad_enabled()
    return af.is_grad_enabled()


def test_grad_modes_nest():
    assert recording()
    with af.no_grad():
        assert not recording()
        with af.enable_grad():
            assert recording()
            with af.set_grad_enabled(False):
                assert not recording()
            assert recording()
        assert not recording()
        with af.no_grad():
            assert not recording()
        assert not recording()
    assert recording()


@pytest.mark.parametrize("mode", [af.no_grad, af.enable_grad, lambda: af.set_grad_enabled(False)])
def test_an_exception_restores_the_mode(mode):
    for outer in (True, False):
        with af.set_grad_enabled(outer):
            with pytest.raises(ZeroDivisionError), mode():
                1 / 0
            assert af.is_grad_enabled() == outer


def test_one_instance_can_be_entered_again_within_itself():
    mode = af.no_grad()
    with mode:
        with mode:
            assert not recording()
        assert not recording()
    assert recording()


def test_set_grad_enabled_acts_at_once():
    af.set_grad_enabled(False)
    try:
        assert not recording()
    finally:
        af.set_grad_enabled(True)
    assert recording()


def test_decorators():
    @af.no_grad()
    def off():
        """Documented."""
        return recording()

    @af.no_grad
    def bare():
        return recording()

    @af.set_grad_enabled(False)
    def switched():
        return recording()

    @af.enable_grad()
    def on(fail=False):
        if fail:
            raise ZeroDivisionError
        return recording()

    assert recording()
    assert not off()
    assert not bare()
    assert not switched()
    assert off.__doc__ == "Documented."
    with af.no_grad():
        assert on()
        with pytest.raises(ZeroDivisionError):
            on(fail=True)
        assert not recording()
    assert recording()


def test_a_decorated_generator_has_its_mode_while_it_runs_and_its_consumer_does_not():
    closed = []

    @af.no_grad()
    def generator():
        try:
            got = yield recording()
            got = yield (got, recording())
            try:
                yield recording()
            except KeyError:
                yield ("caught", recording())
            return recording()
        finally:
            closed.append(recording())

    steps = generator()
    assert next(steps) is False
    assert recording()
    assert steps.send("sent") == ("sent", False)
    assert recording()
    assert next(steps) is False
    assert steps.throw(KeyError()) == ("caught", False)
    with pytest.raises(StopIteration) as stop:
        next(steps)
    assert stop.value.value is False
    assert closed == [False]
    early = generator()
    next(early)
    early.close()
    assert closed == [False, False]
    assert recording()


def test_under_no_grad_nothing_is_recorded_and_the_results_are_leaves():
    x = leaf([1.0])
    with af.no_grad():
        y = np.exp(x) * x
    assert y.node is None
    assert y.is_leaf
    refuses(GraphError, lambda: y.backward())
