"""`render`: a graph into a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autograd_ff.compiler import CompiledStep
from autograd_ff.engine import TensorCore
from autograd_ff.nn.module import Module

from .drawing.appearance import ColorBy, measure_to_show
from .drawing.dot import to_dot
from .drawing.layout import FORMATS, LayoutError, layout
from .drawing.style import LIGHT, Theme
from .errors import PictureError, here
from .folding.fold import Selection
from .folding.simplify import READABLE, READABLE_PLAN, simplify
from .graph.view import GraphView
from .tracing.targets import required
from .tracing.walk import trace_from

__all__ = ["SUFFIXES", "render"]

_MOST = 3000  # nodes that a layout engine places in bearable time; a person is lost long before


def render(
    target: Any,
    *inputs: Any,
    path: str | os.PathLike[str] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    names: Any = None,
    backward: bool | str = False,
    title: str = "",
    caption: str = "",
    depth: int | None = None,
    open: Selection = False,
    fold: Selection = False,
    hide: str | Collection[str] = (),
    repeats: bool | None = None,
    chains: bool | None = None,
    limit: int | None = None,
    direction: str = "TB",
    legend: bool = True,
    theme: Theme | str = LIGHT,
    color_by: ColorBy = None,
    timeout: float = 60.0,
) -> str:
    """Draw the graph of a computation into a file; the suffix says which kind.

    ``render(loss, "graph.png")`` draws what was recorded while a tensor was computed;
    ``render(model, x, "graph.svg")`` runs a module (or a function) once on ``x`` and draws all that it does. A small
    graph is drawn in full, a large one folded until it can be read; `simplify` says how, and ``depth``, ``open``,
    ``fold``, ``hide``, ``repeats``, ``chains`` and ``limit`` are its options.

    Args:
        target: a Tensor, several of them, a module, a function of tensors, or a `GraphView`; a compiled step, or its
            plan, which is drawn with the buffers that its results lie in.
        inputs: what a module or function is called with; then the path, unless ``path=`` is given.
        path: where to write: pictures ``.png``, ``.svg``, ``.pdf``; a page to explore, ``.html``; texts ``.dot``,
            ``.mmd`` (Mermaid) and ``.md`` (Mermaid between fences); ``.json`` is the whole graph as data, which
            `GraphView.load` reads. Only the pictures need a layout engine.
        kwargs: keyword arguments for the module or function.
        names: what to call tensors, as in `trace`; by default the caller's variables are looked up.
        backward: draw the backward pass too, or ``"only"`` that, as in `trace`.
        title: stands above the picture.
        caption: stands below it.
        depth: how many levels of modules are open; by default as many as fit.
        open: modules, composite ops and derivative rules that show their inside: qualified names
            (``"encoder.layers.0"``), patterns (``"encoder.*"``), types (``"Linear"``), classes, a predicate on
            `visualize.Module`, or several of these; True for all.
        fold: modules that are one node, chosen in the same ways.
        hide: kinds of nodes, and names of operations, to leave out: ``("constant", "view")``.
        repeats: equal neighbours become one, "Block ×12"; by default in large graphs.
        chains: elementwise chains become one node; by default in large graphs.
        limit: how many nodes are too many; by default 40, and 80 of a plan.
        direction: where data flow: ``"TB"``, ``"LR"``, ``"BT"`` or ``"RL"``.
        legend: name the kinds of nodes that occur, below the picture.
        theme: ``"light"``, ``"dark"`` or a `Theme`: colours, shapes and font.
        color_by: a measurement that colours the nodes of a view that `measure` made: ``"forward"``, ``"gradient norm"``.
            By default the time of the forward pass, or zeros or norms where no times were taken; False or ``"none"``
            shows no measurement.
        timeout: seconds for the layout.

    Returns:
        The path.

    Raises:
        PictureError: (a ValueError and TypeError) no path, a suffix that is none of these, a folder that does not exist, a
            module without inputs, a tensor without a graph, a measurement that was not taken, or options that mean
            nothing.
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
            raise PictureError(f'give the path last: render(loss, "graph.png"), render(model, x, "graph.svg"){here()}')
        *rest, path = inputs
        inputs = tuple(rest)
    file = Path(path)
    write = SUFFIXES.get(file.suffix.lower())
    if write is None:
        *others, last = SUFFIXES
        raise PictureError(f"{file.name!r} should end in {', '.join(others)} or {last}{here()}")
    if not file.parent.is_dir():
        raise PictureError(f"there is no folder {str(file.parent)!r} to write {file.name!r} into{here()}")
    if not inputs and not kwargs:
        _check_called_without(target, file.name)
    view: GraphView = trace_from(sys._getframe(1), target, inputs, kwargs, names, backward)
    if limit is None:
        limit = READABLE_PLAN if any(node.memory for node in view.nodes) else READABLE
    folding: dict[str, Any] = {
        "depth": depth, "open": open, "fold": fold, "hide": hide, "repeats": repeats, "chains": chains, "limit": limit
    }  # fmt: skip
    looks: dict[str, Any] = {"title": title, "direction": direction, "theme": theme}
    more: dict[str, Any] = {"caption": caption, "legend": legend, "color_by": measure_to_show(view, color_by)}
    data = write(_Task(view, folding, looks, more, file.suffix.lower(), timeout))
    file.write_bytes(data)
    return str(path)


