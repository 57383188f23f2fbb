"""A range test of at most 150 steps finds a learning rate that trains better than ones ten times smaller or larger.

The rate rises with each step from far too small to far too large. Where the loss falls fastest is a good rate to train
with; where it rises again is the end of the rates that can be used at all. The test leaves the model as it was, so that the
training starts where it would have.

Source: L. N. Smith, "Cyclical learning rates for training neural networks" (2017), section 3.3.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import autograd_ff as af
from autograd_ff import nn, optim
from autograd_ff.errors import NonFiniteError
from autograd_ff.training import RangeTest, Trainer, learning_rate_range_test

from . import command
from .digits import digits

FACTORS = (0.1, 1.0, 10.0)


@dataclass
class Outcome:
    """The test, and how trainings went with multiples of the rate that it suggests."""

    test: RangeTest
    losses: dict[float, float]  # of each factor the training loss of the last epoch; infinite where it exploded
    accuracy: dict[float, float]  # and the accuracy on the test images


def new_trainer(seed: int, rate: float = 0.01) -> Trainer:
    """A trainer of the same weights every time."""
    af.manual_seed(seed)
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    return Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=rate, momentum=0.9), ["accuracy"])


def run(samples: int = 5000, epochs: int = 3, steps: int = 150, seed: int = 0) -> Outcome:
    """Test the rates, and train with the one suggested, a tenth and ten times of it."""
    images, labels = digits(samples)
    held_out = digits(2000, train=False)
    test = learning_rate_range_test(new_trainer(seed), images, labels, steps=steps, batch_size=64)
    if test.suggestion is None:
        raise RuntimeError("the loss fell at no learning rate: try more steps")
    outcome = Outcome(test, {}, {})
    for factor in command.progress(FACTORS, "trainings"):
        trainer = new_trainer(seed, factor * test.suggestion)
        with np.errstate(over="ignore", invalid="ignore"):  # one of them is going to explode
            try:
                history = trainer.fit(images, labels, epochs=epochs, batch_size=64, checks=False, verbose=0)
                outcome.losses[factor] = history["loss"][-1]
            except NonFiniteError:  # the weights are as before the step that was too large
                outcome.losses[factor] = math.inf
            outcome.accuracy[factor] = trainer.evaluate(held_out, batch_size=500)["accuracy"]
    return outcome


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command.parser(__doc__, samples=5000, epochs=3)
    parser.add_argument("--steps", type=command.positive, default=150, help="of the range test (default: 150)")
    options = parser.parse_args(arguments)
    outcome = run(options.samples, options.epochs, options.steps, options.seed)
    test, suggestion = outcome.test, outcome.test.suggestion or math.nan
    ended = f"the loss exploded at {test.rates[-1]:.2g}" if test.exploded else "it never exploded"
    print(
        f"{len(test.rates)} of at most {options.steps} steps, from {test.rates[0]:.2g} up; the loss falls fastest at {suggestion:.2g}, {ended}.\n"
    )
    command.table(
        ["learning rate", "training loss", "test accuracy"],
        [
            [f"{factor:g} × suggestion = {factor * suggestion:.2g}", loss, f"{outcome.accuracy[factor]:.1%}"]
            for factor, loss in outcome.losses.items()
        ],
    )
    best = max(outcome.accuracy, key=lambda factor: outcome.accuracy[factor])
    others = " and ".join(f"{value:.1%}" for factor, value in outcome.accuracy.items() if factor != best)
    print(f"\nOf the three, {best:g} × the suggestion generalises best: {outcome.accuracy[best]:.1%} against {others}.")
    command.picture(options, "learning_rate_range_test.png", test.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
