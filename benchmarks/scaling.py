"""How the cost beside the bare matrix products changes with batch, width and depth."""

from __future__ import annotations

from typing import Any

from . import steps
from .cases import Network
from .frameworks import FRAMEWORKS

KEYS = ("fast", "compiled", "pytorch_fused", "jax")


def _network(hidden: tuple[int, ...], batch: int) -> Network:
    rotation = max(4, min(64, 16384 // batch))
    return Network(f"scaling {len(hidden)}×{hidden[0]}, {batch}", (784, *hidden, 10), batch, 500, rotation)


SERIES: dict[str, dict[int, Network]] = {
    "batch": {batch: _network((128, 128), batch) for batch in (1, 8, 64, 512, 2048)},
    "width": {width: _network((width, width), 64) for width in (16, 64, 256, 1024, 2048)},
    "depth": {depth: _network((128,) * depth, 64) for depth in (1, 2, 4, 8, 16)},
}
TITLES = {
    "batch": "784-128-128-10, by batch",
    "width": "784-w-w-10, batch 64, by width w",
    "depth": "784-128-…-128-10, batch 64, by hidden layers",
}


def measure(rounds: int = 7, only: tuple[str, ...] | list[str] = KEYS) -> dict[str, dict[str, Any]]:
    return {
        series: {str(value): steps.measure(case, rounds, only) for value, case in cases.items()}
        for series, cases in SERIES.items()
    }


def _table(points: dict[str, Any]) -> list[tuple[str, list[str]]]:
    keys = [key for key in FRAMEWORKS if key != "products" and any(key in one["frameworks"] for one in points.values())]
    cells = lambda key: [one["frameworks"].get(key, {}).get("ratio") for one in points.values()]  # noqa: E731
    return [(FRAMEWORKS[key].title, ["–" if cell is None else f"{cell:.2f}" for cell in cells(key)]) for key in keys]


def report(results: dict[str, dict[str, Any]]) -> str:
    lines = ["Multiples of the bare matrix products, a training step with Adam"]
    for series, points in results.items():
        lines += ["", f"  {TITLES[series]:48}" + "".join(f"{value:>9}" for value in points)]
        lines += [f"  {title:48}" + "".join(f"{cell:>9}" for cell in cells) for title, cells in _table(points)]
        failed = {
            (one["title"], one["reason"]): value for value, point in points.items() for one in point["failed"].values()
        }
        lines += [f"  {title} at {value}: {why}" for (title, why), value in failed.items()]
        shaky = [value for value, one in points.items() if not one["reliable"]]
        lines += [f"  UNRELIABLE at {', '.join(shaky)}: too few undisturbed rounds"] if shaky else []
    return "\n".join(lines)


def markdown(results: dict[str, dict[str, Any]]) -> str:
    lines: list[str] = []
    for series, points in results.items():
        lines += [f"| {TITLES[series]} | {' | '.join(points)} |", "|---" * (len(points) + 1) + "|"]
        lines += [f"| {title} | {' | '.join(cells)} |" for title, cells in _table(points)] + [""]
    return "\n".join(lines).rstrip()
