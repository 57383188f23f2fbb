"""One thing that looks wrong before a training, and how it is told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...engine import warn
from ...errors import TrainingWarning

__all__ = ["Finding", "announce", "listed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that looks wrong.

    Attributes:
        kind: which check found it; `fit` takes its name in ``checks=``.
        message: what is wrong.
        advice: what to do.
        site: the line to look at, ``"train.py:12: loss = f(x)"``; "" where there is none.
        severity: ``"error"`` where the training cannot work, ``"warning"`` where it will be poor, ``"info"`` for what is
            only worth knowing.
        names: of the parameters it is about.

    >>> print(Finding("labels", "the labels run from 1 to 10", "Subtract 1."))
    warning: the labels run from 1 to 10
      Subtract 1.
    """

    kind: str
    message: str
    advice: str = ""
    site: str = ""
    severity: str = "warning"
    names: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What is wrong, where, and what to do."""
        lines = [self.message]
        lines += [f"  at {self.site}"] if self.site else []
        lines += [f"  {line}" for line in self.advice.splitlines()]
        return "\n".join(lines)

    def __str__(self) -> str:
        return f"{self.severity}: {self.text}"


def announce(findings: Iterable[Finding]) -> None:
    """A `TrainingWarning` at the user's line for each finding that is more than worth knowing."""
    for one in findings:
        if one.severity != "info":
            warn(
                f"{one.text}\n  (found by the check {one.kind!r}; fit(…, checks=False) makes none, "
                "checks=[…] those that it names)",
                TrainingWarning,
            )


def listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    names = list(dict.fromkeys(names))
    if len(names) > 6:
        names = [*names[:5], f"{len(names) - 5} others"]
    return "".join(names) if len(names) < 2 else f"{', '.join(names[:-1])} and {names[-1]}"
