"""What a gradient check found."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .evidence import Evidence

__all__ = [
    "FAIL",
    "KINK",
    "NONDETERMINISTIC",
    "NONFINITE",
    "PASS",
    "UNRELIABLE",
    "WORST_FIRST",
    "Culprit",
    "Entry",
    "Report",
]

PASS = "PASS"
FAIL = "FAIL"  # analytic and numeric derivative differ by more than the tolerance and the numeric error together
NONDETERMINISTIC = "NONDETERMINISTIC"  # the same inputs gave two different results
NONFINITE = "NONFINITE"  # an output, a gradient or every numeric derivative is NaN or infinite
KINK = "KINK"  # not differentiable here: every step, however small, lands on another piece of a piecewise function
UNRELIABLE = "UNRELIABLE"  # the numeric derivative is too poor to judge by: a kink, a pole or noise is near

WORST_FIRST = (FAIL, NONFINITE, KINK, UNRELIABLE, PASS)  # of several verdicts, the one that stands for all

_LINES = 12  # of a printed report
_WIDTH = 200


@dataclass(frozen=True)
class Entry:
    """One derivative held against its numeric value: the worst one of an input.

    >>> print(Entry("x", (0,), None, analytic=2.0, numeric=2.1, estimate=1e-9, tolerance=0.01, verdict=FAIL))
    x[0]: analytic 2, numeric 2.1 ± 1e-09, 10 × tolerance, FAIL
    """

    input: str
    index: tuple[int, ...] | None  # element of the input; None for a derivative along a random dense direction
    output: int | None  # element of the flattened outputs; None for a random dense upstream gradient
    analytic: float
    numeric: float
    estimate: float  # of the numeric derivative's own error
    tolerance: float
    verdict: str
    shape: tuple[int, ...] = ()  # of the input

    @property
    def error(self) -> float:
        """The difference over what was allowed: more than 1 fails."""
        allowed = self.tolerance + self.estimate
        return abs(self.analytic - self.numeric) / allowed if allowed else 0.0

    @property
    def place(self) -> str:
        """The input and its element."""
        return self.input if not self.index else f"{self.input}[{', '.join(map(str, self.index))}]"

    @property
    def numbers(self) -> str:
        """What was compared."""
        if self.estimate == float("inf"):
            return f"analytic {self.analytic + 0.0:.9g}, no numeric derivative"
        return (
            f"analytic {self.analytic + 0.0:.9g}, numeric {self.numeric + 0.0:.9g} ± {self.estimate:.1g}, "
            f"{self.error:.3g} × tolerance"
        )

    def __str__(self) -> str:
        along = " along a random direction" if self.index is None else ""
        toward = "" if self.output is None else f" (d output {self.output})"
        return f"{self.place}{along}{toward}: {self.numbers}, {self.verdict}"


@dataclass(frozen=True)
class Culprit:
    """The op whose own gradient is wrong, or where the path of the gradient is cut.

    >>> culprit = Culprit("Cube", "Function", 0, None, "cube.py:9: y = Cube.apply(x)", "the sign is wrong")
    >>> culprit.op, culprit.source
    ('Cube', 'cube.py:9: y = Cube.apply(x)')
    """

    op: str
    kind: str  # "op", "kernel", "Function", or "read" where a value left the graph for Python
    step: int | None  # position among all ops that ran
    entry: Entry | None  # its own derivative, at the values that occurred
    site: str | None
    cause: str = ""  # what probably went wrong; "" where nothing fits
    cut: bool = False  # no gradient flows back here

    @property
    def input(self) -> str:
        """Which of the op's inputs gets the wrong gradient."""
        return "" if self.entry is None else self.entry.input

    @property
    def index(self) -> tuple[int, ...] | None:
        """The element of that input."""
        return None if self.entry is None else self.entry.index

    @property
    def analytic(self) -> float | None:
        """What the op's rule gives."""
        return None if self.entry is None else self.entry.analytic

    @property
    def numeric(self) -> float | None:
        """What it should give."""
        return None if self.entry is None else self.entry.numeric

    @property
    def source(self) -> str | None:
        """The line of the user's code that ran the op."""
        return self.site

    def lines(self) -> list[str]:
        """What a report says of it."""
        if self.cut:
            found = [f"the path of the gradient is cut at {self.op}" + (f", {self.site}" if self.site else "")]
        else:
            found = [f"guilty: {self.op} ({self.kind})" + (f", {self.site}" if self.site else "")]
        if self.entry is not None:
            output = "" if self.entry.output is None else f"d output {self.entry.output} / "
            along = " along a random direction" if self.entry.index is None else ""
            found.append(f"  {output}d {self.entry.place}{along}: {self.entry.numbers}")
        if self.cause:
            found.append(f"  {'because' if self.cut else 'likely cause'}: {self.cause}")
        return found


