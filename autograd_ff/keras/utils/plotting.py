"""The layers of a model as a picture."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from ...engine import here, wrap
from ...errors import ModuleError
from ..functional import Functional
from ..sequential import Sequential
from ..summary import describe_shape, output_shape

__all__ = ["plot_model"]


def plot_model(
    model: Any,
    to_file: str | os.PathLike[str] = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int | None = None,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str | None = None,
    **kwargs: Any,
) -> str:
    """Draw the layers of a model into a file: those of a `Sequential` one after the other, those of a functional
    model as they are called, others as a run shows them.

    For all that a model computes, operation by operation, see ``visualize.render(model, x, "graph.png")``.

    Args:
        model: a built one.
        to_file: the suffix says what is written: ``.png``, ``.svg``, ``.pdf``, ``.html``, ``.dot``, ``.mmd``.
        show_shapes: the shapes of what comes in and goes out, and the number of parameters.
        show_dtype: the dtype of the weights.
        show_layer_names: the names of the layers beside their types.
        rankdir: ``"TB"`` from top to bottom, ``"LR"`` from left to right.
        expand_nested: show the layers of models within this one.
        show_layer_activations: the activations beside the types.
        show_trainable: which layers are frozen.
        dpi, splines, kwargs: accepted as Keras does, and without effect.

    Returns:
        The path of the file.

    Raises:
        ModuleError: the model is not built.

    >>> import pathlib, tempfile
    >>> from autograd_ff import keras
    >>> model = keras.Sequential([keras.Input((784,)), keras.layers.Dense(10, activation="softmax")])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = keras.utils.plot_model(model, f"{folder}/model.dot", show_shapes=True)
    ...     "(None, 784) → (None, 10)" in pathlib.Path(path).read_text(encoding="utf-8")
    True
    """
    import visualize
    from visualize import Edge, GraphView, Node
    from visualize import Module as Box

    if not model.built:
        raise ModuleError(
            f"{model.name!r} is not built, so its shapes are not known.{here()}\n"
            "  Call it on a batch, or build it: model.build((None, 784)), say."
        )
    drawn = isinstance(model, Sequential) or (isinstance(model, Functional) and not expand_nested)
    if not drawn:  # how its layers hang together is seen by running it
        zeros = [wrap(np.zeros([side or 1 for side in one], model.dtype)) for one in _shapes(model.input_shape)]
        depth = None if expand_nested else 1
        inputs = zeros if isinstance(model.input_shape, list) else zeros[0]
        return visualize.render(
            model, inputs, path=to_file, direction=rankdir, depth=depth, legend=False, hide="parameter"
        )
    nodes: list[Any] = []
    boxes: list[Any] = []

    def draw(layer: Any, box: int | None, shape: Any) -> Any:
        """Add a layer that is given a shape; the shape of what it makes comes back."""
        result = output_shape(layer)
        if expand_nested and getattr(layer, "layers", None):
            inner = enclose(layer, box)
            for one in layer.layers:
                shape = draw(one, inner, shape)
            return shape
        details = []
        if show_layer_activations and layer.activation_name() != "linear":
            details.append(layer.activation_name())
        lines = []
        if show_shapes:
            before, after = describe_shape(shape), describe_shape(result)
            lines.append(("", before if before == after else f"{before} → {after}"))
            if layer.count_params():
                lines.append((f"{layer.count_params():,}", "parameters"))
        if show_dtype:
            lines.append(("", str(layer.dtype)))
        if show_trainable and layer.weights:
            lines.append(("", "trainable" if layer.trainable else "frozen"))
        nodes.append(
            Node(
                len(nodes), "module", type(layer).__name__, path=layer.name if show_layer_names else "",
                detail=", ".join(details), arguments=tuple(lines), module=box,
            )
        )  # fmt: skip
        return result

    def enclose(layer: Any, box: int | None) -> int:
        boxes.append(Box(len(boxes), "module", layer.name, type(layer).__name__, parent=box))
        return len(boxes) - 1

    outer = enclose(model, None)
    if isinstance(model, Functional):
        edges = _draw_functional(model, outer, draw)
    else:
        shape = model.input_shape
        shown = ((("", describe_shape(shape)),) if show_shapes else ()) + ((("", model.dtype),) if show_dtype else ())
        nodes.append(Node(0, "module", "InputLayer", path="input" if show_layer_names else "", arguments=shown))
        for layer in model.layers:
            shape = draw(layer, outer, shape)
        edges = [(place, place + 1) for place in range(len(nodes) - 1)]
    view = GraphView(tuple(nodes), tuple(Edge(*one) for one in edges), tuple(boxes), name=model.name)
    return visualize.render(view, path=to_file, direction=rankdir, legend=False, open=True, limit=len(nodes) + 1)


def _draw_functional(model: Functional, box: int, draw: Callable[[Any, int, Any], Any]) -> list[tuple[int, int]]:
    """Add all layers, each once; from which to which a value goes comes back."""
    places = {id(layer): place for place, layer in enumerate(model.layers)}
    edges: list[tuple[int, int]] = []
    for layer in model.layers:
        sources = model.sources(layer)
        shapes = [one.shape for one in sources]
        draw(layer, box, layer.batch_shape if not shapes else shapes[0] if len(shapes) == 1 else shapes)
        for source in dict.fromkeys(places[id(one.layer)] for one in sources):
            edges.append((source, places[id(layer)]))
    return edges


def _shapes(shape: Any) -> list[Any]:
    return shape if isinstance(shape, list) else [shape]
