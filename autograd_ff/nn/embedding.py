"""A table of vectors, looked up by whole numbers."""

from __future__ import annotations

from typing import Any

from ..engine import here
from ..errors import DimensionError, ShapeError
from ..functions.creation import empty
from ..functions.dtypes import as_dtype
from ..functions.tensor import Tensor
from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter

__all__ = ["Embedding"]


class Embedding(Module):
    """A learned vector for each of ``num_embeddings`` things, such as words.

    Args:
        num_embeddings: how many things there are; indices run from 0 to one less.
        embedding_dim: the side of a vector.
        padding_idx: a thing that stands for nothing: its vector starts at 0 and gets no gradient.
        max_norm: vectors that are looked up and have a larger norm are scaled down to it.
        norm_type: the p of that norm.
        scale_grad_by_freq: divide a vector's gradient by how often it is looked up in the batch.
        sparse: without effect; PyTorch makes the gradient a sparse tensor.
        _weight: the vectors to start from.
        _freeze: whether they are left as they are.
        dtype: of the vectors; the default dtype if None.

    Attributes:
        weight: (num_embeddings, embedding_dim), drawn from N(0, 1).

    >>> import autograd_ff as af
    >>> layer = af.nn.Embedding(10, 3, padding_idx=0)
    >>> layer(af.tensor([[1, 4], [9, 0]])).shape
    (2, 2, 3)
    >>> layer.weight[0].tolist()
    [0.0, 0.0, 0.0]
    """

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise DimensionError(f"padding_idx {padding_idx} is out of range for {num_embeddings} vectors.{here()}")
            padding_idx %= num_embeddings
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        shape = (num_embeddings, embedding_dim)
        if _weight is None:
            dtype = None if dtype is None else as_dtype(dtype)
            self.weight = Parameter(empty(*shape, dtype=dtype, device=device), not _freeze)
            self.reset_parameters()
            return
        if tuple(_weight.shape) != shape:
            raise ShapeError(f"the vectors have shape {shape}, and _weight has {tuple(_weight.shape)}.{here()}")
        self.weight = Parameter(_weight, not _freeze)

    def reset_parameters(self) -> None:
        """Draw the vectors anew, that of ``padding_idx`` aside, which becomes 0."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            init.zeros_(self.weight.detach()[self.padding_idx])

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """A module with given vectors, (num_embeddings, embedding_dim), which stay as they are unless ``freeze=False``.

        >>> import autograd_ff as af
        >>> layer = af.nn.Embedding.from_pretrained(af.tensor([[1.0, 2.0], [3.0, 4.0]]))
        >>> layer(af.tensor([1])).tolist()
        [[3.0, 4.0]]
        """
        if embeddings.ndim != 2:
            raise ShapeError(
                f"embeddings is a matrix, one vector a row, not of shape {tuple(embeddings.shape)}.{here()}"
            )
        rows, side = embeddings.shape
        return cls(
            rows, side, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight=embeddings, _freeze=freeze
        )

    def forward(self, input: Tensor) -> Tensor:
        """Whole numbers (…) to vectors (…, embedding_dim)."""
        return F.embedding(
            input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse
        )

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        for name, default in (
            ("padding_idx", None),
            ("max_norm", None),
            ("norm_type", 2.0),
            ("scale_grad_by_freq", False),
            ("sparse", False),
        ):
            value = getattr(self, name)
            if value != default:
                text += f", {name}={value}"
        return text
