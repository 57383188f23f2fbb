"""What a command line says, as things to draw: ``module:callable``, files, and inputs such as ``64x784:int64``."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from autograd_ff.engine import TensorCore, wrap
from autograd_ff.nn.module import Module

from ..checkpoints import load_checkpoint
from ..errors import PictureError
from ..graph.view import GraphView

__all__ = ["Target", "array_of_text", "find", "required"]

_INPUT = re.compile(r"(?:(?P<name>[^\W\d]\w*)=)?(?P<shape>\d+(?:[xX×,]\d+)*|scalar)(?::(?P<dtype>\w+))?")
_MOST = 1 << 30  # elements of an input
_SEED = 0


@dataclass
class Target:
    """What to draw, and what to call it with."""

    value: Any
    inputs: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)


def array_of_text(text: str) -> tuple[str, Any]:
    """An input in the words of a command line: a shape, perhaps a dtype after a colon and a name before an ``=``.

    Floating point numbers are drawn from a normal distribution, always the same; integers are 0, which is an index into
    any table and a class of any classifier; booleans are True.

    Returns:
        The name, or ``""``, and the tensor.

    Raises:
        ValueError: the text says something else.

    >>> name, images = array_of_text("64x784")
    >>> name, images.shape, images.dtype
    ('', (64, 784), dtype('float32'))
    >>> array_of_text("mask=2x2:bool")
    ('mask', tensor([[ True,  True],
            [ True,  True]]))
    """
    match = _INPUT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no input: write a shape such as 64x784, with a dtype 64x784:float64 or 32:int64")
    shape = () if match["shape"] == "scalar" else tuple(int(side) for side in re.split("[xX×,]", match["shape"]))
    try:
        dtype = np.dtype(match["dtype"] or "float32")
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "fciub":
        raise ValueError(f"{match['dtype']!r} is no dtype of numbers: float32, float64, int64, bool …")
    if math.prod(shape) > _MOST:
        raise ValueError(f"{text} has {math.prod(shape):,} elements; give fewer, a picture shows shapes")
    if dtype.kind in "fc":
        array = np.random.default_rng(_SEED).standard_normal(shape).astype(dtype)
    else:
        array = np.full(shape, dtype.kind == "b", dtype)
    return match["name"] or "", wrap(np.asarray(array))


def find(text: str, inputs: list[tuple[str, Any]], run: bool = True) -> Target:
    """What a command line names.

    Args:
        text: ``module:name`` (``name`` with dots for what is inside), the same with a path of a ``.py`` file, a
            ``.safetensors`` file, or the ``.json`` file of a `GraphView`.
        inputs: as `array_of_text` gives them.
        run: whether a network is going to be called.

    A class is instantiated without arguments. A function without parameters is called, for it makes what shall be
    drawn; any other is itself drawn, called with the inputs.

    Raises:
        PictureError: (a ValueError) there is no such thing, or nothing to draw in it.
        OSError: a file cannot be read.

    >>> import autograd_ff as af
    >>> find("autograd_ff:exp", [array_of_text("3")]).value is af.exp
    True
    """
    file, _, name = text.rpartition(":")
    suffix = Path(text).suffix.lower()
    given = tuple(value for name, value in inputs if not name)
    kwargs = {name: value for name, value in inputs if name}
    if suffix == ".json":
        return _alone(GraphView.load(_existing(text)), inputs, "a graph that was saved")
    if suffix == ".safetensors":
        found = load_checkpoint(_existing(text))
        if isinstance(found, GraphView):
            return _alone(found, inputs, "a file of parameters")
        return Target(found, given or (_first_input(found),), kwargs)
    script = text.rstrip(":")
    if script.endswith(".py"):
        raise PictureError(f"say what to draw in {script}: give {script}:callable{_known(_module(script), script)}")
    if not file or not name:
        raise PictureError(
            f"{text!r} is nothing that can be drawn: give module:callable, a .safetensors file, or the .json file of a graph"
        )
    value = _made(_attribute(_module(file), name, file), bool(inputs), text)
    if isinstance(value, (TensorCore, GraphView)):
        return _alone(value, inputs, "computed already")
    needed = required(value.forward) if isinstance(value, Module) else []
    if needed and not inputs and run:
        raise PictureError(f"{text} is called with {', '.join(needed)}: give an --input for each")
    return Target(value, given, kwargs)


def _existing(path: str) -> str:
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no file {path}")
    return path


def _alone(value: Any, inputs: list[tuple[str, Any]], what: str) -> Target:
    if inputs:
        raise PictureError(f"this is {what}: it takes no --input")
    return Target(value)


def _first_input(network: Module) -> Any:
    """One sample for a network whose first layer says how wide it is."""
    width = next(iter(network.parameters())).shape[1]
    return wrap(np.random.default_rng(_SEED).standard_normal((1, width)).astype(np.float32))


def _module(name: str) -> ModuleType:
    if not name.endswith(".py"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # something that the module itself imports
            raise PictureError(f"there is no module {name} here or among the installed ones") from None
    path = Path(_existing(name)).resolve()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # dataclasses and pickles look there
    sys.path.insert(0, str(path.parent))
    spec.loader.exec_module(module)
    return module


def _attribute(module: ModuleType, name: str, file: str) -> Any:
    value: Any = module
    for part in name.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise PictureError(f"{file} has no {name}{_known(module)}") from None
    return value


def _known(module: ModuleType, empty: str = "") -> str:
    """What a module has to draw, as the end of a message."""
    drawable = [one for one in vars(module) if not one.startswith("_") and _drawable(getattr(module, one), module)]
    if not drawable:
        return f"; {empty} has no network and no function" if empty else ""
    return f"; it has {', '.join(drawable[:12])}" + (" …" if len(drawable) > 12 else "")


def _drawable(value: Any, module: ModuleType) -> bool:
    if isinstance(value, (Module, TensorCore, GraphView)):
        return True
    return callable(value) and getattr(value, "__module__", None) == module.__name__


def _made(value: Any, has_inputs: bool, text: str) -> Any:
    """The thing itself, where a class or a function without parameters makes it."""
    if isinstance(value, type):
        needed = required(value)
        if needed:
            raise PictureError(
                f"{text} needs {', '.join(needed)}: write a function without parameters that makes one, and name that"
            )
        return value()
    if isinstance(value, (Module, TensorCore, GraphView)):
        return value
    if not callable(value):
        raise PictureError(f"{text} is of type {type(value).__name__}: nothing that can be drawn")
    needed = required(value)
    if needed is None or needed:
        if not has_inputs:
            raise PictureError(f"{text} is called with {', '.join(needed or ['tensors'])}: give an --input for each")
        return value
    made = value()
    if not isinstance(made, (Module, TensorCore, GraphView)) and not (isinstance(made, (tuple, list, dict)) and made):
        raise PictureError(f"{text}() gave {type(made).__name__}: a network, a tensor or a graph can be drawn")
    return made


def required(function: Callable[..., Any]) -> list[str] | None:
    """The parameters that a call must give; None where that cannot be told, or where there may be any number."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return None
    return [one.name for one in parameters if one.default is one.empty and one.kind is not one.VAR_KEYWORD]
