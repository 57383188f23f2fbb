"""Curves of a training run, with matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["plot_history"]

LOSS, TRAIN, TEST = "#444444", "#0072b2", "#d55e00"  # apart for colour-blind readers too


def plot_history(history: Sequence[dict[str, Any]], path: str, title: str = "") -> str:
    """Draw loss and accuracy over the epochs into a PNG, SVG or PDF file.

    Args:
        history: for each epoch ``epoch``, ``loss``, ``train_accuracy`` and ``test_accuracy`` (shares of 1).
        path: the file; its suffix decides the format.
        title: above the picture.

    Returns:
        The path.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    epochs = [one["epoch"] for one in history]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(epochs, [one["loss"] for one in history], color=LOSS, marker="o", markersize=4)
    left.set(title="training loss", xlabel="epoch", yscale="log")
    for key, color, style, label in (
        ("train_accuracy", TRAIN, "--", "training, during the epoch"),
        ("test_accuracy", TEST, "-", "test"),
    ):
        right.plot(epochs, [one[key] for one in history], style, color=color, marker="o", markersize=4, label=label)
    final = history[-1]["test_accuracy"]
    right.annotate(f"{final:.2%}", (epochs[-1], final), xytext=(-4, -14), textcoords="offset points", ha="right")
    right.set(title="accuracy", xlabel="epoch")
    right.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    right.legend(frameon=False, loc="lower right")
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    if title:
        figure.suptitle(title)
    figure.savefig(path, dpi=150)
    return path
