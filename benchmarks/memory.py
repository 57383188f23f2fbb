"""How far a training step drives the memory of its process, above data, network and optimizer.

Counted are gradients, moments, intermediate values and what an allocator keeps; libraries and compilers are loaded before,
by training another small network. "While compiling" is the peak of the first steps, in which a framework may compile.
"""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

from .cases import CASES, to_json
from .frameworks import FRAMEWORKS, missing
from .processes import Failed, Process


def measure(names: list[str] | None = None, only: list[str] | None = None) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for name in names or CASES:
        results[name] = {"case": CASES[name].title, "frameworks": {}}
        for key in tqdm(FRAMEWORKS, desc=f"memory of {name}", leave=False, disable=None):
            if key == "products" or (only and key not in only):
                continue
            try:
                if why := missing(key):
                    raise Failed(why)
                worker = Process("worker", key, to_json(CASES[name]), "prepared")
                found = worker.answer()
                worker.close()
                results[name]["frameworks"][key] = {
                    "step_mib": found["memory_kib"] / 1024,
                    "first_mib": found["first_kib"] / 1024,
                }
            except Failed as error:
                results[name]["frameworks"][key] = {"failed": str(error)}
    return results


def report(results: dict[str, Any]) -> str:
    lines = ["Peak memory of a training step with Adam, in MiB above data, network and optimizer"]
    for one in results.values():
        lines += ["", f"  {one['case']:42}{'a step':>9}{'while compiling':>18}"]
        for key, found in one["frameworks"].items():
            title = FRAMEWORKS[key].title
            if "failed" in found:
                lines.append(f"  {title:42}  {found['failed']}")
            else:
                lines.append(f"  {title:42}{found['step_mib']:9.1f}{found['first_mib']:18.1f}")
    return "\n".join(lines)


def markdown(results: dict[str, Any]) -> str:
    keys = [key for key in FRAMEWORKS if any("step_mib" in one["frameworks"].get(key, ()) for one in results.values())]
    lines = [f"| MiB | {' | '.join(one['case'] for one in results.values())} |", "|---" * (len(results) + 1) + "|"]
    for key in keys:
        cells = [one["frameworks"].get(key, {}).get("step_mib") for one in results.values()]
        shown = ["–" if cell is None else f"{cell:.1f}" for cell in cells]
        lines.append(f"| {FRAMEWORKS[key].title} | {' | '.join(shown)} |")
    return "\n".join(lines)
