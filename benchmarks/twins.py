"""The main job's plain recipe beside its twin in PyTorch, from the same weights, on the same batches.

``python -m benchmarks.twins 0 2 4`` trains both for these seeds and prints how far their losses are apart and what
accuracy each reaches. Equal at first, the two drift apart by rounding, as any two runs of a network do.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any

import autograd_ff as af
from autograd_ff.data import DataLoader
from autograd_ff.training import Classification, Settings
from autograd_ff.training.batches import Batch


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.twins", description=__doc__)
    parser.add_argument("seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    for seed in options.seeds:
        print(compare(seed, options.epochs), flush=True)


class Followed(Classification):
    """Hands each batch on, with the loss that it had."""

    follow: Callable[[af.Tensor, af.Tensor, float], None]

    def measured(self, result: Any, batch: Batch, metrics: Iterable[Any]) -> dict[str, float]:
        values = super().measured(result, batch, metrics)
        if self.model.training:
            self.follow(batch.inputs, batch.targets, values["loss"])
        return values


def compare(seed: int, epochs: int) -> str:
    import torch
    from torch import nn

    torch.set_num_threads(1)
    run = Followed(Settings(recipe="plain", seed=seed, epochs=epochs))
    twin = nn.Sequential(
        nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )
    with torch.no_grad():
        for theirs, ours in zip(twin.parameters(), run.model.parameters(), strict=True):
            theirs.copy_(torch.from_numpy(ours.detach().numpy()))
    optimizer = torch.optim.Adam(twin.parameters(), lr=run.settings.learning_rate)
    criterion = nn.CrossEntropyLoss()
    first: list[float] = []

    def follow(inputs: af.Tensor, labels: af.Tensor, ours: float) -> None:
        optimizer.zero_grad()
        loss = criterion(twin(torch.from_numpy(inputs.numpy())), torch.from_numpy(labels.numpy()))
        loss.backward()
        optimizer.step()
        if len(first) < 20:
            first.append(abs(ours - loss.item()))

    run.follow = follow
    run.train()
    images, labels = next(iter(DataLoader(run.test_data, len(run.test_data))))
    with torch.no_grad():
        right = twin(torch.from_numpy(images.numpy())).argmax(1) == torch.from_numpy(labels.numpy())
    return (
        f"seed {seed}: losses of the first {len(first)} batches differ by {max(first):.1e} at most; accuracy after "
        f"{epochs} epochs {run.history['val_accuracy'][-1]:.2%}, PyTorch {right.float().mean().item():.2%}"
    )


if __name__ == "__main__":
    main()
