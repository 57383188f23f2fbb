"""What a classifier confuses: the confusion matrix, and the images that it is most wrong about."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from autograd_ff.nn.module import Module

from ..drawing.style import LIGHT, Theme, theme_of
from .chart import TEST, TRAIN, array_of, class_names, finish, frame, new_figure, paper_of, picture_error

__all__ = ["confusion_matrix", "plot_confusion", "plot_worst", "predict"]

_NUMBERS_UP_TO = 20  # classes whose cells have room for numbers
_NAMES_UP_TO = 60


def predict(model: Module, data: Any, batch_size: int = 1000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Run a classifier over a dataset, in evaluation mode and without recording.

    Args:
        model: from a batch of images to outputs of shape (batch, classes). Left in the mode that it was in.
        data: a dataset of (image, label), or a loader of batches of them.
        batch_size: where ``data`` is a dataset.

    Returns:
        images, labels (n,) and outputs (n, classes), as `plot_confusion` and `plot_worst` take them.

    Raises:
        PictureError: (a ValueError) there is no sample.

    >>> import autograd_ff as af
    >>> from autograd_ff.data import TensorDataset
    >>> images, labels, outputs = predict(af.nn.Identity(), TensorDataset(af.eye(3), af.tensor([0, 1, 0])))
    >>> confusion_matrix(labels, outputs).tolist()
    [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    """
    from autograd_ff.autograd import no_grad
    from autograd_ff.data import DataLoader

    loader = data if isinstance(data, DataLoader) else DataLoader(data, batch_size)
    parts: list[tuple[np.ndarray, ...]] = []
    was_training = model.training
    model.eval()
    try:
        with no_grad():
            for images, labels in loader:
                parts.append((images.array, labels.array, model(images).array))
    finally:
        model.train(was_training)
    if not parts:
        raise picture_error("there is no sample in the data")
    images, labels, outputs = (np.concatenate(one) for one in zip(*parts, strict=True))
    return images, labels, outputs


def confusion_matrix(labels: Any, predicted: Any, count: int | None = None) -> np.ndarray:
    """How often which class was taken for which: ``matrix[true, predicted]``.

    Args:
        labels: the true classes (n,).
        predicted: the predicted classes (n,), or outputs (n, classes), of which the largest counts.
        count: how many classes there are; by default as many as occur.

    Raises:
        PictureError: (a ValueError) nothing to count, unequal lengths, labels that are no classes, or a NaN among the outputs.

    >>> confusion_matrix([0, 1, 1, 2], [0, 1, 2, 2]).tolist()
    [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
    """
    true = _classes(labels, "labels")
    guessed = array_of(predicted, "predictions")
    if guessed.ndim == 2:
        count = guessed.shape[1] if count is None else count
        guessed = _outputs(guessed).argmax(axis=1)
    guessed = _classes(guessed, "predictions")
    if len(true) != len(guessed):
        raise picture_error(f"there are {len(true):,} labels, but {len(guessed):,} predictions")
    if not len(true):
        raise picture_error("there is no sample to count")
    most = int(max(true.max(), guessed.max())) + 1
    if count is None:
        count = most
    elif most > count:
        raise picture_error(f"class {most - 1} occurs where there are {count} classes, from 0 to {count - 1}")
    return np.bincount(true * count + guessed, minlength=count * count).reshape(count, count)


def _classes(values: Any, name: str) -> np.ndarray:
    array = array_of(values, name)
    if array.ndim != 1:
        raise picture_error(f"{name} have shape (n,), not {array.shape}")
    whole = array.astype(np.int64)
    if array.size and (np.any(whole != array) or whole.min() < 0):
        raise picture_error(f"{name} are classes counted from 0, not {array[(whole != array) | (whole < 0)][0]}")
    return whole


def _outputs(outputs: np.ndarray) -> np.ndarray:
    bad = np.isnan(outputs).any(axis=1)
    if bad.any():
        raise picture_error(
            f"the outputs of {np.count_nonzero(bad):,} of {len(bad):,} samples are NaN: no class is predicted"
        )
    return outputs


