"""How weights and gradients are spread, and how that changes while a network trains."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from autograd_ff.engine import TensorCore
from autograd_ff.nn.module import Module

from ..drawing.style import LIGHT, Theme, theme_of
from ..graph.view import Histogram
from .chart import TEST, TRAIN, finish, frame, new_figure, paper_of, picture_error

__all__ = ["HistogramRecorder", "Snapshot", "plot_histograms"]

_AT_MOST = 16  # parameters in one picture
_RIDGES = 24  # snapshots in one panel
_OVERLAP = 2.6  # height of the highest ridge, in distances between two


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The values, or the gradient, of one parameter at one time.

    >>> Snapshot(0, "fc1.weight", Histogram("values", -1.0, 1.0, (2, 6, 2)), nonfinite=0, zeros=0).histogram.of
    'values'
    """

    step: float
    name: str  # qualified
    histogram: Histogram  # of the finite numbers
    nonfinite: int  # how many are NaN or infinite
    zeros: int  # how many are exactly zero


class HistogramRecorder:
    """Takes down how a network's weights and gradients are spread, step by step.

    Call `record` after ``loss.backward()`` (the gradients are there then), each epoch or every so many steps, and draw
    with `plot_histograms`. A snapshot keeps counts only, a few hundred bytes for each parameter.

    Args:
        model: whose parameters to record.
        bins: of each histogram; fewer for small parameters.
        parameters: qualified names, or beginnings of them (``"encoder.layers.0"``); all of them by default.

    Raises:
        PictureError: (a ValueError) no parameter has such a name.

    >>> import autograd_ff as af
    >>> model = af.nn.Linear(4, 2)
    >>> recorder = HistogramRecorder(model)
    >>> for step in range(3):
    ...     model(af.ones(5, 4)).sum().backward()
    ...     recorder.record(step)
    >>> len(recorder.snapshots), recorder.names
    (12, ('weight', 'bias'))
    """

    def __init__(self, model: Module, bins: int = 200, parameters: Collection[str] | str | None = None) -> None:
        if bins < 1:
            raise picture_error(f"a histogram has at least one bin, not {bins}")
        self.model = model
        self.bins = bins
        self.snapshots: list[Snapshot] = []
        everything = [name for name, _ in model.named_parameters()]
        wanted = (parameters,) if isinstance(parameters, str) else parameters
        self.names = tuple(name for name in everything if wanted is None or _begins(name, wanted))
        if not self.names:
            raise picture_error(
                f"no parameter of {type(model).__name__} is called {', '.join(wanted or ())}: it has "
                f"{', '.join(everything) or 'none'}"
            )

    def record(self, step: float | None = None) -> None:
        """Take a snapshot of every parameter, and of its gradient where there is one.

        Args:
            step: of the training, or the epoch; by default one more than the last.
        """
        if step is None:
            step = self.snapshots[-1].step + 1 if self.snapshots else 0
        parameters = dict(self.model.named_parameters())
        for name in self.names:
            parameter = parameters.get(name)
            if parameter is None:
                continue  # removed from the network since
            self.snapshots.append(self._snapshot(step, name, "values", parameter.array))
            gradient = parameter.grad
            if isinstance(gradient, TensorCore):
                self.snapshots.append(self._snapshot(step, name, "gradient", gradient.array))

    def _snapshot(self, step: float, name: str, of: str, array: np.ndarray) -> Snapshot:
        values = np.abs(array) if array.dtype.kind == "c" else array
        finite = values[np.isfinite(values)].astype(np.float64, copy=False)
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        if not high > low + 1e-12 * max(abs(low), abs(high)):  # all alike
            width = max(abs(low) * 0.01, 1e-12)
            low, high = low - width, high + width
        bins = min(self.bins, max(5, round(2 * finite.size**0.5)))  # few numbers in many bins are noise
        counts, _ = np.histogram(finite, bins, (low, high))
        return Snapshot(
            step,
            name,
            Histogram(of, low, high, tuple(counts.tolist())),
            nonfinite=int(array.size - finite.size),
            zeros=int(np.count_nonzero(finite == 0)),
        )


