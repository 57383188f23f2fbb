"""DOT text of a `GraphView`: the same view gives the same bytes, in every process."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from ..graph.view import Edge, GraphView, Module, Node
from .appearance import Appearance, ColorBy, check_direction, measure_to_show
from .arrangement import Arrangement
from .dot_text import attributes, html_text, quoted, table
from .labels import module_label, source_text, tooltip, value_text
from .legend import legend as legend_lines
from .style import LIGHT, Theme

__all__ = ["to_dot"]

_CAPTION = 84  # characters of a line of the caption
_TITLE, _LINE = 40, 30  # a box's title of more characters reaches to where edges enter the box: so many in a line
_WIDE = 1.2  # from this width on, an edge has a larger head
_SPACE = "&#160;"  # an SVG reader drops plain spaces at the ends of differently set pieces of text
_DEEPEST = 20  # steps of indentation
_FREE = "constraint=false weight=0"  # an edge that moves nothing


def to_dot(
    view: GraphView,
    *,
    title: str = "",
    caption: str = "",
    direction: str = "TB",
    legend: bool = True,
    theme: Theme | str = LIGHT,
    color_by: ColorBy = None,
) -> str:
    """The picture of a view in the DOT language, drawn as it is: fold first what shall be folded.

    The wider an edge, the more bytes its array has. A marked node (a wrong gradient, the first NaN, what a diff found)
    stands out by its fill, its outline and a symbol before its name.

    Args:
        view: the graph.
        title: stands above the picture.
        caption: stands below it.
        direction: where data flow: ``"TB"`` (down), ``"LR"`` (to the right), ``"BT"`` or ``"RL"``.
        legend: show what the kinds of nodes that occur look like, below the picture (beside it where data flow to the
            side).
        theme: colours, shapes and font: ``"light"``, ``"dark"`` or a `Theme`.
        color_by: a measurement (one of ``visualize.graph.view.MEASURES``, such as ``"forward"`` for the time) that fills the
            nodes and stands in their labels: times, bytes and norms on a logarithmic scale, shares from 0 to 1. By
            default, of a view that carries measurements, ``"forward"``, or ``"zeros"`` or ``"norm"`` where no times were
            taken; False or ``"none"`` shows none.

    Raises:
        PictureError: (a ValueError) an unknown direction, theme or measurement, or one that was not taken.

    >>> text = to_dot(GraphView((Node(0, "input", names=("x",)),)))
    >>> text.startswith("digraph"), "label=<<B>x</B>>" in text
    (True, True)
    """
    check_direction(direction)
    return (
        "\n".join(_Writer(view, theme, measure_to_show(view, color_by)).lines(title, caption, direction, legend)) + "\n"
    )


class _Writer:
    def __init__(self, view: GraphView, theme: Theme | str, color_by: str) -> None:
        self.view = view
        self.looks = Appearance(view, theme, color_by)
        self.places = Arrangement(view, self.looks.nesting)
        self.theme = self.looks.theme

    def lines(self, title: str, caption: str, direction: str, legend: bool) -> Iterator[str]:
        theme, sizes = self.theme, self.theme.sizes
        across = " newrank=true" if self.places.gradients else ""  # nodes of different boxes stand in one row
        yield f"digraph {quoted(title or self.view.name or 'graph')} {{"
        yield (
            f'  graph [rankdir={direction} bgcolor="{theme.background}" fontname="{theme.font}" '
            f'fontcolor="{theme.text}" nodesep=0.28 ranksep=0.38 pad=0.2 splines=true labelloc=b tooltip=" "{across}];'
        )
        yield f'  node [fontname="{theme.font}" fontsize={sizes["node"]:g} height=0.4 width=0.5];'
        yield (
            f'  edge [fontname="{theme.font}" fontsize={sizes["edge"]:g} fontcolor="{theme.note}" '
            f'color="{theme.edge}" arrowsize=0.6];'
        )
        if caption:
            lines = [line for part in caption.splitlines() for line in textwrap.wrap(part, _CAPTION) or [""]]
            yield (
                f'  label=<<FONT POINT-SIZE="{sizes["caption"]:g}" COLOR="{theme.note}">'
                f"<BR/>{'<BR/>'.join(map(html_text, lines))}</FONT>>;"
            )
        if title:
            heading = f"<B>{html_text(title)}</B>"
            yield "  subgraph cluster_title {"
            yield f"    label=<{heading}>; labelloc=t; fontsize={sizes['title']:g}; peripheries=0; margin=14;"
        yield from self.modules()
        if title:
            yield "  }"
        for value, gradients in self.places.gradients.items():
            yield f"  {{ rank=same; n{value}; {' '.join(f'n{gradient};' for gradient in gradients)} }}"
        for number, edge in enumerate(self.view.edges):
            yield self.edge(number, edge)
        if legend and self.view.nodes:
            yield from legend_lines(self.looks, self.places, direction)
        yield "}"

    def modules(self) -> Iterator[str]:
        """Nodes inside the boxes of their modules."""
        for one, depth in self.looks.nesting.walk():
            indent = "  " * min(depth + 1, _DEEPEST)
            if one is None:
                yield f"{indent}}}"
            elif isinstance(one, Module):
                yield from self.box(one, depth)
            else:
                yield f"{indent}{self.node(one)}"
                if one.id in self.places.beside:
                    sides = " ".join(f"n{edge.source};" for edge in self.places.beside[one.id])
                    yield f"{indent}{{ rank=same; n{one.id}; {sides} }}"

    def box(self, module: Module, depth: int) -> Iterator[str]:
        theme, indent = self.theme, "  " * min(depth + 1, _DEEPEST)
        fill, line = theme.box(depth, module.backward)
        style = "rounded,filled" if module.kind in ("module", "phase") else "rounded,filled,dashed"
        lines = [self.looks.box_title(module)]
        if len(lines[0]) > _TITLE:
            lines = textwrap.wrap(lines[0], _LINE, break_long_words=False, break_on_hyphens=False)
        end = '<BR ALIGN="LEFT"/>' if len(lines) > 1 else ""  # it aligns the line before it
        title = "".join(html_text(line) + end for line in lines)
        yield f"{indent}subgraph cluster_m{module.id} {{"
        yield (
            f'{indent}  id="m{module.id}"; class="{module.kind}"; label=<<B>{title}</B>>; '
            f"tooltip={quoted(_module_tooltip(module))}; labeljust=l; labelloc=t; fontsize={theme.sizes['module']:g}; "
            f'fontcolor="{theme.note}"; style="{style}"; fillcolor="{fill}"; color="{line}"; margin=10; '
            f"peripheries=1;{' penwidth=2.2;' if module.count > 1 else ''}"
        )

    def node(self, node: Node) -> str:
        words, style, size = self.looks.words(node.id), self.looks.look(node), self.theme.sizes["note"]
        head = f"<B>{html_text(words.title)}</B>"
        if words.variable:
            head = f"<I>{html_text(words.variable)}</I>{_SPACE}={_SPACE}{head}"
        if words.symbol:
            head = f"<B>{html_text(words.symbol)}{_SPACE}</B>{head}"
        lines = [head]
        lines += [f'<FONT POINT-SIZE="{size:g}" COLOR="{style.note}">{html_text(one)}</FONT>' for one in words.notes]
        if words.measured:
            lines.append(f'<FONT POINT-SIZE="{size + 0.5:g}"><B>{html_text(words.measured)}</B></FONT>')
        lines += [f'<FONT POINT-SIZE="{size + 0.5:g}"><I>{html_text(one)}</I></FONT>' for one in words.remarks]
        kind, _ = self.theme.kind(node)
        around = [] if node.module is None else [self.view.modules[node.module]]
        return (
            f'n{node.id} [id="n{node.id}" class="{f"{kind} {node.mark}" if node.mark else kind}" '
            f"label=<{table(lines)}> tooltip={quoted(tooltip(node, words.title, around))} "
            f"{attributes(style)}];"
        )

    def edge(self, number: int, edge: Edge) -> str:
        source, target = self.view.nodes[edge.source], self.view.nodes[edge.target]
        value, mark, saved = self.looks.value(edge), self.looks.mark(edge), self.places.saved(edge)
        settings = [f'id="e{number}"']
        if value is not None:
            text = value_text(value)
            settings.append(f"tooltip={quoted(f'{edge.name}: {text}' if edge.name else text)}")
        said = [self.looks.edge_symbol(edge)]
        if value is not None and not saved and self.looks.unclear(edge):
            said.append(value_text(value))
        if any(said):
            settings.append(f"label={quoted(' ' + ' '.join(filter(None, said)))}")
        color = self.theme.edge_color(edge, source)
        if mark is not None:
            settings.append(f'class="{edge.mark}" fontcolor="{color}"')
        if color != self.theme.edge:
            settings.append(f'color="{color}"')
        if (saved and mark is None) or (mark is not None and mark.dashed):
            settings.append("style=dashed")
        width = self.looks.edge_width(edge)
        settings.append(f"penwidth={width:.2f}")
        if width > _WIDE:  # a head in proportion
            settings.append(f"arrowsize={0.6 + 0.09 * (width - _WIDE):.2f}")
        if saved:
            settings.append("weight=0" if self.places.level(edge) else _FREE)
        elif source.kind not in ("parameter", "buffer", "constant") and not source.backward:
            settings.append(f"weight={3 if source.op and target.kind != 'output' else 2}")
        if self.places.turned(edge):
            return f"  n{edge.target} -> n{edge.source} [{' '.join(settings)} dir=back];"
        return f"  n{edge.source} -> n{edge.target} [{' '.join(settings)}];"


def _module_tooltip(module: Module) -> str:
    label = module_label(module)
    return label if module.source is None else f"{label}\n{source_text(module.source)}"
