"""`to_html`: a graph as one page to explore, which needs nothing beside itself.

Modules are opened and closed on the page, so what it shows must be laid out there: by dagre (MIT licence), which is part
of the page, and for which no Graphviz need be installed. Everything that a name may hold is data to the page, never
markup; its policy forbids all scripts but its own, and every connection.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from importlib import resources
from typing import Any

from ..drawing.appearance import Appearance, check_direction
from ..drawing.labels import measure_text, printable
from ..drawing.ramps import Ramp, Scale, text_on
from ..drawing.style import DARK, KIND_NAMES, LIGHT, MarkStyle, Style, Theme, theme_of
from ..folding.chains import merge_chains
from ..folding.fold import Selection, fold_functions
from ..folding.hiding import hide as without
from ..folding.repeats import merge_repeats
from ..folding.simplify import READABLE, check_depth
from ..graph.exchange import to_dict
from ..graph.view import MARKS, MEASURES, GraphView
from .formulas import formula
from .tree import Tree

__all__ = ["to_html"]

_MOST = 20_000  # nodes of which every detail is in the page
_SHADES = 32  # colours that show a measurement
_OF_ALL = {  # measurements by which a page colours, and what they are called
    "forward": "forward time",
    "backward": "backward time",
    "saved": "memory saved for backward",
    "norm": "norm",
    "spread": "spread",
    "mean": "mean",
    "zeros": "share of zeros",
    "gradient norm": "gradient norm",
    "gradient spread": "gradient spread",
    "gradient mean": "gradient mean",
    "gradient zeros": "share of zero gradients",
}


def to_html(
    view: GraphView,
    *,
    title: str = "",
    caption: str = "",
    depth: int | None = None,
    open: Selection = False,
    fold: Selection = False,
    hide: str | Collection[str] = (),
    repeats: bool | None = None,
    chains: bool | None = None,
    limit: int = READABLE,
    direction: str = "TB",
    legend: bool = True,
    theme: Theme | str = "auto",
    color_by: str = "",
) -> str:
    """A page that shows a graph, as one text: pan, zoom, search, details of each node, modules to open and close.

    It works offline, from one file, in any browser of the last years. The options say what is shown at first; all else
    is a click away.

    Args:
        view: the graph, unfolded.
        title: stands above the picture; by default the graph's name.
        caption: stands below it.
        depth: how many levels of modules are open at first; by default as many as fit.
        open: modules, composite operations and derivative rules that are open at first; True for all. Chosen by name,
            pattern, type, class or predicate, as in `simplify`.
        fold: modules that are closed at first, chosen in the same ways.
        hide: kinds of nodes, and names of operations, to leave out altogether.
        repeats: equal neighbours stand together, "Block ×12"; by default in large graphs.
        chains: elementwise chains are one node.
        limit: how many nodes are too many to begin with.
        direction: where data flow: ``"TB"`` (down), ``"LR"`` (to the right), ``"BT"`` or ``"RL"``.
        legend: name the kinds of nodes that occur.
        theme: ``"auto"`` is the reader's choice of light or dark; ``"light"``, ``"dark"`` or a `Theme` to begin with
            that one.
        color_by: one of `MEASURES` that colours the nodes at first.

    Raises:
        PictureError: (a ValueError) options that mean nothing.

    >>> import autograd_ff as af, visualize
    >>> page = to_html(visualize.trace(af.nn.Linear(3, 2), af.ones(1, 3)), title="One layer")
    >>> page.startswith("<!DOCTYPE html>"), "<title>One layer</title>" in page
    (True, True)
    """
    check_direction(direction)
    check_depth(depth)
    view = without(view, hide)
    if chains:
        view = merge_chains(view)
    notice = ""
    if len(view.nodes) > _MOST:
        view, notice = _lighter(view, repeats is not False)
    first, light, dark = _themes(theme)
    looks = Appearance(view, light, color_by)
    tree = Tree(looks, group=bool(repeats) or (repeats is None and len(fold_functions(view).nodes) > limit))
    page = {
        "title": title or view.name,
        "caption": caption,
        "notice": notice,
        "direction": direction,
        "legend": legend,
        "theme": first,
        "colorBy": color_by,
        "containers": list(_containers(tree)),
        "homes": [-1 if home is None else home.id for home in tree.home],
        "nodes": list(_words(looks)),
        "widths": [round(looks.edge_width(edge), 2) for edge in view.edges],
        "unclear": [number for number, edge in enumerate(view.edges) if looks.unclear(edge)],
        "open": tree.opened(depth, open, fold, limit),
        "kinds": KIND_NAMES,
        "marks": {name: [light.marks[name].symbol, text] for name, text in MARKS.items() if name in light.marks},
        "measures": _measures(view, light, dark, color_by),
        "formulas": {op: list(found) for op in sorted({node.op for node in view.nodes}) if any(found := formula(op))},
        "shapes": {name: style.shape for name, style in _styles(light)},
    }
    return _filled(
        title=title or view.name or "graph",
        css=_asset("page.css") + "\n" + "\n".join((*_rules(light, "light"), *_rules(dark, "dark"))),
        graph=_data(to_dict(view, brief=True)),
        page=_data(page),
    )


def _themes(theme: Theme | str) -> tuple[str, Theme, Theme]:
    """Which of the two a page begins with, and both."""
    if isinstance(theme, str) and theme == "auto":
        return "auto", LIGHT, DARK
    if isinstance(theme, str):
        return ("dark" if theme_of(theme) is DARK else "light"), LIGHT, DARK
    if theme is LIGHT:
        return "auto", LIGHT, DARK
    is_dark = text_on(theme.background) == "#FFFFFF" if re.fullmatch("#[0-9A-Fa-f]{6}", theme.background) else False
    return ("dark", LIGHT, theme) if is_dark else ("light", theme, DARK)


def _lighter(view: GraphView, merge: bool) -> tuple[GraphView, str]:
    """Without what takes the most room, and what the page says of that."""
    before = len(view.nodes)
    view = fold_functions(view)
    said = "Composite operations are one node each"
    if merge and len(view.nodes) > _MOST:
        view = merge_repeats(view)
        said += ", equal neighbours too"
    nodes = tuple(replace(node, histograms=()) if node.histograms else node for node in view.nodes)
    edges = []
    for edge in view.edges:
        same = view.output(edge) == edge.value
        edges.append(replace(edge, value=None) if same else edge)
    return GraphView(nodes, tuple(edges), view.modules, view.name), (
        f"A graph of {before:,} nodes. {said}, and histograms are left out."
    )


# ---------------------------------------------------------------- data


def _data(value: Any) -> str:
    """JSON that can stand inside a script element: nothing in it can end the element, or a line of a script."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _containers(tree: Tree) -> Iterator[dict[str, Any]]:
    for one in tree.containers:
        source = None if one.module is None else one.module.source
        found: dict[str, Any] = {
            "parent": -1 if one.parent is None else one.parent.id,
            "kind": one.kind,
            "title": one.title,
            "name": one.name,
            "look": one.look,
            "note": one.note,
            "inside": one.inside,
            "rows": [list(row) for row in one.rows],
            "sums": one.sums,
            "mark": one.mark,
            "count": one.count,
            "backward": one.backward,
            "type": "" if one.module is None else one.module.type,
            "source": "" if source is None else str(source),
        }
        yield {key: value for key, value in found.items() if value or key == "parent"}


