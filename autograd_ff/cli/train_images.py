"""``train mnist`` and ``train fashion-mnist``: a feedforward classifier, with its weights, curves, graph and gradient check."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..data import DataLoader
from ..distributed.group import joined
from ..functions import Tensor
from ..serialization import save
from ..training import Classification, ProgressBar, Settings
from ..training.classification.settings import ACTIVATIONS, DATASETS, OPTIMIZERS, RECIPES
from .runs import CHECKPOINT, add_output, given_settings, go_on_with, not_drawn, positive, prepare, rate, resumed, seed

__all__ = ["add_datasets"]

ABOUT = {"mnist": "handwritten digits, which come with the package", "fashion-mnist": "clothes, read from --root"}


def widths(text: str) -> tuple[int, ...]:
    """``128,128`` or ``128-128`` as numbers; the empty text for no hidden layer."""
    if not text:
        return ()
    if not re.fullmatch(r"0*[1-9]\d*([,-]0*[1-9]\d*)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of widths such as 128,128")
    return tuple(map(int, re.split("[,-]", text)))


def add_datasets(datasets: Any) -> None:
    """Add a sub-command for each data set of images."""
    for name in DATASETS:
        parser = datasets.add_parser(
            name,
            help=f"a feedforward classifier of {ABOUT.get(name, 'images')}",
            description="Train a feedforward classifier on images. The defaults are the classic 784-128-128-10 network.",
            # What is not given is absent: the defaults are those of Settings, and --resume sees what was asked for.
            argument_default=argparse.SUPPRESS,
        )
        add_options(parser)
        add_output(parser, f"runs/{name}")
        parser.set_defaults(run=run, dataset=name)


def add_options(parser: argparse.ArgumentParser) -> None:
    default = Settings()
    add = parser.add_argument
    add(
        "--root",
        type=os.path.abspath,
        metavar="FOLDER",
        help="where fashion-mnist's idx files are (default: where Debian puts them)",
    )
    hidden = ",".join(map(str, default.layers))
    add("--layers", type=widths, metavar="WIDTHS", help=f"widths of the hidden layers (default: {hidden})")
    add("--activation", choices=[*ACTIVATIONS], help=f"between the layers (default: {default.activation})")
    add("--recipe", choices=[*RECIPES], help=f"how the learning rate runs (default: {default.recipe})")
    add("--optimizer", choices=[*OPTIMIZERS], help=f"what updates the weights (default: {default.optimizer})")
    add("--lr", type=rate, help="learning rate, or the peak of the cycle (default: what suits optimizer and recipe)")
    add("--batch-size", type=positive, metavar="N", help=f"samples in a batch (default: {default.batch_size})")
    add("--epochs", type=positive, metavar="N", help=f"passes over the training data (default: {default.epochs})")
    add("--seed", type=seed, metavar="N", help=f"of initial weights and order of samples (default: {default.seed})")


# ---------------------------------------------------------------- the command


def run(options: argparse.Namespace) -> int:
    """Train, and leave the files; returns the exit code."""
    given = given_settings(options, Settings)
    folder: Path = options.output or Path("runs") / options.dataset
    state: Mapping[str, Any] | None = None
    try:
        if options.resume:
            session, state = resume(folder, given)
        else:
            session = Classification(Settings(**given))
    except FileNotFoundError as error:
        if options.dataset == "mnist":
            raise
        raise FileNotFoundError(f"{error}\n  Then name their folder: --root FOLDER") from None
    prepare(folder)
    settings = session.settings
    print(
        f"{settings.dataset}: {'-'.join(map(str, session.widths))}, {settings.activation}, {settings.optimizer}, "
        f"{settings.recipe} lr {settings.learning_rate:g}, batch {settings.batch_size}, seed {settings.seed}",
        flush=True,
    )
    try:
        session.train([EpochLine()], checkpoint=folder / CHECKPOINT, resume=state)
    except KeyboardInterrupt:
        if session.stop_reason != "interrupted":  # a second Ctrl-C, while the state was written
            raise
        print(f"interrupted after {position(session)}; go on with: {go_on_with(settings.dataset, folder)}")
        return 130
    return 0 if joined().rank else finish(session, folder)  # the first process alone leaves files


def resume(folder: Path, given: dict[str, Any]) -> tuple[Classification, Mapping[str, Any]]:
    """The run of a folder's checkpoint, and its state."""
    session, state = resumed(folder, given, lambda path: Classification.of_checkpoint(path, given.get("root")))
    print(f"resumed after {position(session)}")
    return session, state


