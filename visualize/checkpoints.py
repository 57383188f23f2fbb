"""Weights without the program that made them: the network of a training run rebuilt, or the tree of its parameters."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from autograd_ff.engine import TensorCore
from autograd_ff.nn.module import Module as NetworkModule
from autograd_ff.serialization import load

from .errors import PictureError, here
from .graph import GraphView, Module, Node, Value

__all__ = ["load_checkpoint", "parameter_tree"]

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def load_checkpoint(path: str | os.PathLike[str]) -> NetworkModule | GraphView:
    """What can be drawn of a safetensors file.

    Args:
        path: a checkpoint of a training run (``python -m autograd_ff train`` leaves ``checkpoint.safetensors``), a state
            dict, or any other safetensors file.

    Returns:
        The network with its weights, where the file says how it was built; else a view of its parameters alone.

    Raises:
        FileFormatError: the file is damaged, or no safetensors file.
        OSError: it cannot be read.
        PictureError: (a ValueError) there is no tensor in it.

    >>> import tempfile, os, autograd_ff as af
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> af.save(af.nn.Linear(3, 2).state_dict(), path)
    >>> [node.names for node in load_checkpoint(path).nodes]
    [('weight',), ('bias',)]
    """
    contents = load(os.fspath(path))
    if isinstance(contents, Mapping) and {"settings", "model"} <= contents.keys():
        network = _of_training_run(contents)
        if network is not None:
            return network
    tensors = dict(_tensors(contents))
    if not tensors:
        raise PictureError(f"there is no tensor in {os.fspath(path)}{here()}")
    return parameter_tree(tensors, os.path.basename(path))


def _of_training_run(contents: Mapping[str, Any]) -> NetworkModule | None:
    """The classifier of ``python -m autograd_ff train``, from the checkpoint's settings and the shapes of its weights."""
    from autograd_ff.training import feedforward
    from autograd_ff.training.settings import ACTIVATIONS

    weights = contents["model"]
    try:
        settings = contents["settings"]
        hidden = tuple(settings["layers"])
        inputs = int(weights["fc1.weight"].shape[1])
        outputs = int(weights[f"fc{len(hidden) + 1}.weight"].shape[0])
        network = feedforward(inputs, hidden, outputs, ACTIVATIONS[settings["activation"]])
        network.load_state_dict(weights)
    except (LookupError, TypeError, ValueError, AttributeError):
        return None  # of another program: its parameters can be drawn all the same
    return network


def _tensors(value: Any, name: str = "") -> list[tuple[str, TensorCore]]:
    """All tensors in nested dicts and lists, by their path."""
    found: list[tuple[str, TensorCore]] = []
    work = [(name, value)]
    while work:
        name, value = work.pop()
        if isinstance(value, TensorCore):
            found.append((name or "tensor", value))
        elif isinstance(value, Mapping):
            work += reversed([(f"{name}.{key}" if name else str(key), one) for key, one in value.items()])
        elif isinstance(value, (list, tuple)):
            work += reversed([(f"{name}.{at}" if name else str(at), one) for at, one in enumerate(value)])
    return found


def parameter_tree(tensors: Mapping[str, Any], name: str = "") -> GraphView:
    """Named tensors as a view: a box for each module, as far as the dots in the names tell, and no operation.

    Args:
        tensors: tensors or arrays by qualified name, such as a state dict.
        name: of the view.

    >>> import autograd_ff as af
    >>> view = parameter_tree(af.nn.Sequential(af.nn.Linear(3, 2), af.nn.Linear(2, 2)).state_dict())
    >>> [module.name for module in view.modules], [node.module for node in view.nodes]
    (['0', '1'], [0, 0, 1, 1])
    """
    modules: list[Module] = []
    ids: dict[str, int] = {}
    order = _in_order(tensors)
    nodes = []
    for number, full in enumerate(order):
        parent: int | None = None
        parts = full.split(".")
        for depth in range(1, len(parts)):
            prefix = ".".join(parts[:depth])
            if prefix not in ids:
                ids[prefix] = len(modules)
                modules.append(Module(len(modules), "module", prefix, "parameters", parent))
            parent = ids[prefix]
        array = tensors[full]
        array = array.array if isinstance(array, TensorCore) else array
        kind = "buffer" if parts[-1] in _BUFFERS else "parameter"
        value = Value(tuple(int(side) for side in array.shape), str(array.dtype))
        nodes.append(Node(number, kind, outputs=(value,), names=(full,), module=parent))
    return GraphView(tuple(nodes), (), tuple(modules), name)


def _in_order(names: Mapping[str, Any]) -> list[str]:
    """Names with those of one module side by side, and numbers by size: files keep them by alphabet, 10 before 2."""

    def key(name: str) -> list[tuple[int, int, str]]:
        return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in name.split(".")]

    sorted_by_file = list(names) == sorted(names)
    if sorted_by_file:
        return sorted(names, key=key)
    return list(names)
