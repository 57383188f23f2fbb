"""A training step, seen through an observer, is a list of array operations that can be run again.

The recorder below keeps what every op saw: arrays and parameters. Replaying the list on other data, with nothing of the
engine but each op's forward function, must give what running the step eagerly gives, bit for bit. That is the proof
that a step can be captured.
"""

from __future__ import annotations

import numpy as np
import pytest

import autograd_ff as af
from autograd_ff import nn, optim
from autograd_ff.engine import Observer, observe


class Recorder(Observer):
    traces_backward = True

    def __init__(self):
        self.calls = []

    def op(self, op, inputs, params, outputs, node, scope):
        self.calls.append((op, list(inputs), dict(params), outputs))  # holds the arrays, so that ids stay theirs


def replay(calls, replaced):
    """Run recorded calls again. ``replaced`` maps ids of arrays to the arrays that stand in for them."""
    arrays = dict(replaced)
    for op, inputs, params, outputs in calls:
        result = op.forward(*(arrays.get(id(one), one) for one in inputs), **params)
        results = result if isinstance(result, tuple) else (result,)
        for recorded, fresh in zip(outputs, results, strict=True):
            if recorded is not None:
                arrays[id(recorded)] = np.asarray(fresh)
    return arrays


class Training:
    def __init__(self, dropout=0.0, make_optimizer=optim.Adam, tied=False):
        af.manual_seed(0)
        self.model = nn.Sequential(
            nn.Linear(12, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 5)
        )
        if tied:
            self.model[3].weight = self.model[5].weight = nn.Parameter(af.randn(16, 16) * 0.2)
            self.model[5].bias = nn.Parameter(af.zeros(16))
        self.optimizer = make_optimizer(self.model.parameters(), lr=1e-2)
        self.criterion = nn.CrossEntropyLoss()
        draw = np.random.default_rng(1)
        self.batches = [
            (draw.standard_normal((8, 12), dtype=np.float32), draw.integers(0, 5, 8).astype(np.int64)) for _ in range(5)
        ]
        for images, labels in self.batches[:3]:
            self.step(images, labels)

    def step(self, images, labels):
        self.optimizer.zero_grad()
        loss = self.criterion(self.model(af.from_numpy(images)), af.from_numpy(labels))
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return loss


OPTIMIZERS = {
    "adam": optim.Adam,
    "adamw": lambda parameters, lr: optim.AdamW(parameters, lr, weight_decay=0.1),
    "sgd": lambda parameters, lr: optim.SGD(parameters, lr, momentum=0.9, nesterov=True),
    "rmsprop": optim.RMSprop,
    "adagrad": lambda parameters, lr: optim.Adagrad(parameters, lr, lr_decay=0.1, initial_accumulator_value=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("tied", [False, True])
def test_replay_equals_eager_bit_for_bit(name, dropout, tied):
    eager = Training(dropout, OPTIMIZERS[name], tied)
    af.manual_seed(7)
    expected_loss = eager.step(*eager.batches[4])

    traced = Training(dropout, OPTIMIZERS[name], tied)
    before = [np.array(one) for one in flat_arrays(traced)]
    images, labels = traced.batches[3]
    recorder = Recorder()
    with observe(recorder):
        loss = traced.step(images, labels)
    for array, value in zip(flat_arrays(traced), before, strict=True):
        np.copyto(array, value)

    af.manual_seed(7)
    arrays = replay(recorder.calls, {id(images): traced.batches[4][0], id(labels): traced.batches[4][1]})
    assert arrays[id(loss.array)].tobytes() == expected_loss.array.tobytes()
    for mine, theirs in zip(traced.model.parameters(), eager.model.parameters(), strict=True):
        assert mine.array.tobytes() == theirs.array.tobytes()
        assert arrays[id(mine.grad.array)].tobytes() == theirs.grad.array.tobytes()
    for mine, theirs in zip(flat_arrays(traced), flat_arrays(eager), strict=True):
        assert mine.tobytes() == theirs.tobytes()


def flat_arrays(training):
    """Parameters and moments, as the optimizer keeps them."""
    found = []
    for layout in training.optimizer._layouts:
        for buffer in layout.buffers:
            found += [buffer.array, *(buffer.moments[name] for name in sorted(buffer.moments))]
    assert found
    return found


def test_a_traced_step_equals_an_untraced_one():
    plain, traced = Training(), Training()
    expected = plain.step(*plain.batches[3])
    with observe(Recorder()):
        loss = traced.step(*traced.batches[3])
    assert loss.array.tobytes() == expected.array.tobytes()
    for mine, theirs in zip(traced.model.parameters(), plain.model.parameters(), strict=True):
        assert mine.array.tobytes() == theirs.array.tobytes()


def test_a_computation_outside_of_the_ops_is_noticed():
    """The comparison must be able to fail: NumPy behind the engine's back is not in the record."""

    class Cheating(Training):
        def step(self, images, labels):
            shifted = np.array(images) + images.mean()
            return super().step(shifted.astype(np.float32), labels)

    eager = Cheating()
    expected = eager.step(*eager.batches[4])
    traced = Cheating()
    before = [np.array(one) for one in flat_arrays(traced)]
    images, labels = traced.batches[3]
    recorder = Recorder()
    with observe(recorder):
        loss = traced.step(images, labels)
    for array, value in zip(flat_arrays(traced), before, strict=True):
        np.copyto(array, value)
    arrays = replay(recorder.calls, {id(images): traced.batches[4][0], id(labels): traced.batches[4][1]})
    assert arrays[id(loss.array)].tobytes() != expected.array.tobytes()
