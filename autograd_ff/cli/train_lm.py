"""``train lm``: a language model, from random weights or further from a model's, with samples, curves, graph and report."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..distributed.group import joined
from ..errors import AutogradError
from ..functions import Tensor
from ..training import ProgressBar
from ..training.language_modelling import TEXTS, LanguageModelling, LanguageSettings, Samples, Score, write
from ..training.language_modelling.modelling import REPORT
from ..training.language_modelling.settings import ARCHITECTURE, TOKENIZERS
from .fetch import bring
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

__all__ = ["add_model"]

LENGTH = 300  # tokens of each sample at the end

WAYS: tuple[tuple[str, dict[str, Any]], ...] = (  # of drawing the samples at the end
    ("temperature 0.8, top-p 0.95", {"temperature": 0.8, "top_p": 0.95}),
    ("temperature 1", {"temperature": 1.0}),
    ("temperature 0.5, top-k 20", {"temperature": 0.5, "top_k": 20}),
    ("greedy", {"greedy": True}),
)


# ---------------------------------------------------------------- options


share = number("a share above 0 and below 1", lambda value: 0 < value < 1)
chance = number("a probability below 1", lambda value: 0 <= value < 1)
amount = number("a number, 0 or more", lambda value: 0 <= value < math.inf)


def source(text: str) -> str:
    """A text known by name, or the path of a file, which holds in any folder."""
    return text if text in TEXTS else os.path.abspath(text)


def add_model(kinds: Any) -> None:
    """Add ``lm`` to what can be trained."""
    parser = kinds.add_parser(
        "lm",
        help="a small GPT, on Shakespeare or a text of your own",
        description="Train a small GPT on text. The default, 2 million parameters on the works of Shakespeare, takes a "
        "quarter of an hour on one core of a laptop-class CPU.",
        argument_default=argparse.SUPPRESS,  # as for images: what is not given is absent
    )
    default = LanguageSettings()
    further = LanguageSettings(base="")

    texts = parser.add_argument_group("text")
    texts.add_argument(
        "--text", nargs="+", type=source, metavar="TEXT",
        help=f"{', '.join(TEXTS)}, or UTF-8 files (default: {' '.join(default.text)})",
    )  # fmt: skip
    texts.add_argument(
        "--held-out", type=share, metavar="SHARE",
        help=f"of each file, at its end, that is not trained on (default: {default.held_out:g})",
    )  # fmt: skip
    texts.add_argument(
        "--from", dest="base", type=os.path.abspath, metavar="FOLDER",
        help="train the model in this folder further: tokenizer and sizes are its own",
    )  # fmt: skip
    texts.add_argument(
        "--skip-unknown", action="store_true", help="leave out characters that this model's tokenizer does not have"
    )

    model = parser.add_argument_group("model")
    add = model.add_argument
    add("--tokenizer", choices=TOKENIZERS, help=f"pieces of words, or characters (default: {default.tokenizer})")
    add("--vocab-size", type=positive, metavar="N", help=f"tokens of a BPE (default: {default.vocab_size})")
    add("--layers", type=positive, metavar="N", help=f"of the decoder (default: {default.layers})")
    add("--width", type=positive, metavar="N", help=f"side of a token's vector (default: {default.width})")
    add("--heads", type=positive, metavar="N", help=f"of attention in each layer (default: {default.heads})")
    add("--context", type=positive, metavar="N", help=f"tokens that it sees at once (default: {default.context})")
    add("--dropout", type=chance, metavar="P", help=f"in training (default: {default.dropout:g})")

    training = parser.add_argument_group("training")
    add = training.add_argument
    add("--batch-size", type=positive, metavar="N", help=f"windows in a batch (default: {default.batch_size})")
    add(
        "--steps", type=positive, metavar="N",
        help=f"in whole intervals (default: {default.total}; {further.total} with --from)",
    )  # fmt: skip
    add("--interval", type=positive, metavar="N", help=f"steps from look to look (default: {default.interval})")
    add(
        "--lr", type=rate,
        help=f"peak of the learning rate (default: {default.learning_rate:g}; {further.learning_rate:g} with --from)",
    )  # fmt: skip
    add("--warmup", type=seed, metavar="N", help=f"steps up to the peak (default: {default.warmup})")
    add("--weight-decay", type=amount, metavar="X", help=f"of AdamW (default: {default.weight_decay:g})")
    add("--clip", type=rate, metavar="NORM", help=f"of the gradients, at most (default: {default.clip:g})")
    add("--seed", type=seed, metavar="N", help=f"of weights, windows and samples (default: {default.seed})")
    parser.add_argument("--prompt", help="how the samples begin (default: a line of a text)")
    add_output(parser, "runs/lm, or runs/lm-TEXT with --from")
    parser.set_defaults(run=run, prompt=None)


# ---------------------------------------------------------------- the command


def run(options: argparse.Namespace) -> int:
    """Train, and leave the files; returns the exit code."""
    given = given_settings(options, LanguageSettings)
    folder: Path = options.output or default_folder(given)
    state: Mapping[str, Any] | None = None
    if options.resume:
        text = given.pop("text", None)
        session, state = resumed(folder, given, lambda path: LanguageModelling.of_checkpoint(path, text))
        print(f"resumed after {session.step} of {session.settings.total} steps")
    else:
        settings = settings_of(given)
        for text in settings.text:
            if text in TEXTS:
                bring(text)
        session = begin(settings)
        if session.settings.base is not None and same(session.settings.base, folder):
            raise AutogradError(
                f"{folder} holds the model to start from, which would be overwritten.\n  Choose another: --output"
            )
    prompt = "\n" if options.prompt is None else options.prompt
    try:
        session.tokenizer.encode(prompt)
    except AutogradError as error:
        raise AutogradError(f"--prompt {prompt!r} cannot be written with this model's tokens: {error}") from None
    prepare(folder)
    introduce(session)
    if session.settings.base is not None and not session.before:
        session.before = {name: one.as_dict() for name, one in session.score_all().items()}
    for name, one in session.before.items():
        print(f"before the first step  {name}: {spoken(score_of(one))}", flush=True)
    samples = Samples(session.tokenizer, prompt, seed=session.settings.seed)
    try:
        session.train([StepLine(session), samples], checkpoint=folder / CHECKPOINT, resume=state)
    except KeyboardInterrupt:
        if session.stop_reason != "interrupted":  # a second Ctrl-C, while the state was written
            raise
        print(
            f"interrupted after {session.step} of {session.settings.total} steps; go on with: {go_on_with('lm', folder)}"
        )
        return 130
    return 0 if joined().rank else finish(session, folder, samples)  # the first process alone leaves files


def begin(settings: LanguageSettings) -> LanguageModelling:
    try:
        return LanguageModelling(settings)
    except ImportError as error:  # of the tokenizers library
        raise AutogradError(f"{error}\n  Without it: --tokenizer chars") from None


def settings_of(given: Mapping[str, Any]) -> LanguageSettings:
    if "base" in given:
        for name in ARCHITECTURE:
            if name in given:
                raise AutogradError(
                    f"--{name.replace('_', '-')} is decided by the model in {given['base']}, which is trained further.\n"
                    "  Leave the option away, or --from."
                )
        if "text" not in given:
            raise AutogradError("--from trains a model further on another text: name it, --text FILE")
    return LanguageSettings(**given)


def default_folder(given: Mapping[str, Any]) -> Path:
    if "base" not in given:
        return Path("runs") / "lm"
    return Path("runs") / f"lm-{Path(given.get('text', ['further'])[0]).stem}"


def same(one: str, other: Path) -> bool:
    return os.path.exists(other) and os.path.samefile(one, other)


def introduce(session: LanguageModelling) -> None:
    """Text, model and recipe, in a line each."""
    settings, corpus = session.settings, session.corpus
    ids, characters = session.held_out[corpus.name]
    learnt = sum(map(len, corpus.train))
    kind = "characters" if settings.tokenizer == "chars" else f"BPE, {learnt / len(session.ids):.2f} characters a token"
    print(f"text   {corpus.name}: {learnt:,} characters to learn from, {characters:,} held out")
    if corpus.skipped:
        print(f"       {corpus.skipped:,} characters left out, which the tokenizer does not have")
    print(f"tokens {session.tokenizer.vocab_size:,} ({kind}): {len(session.ids):,} and {len(ids):,}")
    print(
        f"model  {settings.layers} layers of {settings.width}, {settings.heads} heads, context {settings.context}: "
        f"{session.parameter_count:,} parameters{f', from {settings.base}' if settings.base else ''}"
    )
    print(
        f"recipe AdamW, lr {settings.learning_rate:g} after {settings.warmup} steps, cosine, {settings.total} steps of "
        f"{settings.batch_size} windows, dropout {settings.dropout:g}, seed {settings.seed}",
        flush=True,
    )
    if session.remark:
        print(f"note: {session.remark}; its loss on that text is not measured", file=sys.stderr)


class StepLine(ProgressBar):
    """A line for each interval: the step, and what a look at the held-out text gave."""

    def __init__(self, session: LanguageModelling) -> None:
        super().__init__()
        self.session = session

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._lines:
            settings = self.session.settings
            self._open(f"Step {(epoch + 1) * settings.interval}/{settings.total}")

    def line(self, label: str, seconds: float, steps: int, logs: Mapping[str, Any]) -> str:
        session = self.session
        ids, characters = session.held_out[session.corpus.name]
        look = Score(logs["val_loss"], len(ids) - 1, characters)
        return f"{label.lower()}  loss {logs['loss']:.4f}  held out {spoken(look)}  {seconds:.1f} s"


def spoken(one: Score) -> str:
    return f"loss {one.loss:.4f}, perplexity {one.perplexity:.2f}, {one.bits_per_character:.3f} bits/character"


def score_of(kept: Mapping[str, Any]) -> Score:
    return Score(kept["loss"], kept["tokens"], kept["characters"])


# ---------------------------------------------------------------- what a run leaves


def finish(session: LanguageModelling, folder: Path, samples: Samples) -> int:
    """Leave the model, the samples, the history, the curves, the graph and the report."""
    after = session.score_all()
    for name, one in after.items():
        print(f"held-out text  {name}: {spoken(one)}", flush=True)
    session.save_model(folder)
    last = write_samples(session, folder / "samples.txt", samples)
    plot(session, folder / "curves.png")
    draw(session, folder / "graph.png")
    report(session, folder, after, last)
    print(f"written to {folder}{os.sep}: {', '.join(sorted(one.name for one in folder.iterdir()))}")
    print(f"now: python -m autograd_ff sample {folder}")
    return 0


def write_samples(session: LanguageModelling, path: Path, samples: Samples) -> str:
    """What the model wrote in between, and now in several ways; returns the first of these."""
    session.model.eval()
    parts = [f"==== step {step}\n{text}" for step, text in samples.texts]
    last = ""
    for name, how in WAYS:
        text = "".join(
            write(session.model, session.tokenizer, samples.prompt, LENGTH, seed=session.settings.seed, **how)
        )
        parts.append(f"==== at the end, {name}\n{samples.prompt}{text}")
        last = last or samples.prompt + text
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return last


def plot(session: LanguageModelling, path: Path) -> None:
    """The curves of loss, bits per character and learning rate; only they need matplotlib."""
    from visualize.charts.curves import plot_history

    path.unlink(missing_ok=True)  # an earlier run's
    during, held = "training, mean of the interval", "held-out text, a part of it"
    try:
        title = f"{session.corpus.name}, {session.parameter_count:,} parameters"
        plot_history(session.rows(), path, title, labels={"loss": during, "val_loss": held})
    except ImportError as error:
        not_drawn(path.name, str(error))


def draw(session: LanguageModelling, path: Path) -> None:
    """The graph of the loss, equal layers folded into one; without a layout engine only it is missing."""
    from visualize import LayoutError, render

    def loss(tokens: Tensor, following: Tensor) -> Tensor:
        result: Tensor = session.compute_loss(tokens, following)[0]
        return result

    path.unlink(missing_ok=True)  # an earlier run's
    batch = next(iter(session.batches_of_windows()))
    try:
        render(loss, *batch, path=path, names={"": session.model})
    except LayoutError as error:
        not_drawn(path.name, str(error))


def report(session: LanguageModelling, folder: Path, after: Mapping[str, Score], sample: str) -> None:
    """``report.json`` for programs (and for ``--from``), ``report.md`` for people."""
    settings, rows = session.settings, session.rows()
    squeezed = compressed(session)
    content = {
        "settings": settings.as_dict(),
        "parameters": session.parameter_count,
        "tokens": {"train": len(session.ids), "held_out": len(session.held_out[session.corpus.name][0])},
        "before": session.before,
        "after": {name: one.as_dict() for name, one in after.items()},
        "xz_bits_per_character": squeezed,
        "history": rows,
    }
    (folder / REPORT).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    scores = [("before", name, score_of(one)) for name, one in session.before.items()]
    scores += [("after" if scores else "", name, one) for name, one in after.items()]
    lines = [
        f"# A language model of {session.corpus.name}",
        "",
        f"{session.parameter_count:,} parameters: {settings.layers} layers of {settings.width} with {settings.heads} heads, "
        f"context {settings.context}; {session.tokenizer.vocab_size:,} tokens ({settings.tokenizer}).",
        f"{settings.total} steps of {settings.batch_size} windows: AdamW, peak rate {settings.learning_rate:g}, warm-up "
        f"{settings.warmup}, dropout {settings.dropout:g}, seed {settings.seed}."
        + (f" Started from {settings.base}." if settings.base else ""),
        "",
        "Held-out text, all of it; each token told from those before it in its window:",
        "",
        "| when | text | loss | perplexity | bits per character |",
        "|---|---|---|---|---|",
        *(f"| {when} | {name} | {one.loss:.4f} | {one.perplexity:.2f} | {one.bits_per_character:.4f} |"
          for when, name, one in scores),
        "",
        f"xz, given the same text to learn from, takes {squeezed:.3f} bits per character.",
        "",
        "| step | loss | held-out loss (a part) | bits per character |",
        "|---|---|---|---|",
        *(f"| {row['step']} | {row['loss']:.4f} | {row['val_loss']:.4f} | {row['val_bits_per_character']:.4f} |"
          for row in rows),
        "",
        "```",
        sample.strip(),
        "```",
        "",
    ]  # fmt: skip
    (folder / "report.md").write_text("\n".join(lines), encoding="utf-8")


def compressed(session: LanguageModelling) -> float:
    """What a general compressor needs for the held-out text after the other, in bits per character."""
    import lzma

    corpus = session.corpus
    first, last = ("\n".join(part).encode("utf-8", "replace") for part in (corpus.train, corpus.held_out))
    whole, known = len(lzma.compress(first + last)), len(lzma.compress(first))
    return 8 * max(0, whole - known) / sum(map(len, corpus.held_out))
