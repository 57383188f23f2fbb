"""Curves of a training run: the loss, and whatever else a history holds, over the epochs."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from ..drawing.style import LIGHT, Theme, theme_of
from .chart import OTHER, TEST, TRAIN, VALIDATION, finish, frame, new_figure, picture_error

__all__ = ["plot_history"]

_SPLITS = {  # the beginning of a metric's name: on which data it was taken
    "train": "training",
    "training": "training",
    "test": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "eval": "validation",
}
_STEPS = ("epoch", "step", "iteration", "batch")
_SHARES = ("accuracy", "acc", "precision", "recall", "f1", "auc", "error", "top1", "top5")
_COLUMNS = 3


def plot_history(
    history: Any,
    path: str | os.PathLike[str] | None = None,
    title: str = "",
    *,
    metrics: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    theme: Theme | str = LIGHT,
) -> Any:
    """Draw the curves of a training run, one panel for each metric; training and validation share one.

    Args:
        history: a dict for each epoch, ``[{"epoch": 1, "loss": 0.7, "test_accuracy": 0.91}, …]``; or a list for each
            metric, ``{"loss": [0.7, …], "val_loss": [0.8, …]}``; or an object that has either as ``history``. The
            beginning of a name says which data it is of: ``train_``, ``test_``, ``val_``, ``validation_``; none means
            training. ``epoch`` or ``step`` is the horizontal axis. An epoch may lack a metric.
        path: a ``.png``, ``.svg`` or ``.pdf`` file; None for the figure itself.
        title: above the picture.
        metrics: the metrics to draw (``["loss", "accuracy"]``), in this order; all of them by default, the loss first.
        labels: other names of curves, by their names in the history.
        theme: colours: ``"light"``, ``"dark"`` or a `Theme`.

    Numbers that are not finite are left out, and the place where the first stood is marked: a run that diverged shows
    when.

    Returns:
        The path, or a ``matplotlib.figure.Figure``.

    Raises:
        PictureError: (a ValueError) the history is empty, or no number in it is finite.
        ImportError: matplotlib is missing.

    >>> figure = plot_history([{"epoch": 1, "loss": 0.7, "val_loss": 0.9}, {"epoch": 2, "loss": 0.4, "val_loss": 0.6}])
    >>> [(axes.get_title(), len(axes.lines)) for axes in figure.axes]
    [('loss', 2)]
    """
    theme = theme_of(theme)
    steps, unit, curves = _read(history)
    panels: dict[str, list[tuple[str, str]]] = {}  # of each metric its curves: name and split
    for name in curves:
        metric, split = _metric(name)
        panels.setdefault(metric, []).append((name, split))
    if metrics is not None:
        unknown = [name for name in metrics if name not in panels]
        if unknown:
            raise picture_error(f"the history has no {', '.join(unknown)}; it has {', '.join(panels)}")
    chosen = list(metrics) if metrics is not None else sorted(panels, key=lambda name: "loss" not in name)
    if not any(_finite(steps, curves[name]) for metric in chosen for name, _ in panels[metric]):
        raise picture_error(f"no number in the history is finite: {', '.join(curves)} are NaN or infinite throughout")
    columns = min(len(chosen), _COLUMNS)
    rows = math.ceil(len(chosen) / columns)
    figure = new_figure(4.5 * columns, 3.4 * rows + 0.3 * bool(title), theme)
    for place, metric in enumerate(chosen):
        axes = figure.add_subplot(rows, columns, place + 1)
        _panel(axes, metric, panels[metric], steps, curves, labels or {}, theme)
        axes.set_xlabel(unit)
    return finish(figure, path, title, theme)


def _read(history: Any) -> tuple[list[float], str, dict[str, list[float | None]]]:
    """The horizontal axis, what it counts, and each metric's numbers; None where an epoch has none."""
    rows = _rows(history)
    if not rows:
        raise picture_error("the history is empty: there is no epoch to draw")
    for at, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise picture_error(f"a history has a dict for each epoch; number {at} is of type {type(row).__name__}")
    counted = [name for name in _STEPS if all(_number(row.get(name)) is not None for row in rows)]
    unit = counted[0] if counted else "epoch"
    steps = [float(row[unit]) if counted else float(at) for at, row in enumerate(rows, start=1)]
    curves: dict[str, list[float | None]] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [_number(row.get(name)) for row in rows]
        # What is no number (a remark, a time of day) makes no curve.
        text = any(value is None and row.get(name) is not None for value, row in zip(values, rows, strict=True))
        if name not in _STEPS and not text and any(value is not None for value in values):
            curves[str(name)] = values
    if not curves:
        raise picture_error(f"the history has no metric, only {', '.join(map(str, rows[0])) or 'empty epochs'}")
    return steps, unit, curves


