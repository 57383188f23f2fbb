"""Labelled texts: of a file, held back for testing, and few of them."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...engine import here
from ...errors import FileFormatError, ShapeError

__all__ = ["TextData", "few", "fingerprint", "movie_reviews", "read_texts"]

Texts = tuple[list[str], np.ndarray]
TEXT, LABEL = ("text", "sentence", "review", "content"), ("label", "class", "category", "sentiment")
HELD_BACK = 0.2


class TextData:
    """Texts to train on and to test on, with the names of the classes.

    Args:
        train: (texts, labels), the labels numbers of classes.
        test: likewise.
        classes: their names.

    Raises:
        ShapeError: labels that are none, or not as many as texts; a class without a text to train on.

    >>> from autograd_ff.training.text_classification.data import TextData
    >>> TextData((["good", "bad"], [1, 0]), (["fine"], [1]), ["bad", "good"]).majority
    0.0
    """

    def __init__(self, train: Any, test: Any, classes: Sequence[str] | int | None = None) -> None:
        self.train, self.test = _checked("train", train), _checked("test", test)
        found = int(max(self.train[1].max(), self.test[1].max())) + 1
        names = range(found) if classes is None else range(classes) if isinstance(classes, int) else classes
        self.classes = tuple(map(str, names))
        if len(self.classes) < max(found, 2):
            raise ShapeError(f"the labels run to {found - 1}, and there are {len(self.classes)} classes{here()}")
        missing = np.setdiff1d(np.arange(len(self.classes)), self.train[1])
        if len(missing):
            raise ShapeError(f"no text to train on is labelled {self.classes[missing[0]]!r}{here()}")

    @property
    def majority(self) -> float:
        """The accuracy on the test texts of who always says the class that is most frequent in training."""
        return float((self.test[1] == np.bincount(self.train[1]).argmax()).mean())


def _checked(name: str, data: Any) -> Texts:
    texts, labels = data
    texts, labels = list(texts), np.asarray(labels)
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ShapeError(f"{name} is (texts, labels), with at least one text, and texts are strings{here()}")
    if labels.shape != (len(texts),) or labels.dtype.kind not in "biu" or labels.min() < 0:
        raise ShapeError(
            f"{name} needs a label for each text, numbers of classes from 0 on; got {len(texts)} texts and labels "
            f"{labels.dtype} {labels.shape}{here()}"
        )
    return texts, labels.astype(np.int64)


def few(texts: Sequence[str], labels: np.ndarray, count: int, seed: int = 0) -> Texts:
    """So many of the texts, drawn by a seed, with the same share of each class as there is, and at least one of each.

    Args:
        texts, labels: to draw from.
        count: how many.
        seed: of the draw, which the default generator has no part in.

    Raises:
        ShapeError: more than there are, or fewer than classes.

    >>> import numpy as np
    >>> few(["a", "b", "c", "d"], np.array([0, 1, 0, 1]), 2)[1].tolist()
    [1, 0]
    """
    classes, members, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if not len(classes) <= count <= len(texts):
        raise ShapeError(f"labels={count}: there are {len(texts)} texts of {len(classes)} classes{here()}")
    random = np.random.default_rng(seed)
    order = random.permutation(len(texts))
    # Each text by its rank in its class, as a part of the class: any beginning holds all classes alike.
    by_class = order[np.argsort(members[order], kind="stable")]
    rank = np.empty(len(texts))
    rank[by_class] = np.concatenate([(np.arange(size) + 0.5) / size for size in sizes])
    first = np.concatenate([[by_class[start]] for start in np.cumsum(sizes) - sizes])
    rank[first] = -1
    chosen = np.sort(order[np.argsort(rank[order], kind="stable")][:count])
    return [texts[index] for index in chosen], labels[chosen]


def fingerprint(train: Texts, test: Texts) -> str:
    """A number of the texts and labels, the same for the same ones."""
    digest = hashlib.sha256()
    for texts, labels in (train, test):
        for text, label in zip(texts, labels.tolist(), strict=True):
            digest.update(f"{len(text)} {label} {text}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


def movie_reviews() -> TextData:
    """The movie reviews, as `autograd_ff.datasets.MovieReviews` splits them.

    Raises:
        MissingDataError: they were not fetched.
    """
    from ...data import datasets

    train, test = datasets.MovieReviews(train=True), datasets.MovieReviews(train=False)
    return TextData((train.texts, train.labels), (test.texts, test.labels), train.classes)


# ---------------------------------------------------------------- files


def read_texts(path: Any, held_back: float = HELD_BACK, seed: int = 0) -> TextData:
    """Texts and labels of a table in a file, of which a part is held back for testing.

    The file is UTF-8 with two columns, ``text`` and ``label``, under a line with their names (without one, the first column
    is the text and the second the label): ``.csv`` with commas, ``.tsv`` with tabs. Labels may be any words or numbers: they
    are the classes, in alphabetical order. The same text a second time is left out.

    Args:
        path: of the file.
        held_back: the part of each class to test on.
        seed: of the choice.

    Raises:
        FileFormatError: no such table; the message names the line.
        OSError: it cannot be read.
    """
    path = Path(path)
    if path.suffix.lower() not in (".csv", ".tsv"):
        raise FileFormatError(f"{path} is neither .csv nor .tsv: a table with the columns text and label{here()}")
    rows = list(_rows(path))
    if not rows:
        raise FileFormatError(f"{path} has no labelled text{here()}")
    labels: dict[str, str] = {}
    for line, text, label in rows:
        if labels.setdefault(text, label) != label:
            raise FileFormatError(
                f"{path}, line {line}: the text was labelled {labels[text]!r} before, and {label!r} here: {text[:60]!r}{here()}"
            )
    classes = sorted(set(labels.values()))
    if len(classes) < 2:
        raise FileFormatError(f"{path} has one class alone, {classes[0]!r}; there is nothing to tell apart{here()}")
    if len(classes) > max(20, len(labels) // 4):
        raise FileFormatError(
            f"{path} has {len(classes)} classes for {len(labels)} texts, such as {classes[0][:40]!r}: is it the column of the "
            f"labels?{here()}"
        )
    numbers = np.array([classes.index(label) for label in labels.values()])
    rare = [name for name, count in zip(classes, np.bincount(numbers), strict=True) if count < 2]
    if rare:
        raise FileFormatError(
            f"{path} has a single text of the class {rare[0]!r}: there must be one to train on and one to test on{here()}"
        )
    texts = list(labels)
    train, test = _split(numbers, held_back, seed)
    return TextData(
        ([texts[index] for index in train], numbers[train]), ([texts[index] for index in test], numbers[test]), classes
    )


def _split(labels: np.ndarray, held_back: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train and to test on; at least one of each class is on either side."""
    random = np.random.default_rng(seed)
    train: list[int] = []
    test: list[int] = []
    for label in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == label))
        held = min(max(1, round(len(rows) * held_back)), len(rows) - 1)
        test += rows[:held].tolist()
        train += rows[held:].tolist()
    return np.sort(train), np.sort(test)


