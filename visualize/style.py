"""How a picture looks: one visual language for all graphs.

Kinds of nodes differ in shape as well as in colour, and the fills differ in lightness, so that they stay apart for
colour-blind readers and on a greyscale print. Hues are those of Okabe and Ito (2008), "Color Universal Design".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["LIGHT", "Style", "Theme"]


@dataclass(frozen=True)
class Style:
    """The look of one kind of node.

    >>> Style("box", fill="#FFFFFF", line="#4A4A4A").text
    '#1A1A1A'
    """

    shape: str
    fill: str
    line: str
    text: str = "#1A1A1A"
    note: str = "#5F6368"  # the second line: shape and dtype
    style: str = "filled"
    width: float = 1.0
    margin: str = "0.12,0.05"  # around the label, in inches: horizontal, vertical


@dataclass(frozen=True)
class Theme:
    """The look of a picture.

    >>> from dataclasses import replace
    >>> replace(LIGHT, background="transparent").kinds["loss"].shape
    'octagon'
    """

    background: str
    font: str
    text: str
    note: str
    kinds: Mapping[str, Style]
    gradient: Style  # of operations that belong to a gradient
    edge: str
    edge_parameter: str
    edge_gradient: str
    edge_untracked: str
    module_fills: tuple[str, ...]  # by depth
    module_line: str
    module_backward_fill: str
    module_backward_line: str
    sizes: Mapping[str, float] = field(
        default_factory=lambda: {"title": 18.0, "module": 11.0, "node": 12.0, "note": 9.5, "edge": 9.0, "legend": 9.5}
    )


LIGHT = Theme(
    background="white",
    font="Helvetica,Arial,sans-serif",
    text="#1A1A1A",
    note="#5F6368",
    kinds={
        "input": Style("ellipse", "#FFEDC7", "#B87A00", note="#6B5220", margin="0.02,0.01"),
        "parameter": Style("cylinder", "#CFE3F4", "#0067A5", note="#3E5A70", margin="0.1,0.04"),
        "buffer": Style("cylinder", "#EDF4FA", "#0067A5", note="#3E5A70", style="filled,dashed"),
        "constant": Style("box", "#F2F2F2", "#9A9A9A", style="filled,dotted"),
        "op": Style("box", "#FFFFFF", "#4A4A4A", style="rounded,filled"),
        "kernel": Style("box", "#A9DBC6", "#00694E", note="#1F4A3C", style="rounded,filled", width=1.8),
        "view": Style("box", "#FFFFFF", "#9A9A9A", text="#5F6368", style="rounded,filled,dashed"),
        "write": Style("note", "#FFF6BF", "#7A6A00", note="#625A20"),
        "module": Style("box3d", "#E6E6EE", "#4A4A4A"),
        "loss": Style("octagon", "#A63A00", "#6B2600", text="#FFFFFF", note="#FFE1D2", margin="0.06,0"),
        "output": Style("ellipse", "#3C4043", "#1A1A1A", text="#FFFFFF", note="#DADCE0", margin="0.02,0.01"),
    },
    gradient=Style("hexagon", "#DDABC9", "#8E2F6B", note="#57264A", margin="0,0"),
    edge="#3C4043",
    edge_parameter="#5C93BD",
    edge_gradient="#A8508A",
    edge_untracked="#9A9A9A",
    module_fills=("#F6F7F9", "#ECEFF3", "#E1E5EB"),
    module_line="#B4BBC5",
    module_backward_fill="#FBF3F8",
    module_backward_line="#D9A9C7",
)
