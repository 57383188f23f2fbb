"""Scaled dot-product attention in blocks of queries that stay in the processor's cache.

The attention matrix exists one block at a time. The backward pass needs the inputs, the output and one number a query,
the logsumexp of its scores: ``weights = exp(scores - logsumexp)`` is computed again, block by block, rather than kept.
So memory grows with the number of tokens, not with its square.

What a block costs is matrix products and passes over its scores. Four habits make the passes few:

- The scale goes into the queries, which are fewer numbers than the scores.
- What is added to a whole row of scores (``-logsumexp``) or column (a mask of keys), and what is taken from each row of the
  weights' gradient, rides along in the product, as one more feature of queries and keys.
- The largest score of a row is subtracted only where ``exp`` could overflow or all of a row vanish without it.
- Sums along a row are products with ones, and the keys are laid out as the product's right factor likes them.
"""

from __future__ import annotations

import math

import numpy as np

from ..engine import NONDIFFERENTIABLE, Call, Draw, kernel, primitive

# Elements of one block of scores. Backward has two blocks: together they are to stay in a second level cache of 1 MB.
BLOCK = 1 << 16
# Queries of one block under a causal mask, where a block stops at its last query's key: fewer waste less, more waste less
# on the way into BLAS.
CAUSAL_ROWS = 64
# From so many queries a block the product is worth a copy of the keys.
COPY_FROM = 16
# exp of scores up to here overflows in no sum, and a row whose sum is at least this lost nothing to underflow.
SAFE_SCORE, SAFE_SUM = 50.0, 1e-20
# The lowest number of float32 and of float64: in the place of -∞, the largest score of a row in which all is masked.
LOWEST = (-3.4028234663852886e38, -1.7976931348623157e308)
# Beyond it the logsumexp is too coarse a number in float32 for weights that sum to 1.
COARSE = 32.0


def definition(query, key, value, mask=None, keep=None, scale=1.0, causal=False, keep_scale=1.0):
    """``softmax(query keyᵀ scale + mask) value``, of rows in which all is masked 0.

    Args:
        query: (…, L, E).
        key: (…, S, E).
        value: (…, S, V).
        mask: None; or boolean, true where a query sees a key; or numbers that are added to the scores. Broadcasts to
            (…, L, S).
        keep: None, or the dropout mask, boolean, which broadcasts as well: weights where it is false become 0, the others
            are multiplied by ``keep_scale``.
        causal: whether query i sees the keys up to i only.
    """
    scores = np.matmul(query, np.swapaxes(key, -1, -2)) * scale
    rows, columns = scores.shape[-2:]
    if not columns:
        return np.matmul(scores, value)
    if mask is not None and mask.dtype != np.bool_:
        scores = scores + mask
        mask = np.greater(mask, -math.inf)
    if causal:
        seen = np.tri(rows, columns, dtype=np.bool_)
        mask = seen if mask is None else np.logical_and(mask, seen)
    if mask is not None:
        scores = np.where(mask, scores, -math.inf)
    top = np.maximum(np.max(scores, axis=-1, keepdims=True), LOWEST[int(scores.dtype == np.float64)])
    weights = np.exp(scores - top)
    total = np.sum(weights, axis=-1, keepdims=True)
    weights = weights / np.where(np.equal(total, 0), 1.0, total)
    if keep is not None:
        weights = np.where(keep, weights * keep_scale, 0.0)
    return np.matmul(weights, value)


# ---------------------------------------------------------------- blocks


def leading(*arrays):
    """The leading dimensions that arrays (…, rows, columns) have together."""
    return np.broadcast_shapes(*(one.shape[:-2] for one in arrays))


def _spread(array, ndim):
    """With dimensions of side 1 in front, up to ``ndim``."""
    missing = ndim - array.ndim
    return array if missing <= 0 else array[(None,) * missing]


def _part(array, *index):
    """A block of an array that broadcasts: all of a dimension of side 1, and the slices of the others."""
    return array[tuple(slice(None) if side == 1 else one for side, one in zip(array.shape, index, strict=True))]


