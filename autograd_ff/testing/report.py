"""What a gradient check found."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = [
    "FAIL",
    "KINK",
    "NONDETERMINISTIC",
    "NONFINITE",
    "PASS",
    "UNRELIABLE",
    "WORST_FIRST",
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

_SHOWN = 8  # inputs in a printed report, which stays within twelve lines


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

    @property
    def error(self) -> float:
        """The difference over what was allowed: more than 1 fails."""
        allowed = self.tolerance + self.estimate
        return abs(self.analytic - self.numeric) / allowed if allowed else 0.0

    def __str__(self) -> str:
        place = " along a random direction" if self.index is None else f"[{', '.join(map(str, self.index))}]"
        toward = "" if self.output is None else f" (d output {self.output})"
        return f"{self.input}{place}{toward}: analytic {self.analytic:.9g}, numeric {self.numeric:.9g} ± {self.estimate:.1g}, {self.error:.3g} × tolerance, {self.verdict}"


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

    @property
    def passed(self) -> bool:
        return self.verdict == PASS

    @property
    def worst(self) -> Entry | None:
        """The entry furthest over its tolerance; one that failed before all others."""
        return max(self.entries, key=_badness, default=None)

    def __str__(self) -> str:
        what = "gradient" if self.order == 1 else "gradient of the gradient"
        lines = [f"{self.verdict}: {what}, {len(self.entries)} inputs checked with {self.evaluations} evaluations"]
        if self.note:
            lines.append(f"  {self.note}")
        ranked = sorted(self.entries, key=_badness, reverse=True)
        lines += [f"  {entry}" for entry in ranked[:_SHOWN]]
        if len(ranked) > _SHOWN:
            lines.append(f"  and {len(ranked) - _SHOWN} inputs with smaller errors")
        return "\n".join(lines)


def _badness(entry: Entry) -> tuple[bool, bool, float]:
    return entry.verdict == FAIL, entry.verdict != PASS, entry.error
