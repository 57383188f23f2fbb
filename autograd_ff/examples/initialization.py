"""Weights that keep the variance from layer to layer let a deep network train; half or twice as large ones do not.

A layer multiplies the variance by some factor, and so L layers by its L-th power. Xavier's weights, of variance 1/n between
layers of n units, keep it where the activation is nearly linear; a ReLU takes away half of it, which Kaiming's variance 2/n
gives back. At half and at twice Kaiming's deviation the signal fades or explodes by 4^L, and the gradients with it.

Sources: X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010);
K. He et al., "Delving deep into rectifiers" (2015).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

import autograd_ff as af
from autograd_ff import nn, optim
from autograd_ff.errors import NonFiniteError
from autograd_ff.training import Trainer

from . import command
from .digits import digits

Fill = Callable[[af.Tensor], object]


def kaiming(factor: float) -> Fill:
    """Kaiming's normal weights times a factor."""
    return lambda weight: nn.init.normal_(weight, std=factor * math.sqrt(2 / weight.shape[1]))


INITIALIZATIONS: dict[str, Fill] = {
    "nn.Linear's own": lambda weight: None,
    "Xavier": nn.init.xavier_normal_,
    "Kaiming / 2": kaiming(0.5),
    "Kaiming": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
    "Kaiming × 2": kaiming(2.0),
}


@dataclass
class Outcome:
    """What one initialization did."""

    name: str
    variances: list[float]  # of each hidden layer's outputs, before their ReLU and before training
    losses: list[float]  # of each epoch, as far as they were finite
    accuracy: float  # on the training images in the last epoch; NaN where the first was not finite

    @property
    def growth(self) -> float:
        """How many times the first layer's variance the last one's is."""
        return self.variances[-1] / self.variances[0]


def network(fill: Fill, depth: int, width: int) -> nn.Sequential:
    """A deep ReLU network whose hidden weights are filled so; they have no biases."""
    layers: list[nn.Module] = []
    for number in range(depth):
        linear = nn.Linear(784 if number == 0 else width, width, bias=False)
        fill(linear.weight)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def variances_by_depth(model: nn.Sequential, images: np.ndarray) -> list[float]:
    """The variance of the numbers that each hidden layer puts out, first to last."""
    variances = []
    hidden = af.tensor(images)
    with af.no_grad():
        for layer in model[:-1]:
            hidden = layer(hidden)
            if isinstance(layer, nn.Linear):
                variances.append(hidden.double().var().item())
    return variances


def run(
    samples: int = 5000, epochs: int = 5, depth: int = 20, width: int = 100, seed: int = 0, rate: float = 0.003
) -> list[Outcome]:
    """The variances and the training of each initialization; all train at the same rate on the same batches."""
    images, labels = digits(samples)
    outcomes = []
    for name, fill in command.progress(INITIALIZATIONS.items(), "initializations"):
        af.manual_seed(seed)
        model = network(fill, depth, width)
        variances = variances_by_depth(model, images[:500])
        af.manual_seed(seed)
        optimizer = optim.SGD(model.parameters(), lr=rate, momentum=0.9)
        trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer, ["accuracy"])
        with np.errstate(over="ignore", invalid="ignore"), suppress(NonFiniteError):  # the table says so
            trainer.fit(images, labels, epochs=epochs, batch_size=64, checks=False, verbose=0)
        history = trainer.history.history
        accuracy = history["accuracy"][-1] if "accuracy" in history else math.nan
        outcomes.append(Outcome(name, variances, history.get("loss", []), accuracy))
    return outcomes


def draw(outcomes: Sequence[Outcome], path: str) -> None:
    """The variance over the depth, and the loss over the epochs."""
    from .picture import COLORS, axes_of, save

    figure, (depth, training) = axes_of(columns=2)
    for place, (one, color) in enumerate(zip(outcomes, COLORS, strict=False)):
        style = {"color": color, "linewidth": 2}
        depth.semilogy(range(1, len(one.variances) + 1), one.variances, **style, marker="o", markersize=3)
        # What does not learn, does not in the same way: such curves share one line, a dash for each.
        stuck = bool(one.losses) and one.losses[-1] > 0.95 * one.losses[0]
        training.plot(
            range(1, len(one.losses) + 1), one.losses, **style, linestyle=(4 * place, (4, 8)) if stuck else "-",
            label=one.name if one.losses else f"{one.name}: not finite",
        )  # fmt: skip
    depth.set(title="before training", xlabel="hidden layer", ylabel="variance of its outputs")
    training.set(title="training", xlabel="epoch", ylabel="loss")
    # Where the others begin: one that explodes later is not to press them flat.
    starts = [one.losses[0] for one in outcomes if one.losses]
    training.set_ylim(0, 1.3 * sorted(starts)[len(starts) // 2])
    for axes in (depth, training):
        axes.xaxis.get_major_locator().set_params(integer=True)
    for line in training.legend(fontsize=9, loc="center right").get_lines():
        line.set_linestyle("-")
    save(figure, path, f"A ReLU network of {len(outcomes[0].variances)} hidden layers")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command.parser(__doc__, samples=5000, epochs=5)
    parser.add_argument("--depth", type=command.positive, default=20, metavar="N", help="hidden layers (default: 20)")
    options = parser.parse_args(arguments)
    outcomes = run(options.samples, options.epochs, options.depth, seed=options.seed)
    command.table(
        ["weights", "variance, first layer", "last layer", "last/first", "loss", "accuracy"],
        [
            [one.name, *(f"{value:.1e}" for value in (one.variances[0], one.variances[-1], one.growth)),
             one.losses[-1] if one.losses else "not finite", f"{one.accuracy:.1%}" if one.losses else ""]
            for one in outcomes
        ],
    )  # fmt: skip
    best = max(outcomes, key=lambda one: one.accuracy if one.losses else -1)
    kept = min(outcomes, key=lambda one: abs(math.log(one.growth)))
    print(
        f"\n{kept.name} keeps the variance best ({kept.growth:.2g} times over {len(kept.variances)} layers), and "
        f"{'it' if best is kept else best.name} trains best: {best.accuracy:.1%} of the training images after {len(best.losses)} epochs."
    )
    command.picture(options, "initialization.png", lambda path: draw(outcomes, path))
    return 0


if __name__ == "__main__":
    sys.exit(main())
