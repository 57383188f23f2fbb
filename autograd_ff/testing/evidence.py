"""What a report keeps of the failure: enough to draw it, and to write it down as a test of its own."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..nn import Module
from .subject import Subject, as_argument, parameter_names
from .tree import flatten, rebuild

if TYPE_CHECKING:
    from .localize import LocalCheck
    from .report import Report

__all__ = ["Evidence"]


class Evidence:
    """The function that was checked, what ran, and the guilty op by itself."""

    def __init__(
        self,
        fn: Callable[..., Any],
        arguments: Any,
        loss: Callable[[Any], Any] | None,
        subject: Subject,
        options: Mapping[str, Any],
    ) -> None:
        self.fn = fn
        self.arguments = arguments
        self.loss = loss
        self.subject = subject
        self.options = dict(options)  # of gradcheck
        self.check: LocalCheck | None = None  # of the guilty op, when it is found

    def render(self, report: Report, path: str | os.PathLike[str], options: Mapping[str, Any]) -> str:
        """See `Report.render`."""
        import visualize

        view = self._module_view() if isinstance(self.fn, Module) else self._function_view()
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

    def _function_view(self) -> Any:
        import visualize

        tensors = self.subject.tensors(tracked=True)
        view = visualize.trace(lambda *inputs: self.subject.outputs(inputs), *tensors, names={})
        return _renamed(view, self.subject.names)

    def _module_view(self) -> Any:
        """Drawn as the module that it is, with its parameters where they belong."""
        import visualize

        network: Module = copy.deepcopy(self.fn).double()  # type: ignore[attr-defined]
        arguments = self.arguments if isinstance(self.arguments, tuple) else (self.arguments,)
        inputs = rebuild(arguments, [as_argument(leaf) for leaf in flatten(arguments)])
        loss = self.loss
        if loss is None:
            return visualize.trace(network, *inputs)
        view = visualize.trace(lambda *inputs: loss(network(*inputs)), *inputs, names={"": network})
        return _renamed(view, parameter_names(network.forward))

    def save(self, report: Report, path: str | os.PathLike[str]) -> str:
        """See `Report.save`."""
        from .reproducer import write

        return write(self, report, path)


def _renamed(view: Any, names: list[str]) -> Any:
    """The inputs under the names that the report uses."""
    known = {f"inputs[{position}]": name for position, name in enumerate(names)}
    nodes = [replace(node, names=tuple(known.get(one, one) for one in node.names)) for node in view.nodes]
    return replace(view, nodes=tuple(nodes))