def position(session: Classification) -> str:
    inside = f" and {session.batch} batches" if session.batch else ""
    return f"{session.epoch} of {session.settings.epochs} epochs{inside}"


class EpochLine(ProgressBar):
    """A line for each epoch, in which the validation is called what it is: the test data."""

    def line(self, label: str, seconds: float, steps: int, logs: Mapping[str, Any]) -> str:
        return (
            f"{label.lower()}  loss {logs['loss']:.4f}  train {logs['accuracy']:.2%}  test {logs['val_accuracy']:.2%}  "
            f"{seconds:.1f} s"
        )


# ---------------------------------------------------------------- what a run leaves


def finish(session: Classification, folder: Path) -> int:
    """Leave the weights, the history, the charts, the graph and the gradient check; 1 where the check fails."""
    history = session.rows()
    accuracy = history[-1]["test_accuracy"]
    print(f"Accuracy of the network on the test images: {100 * accuracy:.2f} %", flush=True)
    save(session.model.state_dict(), str(folder / "model.safetensors"))
    (folder / "history.json").write_text(json.dumps(history, indent=2) + "\n", encoding="utf-8")
    session.model.eval()
    images, labels = next(iter(DataLoader(session.test_data, 64)))
    plot(session, folder)
    draw(session, folder / "graph.png", images, labels)
    passed = check(session, folder / "gradient_check.txt", images, labels)
    print(f"written to {folder}{os.sep}: {', '.join(sorted(one.name for one in folder.iterdir()))}")
    return 0 if passed else 1


def plot(session: Classification, folder: Path) -> None:
    """The curves of loss and accuracy, the confusion matrix and the worst images; only they need matplotlib."""
    from visualize.charts.classification import plot_confusion, plot_worst, predict
    from visualize.charts.curves import plot_history

    curves, confusion, worst = (folder / f"{name}.png" for name in ("curves", "confusion", "worst"))
    for path in (curves, confusion, worst):
        path.unlink(missing_ok=True)  # an earlier run's
    title, classes = session.settings.dataset, session.test_data.classes
    try:
        during = "training, during the epoch"  # the means of its batches; the test is after it
        plot_history(session.rows(), curves, title, labels={"loss": during, "train_accuracy": during})
        images, labels, outputs = predict(session.model, session.test_data)
        plot_confusion(labels, outputs, confusion, classes=classes, title=title)
        plot_worst(images, labels, outputs, worst, classes=classes, title=title)
    except ImportError as error:
        not_drawn(f"{curves.name}, {confusion.name} and {worst.name}", str(error))


def draw(session: Classification, path: Path, images: Tensor, labels: Tensor) -> None:
    """The graph of the loss; without a layout engine only it is missing."""
    from visualize import LayoutError, render

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        result: Tensor = session.loss(session.model(images), labels)
        return result

    path.unlink(missing_ok=True)  # an earlier run's
    try:
        render(loss, images, labels, path=path, names={"": session.model})
    except LayoutError as error:
        not_drawn(path.name, str(error))


def check(session: Classification, path: Path, images: Tensor, labels: Tensor) -> bool:
    """A gradient check of the trained network, parameter by parameter; False where a gradient is wrong."""
    from .. import testing

    # Along random directions alone: entry by entry would take as many evaluations as the network has parameters.
    report = testing.gradcheck(session.model, images, lambda outputs: session.loss(outputs, labels), full=0)
    path.write_text(f"{report}\n\n{report.table()}\n", encoding="utf-8")
    print(f"gradient check of the trained network: {report.verdict}")
    if not report.passed:
        print(report, file=sys.stderr)
    return report.verdict != "FAIL"
