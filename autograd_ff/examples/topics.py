"""Where single words give the class away, counting them is hard to beat: news articles in five topics.

Articles of the BBC. A transformer sees the beginning of each, words are counted in all of it; counted in the same
beginning, too, the two can be told apart: what is lost by the cut, and what is won by the pretraining.

Sources: as of `autograd_ff.examples.sentiment`; D. Greene and P. Cunningham, "Practical solutions to the problem of
diagonal dominance in kernel document clustering" (2006), of the articles.
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
from .tuned import ROWS, Recipe, add_methods, tuned

COUNTS = (25, 100, 0)
METHODS = ("full", "feedforward", "lora")
LENGTH = 64  # tokens at which articles are cut for the transformer
WORDS = 45  # about as many words
LOOKS = {
    "TF-IDF": {"color": "#d55e00", "linestyle": "--"},
    "TF-IDF of the beginning": {"color": "#d55e00", "linestyle": ":"},
    "frozen MiniLM": {"color": "#e69f00"},
    "full tuning": {"color": "#0072b2"},
    "feedforward-only": {"color": "#009e73"},
    "LoRA": {"color": "#cc79a7"},
}


def passes(count: int) -> int:
    """The epochs for a number of labels: at least one, and as many as see 400 texts."""
    return max(1, round(400 / count))


def batches(count: int) -> int:
    """The texts in a batch."""
    return 8 if count <= 200 else 32


def rows(split: Split, seeds: int = 5, tuned_seeds: int = 2, methods: Sequence[str] = METHODS) -> list[Method]:
    """The methods to compare.

    Args:
        split: the texts.
        seeds, tuned_seeds: of the baselines and of tuned networks; one of either with all labels.
        methods: those of `FineTuningSettings` to tune by.
    """
    whole, folder = len(split.texts), locate("minilm")
    vectors = baselines.Vectors(folder, LENGTH)
    recipe = Recipe(passes, batches, LENGTH)
    drawn, trained = once_with(whole, seeds), once_with(whole, tuned_seeds)
    short = split._replace(texts=beginnings(split.texts), test_texts=beginnings(split.test_texts))

    def words(count: int) -> str:
        return "single words"  # pairs of words make it slower here, and no better

    return [
        Method("majority", lambda count, seed: baselines.majority(split), lambda count: 1),
        Method("TF-IDF", lambda count, seed: baselines.tf_idf(split, count, seed, most=1), drawn, words),
        Method(
            "TF-IDF of the beginning", lambda count, seed: baselines.tf_idf(short, count, seed, most=1), drawn, words
        ),
        Method("frozen MiniLM", lambda count, seed: baselines.frozen(split, count, seed, vectors), drawn),
        *(tuned(split, method, recipe, folder, trained) for method in methods),
    ]


def beginnings(texts: Sequence[str]) -> list[str]:
    """The first words of each text: about what the transformer sees of it."""
    return [" ".join(text.split()[:WORDS]) for text in texts]


def run(
    counts: Sequence[int] = COUNTS, tests: int | None = None, output: Path | None = None, **options: Any
) -> Comparison:
    """Compare on the articles of the BBC.

    Args:
        counts: of labels; 0 stands for all.
        tests: how many held-out texts to test on; all if None.
        output: the folder where finished runs are kept.
        options: of `rows`.
    """
    split = load(datasets.BBCNews, tests)
    record = Record(None if output is None else output / "topics.json", split.fingerprint)
    return compare(rows(split, **options), [count or len(split.texts) for count in counts], split, record)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = table_parser(__doc__, COUNTS, None)
    add_methods(parser, METHODS, 2)
    options = parser.parse_args(arguments)
    found = run(
        options.labels, options.tests or None, options.output, seeds=options.seeds, tuned_seeds=options.tuned_seeds,
        methods=options.methods,
    )  # fmt: skip
    report(
        found,
        "frozen MiniLM",
        [ROWS[method] for method in options.methods],
        ("frozen MiniLM", "TF-IDF"),
        options.markdown,
    )
    command.picture(options, "topics.png", lambda path: found.draw(path, "Articles of the BBC", LOOKS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
