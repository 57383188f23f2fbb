"""What all tests share: how Hypothesis runs, and that no test leaves the engine's thread state changed."""

from __future__ import annotations

import gc
import os

# Before anything imports NumPy: the tests run in several processes, whose BLAS threads would only fight for the cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, Phase, settings

from autograd_ff.engine.state import LOCAL

# Examples differ in cost by far more than a deadline can tell; on CI the same examples are drawn every time.
# Explaining a failure traces every line, which takes minutes where the code below is NumPy.
settings.register_profile(
    "default",
    deadline=None,
    print_blob=True,
    phases=[phase for phase in Phase if phase is not Phase.explain],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI", "").lower() in ("1", "true") else "default")


@pytest.fixture(autouse=True)
def _thread_state():
    """A test that forgets a grad mode, a scope or an observer fails itself, instead of the tests after it."""
    yield
    state = LOCAL.state
    left = (state.grad_enabled, state.scope, state.observers)
    state.grad_enabled, state.scope, state.observers = True, None, None
    assert left == (True, None, None), f"the test left (grad mode, scope, observers) = {left}"


@pytest.fixture
def no_collector():
    """Without Python's cycle collector: what goes away, goes by reference counts alone."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
