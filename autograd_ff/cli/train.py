"""``python -m autograd_ff train mnist``: train a network, and leave its weights, curves, graph and gradient check."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from ..functions import Tensor, tensor
from ..serialization import save
from ..training.classification import ACTIVATIONS, DATASETS, OPTIMIZERS, RECIPES, Classification, Settings
from ..training.interrupt import Interruption

__all__ = ["add_command"]

CHECKPOINT = "checkpoint.safetensors"
DEFAULTS = Settings()


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def rate(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def widths(text: str) -> tuple[int, ...]:
    """``128,128`` as numbers; empty for no hidden layer."""
    return tuple(positive(part) for part in text.replace("-", ",").split(",") if part)


def add_command(commands: Any) -> None:
    """Add ``train`` to the command line's commands."""
    parser = commands.add_parser(
        "train",
        help="train a feedforward classifier",
        description="Train a feedforward classifier on images. The defaults are the classic 784-128-128-10 network.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("dataset", choices=[*DATASETS], help="mnist comes with the package; fashion-mnist needs --root")
    add("--root", help="folder with the dataset's idx files")
    add("--layers", type=widths, default=DEFAULTS.layers, help="widths of the hidden layers: 128,128")
    add("--activation", choices=[*ACTIVATIONS], default=DEFAULTS.activation)
    add("--recipe", choices=[*RECIPES], default=DEFAULTS.recipe, help="how the learning rate runs")
    add("--optimizer", choices=[*OPTIMIZERS], default=DEFAULTS.optimizer)
    rates = ", ".join(f"{value:g} for {name}" for name, value in RECIPES.items())
    add("--lr", type=rate, help=f"learning rate, or the peak of the cycle (default: {rates})")
    add("--batch-size", type=positive, default=DEFAULTS.batch_size)
    add("--epochs", type=positive, default=DEFAULTS.epochs)
    add("--seed", type=int, default=DEFAULTS.seed)
    add("--output", type=Path, help="folder for what the run leaves (default: runs/DATASET)")
    add("--resume", action="store_true", help="go on from the checkpoint in the output folder, with its settings")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    folder: Path = options.output or Path("runs") / options.dataset
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / CHECKPOINT
    if options.resume:
        if not checkpoint.exists():
            raise FileNotFoundError(f"{checkpoint} does not exist: there is no run to resume. Leave --resume away.")
        session = Classification.resume(str(checkpoint))
        print(f"resumed after {describe_position(session)}")
    else:
        names = [field.name for field in dataclasses.fields(Settings)]
        session = Classification(Settings(**{name: getattr(options, name) for name in names}))
    settings = session.settings
    shape = "-".join(map(str, (784, *settings.layers, 10)))
    print(
        f"{settings.dataset}: {shape}, {settings.activation}, {settings.optimizer}, {settings.recipe} "
        f"lr {settings.learning_rate:g}, batch {settings.batch_size}, seed {settings.seed}"
    )
    if not train(session, checkpoint):
        command = f"python -m autograd_ff train {settings.dataset} --output {folder} --resume"
        print(f"\ninterrupted after {describe_position(session)}; to go on: {command}")
        return 130
    finish(session, folder)
    return 0


def describe_position(session: Classification) -> str:
    inside = f" and {session.batch} batches" if session.batch else ""
    return f"{session.epoch} epochs{inside}"


def train(session: Classification, checkpoint: Path) -> bool:
    """Train to the end, with a bar for each epoch and a checkpoint after it; False where Ctrl-C ended it."""
    from tqdm import tqdm

    with Interruption() as interruption:
        while not session.finished:
            start = time.perf_counter()
            label = f"epoch {session.epoch + 1}/{session.settings.epochs}"
            losses = session.train_epoch()
            with tqdm(total=session.batches, initial=session.batch, desc=label, leave=False, disable=None) as bar:
                for count, loss in enumerate(losses):
                    bar.update()
                    if count % 50 == 0:
                        bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
                    if interruption.requested:
                        session.save(str(checkpoint))
                        return False
            session.save(str(checkpoint))
            last = session.history[-1]
            print(
                f"{label}  loss {last['loss']:.4f}  train {last['train_accuracy']:.2%}  "
                f"test {last['test_accuracy']:.2%}  {time.perf_counter() - start:.1f} s",
                flush=True,
            )
    return True


def finish(session: Classification, folder: Path) -> None:
    """Leave the weights, the history, the curves, the graph and the gradient check."""
    accuracy = session.history[-1]["test_accuracy"]
    print(f"Accuracy of the network on the test images: {accuracy:.2%}")
    save(session.model.state_dict(), str(folder / "model.safetensors"))
    write(folder / "history.json", json.dumps(session.history, indent=2) + "\n")
    images, labels = sample(session)
    draw(session, folder, images, labels)
    check(session, folder, images, labels)
    print(f"written to {folder}{os.sep}: {', '.join(sorted(one.name for one in folder.iterdir()))}")


def sample(session: Classification, count: int = 64) -> tuple[Tensor, Tensor]:
    """The first test images and their labels, as one batch."""
    pairs = [session.test_data[position] for position in range(count)]
    labels = tensor([int(label) for _, label in pairs])
    return tensor([image.tolist() for image, _ in pairs]), labels


def draw(session: Classification, folder: Path, images: Tensor, labels: Tensor) -> None:
    """The curves and the graph; a drawing library that is not installed is named, and costs only its picture."""
    try:
        from visualize import render
        from visualize.curves import plot_history

        model = session.model.eval()

        def loss(images: Tensor, labels: Tensor) -> Tensor:
            return session.criterion(model(images), labels)

        plot_history(session.history, str(folder / "curves.png"), title=session.settings.dataset)
        render(loss, images, labels, path=folder / "graph.png", names={"": model})
    except ImportError as error:
        print(f"not drawn: {error}", file=sys.stderr)


def check(session: Classification, folder: Path, images: Tensor, labels: Tensor) -> None:
    """A gradient check of the trained network, parameter by parameter."""
    from ..testing import check_module

    report = check_module(session.model, images, lambda outputs: session.criterion(outputs, labels))
    print(f"gradient check of the trained network: {'passed' if report.passed else 'FAILED'}")
    write(folder / "gradient_check.txt", f"{report}\n")
    if not report.passed:
        print(report)


def write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
