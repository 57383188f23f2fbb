"""Logistic regression is a network of one linear layer; gradient descent finds the optimum that a solver finds.

For two classes the loss is the binary cross-entropy -[y log p + (1 - y) log(1 - p)] of p = sigmoid(w·x + b), computed
from the logit w·x + b, which cannot overflow. With an L2 penalty it is convex with one best w, and so there is an
answer to compare with, here from SciPy's L-BFGS. Descent on all samples at once needs no tuning either: the curvature
of the loss is at most λ/4, λ being the largest eigenvalue of XᵀX/n, which gives the step; and Nesterov's momentum
follows from the ratio of the least curvature, that of the penalty, to the largest. (The features are centred: else b
could be traded for w, at a lower curvature still.) The weights have the shape of an image, and can be looked at.

A logit is not yet a decision. The threshold trades precision (how many of those reported are right) for recall (how
many are found), and is chosen on data that nothing was trained on. The area under the ROC curve judges all thresholds
together.

Sources: D. R. Cox, "The Regression Analysis of Binary Sequences" (1958); Y. Nesterov, "A Method of Solving a Convex
Programming Problem with Convergence Rate O(1/k²)" (1983). Data: MNIST, a 3 against an 8; or, where scikit-learn is
installed, breast cancer (W. Street et al., 1993).
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autograd_ff import datasets, nn, optim
from autograd_ff.training import Trainer, metrics

from . import command
from .picture import COLORS, axes_of, save

Data = tuple[np.ndarray, np.ndarray]  # features (n, features), and 0 or 1 (n, 1)


def digits_3_and_8(samples: int, train: bool) -> Data:
    """The first so many 3s and 8s of MNIST; an 8 is the positive class."""
    data = datasets.MNIST(train=train)
    labels = data.targets.numpy()
    chosen = np.flatnonzero((labels == 3) | (labels == 8))[:samples]
    images = data.data.numpy()[chosen].reshape(-1, 784).astype(np.float32) / 255
    return images, (labels[chosen] == 8).astype(np.float32)[:, None]


def breast_cancer(seed: int) -> tuple[Data, Data]:
    """30 measurements of cell nuclei, standardised; malignant is the positive class. A quarter is for the test."""
    from sklearn.datasets import load_breast_cancer  # type: ignore[import-not-found, unused-ignore]

    data = load_breast_cancer()
    features = ((data.data - data.data.mean(0)) / data.data.std(0)).astype(np.float32)
    labels = (data.target == 0).astype(np.float32)[:, None]
    order = np.random.default_rng(seed).permutation(len(labels))
    held, rest = np.split(order, [len(order) // 4])
    return (features[rest], labels[rest]), (features[held], labels[held])


def best_by_scipy(features: np.ndarray, labels: np.ndarray, l2: float) -> tuple[np.ndarray, float]:
    """Weights with the bias at the end, and their objective, by a solver in float64 that has its gradient by hand."""
    from scipy.optimize import minimize

    x = np.concatenate([features, np.ones_like(labels)], axis=1).astype(np.float64)
    y = labels[:, 0].astype(np.float64)
    penalised = np.append(np.full(features.shape[1], l2), 0.0)

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        logits = x @ w
        value = np.mean(np.logaddexp(0, logits) - y * logits) + penalised @ w**2
        return value, x.T @ (1 / (1 + np.exp(-logits)) - y) / len(y) + 2 * penalised * w

    found = minimize(
        objective, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 5000, "gtol": 1e-9}
    )
    return found.x, float(found.fun)


@dataclass
class Result:
    weight: np.ndarray
    losses: list[float]  # with the penalty, on the training data, before each step
    objective: float  # and after the last
    best_objective: float  # SciPy's
    similarity: float  # the cosine of the angle between the weights and SciPy's
    accuracy: float
    auc: float
    thresholds: list[tuple[str, float, float, float]]  # what for, as a probability, precision, recall; on the test data
    probabilities: np.ndarray  # of the test data
    labels: np.ndarray


def at_threshold(labels: Any, probabilities: Any, threshold: float) -> tuple[float, float]:
    """Precision and recall."""
    values = []
    for metric in (metrics.Precision(threshold), metrics.Recall(threshold)):
        metric.update_state(labels, probabilities)
        values.append(float(metric.result()))
    return values[0], values[1]


def run(
    samples: int = 4000, steps: int = 300, l2: float = 1e-3, recall: float = 0.99, data: str = "mnist", seed: int = 0
) -> Result:
    """Fit, compare with the solver, and choose a threshold for the recall that is wanted."""
    if data == "cancer":
        (features, labels), test = breast_cancer(seed)
    else:
        (features, labels), test = digits_3_and_8(samples, train=True), digits_3_and_8(samples, train=False)
    center = features.mean(0)
    features, test = features - center, (test[0] - center, test[1])
    held = len(labels) // 5  # for the threshold
    x, y, x_held, y_held = features[held:], labels[held:], features[:held], labels[:held]

    model = nn.Linear(x.shape[1], 1)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    highest = np.linalg.eigvalsh(x.T @ x / len(x))[-1] / 4 + 2 * l2
    ratio = np.sqrt(2 * l2 / highest)
    optimizer = optim.SGD(model.parameters(), lr=1 / highest, momentum=(1 - ratio) / (1 + ratio), nesterov=True)
    trainer = Trainer(model, nn.BCEWithLogitsLoss(), optimizer, metrics=["accuracy"], penalty=nn.regularizers.L2(l2))
    losses: list[float] = []
    for _ in command.progress(range(10), "tenths of the steps"):
        losses += trainer.fit(x, y, epochs=steps // 10, batch_size=len(x), verbose=0)["loss"]

    best, best_objective = best_by_scipy(x, y, l2)
    weight, bias = (parameter.detach().numpy().ravel() for parameter in model.parameters())
    found = np.append(weight, bias)
    evaluated = trainer.evaluate(test[0], test[1])
    probabilities = trainer.predict(test[0]).sigmoid().numpy()
    auc = metrics.AUC()
    auc.update_state(test[1], probabilities)
    # The largest threshold that finds the wanted share of the positives held back.
    positives = np.sort(trainer.predict(x_held).sigmoid().numpy()[y_held == 1])
    chosen = float(positives[int((1 - recall) * len(positives))]) * (1 - 1e-6)
    return Result(
        weight, losses, trainer.evaluate(x, y)["loss"], best_objective,
        float(found @ best / np.linalg.norm(found) / np.linalg.norm(best)), evaluated["accuracy"], auc.result(),
        [
            ("an even decision", 0.5, *at_threshold(test[1], probabilities, 0.5)),
            (f"recall {recall:.0%} on held-back data", chosen, *at_threshold(test[1], probabilities, chosen)),
        ],
        probabilities, test[1],
    )  # fmt: skip


def draw(path: str, result: Result) -> None:
    """The weights as an image, where they are one, and precision and recall by the threshold."""
    image = result.weight.size == 784
    figure, axes = axes_of(2 if image else 1, width=4.4, height=3.6)
    if image:
        size = np.abs(result.weight).max()
        shown = axes[0].imshow(result.weight.reshape(28, 28), cmap="RdBu_r", vmin=-size, vmax=size)
        axes[0].grid(False)
        axes[0].set(xticks=[], yticks=[], title="weights: ink for an 8 (red), for a 3 (blue)")
        axes[0].set_frame_on(False)
        figure.colorbar(shown, ax=axes[0], shrink=0.8)
    logits = np.linspace(-6, 6, 200)
    curves = np.array([at_threshold(result.labels, result.probabilities, 1 / (1 + np.exp(-one))) for one in logits])
    for column, name in enumerate(("precision", "recall")):
        axes[-1].plot(logits, curves[:, column], color=COLORS[column], label=name)
    for what, threshold, _, _ in result.thresholds:
        logit, lowest = np.log(threshold / (1 - threshold)), axes[-1].get_ylim()[0]
        axes[-1].axvline(logit, color="0.4", linestyle=":", linewidth=1)
        axes[-1].text(logit, lowest, f" {what}", rotation=90, ha="right", va="bottom", fontsize=8, color="0.3")
    axes[-1].set(xlabel="threshold of the logit", title=f"{len(result.labels):,} test samples, AUC {result.auc:.4f}")
    axes[-1].legend(loc="lower left")
    save(figure, path)


def main(arguments: Sequence[str] | None = None) -> int:
    options = command.parser(__doc__, samples=4000)
    options.add_argument("--steps", type=command.positive, default=300, metavar="N", help="of descent (default: 300)")
    options.add_argument("--data", choices=["mnist", "cancer"], default="mnist", help="cancer needs scikit-learn")
    options.add_argument(
        "--l2", type=float, default=1e-3, help="times the squared weights is the penalty (default: 0.001)"
    )
    options.add_argument("--recall", type=float, default=0.99, help="that the threshold is chosen for (default: 0.99)")
    chosen: argparse.Namespace = options.parse_args(arguments)
    if chosen.data == "cancer" and importlib.util.find_spec("sklearn") is None:
        options.error("the breast cancer data come with scikit-learn: pip install scikit-learn")
    result = run(chosen.samples, chosen.steps, chosen.l2, chosen.recall, chosen.data, chosen.seed)
    shown = {n: result.losses[n] for n in (0, 10, 100, 1000) if n < len(result.losses)}
    shown[len(result.losses)] = result.objective
    command.table(
        ["steps", "loss with penalty", "above the solver's"],
        [[n, f"{loss:.6f}", f"{loss / result.best_objective - 1:.1e}"] for n, loss in shown.items()],
    )
    print()
    command.table(
        ["threshold for", "probability", "precision", "recall"],
        [
            [what, threshold, f"{precision:.2%}", f"{found:.2%}"]
            for what, threshold, precision, found in result.thresholds
        ],
    )
    gap = abs(result.objective / result.best_objective - 1)
    print(
        f"\nThe loss, penalty included, is {result.objective:.6f}, and the solver's least differs from it by {gap:.0e} "
        f"of it; the weights' cosine with the solver's is {result.similarity:.6f}. On {len(result.labels):,} test "
        f"samples the accuracy is {result.accuracy:.2%} and the area under the ROC curve {result.auc:.4f}."
    )
    command.picture(chosen, "logistic_regression.png", lambda path: draw(path, result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
