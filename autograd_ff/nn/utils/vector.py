"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from ...engine import here, no_grad, wrap
from ...engine.inplace import assign
from ...errors import ShapeError
from ...functions.shaping import cat
from ...functions.tensor import Tensor

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters, one after the other; gradients flow through.

    >>> import autograd_ff as af
    >>> af.nn.utils.parameters_to_vector(af.nn.Linear(3, 2).parameters()).shape
    (8,)
    """
    return cat([parameter.reshape(-1) for parameter in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write the elements of a vector into the parameters, in place: the inverse of `parameters_to_vector`.

    Unlike PyTorch's, it writes into the parameters' own memory instead of making them views of ``vec``, and a vector of
    the wrong length raises.

    >>> import autograd_ff as af
    >>> layer = af.nn.Linear(2, 1)
    >>> af.nn.utils.vector_to_parameters(af.tensor([1.0, 2.0, 3.0]), layer.parameters())
    >>> layer.weight.tolist(), layer.bias.tolist()
    ([[1.0, 2.0]], [3.0])
    """
    listed = list(parameters)
    count = sum(parameter.array.size for parameter in listed)
    if vec.array.shape != (count,):
        raise ShapeError(
            f"the parameters take a vector of {count} elements, this one has shape {vec.array.shape}.{here()}"
        )
    start = 0
    with no_grad():
        for parameter in listed:
            stop = start + parameter.array.size
            assign(parameter, wrap(vec.array[start:stop].reshape(parameter.array.shape)))
            start = stop
