"""Faults: whatever one process does, no other waits for ever, and the job says what happened and where.

How a job ends is seen from outside, a job for each. All else is checked inside of one job, see `distributed_faults_job`.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from mpi_jobs import passes, run_job

CHECKS = (Path(__file__).parent / "distributed_faults_job.py").read_text(encoding="utf-8")

SECONDS = 25.0  # in which a job has to have ended; alone on a machine it takes two

ENDING = """
import os, signal, sys, threading, time
import autograd_ff as af
from autograd_ff import distributed as dist

dist.init_process_group(timeout=float(sys.argv[1]))
rank, last = dist.get_rank(), dist.get_world_size() - 1
model = dist.DistributedDataParallel(af.nn.Linear(3, 2))
print("rank", rank, "is", os.getpid(), flush=True)
if rank == last:
    {what}
dist.all_reduce(af.ones(4))
"""


def ends(what, tmp_path, ranks=2, limit=60.0):
    """A job in which the last rank does something else than to take part; it has to fail, and soon."""
    begun = time.monotonic()
    done = run_job(ranks, ENDING.format(what=what), limit, folder=tmp_path, timeout=SECONDS * 2)
    assert time.monotonic() - begun < SECONDS, "the job went on for too long"
    assert done.returncode != 0
    return done.returncode, done.stderr + done.stdout


# What has another course where there are more ranks than neighbours.
AMONG_FOUR = (
    "check_a_pass_that_raised", "check_another_order_on_each_rank", "check_ranks_that_do_not_do_the_same",
    "check_two_models_in_one_pass", "check_unused_parameters_are_named_on_every_rank",
)  # fmt: skip


@pytest.mark.parametrize(("ranks", "names"), [(2, ()), (4, AMONG_FOUR)], ids=["2", "4"])
def test_all_goes_on_or_every_rank_hears_why(ranks, names, tmp_path):
    expected = len(names) or CHECKS.count("\ndef check_")
    assert passes(ranks, CHECKS, *names, folder=tmp_path).count("passed check_") == expected


def test_an_error_that_nobody_catches(tmp_path):
    _, told = ends('raise ValueError("the reason")', tmp_path)
    assert "rank 1 of 2 failed:" in told
    assert "ValueError: the reason" in told
    assert "program.py" in told


def test_ctrl_c(tmp_path):
    code, told = ends("os.kill(os.getpid(), signal.SIGINT); time.sleep(30)", tmp_path)
    assert code == 130
    assert "KeyboardInterrupt" in told


def test_a_killed_process(tmp_path):
    code, told = ends("os.kill(os.getpid(), signal.SIGKILL)", tmp_path)
    assert code == 137 or "signal 9" in told


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ('sys.exit("no more")', "no more"),
        ("sys.exit(3)", ""),
        # Its own way of showing errors does not end the job, but the end of its program does.
        ('sys.excepthook = lambda *error: print("as I like it", error[1]); raise ValueError("x")', "as I like it x"),
        ("thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join(); sys.exit()", "ZeroDivision"),
    ],
    ids=["message", "code", "excepthook", "thread"],
)
def test_a_program_that_ends_while_others_wait(way, said, tmp_path):
    _, told = ends(way, tmp_path)
    assert said in told
    assert "rank 1 has ended its program, and rank 0 waits in all_reduce, sum, of float32 (4,)" in told
    assert "program.py" in told


def test_the_end_reaches_those_who_are_no_neighbours(tmp_path):
    _, told = ends("sys.exit()", tmp_path, ranks=4)
    assert "rank 3 has ended its program" in told


def test_a_standstill_is_reported_by_all_who_wait(tmp_path):
    _, told = ends("time.sleep(60)", tmp_path, ranks=3, limit=2.0)
    for rank in range(2):
        assert f"rank {rank} of 3 has waited 2 s in all_reduce, sum, of float32 (4,)" in told


def test_two_ranks_in_different_collectives(tmp_path):
    """One in a backward pass, the other in a sum of its own: as with unequal numbers of batches."""
    begun = time.monotonic()
    _, told = ends("model(af.ones(1, 3)).sum().backward()", tmp_path)
    assert time.monotonic() - begun < SECONDS
    assert "two ranks wait for each other" in told
    assert "gradient bucket 0, bias … weight" in told
    assert "all_reduce, sum, of float32 (4,)" in told


@pytest.mark.parametrize("last_evaluates", [False, True])
def test_a_model_in_another_mode(last_evaluates, tmp_path):
    what = f"""
    model = dist.DistributedDataParallel(
        dist.SyncBatchNorm.convert_sync_batchnorm(af.nn.Sequential(af.nn.Linear(3, 2), af.nn.BatchNorm1d(2))))
if (rank == last) == {last_evaluates}:
    model.eval()
model(af.randn(4, 3)).sum().backward()
"""
    program = ENDING.replace("if rank == last:\n    {what}", "{what}")
    begun = time.monotonic()
    done = run_job(2, program.format(what=what.strip()), 60.0, folder=tmp_path, timeout=SECONDS * 2)
    assert time.monotonic() - begun < SECONDS, "the job went on for too long"
    assert done.returncode != 0
    assert "gradient bucket 0" in done.stderr
    assert "two ranks do not do the same" in done.stderr
    assert "a model that is in train() here and in eval() there" in done.stderr


def test_one_that_needs_longer_to_end_is_waited_for(tmp_path):
    program = """
    import time
    from autograd_ff import distributed as dist
    dist.init_process_group()
    dist.barrier()
    if dist.get_rank() == 0:
        time.sleep(2)
        print("finished")
    """
    assert "finished" in passes(2, program, folder=tmp_path)


def test_leaving_the_group_and_coming_back(tmp_path):
    program = """
    import sys
    import autograd_ff as af
    from autograd_ff import distributed as dist
    hook = sys.excepthook
    for call in (dist.get_rank, dist.barrier, lambda: dist.DistributedDataParallel(af.nn.Linear(1, 1))):
        try:
            call()
        except af.errors.DistributedError as error:
            assert "Call autograd_ff.distributed.init_process_group() at the beginning" in str(error)
        else:
            raise AssertionError("a process of a job took itself for alone")
    for _ in range(3):
        dist.init_process_group()
        model = dist.DistributedDataParallel(af.nn.Linear(3, 2))
        model(af.ones(1, 3)).sum().backward()
        assert sys.excepthook is not hook
        dist.destroy_process_group()
        assert sys.excepthook is hook
    assert dist.get_world_size() == 1
    print("passed")
    """
    assert passes(2, program, folder=tmp_path).count("passed") == 2