def _begins(name: str, wanted: Collection[str]) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in wanted)


def plot_histograms(
    recorder: HistogramRecorder | Collection[Snapshot],
    path: str | os.PathLike[str] | None = None,
    *,
    of: str | Collection[str] = ("values", "gradient"),
    parameters: Collection[str] | str | None = None,
    title: str = "",
    theme: Theme | str = LIGHT,
) -> Any:
    """Draw how weights and gradients were spread over time: a ridge for each snapshot, time running downwards.

    Args:
        recorder: a `HistogramRecorder`, or its ``snapshots``.
        path: a ``.png``, ``.svg`` or ``.pdf`` file; None for the figure itself.
        of: ``"values"``, ``"gradient"`` or both, side by side.
        parameters: qualified names, or beginnings of them; by default all up to 16.
        title: above the picture.
        theme: colours: ``"light"``, ``"dark"`` or a `Theme`.

    Every ridge has the same height: look at how wide they are. The axis of a panel leaves out the outermost hundredth of
    the numbers, and is too narrow for the few snapshots with the largest gradients. What the ridges cannot show stands
    beside them: a share of exact zeros above one half, and any NaN or infinity.

    Returns:
        The path, or a ``matplotlib.figure.Figure``.

    Raises:
        PictureError: (a ValueError) nothing was recorded, or nothing of what is asked for.
        ImportError: matplotlib is missing.

    >>> import autograd_ff as af
    >>> recorder = HistogramRecorder(af.nn.Linear(4, 2))
    >>> for step in range(3):
    ...     recorder.record()
    >>> [axes.get_title("left") for axes in plot_histograms(recorder, of="values").axes]
    ['weight', 'bias']
    """
    theme = theme_of(theme)
    snapshots = list(recorder.snapshots if isinstance(recorder, HistogramRecorder) else recorder)
    kinds = (of,) if isinstance(of, str) else tuple(of)
    if not kinds or not set(kinds) <= {"values", "gradient"}:
        raise picture_error(f'of is "values", "gradient" or both, not {of!r}')
    if not snapshots:
        raise picture_error("nothing was recorded: call record(step) while the network trains")
    wanted = (parameters,) if isinstance(parameters, str) else parameters
    panels: dict[tuple[str, str], list[Snapshot]] = {}
    for one in snapshots:
        if one.histogram.of in kinds and (wanted is None or _begins(one.name, wanted)):
            panels.setdefault((one.name, one.histogram.of), []).append(one)
    if not panels:
        what = f"of {', '.join(wanted)}" if wanted else " or ".join(kinds)
        raise picture_error(
            f"nothing {what} was recorded" + ("; record gradients after loss.backward()" if "gradient" in kinds else "")
        )
    names = list(dict.fromkeys(name for name, _ in panels))
    if len(names) > _AT_MOST and wanted is None:
        names = names[:_AT_MOST]
    kinds = tuple(kind for kind in kinds if any((name, kind) in panels for name in names))
    figure = new_figure(4.2 * len(kinds) + 0.6, 2.1 * len(names) + 0.4 * bool(title), theme)
    grid = figure.subplots(len(names), len(kinds), squeeze=False)
    for row, name in enumerate(names):
        for column, kind in enumerate(kinds):
            axes = grid[row][column]
            if (name, kind) in panels:
                _ridges(axes, _thinned(panels[name, kind]), TRAIN if kind == "values" else TEST, theme)
            else:
                axes.set_axis_off()
            axes.set_title(
                name + (" · gradient" if kind == "gradient" else ""), loc="left", fontsize=10, color=theme.text
            )
    return finish(figure, path, title, theme)


