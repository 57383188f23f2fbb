"""Axes for the examples' pictures, in the looks of the charts of `visualize`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from visualize.charts.chart import finish, frame, new_figure
from visualize.drawing.style import LIGHT

__all__ = ["COLORS", "axes_of", "name_lines", "save"]

# Okabe and Ito (2008), without the yellow, which is too pale for lines.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7f7f7f")


def axes_of(columns: int = 1, rows: int = 1, width: float = 5.2, height: float = 3.8) -> tuple[Any, list[Any]]:
    """A figure and its axes, row by row; ``width`` and ``height`` in inches are those of one.

    Raises:
        ImportError: matplotlib is missing.
    """
    figure = new_figure(width * columns, height * rows, LIGHT)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for one in axes:
        one.grid(alpha=0.25)
    return figure, axes


def name_lines(axes: Any, lines: Mapping[str, Any], size: float = 9) -> None:
    """Write its name beside the last point of each line, in its colour, the names apart where the points are not.

    The limits of the axes are to be as they will stay.
    """
    axes.get_ylim()  # which are found only when they are asked for
    height = axes.figure.get_figheight() * 72 / axes.get_gridspec().nrows * 0.7  # about, in points
    apart = 1.25 * size / height
    to_axes = axes.transData - axes.transAxes
    ends = [(float(to_axes.transform(line.get_xydata()[-1])[1]), name) for name, line in lines.items()]
    places = spread([end for end, _ in ends], apart)
    for (_, name), place in zip(ends, places, strict=True):
        line = lines[name]
        axes.annotate(
            name, line.get_xydata()[-1], xytext=(1.06, place), textcoords="axes fraction", va="center", ha="left",
            fontsize=size, color=line.get_color(), annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": line.get_color(), "linewidth": 0.7, "relpos": (0, 0.5), "shrinkA": 1,
                        "shrinkB": 3},
        )  # fmt: skip


def spread(places: Sequence[float], apart: float) -> list[float]:
    """Numbers in the same order, and as near to the given ones as they can be so far apart.

    Those that are too close share their mean as the middle of their row, with those that this row then meets.

    >>> spread([0.5, 0.0, 0.5, 1.0], 0.25)
    [0.375, 0.0, 0.625, 1.0]
    """
    order = sorted(range(len(places)), key=lambda at: places[at])
    rows: list[
        list[float]
    ] = []  # what stands side by side, each less its rank's share: equal where exactly so far apart
    for rank, at in enumerate(order):
        rows.append([places[at] - rank * apart])
        while len(rows) > 1 and sum(rows[-2]) / len(rows[-2]) > sum(rows[-1]) / len(rows[-1]):
            rows[-2:] = [rows[-2] + rows[-1]]
    starts = [sum(row) / len(row) for row in rows for _ in row]
    found = [0.0] * len(places)
    for rank, at in enumerate(order):
        found[at] = starts[rank] + rank * apart
    return found


def save(figure: Any, path: str | os.PathLike[str], title: str = "") -> None:
    """Give all axes the common looks and write the file."""
    for axes in figure.axes:
        frame(axes, LIGHT)
        legend = axes.get_legend()
        if legend is not None:
            legend.set_frame_on(False)
    finish(figure, path, title, LIGHT)
