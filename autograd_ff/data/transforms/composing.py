"""Transforms made of other transforms and of functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...engine import here
from ...errors import DtypeError
from ..batching import batched

__all__ = ["Compose", "Lambda"]


class Compose:
    """One transform after another.

    >>> from autograd_ff import transforms
    >>> Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    Compose(
        ToTensor()
        Normalize(mean=(0.1307,), std=(0.3081,))
    )
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = transforms

    def __call__(self, img: Any) -> Any:
        for transform in self.transforms:
            img = transform(img)
        return img

    def batched(self) -> Callable[[np.ndarray], np.ndarray] | None:
        functions = [batched(transform, "__call__") for transform in self.transforms]
        if None in functions:
            return None

        def run(images: np.ndarray) -> np.ndarray:
            for function in functions:
                images = function(images)  # type: ignore[misc]
            return images

        return run

    def __repr__(self) -> str:
        return "\n".join([f"{type(self).__name__}(", *(f"    {transform!r}" for transform in self.transforms), ")"])


class Lambda:
    """A function of one's own as a transform; it sees one sample at a time.

    >>> Lambda(lambda image: image.flatten())
    Lambda()
    """

    def __init__(self, lambd: Callable[[Any], Any]) -> None:
        if not callable(lambd):
            raise DtypeError(f"Lambda takes a function, got {type(lambd).__name__}{here()}")
        self.lambd = lambd

    def __call__(self, img: Any) -> Any:
        return self.lambd(img)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
