"""A state machine grows random graphs and holds the engine to the naive one: values, gradients and refusals."""

from __future__ import annotations

import contextlib
import sys

import naive_engine as naive
import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

import autograd_ff.engine.backward as backward_pass
from autograd_ff.autograd import backward, grad, no_grad
from autograd_ff.engine import Geometry, Scatter, View, versions, wrap
from autograd_ff.engine.inplace import update
from autograd_ff.errors import GraphError, InplaceError
from autograd_ff.functions.tensor import Tensor
from autograd_ff.rules import elementwise

SHAPES = st.sampled_from([(), (1,), (3,), (2, 3), (3, 3), (1, 3), (3, 1)])
SEEDS = st.integers(0, 2**16)
RECORDING = st.sampled_from([True, True, True, False])

# function of arrays (and, through NumPy's protocols, of Tensors), rules of the naive engine
UNARY = {
    "tanh": (np.tanh, [(lambda g, out, x: g * (1 - out**2), ["out"])]),
    "sin": (np.sin, [(lambda g, out, x: g * np.cos(x), [0])]),
    "square": (np.square, [(lambda g, out, x: 2 * g * x, [0])]),
    "negative": (np.negative, [(lambda g, out, x: -g, [])]),
    "total": (np.sum, [(lambda g, out, x: g * np.ones_like(x), [])]),
    "mean of rows": (
        lambda x: np.mean(x, axis=-1, keepdims=True),
        [(lambda g, out, x: g * np.ones_like(x) / x.shape[-1], [])],
    ),
}
BINARY = {
    "add": (np.add, [(lambda g, out, x, y: g, []), (lambda g, out, x, y: g, [])]),
    "subtract": (np.subtract, [(lambda g, out, x, y: g, []), (lambda g, out, x, y: -g, [])]),
    "multiply": (np.multiply, [(lambda g, out, x, y: g * y, [1]), (lambda g, out, x, y: g * x, [0])]),
}
MATMUL = (np.matmul, [(lambda g, out, x, y: g @ y.T, [1]), (lambda g, out, x, y: x.T @ g, [0])])
IN_PLACE = {"tanh": elementwise.tanh, "sin": elementwise.sin, "square": elementwise.square}


@st.composite
def views(draw):
    """A description of a view, to be made of whatever shape it meets."""
    return draw(st.sampled_from(["first", "last", "tail", "head", "every other", "column", "turned", "flat", "widened",
                                 "expanded", "reversed"]))  # fmt: skip


def view_of(kind, shape):
    """The view op as a function of arrays, Tensors and place numbers alike; None where the shape has no such view."""
    if kind == "turned":
        return np.transpose
    if kind == "flat":
        return lambda a: np.reshape(a, (-1,))
    if kind == "widened":
        return lambda a: np.expand_dims(a, 0)
    if kind == "expanded":
        return lambda a: np.broadcast_to(a, (2, *shape))
    index = index_of(kind, shape)
    return None if index is None else lambda a: a[index]


def index_of(kind, shape):
    if not shape:
        return ... if kind == "first" else None
    return {
        "first": 0,
        "last": -1,
        "tail": slice(1, None) if shape[0] > 1 else None,
        "head": slice(0, 1),
        "every other": slice(None, None, 2),
        "column": (slice(None), 0) if len(shape) > 1 else None,
        "reversed": slice(None, None, -1),
    }.get(kind)


def grad_mode(recording):
    return contextlib.nullcontext() if recording else no_grad()


