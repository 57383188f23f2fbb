"""Weights without the program that made them: the network of a training run rebuilt, or the tree of its parameters."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from autograd_ff.engine import TensorCore, wrap
from autograd_ff.nn.module import Module as NetworkModule
from autograd_ff.nn.parameter import Parameter
from autograd_ff.serialization import load

from .drawing.module_tree import module_tree
from .errors import PictureError, here
from .graph.view import GraphView

__all__ = ["load_checkpoint", "parameter_tree"]


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
    >>> [node.arguments for node in load_checkpoint(path).nodes]
    [(('weight', '2×3'), ('bias', '2'))]
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
    from autograd_ff.training.classification.settings import ACTIVATIONS

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


def _tensors(contents: Any) -> list[tuple[str, TensorCore]]:
    """All tensors in nested dicts and lists, by their path."""
    found: list[tuple[str, TensorCore]] = []
    work = [("", contents)]
    while work:
        name, value = work.pop()
        if isinstance(value, TensorCore):
            found.append((name or "tensor", value))
        elif isinstance(value, Mapping):
            work += reversed([(f"{name}.{key}" if name else str(key), one) for key, one in value.items()])
        elif isinstance(value, (list, tuple)):
            work += reversed([(f"{name}.{at}" if name else str(at), one) for at, one in enumerate(value)])
    return found


class _Unknown(NetworkModule):
    """A module of which only the name and the parameters are known."""


_Unknown.__name__ = "module"


def parameter_tree(tensors: Mapping[str, Any], name: str = "") -> GraphView:
    """Named tensors as the tree of modules that the dots in their names tell of; there is no operation in it.

    Args:
        tensors: tensors or arrays by qualified name, such as a state dict.
        name: of the view.

    Equal neighbours are one node, as in `module_tree`.

    >>> import autograd_ff as af
    >>> view = parameter_tree(af.nn.Sequential(af.nn.Linear(3, 2), af.nn.Linear(2, 2)).state_dict())
    >>> [(node.path, node.arguments) for node in view.nodes][1:]
    [('0', (('weight', '2×3'), ('bias', '2'))), ('1', (('weight', '2×2'), ('bias', '2')))]
    """
    root = _Unknown()
    for full in _in_order(tensors):
        *around, last = full.split(".")
        place: NetworkModule = root
        for part in around:
            place = place._modules.setdefault(part, _Unknown())
        value = tensors[full]
        array = value.array if isinstance(value, TensorCore) else np.asarray(value)
        place._parameters[last] = Parameter(wrap(array), requires_grad=False)
    view = module_tree(root)
    first, *others = view.nodes
    return replace(view, nodes=(replace(first, op=name or first.op), *others), name=name)


def _in_order(names: Mapping[str, Any]) -> list[str]:
    """Names with those of one module side by side, and numbers by size: files keep them by alphabet, 10 before 2."""

    def key(name: str) -> list[tuple[int, int, str]]:
        return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in name.split(".")]

    sorted_by_file = list(names) == sorted(names)
    if sorted_by_file:
        return sorted(names, key=key)
    return list(names)
