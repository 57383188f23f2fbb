"""The report that a fine-tuning leaves: for people in Markdown, for programs in JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..finetuning import parameter_table
from ..training import TextClassification
from ..training.text_classification import METHODS
from ..training.text_classification.outcome import Outcome, wilson

__all__ = ["Costs", "write_report"]

LONGEST = 200  # characters of a mistake that are shown


class Costs(NamedTuple):
    """What a run took."""

    seconds: float
    megabytes: float | None


def write_report(session: TextClassification, folder: Path, outcome: Outcome, costs: Costs) -> None:
    """``report.md`` and ``report.json``.

    Args:
        session: that trained.
        folder: for the files.
        outcome: of the trained model on the test texts.
        costs: of the run.
    """
    data, settings = session.data, session.settings
    frozen = session.notes.get("frozen")
    content = {
        "settings": dataclasses.asdict(settings),
        "epochs": session.epochs_planned,
        "learning_rate": session.settings.learning_rate,
        "classes": list(data.classes),
        "texts": {"train": len(data.train[0]), "test": len(data.test[0])},
        "accuracy": outcome.accuracy,
        "interval": list(outcome.interval),
        "calibration_error": outcome.calibration_error,
        "majority": data.majority,
        "frozen_accuracy": None if frozen is None else accuracy_of(frozen, data.test[1]),
        "confusion": outcome.confusion.tolist(),
        "seconds": costs.seconds,
        "peak_megabytes": costs.megabytes,
        "curve": session.curve,
    }
    (folder / "report.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    lines = [
        f"# {title(session)}",
        "",
        *summary(session, outcome),
        "",
        "![Curves of loss and accuracy](curves.png)",
        "",
        *accuracies(session, outcome),
        *confusion(outcome),
        *mistakes(session, outcome),
        *use(session, folder),
        *how(session, costs),
    ]
    (folder / "report.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def title(session: TextClassification) -> str:
    name = "Sentiment of movie reviews" if session.settings.data is None else Path(session.settings.data).stem
    return f"{name}: a fine-tuned encoder"


def accuracy_of(predicted: list[int], labels: np.ndarray) -> float:
    return float((np.array(predicted) == labels).mean())


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def interval_of(right: int, count: int) -> str:
    low, high = wilson(right, count)
    return f"{100 * low:.1f} to {100 * high:.1f} %"


def summary(session: TextClassification, outcome: Outcome) -> list[str]:
    settings, data = session.settings, session.data
    return [
        f"{percent(outcome.accuracy)} of {len(data.test[0]):,} test texts are told right, after training on "
        f"{len(data.train[0]):,} labelled ones by the method `{settings.method}` ({METHODS[settings.method].trains}). The test "
        "texts decided nothing: the epochs were set before, and the last weights are kept."
    ]


def accuracies(session: TextClassification, outcome: Outcome) -> list[str]:
    data, count = session.data, len(outcome.labels)
    rows = [("always the most frequent class", round(data.majority * count))]
    frozen = session.notes.get("frozen")
    if frozen is not None:
        rows.append(("before: frozen encoder, classifier trained", int((np.array(frozen) == outcome.labels).sum())))
    rows.append(("**fine-tuned**", int(outcome.right.sum())))
    lines = [
        "## Accuracy on the test texts",
        "",
        "| | accuracy | 95 % interval | right |",
        "|---|---:|---:|---:|",
        *(f"| {name} | {percent(right / count)} | {interval_of(right, count)} | {right:,} of {count:,} |"
          for name, right in rows),
        "",
    ]  # fmt: skip
    if frozen is not None:
        before = np.array(frozen) == outcome.labels
        gained, lost = int((outcome.right & ~before).sum()), int((~outcome.right & before).sum())
        lines += [
            f"Against the frozen encoder, {gained:,} texts are right now that were wrong, and {lost:,} wrong that were right"
            f"{sign_test(gained, lost)}.",
            "",
        ]
    lines += [
        f"The probabilities are off by {percent(outcome.calibration_error)} on the mean (expected calibration error, ten bins).",
        "",
    ]
    return lines


def sign_test(gained: int, lost: int) -> str:
    """How likely so uneven a split would be by chance: McNemar's test, by the normal distribution, with correction."""
    from math import erfc, sqrt

    if gained + lost < 10:
        return ""
    z = max(0.0, abs(gained - lost) - 1) / sqrt(gained + lost)
    chance = erfc(z / sqrt(2))
    return f" (by chance so uneven with probability {'below 0.0001' if chance < 1e-4 else f'{chance:.4f}'}, McNemar's test)"