class _Blocks:
    """How the work is divided: groups of heads, one layout of the keys each, and in a group blocks of queries.

    All arrays have the same number of dimensions, at least four. The last two leading ones are divided, those before them
    are gone through one by one.
    """

    def __init__(self, lead, rows, columns, causal, dtype):
        self.lead = (1,) * (2 - len(lead)) + lead
        self.ndim = len(self.lead) + 2
        self.rows, self.columns, self.causal = rows, columns, causal
        self.dtype = dtype
        height = max(1, min(rows, BLOCK // max(columns, 1)))
        if causal:
            height = min(height, CAUSAL_ROWS)
        self.height = height
        room = max(1, BLOCK // max(height * columns, 1))
        *self.outer, first, second = self.lead
        self.second = max(1, min(second, room))
        self.first = max(1, min(first, room // self.second if self.second == second else 1))
        self.size = self.first * self.second * height * columns

    def groups(self):
        """The heads of each group, as an index of the leading dimensions."""
        first, second = self.lead[-2:]
        for outer in np.ndindex(*self.outer):
            before = tuple(slice(one, one + 1) for one in outer)
            for start in range(0, first, self.first):
                for other in range(0, second, self.second):
                    yield (*before, slice(start, start + self.first), slice(other, other + self.second))

    def count(self, heads):
        """How many heads a group has along each leading dimension."""
        sides = [min(one.stop, side) - one.start for one, side in zip(heads, self.lead, strict=True)]
        return tuple(sides)

    def queries(self):
        """The queries of each block, and how many keys the last of them sees."""
        for start in range(0, self.rows, self.height):
            stop = min(start + self.height, self.rows)
            yield slice(start, stop), min(stop, self.columns) if self.causal else self.columns

    def memory(self):
        return np.empty(self.size, self.dtype)


def _shaped(memory, shape):
    return memory[: math.prod(shape)].reshape(shape)


class _Keys:
    """The keys of a group of heads, as the right factor of its products, with rows for what rides along."""

    def __init__(self, blocks, features, extra):
        self.copies = extra > 0 or blocks.height >= COPY_FROM
        self.features, self.extra, self.columns = features, extra, blocks.columns
        if self.copies:
            self.memory = np.empty(blocks.first * blocks.second * (features + extra) * blocks.columns, blocks.dtype)

    def lay_out(self, keys, count, *rows):
        """``keys`` (…, S, E) as (…, E + extra, S), below them ``rows``."""
        turned = np.swapaxes(keys, -1, -2)
        if not self.copies:
            return turned
        laid = _shaped(self.memory, (*count, self.features + self.extra, self.columns))
        laid[..., : self.features, :] = turned
        for position, row in enumerate(rows, start=self.features):
            laid[..., position : position + 1, :] = row
        return laid


class _Queries:
    """The queries of a block with columns for what rides along."""

    def __init__(self, blocks, features, extra):
        self.features, self.extra = features, extra
        self.memory = np.empty(blocks.first * blocks.second * blocks.height * (features + extra), blocks.dtype)

    def lay_out(self, queries, factor, count, *columns):
        """``queries * factor`` (…, L, E) as (…, L, E + extra), beside them ``columns``."""
        laid = _shaped(self.memory, (*count, queries.shape[-2], self.features + self.extra))
        np.multiply(queries, factor, out=laid[..., : self.features])
        for position, column in enumerate(columns, start=self.features):
            laid[..., position : position + 1] = column
        return laid


def _additive(mask, dtype):
    """A mask as numbers to add."""
    return np.where(mask, dtype.type(0), dtype.type(-math.inf)) if mask.dtype == np.bool_ else mask


def _numbers(mask, dtype):
    """A mask that is small for it is the same for many heads, as numbers to add; others become numbers block by block."""
    return _additive(mask, dtype) if mask is not None and mask.size <= 4 * BLOCK else mask


def _of_keys(mask):
    """Whether a mask is the same for all queries, so that it can ride along with the keys."""
    return mask is not None and mask.shape[-2] == 1


class _Masks:
    """What is added to blocks of scores: the mask, if it did not ride along, and the causal one."""

    def __init__(self, blocks, mask, rides):
        self.mask = None if rides else mask
        self.blocks = blocks
        self.above = np.where(np.tri(blocks.height, dtype=np.bool_), blocks.dtype.type(0), blocks.dtype.type(-math.inf)) if blocks.causal else None  # fmt: skip

    def add(self, scores, heads, rows, seen):
        if self.mask is not None:
            scores += _additive(_part(self.mask, *heads, rows, slice(0, seen)), self.blocks.dtype)
        if self.above is not None and rows.start < seen:
            last = scores[..., rows.start : seen]
            last += self.above[: last.shape[-2], : last.shape[-1]]


def _prepared(blocks, *arrays):
    return [None if one is None else _spread(one, blocks.ndim) for one in arrays]


# ---------------------------------------------------------------- forward


def room(query, key, value):
    """An array for the output, in memory ordered as the queries are: heads side by side, where theirs are."""
    lead, rows, width = leading(query, key, value), query.shape[-2], value.shape[-1]
    if query.ndim > 2 and len(lead) == query.ndim - 2 and query.strides[-3] < query.strides[-2]:
        return np.swapaxes(np.empty((*lead[:-1], rows, lead[-1], width), query.dtype), -2, -3)
    return np.empty((*lead, rows, width), query.dtype)


def forward(query, key, value, mask=None, keep=None, scale=1.0, causal=False, keep_scale=1.0):
    out = room(query, key, value)
    logsumexp = np.empty(out.shape[:-1], out.dtype)
    fill_forward(out, logsumexp, query, key, value, mask, keep, scale, causal, keep_scale)
    return out, logsumexp


def fill_forward(out, logsumexp, query, key, value, mask, keep, scale, causal, keep_scale):
    """`forward` into arrays. The logsumexp of a row in which all is masked is written as 0."""
    rows, columns, features = query.shape[-2], key.shape[-2], query.shape[-1]
    blocks = _Blocks(out.shape[:-2], rows, columns, causal, out.dtype)
    query, key, value, mask, keep, out, logsumexp = _prepared(
        blocks, query, key, value, mask, keep, out, logsumexp[..., None]
    )
    rides, mask = _of_keys(mask), _numbers(mask, out.dtype)
    keys, queries = _Keys(blocks, features, int(rides)), _Queries(blocks, features, int(rides))
    masks, memory = _Masks(blocks, mask, rides), blocks.memory()
    everything, ones = slice(None), np.ones((columns, 1), out.dtype)
    # 0 times the -∞ of a mask, in places of BLAS's own that nobody reads
    with np.errstate(invalid="ignore"):
        for heads in blocks.groups():
            count = blocks.count(heads)
            along = (_additive(_part(mask, *heads, everything, everything), out.dtype),) if rides else ()
            right = keys.lay_out(_part(key, *heads, everything, everything), count, *along)
            values = _part(value, *heads, everything, everything)
            for here, seen in blocks.queries():
                left = queries.lay_out(_part(query, *heads, here, everything), scale, count, *(1.0,) * rides)
                scores = _shaped(memory, (*count, left.shape[-2], seen))
                total, top = _exponentials(scores, left, right[..., :seen], masks, heads, here, ones[:seen])
                total[total == 0] = 1
                if keep is not None:
                    scores *= _part(keep, *heads, here, slice(0, seen))
                result = out[(*heads, here)]
                np.matmul(scores, values[..., :seen, :], out=result)
                result *= keep_scale / total
                np.log(total, out=total)
                np.add(total, top, out=logsumexp[(*heads, here)])


def _exponentials(scores, left, right, masks, heads, here, ones):
    """``exp(scores - top)`` in the place of the scores, the sums of its rows, and top, which often is 0."""
    np.matmul(left, right, out=scores)
    masks.add(scores, heads, here, scores.shape[-1])
    if np.maximum.reduce(scores, axis=None, initial=-math.inf) <= SAFE_SCORE:
        np.exp(scores, out=scores)
        total = np.matmul(scores, ones)
        if np.minimum.reduce(total, axis=None, initial=math.inf) >= SAFE_SUM:
            return total, 0.0
        np.matmul(left, right, out=scores)
        masks.add(scores, heads, here, scores.shape[-1])
    top = np.maximum.reduce(scores, axis=-1, keepdims=True, initial=-math.inf)
    top[top == -math.inf] = 0
    scores -= top
    np.exp(scores, out=scores)
    total = np.matmul(scores, ones)
    return total, top


# ---------------------------------------------------------------- backward


def _like(array):
    return np.empty_like(array, order="K")


def backward(g, query, key, value, mask, keep, out, logsumexp, scale, causal, keep_scale, needs):
    wanted = zip(needs, (query, key, value, mask), strict=False)
    of_query, of_key, of_value, of_mask = (_like(one) if need else None for need, one in wanted)
    fill_backward(
        of_query, of_key, of_value, of_mask, None,
        g, query, key, value, mask, keep, out, logsumexp, scale, causal, keep_scale,
    )  # fmt: skip
    return of_query, of_key, of_value, of_mask, None


class _Sum:
    """The gradient of an input: blocks of it, put there by the first of its parts and added to by the others."""

    def __init__(self, blocks, gradient, whole):
        self.gradient = None if gradient is None else _spread(gradient, blocks.ndim)
        # Whether each block is written once: nothing broadcast, and no part of it comes again
        self.whole = self.gradient is not None and whole and self.gradient.shape[:-2] == blocks.lead
        if self.gradient is not None and not self.whole:
            self.gradient.fill(0)

    def __bool__(self):
        return self.gradient is not None

    def product(self, first, second, *index):
        """Add the product of two matrices."""
        part = _part(self.gradient, *index)
        if self.whole:
            np.matmul(first, second, out=part)
        else:
            self.add(np.matmul(first, second), *index)

    def add(self, values, *index):
        """Add an array, summed over what was broadcast."""
        part = _part(self.gradient, *index)
        repeated = tuple(
            axis for axis, (one, other) in enumerate(zip(part.shape, values.shape, strict=True)) if one == 1 != other
        )
        part += np.add.reduce(values, axis=repeated, keepdims=True) if repeated else values


def fill_backward(
    of_query, of_key, of_value, of_mask, _,
    g, query, key, value, mask, keep, out, logsumexp, scale, causal, keep_scale, needs=None,
):  # fmt: skip
    """`backward` into arrays, None for a gradient that is not wanted.

    With W the weights (before dropout), D the dropout mask times its factor, and P = g valueᵀ: the gradient of the value is
    (W D)ᵀ g, and that of the scores is W (P D - Σ g out), the sum being a row's.
    """
    rows, columns, features, width = query.shape[-2], key.shape[-2], query.shape[-1], value.shape[-1]
    blocks = _Blocks(out.shape[:-2], rows, columns, causal, out.dtype)
    once = 0 < rows <= blocks.height and not (causal and rows < columns)
    sums = [_Sum(blocks, of_query, True), _Sum(blocks, of_key, once), _Sum(blocks, of_value, once)]
    to_query, to_key, to_value, to_mask = (*sums, _Sum(blocks, of_mask, False))
    query, key, value, mask, keep, g, out, logsumexp = _prepared(
        blocks, query, key, value, mask, keep, g, out, logsumexp[..., None]
    )
    rides, drops, mask = _of_keys(mask), keep is not None, _numbers(mask, out.dtype)
    keys, queries = _Keys(blocks, features, 1 + rides), _Queries(blocks, features, 1 + rides)
    to_scores = to_query or to_key or to_mask
    values, upstreams = _Keys(blocks, width, int(not drops)), _Queries(blocks, width, int(not drops))
    masks, memory, more = _Masks(blocks, mask, rides), blocks.memory(), blocks.memory()
    everything, ones, ones_of_width = slice(None), np.ones((columns, 1), out.dtype), np.ones((width, 1), out.dtype)
    with np.errstate(invalid="ignore"):
        for heads in blocks.groups():
            count = blocks.count(heads)
            along = (_additive(_part(mask, *heads, everything, everything), out.dtype),) if rides else ()
            keys_here = _part(key, *heads, everything, everything)
            right = keys.lay_out(keys_here, count, 1.0, *along)
            if to_scores:
                right_values = values.lay_out(
                    _part(value, *heads, everything, everything), count, *(1.0,) * (not drops)
                )
            for here, seen in blocks.queries():
                lse, up = logsumexp[(*heads, here)], _part(g, *heads, here, everything)
                left = queries.lay_out(_part(query, *heads, here, everything), scale, count, -lse, *(1.0,) * rides)
                weights = _shaped(memory, (*count, left.shape[-2], seen))
                np.matmul(left, right[..., :seen], out=weights)
                masks.add(weights, heads, here, seen)
                np.exp(weights, out=weights)
                if np.maximum.reduce(np.abs(lse), axis=None, initial=0) > COARSE:
                    total = np.matmul(weights, ones[:seen])
                    total[total == 0] = 1
                    weights /= total
                # Also where the value's gradient alone is wanted: BLAS rounds by how its operands lie
                delta = np.matmul(up * out[(*heads, here)], ones_of_width)
                upstream = upstreams.lay_out(up, keep_scale, count, *(() if drops else (-delta,)))
                kept, slope = weights, _shaped(more, weights.shape)
                if drops:
                    dropped = _part(keep, *heads, here, slice(0, seen))
                    kept = np.multiply(weights, dropped, out=slope)
                if to_value:
                    transposed = np.swapaxes(kept, -1, -2)
                    to_value.product(transposed, upstream[..., :width], *heads, slice(0, seen), everything)
                if not to_scores:
                    continue
                np.matmul(upstream, right_values[..., :seen], out=slope)
                if drops:
                    slope *= dropped
                    slope -= delta
                slope *= weights
                if to_query:
                    to_query.product(slope, keys_here[..., :seen, :], *heads, here, everything)
                if to_key:
                    transposed = np.swapaxes(slope, -1, -2)
                    to_key.product(transposed, left[..., :features], *heads, slice(0, seen), everything)
                if to_mask:
                    to_mask.add(slope, *heads, here, slice(0, seen))
    if to_query:
        of_query *= scale


# ---------------------------------------------------------------- the ops


def _keep_mask(like, generator, shape, p):
    """True with probability 1 - p, to 16 bits."""
    size = math.prod(shape)
    bits = generator.integers(0, 1 << 64, -(-size // 4), dtype=np.uint64).view(np.uint16)[:size]
    return (bits >= round(p * (1 << 16))).reshape(shape)


def _draw_keep_mask(draw: Draw) -> Call:
    return Call((None,), {"generator": draw.generator(), "shape": draw.shape(), "p": draw.choice([0.5, 0.1, 0.9])})


keep_mask = primitive(
    _keep_mask,
    NONDIFFERENTIABLE,
    name="keep_mask",
    inputs=("like",),
    params={"generator": None, "shape": (), "p": 0.5},
    domain=_draw_keep_mask,
)


def draw(draw: Draw) -> Call:
    lead, of_keys = draw.choice([((), ()), ((2,), (2,)), ((2, 3), (2, 3)), ((2, 1, 2), (2, 1, 1)), ((2,), (1,))])
    rows, columns = draw.integer(1, 4), draw.integer(1, 4)
    features, width = draw.integer(1, 3), draw.integer(1, 3)
    query, key = draw.array((*lead, rows, features)), draw.array((*of_keys, columns, features))
    value = draw.array((*of_keys, columns, width))
    mask = None
    kind = draw.choice(["none", "causal", "boolean", "number"])
    shape = draw.choice(
        [(rows, columns), (*lead, rows, columns), (1, columns), (*lead[:1], *(1,) * len(lead[1:]), 1, columns)]
    )
    if kind == "boolean":
        mask = draw.integers(shape, 0, 3) > 0
    elif kind == "number":
        mask = draw.array(shape)
    keep = draw.integers((*lead, rows, columns), 0, 2) > 0 if draw.boolean() else None
    params = {"scale": draw.choice([1.0, 0.5]), "causal": kind == "causal", "keep_scale": 1.0 if keep is None else 1.5}
    return Call((query, key, value, mask, keep), params)


attention = kernel(
    definition,
    name="scaled_dot_product_attention",
    forward=forward,
    backward=backward,
    residuals=("logsumexp",),
    inputs=("query", "key", "value", "mask", "keep"),
    params={"scale": 1.0, "causal": False, "keep_scale": 1.0},
    promotion="float",
    promoted=(0, 1, 2),
    domain=draw,
)


# ---------------------------------------------------------------- of queries, keys and values that one product made


def parted(packed):
    """Queries, keys and values (…, H, L, D) of a packed array (…, L, 3, H, D): views."""
    query, key, value = (np.swapaxes(packed[..., number, :, :], -3, -2) for number in range(3))
    return query, key, value


def packed_definition(packed, mask=None, keep=None, scale=1.0, causal=False, keep_scale=1.0):
    """`definition` of the queries ``packed[..., 0, :, :]``, the keys ``[..., 1, :, :]`` and the values ``[..., 2, :, :]``.

    Args:
        packed: (…, L, 3, H, D), as the projection of self-attention makes them: for each of the L tokens, H heads.
        mask: as in `definition`, broadcasting to (…, H, L, L).

    Returns:
        (…, L, H, D).
    """
    query, key, value = parted(packed)
    return np.swapaxes(definition(query, key, value, mask, keep, scale, causal, keep_scale), -3, -2)


def packed_forward(packed, mask=None, keep=None, scale=1.0, causal=False, keep_scale=1.0):
    *lead, rows, _, heads, width = packed.shape
    if lead and packed.strides[-5] < packed.strides[-4]:  # the batch inside of the tokens, as (L, N, …) lies in memory
        *outer, batch = lead
        out = np.swapaxes(np.empty((*outer, rows, batch, heads, width), packed.dtype), -4, -3)
    else:
        out = np.empty((*lead, rows, heads, width), packed.dtype)
    logsumexp = np.empty((*lead, heads, rows), packed.dtype)
    fill_packed_forward(out, logsumexp, packed, mask, keep, scale, causal, keep_scale)
    return out, logsumexp


def fill_packed_forward(out, logsumexp, packed, mask, keep, scale, causal, keep_scale):
    """`packed_forward` into arrays."""
    query, key, value = parted(packed)
    fill_forward(np.swapaxes(out, -3, -2), logsumexp, query, key, value, mask, keep, scale, causal, keep_scale)


def packed_backward(g, packed, mask, keep, out, logsumexp, scale, causal, keep_scale, needs):
    of_packed, of_mask = (_like(one) if need else None for need, one in zip(needs, (packed, mask), strict=False))
    fill_packed_backward(of_packed, of_mask, None, g, packed, mask, keep, out, logsumexp, scale, causal, keep_scale)
    return of_packed, of_mask, None


def fill_packed_backward(
    of_packed, of_mask, _, g, packed, mask, keep, out, logsumexp, scale, causal, keep_scale, needs=None
):
    """`packed_backward` into arrays, None for a gradient that is not wanted."""
    of_query, of_key, of_value = (None, None, None) if of_packed is None else parted(of_packed)
    query, key, value = parted(packed)
    g, out = np.swapaxes(g, -3, -2), np.swapaxes(out, -3, -2)
    fill_backward(
        of_query, of_key, of_value, of_mask, None,
        g, query, key, value, mask, keep, out, logsumexp, scale, causal, keep_scale,
    )  # fmt: skip


def draw_packed(draw: Draw) -> Call:
    lead, rows, heads = draw.choice([(), (2,)]), draw.integer(1, 3), draw.integer(1, 2)
    packed = draw.array((*lead, rows, 3, heads, draw.integer(1, 2)))
    kind = draw.choice(["none", "causal", "boolean", "number"])
    shape = draw.choice([(rows, rows), (*lead, heads, rows, rows), (1, rows)])
    mask = None
    if kind == "boolean":
        mask = draw.integers(shape, 0, 3) > 0
    elif kind == "number":
        mask = draw.array(shape)
    keep = draw.integers((*lead, heads, rows, rows), 0, 2) > 0 if draw.boolean() else None
    params = {"scale": draw.choice([1.0, 0.5]), "causal": kind == "causal", "keep_scale": 1.0 if keep is None else 1.5}
    return Call((packed, mask, keep), params)


self_attention = kernel(
    packed_definition,
    name="self_attention",
    forward=packed_forward,
    backward=packed_backward,
    residuals=("logsumexp",),
    inputs=("packed", "mask", "keep"),
    params={"scale": 1.0, "causal": False, "keep_scale": 1.0},
    promotion="float",
    promoted=(0,),
    domain=draw_packed,
)
