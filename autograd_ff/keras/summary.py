"""The table of a model's layers, as Keras 3 prints it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..engine import here
from ..errors import AutogradError, ShapeError
from .graph import Graph
from .layers.layer import Layer
from .layers.symbolic import mapped

__all__ = ["describe_shape", "output_shape", "summary_text"]

SHARES = (0.45, 0.80, 1.0)  # where the columns end, of the whole width
WIDEST = 88
CONNECTED = (0.3, 0.56, 0.74, 1.0)  # the same, where layers are not one after the other
WIDEST_CONNECTED = 108
TRAINABLE = 12  # how much wider the table may be with a column more


def summary_text(
    model: Any,
    line_length: int | None = None,
    positions: Sequence[float] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Sequence[str] | None = None,
) -> str:
    """The summary of a model, with a line feed at its end. The arguments are those of `Model.summary`."""
    graph = getattr(model, "graph", None)  # of a functional model
    connected = isinstance(graph, Graph) and not graph.is_chain()
    shares = list(positions or (CONNECTED if connected else SHARES))
    header, justify = ["Layer (type)", "Output Shape", "Param #"], ["<", "<", ">"]
    widest = WIDEST
    if connected:
        widest = WIDEST_CONNECTED
        header.append("Connected to")
        justify.append("<")
    if show_trainable:
        widest += TRAINABLE
        shares = [0.9 * share for share in shares] + [1.0]
        header.append("Trainable")
        justify.append("^")
    line_length = line_length or min(widest, shutil.get_terminal_size().columns - 4)
    if len(shares) != len(header):
        raise ShapeError(f"positions has {len(shares)} numbers, and the table {len(header)} columns.{here()}")
    widths = column_widths(shares, line_length)
    layers = list(_within(model.layers, layer_range))
    connections = model.connections if connected else None
    rows = [row for layer in layers for row in _rows(layer, expand_nested, show_trainable, connections)]
    lines = [f'Model: "{model.name}"', *table(header, rows, widths, justify), *_totals(model)]
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------- the rows


def _rows(
    layer: Any, expand_nested: bool, show_trainable: bool, connections: Callable[[Any], str] | None, level: int = 0
) -> Iterator[list[str]]:
    prefix = "   " * level + "└ " if level else ""
    built = layer.built or _makes_nothing(layer)
    row = [
        f"{prefix}{layer.name} ({type(layer).__name__})",
        describe_shape(output_shape(layer)),
        f"{layer.count_params():,}" if built else "0 (unbuilt)",
    ]
    if connections is not None:
        row.append(connections(layer))
    if show_trainable:
        row.append(("Y" if layer.trainable else "N") if built and layer.weights else "-")
    yield row
    if expand_nested:
        for inner in getattr(layer, "layers", ()):
            yield from _rows(inner, expand_nested, show_trainable, connections, level + 1)


def _makes_nothing(layer: Any) -> bool:
    """Whether a layer has no weights, built or not: neither makes it any, nor does a layer in it."""
    return type(layer).build is Layer.build and not any(isinstance(child, Layer) for child in layer.children())


def output_shape(layer: Any) -> Any:
    """The shape of a layer's outputs, or None where it is not known: one's own layer may not be able to tell."""
    if layer.calls:
        return mapped(lambda one: one.shape, layer.calls[-1].outputs)
    try:
        return layer.output_shape
    except (AutogradError, NotImplementedError, TypeError, ValueError, LookupError):
        return None


def describe_shape(shape: Any) -> str:
    """``(None, 10)``; ``?`` where it is not known.

    >>> describe_shape((None, 10)), describe_shape((3,)), describe_shape(None)
    ('(None, 10)', '(3)', '?')
    """
    if shape is None:
        return "?"
    if isinstance(shape, tuple) and all(length is None or isinstance(length, int) for length in shape):
        return f"({', '.join(map(str, shape))})"
    if isinstance(shape, dict):
        return "{" + ", ".join(f"{key}: {describe_shape(one)}" for key, one in shape.items()) + "}"
    return "[" + ", ".join(describe_shape(one) for one in shape) + "]"


def _within(layers: Sequence[Any], layer_range: Sequence[str] | None) -> Sequence[Any]:
    """The layers from the first whose name the first pattern matches to the last that the second matches."""
    if layer_range is None:
        return layers
    if isinstance(layer_range, str) or len(layer_range) != 2 or not all(isinstance(one, str) for one in layer_range):
        raise ShapeError(f"layer_range is a pair of names of layers, not {layer_range!r}.{here()}")
    matches = [
        [place for place, layer in enumerate(layers) if re.match(pattern, layer.name)] for pattern in layer_range
    ]
    if not all(matches):
        names = ", ".join(layer.name for layer in layers)
        raise ShapeError(f"layer_range {tuple(layer_range)} names no layers of this model; it has {names}.{here()}")
    first, last = sorted((matches[0][0], matches[1][-1]))
    return layers[first : last + 1]


def _totals(model: Any) -> Iterator[str]:
    trainable = [tensor.array for tensor in model.trainable_weights]
    fixed = [tensor.array for tensor in model.non_trainable_weights]
    parts = [("Trainable", *_size(trainable)), ("Non-trainable", *_size(fixed))]
    optimizer = model._optimizer_size()
    if optimizer is not None:
        parts.append(("Optimizer", *optimizer))
    yield _total("Total", sum(part[1] for part in parts), sum(part[2] for part in parts))
    for part in parts:
        yield _total(*part)


def _size(arrays: Sequence[Any]) -> tuple[int, int]:
    return sum(array.size for array in arrays), sum(array.nbytes for array in arrays)


def _total(name: str, count: int, size: float) -> str:
    units = ["B", "KB", "MB", "GB", "TB", "PB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f" {name} params: {count:,} ({size:.2f} {units[0]})"


# ---------------------------------------------------------------- the table


def column_widths(shares: Sequence[float], line_length: int) -> list[int]:
    """How many characters the columns have between their frames, with a blank on each side."""
    ends = [int(share * line_length) for share in shares]
    widths = [end - start + 2 for start, end in zip([0, *ends], ends, strict=False)]
    excess = sum(widths) + len(widths) + 1 - line_length
    for place in range(len(widths)):  # what the frames need is taken from all columns alike
        taken = round(excess / (len(widths) - place))
        widths[place] -= max(taken, 0)
        excess -= max(taken, 0)
    if min(widths) < 5:
        raise ShapeError(f"a summary of {line_length} characters is too narrow for its columns.{here()}")
    return widths


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int], justify: Sequence[str]
) -> Iterator[str]:
    """The lines of a table: a heavy frame around the header, a light one around the rows, a line between two rows.

    >>> print("\\n".join(table(["name", "#"], [["a rather long name", "7"]], [12, 5], "<>")))
    ┏━━━━━━━━━━━━┳━━━━━┓
    ┃ name       ┃   # ┃
    ┡━━━━━━━━━━━━╇━━━━━┩
    │ a rather   │   7 │
    │ long name  │     │
    └────────────┴─────┘
    """

    def rule(left: str, line: str, cross: str, right: str) -> str:
        return left + cross.join(line * width for width in widths) + right

    def row(cells: Sequence[str], bar: str, bottom: bool = False) -> Iterator[str]:
        wrapped = [wrap_words(text, width - 2) for text, width in zip(cells, widths, strict=True)]
        height = max(map(len, wrapped))
        columns = [
            [""] * (height - len(part)) + part if bottom else part + [""] * (height - len(part)) for part in wrapped
        ]
        for line in zip(*columns, strict=True):
            cell = (f" {text:{side}{width - 2}} " for text, side, width in zip(line, justify, widths, strict=True))
            yield bar + bar.join(cell) + bar

    yield rule("┏", "━", "┳", "┓")
    yield from row(header, "┃", bottom=True)
    yield rule("┡", "━", "╇", "┩")
    for place, cells in enumerate(rows):
        if place:
            yield rule("├", "─", "┼", "┤")
        yield from row(cells, "│")
    yield rule("└", "─", "┴", "┘")


def wrap_words(text: str, width: int) -> list[str]:
    """Lines of at most ``width`` characters, broken between words; a word that is longer ends in an ellipsis."""
    lines = [""]
    for word in re.findall(r"\s*\S+\s*", text):
        if lines[-1] and len(lines[-1]) + len(word.rstrip()) > width:
            lines.append("")
        lines[-1] += word
    stripped = [line.rstrip() for line in lines]
    return [line if len(line) <= width else line[: width - 1] + "…" for line in stripped]
