"""Seven optimizers end up close together, each at its own best learning rate; but these rates lie far apart.

The same network from the same weights on the same batches, trained by each rule at each rate of a logarithmic grid. Momentum
adds up past gradients, to ten times one gradient where they agree, and so wants smaller rates. RMSprop and Adam divide each
gradient by the root of its recent squares: a rate is then about the size of a step in each weight, whatever the gradient's
scale, and has to be small. Adagrad's divisor only grows, so it may begin with more. No rate is good or bad by itself.

Sources: B. Polyak, "Some methods of speeding up the convergence of iteration methods" (1964); Y. Nesterov, "A method of
solving a convex programming problem with convergence rate O(1/k²)" (1983); J. Duchi et al., "Adaptive subgradient methods"
(2011), of Adagrad; T. Tieleman and G. Hinton, "Lecture 6.5: RMSprop" (2012); D. Kingma and J. Ba, "Adam" (2015);
I. Loshchilov and F. Hutter, "Decoupled weight decay regularization" (2019), of AdamW.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import autograd_ff as af
from autograd_ff import nn, optim
from autograd_ff.errors import NonFiniteError
from autograd_ff.training import History, Trainer

from . import command
from .digits import digits

OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {
    "SGD": optim.SGD,
    "momentum": partial(optim.SGD, momentum=0.9),
    "Nesterov": partial(optim.SGD, momentum=0.9, nesterov=True),
    "Adagrad": optim.Adagrad,
    "RMSprop": optim.RMSprop,
    "Adam": optim.Adam,
    "AdamW": optim.AdamW,
}


@dataclass
class Outcome:
    """One optimizer at all rates."""

    name: str
    rates: list[float]
    accuracies: list[float]  # on the test images, of each rate
    history: History  # of the best rate

    @property
    def best(self) -> int:
        """The place of the best rate."""
        return int(np.argmax(self.accuracies))

    def reaching(self, goal: float) -> list[float]:
        """The rates that reach an accuracy."""
        return [rate for rate, one in zip(self.rates, self.accuracies, strict=True) if one >= goal]


def network(seed: int) -> nn.Sequential:
    af.manual_seed(seed)
    return nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))


def run(
    samples: int = 2000, epochs: int = 5, seed: int = 0, rates: Sequence[float] = tuple(np.geomspace(1e-4, 10, 16))
) -> list[Outcome]:
    """The test accuracy of each optimizer at each rate."""
    images, labels = digits(samples)
    held_out = digits(2000, train=False)
    tried: dict[str, list[tuple[float, History]]] = {name: [] for name in OPTIMIZERS}
    for name, rate in command.progress([(name, rate) for name in OPTIMIZERS for rate in rates], "trainings"):
        model = network(seed)
        optimizer = OPTIMIZERS[name](model.parameters(), lr=float(rate))
        trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer, ["accuracy"])
        # The batches are drawn from the generator that the weights were drawn from: the same ones each time. At some rates
        # the loss explodes; the weights are then left as before the step that was too large.
        with np.errstate(over="ignore", invalid="ignore"):
            with suppress(NonFiniteError):
                trainer.fit(images, labels, epochs=epochs, batch_size=50, checks=False, verbose=0)
            accuracy = trainer.evaluate(held_out, batch_size=500)["accuracy"]
        tried[name].append((accuracy, trainer.history))
    return [
        Outcome(
            name,
            [float(rate) for rate in rates],
            [accuracy for accuracy, _ in found],
            max(found, key=lambda one: one[0])[1],
        )
        for name, found in tried.items()
    ]


def draw(outcomes: Sequence[Outcome], goal: float, path: str) -> None:
    """Accuracy over the rate; training loss at the best rate over the epochs.

    Of curves that nearly coincide one is wide and lies under the dashes of the other.
    """
    from .picture import COLORS, axes_of, name_lines, save

    figure, (rates, training) = axes_of(columns=2, width=6.0, height=4.6)
    under, over = {"linewidth": 2.6}, {"linewidth": 1.8, "linestyle": (0, (3, 1.5)), "zorder": 2.2}
    looks: dict[str, dict[str, Any]] = {
        "momentum": under, "Nesterov": over, "Adagrad": {"linewidth": 5, "zorder": 1.9}, "RMSprop": over,
        "Adam": {"linewidth": 3.6}, "AdamW": over,
    }  # fmt: skip
    lines = {}
    for one, color in zip(outcomes, COLORS, strict=False):
        look = {"color": color, "marker": "o", "markersize": 4, **looks.get(one.name, under)}
        rates.semilogx(one.rates, one.accuracies, label=one.name, **look)
        losses = one.history["loss"]
        (line,) = training.semilogy(range(1, len(losses) + 1), losses, **look)
        lines[f"{one.name} at {one.rates[one.best]:.2g}"] = line
    rates.axhline(goal, color="#7f7f7f", linestyle=":")
    rates.set(title="at every rate", xlabel="learning rate", ylabel="test accuracy", ylim=(0, 1))
    rates.legend(loc="lower left", bbox_to_anchor=(0.24, 0), fontsize=8, handlelength=3)
    training.set(title="each at its best rate", xlabel="epoch", ylabel="training loss")
    training.xaxis.get_major_locator().set_params(integer=True)
    training.yaxis.set_major_formatter("{x:g}")
    name_lines(training, lines)
    save(figure, path, "Seven optimizers, the same weights and batches")


def main(arguments: Sequence[str] | None = None) -> int:
    options = command.parser(__doc__, samples=2000, epochs=5).parse_args(arguments)
    outcomes = run(options.samples, options.epochs, options.seed)
    top = max(max(one.accuracies) for one in outcomes)
    goal = top - 0.05  # close to the best that any of them does
    command.table(
        ["optimizer", "best rate", "test accuracy", f"rates that reach {goal:.1%}", "of all"],
        [
            [one.name, f"{one.rates[one.best]:.2g}", f"{max(one.accuracies):.1%}",
             f"{min(found):.2g} to {max(found):.2g}" if found else "none", f"{len(found) / len(one.rates):.0%}"]
            for one in outcomes
            for found in [one.reaching(goal)]
        ],
    )  # fmt: skip
    accuracies = [max(one.accuracies) for one in outcomes]
    by_rate = sorted(outcomes, key=lambda one: one.rates[one.best])
    apart = by_rate[-1].rates[by_rate[-1].best] / by_rate[0].rates[by_rate[0].best]
    print(
        f"\nAt their best rates they end between {min(accuracies):.1%} and {max(accuracies):.1%}; the best rate of "
        f"{by_rate[-1].name} is {apart:.0f} times that of {by_rate[0].name}."
    )
    command.picture(options, "optimizers.png", lambda path: draw(outcomes, goal, path))
    return 0


if __name__ == "__main__":
    sys.exit(main())
