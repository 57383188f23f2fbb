"""The legend of a DOT picture: small nodes that look like those that they explain, in rows below the graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..graph.view import MARKS, MEASURES
from .appearance import Appearance
from .arrangement import Arrangement
from .dot_text import attributes, html_text, quoted, row
from .labels import bytes_text, measure_text
from .style import KIND_NAMES, Style, marked

__all__ = ["legend"]

_MEASURES = {"forward": "forward time", "backward": "backward time", "saved": "saved for backward"}
_ROW = 6  # entries side by side
_RAMP_CELLS = 24  # colours that show a ramp
_THIN = 1000  # bytes of an array whose edge is not wider than any other's
_MARGINS = {"ellipse": "0.02,0", "octagon": "0.04,0", "hexagon": "0,0", "cylinder": "0.08,0.03"}


def legend(looks: Appearance, places: Arrangement, direction: str) -> Iterator[str]:
    """The lines of the legend: what occurs in the picture, and nothing else."""
    rows = _rows(looks, places)
    for number, entries in enumerate(rows):
        names = [f"legend{number}_{at}" for at in range(len(entries))]
        for name, text in zip(names, entries, strict=True):
            yield f'  {name} [id="{name}" class="legend" {text} tooltip=" "];'
        chained = f"{'->'.join(names)} [style=invis weight=20]" if len(names) > 1 else names[0]
        yield f"  {{ rank=same; {chained}; }}"
    # Invisible edges keep the rows below the graph and their middles below each other.
    middles = [_middle(number, len(entries)) for number, entries in enumerate(rows)]
    up = direction in ("BT", "RL")
    first, *others = places.lowest(up)
    chain = [*middles[::-1], f"n{first}"] if up else [f"n{first}", *middles]
    yield f"  {'->'.join(chain)} [style=invis weight=1];"
    for node in others:
        yield f"  {f'{middles[0]}->n{node}' if up else f'n{node}->{middles[0]}'} [style=invis weight=0];"


def _middle(number: int, length: int) -> str:
    """The node or the two nodes in the middle of a row."""
    places = [length // 2] if length % 2 else [length // 2 - 1, length // 2]
    return f"{{{' '.join(f'legend{number}_{at}' for at in places)}}}"


def _rows(looks: Appearance, places: Arrangement) -> list[list[str]]:
    """For each entry of each row the attributes of its node."""
    kinds, marks = _kinds(looks), _marks(looks)
    rows = [
        [_entry(looks, name, style) for name, style in entries[start : start + _ROW]]
        for entries in ([kinds + marks] if len(kinds + marks) <= _ROW else [kinds, marks])
        for start in range(0, len(entries), _ROW)
    ]
    for scale in (*_ramp(looks), *_widths(looks), *_saved(looks, places)):
        if len(rows[-1]) >= _ROW:
            rows.append([])
        rows[-1].append(f"label=<{scale}> shape=plain")
    return rows


def _entry(looks: Appearance, name: str, style: Style) -> str:
    small = replace(style, margin=_MARGINS.get(style.shape, "0.08,0.03"))
    return f"label={quoted(name)} fontsize={looks.theme.sizes['legend']:g} height=0.2 width=0.3 {attributes(small)}"


def _kinds(looks: Appearance) -> list[tuple[str, Style]]:
    """The kinds that some node looks like, for a mark hides the kind; without fill where a measurement fills them all."""
    found: dict[str, Style] = {}
    filled: dict[str, bool] = {}
    for node in looks.view.nodes:
        if looks.mark(node) is not None:
            continue
        kind, found[kind] = looks.theme.kind(node)
        filled[kind] = filled.get(kind, True) and looks.measured(node) is not None
    plain = looks.theme.kinds["op"]
    return [
        (name, replace(found[kind], fill=plain.fill, text=plain.text) if filled[kind] else found[kind])
        for kind, name in KIND_NAMES.items()
        if kind in found
    ]


def _marks(looks: Appearance) -> list[tuple[str, Style]]:
    found = {node.mark for node in looks.view.nodes} | {edge.mark for edge in looks.view.edges}
    styles = looks.theme.marks
    plain = looks.theme.kinds["op"]
    return [
        (f"{styles[mark].symbol} {name}", marked(plain, styles[mark]))
        for mark, name in MARKS.items()
        if mark in found and mark in styles
    ]


def _ramp(looks: Appearance) -> Iterator[str]:
    """The colours of the measurement between the ends of its scale."""
    if not any(looks.measured(node) is not None for node in looks.view.nodes):
        return
    scale, unit = looks.scale, MEASURES[looks.color_by]
    low, high = (measure_text("", number, unit) for number in (scale.low, scale.high))
    name = _MEASURES.get(looks.color_by, looks.color_by) + (" (log)" if scale.kind == "log" else "")
    several = scale.low < scale.high
    cells = "".join(
        f'<TD FIXEDSIZE="TRUE" WIDTH="5" HEIGHT="10" BGCOLOR="{looks.ramp.at(at / (_RAMP_CELLS - 1))}"></TD>'
        for at in range(_RAMP_CELLS if several else 1)
    )
    start = _text(looks, f"{low} ") if several else ""
    yield row(f"{_text(looks, f'{name}  ')}{start}{cells}{_text(looks, f' {high}')}")


def _widths(looks: Appearance) -> Iterator[str]:
    """What the widths of edges mean, where they differ."""
    sizes = sorted({value.nbytes for edge in looks.view.edges if (value := looks.value(edge)) is not None})
    if not sizes:
        return
    low, high = max(sizes[0], _THIN), sizes[-1]
    heights = [max(1, round(looks.theme.edge_width(count))) for count in (low, high)]
    if heights[0] == heights[1]:
        return
    cells = _text(looks, "edge width  ")
    texts = ("≤ " if low == _THIN else "") + bytes_text(low), bytes_text(high)
    for height, text in zip(heights, texts, strict=True):
        line = f'<TD FIXEDSIZE="TRUE" WIDTH="22" HEIGHT="{height}" BGCOLOR="{looks.theme.edge}"></TD>'
        cells += f"<TD>{row(line)}</TD>{_text(looks, f' {text}  ')}"
    yield row(cells)


def _saved(looks: Appearance, places: Arrangement) -> Iterator[str]:
    """What a dashed edge from the forward to the backward pass means."""
    if any(places.saved(edge) for edge in looks.view.edges):
        style = f'BORDER="1" SIDES="T" STYLE="dashed" COLOR="{looks.theme.edge}"'
        line = f'<TD FIXEDSIZE="TRUE" WIDTH="26" HEIGHT="3" {style}></TD>'
        yield row(f"<TD>{row(line)}</TD>{_text(looks, ' read by a gradient')}")


def _text(looks: Appearance, text: str) -> str:
    font = f'<FONT POINT-SIZE="{looks.theme.sizes["legend"]:g}" COLOR="{looks.theme.note}">'
    shown = html_text(text).replace(" ", "&#160;")
    return f"<TD>{font}{shown}</FONT></TD>"
