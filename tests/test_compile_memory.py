"""How much memory the plan of a compiled step takes, and that nothing lies where something else still lives."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import nn
from autograd_ff.compiler import allocate as memory
from autograd_ff.compiler.allocate import ALIGNMENT
from autograd_ff.finetuning import checkpoint
from autograd_ff.nn import functional as F


def train(model, optimizer, compiled, fast=False, on_loss=lambda loss: None):
    def step(inputs, targets):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return af.compile(step, fast=fast) if compiled else step


class Words(nn.Module):
    """A classifier of texts, with an embedding much larger than what it computes."""

    def __init__(self, count=4000, width=64):
        super().__init__()
        self.table = nn.Embedding(count, width)
        self.layers = nn.Sequential(nn.Linear(width, 256), nn.GELU(), nn.Dropout(0.1), nn.Linear(256, 4))

    def forward(self, tokens):
        return self.layers(self.table(tokens).mean(1))


def batches(number, count=4000):
    generator = np.random.default_rng(0)
    for _ in range(number):
        yield af.from_numpy(generator.integers(0, count, (64, 20))), af.from_numpy(generator.integers(0, 4, 64))


def run(compiled, fast=False):
    af.manual_seed(0)
    model = Words()
    optimizer = af.optim.AdamW(model.parameters(), lr=1e-2)
    step = train(model, optimizer, compiled, fast)
    losses = [step(*batch).item() for batch in batches(8)]
    return step, model, losses


@pytest.mark.parametrize("fast", [False, True])
def test_values_that_lie_in_gradients_to_come_are_right(fast):
    if fast:
        pytest.importorskip("numba")
    step, model, losses = run(True, fast)
    _, expected, usual = run(False)
    rounding = {"rtol": 1e-4, "atol": 1e-6} if fast else {"rtol": 0, "atol": 0}
    np.testing.assert_allclose(losses, usual, **rounding)
    for one, other in zip(model.parameters(), expected.parameters(), strict=True):
        np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), **rounding)
        np.testing.assert_allclose(one.grad.numpy(), other.grad.numpy(), **rounding)
    assert step.plan.arena.kept >= memory.SHARED_FROM
    offsets = [one.offset for one in places(step.plan)]
    assert min(offsets) < 0


def places(plan):
    made = (value.memory for one in plan.instructions for value in (*one.made, *one.writes))
    return list(dict.fromkeys(one for one in made if one.kind == "internal" and not one.kept))


def test_nothing_is_written_over_a_gradient_that_is_there():
    plan = run(True)[0].plan
    arena = plan.arena
    stretches = {}  # of bytes, by the instruction that wrote them last
    for at, one in enumerate(plan.instructions):
        for value in (*one.made, *one.writes):
            if value.memory.kind != "internal":
                continue
            low, high = value.bounds
            start = memory_start(plan, value.memory)
            if value.memory.kept:
                stretches[start + low, start + high] = at
            else:
                for (first, end), since in stretches.items():
                    assert start + high <= first or end <= start + low, (at, since, one)
    assert stretches
    assert max(end for _, end in stretches) <= arena.kept


def memory_start(plan, one):
    if not one.kept:
        return plan.arena.kept + one.offset
    return one.array.__array_interface__["data"][0] - plan.arena.array.__array_interface__["data"][0]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10), st.integers(1, 5)), max_size=40), st.booleans())
def test_tenants_keep_apart(drawn, above):
    """Among themselves, and from what stands there."""
    tenants = [
        memory._Tenant(start, start + length, size * ALIGNMENT, [memory.Memory("internal", number)])
        for number, (start, length, size) in enumerate(drawn)
    ]
    standing = [] if above else [(-4 * ALIGNMENT, -ALIGNMENT, 20), (-ALIGNMENT, 0, 5)]
    low = 0 if above else -4 * ALIGNMENT
    size = memory._place(tenants, standing, low)
    placed = [(one.memories[0].offset, one.memories[0].offset + one.size, one.start, one.stop) for one in tenants]
    assert size == max([0, *(end for _, end, _, _ in placed)])
    everything = [*placed, *((offset, end, since, 1000) for offset, end, since in standing)]
    for number, (offset, end, start, stop) in enumerate(everything):
        assert offset >= low
        assert offset % ALIGNMENT == 0
        for before, after, since, until in everything[:number]:
            assert end <= before or after <= offset or stop < since or until < start


def test_large_values_first_leave_no_holes():
    """In order of time the two small ones would lie so that the large one fits nowhere."""
    sizes = [(0, 1, 2), (0, 5, 1), (2, 5, 2), (1, 3, 1)]
    tenants = [
        memory._Tenant(start, stop, size * ALIGNMENT, [memory.Memory("internal", number)])
        for number, (start, stop, size) in enumerate(sizes)
    ]
    assert memory._place(tenants, [], 0) == 4 * ALIGNMENT


def test_the_gradient_of_an_embedding_has_no_zeros_of_its_own():
    step, model, _ = run(True)
    size = model.table.weight.detach().numpy().nbytes
    constants = [one for one in step.plan.memories if one.kind == "constant" and one.array is not None]
    assert all(one.array.nbytes < size for one in constants)
    assert all(one.size < size for one in step.plan.memories if one.kind == "fresh")
    assert "scatter_into" in {
        one.function.__name__ for one in step.plan.instructions if hasattr(one.function, "__name__")
    }


def test_what_is_added_into_numbers_or_negative_zeros_keeps_them():
    for number in (-0.0, 2.0):
        start = af.full((3, 40), number)

        @af.compile(fast=False)
        def step(values, start=start):
            return start.index_add(0, af.tensor([1, 1]), values)

        with af.no_grad():
            found = [step(af.full((2, 40), value)) for value in (1.0, 2.0, 3.0)][-1].numpy()
        expected = np.full((3, 40), number, np.float32)
        expected[1] += 6
        assert found.tobytes() == expected.tobytes()


def test_what_an_op_allocates_is_freed_after_its_last_use():
    drop = nn.Dropout(0.5)

    @af.compile(fast=False)
    def step(x):
        for _ in range(4):
            x = drop(x).tanh()
        return x

    with af.no_grad():
        for _ in range(3):
            step(af.ones(10))
    assert step.source.count("del ") == 4


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_checkpoint_keeps_nothing_in_a_compiled_step(dropout):
    """Also where weights are frozen, so that what is computed again is what was computed before."""
    sizes, losses = [], []
    for on in (False, True):
        af.manual_seed(0)
        layers = [
            nn.Sequential(nn.Linear(32, 256), nn.Tanh(), nn.Dropout(dropout), nn.Linear(256, 32)) for _ in range(6)
        ]
        for layer in layers:
            layer.requires_grad_(False)
        first, x = nn.Linear(32, 32), af.randn(50, 32)
        optimizer = af.optim.SGD(first.parameters(), lr=0.1)

        @af.compile(fast=False)
        def step(x, first=first, layers=layers, optimizer=optimizer, on=on):
            optimizer.zero_grad()
            h = first(x)
            for layer in layers:
                h = h + (checkpoint(layer, h) if on else layer(h))
            loss = (h - 1).square().mean()
            loss.backward()
            optimizer.step()
            return loss.detach()

        losses.append([step(x).item() for _ in range(4)])
        sizes.append(step.plan.arena_bytes)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert sizes[1] < 0.6 * sizes[0]


def test_a_gradient_stays_when_its_step_is_gone():
    step, model, _ = run(True)
    kept = model.table.weight.grad
    before = kept.numpy().copy()
    del step
    gc.collect()
    assert np.array_equal(model.table.weight.grad.numpy(), before)
