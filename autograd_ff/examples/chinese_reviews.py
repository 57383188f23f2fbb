"""From nothing, in any script: a tokenizer learnt from the texts, and a network on the mean of its tokens' vectors.

Chinese has no spaces. A byte-level BPE finds its words by itself: what often stands together becomes a token. On
these tokens a feedforward network over the mean of embeddings, and a small transformer, learn from random weights,
beside a logistic regression on counted characters and pairs of them; and beside MiniLM, which was pretrained on
English, and to which a Chinese text is little more than unknown signs.

Sources: R. Sennrich, B. Haddow and A. Birch, "Neural Machine Translation of Rare Words with Subword Units" (2016), of
BPE; M. Iyyer et al., "Deep Unordered Composition Rivals Syntactic Methods for Text Classification" (2015), of the
mean of embeddings.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import autograd_ff as af
from autograd_ff import datasets, hub, nn, optim
from autograd_ff.data import DataLoader, locate
from autograd_ff.text import LengthBatchSampler, Tokenizer
from autograd_ff.training import Trainer

from . import baselines, command
from .comparison import Comparison, Method, Record, compare, once_with, report, table_parser
from .splits import Split, few, load
from .tuned import Recipe, accuracy

COUNTS = (200, 1000, 4000, 0)
VOCABULARY = 8000
LENGTH = 128  # tokens at which longer reviews are cut
MOST_FROZEN = (
    1000  # labels up to which MiniLM encodes the texts: they are long for it, many tokens for a few characters
)
TESTS = 1000  # of the held-out texts
LOOKS = {
    "majority": {"color": "#7f7f7f", "linestyle": ":"},
    "TF-IDF of characters": {"color": "#d55e00", "linestyle": "--"},
    "frozen MiniLM (English)": {"color": "#e69f00", "linestyle": "--"},
    "mean of embeddings": {"color": "#009e73"},
    "small transformer": {"color": "#0072b2"},
}


class MeanOfEmbeddings(nn.Module):
    """A vector for each token, their mean over the text, and a feedforward network on it."""

    def __init__(self, vocabulary: int, classes: int, width: int = 128, dropout: float = 0.3) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.network = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, classes)
        )

    def forward(self, input_ids: af.Tensor, attention_mask: af.Tensor) -> af.Tensor:
        """Tokens (batch, length) to scores (batch, classes)."""
        return self.network(hub.mean_pooling(self.embedding(input_ids), attention_mask, normalize=False))


def passes(count: int) -> int:
    """The epochs for a number of labels: fewer texts are seen more often."""
    return int(np.clip(round(12000 / count), 4, 20))


def mean_of_embeddings(split: Split, count: int, seed: int, tokenizer: Tokenizer, epochs: int) -> float:
    """Its accuracy."""
    texts, labels = few(split, count, seed)
    af.manual_seed(seed)
    model = MeanOfEmbeddings(tokenizer.vocab_size, len(split.classes))
    trainer = Trainer(model, nn.CrossEntropyLoss(), optim.AdamW(model.parameters(), lr=2e-3), metrics=["accuracy"])
    trainer.fit(loader(texts, labels, tokenizer, shuffle=True), epochs=epochs, verbose=0)
    return trainer.evaluate(loader(split.test_texts, split.test_labels, tokenizer, shuffle=False))["accuracy"]


def loader(texts: Sequence[str], labels: np.ndarray, tokenizer: Tokenizer, shuffle: bool) -> DataLoader:
    """Batches ((input_ids, attention_mask), labels) of texts of similar lengths."""
    tokens = tokenizer.encode_many(texts, max_length=LENGTH)

    def collate(samples: Sequence[tuple[list[int], int]]) -> tuple[Any, af.Tensor]:
        given, targets = zip(*samples, strict=True)
        batch = tokenizer.pad(given)
        return (batch.input_ids, batch.attention_mask), af.tensor(targets)

    sampler = LengthBatchSampler([len(one) for one in tokens], 32, shuffle=shuffle)
    return DataLoader(list(zip(tokens, labels.tolist(), strict=True)), batch_sampler=sampler, collate_fn=collate)


def small_transformer(split: Split, count: int, seed: int, tokenizer: Tokenizer, recipe: Recipe) -> float:
    """Two layers of width 128 from random weights, the mean over the tokens, an affine layer: its accuracy."""
    af.manual_seed(seed)
    config = hub.BertConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=128, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=256, max_position_embeddings=LENGTH, pad_token_id=tokenizer.pad_id,
    )  # fmt: skip
    encoder = hub.SentenceEncoder(hub.BertModel(config, add_pooling_layer=False), tokenizer)
    return accuracy(split, recipe.settings("full", count, seed), encoder)


def rows(
    split: Split, seeds: int = 3, most_frozen: int = MOST_FROZEN, transformer: bool = True, vocabulary: int = VOCABULARY
) -> list[Method]:
    """The methods to compare.

    Args:
        split: the texts.
        seeds: of all that is drawn.
        most_frozen: the number of labels up to which MiniLM is tried; 0 leaves it out.
        transformer: whether a small transformer is trained too.
        vocabulary: of the tokenizer, which learns from the training texts, all of them, since it needs no labels.
    """
    tokenizer = cache(lambda: Tokenizer.train_bpe(split.texts, vocabulary, special_tokens=("<pad>",)))
    recipe = Recipe(passes, lambda count: 32, LENGTH, {"full": 1e-3}, layer_decay=1.0)
    drawn = once_with(len(split.texts), seeds)
    found = [
        Method("majority", lambda count, seed: baselines.majority(split), lambda count: 1),
        Method("TF-IDF of characters", lambda count, seed: baselines.tf_idf(split, count, seed, "char"), drawn),
        Method(
            "mean of embeddings",
            lambda count, seed: mean_of_embeddings(split, count, seed, tokenizer(), passes(count)),
            lambda count: seeds,
            lambda count: f"{passes(count)} passes, {vocabulary} tokens",
        ),
    ]
    if transformer:
        found.append(
            Method(
                "small transformer",
                lambda count, seed: small_transformer(split, count, seed, tokenizer(), recipe),
                drawn,
                lambda count: f"{recipe.told('full', count)}, {vocabulary} tokens",
            )
        )
    if most_frozen:
        vectors = baselines.Vectors(locate("minilm"), LENGTH)
        found.append(
            Method(
                "frozen MiniLM (English)",
                lambda count, seed: baselines.frozen(split, count, seed, vectors),
                lambda count: drawn(count) if count <= most_frozen else 0,
            )
        )
    return found


def run(
    counts: Sequence[int] = COUNTS, tests: int | None = TESTS, output: Path | None = None, **options: Any
) -> Comparison:
    """Compare on the Chinese reviews.

    Args:
        counts: of labels; 0 stands for all.
        tests: how many held-out texts to test on; all if None.
        output: the folder where finished runs are kept.
        options: of `rows`.
    """
    split = load(datasets.ChineseReviews, tests)
    record = Record(None if output is None else output / "chinese_reviews.json", split.fingerprint)
    return compare(rows(split, **options), [count or len(split.texts) for count in counts], split, record)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = table_parser(__doc__, COUNTS, TESTS)
    parser.add_argument("--seeds", type=command.positive, default=3, metavar="N", help="of each cell (default: 3)")
    options = parser.parse_args(arguments)
    found = run(options.labels, options.tests or None, options.output, seeds=options.seeds)
    own = ["mean of embeddings", "small transformer"]
    report(found, "TF-IDF of characters", own, ("TF-IDF of characters", "frozen MiniLM (English)"), options.markdown)
    command.picture(options, "chinese_reviews.png", lambda path: found.draw(path, "Chinese reviews", LOOKS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