def _thinned(snapshots: list[Snapshot]) -> list[Snapshot]:
    """Few enough to tell them apart, the first and the last among them."""
    if len(snapshots) <= _RIDGES:
        return snapshots
    return [snapshots[at] for at in np.linspace(0, len(snapshots) - 1, _RIDGES).round().astype(int)]


def _ridges(axes: Any, snapshots: list[Snapshot], color: str, theme: Theme) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.ticker import MaxNLocator

    low, high = _range(snapshots)
    curves = list(_outlines(snapshots))
    ink, paper = np.array(to_rgb(color)), paper_of(theme)
    last = len(snapshots) - 1
    for at, (places, outline) in enumerate(curves):
        base = last - at
        height = outline * (_OVERLAP if last else 1.0)
        share = 0.35 + 0.55 * (at / last if last else 1.0)  # pale at first
        shade = paper + (ink - paper) * share
        wide = places[-1] - places[0] > 0.03 * (high - low)
        axes.fill_between(places, base, base + height, color=shade, linewidth=0 if wide else 1, zorder=2 * at + 2)
        if wide:  # else the outline would hide it
            axes.plot(places, base + height, color=paper, linewidth=0.8, zorder=2 * at + 3)
    shown = np.unique(np.linspace(0, last, min(len(snapshots), 5)).round().astype(int))
    axes.set_yticks([last - at for at in shown], [f"{snapshots[at].step:g}" for at in shown])
    axes.set_ylim(-0.15, last + (_OVERLAP if last else 1.0) + 0.15)
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.ticklabel_format(axis="x", style="sci", scilimits=(-2, 4))
    axes.xaxis.get_offset_text().set(color=theme.note, fontsize=8)
    frame(axes, theme)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    remarks = _remarks(snapshots)
    if remarks:
        axes.text(
            0.99, 0.97, remarks, transform=axes.transAxes, ha="right", va="top", fontsize=8, color=theme.text,
            zorder=1000, bbox={"facecolor": tuple(paper), "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
        )  # fmt: skip


def _range(snapshots: list[Snapshot]) -> tuple[float, float]:
    """Where most of the numbers are in most of the snapshots; gradients are much larger in some than in others."""
    share = 0.8 if snapshots[0].histogram.of == "gradient" else 1.0
    ends = np.array([_most(one.histogram) for one in snapshots if sum(one.histogram.counts)] or [(-1.0, 1.0)])
    low, high = np.quantile(ends[:, 0], 1 - share), np.quantile(ends[:, 1], share)
    margin = 0.05 * (high - low) or max(abs(low) * 0.05, 1e-12)
    return float(low - margin), float(high + margin)


def _most(histogram: Histogram) -> tuple[float, float]:
    """From the first to the last hundredth of the numbers."""
    edges = np.linspace(histogram.low, histogram.high, len(histogram.counts) + 1)
    running = np.cumsum(histogram.counts)
    first, last = np.searchsorted(running, (running[-1] * 0.01, running[-1] * 0.99))
    return float(edges[first]), float(edges[last + 1])


def _outlines(snapshots: list[Snapshot]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The outline of each histogram, down to zero at both ends, of height one."""
    for one in snapshots:
        histogram = one.histogram
        counts = np.asarray(histogram.counts, np.float64)
        width = (histogram.high - histogram.low) / len(counts)
        places = histogram.low + width * (np.arange(-1, len(counts) + 1) + 0.5)
        # Against the noise of small bins.
        smooth = np.convolve(np.pad(counts, 1), (0.25, 0.5, 0.25), mode="same")
        yield places, smooth / max(smooth.max(), 1e-300)


def _remarks(snapshots: list[Snapshot]) -> str:
    lines = []
    last = snapshots[-1]
    total = sum(last.histogram.counts) + last.nonfinite
    if total and last.zeros > total / 2:
        lines.append(f"{last.zeros / total:.0%} zeros at the end")
    bad = [one for one in snapshots if one.nonfinite]
    if bad:
        lines.append(f"{bad[0].nonfinite:,} not finite from {bad[0].step:g}")
    return "\n".join(lines)