class GraphMachine(RuleBasedStateMachine):
    """Every tensor is a pair: the engine's, and the model's."""

    tensors = Bundle("tensors")

    def __init__(self):
        super().__init__()
        self.alive = []
        self.leaves = []
        self.written = []  # in part, through a view

    def keep(self, real, model):
        self.alive.append((real, model))
        return real, model

    def drop(self, pair):
        self.alive = [one for one in self.alive if one[0] is not pair[0]]

    @initialize(target=tensors, seed=SEEDS)
    def start(self, seed):
        numbers = np.random.default_rng(seed)
        x, w = self.make(numbers.normal(size=(2, 3)), True), self.make(numbers.normal(size=3), True)
        h = self.run(*BINARY["multiply"], [x, w], True)
        made = [x, w, h, self.run(*UNARY["tanh"], [h], True), self.make(numbers.normal(size=3), False)]
        return multiple(*made, *self.grown(numbers))

    def make(self, data, leaf):
        real = wrap(np.array(data, dtype=np.float64))
        real.requires_grad = leaf
        pair = self.keep(real, naive.Tensor(data, leaf=leaf))
        if leaf:
            self.leaves.append(pair)
        return pair

    @rule(target=tensors, shape=SHAPES, seed=SEEDS, leaf=st.booleans())
    def create(self, shape, seed, leaf):
        return self.make(np.random.default_rng(seed).normal(size=shape), leaf)

    # ------------------------------------------------------------------ reading

    def run(self, function, rules, operands, recording):
        """An op through both engines. The engine refuses exactly when an operand is a view that went stale."""
        models = [model for _, model in operands]
        if np.abs(function(*(model.data for model in models))).max() > 1e4:
            return multiple()
        refused = recording and any(model.stale for model in models)
        with grad_mode(recording):
            if refused:
                with pytest.raises(InplaceError, match="Take the view again"):
                    function(*(real for real, _ in operands))
                return multiple()
            real = function(*(real for real, _ in operands))
        return self.keep(real, naive.computed(function, rules, models, recording))

    @rule(target=tensors, x=tensors, name=st.sampled_from(sorted(UNARY)), recording=RECORDING)
    def unary(self, x, name, recording):
        if name == "mean of rows" and not x[0].ndim:
            return multiple()
        return self.run(*UNARY[name], [x], recording)

    @rule(target=tensors, x=tensors, y=tensors, name=st.sampled_from(sorted(BINARY)), recording=RECORDING)
    def binary(self, x, y, name, recording):
        if not compatible(x[0], y[0]):
            return multiple()
        return self.run(*BINARY[name], [x, y], recording)

    @rule(target=tensors, x=tensors, y=tensors, recording=RECORDING)
    def matmul(self, x, y, recording):
        if x[0].ndim != 2 or y[0].ndim != 2 or x[0].shape[1] != y[0].shape[0]:
            return multiple()
        return self.run(*MATMUL, [x, y], recording)

    @rule(target=tensors, x=tensors, kind=views(), recording=RECORDING)
    def view(self, x, kind, recording):
        real, model = x
        select = view_of(kind, real.shape)
        if select is None or real.array.size > 30:
            return multiple()
        with grad_mode(recording):
            if recording and model.stale:
                with pytest.raises(InplaceError, match="Take the view again"):
                    select(real)
                return multiple()
            result = select(real)
        if np.shares_memory(result.array, real.array):
            return self.keep(result, model.view(select, recording))
        shape = real.shape  # a reshape that had to copy
        return self.keep(
            result, naive.computed(select, [(lambda g, out, x: np.reshape(g, shape), [])], [model], recording)
        )

    @rule(target=tensors, x=tensors)
    def detach(self, x):
        return self.keep(x[0].detach(), x[1].detach())

    @rule(x=consumes(tensors))
    def forget(self, x):
        self.drop(x)

    @rule(target=tensors, seed=SEEDS)
    def grow(self, seed):
        """Several ops at once on what there is, so that graphs get deep in few steps."""
        return multiple(*self.grown(np.random.default_rng(seed)))

    def grown(self, numbers):
        made = []
        for _ in range(10):
            tracked = [pair for pair in self.alive if pair[1].value.tracked and not pair[1].stale]
            if not tracked:
                break
            x, y = (tracked[numbers.integers(len(tracked))] for _ in range(2))
            kind = numbers.choice(["first", "tail", "head", "column", None, None, None, None])
            if numbers.random() < 0.2:
                self.write_part(x, y, kind or "last", True, bool(numbers.random() < 0.5))
                continue
            if kind is not None and index_of(kind, x[0].shape) is not None:
                index = index_of(kind, x[0].shape)
                pair = self.keep(x[0][index], x[1].view(lambda a, index=index: a[index]))
            elif compatible(x[0], y[0]):
                pair = self.run(*BINARY[numbers.choice(list(BINARY))], [x, y], True)
            else:
                pair = self.run(*UNARY[numbers.choice(["tanh", "sin", "negative"])], [x], True)
            made += [pair] if isinstance(pair, tuple) else []
        return made

    # ------------------------------------------------------------------ writing

    def write(self, x, operands, recording, act, mirror):
        """A write through both engines; the engine refuses exactly when the model says so."""
        model = x[1]
        tracked = any(one.value.tracked for one in (model, model.base, *(other for _, other in operands)))
        stale = any(one.stale for one in (model, *(other for _, other in operands)))
        leaf = model.value.leaf or model.base.value.leaf
        refused = model.expanded or (recording and (stale or (tracked and (leaf or model.sealed))))
        with grad_mode(recording):
            if refused:
                with pytest.raises(InplaceError):
                    act()
                return
            act()
        mirror()

    @rule(x=tensors, y=tensors, name=st.sampled_from(sorted(BINARY)), recording=RECORDING)
    def write_binary(self, x, y, name, recording):
        (real, model), (other, other_model) = x, y
        if not fits(real, other):
            return
        function, rules = BINARY[name]
        if np.abs(function(model.data, other_model.data)).max() > 1e4:
            return
        op = elementwise.__dict__[name]

        def mirror():
            value = naive.computed(function, rules, [model, other_model], recording, target=model)
            model.write(value.value, recording)

        self.write(x, [y], recording, lambda: update(op, real, (other,)), mirror)

    @rule(x=tensors, name=st.sampled_from(sorted(IN_PLACE)), recording=RECORDING)
    def write_unary(self, x, name, recording):
        real, model = x
        function, rules = UNARY[name]
        if np.abs(function(model.data)).max() > 1e4:
            return

        def mirror():
            model.write(naive.computed(function, rules, [model], recording, target=model).value, recording)

        self.write(x, [], recording, lambda: update(IN_PLACE[name], real, ()), mirror)

    @rule(x=tensors, y=tensors, recording=RECORDING)
    def copy(self, x, y, recording):
        (real, model), (other, other_model) = x, y
        if not fits(real, other):
            return

        def mirror():
            model.write(broadcast(other_model, model, recording), recording)

        self.write(x, [y], recording, lambda: real.copy_(other), mirror)

    @rule(x=tensors, y=tensors, kind=views(), recording=RECORDING, multiplying=st.booleans())
    def write_to_part(self, x, y, kind, recording, multiplying):
        self.write_part(x, y, kind, recording, multiplying)

    def write_part(self, x, y, kind, recording, multiplying):
        (real, model), (other, other_model) = x, y
        index = index_of(kind, real.shape)
        if index is None or not fits(real.array[index], other) or np.abs(other_model.data).max() > 1e2:
            return
        if recording and model.stale:
            with pytest.raises(InplaceError, match="Take the view again"):
                real[index] = other
            return
        if other_model.base is model.base and np.array_equal(other_model.places, model.places[index]):
            return  # t[i] = t[i], like the last step of t[i] += v, writes nothing

        def act():
            if multiplying:
                real[index] *= other
            else:
                real[index] = other

        def mirror():
            part = model.view(lambda a: a[index], recording)
            if multiplying:
                function, rules = BINARY["multiply"]
                value = naive.computed(function, rules, [part, other_model], recording, target=part).value
            else:
                value = broadcast(other_model, part, recording)
            part.write(value, recording)
            if model.stale and recording:
                model.take_again()

        part = (None, model.view(lambda a: a[index], recording))
        part[1].sealed = model.sealed  # t[i] = v makes its view and writes it in one step
        self.write(part, [y], recording, act, mirror)
        self.written.append(x)

    @rule(target=tensors, x=tensors, y=tensors, kind=views(), multiplying=st.booleans(), seed=SEEDS)
    def fill_in(self, x, y, kind, multiplying, seed):
        """What programs do: compute a tensor, write a part of it, differentiate it."""
        filled = self.run(*UNARY["negative"], [x], True)
        index = index_of(kind, x[0].shape)
        if not isinstance(filled, tuple) or index is None:
            return filled
        if not fits(x[0].array[index], y[0]):
            y = self.make(np.random.default_rng(seed).normal(size=x[0].array[index].shape), False)
        self.write_part(filled, y, kind, True, multiplying)
        self.backward([filled], seed, True)
        return filled

    @rule(target=tensors, x=tensors, y=tensors, seed=SEEDS)
    def residual(self, x, y, seed):
        """Two paths to x, and one gradient for all: (x + y) + x."""
        if not fits(x[0], y[0]):
            return multiple()
        inner = self.run(*BINARY["add"], [x, y], True)
        outer = self.run(*BINARY["add"], [inner, x], True) if isinstance(inner, tuple) else inner
        if isinstance(outer, tuple):
            self.backward([outer], seed, True)
        return outer

    @rule(x=tensors, y=tensors, seed=SEEDS, recording=RECORDING)
    def write_masked(self, x, y, seed, recording):
        (real, model), (other, other_model) = x, y
        mask = np.random.default_rng(seed).random(real.shape) < 0.5
        if other.array.size != 1 or other.ndim:
            other, other_model = wrap(np.array(0.5)), naive.Tensor(0.5)

        def mirror():
            rules = [
                (lambda g, out, x, v: np.where(mask, 0.0, g), []),
                (lambda g, out, x, v: np.where(mask, g, 0.0).sum(), []),
            ]
            function = lambda a, v: np.where(mask, v, a)
            tracked = recording and (model.value.tracked or other_model.value.tracked)
            model.write(naive.computed(function, rules, [model, other_model], tracked).value, recording)

        def act():
            real[mask] = other

        self.write(x, [(other, other_model)], recording, act, mirror)

    # ------------------------------------------------------------------ gradients

    @rule(roots=st.lists(tensors, min_size=1, max_size=3), seed=SEEDS, retain=st.booleans())
    def backward_from(self, roots, seed, retain):
        self.backward(roots, seed, retain)

    def backward(self, roots, seed, retain):
        numbers = np.random.default_rng(seed)
        upstreams = [numbers.normal(size=real.shape) for real, _ in roots]
        given = [wrap(upstream.copy()) for upstream in upstreams]
        act = lambda: backward([real for real, _ in roots], given, retain_graph=retain)
        if not all(real.requires_grad for real, _ in roots):
            if not any(model.stale for _, model in roots):
                with pytest.raises(GraphError, match="does not require grad"):
                    act()
            return
        models = [model for _, model in roots]
        found, used = naive.gradients([model.value for model in models], upstreams)
        if self.refused(act, models, used, retain):
            for leaf, leaf_model in self.leaves:  # a pass that was refused half-way has reached some leaves
                leaf.grad = leaf_model.grad = None
            return
        assert all(np.array_equal(one.array, upstream) for one, upstream in zip(given, upstreams, strict=True))
        for _, leaf in self.leaves:
            if leaf.value in found:
                leaf.grad = found[leaf.value] + (0.0 if leaf.grad is None else leaf.grad)

    @rule(root=tensors, seed=SEEDS, retained=st.integers(0, 3))
    def backward_again_and_again(self, root, seed, retained):
        """Passes that keep the graph add up; the one after the pass that freed it is refused."""
        if root[0].requires_grad:
            for number in range(retained + 2):
                self.backward([root], seed + number, number < retained)

    @rule(
        roots=st.lists(tensors, min_size=1, max_size=3),
        wanted=st.lists(tensors, min_size=1, max_size=3),
        seed=SEEDS,
        retain=st.booleans(),
    )
    def grad(self, roots, wanted, seed, retain):
        roots = [pair for pair in roots if pair[0].requires_grad]
        wanted = [pair for pair in wanted if pair[0].requires_grad]
        if not roots or not wanted:
            return
        numbers = np.random.default_rng(seed)
        upstreams = [numbers.normal(size=real.shape) for real, _ in roots]
        models = [model for _, model in roots]
        values = [model.value for _, model in wanted]
        found, used = naive.gradients([model.value for model in models], upstreams, values)
        results = []

        def act():
            outputs, inputs = [real for real, _ in roots], [real for real, _ in wanted]
            given = [wrap(upstream) for upstream in upstreams]
            results.extend(grad(outputs, inputs, given, retain_graph=retain, allow_unused=True))

        if self.refused(act, models, used, retain):
            return
        for value, result in zip(values, results, strict=True):
            assert (value in found) == (result is not None)
            if result is not None:
                np.testing.assert_allclose(result.array, found[value], rtol=1e-9, atol=1e-9)

    def refused(self, act, models, used, retain):
        """Run a backward pass; whether it was refused, which it must be exactly when the model says so."""
        stale, freed = any(value.stale() for value in used), {value.freed for value in used}
        stale_root = any(model.stale for model in models)
        try:
            act()
        except InplaceError:
            assert stale or stale_root
        except GraphError as error:
            if "a second time" not in str(error):
                raise
            assert freed & {True, None}
        else:
            assert not stale
            assert not stale_root
            assert True not in freed
            for value in used:
                if value.saves and not retain:
                    value.freed = True
            return False
        for value in used:
            if value.saves and not value.freed and not stale_root:
                value.freed = None
        return True

    @rule()
    def zero_grad(self):
        for leaf, model in self.leaves:
            leaf.grad = model.grad = None

    def teardown(self):
        """Differentiate what was made last and what was written last, so that no example ends unexamined."""
        for number, pair in enumerate([*self.alive[-8:], *self.written[-6:]]):
            if pair[0].requires_grad:
                self.backward([pair], number, True)

    # ------------------------------------------------------------------ what always holds

    @invariant()
    def values_agree(self):
        for real, model in self.alive:
            np.testing.assert_allclose(real.array, model.data, rtol=1e-9, atol=1e-9)

    @invariant()
    def tracking_agrees(self):
        for real, model in self.alive:
            assert real.requires_grad == model.value.tracked

    @invariant()
    def gradients_agree(self):
        for real, model in self.leaves:
            assert (real.grad is None) == (model.grad is None)
            if model.grad is not None:
                np.testing.assert_allclose(real.grad.array, model.grad, rtol=1e-9, atol=1e-9)
                assert real.grad.shape == real.shape


