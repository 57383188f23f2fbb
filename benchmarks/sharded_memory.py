"""What sharding an optimizer's state saves: bytes of moments and resident memory in each process.

    mpiexec -n 2 python benchmarks/sharded_memory.py [--width 2048] [--layers 6] [--plain]

With ``--plain`` every process keeps all moments, as without sharding.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np

import autograd_ff as af
from autograd_ff import distributed as dist
from autograd_ff import nn, optim

MIB = 2**20


def resident() -> float:
    """This process's memory in MiB, now."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize() / MIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (MIB if sys.platform == "darwin" else 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--plain", action="store_true", help="do not shard")
    parser.add_argument("--averaged", action="store_true", help="the model averages gradients, not the optimizer")
    given = parser.parse_args()
    dist.init_process_group()
    before = resident()
    layers = [one for _ in range(given.layers) for one in (nn.Linear(given.width, given.width), nn.Tanh())]
    model: nn.Module = nn.Sequential(*layers)
    if given.plain or given.averaged:
        model = dist.DistributedDataParallel(model)
    optimizer = (
        optim.Adam(model.parameters()) if given.plain else dist.ZeroRedundancyOptimizer(model.parameters(), optim.Adam)
    )
    x = af.from_numpy(np.random.default_rng(dist.get_rank()).normal(size=(32, given.width)).astype(np.float32))
    times = []
    for _ in range(given.steps):
        optimizer.zero_grad()
        begun = time.perf_counter()
        model(x).square().mean().backward()
        optimizer.step()
        times.append(time.perf_counter() - begun)
    moments = sum(
        flat.nbytes for layout in optimizer._layouts for buffer in layout.buffers for flat in buffer.moments.values()
    )
    numbers = sum(one.numel() for one in model.parameters())
    rows = dist.all_gather_object((moments / MIB, resident() - before, min(times[1:]) * 1e3))
    if dist.get_rank() == 0:
        how = "plain" if given.plain else "sharded"
        print(f"{numbers:,} parameters ({numbers * 4 / MIB:.0f} MiB), Adam, {how}, {dist.get_world_size()} processes")
        print(f"{'rank':>4} {'moments MiB':>12} {'resident MiB more':>18} {'step ms':>8}")
        for rank, (kept, more, took) in enumerate(rows):
            print(f"{rank:>4} {kept:>12.1f} {more:>18.1f} {took:>8.0f}")


if __name__ == "__main__":
    main()
