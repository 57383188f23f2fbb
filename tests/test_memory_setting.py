"""Keeping freed memory: that it saves page faults, that it can be taken back, and where it is not offered."""

from __future__ import annotations

import subprocess
import sys

import pytest

import autograd_ff as af
from autograd_ff.engine import memory
from autograd_ff.errors import AutogradError

# Arrays like those of a training step, some held while others come and go; counts the pages that had to be made.
STEPS = """
import resource
import numpy as np
import autograd_ff as af

def step():
    held = [np.ones(1 << 18, np.float32) for _ in range(6)]
    return sum(float((one * 2 + one)[-1]) for one in held)

{setting}
for _ in range(3):
    result = step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    assert step() == result
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(setting):
    command = [sys.executable, "-c", STEPS.format(setting=setting)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def has_glibc():
    script = "import ctypes; ctypes.CDLL(None).gnu_get_libc_version"
    return subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == 0


@pytest.mark.skipif(not sys.platform.startswith("linux") or not has_glibc(), reason="a setting of glibc")
def test_memory_is_used_again():
    kept = page_faults("assert af.keep_freed_memory()")
    given_back = page_faults("assert af.keep_freed_memory(0)")
    # 20 steps of six megabytes each touch 30,000 pages when none is kept (fewer where the system gives large ones).
    assert kept < 200
    assert given_back > 10 * kept
    assert page_faults("af.keep_freed_memory(); af.keep_freed_memory(0)") > 10 * kept  # the last setting holds


def test_where_there_is_no_glibc(monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert af.keep_freed_memory() is False


@pytest.mark.parametrize("wrong", [-1, -(1 << 40)])
def test_limits_that_are_none(wrong):
    with pytest.raises(AutogradError, match=rf"got {wrong}.*\n.*test_memory_setting.py"):
        af.keep_freed_memory(wrong)
    with pytest.raises(TypeError, match=r"got 1\.5"):
        af.keep_freed_memory(1.5)  # type: ignore[arg-type]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
def test_large_limits_are_taken():
    script = "import autograd_ff as af; print(af.keep_freed_memory(1 << 40))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(has_glibc())
