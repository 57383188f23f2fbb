"""The main job's plain recipe beside its twin in PyTorch, from the same weights, on the same batches.

``python -m benchmarks.twins 0 2 4`` trains both for these seeds and prints how far their losses are apart and what
accuracy each reaches. Equal at first, the two drift apart by rounding, as any two runs of a network do.
"""

from __future__ import annotations

import argparse

import numpy as np
from tqdm import tqdm

from autograd_ff.data import DataLoader
from autograd_ff.training import Classification, Settings


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.twins", description=__doc__)
    parser.add_argument("seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    for seed in options.seeds:
        print(compare(seed, options.epochs), flush=True)


def compare(seed: int, epochs: int) -> str:
    import torch
    from torch import nn

    torch.set_num_threads(1)
    run = Classification(Settings(recipe="plain", seed=seed, epochs=epochs))
    twin = nn.Sequential(
        nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )
    with torch.no_grad():
        for theirs, ours in zip(twin.parameters(), run.model.parameters(), strict=True):
            theirs.copy_(torch.from_numpy(ours.detach().numpy()))
    optimizer = torch.optim.Adam(twin.parameters(), lr=run.settings.learning_rate)
    criterion = nn.CrossEntropyLoss()
    first: list[float] = []
    for epoch in tqdm(range(epochs), desc=f"seed {seed}", leave=False, disable=None):
        # The same order of samples as the run's own.
        order = np.random.default_rng((seed, epoch))
        loader = DataLoader(run.train_data, run.settings.batch_size, shuffle=True, generator=order)
        for ours, (images, labels) in zip(run.train_epoch(), loader, strict=True):
            optimizer.zero_grad()
            loss = criterion(twin(torch.from_numpy(images.numpy())), torch.from_numpy(labels.numpy()))
            loss.backward()
            optimizer.step()
            if len(first) < 20:
                first.append(abs(ours - loss.item()))
    images, labels = next(iter(DataLoader(run.test_data, len(run.test_data))))
    with torch.no_grad():
        right = twin(torch.from_numpy(images.numpy())).argmax(1) == torch.from_numpy(labels.numpy())
    return (
        f"seed {seed}: losses of the first {len(first)} batches differ by {max(first):.1e} at most; accuracy after "
        f"{epochs} epochs {run.history[-1]['test_accuracy']:.2%}, PyTorch {right.float().mean().item():.2%}"
    )


if __name__ == "__main__":
    main()
