"""What the nodes and edges of a view look like and say, whatever program draws them."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, replace

from ..errors import PictureError, here
from ..graph.view import MEASURES, Edge, GraphView, Module, Node, Value
from .labels import inside_text, mark_text, measure_text, module_label, node_note, node_title, repeated_title
from .nesting import Nesting
from .ramps import Ramp, Scale, text_on
from .style import MarkStyle, Style, Theme, marked, theme_of

__all__ = ["DIRECTIONS", "Appearance", "ColorBy", "Words", "check_direction", "measure_to_show"]

DIRECTIONS = ("TB", "LR", "BT", "RL")
_REMARK = 46  # characters of a line of a remark
_SAID_ON_EDGES = ("cut", "added", "removed", "changed")  # marks that say their symbol beside an edge


def check_direction(direction: str) -> None:
    """
    Raises:
        PictureError: (a ValueError) unknown.
    """
    if direction not in DIRECTIONS:
        raise PictureError(f"direction is one of {', '.join(DIRECTIONS)}, not {direction!r}{here()}")


# One of `MEASURES`; None or "" chooses by what the view carries; False or "none" is no measurement.
ColorBy = str | bool | None


def measure_to_show(view: GraphView, color_by: ColorBy = None) -> str:
    """The measurement that colours the nodes of a view, or "" for none.

    Where none is named, it is the time of the forward pass if that was taken; else the share of zeros if there are any;
    else the norm, or whatever the view carries.

    Raises:
        PictureError: (a ValueError) an unknown measurement, or one that no node of the view carries.

    >>> view = GraphView((Node(0, "op", "exp", measures=(("forward", 2e-6), ("zeros", 0.5))),))
    >>> [measure_to_show(view, choice) for choice in (None, "zeros", False)]
    ['forward', 'zeros', '']
    """
    if color_by is False or color_by == "none":
        return ""
    present = {name for node in view.nodes for name, _ in node.measures}
    if color_by is None or color_by == "":
        zeros = any(node.measure("zeros") for node in view.nodes)
        order = ("forward", *(("zeros", "norm") if zeros else ("norm", "zeros")), *MEASURES)
        return next((name for name in order if name in present), "")
    if not isinstance(color_by, str) or color_by not in MEASURES:
        raise PictureError(
            f"color_by is one of {', '.join(map(repr, MEASURES))}, or False for none of them, not {color_by!r}{here()}"
        )
    if color_by not in present:
        carried = f"only {', '.join(name for name in MEASURES if name in present)}" if present else "no measurements"
        raise PictureError(
            f"color_by={color_by!r}: this graph carries {carried}{here()}\n"
            "  Draw what a real run measured: "
            f'render(visualize.measure(model, x, loss=f), "graph.png", color_by={color_by!r}).'
        )
    return color_by


@dataclass(frozen=True)
class Words:
    """What a node's label says."""

    symbol: str  # of its mark
    variable: str  # name of the user's variable that holds what the operation made
    title: str
    notes: tuple[str, ...]  # what comes out, how much is inside
    measured: str
    remarks: tuple[str, ...]  # lines about the mark

    def lines(self) -> list[str]:
        """As plain lines of text.

        >>> Words("≠", "y", "exp", ("3 float32",), "", ("off by 2",)).lines()
        ['≠ y = exp', '3 float32', 'off by 2']
        """
        head = f"{self.variable} = {self.title}" if self.variable else self.title
        head = f"{self.symbol} {head}" if self.symbol else head
        return [*head.split("\n"), *self.notes, *([self.measured] if self.measured else []), *self.remarks]


