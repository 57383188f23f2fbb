"""How a picture looks: one visual language for all graphs.

Kinds of nodes differ in shape as well as in colour, and the fills differ in lightness, so that they stay apart for
colour-blind readers and on a greyscale print; a mark (a wrong gradient, the first NaN) comes with a symbol and an
outline of its own beside its colour. Hues are those of Okabe and Ito (2008), "Color Universal Design". The symbols are
in WGL4, the characters that every system's fonts have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..errors import PictureError, here
from ..graph.view import KINDS, Edge, Node
from .ramps import Ramp

__all__ = ["DARK", "KIND_NAMES", "LIGHT", "THEMES", "MarkStyle", "Style", "Theme", "marked", "theme_of"]

# What nodes are drawn as, see `Theme.kind`, in the order in which a legend lists them.
KIND_NAMES = {**KINDS, "gradient": "gradient", "gradient_result": "gradient of the loss"}


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
    outlines: int = 1


@dataclass(frozen=True)
class MarkStyle:
    """What a mark changes in the look of a node or an edge, whatever its kind.

    >>> LIGHT.marks["added"].symbol
    '+'
    """

    symbol: str  # before the first line
    line: str
    fill: str
    text: str = "#1A1A1A"
    width: float = 2.6
    dashed: bool = False
    double: bool = False  # two outlines


@dataclass(frozen=True, repr=False)
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
    gradient_result: Style  # of the gradients that come out
    marks: Mapping[str, MarkStyle]
    ramp: Ramp  # of a measurement, low to high
    signed_ramp: Ramp  # of one that is negative and positive: zero is in the middle
    edge: str
    edge_parameter: str
    edge_gradient: str
    edge_untracked: str
    module_fills: tuple[str, ...]  # by depth
    module_line: str
    module_backward_fill: str
    module_backward_line: str
    sizes: Mapping[str, float] = field(
        default_factory=lambda: {
            "title": 18.0, "caption": 10.5, "module": 11.0, "node": 12.0, "note": 9.5, "edge": 9.0, "legend": 9.5,
        }
    )  # fmt: skip
    widths: tuple[float, float] = (0.8, 3.4)  # of edges: of a kilobyte or less, of a gigabyte or more

    def __repr__(self) -> str:
        """Short, for it stands in the signatures of all that draws.

        >>> LIGHT, replace(LIGHT, background="transparent")
        (visualize.LIGHT, <Theme on 'transparent'>)
        """
        for name, theme in THEMES.items():
            if theme is self:
                return f"visualize.{name.upper()}"
        return f"<Theme on {self.background!r}>"

    def kind(self, node: Node) -> tuple[str, Style]:
        """The kind that a node is drawn as, and its look: one of `KIND_NAMES`."""
        if node.backward and node.kind in ("op", "kernel", "module"):
            return "gradient", self.gradient
        if node.backward and node.kind == "output":
            return "gradient_result", self.gradient_result
        return node.kind, self.kinds[node.kind]

    def box(self, depth: int, backward: bool = False) -> tuple[str, str]:
        """Fill and line of a module's box."""
        if backward:
            return self.module_backward_fill, self.module_backward_line
        return self.module_fills[min(depth, len(self.module_fills) - 1)], self.module_line

    def edge_color(self, edge: Edge, source: Node) -> str:
        """The colour of an edge: its mark's, or that of what it carries."""
        if edge.mark in self.marks:
            return self.marks[edge.mark].line
        if source.kind in ("parameter", "buffer"):
            return self.edge_parameter
        if source.kind == "constant":
            return self.edge_untracked
        return self.edge_gradient if source.backward else self.edge

    def edge_width(self, nbytes: int) -> float:
        """How wide an edge is: the same for up to a kilobyte, then wider with each tenfold of bytes up to a gigabyte.

        >>> LIGHT.edge_width(4), round(LIGHT.edge_width(10**6), 2), LIGHT.edge_width(10**12)
        (0.8, 2.1, 3.4)
        """
        low, high = self.widths
        return low if nbytes <= 1000 else min(low + (high - low) * math.log10(nbytes / 1000) / 6, high)


def marked(style: Style, mark: MarkStyle) -> Style:
    """A kind's look under a mark: the shape stays, the rest is the mark's."""
    lines = [one for one in style.style.split(",") if one not in ("dashed", "dotted")]
    return replace(
        style,
        fill=mark.fill,
        line=mark.line,
        text=mark.text,
        note=mark.text,
        width=mark.width,
        style=",".join([*lines, "dashed"] if mark.dashed else lines),
        outlines=2 if mark.double else 1,
    )


