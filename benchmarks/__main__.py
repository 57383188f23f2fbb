"""``python -m benchmarks``: training steps, per-op overhead, import times and all else that is measured, as tables.

Parts: steps, overhead, imports, first (time to the first gradient), mnist (whole epochs) and subnormals, which are the
default; fit (the Keras program), scaling (by batch, width, depth), memory, threads (of single products), transformers (MiniLM,
inference and tuning), checker (gradient checkers), rendering (pictures of large graphs) and distributed (two processes on MPI,
and a model of more).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

from . import (
    checker,
    distributed,
    first,
    fit,
    imports,
    memory,
    mnist,
    overhead,
    plot,
    rendering,
    scaling,
    steps,
    subnormals,
    threads,
    transformers,
)
from .cases import CASES
from .frameworks import FRAMEWORKS

DEFAULT = ["steps", "overhead", "imports", "first", "mnist", "subnormals"]
PARTS = [*DEFAULT, "fit", "scaling", "memory", "threads", "transformers", "checker", "rendering", "distributed"]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("parts", nargs="*", metavar="part", help=f"any of: {', '.join(PARTS)} (default: {', '.join(DEFAULT)})")
    add("--rounds", type=int, default=11, help="alternating rounds of the training steps")
    add("--epochs", type=int, default=10, help="epochs of MNIST")
    add("--case", choices=[*CASES], action="append", help="only this training step")
    add("--task", choices=[*transformers.TASKS], action="append", help="only this of transformers")
    add("--framework", choices=[*FRAMEWORKS], action="append", help="only this framework beside the bare products")
    add("--jobs", type=int, default=2, help="processes that try the gradient checkers")
    add("--checker", choices=[*checker.CHECKERS], action="append", help="only this gradient checker")
    add("--limit", type=float, default=rendering.LIMIT, help="seconds for a picture")
    add("--library", choices=[*rendering.LIBRARIES], action="append", help="only pictures of this library")
    add("--json", type=Path, metavar="FILE", help="write all the figures here")
    add("--markdown", type=Path, metavar="FILE", help="write the tables here, as Markdown")
    add("--plot", type=Path, metavar="FILE", help="draw the training steps here")
    add("--scaling-plot", type=Path, metavar="FILE", help="draw here what the part distributed foretells")
    options = parser.parse_args(arguments)
    parts = options.parts or DEFAULT
    if unknown := sorted(set(parts) - set(PARTS)):
        parser.error(f"no part named {', '.join(unknown)}")
    if options.plot and "steps" not in parts:
        parser.error("--plot draws the training steps: name the part steps as well")
    if options.scaling_plot and "distributed" not in parts:
        parser.error("--scaling-plot draws the part distributed: name it as well")
    results: dict[str, Any] = machine()
    tables = [f"{results['machine']}, {results['processors']} processors, Python {results['python']}, "
              f"NumPy {results['numpy']}"]  # fmt: skip
    print(tables[0], end="\n\n", flush=True)

    def done(part: str, figures: Any, module: Any) -> None:
        results[part] = figures
        print(module.report(figures), end="\n\n", flush=True)
        if hasattr(module, "markdown"):
            tables.append(module.markdown(figures))
        save(results, tables, options)  # what is there stays, if a later part is broken off

    if "steps" in parts:
        results["steps"] = []
        for name in options.case or CASES:
            results["steps"].append(steps.measure(CASES[name], options.rounds, options.framework))
            print(steps.report(results["steps"][-1]), end="\n\n", flush=True)
            save(results, tables, options)
        tables.append(steps.markdown(results["steps"]))
        if options.plot:
            plot.save(results["steps"], options.plot)
        save(results, tables, options)
    if "overhead" in parts:
        done("overhead", overhead.measure(), overhead)
    if "imports" in parts:
        done("imports", imports.measure(), imports)
    if "first" in parts:
        done("first", first.measure(), first)
    if "mnist" in parts:
        done("mnist", mnist.measure(options.epochs), mnist)
    if "subnormals" in parts:
        done("subnormals", subnormals.measure(), subnormals)
    if "fit" in parts:
        done("fit", fit.measure(options.epochs), fit)
    if "scaling" in parts:
        done("scaling", scaling.measure(only=options.framework or scaling.KEYS), scaling)
    if "memory" in parts:
        done("memory", memory.measure(options.case, options.framework), memory)
    if "threads" in parts:
        done("threads", threads.measure(), threads)
    if "transformers" in parts:
        done("transformers", transformers.measure(only=options.framework, tasks=options.task), transformers)
    if "checker" in parts:
        done("checker", checker.measure(jobs=options.jobs, only=options.checker), checker)
    if "rendering" in parts:
        done("rendering", rendering.measure(options.limit, options.library), rendering)
    if "distributed" in parts:
        done("distributed", distributed.measure(), distributed)
        if options.scaling_plot and "model" in results["distributed"]:
            distributed.save_plot(results["distributed"], options.scaling_plot)


def machine() -> dict[str, Any]:
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "machine": name,
        "processors": os.cpu_count(),
        "python": sys.version.split()[0],
        "numpy": np.__version__,
    }


def save(results: dict[str, Any], tables: list[str], options: argparse.Namespace) -> None:
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))
    if options.markdown:
        options.markdown.write_text("\n\n".join(tables) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
