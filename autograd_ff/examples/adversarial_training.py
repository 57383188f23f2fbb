"""A change of the pixels that one hardly sees makes a network wrong; training on such changes makes it hold out.

The gradient of the loss with respect to the *image* says which way to change each pixel. FGSM takes one step of size
ε along its signs; PGD takes many small ones from a random start, and comes back into the box of ±ε around the image
each time, which finds worse images in the same box. A network that is trained on what PGD makes of its batches must
be right in the whole box. It is paid for with work, a forward and backward pass for each step of the attack, and
usually with accuracy on clean images.

Sources: I. Goodfellow et al., "Explaining and Harnessing Adversarial Examples" (2015), of FGSM; A. Madry et al.,
"Towards Deep Learning Models Resistant to Adversarial Attacks" (2018), of PGD and of training on it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import autograd_ff as af
from autograd_ff import datasets, nn, optim
from autograd_ff.training import Trainer

from . import command
from .picture import axes_of, save

Pixels = tuple[af.Tensor, af.Tensor]  # images (n, 784) from 0 to 1, and their labels


def image_gradient(model: nn.Module, images: af.Tensor, labels: af.Tensor) -> af.Tensor:
    """Of each image's own loss, with respect to its pixels. The gradients of the weights stay as they are."""
    images = images.detach().requires_grad_()
    with af.enable_grad():  # also within an evaluation, which runs under no_grad
        loss = nn.functional.cross_entropy(model(images), labels, reduction="sum")
    gradient: Any = af.autograd.grad(loss, images)[0]
    return gradient


def fgsm(model: nn.Module, images: af.Tensor, labels: af.Tensor, epsilon: float) -> af.Tensor:
    """The fast gradient sign method: one step to a corner of the box."""
    return (images + epsilon * image_gradient(model, images, labels).sign()).clamp(0, 1)


def pgd(model: nn.Module, images: af.Tensor, labels: af.Tensor, epsilon: float, steps: int = 20) -> af.Tensor:
    """Projected gradient descent: many steps, each back into the box."""
    lowest, highest = (images - epsilon).clamp(0, 1), (images + epsilon).clamp(0, 1)
    attacked = images + epsilon * (2 * af.rand_like(images) - 1)
    for _ in range(steps):
        attacked = attacked.minimum(highest).maximum(lowest)
        attacked = attacked + 2.5 * epsilon / steps * image_gradient(model, attacked, labels).sign()
    return attacked.minimum(highest).maximum(lowest)


class AdversarialTrainer(Trainer):
    """Descends the loss of the attacked images instead of that of the images."""

    epsilon, steps = 0.1, 7

    def compute_loss(self, inputs: Any, targets: Any, weights: Any = None) -> tuple[Any, Any]:
        if self.model.training:
            inputs = pgd(self.model, inputs, targets, self.epsilon, self.steps)
        return super().compute_loss(inputs, targets, weights)


@dataclass
class Outcome:
    model: nn.Module
    clean: float  # accuracy on the test images as they are
    fgsm: float  # on those that FGSM made of them for this network
    pgd: float


def pixels(samples: int, train: bool) -> Pixels:
    data = datasets.MNIST(train=train)
    return data.data[:samples].flatten(1).float() / 255, data.targets[:samples]


def run(
    samples: int = 10000, epochs: int = 5, epsilon: float = 0.1, tests: int = 1000, width: int = 256, seed: int = 0,
    verbose: int = 0,
) -> dict[str, Outcome]:  # fmt: skip
    """The same network trained on digits, and on attacked digits; each attacked after that."""
    images, labels = pixels(samples, train=True)
    test_images, test_labels = pixels(tests, train=False)
    outcomes = {}
    for name, kind in {"on digits": Trainer, "on attacked digits": AdversarialTrainer}.items():
        if verbose:
            print(f"training {name}")
        af.manual_seed(seed)
        model = nn.Sequential(
            nn.Linear(784, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
        )
        trainer = kind(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=1e-3), metrics=["accuracy"])
        if isinstance(trainer, AdversarialTrainer):
            trainer.epsilon = epsilon
        trainer.fit(images, labels, epochs=epochs, batch_size=64, checks=False, verbose=verbose)
        tried = (
            test_images,
            fgsm(model, test_images, test_labels, epsilon),
            pgd(model, test_images, test_labels, epsilon, 40),
        )
        outcomes[name] = Outcome(model, *(trainer.evaluate(one, test_labels)["accuracy"] for one in tried))
    return outcomes


