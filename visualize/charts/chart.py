"""What all charts share: figures that stand on their own, colours, and files that come out the same each time.

Figures are made without ``matplotlib.pyplot``: nothing opens a window, and a user's own figures stay as they are.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autograd_ff.engine import TensorCore

from ..drawing.style import Theme
from ..errors import PictureError, here

__all__ = [
    "OTHER",
    "TEST",
    "TRAIN",
    "VALIDATION",
    "array_of",
    "class_names",
    "finish",
    "frame",
    "new_figure",
    "paper_of",
    "picture_error",
]

# Okabe and Ito (2008): apart for colour-blind readers, and by lightness on a greyscale print.
TRAIN, VALIDATION, TEST, OTHER = "#0072b2", "#009e73", "#d55e00", "#7f7f7f"
FORMATS = (".png", ".svg", ".pdf")
DPI = 150
# The same chart gives the same bytes: no date, and no random ids in an SVG.
_METADATA: Mapping[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}


def new_figure(width: float, height: float, theme: Theme) -> Any:
    """An empty figure of a size in inches; without matplotlib, an ImportError that names the command."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise ImportError(f'{error}\n  Charts need matplotlib: pip install "autograd_ff[plot]"') from error
    background = "none" if theme.background == "transparent" else theme.background
    engine = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09)  # inches around all axes

    class Chart(Figure):  # type: ignore[misc, unused-ignore]
        """A figure that a notebook shows by itself, without pyplot."""

        def _repr_png_(self) -> bytes:
            image = io.BytesIO()
            self.savefig(image, format="png", dpi=DPI)
            return image.getvalue()

    return Chart(figsize=(width, height), layout=engine, facecolor=background)


def finish(figure: Any, path: str | os.PathLike[str] | None, title: str, theme: Theme) -> Any:
    """Put the title on; write the file and return its path, or return the figure where there is no path."""
    if title:
        figure.suptitle(title, color=theme.text, fontweight="bold")
    if path is None:
        return figure
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise picture_error(f"{Path(path).name!r} should end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "visualize"}):
        figure.savefig(path, dpi=DPI, metadata=_METADATA[suffix])
    return os.fspath(path)


def frame(axes: Any, theme: Theme, *, open: bool = True) -> None:
    """Axes in the theme's colours, open at the top and to the right."""
    axes.set_facecolor("none")
    axes.tick_params(colors=theme.note, labelcolor=theme.text, labelsize=9)
    for spine in axes.spines.values():
        spine.set_color(theme.note)
    for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
        text.set_color(theme.text)
    if open:
        axes.spines[["top", "right"]].set_visible(False)


def paper_of(theme: Theme) -> np.ndarray:
    """Red, green and blue of the background; white where that is transparent, which no shade can be mixed with."""
    from matplotlib.colors import to_rgb

    return np.array(to_rgb("white" if theme.background in ("transparent", "none") else theme.background))


def picture_error(message: str) -> PictureError:
    """An error whose message ends with the user's line."""
    return PictureError(f"{message}{here()}")


def array_of(value: Any, name: str) -> np.ndarray:
    """A tensor's, array's or sequence's numbers."""
    array = value.array if isinstance(value, TensorCore) else np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise picture_error(f"{name} are numbers, not {array.dtype}")
    return array


def class_names(classes: Sequence[Any] | None, count: int) -> list[str]:
    """The name of each class; their numbers where none are given."""
    if classes is None:
        return [str(number) for number in range(count)]
    if len(classes) < count:
        raise picture_error(f"there are {count} classes, but {len(classes)} names: {', '.join(map(str, classes))}")
    names = [str(one) for one in classes]
    # MNIST's own names say everything twice: "7 - seven"
    return [left if left == str(at) else name for at, name in enumerate(names) for left in [name.split(" - ")[0]]]