def confusion(outcome: Outcome) -> list[str]:
    names = outcome.classes
    return [
        "| is ↓, taken for → | " + " | ".join(map(cell, names)) + " |",
        "|---|" + "---:|" * len(names),
        *(f"| {cell(name)} | " + " | ".join(f"{count:,}" for count in row) + " |"
          for name, row in zip(names, outcome.confusion.tolist(), strict=True)),
        "",
    ]  # fmt: skip


def mistakes(session: TextClassification, outcome: Outcome) -> list[str]:
    found = outcome.mistakes(session.data.test[0])
    if not found:
        return []
    return [
        "## The mistakes that it was surest of",
        "",
        "| taken for | surely | is | text |",
        "|---|---:|---|---|",
        *(f"| {cell(one.predicted)} | {100 * one.probability:.1f} % | {cell(one.label)} | {cell(one.text)} |"
          for one in found),
        "",
    ]  # fmt: skip


def cell(text: str) -> str:
    """A text in a cell of a table in Markdown."""
    text = " ".join(text.split())
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    for mark in "\\`*_[]<>|":
        text = text.replace(mark, f"\\{mark}")
    return text


def use(session: TextClassification, folder: Path) -> list[str]:
    model = folder / "model"
    adapted = (model / "adapters.safetensors").exists()
    lines = ["## Use", "", "```python"]
    lines += ["from autograd_ff import finetuning", ""] if adapted else []
    lines += ["from autograd_ff.hub import SentenceClassifier", ""]
    lines += [
        f'model = SentenceClassifier.from_pretrained("{model.as_posix()}"{", adapters=False" if adapted else ""})'
    ]
    lines += [f'finetuning.load_adapters(model, "{model.as_posix()}/adapters.safetensors")'] if adapted else []
    example = session.data.test[0][0]
    shown = example if len(example) < 80 else example[:77].rsplit(" ", 1)[0] + " …"
    lines += [
        f"model.predict_proba([{shown!r}])  # of {', '.join(session.data.classes)}",
        "```",
        "",
    ]
    if not adapted:
        lines += [
            "The encoder in it has Hugging Face's names and files (`AutoModel.from_pretrained` reads it); the affine layer over "
            "the mean of its vectors is in `classifier.safetensors`.",
            "",
        ]
    return lines


def how(session: TextClassification, costs: Costs) -> list[str]:
    settings = session.settings
    rows = {
        "method": f"{settings.method}: {METHODS[settings.method].trains}",
        "encoder": settings.model or "MiniLM",
        "texts": settings.data or "movie reviews",
        "labels": f"{len(session.data.train[0]):,}",
        "epochs": str(session.epochs_planned),
        "batch": f"{settings.batch_size} texts of similar length"
        + (f", {settings.accumulate} make a step" if settings.accumulate > 1 else ""),
        "learning rate": f"{settings.learning_rate:g}, after a rise over {settings.warmup:.0%} of the steps down to 0 in a line"
        + (f"; times {settings.decay:g} from layer to layer towards the input" if settings.decay < 1 else ""),
        "optimizer": f"AdamW, weight decay {settings.weight_decay:g}"
        + (f", gradients clipped to norm {settings.clip:g}" if settings.clip else ""),
        "seed": str(settings.seed),
    }
    if settings.method == "lora":
        rows["rank"] = str(settings.rank)
    if settings.method == "adapters":
        rows["bottleneck"] = str(settings.size)
    if settings.storage:
        rows["frozen weights"] = settings.storage
    if settings.checkpointing:
        rows["checkpointing"] = "each layer is computed again in backward"
    taken = f"{costs.seconds / 60:.1f} minutes in all"
    if "frozen_seconds" in session.notes:
        taken += f", {session.notes['frozen_seconds'] / 60:.1f} of them for the frozen encoder's result"
    rows["time"] = taken
    if costs.megabytes is not None:
        rows["memory"] = f"{costs.megabytes:,.0f} MB at most"
    return [
        "## How it was trained",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows.items()),
        "",
        parameter_table(session.model, depth=3).to_markdown(),
        "",
        "![The graph of the loss](graph.png)",
        "",
    ]
