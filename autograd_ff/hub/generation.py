"""Generating text: token after token, the likeliest or a drawn one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..engine import here, no_grad, wrap
from ..errors import ShapeError
from ..functions.random import source
from ..functions.tensor import Tensor

__all__ = ["Generates", "generate", "sample", "stream"]


def sample(
    logits: np.ndarray,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: Any = None,
) -> np.ndarray:
    """A token for each row of scores, drawn from softmax(logits / temperature) over the tokens that are left.

    Args:
        logits: (batch, vocabulary).
        temperature: below 1 sharpens, above 1 flattens; 0 takes the likeliest.
        top_k: only the k likeliest.
        top_p: only the likeliest that together have probability p; at least one. Source: Holtzman et al. 2020.
        generator: where the numbers come from; the default generator if None. One number is drawn for each row.

    Returns:
        (batch,), int64.

    >>> import numpy as np
    >>> from autograd_ff.hub.generation import sample
    >>> sample(np.array([[0.0, 2.0, 1.0]]), temperature=0.0).tolist()
    [1]
    """
    if temperature == 0:
        return np.argmax(logits, -1)
    scores = logits.astype(np.float64)
    if not np.isfinite(scores.max(-1)).all():
        raise ShapeError(f"the scores hold NaN or infinities; nothing can be drawn from them.{here()}")
    scores = (scores - scores.max(-1, keepdims=True)) / temperature
    order = np.argsort(-scores, -1, kind="stable")  # of equal ones the first stays
    chances = np.exp(np.take_along_axis(scores, order, -1))
    if top_k is not None:
        chances[:, top_k:] = 0
    chances /= chances.sum(-1, keepdims=True)
    if top_p is not None:
        chances[np.cumsum(chances, -1) - chances >= top_p] = 0  # those before it have p already
        chances /= chances.sum(-1, keepdims=True)
    ends = np.cumsum(chances, -1)
    draws = source(generator).random((len(ends), 1)) * ends[:, -1:]
    chosen = np.minimum((ends <= draws).sum(-1), (chances > 0).sum(-1) - 1)
    return np.take_along_axis(order, chosen[:, None], -1)[:, 0]


def stream(
    model: Any,
    input_ids: Tensor,
    max_new_tokens: int = 20,
    *,
    attention_mask: Tensor | None = None,
    do_sample: bool = False,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    stop: int | Iterable[int] = (),
    pad: int = 0,
    slide: bool = False,
    generator: Any = None,
) -> Iterator[Tensor]:
    """The next tokens one after the other, as they are made, each (batch,).

    Args:
        model: such as `GPT2LMHeadModel`; set to evaluation mode where dropout is not wanted.
        input_ids: (batch, length), the texts so far, one token at least.
        max_new_tokens: how many to make at most.
        attention_mask: (batch, length), 0 where there is padding, which stands on the left.
        do_sample: draw; otherwise take the likeliest.
        temperature, top_k, top_p: see `sample`; they need ``do_sample``.
        stop: tokens after which a text is at its end. Others of the batch go on, and it is filled with ``pad``.
        slide: where the model's positions run out, go on with the later half of the text; otherwise that raises.
        generator: where the numbers come from; the default generator if None.

    Raises:
        ShapeError: more tokens than positions, padding on the right, or settings out of range.

    >>> import autograd_ff as af
    >>> from autograd_ff import hub
    >>> _ = af.manual_seed(0)
    >>> model = hub.GPT2LMHeadModel(hub.GPT2Config(vocab_size=9, n_positions=8, n_embd=8, n_layer=1, n_head=2))
    >>> tokens = [int(token) for token in hub.stream(model.eval(), af.tensor([[3, 1]]), 4)]
    >>> len(tokens)
    4
    """
    how = _settings(do_sample, temperature, top_k, top_p)
    ends = np.asarray([stop] if isinstance(stop, (int, np.integer)) else list(stop), np.int64)
    ids = np.asarray(input_ids.array if isinstance(input_ids, Tensor) else input_ids)
    if ids.ndim != 2 or not ids.shape[1] or ids.dtype.kind not in "iu":
        raise ShapeError(
            f"generate takes whole numbers of shape (batch, length), one token at least; got {ids.dtype} {ids.shape}.{here()}"
        )
    if isinstance(max_new_tokens, bool) or not isinstance(max_new_tokens, (int, np.integer)) or max_new_tokens < 0:
        raise ShapeError(f"max_new_tokens is a whole number, 0 or more, not {max_new_tokens!r}.{here()}")
    mask = None if attention_mask is None else _left_padded(attention_mask, ids.shape)
    if ids.shape[1] + max_new_tokens > model.longest and not slide:
        raise ShapeError(
            f"{ids.shape[1]} tokens and {max_new_tokens} new ones are more than the model's {model.longest} positions.{here()}\n"
            "  slide=True goes on with the later half of the text where they run out."
        )
    return _tokens(model, ids.astype(np.int64), mask, int(max_new_tokens), how, ends, pad, generator)


def _tokens(
    model: Any,
    ids: np.ndarray,
    mask: np.ndarray | None,
    count: int,
    how: dict[str, Any],
    ends: np.ndarray,
    pad: int,
    generator: Any,
) -> Iterator[Tensor]:
    batch = len(ids)
    done = np.zeros(batch, np.bool_)
    cache, new = None, ids
    for _ in range(count):
        # Recording is off for each step only, not while the caller has the token.
        with no_grad():
            if cache is None or cache[0].length + new.shape[1] > model.longest:
                if ids.shape[1] > model.longest:
                    keep = max(model.longest // 2, 1)
                    ids, mask = ids[:, -keep:], None if mask is None else mask[:, -keep:]
                cache, new = model.new_cache(batch, min(ids.shape[1] + count, model.longest)), ids
            logits = _logits(model, new, mask, cache)
        token = sample(logits, generator=generator, **how)
        token = np.where(done, pad, token)
        new = token[:, None]
        ids = np.concatenate([ids, new], 1)
        if mask is not None:
            mask = np.concatenate([mask, np.ones((batch, 1), np.bool_)], 1)
        yield wrap(token)
        done |= np.isin(token, ends)
        if done.all():
            return


def _logits(model: Any, new: np.ndarray, mask: np.ndarray | None, cache: Any) -> np.ndarray:
    """(batch, vocabulary), of the token after the last."""
    if mask is None:
        return model(wrap(new), cache=cache, last_only=True).logits.array[:, -1]
    positions = np.maximum(np.cumsum(mask, 1) - 1, 0)[:, -new.shape[1] :]
    return model(wrap(new), wrap(mask), wrap(positions), cache, last_only=True).logits.array[:, -1]


def _left_padded(mask: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = np.asarray(mask.array if isinstance(mask, Tensor) else mask) != 0
    if array.shape != shape:
        raise ShapeError(f"the attention mask has shape {array.shape}, and the tokens have {shape}.{here()}")
    if not array[:, -1].all() or (np.diff(array.astype(np.int8), axis=1) < 0).any():
        raise ShapeError(
            "texts are continued at their right end, so padding stands on the left: "
            f'tokenizer.encode_batch(texts, padding_side="left").{here()}'
        )
    return array


def _settings(do_sample: bool, temperature: float | None, top_k: int | None, top_p: float | None) -> dict[str, Any]:
    given = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    if not do_sample:
        used = [name for name, value in given.items() if value is not None]
        if used:
            raise ShapeError(f"{used[0]} has no effect on taking the likeliest token; pass do_sample=True.{here()}")
        return {"temperature": 0.0}
    if temperature is not None and not 0 <= temperature < float("inf"):
        raise ShapeError(f"a temperature is a number, 0 or more, not {temperature!r}.{here()}")
    if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, (int, np.integer)) or top_k < 1):
        raise ShapeError(f"top_k is a whole number, 1 or more, not {top_k!r}.{here()}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ShapeError(f"top_p lies above 0 and not above 1, got {top_p!r}.{here()}")
    return {**given, "temperature": 1.0 if temperature is None else temperature}


def generate(model: Any, input_ids: Tensor, max_new_tokens: int = 20, **settings: Any) -> Tensor:
    """The texts with the new tokens after them, (batch, length + new), as `stream` makes them with the same settings.

    >>> import autograd_ff as af
    >>> from autograd_ff import hub
    >>> model = hub.GPT2LMHeadModel(hub.GPT2Config(vocab_size=9, n_positions=8, n_embd=8, n_layer=1, n_head=2))
    >>> hub.generate(model.eval(), af.tensor([[3, 1]]), 4, do_sample=True, temperature=0.8, top_k=3).shape
    (1, 6)
    """
    tokens = [token.array[:, None] for token in stream(model, input_ids, max_new_tokens, **settings)]
    first = np.asarray(input_ids.array if isinstance(input_ids, Tensor) else input_ids).astype(np.int64)
    return wrap(np.concatenate([first, *tokens], 1))


class Generates:
    """Gives a model the methods `generate` and `stream`."""

    def generate(self, input_ids: Tensor, max_new_tokens: int = 20, **settings: Any) -> Tensor:
        """The texts with the new tokens after them, see `autograd_ff.hub.generate`."""
        return generate(self, input_ids, max_new_tokens, **settings)

    def stream(self, input_ids: Tensor, max_new_tokens: int = 20, **settings: Any) -> Iterator[Tensor]:
        """The next tokens one after the other, see `autograd_ff.hub.stream`."""
        return stream(self, input_ids, max_new_tokens, **settings)
