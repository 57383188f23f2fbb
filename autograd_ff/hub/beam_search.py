"""Beam search: the likeliest sequence that can be found with several of them followed at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..engine import here
from ..errors import ShapeError
from ..functions.tensor import Tensor

__all__ = ["beam_search"]


def beam_search(
    step: Callable[[np.ndarray, np.ndarray | None], Any],
    start: Any,
    *,
    beams: int = 4,
    max_new_tokens: int = 20,
    stop: int | Iterable[int],
    length_penalty: float = 1.0,
) -> tuple[list[list[int]], list[float]]:
    """For each text of a batch the continuation of the highest score, (sum of log-probabilities) / length ** penalty.

    At each step the ``beams`` likeliest unfinished continuations of a text are kept. A text is done when as many have ended;
    what has not ended after the last step takes part too. With one beam and no penalty it takes the likeliest token each time.

    Args:
        step: a function of (tokens, parents), both int64 (batch · beams,): logits (batch · beams, vocabulary) of the token
            after ``tokens``, of which row n continues row ``parents[n]`` of the last call (None in the first, in which all
            beams of a text are the same). What a cache holds is reordered by ``parents``.
        start: (batch,), the token that each text starts with.
        beams: how many are followed.
        max_new_tokens: how long they become at most.
        stop: a token, or several, after which a text is at its end.
        length_penalty: 0 for the sum itself, which prefers short texts; 1 for the mean.

    Returns:
        The tokens of each text, without ``start`` and what stopped it, and their scores. The token that stops counts in
        the score and in the length.

    Raises:
        ShapeError: settings out of range, or logits of another shape.

    Source: Wu et al., 2016, "Google's neural machine translation system".

    >>> import numpy as np
    >>> from autograd_ff.hub import beam_search
    >>> after = np.log([[0.0001, 0.5, 0.4999], [0.0001, 0.5, 0.4999], [0.9998, 0.0001, 0.0001]])  # 2, then the end
    >>> beam_search(lambda tokens, parents: after[tokens], [1], beams=2, max_new_tokens=5, stop=0)[0]
    [[2]]
    >>> beam_search(lambda tokens, parents: after[tokens], [1], beams=1, max_new_tokens=5, stop=0)[0]
    [[1, 1, 1, 1, 1]]
    """
    first = np.asarray(start.array if isinstance(start, Tensor) else start, np.int64)
    if first.ndim != 1:
        raise ShapeError(f"start is one token for each text of the batch, got shape {first.shape}.{here()}")
    for name, given in (("beams", beams), ("max_new_tokens", max_new_tokens)):
        if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < 1:
            raise ShapeError(f"{name} is a whole number, 1 or more, not {given!r}.{here()}")
    ends = {int(stop)} if isinstance(stop, (int, np.integer)) else {int(one) for one in stop}
    batch = len(first)
    tokens, parents = np.repeat(first, beams), None
    sums = np.full((batch, beams), -np.inf)
    sums[:, 0] = 0.0  # the others would be the same once more
    texts: list[list[tuple[int, ...]]] = [[()] * beams for _ in range(batch)]
    found: list[list[tuple[float, tuple[int, ...]]]] = [[] for _ in range(batch)]
    going = set(range(batch))
    for length in range(1, max_new_tokens + 1):
        scores = sums[:, :, None] + _log_softmax(step(tokens, parents), batch * beams).reshape(batch, beams, -1)
        vocabulary = scores.shape[2]
        flat = scores.reshape(batch, -1)
        # As many as can end at this step, and as many again that go on.
        count = min(beams * (1 + len(ends)), flat.shape[1])
        best = np.argpartition(-flat, count - 1, axis=1)[:, :count]
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(flat, best, 1), axis=1, kind="stable"), 1)
        chosen = np.zeros((batch, beams), np.int64)
        origins = np.tile(np.arange(beams), (batch, 1))
        for text in sorted(going):
            kept: list[tuple[float, int, int]] = []
            for place, candidate in enumerate(best[text].tolist()):
                value = float(flat[text, candidate])
                beam, token = divmod(candidate, vocabulary)
                if value == -np.inf:
                    continue
                if token in ends:
                    if place < beams:  # one that ends has to be among the best, as those that go on
                        found[text].append((value / length**length_penalty, texts[text][beam]))
                elif len(kept) < beams:
                    kept.append((value, beam, token))
            if len(found[text]) >= beams or not kept:
                going.discard(text)
                continue
            texts[text] = [(*texts[text][beam], token) for _, beam, token in kept] + [()] * (beams - len(kept))
            sums[text] = [value for value, _, _ in kept] + [-np.inf] * (beams - len(kept))
            for place, (_, beam, token) in enumerate(kept):
                origins[text, place], chosen[text, place] = beam, token
        if not going:
            break
        tokens = chosen.reshape(-1)
        parents = (origins + np.arange(batch)[:, None] * beams).reshape(-1)
    for text in going:
        for total, one in zip(sums[text].tolist(), texts[text], strict=True):
            if total > -np.inf:
                found[text].append((total / max_new_tokens**length_penalty, one))
    winners = [max(one, key=lambda pair: pair[0], default=(-np.inf, ())) for one in found]
    return [list(one) for _, one in winners], [score for score, _ in winners]


def _log_softmax(logits: Any, rows: int) -> np.ndarray:
    array = np.asarray(logits.array if isinstance(logits, Tensor) else logits)
    if array.ndim != 2 or len(array) != rows:
        raise ShapeError(f"step gives logits of shape ({rows}, vocabulary), got {array.shape}.{here()}")
    shifted = array.astype(np.float64) - array.max(-1, keepdims=True)
    made: np.ndarray = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return made
