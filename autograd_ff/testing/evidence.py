"""What a report keeps of the failure: enough to draw it, and to write it down as a test of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..nn import Module
from .recording import Recording
from .subject import Subject

if TYPE_CHECKING:
    from .localize import LocalCheck
    from .report import Report

__all__ = ["Evidence"]


class Evidence:
    """The function that was checked, what ran, and the guilty op by itself."""

    def __init__(
        self, fn: Callable[..., Any], arguments: Any, subject: Subject, recording: Recording, check: LocalCheck | None
    ) -> None:
        self.fn = fn
        self.arguments = arguments
        self.subject = subject
        self.recording = recording
        self.check = check

    def render(self, report: Report, path: str | os.PathLike[str], options: Mapping[str, Any]) -> str:
        """See `Report.render`."""
        import visualize

        tensors = self.subject.tensors(self.subject.values, tracked=True)
        view = visualize.trace(lambda *inputs: self.subject.outputs(inputs), *tensors, names={})
        named = {f"inputs[{position}]": name for position, name in enumerate(self.subject.names)}
        kind = "parameter" if isinstance(self.fn, Module) else "input"
        view = replace(
            view,
            nodes=tuple(
                replace(node, names=tuple(named[one] for one in node.names), kind=kind)
                if node.kind in ("input", "parameter") and all(one in named for one in node.names)
                else node
                for node in view.nodes
            ),
        )
        culprit = report.culprit
        title = "right gradients" if report.passed else report.verdict
        if culprit is not None:
            title = f"{'cut at' if culprit.cut else 'wrong gradient of'} {culprit.op}"
            marks = {
                node.id: ("cut" if culprit.cut else "wrong", culprit.cause or "wrong gradient")
                for node in view.nodes
                if node.step is not None and node.step == culprit.step
            }
            view = visualize.mark(view, marks)
        return visualize.render(view, path=path, **{"title": title, **options})

    def save(self, report: Report, path: str | os.PathLike[str]) -> str:
        """See `Report.save`."""
        from .reproducer import write

        return write(self, report, path)
