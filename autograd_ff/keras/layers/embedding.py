"""Vectors for whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import nn
from ...engine import here
from ...errors import ModuleError, ShapeError
from .. import initializers, regularizers
from .dense import initialize, refuse_constraints
from .layer import Layer

__all__ = ["Embedding"]


class Embedding(Layer):
    """A learned vector for each of a number of things, such as words, by an `nn.Embedding`.

    Args:
        input_dim: how many things there are; indices run from 0 to ``input_dim - 1``.
        output_dim: the side of a vector.
        embeddings_initializer: what the vectors start from.
        embeddings_regularizer: what large values of them cost.
        weights: the vectors to start from, (input_dim, output_dim), in place of the initializer.
        options: those of every `Layer`.

    >>> import autograd_ff as af
    >>> from autograd_ff.keras import layers
    >>> layers.Embedding(1000, 64)(af.tensor([[4, 20], [7, 7]])).shape
    (2, 2, 64)
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        **options: Any,
    ) -> None:
        declared = options.pop("input_length", None)
        super().__init__(**options)
        refuse_constraints("Embedding", embeddings_constraint=embeddings_constraint)
        if mask_zero:
            raise ModuleError(
                f"Embedding takes no mask_zero: layers pass on no masks.{here()}\n"
                "  nn.Embedding(…, padding_idx=0) keeps the vector of 0 from being trained."
            )
        if input_dim < 1 or output_dim < 1:
            raise ShapeError(f"input_dim and output_dim are 1 or more, got {input_dim} and {output_dim}.{here()}")
        if declared is not None and self.declared_shape is None:
            self.__dict__["declared_shape"] = (None, declared)
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.__dict__["_start"] = weights
        if weights is not None:
            self.build(None)

    def build(self, input_shape: Any = None) -> None:
        """Make the `nn.Embedding`; the shape of the input does not matter."""
        if self.built and "embedding" in self._modules:
            return
        self.embedding = nn.Embedding(self.input_dim, self.output_dim, dtype=self.dtype)
        self.track("embeddings", self.embedding, "weight", regularizer=self.embeddings_regularizer)
        if self._start is None:
            initialize(self._weights[-1], self.embeddings_initializer)
            return
        start = self._start[0] if isinstance(self._start, list) and len(self._start) == 1 else self._start
        values = np.asarray(getattr(start, "array", start))
        if values.shape != (self.input_dim, self.output_dim):
            raise ShapeError(
                f"the weights of {self.name} have shape {(self.input_dim, self.output_dim)}, not {values.shape}.{here()}"
            )
        self._weights[-1].assign(values)
        self.__dict__["_start"] = None

    @property
    def embeddings(self) -> Any:
        """The vectors, (input_dim, output_dim)."""
        return self.embedding.weight

    def call(self, inputs: Any) -> Any:
        return self.embedding(inputs if inputs.array.dtype.kind in "iu" else inputs.long())

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(…) to (…, output_dim)."""
        return (*input_shape, self.output_dim)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "embeddings_initializer": initializers.serialize(self.embeddings_initializer),
            "embeddings_regularizer": regularizers.serialize(self.embeddings_regularizer),
        }
