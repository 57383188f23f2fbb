"""What a fine-tuning can be made of, and the settings that choose from it."""

from __future__ import annotations

from dataclasses import dataclass

from ...engine import here
from ...errors import ShapeError

__all__ = ["METHODS", "FineTuningSettings", "Method"]


@dataclass(frozen=True)
class Method:
    """What is trained, and what suits it.

    Args:
        trains: in a few words.
        lr: the peak of the learning rate.
        epochs: passes over thousands of labels.
        layer_decay: of the learning rate from layer to layer towards the input.
        steps: that a training takes at least, by more passes over few labels.
    """

    trains: str
    lr: float
    epochs: int
    layer_decay: float = 1.0
    steps: int = 60


METHODS: dict[str, Method] = {
    "full": Method("all weights", 1e-4, 2, 0.9),
    "feedforward": Method("both affine layers of each feedforward block", 2e-4, 2),
    "lora": Method("low-rank changes to attention and feedforward layers (LoRA)", 1e-3, 2),
    "adapters": Method("small networks after each block, and the layer norms", 1e-3, 2),
    "head": Method("the classifier alone, on vectors that are computed once", 3e-3, 8, steps=300),
}

STORAGES = ("bfloat16", "float16")


@dataclass(frozen=True)
class FineTuningSettings:
    """All that decides a run: the same settings on the same data, machine and thread count give the same weights.

    Args:
        method: a key of `METHODS`: which weights are trained. The classifier always is.
        labels: how many labelled texts are used, drawn by the seed with the same share of each class; all if None.
        epochs: passes over them; None for what suits the method and their number.
        lr: the peak of the learning rate; None for what suits the method.
        batch_size: texts in a batch.
        seed: of the texts drawn, of the new weights, of the order of the texts and of dropout.
        layer_decay: what the rate is multiplied by from layer to layer, towards the input; None for what suits the method.
        warmup: the part of all steps in which the rate rises from 0; in the rest it falls back to 0 in a line.
        weight_decay: of `AdamW`, but not of biases and layer norms.
        accumulate: gradients of so many batches make one step.
        clip: the norm to which gradients are scaled down; None for no limit.
        storage: ``"bfloat16"`` or ``"float16"`` keeps the frozen weights in 16 bits.
        checkpointing: compute each layer again in backward instead of keeping what it computed.
        max_length: longer texts are cut, in tokens.
        rank: of the changes by LoRA.
        size: of the bottleneck of an adapter.
        dropout: before the classifier.
        probe: train the classifier alone first, on the vectors of the encoder as it is, so that the encoder is not torn
            about by a classifier that knows nothing yet (Kumar, Raghunathan, Jones, Ma and Liang 2022).
        compiled: replay the training step from a plan for each shape of batch. With texts of all lengths that gains about
            as much as filling them up to multiples of 8 costs, and the plans take as much memory again: it pays where
            the texts are of one length.
        data: a file of texts and labels; None for what is handed over, or else the movie reviews.
        model: the folder of the encoder; None for what is handed over, or else MiniLM.

    Raises:
        ShapeError: a method or storage that is in no table, or a number out of range.

    >>> settings = FineTuningSettings(method="lora", labels=50)
    >>> settings.learning_rate, settings.passes(50)
    (0.001, 30)
    """

    method: str = "lora"
    labels: int | None = None
    epochs: int | None = None
    lr: float | None = None
    batch_size: int = 32
    seed: int = 0
    layer_decay: float | None = None
    warmup: float = 0.1
    weight_decay: float = 0.01
    accumulate: int = 1
    clip: float | None = 1.0
    storage: str | None = None
    checkpointing: bool = False
    max_length: int = 128
    rank: int = 8
    size: int = 32
    dropout: float = 0.1
    probe: bool = False
    compiled: bool = False
    data: str | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ShapeError(f"method is one of {', '.join(METHODS)}, not {self.method!r}{here()}")
        if self.storage is not None and self.storage not in STORAGES:
            raise ShapeError(f"storage is one of {', '.join(STORAGES)}, not {self.storage!r}{here()}")
        if self.storage is not None and self.method == "full":
            raise ShapeError(
                f"method 'full' trains all weights, and 16 bits are too coarse for that: storage={self.storage!r} is for the "
                f"frozen weights of the other methods.{here()}"
            )
        for name in ("labels", "epochs"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ShapeError(f"{name} has to be positive, got {value}{here()}")
        for name in ("batch_size", "accumulate", "rank", "size"):
            if getattr(self, name) < 1:
                raise ShapeError(f"{name} has to be positive, got {getattr(self, name)}{here()}")
        if self.max_length < 3:
            raise ShapeError(f"max_length counts the two marks around a text too, got {self.max_length}{here()}")
        if self.lr is not None and not self.lr > 0:
            raise ShapeError(f"lr is above 0, got {self.lr}{here()}")
        if self.layer_decay is not None and not 0 < self.layer_decay <= 1:
            raise ShapeError(f"layer_decay is above 0 and at most 1, got {self.layer_decay}{here()}")
        if not 0 <= self.warmup < 1:
            raise ShapeError(f"warmup is a part of all steps, from 0 on and below 1, got {self.warmup}{here()}")
        if self.seed < 0:
            raise ShapeError(f"a seed cannot be negative, got {self.seed}{here()}")

    @property
    def learning_rate(self) -> float:
        """The peak of the learning rate."""
        return METHODS[self.method].lr if self.lr is None else self.lr

    @property
    def decay(self) -> float:
        """What the rate is multiplied by from layer to layer, towards the input."""
        return METHODS[self.method].layer_decay if self.layer_decay is None else self.layer_decay

    def passes(self, texts: int) -> int:
        """The epochs for so many labelled texts: those of the method, and more of few texts."""
        if self.epochs is not None:
            return self.epochs
        method, steps = METHODS[self.method], -(-texts // (self.batch_size * self.accumulate))
        return max(method.epochs, -(-method.steps // steps))
