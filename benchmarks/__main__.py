"""``python -m benchmarks``: training steps, per-op overhead, import times, gradient checkers, pictures, as tables and as JSON."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path
from typing import Any

from . import checker, imports, overhead, rendering, steps
from .cases import CASES


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="part", help="any of: steps, overhead, imports (default: these), checker, rendering"
    )
    parser.add_argument("--rounds", type=int, default=11, help="alternating rounds of the training steps")
    parser.add_argument("--case", choices=[*CASES], action="append", help="only this training step")
    parser.add_argument("--framework", action="append", help="only this framework beside the bare products")
    parser.add_argument("--jobs", type=int, default=2, help="processes that try the gradient checkers")
    parser.add_argument("--checker", choices=[*checker.CHECKERS], action="append", help="only this gradient checker")
    parser.add_argument("--limit", type=float, default=rendering.LIMIT, help="seconds for a picture")
    parser.add_argument(
        "--library", choices=[*rendering.LIBRARIES], action="append", help="only pictures of this library"
    )
    parser.add_argument("--json", type=Path, help="write all the figures here")
    options = parser.parse_args()
    parts = options.parts or ["steps", "overhead", "imports"]
    unknown = set(parts) - {"steps", "overhead", "imports", "checker", "rendering"}
    if unknown:
        parser.error(f"no part named {', '.join(sorted(unknown))}")
    results: dict[str, Any] = {"python": sys.version.split()[0], "machine": platform.processor() or platform.machine()}
    if "steps" in parts:
        results["steps"] = []
        for name in options.case or CASES:
            results["steps"].append(steps.measure(name, options.rounds, options.framework))
            print(steps.report(results["steps"][-1]), end="\n\n", flush=True)
    if "overhead" in parts:
        results["overhead"] = overhead.measure()
        print(overhead.report(results["overhead"]), end="\n\n", flush=True)
    if "imports" in parts:
        results["imports"] = imports.measure()
        print(imports.report(results["imports"]), end="\n\n", flush=True)
    if "checker" in parts:
        results["checker"] = checker.measure(jobs=options.jobs, only=options.checker)
        print(checker.report(results["checker"]), flush=True)
    if "rendering" in parts:
        results["rendering"] = rendering.measure(options.limit, options.library)
        print(rendering.report(results["rendering"]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
