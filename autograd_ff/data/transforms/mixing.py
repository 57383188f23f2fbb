"""Transforms of batches that mix their samples: images and labels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...engine import TensorCore, get_default_dtype, here, wrap
from ...errors import DimensionError, DtypeError, ShapeError
from ...functions.random import source
from ..collate import default_collate
from .images import untracked

__all__ = ["CutMix", "MixUp"]


class _Mixing:
    """Each sample is mixed with the one before it in the batch, the first with the last."""

    def __init__(self, *, alpha: float = 1.0, num_classes: int | None = None, generator: Any = None) -> None:
        if not (isinstance(alpha, (int, float, np.number)) and 0 < alpha < math.inf):
            raise ShapeError(f"alpha is a finite number above 0, got {alpha!r}{here()}")
        if num_classes is not None and (type(num_classes) is not int or num_classes < 1):
            raise ShapeError(f"num_classes is an integer from 1 up, got {num_classes!r}{here()}")
        self.alpha = float(alpha)
        self.num_classes = num_classes
        self.generator = generator

    def __call__(self, *inputs: Any) -> Any:
        batch = inputs if len(inputs) > 1 else inputs[0]
        if isinstance(batch, (list, tuple)) and batch and not isinstance(batch[0], (TensorCore, np.ndarray)):
            batch = default_collate(batch)
        return self.after_collate(batch)

    def after_collate(self, batch: Any) -> Any:
        """What the call gives for samples, of the batch that `default_collate` makes of them."""
        name = type(self).__name__
        if not isinstance(batch, (list, tuple)) or len(batch) != 2:
            what = f"{len(batch)} parts" if isinstance(batch, (list, tuple)) else f"a {type(batch).__name__}"
            raise ShapeError(f"{name} takes a batch of two parts, (images, labels), got {what}{here()}")
        images, labels = (untracked(part, name) for part in batch)
        labels = self._soft(labels)
        if images.ndim < 2 or len(images) != len(labels):
            raise ShapeError(
                f"{name} takes a batch of images and as many labels, got images of shape {images.shape} and labels of "
                f"shape {labels.shape[:1]}{here()}"
            )
        mixed, share = self._mix(images)
        made = [wrap(mixed), wrap(_blend(labels, share))]
        return made if isinstance(batch, list) else tuple(made)

    def _mix(self, images: np.ndarray) -> tuple[np.ndarray, float]:
        """The mixed images, and the share that each sample's own image has in them."""
        raise NotImplementedError

    def _soft(self, labels: np.ndarray) -> np.ndarray:
        """Labels as probabilities (B, classes)."""
        name, classes = type(self).__name__, self.num_classes
        if labels.ndim == 2:
            if classes not in (None, labels.shape[1]):
                raise ShapeError(f"{name} has num_classes={classes}, and labels have shape {labels.shape}{here()}")
            return labels if labels.dtype.kind == "f" else labels.astype(get_default_dtype())
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise ShapeError(
                f"{name} takes labels as integers of shape (B,) or as probabilities of shape (B, classes), got "
                f"{labels.dtype} of shape {labels.shape}{here()}"
            )
        if classes is None:
            raise ShapeError(f"labels that are numbers of classes need {name}(num_classes=…){here()}")
        if labels.size and not 0 <= labels.min() <= labels.max() < classes:
            raise DimensionError(
                f"labels are in {labels.min()} … {labels.max()}, and num_classes={classes} allows 0 … {classes - 1}{here()}"
            )
        return np.equal(labels[:, None], np.arange(classes)).astype(get_default_dtype())

    def __repr__(self) -> str:
        return f"{type(self).__name__}(alpha={self.alpha}, num_classes={self.num_classes})"


def _blend(values: np.ndarray, share: float) -> np.ndarray:
    mixed = np.roll(values, 1, axis=0)
    mixed *= 1.0 - share
    mixed += values * share
    return mixed


class MixUp(_Mixing):
    """Blend each sample with another one of its batch: images and labels alike.

    One ``lam`` from Beta(alpha, alpha) a batch, and ``lam * x + (1 - lam) * x'``, where ``x'`` is the sample before in the
    batch, as in torchvision; so the batch has to be shuffled. Zhang et al., "mixup: beyond empirical risk minimization"
    (2018).

    Called with ``(images, labels)``, with a pair of them as a `DataLoader` gives it, or, as ``collate_fn=``, with a list
    of samples. A loader with this ``collate_fn`` still reads whole batches at once.

    Args:
        alpha: small values make blends with little of the other sample, or with little of its own.
        num_classes: of the labels, where they are integers.
        generator: where the numbers come from; the default generator (see `manual_seed`) where it is None.

    Shapes: images (B, …), floating; labels (B,), integers, or (B, classes), probabilities. Gives images of the same shape
    and dtype, and labels (B, classes), which `cross_entropy` takes.

    Raises:
        ShapeError, DtypeError, DimensionError: images or labels that do not fit, or labels beyond ``num_classes``.

    >>> import autograd_ff as af
    >>> from autograd_ff import transforms
    >>> images, labels = transforms.MixUp(num_classes=3)(af.rand(4, 1, 2, 2), af.tensor([0, 1, 2, 0]))
    >>> images.shape, labels.shape, labels.sum(1).allclose(af.ones(4))
    ((4, 1, 2, 2), (4, 3), True)
    """

    def _mix(self, images: np.ndarray) -> tuple[np.ndarray, float]:
        if images.dtype.kind != "f":
            raise DtypeError(f"MixUp blends floating images, got {images.dtype}; put ToTensor() before it{here()}")
        share = float(source(self.generator).beta(self.alpha, self.alpha))
        return _blend(images, share), share


class CutMix(_Mixing):
    """Put a rectangle of another image of the batch into each image, and mix the labels in proportion to the areas.

    One rectangle a batch, about a random middle, of the part 1 - lam of the area (less where it reaches over the edge),
    with lam from Beta(alpha, alpha). The other image is the one before in the batch, as in torchvision; so the batch has
    to be shuffled. Yun et al., "CutMix: regularization strategy to train strong classifiers with localizable features"
    (2019).

    Arguments, shapes and errors as for `MixUp`; images are (B, …, H, W) of any dtype.

    >>> import autograd_ff as af
    >>> from autograd_ff import transforms
    >>> batch = af.zeros(2, 1, 8, 8), af.tensor([0, 1])
    >>> images, labels = transforms.CutMix(num_classes=2)(*batch)
    >>> images.shape, labels.shape
    ((2, 1, 8, 8), (2, 2))
    """

    def _mix(self, images: np.ndarray) -> tuple[np.ndarray, float]:
        if images.ndim < 3:
            raise ShapeError(f"CutMix takes images of shape (B, …, H, W), got {images.shape}{here()}")
        generator = source(self.generator)
        height, width = images.shape[-2:]
        half = 0.5 * math.sqrt(1.0 - float(generator.beta(self.alpha, self.alpha)))
        (top, bottom), (left, right) = (
            _span(int(generator.integers(size)), int(half * size), size) for size in (height, width)
        )
        mixed = images.copy()
        mixed[..., top:bottom, left:right] = np.roll(images[..., top:bottom, left:right], 1, axis=0)
        return mixed, 1.0 - (bottom - top) * (right - left) / (height * width)


def _span(middle: int, half: int, size: int) -> tuple[int, int]:
    return max(0, middle - half), min(size, middle + half)
