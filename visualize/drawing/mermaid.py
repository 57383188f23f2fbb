"""Mermaid text of a `GraphView`: a flowchart that GitHub, GitLab and many editors draw in place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from ..graph.view import Edge, GraphView, Module
from .appearance import Appearance, check_direction
from .labels import printable, value_text
from .style import LIGHT, Style, Theme

__all__ = ["fenced", "to_mermaid"]

# Brackets around a label, by the shape that Graphviz draws.
_BRACKETS = {
    "ellipse": ("([", "])"),
    "cylinder": ("[(", ")]"),
    "box": ("[", "]"),
    "rounded": ("(", ")"),
    "note": (">", "]"),
    "box3d": ("[[", "]]"),
    "octagon": ("[/", "\\]"),
    "hexagon": ("{{", "}}"),
}
_DEEPEST = 20  # steps of indentation
_DASHES = {"dashed": "5 3", "dotted": "2 3"}
# What could end a label or mean something in it (quotes, entities, tags, code, directives) is written as an entity, and
# so is what Markdown would make a list of.
_SPECIAL = re.compile(r'["#<>&`\\%]|(?m:^\d+\.(?=\s)|^[-+*](?=\s))')
# These mean something even after that: line breaks, icons, formulas, Mermaid's own statements. An invisible space
# keeps their characters apart.
_SPLIT = re.compile(
    r"(?<=\\)(?=n)|(?<=\bfa:)|(?<=\bfa[bdklrs]:)|(?<=\$)(?=\$)|(?<=\bs)(?=tyle\b)|(?<=\bclass)(?=Def\b)"
)


def to_mermaid(view: GraphView, *, title: str = "", direction: str = "TB", theme: Theme | str = LIGHT) -> str:
    """The picture of a view as a Mermaid flowchart, to be pasted into a Markdown file between ```` ```mermaid ```` fences.

    GitHub draws up to 500 edges; fold larger graphs first.

    Args:
        view: the graph.
        title: stands above the picture.
        direction: where data flow: ``"TB"`` (down), ``"LR"`` (to the right), ``"BT"`` or ``"RL"``.
        theme: colours: ``"light"``, ``"dark"`` or a `Theme`.

    Raises:
        PictureError: (a ValueError) an unknown direction or theme.

    >>> from visualize import Edge, GraphView, Node
    >>> print(to_mermaid(GraphView((Node(0, "input", names=("x",)), Node(1, "op", "exp")), (Edge(0, 1),))))
    flowchart TB
      n0(["x"]):::input
      n1("exp"):::op
      n0 --> n1
      classDef input fill:#FFEDC7,stroke:#B87A00,color:#1A1A1A,stroke-width:1px
      classDef op fill:#FFFFFF,stroke:#4A4A4A,color:#1A1A1A,stroke-width:1px
      linkStyle 0 stroke:#3C4043,stroke-width:0.8px
    <BLANKLINE>
    """
    check_direction(direction)
    return "\n".join(_lines(Appearance(view, theme), title, direction)) + "\n"


def fenced(mermaid: str) -> str:
    """A Mermaid text as a piece of Markdown.

    >>> print(fenced("flowchart TB"))
    ```mermaid
    flowchart TB
    ```
    <BLANKLINE>
    """
    return f"```mermaid\n{mermaid.rstrip()}\n```\n"


def _lines(looks: Appearance, title: str, direction: str) -> Iterator[str]:
    theme = looks.theme
    if title:
        yield from ("---", f"title: {json.dumps(printable(title), ensure_ascii=False)}", "---")
    yield f"flowchart {direction}"
    classes: dict[str, str] = {}
    boxes: list[str] = []
    for one, depth in looks.nesting.walk():
        indent = "  " * min(depth + 1, _DEEPEST)
        if one is None:
            yield f"{indent}end"
        elif isinstance(one, Module):
            yield f'{indent}subgraph m{one.id}["{_escaped(looks.box_title(one))}"]'
            fill, line = theme.box(depth, one.backward)
            boxes.append(f"  style m{one.id} fill:{fill},stroke:{line},color:{theme.note}")
        else:
            style = looks.look(one)
            kind, _ = theme.kind(one)
            name = f"{kind}_{one.mark}" if looks.mark(one) is not None else kind
            classes[name] = _class(style)
            left, right = _brackets(style)
            text = "<br/>".join(map(_escaped, looks.words(one.id).lines()))
            yield f'{indent}n{one.id}{left}"{text}"{right}:::{name}'
    links: dict[str, list[int]] = {}
    for number, edge in enumerate(looks.view.edges):
        value = looks.value(edge)
        said = [looks.edge_symbol(edge), value_text(value) if value is not None and looks.unclear(edge) else ""]
        label = f'|"{_escaped(" ".join(filter(None, said)))}"|' if any(said) else ""
        yield f"  n{edge.source} -->{label} n{edge.target}"
        links.setdefault(_link(looks, edge), []).append(number)
    yield from (f"  classDef {name} {style}" for name, style in classes.items())
    yield from boxes
    for link, numbers in links.items():
        yield f"  linkStyle {','.join(map(str, numbers))} {link}"


def _class(style: Style) -> str:
    dash = next((dash for one, dash in _DASHES.items() if one in style.style.split(",")), "")
    drawn = f"fill:{style.fill},stroke:{style.line},color:{style.text},stroke-width:{style.width:g}px"
    return f"{drawn},stroke-dasharray:{dash}" if dash else drawn


def _brackets(style: Style) -> tuple[str, str]:
    shape = "rounded" if style.shape == "box" and "rounded" in style.style.split(",") else style.shape
    return _BRACKETS.get(shape, _BRACKETS["box"])


def _link(looks: Appearance, edge: Edge) -> str:
    mark, color = looks.mark(edge), looks.theme.edge_color(edge, looks.view.nodes[edge.source])
    drawn = f"stroke:{color},stroke-width:{round(looks.edge_width(edge), 1):g}px"
    return f"{drawn},stroke-dasharray:{_DASHES['dashed']}" if mark is not None and mark.dashed else drawn


def _escaped(text: str) -> str:
    """Text inside a quoted label that shows exactly this."""
    coded = _SPECIAL.sub(
        lambda found: "".join(f"#{ord(one)};" for one in found[0]), _SPLIT.sub("\u200b", printable(text))
    )
    return coded.replace("\r", "").replace("\n", "<br/>")
