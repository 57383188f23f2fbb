"""Axes for the examples' pictures, in the looks of the charts of `visualize`."""

from __future__ import annotations

import os
from typing import Any

from visualize.charts.chart import finish, frame, new_figure
from visualize.drawing.style import LIGHT

__all__ = ["COLORS", "axes_of", "save"]

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


def save(figure: Any, path: str | os.PathLike[str], title: str = "") -> None:
    """Give all axes the common looks and write the file."""
    for axes in figure.axes:
        frame(axes, LIGHT)
        legend = axes.get_legend()
        if legend is not None:
            legend.set_frame_on(False)
    finish(figure, path, title, LIGHT)
