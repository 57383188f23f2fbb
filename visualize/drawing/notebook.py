"""What a notebook shows of a tensor, a module or a view: its picture, where it has one, beside its text.

The picture is as wide as it is, or as the cell where that is narrower. Whatever keeps it from being drawn (no layout
engine, a graph too large to read, a layout that takes too long), the text is there.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any

from autograd_ff.engine import Leaf, TensorCore
from autograd_ff.nn.module import Module

from ..folding.simplify import simplify
from ..graph.view import GraphView
from ..tracing.names import telling
from ..tracing.walk import trace_from
from .dot import to_dot
from .layout import LayoutError, layout, scalable
from .mermaid import fenced, to_mermaid
from .module_tree import module_tree

__all__ = ["bundle", "picture"]

_SECONDS = 10.0
_MOST = 300  # nodes of a picture in a cell
_MERMAID_EDGES = 200  # of a picture that the browser lays out
_CAPTION = 84  # characters of a value that stands below its graph


def bundle(
    target: Any, include: Collection[str] | None = None, exclude: Collection[str] | None = None
) -> dict[str, str]:
    """What ``_repr_mimebundle_`` returns: the text, and an SVG picture of the graph.

    A tensor shows the graph that it was computed by, a module the tree of its parts, a view itself. Tensors without a
    graph have no picture. Where no layout engine is installed, the picture is Mermaid in Markdown, which JupyterLab
    draws.

    Args:
        target: a Tensor, a module or a `GraphView`.
        include: the MIME types that are asked for; None for all.
        exclude: those that are not wanted.

    >>> import autograd_ff as af
    >>> sorted(bundle(af.ones(2)))
    ['text/plain']
    """
    wanted = {"text/plain", "text/markdown", "image/svg+xml"} - set(exclude or ())
    if include is not None:
        wanted &= set(include)
    found = {"text/plain": _text(target)}
    if wanted & {"image/svg+xml", "text/markdown"} and _has_picture(target):
        try:
            found.update(_drawn(target, found["text/plain"]))
        except Exception as problem:  # a value that cannot be drawn can still be read
            found["text/plain"] += f"\n(no picture: {str(problem).splitlines()[0]})"
    return {kind: text for kind, text in found.items() if kind in wanted}


def picture(view: GraphView, *, direction: str = "TB", caption: str = "", timeout: float = _SECONDS) -> str:
    """A view as SVG that fits into a page: no wider than the place where it stands."""
    dot = to_dot(view, direction=direction, caption=caption, legend=False)
    return scalable(layout(dot, "svg", timeout=timeout))


def _text(target: Any) -> str:
    if not isinstance(target, GraphView):
        return repr(target)
    name = f" of {target.name}" if target.name else ""
    return f"GraphView{name}: {len(target.nodes):,} nodes, {len(target.edges):,} edges, {len(target.modules):,} modules"


def _has_picture(target: Any) -> bool:
    if isinstance(target, TensorCore):
        return target.node is not None and not isinstance(target.node, Leaf)
    return isinstance(target, Module) or (isinstance(target, GraphView) and bool(target.nodes))


def _drawn(target: Any, text: str) -> dict[str, str]:
    direction, caption = "TB", ""
    if isinstance(target, Module):
        view, direction = module_tree(target), "LR"
    elif isinstance(target, GraphView):
        view = simplify(target)
    else:
        view = simplify(trace_from(None, target, (), None, _notebook_variables()))
        caption = text if len(text) <= _CAPTION and "\n" not in text else ""
    if len(view.nodes) > _MOST:
        raise ValueError(f"{len(view.nodes):,} nodes are too many for a cell; visualize.render writes them into a file")
    try:
        return {"image/svg+xml": picture(view, direction=direction, caption=caption)}
    except LayoutError:
        if len(view.edges) > _MERMAID_EDGES:
            raise
        return {"text/markdown": fenced(to_mermaid(view, direction=direction))}


def _notebook_variables() -> dict[str, Any]:
    """The variables of the notebook that hold tensors, arrays or modules."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return telling(shell.user_ns if shell is not None else vars(sys.modules["__main__"]))
