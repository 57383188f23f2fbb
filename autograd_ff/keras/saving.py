"""A model in a file: what it is made of, its weights, how it was compiled, and where its optimizer stands.

The file is a safetensors file, written by `autograd_ff.save`, with any suffix. It is not the zip archive that Keras calls
``.keras``; `load_model` says so where it meets one. Nothing in it is code, and nothing is looked up but layers, losses and
optimizers of this package and classes that the caller names.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..engine import TensorCore, here, warn
from ..errors import AutogradError, FileFormatError, ModuleError, StateDictError
from ..serialization import load, save
from .layers.layer import Layer
from .layers.serialization import deserialize, serialize
from .layers.symbolic import as_shape
from .registry import (
    custom_object_scope,
    get_custom_objects,
    get_registered_name,
    known_objects,
    register_keras_serializable,
    unbuilt,
)

__all__ = [
    "custom_object_scope", "get_custom_objects", "get_registered_name", "load_model", "load_weights",
    "register_keras_serializable", "save_model", "save_weights",
]  # fmt: skip

FORMAT = "autograd_ff.keras"
VERSION = 1
REFUSED = (".h5", ".hdf5")

# ---------------------------------------------------------------- whole models


def save_model(model: Any, filepath: str | os.PathLike[str], overwrite: bool = True, **kwargs: Any) -> None:
    """Write a model to a file: its layers, its weights, how it was compiled, and the state of its optimizer.

    Args:
        model: a built one; one's own class is written by the arguments that it was made with, or by its ``get_config``.
        filepath: any suffix but HDF5's. The file is a safetensors file, also where it is called ``.keras``: Keras itself
            does not read it, though any program that reads safetensors finds the weights in it.
        overwrite: replace a file that is there.
        kwargs: accepted as Keras does (``zipped=``, ``include_optimizer=False`` leaves the optimizer's state away).

    Raises:
        ModuleError: a layer that cannot be written down; says which.
        FileExistsError: there is such a file, and ``overwrite`` is False.

    >>> import tempfile, numpy as np
    >>> from autograd_ff import keras
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="softmax")])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(f"{folder}/model.keras")
    ...     copy = keras.models.load_model(f"{folder}/model.keras")
    >>> x = np.ones((1, 3))
    >>> bool((copy.predict(x, verbose=0) == model.predict(x, verbose=0)).all())
    True
    """
    check_suffix(filepath)
    _check_overwriting(filepath, overwrite)
    settings = model.__dict__["_settings"]
    compiled = None
    if settings is not None:
        try:
            compiled = settings.get_config()
        except AutogradError as error:
            warn(f"how {model.name!r} was compiled is left out of the file; compile it again after loading: {error}")
    optimizer = None
    if compiled is not None and kwargs.get("include_optimizer", True):
        optimizer = settings.optimizer_state(model)
    content = {
        "format": FORMAT,
        "version": VERSION,
        "model": serialize(model),
        "shapes": _shapes(model),
        "weights": dict(model.state_dict()),
        "compile": compiled,
        "optimizer": optimizer,
    }
    save(content, filepath)


def load_model(
    filepath: str | os.PathLike[str],
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Any:
    """The model in a file that `save_model` wrote, ready to predict, or to train on from where it stood.

    Args:
        filepath: the file.
        custom_objects: one's own classes and functions, by name.
        compile: compile it as it was; without, `compile` has to be called before training.
        safe_mode: accepted as Keras does; no file can make this function run code.

    Raises:
        FileNotFoundError: there is no such file.
        FileFormatError: the file is damaged, truncated, or of another kind.
        ModuleError: it needs a class that ``custom_objects`` does not name.

    >>> from autograd_ff import keras
    >>> keras.models.load_model("no such file.keras")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] there is no such file to load: 'no such file.keras'
    """
    name = os.fspath(filepath)
    content = _read(name)
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        raise FileFormatError(
            f"{name} holds no model that Model.save wrote.{here()}\n  Weights alone are read by model.load_weights(path)."
        )
    if content.get("version") != VERSION:
        raise FileFormatError(
            f"{name} has version {str(content.get('version'))[:40]} of the format, this autograd_ff reads {VERSION}.{here()}"
        )
    weights = _weights(content.get("weights"), name)
    with custom_object_scope(custom_objects), _damaged(name):
        with unbuilt():
            model = deserialize(content["model"])
        _build(model, content["shapes"], sum(math.prod(one.shape) for one in weights.values()), name)
        model.load_state_dict(weights)
        for module in model.modules():
            if hasattr(module, "_connected"):  # so that a model can begin or end at a layer of this one
                module._connected()
        if compile and content.get("compile") is not None:
            from .settings import Settings

            settings = Settings.from_config(content["compile"], known_objects())
            model.__dict__["_settings"] = settings
            settings.load_optimizer_state(model, content.get("optimizer"))
    return model


def save_weights(model: Any, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
    """Write the weights of a model to a safetensors file, under their qualified names.

    The file may be called ``.weights.h5``, the only suffix that Keras allows, and is a safetensors file all the same.

    >>> import tempfile
    >>> import autograd_ff as af
    >>> from autograd_ff import keras
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="head")])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save_weights(f"{folder}/model.weights.safetensors")
    ...     model.load_weights(f"{folder}/model.weights.safetensors")
    """
    check_suffix(filepath, weights_only=True)
    _check_overwriting(filepath, overwrite)
    if not model.built:
        raise ModuleError(
            f"{model.name!r} is not built and has no weights yet.{here()}\n  Call it, or build it, first."
        )
    save(dict(model.state_dict()), filepath)


def load_weights(model: Any, filepath: str | os.PathLike[str], skip_mismatch: bool = False) -> None:
    """Take over the weights in a file of `save_weights` or `save_model`.

    Args:
        model: a built one.
        filepath: the file.
        skip_mismatch: leave out weights that the model does not have, or has in another shape, with a warning.

    Raises:
        StateDictError: names or shapes differ; nothing is taken over then.
        FileFormatError: the file is damaged, truncated, or of another kind.

    >>> import tempfile
    >>> from autograd_ff import keras
    >>> path = os.path.join(tempfile.mkdtemp(), "model.weights.safetensors")
    >>> first, second = (keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]) for _ in range(2))
    >>> keras.saving.save_weights(first, path)
    >>> keras.saving.load_weights(second, path)
    >>> bool((first.get_weights()[0] == second.get_weights()[0]).all())
    True
    """
    name = os.fspath(filepath)
    content = _read(name)
    if isinstance(content, Mapping) and content.get("format") == FORMAT:
        content = content.get("weights")
    weights = _weights(content, name)
    if not model.built:
        raise ModuleError(
            f"{model.name!r} is not built, so it has no weights to fill.{here()}\n  Call it, or build it, first."
        )
    if skip_mismatch:
        own = model.state_dict()
        fitting = {key: one for key, one in weights.items() if key in own and own[key].shape == one.shape}
        left = sorted(set(weights) ^ set(fitting) | (set(own) - set(fitting)))
        if left:
            warn(f"{name}: weights that do not fit were left as they are: {', '.join(left[:8])}")
        model.load_state_dict(fitting, strict=False)
    else:
        model.load_state_dict(weights)


# ---------------------------------------------------------------- reading with care


def check_suffix(filepath: Any, weights_only: bool = False) -> None:
    """A file that is called HDF5 has to be that, but for the one suffix that Keras allows for weights."""
    name = os.fspath(filepath)
    if name.lower().endswith(REFUSED) and not (weights_only and name.lower().endswith(".weights.h5")):
        raise FileFormatError(
            f"{name}: models are written as safetensors, not as HDF5.{here()}\n  Call it model.keras or model.safetensors."
        )


def _check_overwriting(filepath: Any, overwrite: bool) -> None:
    name = os.fspath(filepath)
    if not overwrite and os.path.exists(name):
        raise FileExistsError(f"there is a file {name} already; overwrite=True replaces it")


def _read(name: str) -> Any:
    try:
        with open(name, "rb") as file:
            start = file.read(8)
    except (FileNotFoundError, IsADirectoryError):
        start = b""
    kind = {b"PK\x03\x04": "a zip archive, as Keras writes it", b"\x89HDF": "an HDF5 file, as Keras wrote it"}.get(
        start[:4]
    )
    if kind is not None:
        raise FileFormatError(
            f"{name} is {kind}, which is not read here.{here()}\n  Load it in Keras and take the weights over: "
            "model.set_weights(keras_model.get_weights())."
        )
    return load(name)


def _weights(content: Any, name: str) -> dict[str, Any]:
    if not isinstance(content, Mapping) or not all(
        isinstance(key, str) and isinstance(one, (TensorCore, np.ndarray)) for key, one in content.items()
    ):
        raise FileFormatError(f"{name} holds no weights: tensors under their names are expected.{here()}")
    return dict(content)


@contextmanager
def _damaged(name: str) -> Iterator[None]:
    """What goes wrong while a model is put together says which file it comes from."""
    try:
        yield
    except (FileFormatError, ModuleError) as error:
        error.add_note(f"  in the file {name}")
        raise
    except StateDictError as error:
        raise FileFormatError(f"the weights in {name} are not those of the model in it: {error}") from error
    except (
        AutogradError,
        TypeError,
        ValueError,
        LookupError,
        AttributeError,
        MemoryError,
        OverflowError,
        RecursionError,
    ) as error:
        what = str(error) or type(error).__name__
        way_out = (
            "\n  If it is your own, name it: load_model(path, custom_objects={…})." if "there is no" in what else ""
        )
        raise FileFormatError(f"{name} describes a model that cannot be put together: {what}{way_out}") from error


def _shapes(model: Any) -> dict[str, Any]:
    """The shapes that the model and the layers in it were built for, by their paths."""
    return {
        path: module.input_shape
        for path, module in model.named_modules(remove_duplicate=True)
        if isinstance(module, Layer) and module.built
    }


def _build(model: Any, shapes: Any, size: int, name: str) -> None:
    """Build the layers for these shapes, if their weights cannot be more than the file holds."""
    if not isinstance(shapes, Mapping):
        raise FileFormatError(f"{name} does not say for which shapes its layers were built.{here()}")
    from .model import Model

    for module in list(model.modules()):
        if isinstance(module, Model):
            module._adopt()
    for path, given in shapes.items():  # in the order in which they were written: a layer before those in it
        module = model.get_submodule(path)
        if not isinstance(module, Layer) or (module.built and not isinstance(module, Model)):
            continue
        shape = None if given is None else as_shape(given)
        if _least_size(module, shape) > size:
            raise FileFormatError(
                f"the layer {module.name!r} would have more weights than the {size:,} numbers that the file holds.{here()}"
            )
        if isinstance(module, Model) or shape is None:
            module._finish_building(shape)
        else:
            module.build(shape)


def _least_size(layer: Any, shape: Any) -> int:
    """How many numbers a layer of this package makes at least for inputs of a shape; 0 where that is not known."""
    if hasattr(layer, "output_dim"):
        return int(layer.input_dim) * int(layer.output_dim)
    if not isinstance(shape, tuple) or not shape:
        return 0
    if hasattr(layer, "units"):
        return int(layer.units) * (shape[-1] or 0)
    if hasattr(layer, "epsilon") and isinstance(layer.axis, int):
        return shape[layer.axis] or 0
    if hasattr(layer, "shared_axes"):
        return math.prod(side or 0 for side in shape[1:]) if layer.shared_axes is None else 0
    return 0