def _words(looks: Appearance) -> Iterator[list[Any]]:
    """For each node: kind, title, variable, notes, remarks, texts of its measurements; empty ones at the end left out."""
    for node in looks.view.nodes:
        words = looks.words(node.id)
        measured = [measure_text("", number, MEASURES.get(name, "")) for name, number in node.measures]
        kind, _ = looks.theme.kind(node)
        found = [kind, words.title, words.variable, list(words.notes), list(words.remarks), measured]
        while not found[-1]:
            found.pop()
        yield found


def _measures(view: GraphView, light: Theme, dark: Theme, color_by: str) -> dict[str, Any]:
    """What nodes can be coloured by: the scale, its ends in words, and its colours in both themes."""
    found: dict[str, Any] = {}
    present = {name for node in view.nodes for name, _ in node.measures}
    for name in MEASURES:
        if name not in present or (name not in _OF_ALL and name != color_by):
            continue
        looks = Appearance(view, light, name)
        scale: Scale = looks.scale
        signed = scale.kind == "signed"
        found[name] = {
            "name": _OF_ALL.get(name, name),
            "word": "" if MEASURES[name] in ("s", "bytes") else name,
            "low": scale.low,
            "high": scale.high,
            "log": scale.kind == "log",
            "ends": [measure_text("", number, MEASURES[name]) for number in (scale.low, scale.high)],
            "signed": signed,
        }
    if found:
        found[""] = {
            "light": [_shades(light.ramp), _shades(light.signed_ramp)],
            "dark": [_shades(dark.ramp), _shades(dark.signed_ramp)],
        }
    return found


