"""In a deep network, the activation and the scale of the first weights decide whether gradients reach the first layers.

A gradient on its way back is multiplied by each layer's weights and by the slope of each activation. Where these factors
are below one it vanishes, above one it explodes, and both exponentially in the depth. A sigmoid's slope is at most 1/4, so
it fades whatever weights one takes that keep the signal in place. The others need no more than weights of the right
scale: He et al. derived √2 for ReLU from the condition that each layer hands on as much as it was given, E[gain² f(z)²] = 1,
and the same condition, computed here, gives the gain of any f.

Sources: X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010);
K. He et al., "Delving deep into rectifiers" (2015); D. Hendrycks and K. Gimpel, "Gaussian error linear units" (2016);
P. Ramachandran et al., "Searching for activation functions" (2017), of Swish, which is SiLU.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import autograd_ff as af
from autograd_ff import nn, optim
from autograd_ff.training import Trainer

from . import command
from .digits import digits

ACTIVATIONS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "ReLU": nn.ReLU, "GELU": nn.GELU, "SiLU": nn.SiLU}
SCALES = ("default", "fitting", "doubled")


@dataclass
class Outcome:
    """What one activation did with weights of one scale."""

    activation: str
    scale: str
    gain: float  # times 1/√fan_in is the standard deviation of the weights
    gradients: list[float]  # norm of the loss's gradient for each hidden layer's output, before training
    accuracy: list[float]  # in training, of each epoch; of doubled weights none

    @property
    def ratio(self) -> float:
        """How much of the last layer's gradient arrives at the first."""
        return self.gradients[0] / self.gradients[-1]


def fitting_gain(activation: Callable[[af.Tensor], af.Tensor]) -> float:
    """The gain that keeps the second moment: 1 / √E[f(z)²] for standard normal z."""
    z = af.linspace(-8, 8, 4001, dtype=af.float64)
    density = (-z * z / 2).exp()
    return float(((activation(z) ** 2 * density).sum() / density.sum()).item() ** -0.5)


def network(activation: type[nn.Module], gain: float | None, depth: int, width: int) -> nn.Sequential:
    """So many hidden layers, without biases; where ``gain`` is None they are as nn.Linear makes them."""
    layers: list[nn.Module] = []
    for number in range(depth):
        linear = nn.Linear(784 if number == 0 else width, width, bias=gain is None)
        if gain is not None:
            nn.init.normal_(linear.weight, std=gain / linear.in_features**0.5)
        layers += [linear, activation()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def gradients_by_depth(model: nn.Sequential, images: af.Tensor, labels: af.Tensor) -> list[float]:
    """The norm of the loss's gradient for the output of each hidden layer, first to last."""
    outputs: list[af.Tensor] = []
    hidden = images
    for layer in model:
        hidden = layer(hidden)
        if isinstance(layer, nn.Linear):
            outputs.append(hidden)
    gradients = af.autograd.grad(nn.functional.cross_entropy(hidden, labels), outputs[:-1])
    return [one.double().norm().item() for one in gradients if one is not None]


def run(
    samples: int = 5000, epochs: int = 5, depth: int = 20, width: int = 64, seed: int = 0, rate: float = 0.003,
    scales: Sequence[str] = SCALES,
) -> list[Outcome]:  # fmt: skip
    """The gradients of each activation with weights of each scale, and how the network trains."""
    images, labels = digits(samples)
    first = af.tensor(images[:256]), af.tensor(labels[:256])
    outcomes = []
    for name, scale in command.progress([(name, scale) for name in ACTIVATIONS for scale in scales], "networks"):
        gain = fitting_gain(ACTIVATIONS[name]())
        factor = {"default": None, "fitting": gain, "doubled": 2 * gain}[scale]
        af.manual_seed(seed)
        model = network(ACTIVATIONS[name], factor, depth, width)
        gradients = gradients_by_depth(model, *first)
        trainer = Trainer(
            model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=rate, momentum=0.9), ["accuracy"]
        )
        accuracy = []
        if scale != "doubled":
            history = trainer.fit(images, labels, epochs=epochs, batch_size=64, checks=False, verbose=0)
            accuracy = history["accuracy"]
        outcomes.append(Outcome(name, scale, 3**-0.5 if factor is None else factor, gradients, accuracy))
    return outcomes