def _rows(history: Any) -> list[Any]:
    """A dict for each epoch, whatever form they come in."""
    if not isinstance(history, (Mapping, Sequence)) and hasattr(history, "history"):
        history = history.history
    if not isinstance(history, Mapping):
        return list(history)
    if any(isinstance(values, (Real, str)) for values in history.values()):
        return [history]
    count = max((len(values) for values in history.values()), default=0)
    return [{name: values[at] for name, values in history.items() if at < len(values)} for at in range(count)]


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _finite(steps: list[float], values: list[float | None]) -> list[tuple[float, float]]:
    return [(at, one) for at, one in zip(steps, values, strict=True) if one is not None and math.isfinite(one)]


def _metric(name: str) -> tuple[str, str]:
    """
    >>> _metric("val_top5_accuracy"), _metric("loss"), _metric("accuracy/test")
    (('top5 accuracy', 'validation'), ('loss', ''), ('accuracy', 'test'))
    """
    words = [word for word in name.replace("/", "_").replace("-", "_").replace(" ", "_").split("_") if word]
    for at in (0, -1):
        if len(words) > 1 and words[at].lower() in _SPLITS:
            split = _SPLITS[words.pop(at).lower()]
            return " ".join(words), split
    return " ".join(words) or name, ""


def _panel(
    axes: Any,
    metric: str,
    names: list[tuple[str, str]],
    steps: list[float],
    curves: dict[str, list[float | None]],
    labels: Mapping[str, str],
    theme: Theme,
) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter

    marker = "o" if len(steps) <= 40 else ""
    held_out = any(split in ("test", "validation") for _, split in names)
    everything: list[float] = []
    for name, split in names:
        points = _finite(steps, curves[name])
        everything += [one for _, one in points]
        kind = split or ("training" if held_out or metric == "loss" else "")
        color = {"training": TRAIN, "test": TEST, "validation": VALIDATION}.get(kind, OTHER)
        line = "--" if kind == "training" and held_out else "-"
        label = labels.get(name, kind or metric)
        axes.plot(*zip(*points, strict=True) if points else ((), ()), line, color=color, marker=marker, markersize=4,
                  label=label)  # fmt: skip
        lost = [at for at, one in zip(steps, curves[name], strict=True) if one is not None and not math.isfinite(one)]
        if lost:
            axes.axvline(lost[0], color=color, linestyle=":")
            axes.annotate(
                f"not finite from {lost[0]:g}", (lost[0], 0.5), xycoords=("data", "axes fraction"), rotation=90,
                ha="right", va="center", color=color, fontsize=8,
            )  # fmt: skip
    words = metric.split()
    share = everything and any(word in _SHARES for word in words) and min(everything) >= 0 and max(everything) <= 1
    if share:
        spread = max(everything) - min(everything)
        axes.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))  # no tick at 97.5%, which rounds to 98
        axes.yaxis.set_major_formatter(
            PercentFormatter(1.0, decimals=0 if spread > 0.05 else 1 if spread > 0.005 else 2)
        )
    elif "loss" in words and everything and max(everything) > 8 * min(everything) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        if max(everything) < 100 * min(everything):  # powers of ten alone would leave the axis almost bare
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    shown = [(name, split) for name, split in names if split in ("test", "validation")] or names[:1]
    for name, _ in shown:
        points = _finite(steps, curves[name])
        if points:  # the last number beside its point
            axes.annotate(
                f"{points[-1][1]:.2%}" if share else f"{points[-1][1]:.4g}", points[-1], xytext=(6, 0),
                textcoords="offset points", ha="left", va="center", color=theme.text, fontsize=9, annotation_clip=False,
            )  # fmt: skip
    axes.set_title(metric)
    if all(at == int(at) for at in steps if math.isfinite(at)):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.25)
    axes.margins(y=0.12)
    frame(axes, theme)
    if len(names) > 1 or labels.get(names[0][0]):
        legend = axes.legend(frameon=False, labelcolor=theme.text, fontsize=9)
        legend.set_zorder(3)
