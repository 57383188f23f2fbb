"""`render`: a graph into a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from .dot import to_dot
from .fold import fold_functions
from .graph import GraphView
from .layout import FORMATS, layout
from .style import LIGHT, Theme
from .walk import trace_from

__all__ = ["render"]


def render(
    target: Any,
    *inputs: Any,
    path: str | os.PathLike[str] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    names: Any = None,
    title: str = "",
    open: bool | str | Collection[str] = False,
    direction: str = "TB",
    legend: bool = True,
    theme: Theme = LIGHT,
    timeout: float = 60.0,
) -> str:
    """Draw the graph of a computation into a file; the suffix says which kind.

    ``render(loss, "graph.png")`` draws what was recorded while a tensor was computed;
    ``render(model, x, "graph.svg")`` runs a module (or a function) once on ``x`` and draws all that it does.

    Args:
        target: a Tensor, several of them, a module, a function of tensors, or a `GraphView`.
        inputs: what a module or function is called with; then the path, unless ``path=`` is given.
        path: where to write: ``.png``, ``.svg``, ``.pdf`` or ``.dot``. ``.dot`` needs no layout engine.
        kwargs: keyword arguments for the module or function.
        names: what to call tensors, as in `trace`; by default the caller's variables are looked up.
        title: stands above the picture.
        open: names of composite ops and derivative rules that show their inside; True for all.
        direction: where data flow: ``"TB"``, ``"LR"``, ``"BT"`` or ``"RL"``.
        legend: name the kinds of nodes that occur, below the picture.
        theme: colours, shapes and font.
        timeout: seconds for the layout.

    Returns:
        The path.

    Raises:
        ValueError: no path, a suffix that is none of these, or a tensor without a graph.
        LayoutError: no layout engine, or a graph too large for it.

    >>> import pathlib, tempfile, autograd_ff as af
    >>> weight = af.ones(3, requires_grad=True)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = render((weight * 2).sum(), f"{folder}/graph.dot")
    ...     "multiply by 2" in pathlib.Path(path).read_text(encoding="utf-8")
    True
    """
    if path is None:
        if not inputs or not isinstance(inputs[-1], (str, os.PathLike)):
            raise ValueError('give the path last: render(loss, "graph.png"), render(model, x, "graph.svg")')
        *rest, path = inputs
        inputs = tuple(rest)
    file = Path(path)
    format = file.suffix.lower().removeprefix(".")
    if format != "dot" and format not in FORMATS:
        raise ValueError(f"{file.name!r} should end in .png, .svg, .pdf or .dot")
    view: GraphView = trace_from(sys._getframe(1), target, inputs, kwargs, names)
    text = to_dot(fold_functions(view, open), title=title, direction=direction, legend=legend, theme=theme)
    data = text.encode() if format == "dot" else layout(text, format, timeout=timeout)
    file.write_bytes(data)
    return str(path)