def draw(outcomes: Sequence[Outcome], path: str) -> None:
    """The gradients over the depth, a panel for each scale, and below the training with the first two.

    Where curves coincide, markers at different places and the dashes of the last show each of them.
    """
    from .picture import COLORS, axes_of, name_lines, save

    titles = {
        "default": "nn.Linear's own weights", "fitting": "weights with the fitting gain", "doubled": "twice these weights",
    }  # fmt: skip
    looks: dict[str, dict[str, Any]] = {
        name: {"color": color, "marker": marker, "markersize": 6, "linewidth": 2.4}
        for name, color, marker in zip(ACTIVATIONS, COLORS, "osD^v", strict=False)
    }
    looks["SiLU"] |= {"linestyle": (0, (2.5, 2)), "linewidth": 2}  # on top of GELU's

    def curves(axes: Any, values: Sequence[tuple[str, Sequence[int], list[float]]]) -> None:
        lines, count = {}, len(ACTIVATIONS)
        for place, (name, at, shown) in enumerate(values):
            every = (place, count) if len(shown) >= count else None
            (lines[name],) = axes.plot(at, shown, markevery=every, **looks[name])
        axes.xaxis.get_major_locator().set_params(integer=True)
        name_lines(axes, lines)

    figure, panels = axes_of(columns=3, rows=2, width=4.4, height=3.4)
    every = [value for one in outcomes for value in one.gradients if value > 0]
    for (scale, title), axes in zip(titles.items(), panels[:3], strict=True):
        axes.set(title=title, xlabel="hidden layer, last to first", ylim=(min(every) / 10, max(every) * 10))
        axes.invert_xaxis()  # as the gradient goes, so that the curves part towards their names
        axes.set_yscale("log")
        chosen = [one for one in outcomes if one.scale == scale]
        curves(axes, [(one.activation, range(len(one.gradients), 0, -1), one.gradients[::-1]) for one in chosen])
    for scale, axes in zip(titles, panels[3:], strict=True):
        if scale == "doubled":
            axes.set_axis_off()
            axes.text(0.5, 0.5, "(not trained)", ha="center", transform=axes.transAxes)
            continue
        axes.set(title="the same network, trained", xlabel="epoch", ylim=(0, 1))
        chosen = [one for one in outcomes if one.scale == scale]
        curves(axes, [(one.activation, range(1, len(one.accuracy) + 1), one.accuracy) for one in chosen])
    panels[0].set_ylabel("norm of the gradient")
    panels[3].set_ylabel("accuracy")
    save(figure, path, "What arrives of the gradient at each layer before training, and how the network then trains")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command.parser(__doc__, samples=5000, epochs=5)
    parser.add_argument("--depth", type=command.positive, default=20, help="hidden layers (default: 20)")
    options = parser.parse_args(arguments)
    outcomes = run(options.samples, options.epochs, options.depth, seed=options.seed)
    command.table(
        ["activation", "weights", "gain", "gradient, first layer", "last layer", "first/last", "accuracy"],
        [
            [one.activation, one.scale, f"{one.gain:.2f}", f"{one.gradients[0]:.1e}", f"{one.gradients[-1]:.1e}",
             f"{one.ratio:.1e}", f"{one.accuracy[-1]:.1%}" if one.accuracy else ""]
            for one in outcomes
        ],
    )  # fmt: skip
    fitting = {one.activation: one for one in outcomes if one.scale == "fitting"}
    sigmoid = fitting.pop("sigmoid")
    ratios = [one.ratio for one in fitting.values()]
    print(
        f"\nWith fitting weights {sigmoid.ratio:.0e} of the last layer's gradient reaches the first through sigmoids, and "
        f"{min(ratios):.2g} to {max(ratios):.2g} times it through the others, which learn "
        f"{min(one.accuracy[-1] for one in fitting.values()):.0%} to {max(one.accuracy[-1] for one in fitting.values()):.0%} "
        f"of the images where sigmoids learn {sigmoid.accuracy[-1]:.0%}."
    )
    command.picture(options, "activations.png", lambda path: draw(outcomes, path))
    return 0


if __name__ == "__main__":
    sys.exit(main())