def compatible(x, y):
    return all(one == other or 1 in (one, other) for one, other in zip(x.shape[::-1], y.shape[::-1], strict=False))


def fits(target, value):
    """Whether a value broadcasts to the target's shape as it is."""
    return compatible(target, value) and np.broadcast_shapes(target.shape, value.shape) == target.shape


def broadcast(value, target, recording):
    shape = target.places.shape
    return naive.computed(lambda v: np.broadcast_to(v, shape), [(lambda g, out, v: g, [])], [value], recording).value


GraphMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=30)
TestGraphMachine = GraphMachine.TestCase


def _write_everywhere(self, shape):
    return np.ones(shape, dtype=bool)


def _overwrite(self, buffer):
    buffer[self.index] = self.gradient


class _Keeps(backward_pass._Walk):
    def __init__(self, on_tensors, create_graph, retain_graph, on_path):
        super().__init__(on_tensors, create_graph, True, on_path)


class _Frees(backward_pass._Walk):
    def __init__(self, on_tensors, create_graph, retain_graph, on_path):
        super().__init__(on_tensors, create_graph, False, on_path)


class _CountsTwice(backward_pass._Walk):
    """Adds where it should begin: a gradient that stands is written into as if it were the pass's own."""

    def add(self, node, value):
        if isinstance(value, np.ndarray) and node in self.pending:
            self.owned.add(node)
        super().add(node, value)


