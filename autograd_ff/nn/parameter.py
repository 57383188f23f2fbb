"""`Parameter`: a tensor that a module trains."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import TensorCore, get_default_dtype
from ..functions.tensor import Tensor

__all__ = ["Buffer", "Parameter"]


class Parameter(Tensor):
    """A leaf tensor that a `Module` registers when it is assigned to one of its attributes.

    Args:
        data: a Tensor or an array, whose memory the parameter shares; or numbers, which become an array of the default
            dtype.
        requires_grad: whether its gradient is wanted. A frozen parameter is still saved and loaded.

    Raises:
        GraphError: ``requires_grad`` with data that are not floating numbers.

    >>> import numpy as np
    >>> from autograd_ff import nn
    >>> nn.Parameter(np.array([1.0, 2.0], dtype=np.float32))
    Parameter containing:
    tensor([1., 2.], requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Any = (), requires_grad: bool = True) -> None:
        if isinstance(data, TensorCore):
            array = data.array
        elif isinstance(data, np.ndarray):
            array = data
        else:
            array = np.asarray(data, dtype=get_default_dtype())
        self.array = array
        self.node = None
        self._grad = None
        self.view_of = None
        if requires_grad:
            self.requires_grad = True

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        """A parameter on memory of its own; its gradient stays behind, as in PyTorch."""
        known = memo.get(id(self))
        if known is None:
            known = memo[id(self)] = type(self)(self.array.copy(), self.requires_grad)
        return known

    def __reduce_ex__(self, protocol: Any) -> Any:
        return type(self), (self.array, self.requires_grad)


class Buffer(Tensor):
    """A tensor that a `Module` keeps and saves without training it; assigned to an attribute it is registered.

    Args:
        data: a Tensor or an array, whose memory the buffer shares.
        persistent: whether it is part of the module's `state_dict`.

    >>> import numpy as np
    >>> from autograd_ff import nn
    >>> module = nn.Module()
    >>> module.mean = nn.Buffer(np.zeros(2))
    >>> list(module.state_dict())
    ['mean']
    """

    __slots__ = ("persistent",)

    def __init__(self, data: Any = (), *, persistent: bool = True) -> None:
        self.array = data.array if isinstance(data, TensorCore) else np.asarray(data)
        self.node = None
        self._grad = None
        self.view_of = None
        self.persistent = persistent
