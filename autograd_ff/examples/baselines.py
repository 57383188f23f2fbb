"""What a tuned network has to beat: the commonest class, words that are counted, and vectors of a network left as it
is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autograd_ff.hub import SentenceEncoder

from .splits import Split, few

__all__ = ["Vectors", "frozen", "logistic_regression", "majority", "tf_idf"]

PENALTIES = (0.1, 1.0, 10.0, 100.0)  # C of the logistic regression: the larger, the weaker the penalty


def majority(split: Split) -> float:
    """The accuracy of saying the commonest class of the training texts each time."""
    commonest = np.bincount(split.labels).argmax()
    return float((split.test_labels == commonest).mean())


def logistic_regression(vectors: Any, labels: np.ndarray, test_vectors: Any, test_labels: np.ndarray) -> float:
    """The accuracy of scikit-learn's, whose penalty cross-validation on the training vectors chooses."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    folds = min(5, int(np.bincount(labels).min()))
    model = LogisticRegression(max_iter=5000)
    if folds > 1:
        parts = StratifiedKFold(folds, shuffle=True, random_state=0)
        model = GridSearchCV(model, {"C": PENALTIES}, cv=parts)
    return float(model.fit(vectors, labels).score(test_vectors, test_labels))


def tf_idf(split: Split, count: int, seed: int, unit: str = "word", most: int = 2) -> float:
    """Of words (or characters) and pairs of them, weighted by TF-IDF, with a logistic regression.

    Args:
        split, count, seed: the texts, and which of them.
        unit: ``"word"`` or ``"char"``.
        most: 2 for pairs as well, 1 for single ones only.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts, labels = few(split, count, seed)
    weights = TfidfVectorizer(analyzer=unit, ngram_range=(1, most), sublinear_tf=True)
    return logistic_regression(
        weights.fit_transform(texts), labels, weights.transform(split.test_texts), split.test_labels
    )


class Vectors:
    """Texts to an encoder's vectors; each text is encoded once.

    Args:
        folder: of the encoder, which is loaded when the first text comes.
        max_length: longer texts are cut, in tokens.
    """

    def __init__(self, folder: Any, max_length: int) -> None:
        self.folder, self.max_length = folder, max_length
        self.known: dict[str, np.ndarray] = {}
        self._encoder: SentenceEncoder | None = None

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, hidden)."""
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            if self._encoder is None:
                self._encoder = SentenceEncoder.from_pretrained(self.folder, max_length=self.max_length)
            self.known.update(zip(new, self._encoder.encode(new).numpy(), strict=True))
        return np.stack([self.known[text] for text in texts])


def frozen(split: Split, count: int, seed: int, vectors: Vectors) -> float:
    """Of an encoder's vectors with a logistic regression: nothing of the encoder is trained."""
    texts, labels = few(split, count, seed)
    return logistic_regression(vectors(texts), labels, vectors(split.test_texts), split.test_labels)
