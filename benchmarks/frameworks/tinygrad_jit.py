"""tinygrad on the CPU: the whole step in one `TinyJit`, with its own Adam. It compiles by clang.

Where there is no clang, the one inside the ``ziglang`` wheel takes its place (``pip install ziglang``).
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from ..cases import Block, Case
from .training import Training, Unable


def tinygrad(case: Case) -> Training:
    find_clang()
    os.environ["DEV"], os.environ["TRAINING"] = "CPU", "1"
    from tinygrad import Tensor, TinyJit
    from tinygrad.nn.optim import Adam

    if hasattr(Tensor, "training"):  # what older releases ask in place of the variable
        Tensor.training = True
    parameters = [Tensor(one) for one in case.parameters()]
    optimizer = Adam(parameters, lr=1e-3, b1=0.9, b2=0.999, eps=1e-8)

    def network(images: Any, labels: Any) -> Any:
        hidden = images
        for position in range(0, len(parameters), 2):
            hidden = hidden.relu() if position else hidden
            hidden = hidden.linear(parameters[position].T, parameters[position + 1])
        return hidden.sparse_categorical_crossentropy(labels)

    def block(inputs: Any, targets: Any) -> Any:
        scale, shift, up, up_bias, down, down_bias = parameters
        hidden = (inputs.layernorm() * scale + shift).linear(up.T, up_bias)
        hidden = hidden * 0.5 * (1 + (hidden / 2**0.5).erf())  # Tensor.gelu is the approximate one
        return ((inputs + hidden.linear(down.T, down_bias) - targets) ** 2).mean()

    loss_of = block if isinstance(case, Block) else network

    @TinyJit
    def step(inputs: Any, targets: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(inputs, targets).backward()
        return loss.realize(*optimizer.schedule_step())

    return Training(lambda array: Tensor(array).realize(), step)


# zig's clang knows neither LLVM's name of the target nor the pipe that tinygrad wants the object file from.
_ZIG = """#!/bin/sh
folder=$(mktemp -d)
cat > "$folder/kernel.c"
{python} -m ziglang cc -target {machine}-linux-musl -mcpu=native -c -O2 -fPIC -ffreestanding -fno-math-errno -nostdlib \\
    -fno-ident -fno-sanitize=all -fno-stack-protector -fno-asynchronous-unwind-tables -g0 \\
    "$folder/kernel.c" -o "$folder/kernel.o" >&2 && cat "$folder/kernel.o"
code=$?
rm -r "$folder"
exit $code
"""


def find_clang() -> None:
    if shutil.which(os.environ.get("CC", "clang")):
        return
    if importlib.util.find_spec("ziglang") is None or sys.platform != "linux":
        raise Unable("needs clang, or the ziglang package on Linux")
    script = Path(tempfile.mkdtemp(), "clang")
    script.write_text(_ZIG.format(python=shlex.quote(sys.executable), machine=platform.machine()))
    script.chmod(0o755)
    os.environ["CC"] = str(script)
