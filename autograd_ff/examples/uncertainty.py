"""A network can say how far it may be off: the noise in the data by a variance that it predicts, its own ignorance by
an ensemble.

Shown the upper half of a digit, predict how much ink the lower half holds. That cannot be known exactly, and of some
halves less than of others. A network with two outputs, mean and log variance, trained on the Gaussian negative
log-likelihood, learns where it is how noisy. But it is sure of itself also where it has seen nothing. Networks from
different first weights agree on what the data tell, and disagree elsewhere: for a deep ensemble the variance is the
mean of the predicted variances (noise) plus the variance of the means (ignorance). Whether such numbers can be relied
on can be counted: of held-out targets 68 % lie within one predicted standard deviation and 95 % within two, if the
errors are normal.

Sources: D. Nix and A. Weigend, "Estimating the Mean and Variance of the Target Probability Distribution" (1994); B.
Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation Using Deep Ensembles" (2017).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import autograd_ff as af
from autograd_ff import datasets, nn, optim
from autograd_ff.training import Trainer

from . import command
from .picture import COLORS, axes_of, save


def halves(samples: int, train: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Digits (n, 28, 28) from 0 to 1, their upper halves as rows, and the mean of each lower half (n,)."""
    images = datasets.MNIST(train=train).data.numpy()[:samples].astype(np.float32) / 255
    return images, images[:, :14].reshape(-1, 14 * 28), images[:, 14:].mean((1, 2))


def negative_log_likelihood(outputs: af.Tensor, targets: af.Tensor) -> af.Tensor:
    """Of targets under normal distributions: a column of means and one of the logarithms of their variances."""
    mean, log_variance = outputs.unbind(1)
    return nn.functional.gaussian_nll_loss(mean, targets, log_variance.exp(), full=True)


@dataclass
class Prediction:
    """For each sample a mean and a variance of two parts."""

    mean: np.ndarray
    noise: np.ndarray
    ignorance: np.ndarray

    @classmethod
    def of(cls, trainers: Sequence[Trainer], inputs: np.ndarray) -> Prediction:
        outputs = np.stack([trainer.predict(inputs).numpy() for trainer in trainers])
        means, variances = outputs[:, :, 0], np.exp(outputs[:, :, 1])
        return cls(means.mean(0), variances.mean(0), means.var(0))

    @property
    def deviation(self) -> np.ndarray:
        deviation: np.ndarray = np.sqrt(self.noise + self.ignorance)
        return deviation

    def within(self, targets: np.ndarray, deviations: float) -> float:
        """The share of targets that lie so near to the mean."""
        return float((np.abs(targets - self.mean) < deviations * self.deviation).mean())

    def nll(self, targets: np.ndarray) -> float:
        mean, variance = af.tensor(self.mean), af.tensor(self.deviation**2)
        return float(nn.functional.gaussian_nll_loss(mean, af.tensor(targets), variance, full=True).item())

    def reliability(self, targets: np.ndarray, groups: int = 10) -> tuple[list[float], list[float]]:
        """In groups of samples, the surest first: the deviation that is predicted, and the one that occurs."""
        parts = np.array_split(np.argsort(self.deviation), groups)
        predicted = [float(np.sqrt((self.deviation[part] ** 2).mean())) for part in parts]
        return predicted, [float(np.sqrt(((targets - self.mean)[part] ** 2).mean())) for part in parts]


@dataclass
class Result:
    """Predictions for test halves, and for their photographic negatives, which no network has seen the like of."""

    images: np.ndarray
    targets: np.ndarray  # in standard deviations, as all predictions
    constant: Prediction  # the ensemble's means with one variance for all, as the squared error has it
    single: Prediction
    ensemble: Prediction
    negatives: Prediction


def run(samples: int = 10000, epochs: int = 8, members: int = 5, tests: int = 5000, seed: int = 0) -> Result:
    """Train the members, and predict with one of them and with all."""
    _, inputs, ink = halves(samples, train=True)
    images, test_inputs, test_ink = halves(tests, train=False)
    targets, test_targets = (ink - ink.mean()) / ink.std(), (test_ink - ink.mean()) / ink.std()
    trainers = []
    for member in command.progress(range(members), "networks"):
        af.manual_seed(seed + member)
        model = nn.Sequential(nn.Linear(392, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 2))
        trainer = Trainer(model, negative_log_likelihood, optim.AdamW(model.parameters(), lr=1e-3))
        trainer.fit(inputs, targets, epochs=epochs, batch_size=64, verbose=0)
        trainers.append(trainer)
    ensemble = Prediction.of(trainers, test_inputs)
    same = np.full_like(ensemble.noise, ((test_targets - ensemble.mean) ** 2).mean())
    constant = Prediction(ensemble.mean, same, np.zeros_like(same))
    single = Prediction.of(trainers[:1], test_inputs)
    return Result(images, test_targets, constant, single, ensemble, Prediction.of(trainers, 1 - test_inputs))


