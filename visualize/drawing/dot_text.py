"""Pieces of the DOT language: text that shows exactly as it is, small tables, the attributes of a look."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from .labels import printable
from .style import Style

__all__ = ["attributes", "html_text", "quoted", "row", "table"]

# Graphviz puts a name in place of these, however they are quoted; an invisible space keeps the two characters apart.
_OWN_NAME = re.compile(r"\\(?=[NGETHL])")


def html_text(text: str) -> str:
    """Text inside an HTML-like label."""
    return html.escape(_shown(text), quote=True).replace("\n", "<BR/>")


def quoted(text: str) -> str:
    """A DOT string that shows exactly this text."""
    text = _shown(text).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
    return '"' + text.replace("\r", "").replace("\n", "\\n") + '"'


def table(lines: Sequence[str]) -> str:
    """Lines of different sizes with air between them."""
    if len(lines) == 1:
        return lines[0]
    rows = "".join(f"<TR><TD>{line}</TD></TR>" for line in lines)
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0">{rows}</TABLE>'


def row(cells: str) -> str:
    """A table of one row of cells."""
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"><TR>{cells}</TR></TABLE>'


def attributes(style: Style) -> str:
    """How Graphviz draws a look."""
    return (
        f'shape={style.shape} style="{style.style}" fillcolor="{style.fill}" color="{style.line}" '
        f'fontcolor="{style.text}" penwidth={style.width:g} margin="{style.margin}"'
        + (f" peripheries={style.outlines}" if style.outlines > 1 else "")
    )


def _shown(text: str) -> str:
    return _OWN_NAME.sub("\\\\\u200b", printable(text))
