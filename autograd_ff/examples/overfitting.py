"""Every cure of overfitting lowers the loss on new images; the accuracy rises most by more data, real or made by augmentation.

A network that has learnt few images by heart is sure of itself and often wrong on others. The same network, from the same
weights, is trained as it is and with one cure at a time. L1, L2 and early stopping keep the weights small, dropout keeps
units from relying on each other, mixup and label smoothing forbid certainty: all make it less sure where it is wrong, and
some make it right more often. Rotated, shifted and scaled digits are new ones, almost as good as really new ones.

Sources: N. Srivastava et al., "Dropout" (2014); H. Zhang et al., "mixup: beyond empirical risk minimization" (2018);
C. Szegedy et al., "Rethinking the Inception architecture" (2016), of label smoothing; L. Prechelt, "Early stopping - but
when?" (1998); P. Simard et al., "Best practices for convolutional neural networks" (2003), of distorted digits.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import autograd_ff as af
from autograd_ff import datasets, nn, optim, transforms
from autograd_ff.data import DataLoader, Subset
from autograd_ff.nn.regularizers import L1, L2
from autograd_ff.training import Callback, EarlyStopping, Trainer

from . import command
from .digits import MEAN, STD, digits

PREPARE = (transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,)))
MORE = 4


@dataclass
class Cure:
    """What is done otherwise than in the plain training."""

    penalty: Callable[[Any], Any] | None = None
    dropout: float = 0.0
    smoothing: float = 0.0
    collate: Callable[..., Any] | None = None
    transform: tuple[Callable[..., Any], ...] = ()
    callbacks: Sequence[Callback] = ()
    more: int = 1  # times as many images


def cures() -> dict[str, Cure]:
    """The plain training, and each cure by itself."""
    return {
        "none": Cure(),
        "L1": Cure(penalty=L1(1e-4)),
        "L2": Cure(penalty=L2(2e-3)),
        "dropout": Cure(dropout=0.5),
        "label smoothing": Cure(smoothing=0.1),
        "early stopping": Cure(callbacks=[EarlyStopping("val_loss", patience=5)]),
        "mixup": Cure(collate=transforms.MixUp(alpha=0.4, num_classes=10)),
        "augmentation": Cure(transform=(transforms.RandomAffine(10, translate=(0.1, 0.1), scale=(0.9, 1.1)),)),
        f"{MORE} times the data": Cure(more=MORE),
    }


@dataclass
class Outcome:
    """How a training came out: measured on the images as they are, and without dropout."""

    name: str
    train: dict[str, float]
    test: dict[str, float]
    epochs: int

    @property
    def gap(self) -> float:
        """How much more accurate it is on the images that it learnt from."""
        return self.train["accuracy"] - self.test["accuracy"]


def train(cure: Cure, samples: int, epochs: int, seed: int, name: str) -> Outcome:
    """One training."""
    images = datasets.MNIST(transform=transforms.Compose([*cure.transform, *PREPARE]))
    loader = DataLoader(
        Subset(images, range(cure.more * samples)), batch_size=50, shuffle=True, collate_fn=cure.collate
    )
    held_out: Subset[Any] = Subset(datasets.MNIST(transform=transforms.Compose(PREPARE)), range(59_000, 60_000))
    af.manual_seed(seed)
    model = nn.Sequential(
        nn.Flatten(),
        nn.Dropout(0.4 * cure.dropout),  # fewer of the inputs, as its authors advise
        *(nn.Linear(784, 256), nn.ReLU(), nn.Dropout(cure.dropout)),
        *(nn.Linear(256, 256), nn.ReLU(), nn.Dropout(cure.dropout)),
        nn.Linear(256, 10),
    )
    trainer = Trainer(
        model, nn.CrossEntropyLoss(label_smoothing=cure.smoothing), optim.Adam(model.parameters()), ["accuracy"],
        penalty=cure.penalty,
    )  # fmt: skip
    history = trainer.fit(
        loader, epochs=epochs, validation_data=held_out, validation_batch_size=500, callbacks=cure.callbacks,
        checks=False, verbose=0,
    )  # fmt: skip
    plain = Trainer(model, nn.CrossEntropyLoss(), metrics=["accuracy"])  # one measure for all
    return Outcome(
        name,
        plain.evaluate(*digits(cure.more * samples, flat=False), batch_size=500),
        plain.evaluate(*digits(train=False, flat=False), batch_size=500),
        len(history.epoch),
    )


def run(samples: int = 500, epochs: int = 40, seed: int = 0, names: Sequence[str] | None = None) -> list[Outcome]:
    """The plain training and each cure, or those named."""
    chosen = {name: cure for name, cure in cures().items() if names is None or name in names}
    return [train(cure, samples, epochs, seed, name) for name, cure in command.progress(chosen.items(), "trainings")]


def draw(outcomes: Sequence[Outcome], path: str) -> None:
    """From the training images to the test images, a bar for each cure."""
    from .picture import COLORS, axes_of, save

    figure, panels = axes_of(columns=2, width=4.6, height=0.36 * len(outcomes) + 1.2)
    places = range(len(outcomes), 0, -1)
    for axes, measure in zip(panels, ("loss", "accuracy"), strict=True):
        train, test = ([getattr(one, part)[measure] for one in outcomes] for part in ("train", "test"))
        axes.hlines(places, train, test, color="#bbbbbb", linewidth=4, zorder=1)
        axes.scatter(train, places, color=COLORS[0], zorder=2, label="training images")
        axes.scatter(test, places, color=COLORS[1], zorder=2, label="test images")
        axes.axvline(test[0], color=COLORS[1], linestyle=":", linewidth=1)
        axes.set(xlabel=measure, yticks=list(places), yticklabels=[one.name for one in outcomes])
        axes.grid(axis="y", visible=False)
    panels[1].set_yticklabels([])
    panels[1].xaxis.set_major_formatter("{x:.0%}")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=9
    )
    save(figure, path, "What each cure of overfitting does")


def main(arguments: Sequence[str] | None = None) -> int:
    options = command.parser(__doc__, samples=500, epochs=40).parse_args(arguments)
    outcomes = run(options.samples, options.epochs, options.seed)
    command.table(
        ["cure", "epochs", "training loss", "test loss", "training accuracy", "test accuracy", "gap"],
        [
            [one.name, one.epochs, f"{one.train['loss']:.3f}", f"{one.test['loss']:.3f}",
             f"{one.train['accuracy']:.1%}", f"{one.test['accuracy']:.1%}", f"{one.gap:.1%}"]
            for one in outcomes
        ],
    )  # fmt: skip
    none, *cured = outcomes
    lower = sum(one.test["loss"] < none.test["loss"] for one in cured)
    right = sorted(cured, key=lambda one: -one.test["accuracy"])
    higher = sum(one.test["accuracy"] > none.test["accuracy"] for one in cured)
    print(
        f"\n{lower} of {len(cured)} cures lower the test loss, {higher} raise the test accuracy: from "
        f"{none.test['accuracy']:.1%} to {right[0].test['accuracy']:.1%} by {right[0].name} and to "
        f"{right[1].test['accuracy']:.1%} by {right[1].name}."
    )
    command.picture(options, "overfitting.png", lambda path: draw(outcomes, path))
    return 0


if __name__ == "__main__":
    sys.exit(main())