def draw(path: str, outcomes: dict[str, Outcome], epsilon: float, tests: int, columns: int = 20) -> None:
    """The first test digits: as they are; and for each network what is added to them, the sum, and what it reads there."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    images, labels = pixels(columns, train=False)
    rows: list[tuple[str, np.ndarray, Any]] = [(f"the first {columns}\ntest images", images.numpy(), labels.tolist())]
    shares = []
    for name, one in outcomes.items():
        attacked = pgd(one.model, images, labels, epsilon, 40)
        read = one.model(attacked).argmax(1).tolist()
        right = sum(a == b for a, b in zip(read, labels.tolist(), strict=True))
        rows.append((f"added against the network\ntrained {name}", (attacked - images).numpy(), None))
        rows.append((f"the network trained {name}\nreads {right} of these {columns} right", attacked.numpy(), read))
        shares.append(f"{one.pgd:.1%} when trained {name}")
    figure, axes = axes_of(columns, len(rows), width=0.72, height=0.95)
    colors = ScalarMappable(Normalize(-epsilon, epsilon), "RdBu_r")
    for place, panel in enumerate(axes):
        (label, shown, read), column = rows[place // columns], place % columns
        look = (
            {"cmap": "gray", "vmin": 0, "vmax": 1} if read is not None else {"cmap": colors.cmap, "norm": colors.norm}
        )
        panel.imshow(shown[column].reshape(28, 28), **look)
        panel.grid(False)
        panel.set_xticks([])
        panel.set_yticks([])
        if column == 0:
            panel.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
        if read is not None:
            wrong = read[column] != labels[column].item()
            font = {"color": "#d55e00", "fontweight": "bold"} if wrong else {}
            panel.text(13.5, -2, str(read[column]), ha="center", fontsize=11, **font)
        panel.set_frame_on(False)
    bar = figure.colorbar(colors, ax=axes, location="bottom", shrink=0.3, aspect=40, ticks=[-epsilon, 0, epsilon])
    bar.ax.set_xticklabels([f"−{epsilon:g}: made darker", "0: as it was", f"+{epsilon:g}: made brighter"])
    bar.set_label("what is added to each pixel (0 black, 1 white)", fontsize=9)
    save(
        figure, path,
        f"PGD within ±{epsilon:g} of each pixel: what is then read wrong is orange\n"
        f"read right of {tests:,} attacked test images: {', '.join(shares)}",
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    options = command.parser(__doc__, samples=10000, epochs=5)
    options.add_argument(
        "--epsilon", type=float, default=0.1, help="how far each pixel may change, of 1 (default: 0.1)"
    )
    options.add_argument(
        "--tests", type=command.positive, default=1000, metavar="N", help="test images (default: 1000)"
    )
    chosen = options.parse_args(arguments)
    outcomes = run(chosen.samples, chosen.epochs, chosen.epsilon, chosen.tests, seed=chosen.seed, verbose=1)
    print()
    command.table(
        ["trained", "clean", "FGSM", "PGD"],
        [[name, f"{one.clean:.1%}", f"{one.fgsm:.1%}", f"{one.pgd:.1%}"] for name, one in outcomes.items()],
    )
    plain, hardened = outcomes.values()
    cost = plain.clean - hardened.clean
    print(
        f"\nA change of at most {chosen.epsilon:g} takes the network from {plain.clean:.1%} to {plain.pgd:.1%}; "
        f"trained on such changes it keeps {hardened.pgd:.1%}, and reads {100 * abs(cost):.1f} points "
        f"{'fewer' if cost > 0 else 'more'} of the clean digits."
    )
    command.picture(chosen, "adversarial_training.png", lambda path: draw(path, outcomes, chosen.epsilon, chosen.tests))
    return 0


if __name__ == "__main__":
    sys.exit(main())
