"""From nothing to a layer of one's own: a class with parameters and a forward; the gradient comes by itself.

The layer is SwiGLU, the feedforward layer of most large language models: one linear map is the gate of another,
(SiLU(x G) ⊙ x U) D. What follows is all that one does with a new layer. It is printed, checked (the derivatives of
every parameter, of the layer and of the network around it, against numeric ones), drawn, trained on MNIST, saved and
loaded.

Source: N. Shazeer, "GLU Variants Improve Transformer" (2020).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import autograd_ff as af
import visualize
from autograd_ff import nn, optim
from autograd_ff.testing import Report, gradcheck
from autograd_ff.training import Trainer

from . import command
from .digits import digits


class SwiGLU(nn.Module):
    """(SiLU(x gate) ⊙ (x up)) down: (…, width) to (…, width)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.width, self.hidden = width, hidden
        # As attributes they are found, under these names, by parameters(), state_dict(), gradcheck and pictures.
        self.gate = nn.Parameter(af.empty(width, hidden))
        self.up = nn.Parameter(af.empty(width, hidden))
        self.down = nn.Parameter(af.empty(hidden, width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights so that each product has the scale of what goes in."""
        for weight in (self.gate, self.up, self.down):
            nn.init.normal_(weight, std=weight.shape[0] ** -0.5)

    def forward(self, x: af.Tensor) -> af.Tensor:
        return (nn.functional.silu(x @ self.gate) * (x @ self.up)) @ self.down

    def extra_repr(self) -> str:  # what stands in the parentheses when the layer is printed
        return f"{self.width}, hidden={self.hidden}"


class Residual(nn.Module):
    """x + layer(norm(x)): the way such layers are stacked."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width)
        self.feedforward = SwiGLU(width, hidden)

    def forward(self, x: af.Tensor) -> af.Tensor:
        return x + self.feedforward(self.norm(x))


def network(width: int = 64, hidden: int = 128, blocks: int = 2) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(784, width),
        *(Residual(width, hidden) for _ in range(blocks)),
        nn.RMSNorm(width),
        nn.Linear(width, 10),
    )


@dataclass
class Result:
    layer_check: Report  # of the layer alone
    network_check: Report  # of the untrained network with its loss
    parameters: int
    accuracy: list[float]  # on test images, after each epoch
    reloaded_equal: bool  # whether the network from the file predicts the same, bit for bit


def run(
    samples: int = 10000, epochs: int = 5, seed: int = 0, output: str | os.PathLike[str] = "runs/examples",
    verbose: int = 0,
) -> Result:  # fmt: skip
    """Check, draw, train, save and load a network of the new layers."""
    Path(output).mkdir(parents=True, exist_ok=True)
    af.manual_seed(seed)
    images, labels = digits(samples)
    test_images, test_labels = digits(2000, train=False)

    # 1. Is its gradient right? Of the layer alone, with respect to its input and to its parameters.
    layer = SwiGLU(4, 6)
    x = af.randn(3, 4, requires_grad=True)
    layer_check = gradcheck(layer, x)

    # 2. And of the whole network with its loss, on some digits.
    model = network()
    few, answers = af.tensor(images[:4]), af.tensor(labels[:4])
    network_check = gradcheck(model, few, lambda outputs: nn.functional.cross_entropy(outputs, answers))

    # 3. What does it compute? One block in full, and the network with its blocks closed.
    try:
        visualize.render(layer, x, path=Path(output, "custom_layer.png"))
        visualize.render(model, few, path=Path(output, "custom_layer_network.png"), fold="Residual")
    except (ImportError, visualize.LayoutError) as error:
        print(f"no picture: {error}")

    # 4. Train it.
    trainer = Trainer(model, nn.CrossEntropyLoss(), optim.AdamW(model.parameters(), lr=1e-3), metrics=["accuracy"])
    history = trainer.fit(
        images, labels, epochs=epochs, batch_size=64, validation_data=(test_images, test_labels), verbose=verbose
    )

    # 5. Save it, and load it into a network with other weights.
    path = Path(output, "custom_layer.safetensors")
    af.save(model.state_dict(), path)
    again = network()
    again.load_state_dict(af.load(path))
    same = af.equal(trainer.predict(test_images), Trainer(again).predict(test_images))
    return Result(
        layer_check, network_check, sum(one.numel() for one in model.parameters()), history["val_accuracy"], same
    )


def main(arguments: Sequence[str] | None = None) -> int:
    options = command.parser(__doc__, samples=10000, epochs=5).parse_args(arguments)
    print(network(), "\n")
    result = run(options.samples, options.epochs, options.seed, options.output, verbose=1)
    print("\nthe layer alone:", result.layer_check, "\n\nthe network, its worst entries:", result.network_check, "\n")
    command.table(["epoch", "test accuracy"], [[n + 1, f"{value:.2%}"] for n, value in enumerate(result.accuracy)])
    checked = result.layer_check.passed and result.network_check.passed
    print(
        f"\nThe gradients of all {result.parameters:,} parameters {'agree' if checked else 'DO NOT agree'} with "
        f"numeric ones; trained on {options.samples:,} digits the network reads {result.accuracy[-1]:.1%} of 2,000 new "
        "ones, and loaded from its file it predicts "
        f"{'the same, bit for bit' if result.reloaded_equal else 'SOMETHING ELSE'}.\n"
        f"files: {options.output}/custom_layer.png, custom_layer_network.png, custom_layer.safetensors"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