def _check_called_without(target: Any, file: str) -> None:
    """A module or function that cannot be called without inputs must be given them."""
    if isinstance(target, (TensorCore, GraphView, CompiledStep)) or not callable(target):
        return
    needed = required(target.forward if isinstance(target, Module) else target)
    if not needed:
        return
    name = type(target).__name__ if isinstance(target, Module) else getattr(target, "__name__", repr(target))
    alone = (
        f'\n  Its modules and parameters alone need no inputs: render(visualize.module_tree(model), "{file}").'
        if isinstance(target, Module)
        else ""
    )
    what = "model" if isinstance(target, Module) else "function"
    raise PictureError(
        f"{name} is called with {', '.join(needed)}: give the inputs before the path, "
        f'render({what}, {", ".join(needed)}, "{file}"){here()}{alone}'
    )


@dataclass
class _Task:
    """What is to be written, and how."""

    view: GraphView
    folding: dict[str, Any]
    looks: dict[str, Any]  # what every picture knows
    more: dict[str, Any]  # what only those with a caption and a legend know
    suffix: str
    timeout: float

    def simplified(self) -> GraphView:
        return simplify(self.view, **self.folding)

    def dot(self, view: GraphView) -> str:
        # What was chosen may have been hidden or folded away since; then there is nothing to colour.
        name = self.more["color_by"]
        there = any(node.measure(name) is not None for node in view.nodes)
        return to_dot(view, **self.looks, **{**self.more, "color_by": name if there else False})


def _picture(task: _Task) -> bytes:
    view = task.simplified()
    if len(view.nodes) > _MOST:
        raise LayoutError(
            f"a picture of {len(view.nodes):,} nodes is more than can be laid out, or read; {_MOST:,} are the most."
            f"{here()}\n"
            "  Fold it: leave out depth= and open=, or give a smaller depth=. Or write .html, .dot or .json, which have "
            "no such limit."
        )
    return layout(task.dot(view), task.suffix[1:], timeout=task.timeout)


def _dot(task: _Task) -> bytes:
    return task.dot(task.simplified()).encode()


def _json(task: _Task) -> bytes:
    chosen = any(task.folding[name] not in (None, False, ()) for name in task.folding if name != "limit")
    return (task.simplified() if chosen else task.view).to_json().encode()


def _mermaid(task: _Task) -> bytes:
    from .drawing.mermaid import fenced, to_mermaid

    text = to_mermaid(task.simplified(), **task.looks)
    return (fenced(text) if task.suffix == ".md" else text).encode()


def _html(task: _Task) -> bytes:
    from .page.document import to_html

    return to_html(task.view, **task.folding, **task.looks, **task.more).encode()


# What writes which kind of file.
SUFFIXES: dict[str, Callable[[_Task], bytes]] = {
    **dict.fromkeys((f".{format}" for format in FORMATS), _picture),
    ".html": _html,
    ".dot": _dot,
    ".mmd": _mermaid,
    ".md": _mermaid,
    ".json": _json,
}