class Appearance:
    """The looks of a view's nodes and edges under a theme.

    Args:
        view: the graph.
        theme: ``"light"``, ``"dark"`` or a `Theme`.
        color_by: one of `MEASURES`, which fills the nodes that have it.

    Raises:
        PictureError: (a ValueError) an unknown theme or measurement.

    >>> Appearance(GraphView((Node(0, "op", "exp", outputs=(Value((3,), "float32"),)),)), "dark").words(0).lines()
    ['exp', '3 float32']
    """

    def __init__(self, view: GraphView, theme: Theme | str, color_by: str = "") -> None:
        if color_by and color_by not in MEASURES:
            raise PictureError(f"color_by is one of {', '.join(map(repr, MEASURES))}, not {color_by!r}{here()}")
        self.view = view
        self.theme = theme_of(theme)
        self.color_by = color_by
        self.nesting = Nesting(view)
        self.incoming: list[list[Edge]] = [[] for _ in view.nodes]
        self.outgoing: list[list[Edge]] = [[] for _ in view.nodes]
        for edge in view.edges:
            self.incoming[edge.target].append(edge)
            self.outgoing[edge.source].append(edge)
        numbers = [number for node in view.nodes if (number := self.measured(node)) is not None]
        if color_by == "buffer" and numbers:
            numbers += [1.0, *(float(one) for node in view.nodes for one in _buffers(node))]  # all that labels name
        self.scale = _scale(numbers, color_by)

    @property
    def ramp(self) -> Ramp:
        """The colours of the measurement."""
        return self.theme.signed_ramp if self.scale.kind == "signed" else self.theme.ramp

    def measured(self, node: Node) -> float | None:
        """The measurement that fills a node."""
        return node.measure(self.color_by) if self.color_by else None

    def mark(self, one: Node | Edge) -> MarkStyle | None:
        """The looks of a mark."""
        return self.theme.marks.get(one.mark)

    def look(self, node: Node) -> Style:
        """A node's look: its kind's, then its measurement's, then its mark's."""
        _, style = self.theme.kind(node)
        number = self.measured(node)
        if number is not None:
            fill = self.ramp.at(self.scale.position(number))
            style = replace(style, fill=fill, text=text_on(fill), note=text_on(fill))
        mark = self.mark(node)
        return style if mark is None else marked(style, mark)

    def title(self, node: Node) -> str:
        """A node's name or operation."""
        return node_title(node, self.incoming[node.id], self.outgoing[node.id], within=self._within(node.module))

    def box_title(self, module: Module) -> str:
        """What stands above a module's box."""
        return module_label(module, self._within(module.parent) or "")

    def _within(self, module: int | None) -> str | None:
        """The name of the box that something stands in."""
        box = self.nesting.box(module)
        return None if box is None else self.view.modules[box].name

    def words(self, id: int) -> Words:
        """What a node's label says."""
        node = self.view.nodes[id]
        title, note, mark, number = self.title(node), node_note(node), self.mark(node), self.measured(node)
        alone = self.nesting.alone(node)
        if alone is not None:  # no box is drawn around one node: its label says what the box would
            title = repeated_title(self.box_title(alone), node) if node.count > 1 else self.box_title(alone)
        notes = [note] if note and not (node.kind == "constant" and note in title) else []
        if node.memory and number is not None and self.color_by == "buffer":
            measured = node.memory
        else:
            measured = "" if number is None else measure_text(self.color_by, number, MEASURES[self.color_by])
            notes += [node.memory] if node.memory else []
        inside = inside_text(node) if node.kind == "module" else ""
        return Words(
            symbol=mark.symbol if mark is not None else "",
            variable=(node.names[0] or "_") if node.op and node.names and node.kind != "module" else "",
            title=title,
            notes=(*notes, inside) if inside else tuple(notes),
            measured=measured,
            remarks=tuple(_balanced(mark_text(node))) if node.mark else (),
        )

    def value(self, edge: Edge) -> Value | None:
        """What an edge carries."""
        return edge.value or self.view.output(edge)

    def unclear(self, edge: Edge) -> bool:
        """Whether an edge must say what it carries, since the node that it comes from does not."""
        made = self.view.output(edge)
        if self.value(edge) is None:
            return False
        several = len(self.view.nodes[edge.source].outputs) > 1 and self.view.nodes[edge.target].kind != "output"
        return several or (made is not None and edge.value is not None and edge.value != made)

    def edge_symbol(self, edge: Edge) -> str:
        """What a mark says beside an edge."""
        mark = self.mark(edge)
        return mark.symbol if mark is not None and edge.mark in _SAID_ON_EDGES else ""

    def edge_width(self, edge: Edge) -> float:
        """How wide an edge is, by the bytes that it carries."""
        value = self.value(edge)
        width = self.theme.edge_width(0 if value is None else value.nbytes)
        return width if self.mark(edge) is None else width + 1.2


def _balanced(text: str) -> list[str]:
    """Text in as few lines as it needs, about equally long.

    >>> _balanced("log of 0 is -inf in element (0, 3), and in 31 others")
    ['log of 0 is -inf in element', '(0, 3), and in 31 others']
    """
    lines = textwrap.wrap(text, _REMARK)
    for width in range(max(map(len, lines), default=0) - 1, 0, -1) if len(lines) > 1 else ():
        narrower = textwrap.wrap(text, width)
        if len(narrower) > len(lines):
            break
        lines = narrower
    return lines


def _buffers(node: Node) -> list[str]:
    """The numbers of the buffers that a label names.

    >>> _buffers(Node(0, "op", memory="buffer 14, 4 B at 0x0")), _buffers(Node(0, "op", memory="buffers 1, 2, …, 12"))
    (['14'], ['1', '2', '12'])
    """
    several = re.findall(r"buffers ([\d, …–]+)", node.memory)
    return re.findall(r"buffer (\d+)", node.memory) + re.findall(r"\d+", " ".join(several))


def _scale(numbers: list[float], name: str) -> Scale:
    """Where the measured numbers of a view lie."""
    if name and MEASURES[name] == "share":
        return Scale.of(numbers, "share")
    signed = name.removeprefix("gradient ") in ("mean", "smallest", "largest", "buffer")
    return Scale.of(numbers, "signed" if signed else "log")