_FONT = "Helvetica,Arial,sans-serif"  # one of them is on every system, and all are equally wide

LIGHT = Theme(
    background="white",
    font=_FONT,
    text="#1A1A1A",
    note="#5F6368",
    kinds={
        "input": Style("ellipse", "#FFEDC7", "#B87A00", note="#6B5220", margin="0.02,0.01"),
        "parameter": Style("cylinder", "#CFE3F4", "#0067A5", note="#3E5A70", margin="0.1,0.04"),
        "buffer": Style("cylinder", "#EDF4FA", "#0067A5", note="#3E5A70", style="filled,dashed", margin="0.1,0.04"),
        "constant": Style("box", "#F2F2F2", "#8A8A8A", style="filled,dotted"),
        "op": Style("box", "#FFFFFF", "#4A4A4A", style="rounded,filled"),
        "kernel": Style("box", "#A9DBC6", "#00694E", note="#1F4A3C", style="rounded,filled", width=1.8),
        "view": Style("box", "#FFFFFF", "#8A8A8A", text="#5F6368", style="rounded,filled,dashed"),
        "write": Style("note", "#FFF6BF", "#7A6A00", note="#625A20"),
        "action": Style("box", "#E4DCF3", "#5B3FA0", note="#4C3B73", margin="0.14,0.07", outlines=2),
        "module": Style("box3d", "#E2E4EC", "#4A4A4A", note="#54585E", margin="0.16,0.09"),
        "loss": Style("octagon", "#A63A00", "#6B2600", text="#FFFFFF", note="#FFE1D2", margin="0.06,0"),
        "output": Style("ellipse", "#3C4043", "#1A1A1A", text="#FFFFFF", note="#DADCE0", margin="0.02,0.01"),
    },
    gradient=Style("hexagon", "#DDABC9", "#8E2F6B", note="#57264A", margin="0,0"),
    gradient_result=Style("ellipse", "#F5DCEA", "#8E2F6B", note="#57264A", margin="0.02,0.01", outlines=2),
    marks={
        "wrong": MarkStyle("≠", "#6E0010", "#CE0F2A", text="#FFFFFF", width=3.2, double=True),
        "origin": MarkStyle("●", "#6E0010", "#CE0F2A", text="#FFFFFF", width=3.2, double=True),
        "nonfinite": MarkStyle("∞", "#CE0F2A", "#FBD9DC", width=2.2),
        "cut": MarkStyle("//", "#A85200", "#FFDDB0", width=3.0, dashed=True),
        "unreached": MarkStyle("○", "#767A80", "#E9EAEC", text="#4A4A4A", width=2.2, dashed=True),
        "dead": MarkStyle("†", "#2B2E31", "#C9CCD1", width=3.0),
        "suspect": MarkStyle("?", "#A85200", "#FFF1C9", width=2.6),
        "added": MarkStyle("+", "#00734C", "#CFF0E0", width=3.0),
        "removed": MarkStyle("−", "#B3001B", "#FBE3E5", text="#5A2A30", width=2.2, dashed=True),
        "changed": MarkStyle("Δ", "#B36B00", "#FFE6BD", width=3.0),
        "active": MarkStyle("►", "#1A1A1A", "#FFD23F", width=3.2),
    },
    ramp=Ramp(("#FFF8DC", "#F2D98B", "#8CC7A1", "#2E8C9E", "#22377A")),
    signed_ramp=Ramp(("#0067A5", "#8FBFE0", "#F7F7F7", "#F0A877", "#B84C00"), centred=True),
    edge="#3C4043",
    edge_parameter="#5C93BD",
    edge_gradient="#A8508A",
    edge_untracked="#9A9A9A",
    module_fills=("#F6F7F9", "#ECEFF3", "#E1E5EB"),
    module_line="#B4BBC5",
    module_backward_fill="#FBF3F8",
    module_backward_line="#D9A9C7",
)

