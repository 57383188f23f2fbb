"""The numbers of random arrays: inside a domain, apart from each other, and special ones where they are asked for.

Everything is made from a NumPy generator, so a shape and a seed determine an array.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..engine import REAL, Domain, here
from ..errors import ShapeError

__all__ = ["SPECIAL", "as_domain", "numbers", "plant", "segments", "special_kinds"]

SPECIAL = ("zero", "one", "tie", "tiny", "subnormal", "huge")  # what ``special=True`` plants; simpler ones first
_EVERY_SPECIAL = (*SPECIAL, "infinite", "nan")

_USUAL_SPREAD = 0.05


def as_domain(domain: Domain | tuple[float, float] | None) -> Domain | None:
    """A domain, or the interval that a pair stands for.

    >>> as_domain((0, 1))
    Domain(low=0.0, high=1.0, avoid=(), margin=0.1, boolean=False)
    """
    if isinstance(domain, tuple) and len(domain) == 2:
        domain = Domain(float(domain[0]), float(domain[1]))
    if domain is None or (isinstance(domain, Domain) and (domain.boolean or segments(domain))):
        return domain
    raise ShapeError(
        f"a domain is a Domain or a pair (low, high) that has numbers between them, not {domain!r}.{here()}"
    )


def segments(domain: Domain) -> list[tuple[float, float]]:
    """The intervals that are left of a domain when what is near the points to avoid is taken out.

    >>> segments(Domain(-2.0, 2.0, avoid=(0.0,), margin=0.5))
    [(-2.0, -0.5), (0.5, 2.0)]
    """
    pieces = [(domain.low, domain.high)] if domain.low <= domain.high else []
    for point in domain.avoid:
        below, above = point - domain.margin, point + domain.margin
        halves = [half for low, high in pieces for half in ((low, min(high, below)), (max(low, above), high))]
        pieces = [(low, high) for low, high in halves if low < high]
    return pieces


def numbers(
    generator: np.random.Generator,
    shape: tuple[int, ...],
    dtype: np.dtype | type = np.float64,
    domain: Domain | None = None,
    spread: float | None = None,
) -> np.ndarray:
    """Random numbers of a domain, any two of them at least ``spread`` apart.

    They are uniform in the domain under that condition. Without ``spread``, floating numbers keep 0.05 apart, or half of
    what an even division of the domain would give where they are many; whole numbers may repeat. Without ``domain``,
    floating numbers lie in [-3, 3] and whole ones in [-9, 9] (unsigned: [0, 9]), or as far out as ``spread`` needs.

    >>> import numpy as np
    >>> x = np.sort(numbers(np.random.default_rng(0), (20,), domain=Domain(0.0, 1.0), spread=0.04))
    >>> bool(x[0] >= 0 and x[-1] <= 1 and np.diff(x).min() >= 0.04)
    True
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape)
    if dtype.kind == "b" or (domain is not None and domain.boolean):
        return np.asarray(generator.random(shape) < 0.5, dtype=dtype if dtype.kind != "f" else bool)
    whole = dtype.kind in "iu"
    reach = (0.0 if dtype.kind == "u" else -9.0, 9.0) if whole else (REAL.low, REAL.high)
    pieces = segments(Domain(*reach) if domain is None else domain)
    if whole:
        step: float = max(1, math.ceil(spread or 0))
        limits = np.iinfo(dtype)
        pieces = [(max(low, limits.min), min(high, limits.max)) for low, high in pieces]
        pieces = [(math.ceil(low), math.floor(high) + 1) for low, high in pieces if math.ceil(low) <= math.floor(high)]
    else:
        step = 0.0 if spread is None else spread * (1 + 1e-9)  # so that rounding does not eat into it
        if dtype.itemsize < 8:  # nor casting to a narrower dtype, which may not lead out of the domain either
            unit = float(np.finfo(dtype).eps) * max(abs(end) for piece in pieces for end in piece)
            step += 0.0 if spread is None else unit
            pieces = [(low + unit / 2, high - unit / 2) for low, high in pieces if high - low > unit] or pieces
    starts = np.array([low for low, _ in pieces])
    ends = np.cumsum([high - low for low, high in pieces])
    room = float(ends[-1]) if len(ends) else 0.0
    if spread is not None and step * (size - 1) > room - whole:
        if domain is None and (not whole or (dtype.kind == "i" and step * size < np.iinfo(dtype).max)):
            half = step * size
            return numbers(generator, shape, dtype, Domain(-half, half), spread)
        raise ShapeError(
            f"{size} numbers {spread} apart do not fit into {domain or 'the small whole numbers'}, in which there is "
            f"room for {int((room - whole) / step) + 1 if room else 0}. Take a smaller spread, a wider domain or "
            f"smaller shapes.{here()}"
        )
    if whole and not room:
        raise ShapeError(f"there is no whole number in {domain}.{here()}")
    places: np.ndarray
    if whole and spread is None:
        places = generator.integers(0, int(room), size)
    elif whole:
        free = int(room) - int(step - 1) * (size - 1)
        places = np.sort(generator.choice(free, size, replace=False)) + int(step - 1) * np.arange(size)
    else:
        if spread is None:
            step = min(_USUAL_SPREAD, room / (2 * size)) if size else 0.0
        places = np.sort(generator.random(size)) * (room - step * (size - 1)) + step * np.arange(size)
    # A place is how far along the intervals, laid end to end, a number lies. The gaps between them only add distance.
    if len(pieces) > 1:
        piece = np.minimum(np.searchsorted(ends, places, side="right"), len(pieces) - 1)
        places = starts[piece] + (places - np.concatenate([[0], ends])[piece])
    else:
        places = places + starts[0]
    if not (whole and spread is None):  # those are in random order already
        generator.shuffle(places)
    return np.asarray(places).astype(dtype).reshape(shape)