def _replace_gradient(node, tensor, gradient, create_graph):
    if tensor is not None:
        tensor._grad = wrap(np.array(gradient))


def _grad_mode_left_on(recording):
    return contextlib.nullcontext()


@pytest.mark.parametrize(
    ("where", "name", "fault"),
    [
        pytest.param(Geometry, "outside", _write_everywhere, id="a write keeps the gradient of what it overwrote"),
        pytest.param(View, "stale", lambda self: False, id="stale views are read"),
        pytest.param(versions, "written_since", lambda *_: (False, None), id="stale saved arrays are used"),
        pytest.param(Scatter, "add_into", _overwrite, id="slices overwrite each other's gradient"),
        pytest.param(backward_pass, "_Walk", _Keeps, id="a graph is never freed"),
        pytest.param(backward_pass, "_Walk", _Frees, id="retain_graph is not heard"),
        pytest.param(backward_pass, "_Walk", _CountsTwice, id="additions write into what others hold"),
        pytest.param(backward_pass, "_accumulate", _replace_gradient, id="a second backward replaces gradients"),
        pytest.param(Tensor, "detach", lambda self: wrap(self.array, self.node), id="detach keeps the graph"),
        pytest.param(sys.modules[__name__], "grad_mode", _grad_mode_left_on, id="no_grad records"),
    ],
)
def test_the_machine_finds_planted_faults(monkeypatch, where, name, fault):
    monkeypatch.setattr(where, name, fault)
    search = settings(
        max_examples=300, stateful_step_count=30, phases=[Phase.generate], derandomize=True, database=None
    )
    with pytest.raises(BaseException):  # noqa: B017  (whatever it finds, it must find it)
        run_state_machine_as_test(GraphMachine, settings=search)
