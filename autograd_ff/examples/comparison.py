"""Methods side by side: each over numbers of labels and seeds, with finished runs kept, as a table and as a picture."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from autograd_ff.serialization import write_atomically

from . import command
from .picture import COLORS, axes_of, name_lines, save
from .splits import Split

__all__ = ["Comparison", "Method", "Record", "compare", "once_with", "report", "table_parser"]


class Record:
    """Accuracies of finished runs in a JSON file, so that a table that was interrupted goes on where it was.

    Args:
        path: the file; None keeps them in memory only.
        data: the fingerprint of the texts. Runs on other ones are forgotten.
    """

    def __init__(self, path: Path | None, data: str) -> None:
        self.path, self.data = path, data
        self.runs: dict[str, dict[str, float]] = self._read()

    def _read(self) -> dict[str, dict[str, float]]:
        if self.path is None or not self.path.exists():
            return {}
        content = json.loads(self.path.read_text(encoding="utf-8"))
        return content["runs"] if content["data"] == self.data else {}

    def accuracy(self, key: str, compute: Callable[[], float]) -> float:
        """That of the run of this name, which is made if it is not there."""
        if key not in self.runs:
            began = time.perf_counter()
            accuracy = compute()
            # Read again: another process may have finished others of the same table.
            self.runs = {**self._read(), **self.runs}
            self.runs[key] = {"accuracy": accuracy, "seconds": round(time.perf_counter() - began, 1)}
            self._write()
        return self.runs[key]["accuracy"]

    def _write(self) -> None:
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"data": self.data, "runs": self.runs}, indent=1, sort_keys=True)
        write_atomically(self.path, content.encode())


@dataclass
class Method:
    """One row of the table.

    Args:
        name: of the row.
        accuracy: of a number of labels and a seed.
        seeds: how many seeds, from 0, for a number of labels; 0 leaves the cell empty.
        settings: all that decides a run beside labels and seed, by the number of labels: a run with other settings is
            another run.
    """

    name: str
    accuracy: Callable[[int, int], float]
    seeds: Callable[[int], int]
    settings: Callable[[int], str] = lambda count: ""

    def key(self, count: int, seed: int) -> str:
        """The name of a run."""
        return ", ".join(filter(None, (self.name, f"{count} labels", f"seed {seed}", self.settings(count))))


def once_with(whole: int, seeds: int) -> Callable[[int], int]:
    """How many seeds there are for a number of labels: of all labels there is nothing to draw, and one suffices.

    >>> seeds = once_with(1000, 5)
    >>> seeds(50), seeds(1000)
    (5, 1)
    """
    return lambda count: min(seeds, 1) if count == whole else seeds


@dataclass
class Comparison:
    """Accuracies by method and number of labels, one for each seed."""

    counts: list[int]
    tests: int
    copies: int  # held-out texts that were left out
    found: dict[str, dict[int, list[float]]] = field(default_factory=dict)

    def mean(self, name: str, count: int) -> float:
        return float(np.mean(self.found[name][count]))

    def spread(self, name: str, count: int) -> float:
        """The standard deviation over the seeds; NaN of a single one."""
        values = self.found[name][count]
        return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan

    def gain(self, one: str, other: str, count: int) -> float:
        """How much more accurate the one is than the other, on the mean over the seeds that both have."""
        values, others = self.found[one][count], self.found[other][count]
        # What is the same for each seed was done once.
        pairs = max(len(values), len(others)) if 1 in (len(values), len(others)) else min(len(values), len(others))
        return float(np.mean(np.resize(values, pairs) - np.resize(others, pairs)))

    def best(self, names: Iterable[str], count: int) -> str:
        """Of these, the one with the highest mean."""
        return max(
            (name for name in names if count in self.found.get(name, {})), key=lambda name: self.mean(name, count)
        )

    @property
    def noise(self) -> float:
        """What a difference of two accuracies can come to by the choice of the held-out texts alone.

        Two standard errors at accuracies near 0.8, √(2 · 0.8 · 0.2 / n) each, as if the two methods erred
        independently. They do not quite, so that this is on the safe side.
        """
        return 2 * math.sqrt(2 * 0.8 * 0.2 / self.tests)

    def against(self, reference: str, names: Sequence[str]) -> list[str]:
        """A line for each number of labels: the best of these, and how far it is from the reference."""
        lines = []
        for count in self.counts:
            there = [name for name in names if self.found.get(name, {}).get(count)]
            if there and self.found.get(reference, {}).get(count):
                best = self.best(there, count)
                gain = self.gain(best, reference, count)
                kind = "within the noise" if abs(gain) < self.noise else "better" if gain > 0 else "worse"
                lines.append(f"{count:,} labels: {best} {100 * gain:+.1f} points against {reference}, {kind}")
        return lines

    # ---------------------------------------------------------------- showing

    def table(self, markdown: bool = False) -> None:
        """Print mean ± standard deviation, and in brackets the number of seeds."""
        header = ["labels", *(f"{count:,}" for count in self.counts)]
        rows = [[name, *(self._cell(cells.get(count)) for count in self.counts)] for name, cells in self.found.items()]
        if markdown:
            lines = [header, ["---", *["---:"] * len(self.counts)], *rows]
            print("\n".join(f"| {' | '.join(line)} |" for line in lines))
        else:
            command.table(header, rows)

    @staticmethod
    def _cell(values: Sequence[float] | None) -> str:
        if not values:
            return ""
        if len(values) == 1:
            return f"{values[0]:.3f}"
        return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f} ({len(values)})"

    def draw(self, path: str, title: str, looks: Mapping[str, Mapping[str, Any]]) -> None:
        """Accuracy over the number of labels: means with bars of a standard deviation, names at the ends."""
        figure, (axes,) = axes_of(width=7.6, height=5.2)
        lines = {}
        shown = [name for name in looks if any(self.found.get(name, {}).values())]
        for place, name in enumerate(shown):
            cells = self.found[name]
            counts = [count for count in self.counts if cells.get(count)]
            # A little to the side, so that bars do not cover each other.
            aside = 1.0 if len(self.counts) == 1 else 1.035 ** (place - (len(shown) - 1) / 2)
            means = [self.mean(name, count) for count in counts]
            spreads = [0.0 if math.isnan(one := self.spread(name, count)) else one for count in counts]
            look = {"color": COLORS[place % len(COLORS)], "marker": "o", "markersize": 5, "linewidth": 2, **looks[name]}
            bars = axes.errorbar([count * aside for count in counts], means, yerr=spreads, capsize=3, **look)
            lines[name] = bars.lines[0]
        axes.set_xscale("log")
        axes.set_xticks(self.counts, [f"{count:,}" for count in self.counts])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:.0%}")
        axes.set(xlabel="labelled texts", ylabel=f"accuracy on {self.tests:,} held-out texts")
        name_lines(axes, lines)
        save(figure, path, title)


def compare(methods: Sequence[Method], counts: Sequence[int], split: Split, record: Record) -> Comparison:
    """Run each method at each number of labels with its seeds; what the record holds is not run again.

    Seed by seed, so that an interrupted table is whole for the first seeds.
    """
    comparison = Comparison(list(counts), len(split.test_texts), split.copies, {method.name: {} for method in methods})
    most = max(method.seeds(count) for method in methods for count in counts)
    jobs = [
        (seed, method, count)
        for seed in range(most)
        for count in counts
        for method in methods
        if seed < method.seeds(count)
    ]
    for seed, method, count in command.progress(jobs, "runs"):
        accuracy = record.accuracy(method.key(count, seed), partial(method.accuracy, count, seed))
        comparison.found[method.name].setdefault(count, []).append(accuracy)
    return comparison


def report(
    found: Comparison, reference: str, names: Sequence[str], pretrained: tuple[str, str], markdown: bool = False
) -> None:
    """Print the table, and what it says: the best of ``names`` against the reference, one pair at the fewest labels."""
    found.table(markdown)
    print(
        f"\nMean ± standard deviation (seeds), on {found.tests:,} held-out texts; left out were {found.copies} of "
        f"which the training texts hold a near copy. Differences below {100 * found.noise:.1f} points may come from the choice "
        "of the texts."
    )
    print("\n".join(found.against(reference, names)))
    one, other = pretrained
    count = found.counts[0]
    if found.found.get(one, {}).get(count) and found.found.get(other, {}).get(count):
        print(f"With {count:,} labels {one} is {100 * found.gain(one, other, count):+.1f} points against {other}.")


def table_parser(document: str | None, counts: Sequence[int], tests: int | None) -> argparse.ArgumentParser:
    """The options of a comparison: labels, seeds, held-out texts, and where finished runs are kept.

    >>> table_parser("A claim.", [50, 0], None).parse_args(["--labels", "200", "all"]).labels
    [200, 0]
    """
    made = command.parser(document, seed=False)
    made.add_argument(
        "--labels", type=_count, nargs="+", default=list(counts), metavar="N",
        help=f"numbers of labelled texts (default: {' '.join(str(one or 'all') for one in counts)})",
    )  # fmt: skip
    made.add_argument(
        "--tests", type=_count, default=tests or 0, metavar="N", help=f"held-out texts (default: {tests or 'all'})"
    )
    made.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return made


def _count(text: str) -> int:
    return 0 if text == "all" else command.positive(text)