def _shades(ramp: Ramp) -> list[list[str]]:
    colors = [ramp.at(at / (_SHADES - 1)) for at in range(_SHADES)]
    return [[color, text_on(color)] for color in colors]


# ---------------------------------------------------------------- looks


def _styles(theme: Theme) -> Iterator[tuple[str, Style]]:
    yield from theme.kinds.items()
    yield "gradient", theme.gradient
    yield "gradient_result", theme.gradient_result


def _rules(theme: Theme, name: str) -> Iterator[str]:
    """The theme as style sheet: variables for the page, and one rule for each kind and mark."""
    root = f':root[data-theme="{name}"]'
    background = theme.background if theme.background != "transparent" else "#FFFFFF"
    variables = {
        "background": background, "text": theme.text, "note": theme.note, "edge": theme.edge,
        "edge-parameter": theme.edge_parameter, "edge-gradient": theme.edge_gradient,
        "edge-untracked": theme.edge_untracked, "box-line": theme.module_line,
        "backward-fill": theme.module_backward_fill, "backward-line": theme.module_backward_line,
        "font": theme.font,
        **{f"box-{depth}": fill for depth, fill in enumerate((*theme.module_fills, *theme.module_fills[-1:] * 3)[:3])},
    }  # fmt: skip
    yield f"{root} {{ color-scheme: {name}; {' '.join(f'--{key}: {_css(value)};' for key, value in variables.items())} }}"
    for kind, style in _styles(theme):
        dashes = "5 3" if "dashed" in style.style else "1.5 2.5" if "dotted" in style.style else "none"
        yield (
            f"{root} .k-{kind} {{ --fill: {_css(style.fill)}; --line: {_css(style.line)}; --ink: {_css(style.text)}; "
            f"--soft: {_css(style.note)}; --width: {style.width:g}; --dash: {dashes}; }}"
        )
    for mark, look in theme.marks.items():
        yield _mark_rule(root, mark, look)


def _mark_rule(root: str, mark: str, look: MarkStyle) -> str:
    return (
        f"{root} .k-marked.m-{mark} {{ --fill: {_css(look.fill)}; --line: {_css(look.line)}; --ink: {_css(look.text)}; "
        f"--soft: {_css(look.text)}; --width: {look.width:g}; --dash: {'5 3' if look.dashed else 'none'}; }}\n"
        f"{root} .m-{mark} {{ --mark: {_css(look.line)}; }}"
    )


def _css(value: str) -> str:
    """A colour or a font, and nothing that could end the rule."""
    return re.sub(r"[^\w\s#.,%()+-]", "", value)


# ---------------------------------------------------------------- the page


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def _script(name: str) -> str:
    text = _asset(name)
    return re.sub(r"^(//# sourceMappingURL|/\*! For license).*$\n?", "", text, flags=re.MULTILINE).strip()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _filled(*, title: str, css: str, graph: str, page: str) -> str:
    """The template with its gaps filled, each once and in one pass, so that no content is taken for a gap."""
    layout, levels, script = _script("dagre.min.js"), _script("layout.js"), _script("page.js")
    css = css.strip()
    parts = {
        "policy": "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"script-src {_hash(layout)} {_hash(levels)} {_hash(script)}; style-src {_hash(css)}",
        "title": html.escape(printable(title)),
        "css": css,
        "graph": graph,
        "page": page,
        "licence": _asset("dagre.LICENSE.txt").strip(),
        "dagre": layout,
        "levels": levels,
        "script": script,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda gap: parts[gap[1]], _asset("template.html"))
