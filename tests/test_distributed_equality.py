"""N processes, each with its part of the batch, come to the parameters of one process with the whole batch."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mpi_jobs import passes

JOB = Path(__file__).parent / "distributed_equality_job.py"
# Starting a job takes a second: each example is a job with many cases. (ranks, cases)
JOBS = [(1, 12), (2, 12), (3, 4), (4, 4)]


def run(ranks: int, seed: int, cases: int, folder: Path) -> list[str]:
    program = f"import runpy, sys\nsys.argv[0] = {str(JOB)!r}\nrunpy.run_path({str(JOB)!r}, run_name='__main__')\n"
    lines = passes(ranks, program, seed, cases, folder=folder, timeout=300).splitlines()
    return next(line.split() for line in lines if line.startswith("passed"))


@pytest.mark.parametrize(("ranks", "cases"), JOBS)
@settings(max_examples=1, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**31))
def test_as_one_process(ranks, cases, tmp_path, seed):
    """Every optimizer, sharded or not, eager and compiled, with clipping, accumulation, schedules, groups, both dtypes."""
    _, count, _ = run(ranks, seed, cases, tmp_path)
    assert int(count) == cases


def test_every_run_has_the_same_bits(tmp_path):
    digests = {tuple(run(2, 5, 6, tmp_path)) for _ in range(2)}
    assert len(digests) == 1
    assert len(digests.pop()[2]) == len(hashlib.sha256().hexdigest())


def test_another_part_of_the_batch_is_found(tmp_path):
    """The comparison can fail: with a rank that reads the wrong samples it does."""
    text = JOB.read_text()
    wrong = text.replace("ranks, dist.get_rank()) if", "ranks, 0) if")
    assert wrong != text
    with pytest.raises(AssertionError, match=r"Not equal to tolerance"):
        passes(2, wrong, 0, 6, folder=tmp_path, timeout=300)
