"""Time and size of pictures of growing graphs, beside torchviz and torchview where they are installed.

The graph is a deep network: so many pairs of a linear layer and a ReLU, and a sum at the end. Counted are its operations
and its parameters. Each picture is an SVG, made in a process of its own, and timed from the network to the file: with the
forward pass that records it, without imports. The line "unfolded" shows every node, as the two other libraries do.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .processes import environment

NODES = (100, 1_000, 10_000, 100_000)
LIMIT = 120.0  # seconds for a picture
WIDTH = 4
_A_LAYER = 4  # linear, weight, bias, ReLU
_DRAWN = re.compile(r'<g id="[^"]*" class="node')


# ---------------------------------------------------------------- one picture, in a process of its own


def ours(nodes: int, path: Path, **options: Any) -> Callable[[], Any]:
    import autograd_ff as af
    import visualize

    layers = [layer for _ in range(nodes // _A_LAYER) for layer in (af.nn.Linear(WIDTH, WIDTH), af.nn.ReLU())]
    model, x = af.nn.Sequential(*layers), af.ones(2, WIDTH)
    return lambda: visualize.render(model(x).sum(), path, timeout=LIMIT, **options)


def unfolded(nodes: int, path: Path) -> Callable[[], Any]:
    return ours(nodes, path, open=True)


def torch_network(nodes: int) -> tuple[Any, Any]:
    import torch

    layers = [layer for _ in range(nodes // _A_LAYER) for layer in (torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU())]
    return torch.nn.Sequential(*layers), torch.ones(2, WIDTH)


def torchviz(nodes: int, path: Path) -> Callable[[], Any]:
    from torchviz import make_dot

    model, x = torch_network(nodes)
    parameters = dict(model.named_parameters())
    return lambda: make_dot(model(x).sum(), params=parameters).render(path.with_suffix(""), format="svg")


def torchview(nodes: int, path: Path) -> Callable[[], Any]:
    from torchview import draw_graph

    model, x = torch_network(nodes)
    return lambda: draw_graph(model, input_data=x, device="cpu").visual_graph.render(path.with_suffix(""), format="svg")


LIBRARIES: dict[str, tuple[str, tuple[str, ...], Callable[[int, Path], Callable[[], Any]]]] = {
    "visualize": ("visualize", (), ours),
    "unfolded": ("visualize, unfolded", (), unfolded),
    "torchviz": ("torchviz", ("torch", "torchviz"), torchviz),
    "torchview": ("torchview", ("torch", "torchview"), torchview),
}


def worker(library: str, nodes: int, path: Path) -> None:
    """Draw, and print a line of JSON."""
    draw = LIBRARIES[library][2](nodes, path)
    start = time.perf_counter()
    draw()
    seconds = time.perf_counter() - start
    text = path.read_text(encoding="utf-8", errors="replace")
    print(json.dumps({"seconds": seconds, "bytes": path.stat().st_size, "shown": len(_DRAWN.findall(text))}))


# ---------------------------------------------------------------- all of them


def measure(limit: float = LIMIT, only: list[str] | None = None) -> dict[str, Any]:
    """Of each library and size the seconds, the bytes of the file and the nodes that it shows, or what went wrong."""
    chosen = [key for key in LIBRARIES if only is None or key in only]
    installed = [key for key in chosen if all(importlib.util.find_spec(name) for name in LIBRARIES[key][1])]
    results: dict[str, Any] = {
        "limit": limit,
        "missing": [key for key in chosen if key not in installed],
        "pictures": [],
    }
    given_up: set[str] = set()
    for nodes in NODES:
        for library in tqdm(installed, desc=f"pictures of {nodes:,} nodes", leave=False):
            # What failed on a smaller graph is not tried on a larger one.
            found = {"failed": "–"} if library in given_up else picture(library, nodes, limit)
            if "failed" in found:
                given_up.add(library)
            results["pictures"].append({"library": library, "nodes": nodes, **found})
    return results


def picture(library: str, nodes: int, limit: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.rendering", library, str(nodes), str(Path(folder, "graph.svg"))]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            text=True,
            start_new_session=True,
        )
        try:
            # Building a large network in PyTorch is no part of the picture, but takes its time.
            output, errors = process.communicate(timeout=2 * limit)
        except subprocess.TimeoutExpired:
            end(process)
            return {"failed": f"over {limit:.0f} s"}
        if process.returncode:
            return {"failed": reason(errors)}
        found = json.loads(output.splitlines()[-1])
        return found if found["seconds"] <= limit else {"failed": f"over {limit:.0f} s"}


def reason(errors: str) -> str:
    """The name of the error that a process ended with.

    >>> reason("Traceback ...\\nbenchmarks.x.LayoutError: no picture\\n  at x.py:1")
    'LayoutError'
    """
    named = re.findall(r"^(?:[\w.]+\.)?(\w+(?:Error|Exception|Expired))\b", errors, re.MULTILINE)
    return named[-1] if named else "crashed"


def end(process: subprocess.Popen[str]) -> None:
    """End a process and the layout that it started."""
    import os
    import signal

    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.communicate()


def report(results: dict[str, Any]) -> str:
    lines = [
        f"Pictures of a deep network (SVG; at most {results['limit']:.0f} s each)",
        f"  {'':24}{'nodes':>9}{'seconds':>11}{'file KB':>11}{'nodes shown':>14}",
    ]
    for one in results["pictures"]:
        title = LIBRARIES[one["library"]][0]
        if "failed" in one:
            lines.append(f"  {title:24}{one['nodes']:9,}  {one['failed']}")
        else:
            lines.append(
                f"  {title:24}{one['nodes']:9,}{one['seconds']:11.2f}{one['bytes'] / 1000:11,.0f}{one['shown']:14,}"
            )
    lines += [f"  {LIBRARIES[key][0]}: not installed" for key in results["missing"]]
    return "\n".join(lines)


if __name__ == "__main__":
    worker(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
