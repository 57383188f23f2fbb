"""With few labels a pretrained network is worth far more than counted words; whether tuning it beats leaving it as it
is, is measured.

Snippets of movie reviews, negative or positive. A logistic regression on counted words has to learn each word from
the labels; one on the vectors of MiniLM, a transformer that was pretrained on a billion pairs of sentences, begins
with what these words mean. Tuning changes the transformer too: all of its weights, those of the feedforward blocks
alone, or a low-rank change to them (LoRA). The same network from random weights shows what of this is the
pretraining's. The table has them side by side, by number of labels.

Sources: W. Wang et al., "MiniLM: Deep Self-Attention Distillation" (2020); N. Reimers and I. Gurevych, "Sentence-
BERT" (2019); E. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autograd_ff import datasets
from autograd_ff.data import locate

from . import baselines, command
from .comparison import Comparison, Method, Record, compare, once_with, report, table_parser
from .splits import Split, load
from .tuned import ROWS, Recipe, add_methods, from_random_weights, tuned

COUNTS = (50, 200, 1000, 0)
TESTS = 1000  # of the held-out texts
LENGTH = 64  # tokens, as many as nearly all reviews have
METHODS = ("full", "feedforward", "lora")
LOOKS = {
    "majority": {"color": "#7f7f7f", "linestyle": ":"},
    "TF-IDF": {"color": "#d55e00", "linestyle": "--"},
    "random weights": {"color": "#000000", "linestyle": "--"},
    "frozen MiniLM": {"color": "#e69f00"},
    "full tuning": {"color": "#0072b2"},
    "feedforward-only": {"color": "#009e73"},
    "LoRA": {"color": "#cc79a7"},
}


def passes(count: int) -> int:
    """The epochs for a number of labels: at least one, and as many as see 600 texts."""
    return max(1, round(600 / count))


def batches(count: int) -> int:
    """The texts in a batch."""
    return 8 if count < 500 else 16 if count < 2000 else 32


def rows(
    split: Split, seeds: int = 5, tuned_seeds: int = 3, methods: Sequence[str] = METHODS, random: bool = True
) -> list[Method]:
    """The methods to compare.

    Args:
        split: the texts.
        seeds, tuned_seeds: of the baselines and of tuned networks; one of either with all labels.
        methods: those of `FineTuningSettings` to tune by.
        random: also train the network from random weights.
    """
    whole, folder = len(split.texts), locate("minilm")
    vectors = baselines.Vectors(folder, LENGTH)
    recipe = Recipe(passes, batches, LENGTH)
    drawn, trained = once_with(whole, seeds), once_with(whole, tuned_seeds)
    found = [
        Method("majority", lambda count, seed: baselines.majority(split), lambda count: 1),
        Method("TF-IDF", lambda count, seed: baselines.tf_idf(split, count, seed), drawn),
        Method("frozen MiniLM", lambda count, seed: baselines.frozen(split, count, seed, vectors), drawn),
        *(tuned(split, method, recipe, folder, trained) for method in methods),
    ]
    if random:  # not with all labels, which would take longer than all the rest
        found.append(from_random_weights(split, recipe, folder, lambda count: 0 if count == whole else tuned_seeds))
    return found


def run(
    counts: Sequence[int] = COUNTS, tests: int | None = TESTS, output: Path | None = None, **options: Any
) -> Comparison:
    """Compare on the movie reviews.

    Args:
        counts: of labels; 0 stands for all.
        tests: how many held-out texts to test on; all if None.
        output: the folder where finished runs are kept.
        options: of `rows`.
    """
    split = load(datasets.MovieReviews, tests)
    record = Record(None if output is None else output / "sentiment.json", split.fingerprint)
    return compare(rows(split, **options), [count or len(split.texts) for count in counts], split, record)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = table_parser(__doc__, COUNTS, TESTS)
    add_methods(parser, METHODS)
    parser.add_argument("--no-random", action="store_true", help="do not train the network from random weights")
    options = parser.parse_args(arguments)
    found = run(
        options.labels, options.tests or None, options.output, seeds=options.seeds, tuned_seeds=options.tuned_seeds,
        methods=options.methods, random=not options.no_random,
    )  # fmt: skip
    report(
        found,
        "frozen MiniLM",
        [ROWS[method] for method in options.methods],
        ("frozen MiniLM", "TF-IDF"),
        options.markdown,
    )
    command.picture(options, "sentiment.png", lambda path: found.draw(path, "Movie reviews", LOOKS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
