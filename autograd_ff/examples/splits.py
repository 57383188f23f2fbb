"""Texts to learn from and texts held out, with nothing of the one in the other."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from autograd_ff.errors import AutogradError

__all__ = ["Split", "check_apart", "copies", "few", "load"]

RUN = 5  # words in a row that two texts have in common
SHARE = 0.5  # of a text's runs, from which on it is a copy

# A letter of Chinese or Japanese counts as a word.
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")


class Split(NamedTuple):
    """Texts with the numbers of their classes: to train on, held out, and how many copies were left out."""

    texts: list[str]
    labels: np.ndarray
    test_texts: list[str]
    test_labels: np.ndarray
    classes: tuple[str, ...]
    copies: int = 0

    @property
    def fingerprint(self) -> str:
        """The same for the same texts and labels in the same order."""
        told = repr((self.texts, self.labels.tolist(), self.test_texts, self.test_labels.tolist()))
        return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def load(source: Any, tests: int | None = None) -> Split:
    """A dataset's fixed split, without the held-out texts of which the training part has a near copy.

    News come in two versions, and reviews are copied and signed anew: such texts would be tested on what was learnt by
    heart. Whole texts that stand in both parts are refused.

    Args:
        source: a class such as `datasets.MovieReviews`.
        tests: how many of the held-out texts to keep, the first ones; all if None.

    Raises:
        AutogradError: a text stands in both parts.
        MissingDataError: the data has to be fetched first.
    """
    train, test = source(train=True), source(train=False)
    check_apart(train.texts, test.texts)
    copied = set(copies(train.texts, test.texts))
    kept = [place for place in range(len(test.texts)) if place not in copied][:tests]
    texts = [test.texts[place] for place in kept]
    return Split(train.texts, train.labels, texts, test.labels[kept], train.classes, len(copied))


def check_apart(train: Sequence[str], test: Sequence[str]) -> None:
    """See that no held-out text stands among the training texts, be it in other letters or with other white space.

    Raises:
        AutogradError: one does.

    >>> check_apart(["A good film ."], ["A bad film ."])
    >>> check_apart(["A good film ."], ["a good  film ."])
    Traceback (most recent call last):
    ...
    autograd_ff.errors.AutogradError: 1 of the 1 held-out texts stands among the training texts: 'a good  film .'
    """
    known = {" ".join(text.casefold().split()) for text in train}
    found = [text for text in test if " ".join(text.casefold().split()) in known]
    if found:
        raise AutogradError(
            f"{len(found)} of the {len(test)} held-out texts {'stands' if len(found) == 1 else 'stand'} among the "
            f"training texts: {found[0][:80]!r}"
        )


def copies(train: Sequence[str], test: Sequence[str]) -> list[int]:
    """The places of the held-out texts that share half of their runs of five words or more with one training text.

    >>> copies(["the film is a joy from start to end"], ["the film is a joy from the start to its end", "no joy"])
    []
    >>> copies(["the film is a joy from start to end"], ["The film is a joy from start to finish!", "no joy at all"])
    [0]
    """
    holders: dict[int, list[int]] = defaultdict(list)
    for place, text in enumerate(train):
        for run in runs(text):
            holders[run].append(place)
    found = []
    for place, text in enumerate(test):
        own = runs(text)
        shared = Counter(holder for run in own for holder in holders.get(run, ()))
        if shared and max(shared.values()) >= SHARE * len(own):
            found.append(place)
    return found


def runs(text: str) -> set[int]:
    """Of each five words in a row a number; a shorter text is one run."""
    words = WORD.findall(text.casefold())
    return {hash(tuple(words[start : start + RUN])) for start in range(max(1, len(words) - RUN + 1))}


def few(split: Split, count: int, seed: int) -> tuple[list[str], np.ndarray]:
    """So many texts with the same share of each class: those that ``FineTuningSettings(labels=count, seed=seed)`` draws."""
    from autograd_ff.training.text_classification.data import few as draw

    if count == len(split.texts):
        return split.texts, split.labels
    return draw(split.texts, split.labels, count, seed)
