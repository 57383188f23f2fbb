"""A naive reverse-mode engine, to hold the real one against: simple, slow, and sharing no idea with it.

Values are functional: nothing is ever written. A tensor is a set of *places* in a flat store, so a view is an array of
place numbers, and a write gives the tensor's base a new value made of the old one outside the places and of the written
one inside them. Which values a derivative read, and whether their places were written since, is book-kept, so that the
model knows when the real engine has to refuse.
"""

from __future__ import annotations

import itertools

import numpy as np

clock = itertools.count(1).__next__


class Value:
    """A number of the computation: its data, and for each input that matters (input, vjp, what the vjp reads)."""

    def __init__(self, data, edges=(), leaf=False, saves=False):
        self.data = np.array(data, dtype=np.float64)
        self.edges = [edge for edge in edges if edge[0].tracked]
        self.leaf = leaf
        self.tracked = leaf or bool(self.edges)
        self.saves = saves and bool(self.edges)
        self.freed = False  # True, False, or None where a refused backward pass may have come by
        self.time = clock()

    def ancestors(self):
        """This value and what it was computed from, youngest first."""
        seen, stack = {self}, [self]
        while stack:
            for parent, _, _ in stack.pop().edges:
                if parent not in seen:
                    seen.add(parent)
                    stack.append(parent)
        return sorted(seen, key=lambda value: -value.time)

    def stale(self):
        return any(store.written(low, high, self.time) for _, _, reads in self.edges for store, low, high in reads)


def gradients(roots, upstreams, wanted=None):
    """The gradients of all ancestors of ``roots``, and those values whose derivatives were used."""
    root = Value(0.0, [(value, lambda _, g=g: g, []) for value, g in zip(roots, upstreams, strict=True)])
    found, used = {root: np.ones(())}, []
    values = root.ancestors()
    useful = None if wanted is None else {value for value in values if set(value.ancestors()) & set(wanted)}
    for value in values:
        if value not in found:
            continue
        edges = [edge for edge in value.edges if useful is None or edge[0] in useful]
        if edges:
            used.append(value)
        for parent, vjp, _ in edges:
            found[parent] = found.get(parent, 0.0) + fit(vjp(found[value]), parent.data.shape)
    return found, used


def fit(gradient, shape):
    """Undo broadcasting, one axis at a time."""
    while gradient.ndim > len(shape):
        gradient = gradient.sum(0)
    for axis, side in enumerate(shape):
        if side == 1 and gradient.shape[axis] != 1:
            gradient = gradient.sum(axis).reshape(*gradient.shape[:axis], 1, *gradient.shape[axis + 1 :])
    return np.broadcast_to(gradient, shape)


class Store:
    """Memory, and when which stretch of it was written."""

    def __init__(self, data):
        self.data = np.array(data, dtype=np.float64).reshape(-1)
        self.writes = []

    def written(self, low, high, since):
        return any(time > since and low <= last and first <= high for time, first, last in self.writes)


class Tensor:
    """Places in a store; the value they had when last recorded; and of which base it is a view."""

    def __init__(self, data=None, value=None, leaf=False):
        if data is None:
            data = value.data
        self.store = Store(data)
        self.places = np.arange(np.size(data)).reshape(np.shape(data))
        self.value = Value(data, leaf=leaf) if value is None else value
        self.base = self
        self.generation = 0  # of a base: how many recorded writes it saw; of a view: which of them it knows
        self.sealed = False  # made under no_grad
        self.expanded = False  # shows some place more than once, or is a view of what does: NumPy makes it read-only
        self.grad = None

    data = property(lambda self: self.store.data[self.places])
    stale = property(lambda self: self.base is not self and self.generation != self.base.generation)

    def bounds(self):
        return self.store, int(self.places.min()), int(self.places.max())

    def read(self, recording=True):
        """The value as it stands in memory now."""
        return Value(self.data, [(self.value, lambda g: g, [])] if recording else [])

    def view(self, select, recording=True):
        """The places that ``select`` (a function of arrays) picks."""
        other = self.alias(self.base)
        other.generation = self.generation if self.base is not self else self.base.generation
        other.sealed = self.sealed or not recording
        other.places = select(self.places)
        other.expanded = self.expanded or len(np.unique(other.places)) < other.places.size
        if recording:
            other.value = gather(self.value, select(np.arange(self.places.size).reshape(self.places.shape)))
        else:
            other.value = Value(other.data)
        return other

    def detach(self):
        return self.alias(None)

    def alias(self, base):
        other = Tensor.__new__(Tensor)
        other.store, other.places, other.expanded = self.store, self.places, self.expanded
        other.base, other.generation, other.value = base or other, 0, Value(self.data)
        other.sealed, other.grad = False, None
        return other

    def write(self, value, recording=True):
        """Put a value here. The base gets a new value, unless nothing of it is recorded."""
        base, places = self.base, self.places
        recorded = recording and (value.tracked or self.value.tracked or base.value.tracked)
        self.store.data[places] = value.data
        if recorded and base is self:
            old = [] if value.tracked else [(self.value, np.zeros_like, [])]
            self.value = Value(self.data, [*old, (value, lambda g: g, [])])
        elif recorded:
            inside = np.isin(base.places, places)
            index = base.positions(places)
            outside = (base.value, lambda g: np.where(inside, 0.0, g), [])
            base.value = Value(base.data, [outside, (value, lambda g: g.reshape(-1)[index], [])])
        store, low, high = self.bounds()
        store.writes.append((clock(), low, high))
        if recorded:
            base.generation += 1
            self.take_again()

    def take_again(self):
        """What is done after a recorded write: the view's value comes from the base's new one."""
        if self.base is not self:
            self.value = gather(self.base.value, self.base.positions(self.places))
            self.generation = self.base.generation

    def positions(self, places):
        """Where this tensor shows some places."""
        where = {place: position for position, place in enumerate(self.places.reshape(-1))}
        return np.array([where[place] for place in places.reshape(-1)], dtype=int).reshape(places.shape)


def gather(value, positions):
    """The elements of a value at some positions of it."""

    def vjp(g):
        total = np.zeros(value.data.size)
        for position, one in zip(positions.reshape(-1), g.reshape(-1), strict=True):
            total[position] += one
        return total.reshape(value.data.shape)

    return Value(value.data.reshape(-1)[positions], [(value, vjp, [])])


def computed(function, rules, inputs, recording=True, target=None):
    """The value ``function(*inputs)``. Each rule is (vjp of g, out and the inputs; which inputs, or "out", it reads).

    With ``target``, the tensor that the result is about to overwrite: what a rule reads there is kept as a copy.
    """
    values = [one.read(recording) for one in inputs]
    data = [value.data for value in values]
    out = function(*data)
    result = Tensor(out)
    edges, saves = [], False
    for value, (vjp, reads) in zip(values, rules, strict=True):
        read = [result if one == "out" else inputs[one] for one in reads]
        spans = [one.bounds() for one in read if target is None or not overlap(one, target)]
        edges.append((value, lambda g, vjp=vjp: vjp(g, out, *data), [] if "out" in reads and target else spans))
        saves = saves or bool(reads and value.tracked)
    result.value = Value(out, edges, saves=saves)
    return result


def overlap(one, other):
    (store, low, high), (second, first, last) = one.bounds(), other.bounds()
    return store is second and low <= last and first <= high
