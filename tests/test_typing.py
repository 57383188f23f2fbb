"""What a type checker sees of the package in a user's program, in strict mode."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import autograd_ff

PROGRAM = """
import autograd_ff as af
from autograd_ff import nn, optim

x: af.Tensor = af.tensor([1.0], dtype=af.float64)
y: af.Tensor = af.exp(x).sum() + 2 * x - x.mean() @ x[0]
with af.no_grad():
    z: af.Tensor = af.zeros(3, dtype=af.float).relu()
gradients: tuple[af.Tensor | None, ...] = af.autograd.grad(y, [x])
model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
optimizer = optim.Adam(model.parameters(), lr=1e-3)
wrong: int = nn.functional.relu(x)
"""


def test_names_and_their_types_are_seen(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "program.py").write_text(PROGRAM)
    options = ["--strict", "--follow-imports=silent", "--cache-dir", str(tmp_path / "cache"), "--no-error-summary"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "program.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(Path(autograd_ff.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    (error,) = done.stdout.splitlines()
    assert error.startswith(
        f"program.py:{PROGRAM.splitlines().index('wrong: int = nn.functional.relu(x)') + 1}: error: "
    )
    assert '(expression has type "Tensor", variable has type "int")' in error