def plot_confusion(
    labels: Any,
    predicted: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    classes: Sequence[Any] | None = None,
    title: str = "",
    theme: Theme | str = LIGHT,
) -> Any:
    """Draw a confusion matrix: a row for each true class, its shares as shades, its counts as numbers.

    Args:
        labels: the true classes (n,).
        predicted: the predicted classes (n,), or outputs (n, classes).
        path: a ``.png``, ``.svg`` or ``.pdf`` file; None for the figure itself.
        classes: their names; their numbers by default.
        title: above the picture.
        theme: colours: ``"light"``, ``"dark"`` or a `Theme`.

    A shade is a share of its row, so a rare class is as visible as a common one; shades grow with the square root of the
    share, and those of mistakes on a scale of their own, so that rare ones show. What is right is blue, what is wrong
    orange. The share on the diagonal is how many of a class were found (recall); the line below says how many of each
    prediction were right (precision).

    Returns:
        The path, or a ``matplotlib.figure.Figure``.

    Raises:
        PictureError: (a ValueError) see `confusion_matrix`.
        ImportError: matplotlib is missing.

    >>> figure = plot_confusion([0, 1, 1, 2], [0, 1, 2, 2], classes=["cat", "dog", "fox"])
    >>> figure.axes[0].get_title()
    '3 of 4 right: 75.00 %'
    """
    theme = theme_of(theme)
    counts = confusion_matrix(labels, predicted, None if classes is None else len(classes))
    number = len(counts)
    names = class_names(classes, number)
    rows, columns = counts.sum(axis=1), counts.sum(axis=0)
    shares = counts / np.maximum(rows, 1)[:, None]
    right, total = int(np.trace(counts)), int(counts.sum())
    side = min(max(3.2, 0.62 * number + 2.0), 13.0)
    figure = new_figure(side, side, theme)
    axes = figure.add_subplot()
    strength = _strength(shares)
    axes.imshow(_shades(strength, theme), interpolation="nearest", aspect="equal")
    for at in range(number + 1):  # hair lines between the cells
        width = 1.0 if number <= _NUMBERS_UP_TO else 0.3
        axes.axhline(at - 0.5, color=tuple(paper_of(theme)), linewidth=width)
        axes.axvline(at - 0.5, color=tuple(paper_of(theme)), linewidth=width)
    if number <= _NUMBERS_UP_TO:
        for row, column in np.ndindex(number, number):
            if counts[row, column]:
                dark = bool(strength[row, column] > 0.6)
                _cell(axes, row, column, int(counts[row, column]), shares[row, column], dark, number, theme)
        for at in range(number):
            precision = f"{counts[at, at] / columns[at]:.1%}" if columns[at] else "–"
            axes.text(at, number - 0.3, precision, ha="center", va="center", fontsize=8, color=theme.note)
        axes.text(-0.62, number - 0.3, "right", ha="right", va="center", fontsize=8, color=theme.note)
        axes.set_ylim(number, -0.5)
    if number <= _NAMES_UP_TO:
        long = max(map(len, names)) > 3
        axes.set_xticks(range(number), names, rotation=45 if long else 0, ha="left" if long else "center")
        axes.set_yticks(range(number), names)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(f"{right:,} of {total:,} right: {100 * right / total:.2f} %", pad=12)
    frame(axes, theme)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return finish(figure, path, title, theme)


def _strength(shares: np.ndarray) -> np.ndarray:
    """How dark each cell is, from 0 to 1; mistakes on a scale of their own, so that rare ones differ too."""
    wrong = ~np.eye(len(shares), dtype=bool)
    most = max(shares[wrong].max(initial=0.0), 0.1)
    return np.where(shares == 0, 0.0, np.sqrt(np.where(wrong, 0.01 + 0.99 * shares / most, shares)))


def _shades(strength: np.ndarray, theme: Theme) -> np.ndarray:
    """Colours (n, n, 3): from the paper to blue on the diagonal, to orange off it."""
    from matplotlib.colors import to_rgb

    paper = paper_of(theme)
    empty = paper + (np.array(to_rgb(theme.note)) - paper) * 0.07
    ink = np.where(np.eye(len(strength), dtype=bool)[..., None], to_rgb(TRAIN), to_rgb(TEST))
    return np.where(strength[..., None] > 0, paper + (ink - paper) * strength[..., None], empty)


def _cell(axes: Any, row: int, column: int, count: int, share: float, dark: bool, number: int, theme: Theme) -> None:
    """The count, and below it, where there is room, its share of the row."""
    color = "white" if dark else theme.text
    weight = "bold" if row == column else "normal"
    roomy = number <= 12
    size = {"fontsize": 9 if roomy else 7, "fontweight": weight, "color": color}
    axes.text(column, row - (0.12 if roomy else 0), f"{count:,}", ha="center", va="center", **size)
    if roomy:
        faint = color if dark else theme.note
        axes.text(column, row + 0.22, f"{share:.1%}", ha="center", va="center", fontsize=6.5, color=faint)