@dataclass(frozen=True)
class Report:
    """The result of `gradcheck`: a verdict, and the worst entry of each input that was checked.

    >>> import numpy as np
    >>> from autograd_ff import testing
    >>> report = testing.gradcheck(np.sin, np.array([0.5, 1.0]))
    >>> report.passed, [entry.verdict for entry in report.entries]
    (True, ['PASS'])
    """

    verdict: str
    order: int
    entries: list[Entry] = field(default_factory=list)
    note: str = ""  # what happened, where no entry says it
    evaluations: int = 0
    culprit: Culprit | None = None
    evidence: Evidence | None = field(default=None, repr=False, compare=False)  # what was checked

    @property
    def passed(self) -> bool:
        """Whether every gradient is right."""
        return self.verdict == PASS

    @property
    def worst(self) -> Entry | None:
        """The entry furthest over its tolerance; one that failed before all others."""
        return max(self.entries, key=_badness, default=None)

    def __str__(self) -> str:
        what = "gradient" if self.order == 1 else "gradient of the gradient"
        many = {0: "", 1: " of 1 input"}.get(len(self.entries), f" of {len(self.entries)} inputs")
        lines = [f"{self.verdict}: {what}{many}, {self.evaluations} evaluations"]
        lines += [f"  {line}" for line in self.note.splitlines()[:4]]
        if self.culprit is not None:
            lines += [f"  {line}" for line in self.culprit.lines()]
        ranked = sorted(self.entries, key=_badness, reverse=True)
        room = max(_LINES - len(lines), 1)
        shown = len(ranked) if len(ranked) <= room else room - 1
        lines += [f"  {entry}" for entry in ranked[:shown]]
        if shown < len(ranked):
            lines.append(f"  and {len(ranked) - shown} inputs with smaller errors")
        return "\n".join(line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…" for line in lines)

    def table(self) -> str:
        """The entries as text, one input or parameter a line, in their own order."""
        head = ("input", "shape", "analytic", "numeric", "numeric error", "error/tolerance", "verdict")
        body = [
            (
                entry.place,
                "×".join(map(str, entry.shape)) or "scalar",
                f"{entry.analytic:.9g}",
                f"{entry.numeric:.9g}",
                f"{entry.estimate:.1e}",
                f"{entry.error:.3g}",
                entry.verdict,
            )
            for entry in self.entries
        ]
        widths = [max(len(row[column]) for row in (head, *body)) for column in range(len(head))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (head, *body)
        )

    def as_dict(self) -> dict[str, Any]:
        """The report in plain Python types, for JSON."""
        culprit = self.culprit
        return {
            "verdict": self.verdict,
            "passed": self.passed,
            "order": self.order,
            "note": self.note,
            "evaluations": self.evaluations,
            "culprit": None
            if culprit is None
            else {
                "op": culprit.op,
                "kind": culprit.kind,
                "source": culprit.source,
                "cause": culprit.cause,
                "cut": culprit.cut,
                "entry": None if culprit.entry is None else _plain(culprit.entry),
            },
            "entries": [_plain(entry) for entry in self.entries],
        }

    def render(self, path: str | os.PathLike[str], **options: Any) -> str:
        """Draw the graph of what was checked, with the guilty op red.

        Args:
            path: the file, ``.png``, ``.svg``, ``.pdf``, ``.html`` or another format of ``visualize.render``.
            options: of ``visualize.render``.

        Returns:
            The path.
        """
        return self._evidence().render(self, path, options)

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write a pytest file that shows the failure by itself, with the smallest inputs that do, to the last bit.

        Args:
            path: the file, ``test_….py``.

        Returns:
            The path.
        """
        return self._evidence().save(self, path)

    def _evidence(self) -> Evidence:
        if self.evidence is None:
            raise ValueError("this report was not made by gradcheck, so there is nothing to draw or to run again")
        return self.evidence


def _plain(entry: Entry) -> dict[str, Any]:
    return {
        "input": entry.input,
        "index": None if entry.index is None else list(entry.index),
        "shape": list(entry.shape),
        "analytic": entry.analytic,
        "numeric": entry.numeric,
        "numeric_error": entry.estimate,
        "error_over_tolerance": entry.error,
        "verdict": entry.verdict,
    }


def _badness(entry: Entry) -> tuple[bool, bool, float]:
    return entry.verdict == FAIL, entry.verdict != PASS, entry.error