def draw(path: str, result: Result) -> None:
    figure, (kept, parts, shown) = axes_of(3, width=4.3, height=3.7)
    highest = 0.0
    for name, color, prediction in (
        ("one network", COLORS[1], result.single),
        ("ensemble", COLORS[0], result.ensemble),
    ):
        predicted, occurring = prediction.reliability(result.targets)
        kept.plot(predicted, occurring, "o-", color=color, label=name)
        highest = max(highest, *predicted, *occurring)
    kept.plot([0, highest], [0, highest], ":", color="0.4", label="as predicted")
    kept.set(xlabel="predicted deviation", ylabel="deviation that occurs", title="ten groups of test halves")
    kept.legend()
    for name, color, prediction in (("digits", COLORS[0], result.ensemble), ("negatives", COLORS[1], result.negatives)):
        parts.scatter(np.sqrt(prediction.noise), np.sqrt(prediction.ignorance), s=2, color=color, alpha=0.3, label=name)
    parts.set(xlabel="noise", ylabel="ignorance", xscale="log", yscale="log", title="the two parts of the deviation")
    parts.set_yticks([0.02, 0.05, 0.1, 0.2, 0.5], ["0.02", "0.05", "0.1", "0.2", "0.5"])
    parts.minorticks_off()
    parts.legend(markerscale=5)
    order = np.argsort(result.ensemble.deviation)
    pictures = result.images.copy()
    pictures[:, 14:] *= 0.35  # what the network does not see
    rows = [
        np.concatenate(list(pictures[part]), axis=1) for part in (order[:6], order[6:12], order[-12:-6], order[-6:])
    ]
    shown.imshow(np.concatenate([*rows[:2], np.ones((6, 168), np.float32), *rows[2:]]), cmap="gray")
    shown.grid(False)
    shown.set(
        xticks=[], yticks=[28, 90], yticklabels=["surest", "least\nsure"], title="upper halves, the lower ones dimmed"
    )
    shown.tick_params(length=0)
    shown.set_frame_on(False)
    save(figure, path)


def main(arguments: Sequence[str] | None = None) -> int:
    options = command.parser(__doc__, samples=10000, epochs=8)
    options.add_argument(
        "--members", type=command.positive, default=5, metavar="N", help="of the ensemble (default: 5)"
    )
    chosen = options.parse_args(arguments)
    result = run(chosen.samples, chosen.epochs, chosen.members, seed=chosen.seed)
    targets = result.targets
    rows = {"one variance for all": result.constant, "one network": result.single, "ensemble": result.ensemble}
    command.table(
        ["prediction", "negative log-likelihood", "within 1 deviation", "within 2"],
        [
            [name, one.nll(targets), f"{one.within(targets, 1):.1%}", f"{one.within(targets, 2):.1%}"]
            for name, one in rows.items()
        ]
        + [["normal errors", "", "68.3%", "95.4%"]],
    )
    print()
    parts = {"test digits": result.ensemble, "their negatives": result.negatives}
    command.table(
        ["median of", "noise", "ignorance"],
        [
            [name, *(float(np.median(np.sqrt(part))) for part in (one.noise, one.ignorance))]
            for name, one in parts.items()
        ],
    )
    predicted, occurring = result.ensemble.reliability(targets)
    ratio = np.median(np.sqrt(result.negatives.ignorance)) / np.median(np.sqrt(result.ensemble.ignorance))
    print(
        f"\nThe tenth of the halves that the ensemble is surest of is off by {occurring[0]:.2f} ({predicted[0]:.2f} "
        f"predicted), the tenth that it is least sure of by {occurring[-1]:.2f} ({predicted[-1]:.2f}); "
        f"{result.ensemble.within(targets, 2):.1%} lie within two of its deviations, "
        f"{result.single.within(targets, 2):.1%} within two of a single network's; "
        f"and on negatives its members disagree {ratio:.1f} times as much."
    )
    command.picture(chosen, "uncertainty.png", lambda path: draw(path, result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
