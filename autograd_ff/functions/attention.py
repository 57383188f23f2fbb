"""Attention: each query's mean of the values, weighted by how its scores with the keys compare."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine import TensorCore, apply, here, scope
from ..errors import DtypeError, ShapeError
from ..kernels import attention as kernels
from ..kernels import rotary
from .random import source

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = ["rotary_embedding", "scaled_dot_product_attention"]


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    generator: Any = None,
) -> Tensor:
    """``softmax(query keyᵀ scale + mask) value``: the values' means, weighted by how well their keys fit each query.

    It is computed in blocks, and neither kept nor ever made is the whole matrix of weights. Dropout keeps a boolean mask of
    its size. A query to which all keys are masked gets 0, as in PyTorch.

    Args:
        query: (…, L, E), in training usually (N, heads, L, E).
        key: (…, S, E), the leading dimensions broadcasting with those of the query.
        value: (…, S, V).
        attn_mask: what broadcasts to (…, L, S): booleans, true where a query may see a key, or numbers that are added to the
            scores.
        dropout_p: the probability that a weight becomes 0, the others being divided by 1 - dropout_p; to 16 bits. It
            holds whenever the function is called: pass 0 in evaluation.
        is_causal: query i sees the keys 0 to i only. Not together with ``attn_mask``.
        scale: what the scores are multiplied with; 1 / √E if None.
        enable_gqa: whether the query may have a multiple of the heads (dimension -3) of keys and values; neighbouring
            heads share one.
        generator: of the dropout mask; the default one otherwise.

    Returns:
        (…, L, V).

    Raises:
        ShapeError: shapes that do not fit, a mask together with ``is_causal``, or a probability outside of [0, 1].
        DtypeError: inputs of unequal or integer dtypes, or a mask of integers.

    Source: Vaswani et al., 2017, "Attention is all you need"; in blocks: Dao et al., 2022, "FlashAttention"; shared heads:
    Ainslie et al., 2023, "GQA".

    >>> import autograd_ff as af
    >>> from autograd_ff.nn import functional as F
    >>> query, key = af.tensor([[5.0, 0.0]]), af.tensor([[8.0, 0.0], [0.0, 8.0]])
    >>> F.scaled_dot_product_attention(query, key, af.tensor([[1.0, 2.0], [3.0, 4.0]])).round(decimals=3)
    tensor([[1., 2.]])
    """
    shape = _checked(query, key, value, attn_mask, dropout_p, is_causal, enable_gqa)
    features = query.array.shape[-1]
    if scale is None:
        scale = 1 / math.sqrt(features) if features else 1.0
    params = {"scale": float(scale), "causal": bool(is_causal), "keep_scale": 1.0}
    if not enable_gqa and not dropout_p:
        return apply(kernels.attention, (query, key, value, attn_mask, None), params)
    with scope("composite", "scaled_dot_product_attention", "scaled_dot_product_attention"):
        keep, params["keep_scale"] = keep_mask(shape, dropout_p, generator)
        if not enable_gqa:
            return apply(kernels.attention, (query, key, value, attn_mask, keep), params)
        heads = math.gcd(key.array.shape[-3], value.array.shape[-3])
        inputs = [_grouped(one, heads) for one in (query, key, value, attn_mask, keep)]
        return apply(kernels.attention, tuple(inputs), params).flatten(-4, -3)


def keep_mask(shape: tuple[int, ...], p: float, generator: Any = None) -> tuple[Tensor | None, float]:
    """The dropout mask of weights, or None where it drops none, and the factor of what it keeps."""
    threshold = round(p * (1 << 16))
    if not threshold:
        return None, 1.0
    keep = apply(kernels.keep_mask, (None,), {"generator": source(generator), "shape": shape, "p": p})
    return keep, (1 << 16) / ((1 << 16) - threshold) if threshold < 1 << 16 else 0.0


def _grouped(tensor: Any, heads: int) -> Any:
    """(…, heads * n, L, E) as (…, heads, n, L, E), so that what has fewer heads broadcasts."""
    if tensor is None or tensor.ndim < 3:
        return tensor
    if tensor.shape[-3] == 1:
        return tensor.unsqueeze(-3)
    return tensor.unflatten(-3, (heads, tensor.shape[-3] // heads))


def _checked(
    query: Any, key: Any, value: Any, mask: Any, dropout_p: float, is_causal: bool, enable_gqa: bool
) -> tuple[int, ...]:
    """The shape of the scores, after all arguments have been checked."""
    given = {"query": query, "key": key, "value": value}
    for name, one in given.items():
        if not isinstance(one, TensorCore):
            raise DtypeError(
                f"scaled_dot_product_attention: the {name} must be a Tensor, not {type(one).__name__}.{here()}"
            )
    dtypes = [one.array.dtype for one in given.values()]
    if len(set(dtypes)) > 1 or dtypes[0].kind != "f":
        raise DtypeError(
            "scaled_dot_product_attention takes a query, a key and a value of one floating dtype, got "
            f"{', '.join(map(str, dtypes))}.{here()}\n  Cast them: key.to(query.dtype)."
        )
    shapes = {name: tuple(one.array.shape) for name, one in given.items()}
    (*lead, rows, features), (*of_key, columns, of_key_features), (*of_value, of_values, _) = (
        shape if len(shape) > 1 else (0, 0, *shape) for shape in shapes.values()
    )
    shown = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    if min(map(len, shapes.values())) < 2 or features != of_key_features or columns != of_values:
        raise ShapeError(
            "scaled_dot_product_attention takes a query (…, L, E), a key (…, S, E) and a value (…, S, V), got "
            f"{shown}.{here()}"
        )
    if enable_gqa:
        if min(map(len, shapes.values())) < 3 or any(
            not side or lead[-1] % side for side in (of_key[-1], of_value[-1])
        ):
            raise ShapeError(
                f"enable_gqa: the heads (dimension -3) of key and value divide those of the query; got {shown}.{here()}"
            )
        of_key[-1] = of_value[-1] = lead[-1]
    try:
        whole = (*np.broadcast_shapes(tuple(lead), tuple(of_key), tuple(of_value)), rows, columns)
    except ValueError:
        advice = "\n  Do query heads share keys? Then pass enable_gqa=True." if not enable_gqa and len(lead) > 1 else ""
        raise ShapeError(
            f"the leading dimensions of query, key and value do not broadcast: {shown}.{here()}{advice}"
        ) from None
    if not 0 <= dropout_p <= 1:
        raise ShapeError(f"the probability of dropping a weight lies in [0, 1], got {dropout_p}{here()}")
    if mask is not None:
        _check_mask(mask, whole, is_causal)
    return whole


def _check_mask(mask: Any, whole: tuple[int, ...], is_causal: bool) -> None:
    if is_causal:
        raise ShapeError(
            f"scaled_dot_product_attention takes either attn_mask or is_causal=True.{here()}\n  For both, put the causal "
            "one into the mask: attn_mask & ones(L, S, dtype=bool).tril()."
        )
    if not isinstance(mask, TensorCore) or mask.array.dtype.kind not in "bf":
        found = mask.array.dtype if isinstance(mask, TensorCore) else type(mask).__name__
        raise DtypeError(
            f"attn_mask is a Tensor of booleans (true: takes part) or of numbers to add to the scores, not {found}.{here()}"
            "\n  Of zeros and ones, make booleans: mask.bool()."
        )
    shape = tuple(mask.array.shape)
    fits = 2 <= len(shape) <= len(whole) and all(
        side in (1, other) for side, other in zip(shape[::-1], whole[::-1], strict=False)
    )
    if not fits:
        advice = "\n  Of a mask (N, S) of keys, make (N, 1, 1, S): mask[:, None, None, :]." if len(shape) == 2 else ""
        raise ShapeError(f"an attn_mask of shape {shape} does not broadcast to the scores, {whole}.{here()}{advice}")


def rotary_embedding(input: Tensor, cos: Tensor, sin: Tensor, interleaved: bool = False) -> Tensor:
    """Pairs (a, b) of features turned by angles: ``(a cos - b sin, a sin + b cos)``.

    Args:
        input: queries or keys, (…, L, D).
        cos: of each token's angles, (L, R) or what broadcasts to (…, L, R), with 2 R ≤ D; features after the first 2 R
            stay as they are.
        sin: likewise.
        interleaved: whether features 2i and 2i + 1 make a pair, as in GPT-J, or features i and i + R, as in GPT-NeoX and
            Llama.

    Returns:
        The shape of ``input``. No gradient flows to ``cos`` and ``sin``.

    Raises:
        ShapeError: the angles do not fit.

    Source: Su et al., 2021, "RoFormer: Enhanced transformer with rotary position embedding".

    >>> import autograd_ff as af
    >>> af.nn.rotary_embedding(af.tensor([[1.0, 2.0]]), af.tensor([[0.0]]), af.tensor([[1.0]]))
    tensor([[-2.,  1.]])
    """
    shape, angles, other = (tuple(one.array.shape) for one in (input, cos, sin))
    fits = angles == other and len(shape) > 1 and len(angles) <= len(shape) and 2 * angles[-1] <= shape[-1]
    if not fits or any(one not in (1, two) for one, two in zip(angles[-2::-1], shape[-2::-1], strict=False)):
        raise ShapeError(
            f"rotary_embedding of an input of shape {shape} (…, L, D) takes cos and sin of one shape that broadcasts to "
            f"(…, L, R) with 2 R ≤ D, got {angles} and {other}.{here()}"
        )
    return apply(rotary.rotate, (input, cos, sin), {"interleaved": bool(interleaved)})
