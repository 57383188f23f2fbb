"""DOT text of a `GraphView`: the same view gives the same bytes, in every process."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from .graph import KINDS, Edge, GraphView, Module, Node
from .labels import module_label, node_note, node_title, source_text, tooltip, value_text
from .style import LIGHT, Style, Theme

__all__ = ["to_dot"]

_LEGEND_ROW = 6  # entries side by side
_DIRECTIONS = ("TB", "LR", "BT", "RL")
# What neither XML nor a DOT file may hold.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
# Graphviz puts a name in place of these, however they are quoted; an invisible space keeps the two characters apart.
_OWN_NAME = re.compile(r"\\(?=[NGETHL])")


def to_dot(
    view: GraphView, *, title: str = "", direction: str = "TB", legend: bool = True, theme: Theme = LIGHT
) -> str:
    """The picture of a view in the DOT language, drawn as it is: fold first what shall be folded.

    Args:
        view: the graph.
        title: stands above the picture.
        direction: where data flow: ``"TB"`` (down), ``"LR"`` (to the right), ``"BT"`` or ``"RL"``.
        legend: name the kinds of nodes that occur, below the picture.
        theme: colours, shapes and font.

    >>> text = to_dot(GraphView((Node(0, "input", names=("x",)),)))
    >>> text.startswith("digraph"), "label=<<B>x</B>>" in text
    (True, True)
    """
    if direction not in _DIRECTIONS:
        raise ValueError(f"direction is one of {', '.join(_DIRECTIONS)}, not {direction!r}")
    return "\n".join(_Writer(view, theme).lines(title, direction, legend)) + "\n"


class _Writer:
    def __init__(self, view: GraphView, theme: Theme) -> None:
        self.view = view
        self.theme = theme
        self.incoming: list[list[Edge]] = [[] for _ in view.nodes]
        self.outgoing: list[list[Edge]] = [[] for _ in view.nodes]
        for edge in view.edges:
            self.incoming[edge.target].append(edge)
            self.outgoing[edge.source].append(edge)
        self.children: dict[int | None, list[Module]] = {}
        self.inside: dict[int | None, list[Node]] = {}
        sizes = [0] * len(view.modules)
        for node in view.nodes:
            self.inside.setdefault(node.module, []).append(node)
            if node.module is not None:
                sizes[node.module] += 1
        for module in reversed(view.modules):  # children before parents
            if module.parent is not None:
                sizes[module.parent] += sizes[module.id]
        for module in view.modules:
            self.children.setdefault(module.parent, []).append(module)
        self.sizes = sizes
        self.beside = self._beside()

    def _box(self, module: int | None) -> int | None:
        """The innermost module around that is drawn as a box."""
        while module is not None and self.sizes[module] < 2:
            module = self.view.modules[module].parent
        return module

    def _beside(self) -> dict[int, list[Edge]]:
        """For each node the arrays that stand at its sides, so that the data flow past them in a straight line.

        These are parameters and constants that only this node reads, in one box with it.
        """
        readers: dict[int, list[Edge]] = {}
        for edge in self.view.edges:
            if not self.view.nodes[edge.source].op:
                readers.setdefault(edge.source, []).append(edge)
        beside: dict[int, list[Edge]] = {}
        for source, edges in readers.items():
            forward = [edge for edge in edges if not self.view.nodes[edge.target].backward]
            if self.view.nodes[source].kind in ("parameter", "buffer", "constant") and len(forward) == 1:
                reader = self.view.nodes[forward[0].target]
                if self._box(self.view.nodes[source].module) == self._box(reader.module):
                    beside.setdefault(reader.id, []).append(forward[0])
        for target, edges in beside.items():
            # At least one array must come from above, or the node has no place in the flow of its own.
            if len({edge.source for edge in self.incoming[target]}) == len(edges):
                constants = [edge for edge in edges if self.view.nodes[edge.source].kind == "constant"]
                edges[:] = [edge for edge in edges if edge not in constants] if constants else []
            if len(edges) > 4:
                edges.clear()
        for edges in beside.values():  # left and right in turn; what gradients read too comes to the right
            edges.sort(key=lambda edge: len(readers[edge.source]))
        return {target: edges for target, edges in beside.items() if edges}

    def lines(self, title: str, direction: str, legend: bool) -> Iterator[str]:
        theme, sizes = self.theme, self.theme.sizes
        yield f"digraph {_quoted(title or self.view.name or 'graph')} {{"
        yield (
            f'  graph [rankdir={direction} bgcolor="{theme.background}" fontname="{theme.font}" '
            f'fontcolor="{theme.text}" nodesep=0.28 ranksep=0.38 pad=0.2 splines=true labelloc=b tooltip=" "];'
        )
        yield (f'  node [fontname="{theme.font}" fontsize={sizes["node"]:g} height=0.4 width=0.5];')
        yield (
            f'  edge [fontname="{theme.font}" fontsize={sizes["edge"]:g} fontcolor="{theme.note}" '
            f'color="{theme.edge}" arrowsize=0.6];'
        )
        if legend and self.view.nodes:
            yield f"  label=<{self.legend()}>;"
        if title:
            yield "  subgraph cluster_title {"
            yield (
                f"    label=<<B>{_html(title)}</B>>; labelloc=t; fontsize={sizes['title']:g}; peripheries=0; margin=14;"
            )
        yield from self.modules()
        if title:
            yield "  }"
        for number, edge in enumerate(self.view.edges):
            yield self.edge(number, edge)
        yield "}"

    def modules(self) -> Iterator[str]:
        """Nodes inside the boxes of their modules."""
        stack: list[tuple[Module | None, int, str | None]] = [(None, 0, None)]
        while stack:
            module, depth, closing = stack.pop()
            indent = "  " * (depth + 1)
            if closing is not None:
                yield closing
                continue
            if module is None or self.sizes[module.id] < 2:  # a box around one node says no more than its label can
                inner = depth
            else:
                yield from self.box(module, depth)
                stack.append((None, depth, f"{indent}}}"))
                inner = depth + 1
            key = None if module is None else module.id
            for node in self.inside.get(key, ()):
                yield f"{'  ' * (inner + 1)}{self.node(node)}"
            for node in self.inside.get(key, ()):
                if node.id in self.beside:
                    row = " ".join(f"n{edge.source};" for edge in self.beside[node.id])
                    yield f"{'  ' * (inner + 1)}{{ rank=same; n{node.id}; {row} }}"
            stack += [(child, inner, None) for child in reversed(self.children.get(key, []))]

    def box(self, module: Module, depth: int) -> Iterator[str]:
        theme, indent = self.theme, "  " * (depth + 1)
        fill, line = theme.module_fills[min(depth, len(theme.module_fills) - 1)], theme.module_line
        if module.backward:
            fill, line = theme.module_backward_fill, theme.module_backward_line
        style = "rounded,filled" if module.kind == "module" else "rounded,filled,dashed"
        yield f"{indent}subgraph cluster_m{module.id} {{"
        yield (
            f'{indent}  id="m{module.id}"; class="{module.kind}"; label=<<B>{_html(module_label(module))}</B>>; '
            f"tooltip={_quoted(_module_tooltip(module))}; labeljust=l; labelloc=t; fontsize={theme.sizes['module']:g}; "
            f'fontcolor="{theme.note}"; style="{style}"; fillcolor="{fill}"; color="{line}"; margin=10; peripheries=1;'
        )

    def style(self, node: Node) -> Style:
        if node.backward and node.kind in ("op", "kernel"):
            return self.theme.gradient
        return self.theme.kinds[node.kind]

    def node(self, node: Node) -> str:
        title = node_title(node, self.incoming[node.id], self.outgoing[node.id])
        style, sizes = self.style(node), self.theme.sizes
        around = [self.view.modules[module] for module in self.view.path(node.module)]
        hint = tooltip(node, title, around)
        alone = next((one for one in around if self.sizes[one.id] == 1 and one.kind == "module"), None)
        title = f"<B>{_html(title if alone is None else module_label(alone))}</B>"
        if node.op and node.names:
            title = f"<I>{_html(node.names[0]) or '_'}</I> = {title}"
        lines = [title]
        note = node_note(node)
        if note and not (node.kind == "constant" and note in title):
            lines.append(f'<FONT POINT-SIZE="{sizes["note"]:g}" COLOR="{style.note}">{_html(note)}</FONT>')
        attributes = [
            f'id="n{node.id}"',
            f'class="{"gradient" if style is self.theme.gradient else node.kind}"',
            f"label=<{_table(lines)}>",
            f"tooltip={_quoted(hint)}",
            f'shape={style.shape} style="{style.style}" fillcolor="{style.fill}" color="{style.line}"',
            f'fontcolor="{style.text}" penwidth={style.width:g} margin="{style.margin}"',
        ]
        return f"n{node.id} [{' '.join(attributes)}];"

    def edge(self, number: int, edge: Edge) -> str:
        theme = self.theme
        source, target = self.view.nodes[edge.source], self.view.nodes[edge.target]
        attributes = [f'id="e{number}"']
        made = source.outputs[edge.output] if edge.output < len(source.outputs) else None
        value = edge.value or made
        if value is not None:
            attributes.append(
                f"tooltip={_quoted(f'{edge.name}: {value_text(value)}' if edge.name else value_text(value))}"
            )
            if len(source.outputs) > 1 or (made is not None and value != made):
                attributes.append(f"label={_quoted(f' {value_text(value)}')}")
        if source.kind in ("parameter", "buffer", "constant"):
            attributes.append(f'color="{theme.edge_untracked if source.kind == "constant" else theme.edge_parameter}"')
        elif source.backward:
            attributes.append(f'color="{theme.edge_gradient}"')
        elif not source.op or target.kind == "output":
            attributes.append("weight=2")
        else:
            attributes.append("weight=3 penwidth=1.2")
        if edge in self.beside.get(edge.target, ())[1::2]:  # to the right of its reader
            return f"  n{edge.target} -> n{edge.source} [{' '.join(attributes)} dir=back];"
        return f"  n{edge.source} -> n{edge.target} [{' '.join(attributes)}];"

    def legend(self) -> str:
        size = self.theme.sizes["legend"]
        entries: dict[str, Style] = {}
        for kind, name in KINDS.items():
            if any(node.kind == kind and self.style(node) is not self.theme.gradient for node in self.view.nodes):
                entries[name] = self.theme.kinds[kind]
        if any(self.style(node) is self.theme.gradient for node in self.view.nodes):
            entries["gradient"] = self.theme.gradient
        cells = [
            f'<TD FIXEDSIZE="TRUE" WIDTH="16" HEIGHT="10" BORDER="1" COLOR="{style.line}" BGCOLOR="{style.fill}"'
            f"{_cell_style(style)}></TD>"
            f'<TD BORDER="0" ALIGN="LEFT"><FONT POINT-SIZE="{size:g}" COLOR="{self.theme.note}">{name}  </FONT></TD>'
            for name, style in entries.items()
        ]
        starts = range(0, len(cells), _LEGEND_ROW)
        rows = [f"<TR>{''.join(cells[start : start + _LEGEND_ROW])}</TR>" for start in starts]
        return (
            '<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="5" CELLPADDING="0"><TR><TD HEIGHT="8"></TD></TR>'
            f"{''.join(rows)}</TABLE>"
        )


def _table(lines: list[str]) -> str:
    """Lines of different sizes with air between them."""
    if len(lines) == 1:
        return lines[0]
    rows = "".join(f"<TR><TD>{line}</TD></TR>" for line in lines)
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0">{rows}</TABLE>'


def _cell_style(style: Style) -> str:
    kept = [one for one in ("rounded", "dashed", "dotted") if one in style.style.split(",")]
    return f' STYLE="{",".join(kept)}"' if kept else ""


def _module_tooltip(module: Module) -> str:
    label = module_label(module)
    return label if module.source is None else f"{label}\n{source_text(module.source)}"


def _html(text: str) -> str:
    """Text inside an HTML-like label."""
    return html.escape(_shown(text), quote=True).replace("\n", "<BR/>")


def _quoted(text: str) -> str:
    """A DOT string that shows exactly this text."""
    text = _shown(text).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
    return '"' + text.replace("\r", "").replace("\n", "\\n") + '"'


def _shown(text: str) -> str:
    """Text without what no file may hold, and with Graphviz's own names (``\\N`` is the node's) broken up."""
    return _OWN_NAME.sub("\\\\\u200b", _FORBIDDEN.sub("\ufffd", text))