def special_kinds(special: bool | Sequence[str]) -> tuple[str, ...]:
    """The names of special values that were asked for."""
    kinds = (SPECIAL if special else ()) if isinstance(special, bool) else tuple(special)
    unknown = [kind for kind in kinds if kind not in _EVERY_SPECIAL]
    if unknown or isinstance(special, str):
        raise ShapeError(
            f"special values are True or a list of {', '.join(map(repr, _EVERY_SPECIAL))}, not {special!r}.{here()}"
        )
    return kinds


def plant(
    generator: np.random.Generator, array: np.ndarray, kinds: Sequence[str], domain: Domain | None = None
) -> np.ndarray:
    """The array with special values in random places: one or more of each kind, as far as there is room.

    They may lie outside the domain, which is what they are for; but where the domain has no negative numbers, they have
    none either.

    >>> import numpy as np
    >>> x = plant(np.random.default_rng(0), np.full(8, 0.3), ["zero", "one"])
    >>> bool(np.any(x == 0)), bool(np.any(np.abs(x) == 1))
    (True, True)
    """
    flat = array.ravel().copy()
    if not flat.size or flat.dtype.kind == "b":
        return array
    places = generator.permutation(flat.size)
    share = max(1, flat.size // (4 * max(len(kinds), 1)))
    signed = flat.dtype.kind != "u" and (domain is None or domain.low < 0)
    for number, kind in enumerate(sorted(kinds, key=lambda kind: kind == "tie")):  # ties are with what stays
        chosen = places[number * share : number * share + int(generator.integers(1, share, endpoint=True))]
        if not chosen.size:
            break
        if kind == "tie":
            flat[chosen] = flat[places[number * share - 1]]
            continue
        values = generator.choice(_specials_of(kind, flat.dtype), chosen.size)
        signs = generator.choice([-1, 1], chosen.size) if signed else 1
        flat[chosen] = values * signs
    return flat.reshape(array.shape)


def _specials_of(kind: str, dtype: np.dtype) -> np.ndarray:
    if dtype.kind in "iu":
        most = int(np.iinfo(dtype).max)
        return np.array({"one": [1], "huge": [most, most - 1]}.get(kind, [0]), dtype=dtype)
    limits = np.finfo(dtype)
    tiny, largest = float(limits.tiny), float(limits.max)
    values = {
        "zero": [0.0],
        "one": [1.0],
        "tiny": [tiny, math.sqrt(tiny)],
        "subnormal": [float(limits.smallest_subnormal), tiny / 2],
        "huge": [largest, largest / 2, math.sqrt(largest)],
        "infinite": [math.inf],
        "nan": [math.nan],
    }
    return np.array(values[kind], dtype=dtype)