def plot_worst(
    images: Any,
    labels: Any,
    outputs: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    rows: int = 4,
    columns: int = 8,
    classes: Sequence[Any] | None = None,
    title: str = "",
    theme: Theme | str = LIGHT,
) -> Any:
    """Draw the images with the highest loss, the worst first, each with its true class and the predicted one.

    Args:
        images: (n, height, width), (n, channels, height, width), (n, height, width, channels) or (n, pixels of a
            square); one or three channels, of bytes or of any floats.
        labels: the true classes (n,).
        outputs: unnormalised scores (n, classes), before softmax, as `CrossEntropyLoss` takes them.
        path: a ``.png``, ``.svg`` or ``.pdf`` file; None for the figure itself.
        rows, columns: of the grid.
        classes: their names; their numbers by default.
        title: above the picture.
        theme: colours: ``"light"``, ``"dark"`` or a `Theme`.

    The loss is cross-entropy, ``-log p(label)``; probabilities are the softmax of the outputs.

    Returns:
        The path, or a ``matplotlib.figure.Figure``.

    Raises:
        PictureError: (a ValueError) no image, lengths that differ, a shape that is no image's, or a NaN among the outputs.
        ImportError: matplotlib is missing.

    >>> figure = plot_worst(np.zeros((2, 4, 4)), [0, 1], [[2.0, 0.0], [3.0, 0.0]], rows=1, columns=2)
    >>> [axes.get_title() for axes in figure.axes]
    ['1 → 0\\n4.7% → 95%', '0 → 0\\n88%']
    """
    theme = theme_of(theme)
    pictures = _pictures(array_of(images, "images"))
    true, scores = _classes(labels, "labels"), array_of(outputs, "outputs")
    if scores.ndim != 2:
        raise picture_error(f"outputs have shape (n, classes), not {scores.shape}")
    if not len(pictures) == len(true) == len(scores):
        raise picture_error(f"there are {len(pictures):,} images, {len(true):,} labels and {len(scores):,} outputs")
    if not len(true):
        raise picture_error("there is no image to draw")
    if rows < 1 or columns < 1:
        raise picture_error(f"a grid has at least one row and one column, not {rows} and {columns}")
    if true.max() >= scores.shape[1]:
        raise picture_error(f"class {true.max()} occurs where the outputs have {scores.shape[1]} classes")
    names = class_names(classes, scores.shape[1])
    scores = _outputs(scores).astype(np.float64)
    shifted = scores - scores.max(axis=1, keepdims=True)
    probabilities = np.exp(shifted)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    everyone = np.arange(len(true))
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[everyone, true]
    guessed = scores.argmax(axis=1)
    worst = np.argsort(-losses, kind="stable")[: rows * columns]
    columns = min(columns, len(worst))
    rows = -(-len(worst) // columns)
    figure = new_figure(1.15 * columns + 0.2, 1.55 * rows + 0.4, theme)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, at in zip(grid.flat, worst, strict=False):
        axes.imshow(pictures[at], cmap="gray", interpolation="nearest")
        wrong = guessed[at] != true[at]
        heading = f"{names[true[at]]} → {names[guessed[at]]}"
        chance = _percent(probabilities[at, true[at]])
        if wrong:
            chance += f" → {_percent(probabilities[at, guessed[at]])}"
        axes.set_title(f"{heading}\n{chance}", fontsize=8.5, color=TEST if wrong else theme.note, linespacing=1.15)
    wrong_ones = np.count_nonzero(guessed != true)
    note = f"the {len(worst)} highest losses of {len(true):,} images ({wrong_ones:,} wrong) · true → predicted"
    if title:
        note = f"{title}\n{note}"
    figure.suptitle(note, color=theme.text, fontsize=10)
    return finish(figure, path, "", theme)


def _percent(share: float) -> str:
    """
    >>> _percent(0.9999), _percent(0.123), _percent(0.0004), _percent(0.0)
    ('100%', '12%', '0.04%', '<0.01%')
    """
    if share < 0.0001:
        return "<0.01%"
    return f"{share:.0%}" if share >= 0.0995 else f"{share:.1%}" if share >= 0.00095 else f"{share:.2%}"


def _pictures(images: np.ndarray) -> np.ndarray:
    """As matplotlib draws them: (n, height, width) or (n, height, width, 3), each from 0 to 1."""
    shape = images.shape
    if images.ndim == 2 and (side := round(shape[1] ** 0.5)) ** 2 == shape[1] and side:
        images = images.reshape(-1, side, side)
    elif images.ndim == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3):
        images = images.transpose(0, 2, 3, 1)
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if not (images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)) or 0 in images.shape[1:]:
        raise picture_error(f"these are no images: shape {shape}; one or three channels, (n, channels, height, width)")
    around = tuple(range(1, images.ndim))
    values = images.astype(np.float32)
    low = values.min(axis=around, keepdims=True)
    spread = values.max(axis=around, keepdims=True) - low
    return (values - low) / np.where(spread > 0, spread, 1)