def _rows(path: Path) -> Any:
    """(line, text, label) of each row."""
    line = 0
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            # A tab-separated file has no quotes but those of the text.
            tabs = path.suffix.lower() == ".tsv"
            reader = csv.reader(
                file, delimiter="\t" if tabs else ",", quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL
            )
            places = (0, 1)
            for number, row in enumerate(reader):
                if number == 0:
                    found = _header(row)
                    if found is not None:
                        places = found
                        continue
                if not any(cell.strip() for cell in row):
                    continue
                if len(row) <= max(places):
                    raise FileFormatError(
                        f"{path}, line {reader.line_num}: {len(row)} column{'s' * (len(row) != 1)}, where a text and a label "
                        f"are expected: {os.linesep.join(row)[:60]!r}{here()}"
                    )
                text, label = row[places[0]].strip(), row[places[1]].strip()
                if not text or not label:
                    raise FileFormatError(f"{path}, line {reader.line_num}: no {'label' if text else 'text'}{here()}")
                line = reader.line_num
                yield line, text, label
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path} is not UTF-8: {error.reason} at byte {error.start:,}{here()}") from None
    except csv.Error as error:
        raise FileFormatError(f"{path}, after line {line}: {error}{here()}") from None


def _header(row: list[str]) -> tuple[int, int] | None:
    """The columns of text and label, where the first line names them."""
    names = [cell.strip().lower() for cell in row]
    text = next((names.index(name) for name in TEXT if name in names), None)
    label = next((names.index(name) for name in LABEL if name in names), None)
    return None if text is None or label is None else (text, label)