DARK = Theme(
    background="#14171C",
    font=_FONT,
    text="#ECEEF1",
    note="#AAB2BD",
    kinds={
        "input": Style("ellipse", "#5A4410", "#E6A817", text="#FFFFFF", note="#F0DCAA", margin="0.02,0.01"),
        "parameter": Style("cylinder", "#174A73", "#56B4E9", text="#FFFFFF", note="#CFE6F7", margin="0.1,0.04"),
        "buffer": Style(
            "cylinder", "#142633", "#56B4E9", text="#FFFFFF", note="#BBD6E8", style="filled,dashed", margin="0.1,0.04"
        ),
        "constant": Style("box", "#262A31", "#7E8792", text="#ECEEF1", note="#AAB2BD", style="filled,dotted"),
        "op": Style("box", "#23272F", "#B6BEC9", text="#FFFFFF", note="#B6BEC9", style="rounded,filled"),
        "kernel": Style("box", "#0B6B4F", "#3DD6A8", text="#FFFFFF", note="#D3F3E8", style="rounded,filled", width=1.8),
        "view": Style("box", "#181C22", "#7E8792", text="#B6BEC9", note="#AAB2BD", style="rounded,filled,dashed"),
        "write": Style("note", "#4B4510", "#E0D25A", text="#FFFFFF", note="#EFE8B4"),
        "action": Style("box", "#3D2F66", "#B9A3F0", text="#FFFFFF", note="#DDD2F7", margin="0.14,0.07", outlines=2),
        "module": Style("box3d", "#3A404C", "#B6BEC9", text="#FFFFFF", note="#D0D5DC", margin="0.16,0.09"),
        "loss": Style("octagon", "#F08A4B", "#FFC9A3", text="#1A0B00", note="#3D1C05", margin="0.06,0"),
        "output": Style("ellipse", "#E3E6EA", "#FFFFFF", text="#14171C", note="#3C4043", margin="0.02,0.01"),
    },
    gradient=Style("hexagon", "#6D2F58", "#E08FC0", text="#FFFFFF", note="#F3D3E6", margin="0,0"),
    gradient_result=Style(
        "ellipse", "#3F1F35", "#E08FC0", text="#FFFFFF", note="#F3D3E6", margin="0.02,0.01", outlines=2
    ),
    marks={
        "wrong": MarkStyle("≠", "#FFB3BC", "#C4112B", text="#FFFFFF", width=3.2, double=True),
        "origin": MarkStyle("●", "#FFB3BC", "#C4112B", text="#FFFFFF", width=3.2, double=True),
        "nonfinite": MarkStyle("∞", "#FF5A6E", "#4A141C", text="#FFFFFF", width=2.2),
        "cut": MarkStyle("//", "#FFA64D", "#553008", text="#FFFFFF", width=3.0, dashed=True),
        "unreached": MarkStyle("○", "#8A929C", "#1F2329", text="#B6BEC9", width=2.2, dashed=True),
        "dead": MarkStyle("†", "#F1F3F5", "#4A4F57", text="#FFFFFF", width=3.0),
        "suspect": MarkStyle("?", "#FFA64D", "#433A12", text="#FFFFFF", width=2.6),
        "added": MarkStyle("+", "#3DD68C", "#0E4730", text="#FFFFFF", width=3.0),
        "removed": MarkStyle("−", "#FF5A6E", "#3A171C", text="#F3C9CE", width=2.2, dashed=True),
        "changed": MarkStyle("Δ", "#FFC04D", "#503A0C", text="#FFFFFF", width=3.0),
        "active": MarkStyle("►", "#FFFFFF", "#FFD23F", text="#1A1A1A", width=3.2),
    },
    ramp=Ramp(("#262B45", "#2B4C86", "#2E8C9E", "#8CC7A1", "#FBE9A9")),
    signed_ramp=Ramp(("#6FC3F2", "#2F6F9C", "#2A2E35", "#A05A25", "#FFA866"), centred=True),
    edge="#C3CAD3",
    edge_parameter="#56A0D6",
    edge_gradient="#D67FB4",
    edge_untracked="#7E8792",
    module_fills=("#1B1F26", "#232830", "#2B313B"),
    module_line="#4B5563",
    module_backward_fill="#2A1B26",
    module_backward_line="#7E4A6C",
)

THEMES: Mapping[str, Theme] = {"light": LIGHT, "dark": DARK}


def theme_of(theme: Theme | str) -> Theme:
    """A theme, or the one of that name.

    >>> theme_of("dark") is DARK
    True
    """
    if isinstance(theme, Theme):
        return theme
    if theme not in THEMES:
        raise PictureError(f"theme is {' or '.join(map(repr, THEMES))} or a Theme, not {theme!r}{here()}")
    return THEMES[theme]
