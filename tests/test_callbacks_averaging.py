"""The exponential moving average of weights, against a naive one in float64; in loops, in `Trainer.fit`, and resumed."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import nn, optim
from autograd_ff.errors import DtypeError, InplaceError, ShapeError, StateDictError
from autograd_ff.training.callback import Callback
from autograd_ff.training.callbacks import EarlyStopping, ExponentialMovingAverage, LambdaCallback, ModelCheckpoint
from autograd_ff.training.trainer import Trainer


def naive(history, decay, correction):
    """The average of arrays in float64; the first is what the model began with."""
    if correction == "bias":
        powers = decay ** np.arange(len(history) - 2, -1, -1)
        return np.tensordot(powers / powers.sum(), np.stack(history[1:]).astype(np.float64), 1)
    average = history[0].astype(np.float64)
    for n, value in enumerate(history[1:]):
        d = min(decay, (1 + n) / (10 + n)) if correction == "warm-up" else decay
        average = d * average + (1 - d) * value
    return average


def network(tied=False):
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    if tied:
        net[4] = nn.Linear(4, 4)
        net[4].weight = net[2].weight
    return net


def values(model):
    return {name: parameter.array.copy() for name, parameter in model.named_parameters()}


def step(model, optimizer):
    optimizer.zero_grad()
    (model(af.randn(5, 3)) ** 2).mean().backward()
    optimizer.step()


OPTIMIZERS = {
    "flat": lambda model: optim.Adam(model.parameters(), lr=0.1),
    "reversed": lambda model: optim.Adam(list(model.parameters())[::-1], lr=0.1),
    "groups": lambda model: optim.SGD([{"params": [p]} for p in model.parameters()], lr=0.1),
    "half": lambda model: optim.SGD(list(model.parameters())[::2], lr=0.1),
}


def check_average(cls, how, decay, correction, steps, tied, moved):
    model = network(tied)
    optimizer = OPTIMIZERS[how](model)
    average = cls(model, decay=decay, correction=correction)
    history = [values(model)]
    for number in range(steps):
        step(model, optimizer)
        if number == moved:  # memory of its own, scattered and not contiguous
            model[2].weight.data = af.tensor(np.asfortranarray(model[2].weight.array))
        average.update()
        history.append(values(model))
    with average.applied():
        found = values(model)
    for name, array in found.items():
        expected = naive([one[name] for one in history], decay, correction)
        np.testing.assert_allclose(array, expected, rtol=2e-5, atol=2e-6)
    assert all(np.array_equal(array, history[-1][name]) for name, array in values(model).items())


@settings(max_examples=60)
@given(
    st.sampled_from(sorted(OPTIMIZERS)),
    st.sampled_from([0.0, 0.5, 0.9, 0.999]),
    st.sampled_from(["warm-up", "bias", None]),
    st.integers(1, 12),
    st.booleans(),
    st.integers(0, 20),
)
def test_the_average_is_the_naive_one(how, decay, correction, steps, tied, moved):
    check_average(ExponentialMovingAverage, how, decay, correction, steps, tied, moved)


def planted():
    class SlightlyOff(ExponentialMovingAverage):
        def _factor(self):
            return super()._factor() * 1.001

    class CountsFromOne(ExponentialMovingAverage):
        def _advance(self):
            self.updates += 1
            super()._advance()
            self.updates -= 1

    class ForgetsARun(ExponentialMovingAverage):
        def _settle(self):
            super()._settle()
            self._runs = self._runs[:-1]

    class LeavesTheAverage(ExponentialMovingAverage):
        def restore(self):
            self._raw = None

    return [SlightlyOff, CountsFromOne, ForgetsARun, LeavesTheAverage]


@pytest.mark.parametrize("cls", planted(), ids=lambda cls: cls.__name__)
def test_planted_faults_are_caught(cls):
    af.manual_seed(1)
    with pytest.raises(AssertionError):
        check_average(cls, "flat", 0.9, "warm-up", 6, False, 99)


def test_weights_in_one_buffer_are_one_run():
    model = network()
    average = ExponentialMovingAverage(model)
    assert len(average._runs) == 6
    optimizer = optim.Adam(model.parameters())
    average.update()
    assert len(average._runs) == 1
    arrays = [parameter.array for parameter in model.parameters()]
    average.apply()
    average.restore()
    step(model, optimizer)
    assert all(one is parameter.array for one, parameter in zip(arrays, model.parameters(), strict=True))


def test_a_graph_made_before_is_stale_and_says_so():
    model = network()
    loss = model(af.randn(2, 3)).sum()
    with ExponentialMovingAverage(model).applied(), pytest.raises(InplaceError):
        loss.backward()


def test_equal_weights_stay_equal_bit_for_bit():
    model = network()
    before = values(model)
    average = ExponentialMovingAverage(model, decay=0.9)
    for _ in range(50):
        average.update()
    average.apply()
    assert all(np.array_equal(array, before[name]) for name, array in values(model).items())


def test_half_precision_is_averaged_in_single():
    model = network().half()
    average = ExponentialMovingAverage(model, decay=0.999, correction=None)
    with af.no_grad():
        model[0].weight.copy_(np.float16(1.0))
    start = average.state_dict()["average"]["0.weight"].array
    assert start.dtype == np.float32
    for _ in range(1000):
        average.update()
    with average.applied():
        found = model[0].weight.array.copy()
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, 1 + (start - 1) * 0.999**1000, rtol=2e-3)


def test_buffers_by_choice():
    for use in (False, True):
        norm = nn.BatchNorm1d(2) if hasattr(nn, "BatchNorm1d") else None
        if norm is None:
            pytest.skip("no layer with running statistics")
        average = ExponentialMovingAverage(norm, decay=0.5, correction=None, use_buffers=use)
        start = norm.running_mean.array.copy()
        norm(af.ones(4, 2) + af.randn(4, 2))
        average.update()
        present = norm.running_mean.array.copy()
        with average.applied():
            expected = (start + present) / 2 if use else present
            np.testing.assert_allclose(norm.running_mean.array, expected, rtol=1e-6)


def test_a_compiled_step_repeats_the_update():
    def train(compiled):
        af.manual_seed(0)
        model = network()
        optimizer = optim.Adam(model.parameters(), lr=0.05)
        average = ExponentialMovingAverage(model, decay=0.9)

        def one(x):
            optimizer.zero_grad()
            loss = (model(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            average.update()
            return loss

        run = af.compile(one, fast=False, threads=False) if compiled else one
        for _ in range(8):
            run(af.randn(5, 3))
        assert average.updates == 8
        return average.state_dict()["average"]

    plain, replayed = train(False), train(True)
    for name, tensor in plain.items():
        np.testing.assert_allclose(replayed[name].array, tensor.array, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((0.999,), DtypeError, "decay=0.999"),
        ((None, 1.0), ShapeError, "decay is from 0"),
        ((None, -0.1), ShapeError, "decay is from 0"),
    ],
)
def test_wrong_arguments(arguments, error, match):
    with pytest.raises(error, match=match):
        ExponentialMovingAverage(*arguments)
    with pytest.raises(ShapeError, match="correction"):
        ExponentialMovingAverage(correction="adam")
    with pytest.raises(ShapeError, match="every"):
        ExponentialMovingAverage(every=0)


def test_the_state_of_another_model_is_refused():
    state = ExponentialMovingAverage(network()).state_dict()
    state["updates"] = 3
    other = ExponentialMovingAverage(nn.Linear(3, 1))
    other.load_state_dict(state)
    with pytest.raises(StateDictError, match="are not of this model"):
        other.update()
    same = ExponentialMovingAverage(nn.Sequential(nn.Linear(2, 4)))
    same.load_state_dict({**state, "average": {name: one for name, one in state["average"].items() if name[0] == "0"}})
    with pytest.raises(StateDictError, match=r"'0.weight' has shape \(4, 3\)"):
        same.update()


# ---------------------------------------------------------------- in fit


X = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
Y = X.sum(1, keepdims=True)


class Watch(Callback):
    """The weights after each step, at each validation, and at the end of each epoch."""

    order = 10

    def __init__(self):
        self.steps, self.validated, self.ends = [], [], []

    def on_train_begin(self, logs=None):
        self.steps.append(values(self.model))

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(values(self.model))

    def on_test_begin(self, logs=None):
        self.validated.append(values(self.model))

    def on_epoch_end(self, epoch, logs=None):
        self.ends.append(values(self.model))


def trained(epochs, *callbacks, seed=0, **options):
    af.manual_seed(seed)
    model = network()
    trainer = Trainer(model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.05))
    options = {"validation_data": (X, Y), "batch_size": 8, "checks": False, "verbose": 0, **options}
    return trainer, trainer.fit(X, Y, epochs=epochs, callbacks=callbacks, **options)


def close(found, expected):
    return all(np.allclose(found[name], expected[name], rtol=1e-5, atol=1e-6) for name in expected)


def average_of(steps, decay=0.9):
    return {name: naive([one[name] for one in steps], decay, "warm-up") for name in steps[0]}


@pytest.mark.parametrize("validation", [True, False])
@pytest.mark.parametrize("at_end", [True, False])
def test_validation_and_end_by_choice(validation, at_end):
    watch = Watch()
    plain, _ = trained(3)
    trainer, _ = trained(3, ExponentialMovingAverage(decay=0.9, validation=validation, at_end=at_end), watch)
    for epoch in range(3):
        steps = watch.steps[: 1 + 3 * (epoch + 1)]
        expected = average_of(steps) if validation else steps[-1]
        assert close(watch.validated[epoch], expected)
        assert close(watch.ends[epoch], expected)
    assert all(np.array_equal(watch.steps[-1][name], array) for name, array in values(plain.model).items())
    assert close(values(trainer.model), average_of(watch.steps) if at_end else watch.steps[-1])


def test_every_so_many_batches():
    watch = Watch()
    average = ExponentialMovingAverage(decay=0.9, every=2)
    trainer, _ = trained(2, average, watch)
    assert average.updates == 3
    assert close(values(trainer.model), average_of([watch.steps[at] for at in (0, 2, 4, 6)]))


@pytest.mark.parametrize("turned", [False, True])
def test_stopping_and_files_keep_the_weights_that_were_validated(tmp_path, turned):
    class Numbers(Callback):
        order = -1000

        def on_epoch_end(self, epoch, logs=None):
            logs["val_loss"] = [1.0, 0.5, 0.8, 0.9][epoch]

    watch = Watch()
    callbacks = [
        ExponentialMovingAverage(decay=0.9), EarlyStopping(patience=2),
        ModelCheckpoint(tmp_path / "best", save_best_only=True, save_weights_only=True), Numbers(), watch,
    ]  # fmt: skip
    trainer, _ = trained(9, *(callbacks[::-1] if turned else callbacks))
    best = average_of(watch.steps[:7])
    assert close(values(trainer.model), best)
    loaded = af.load(tmp_path / "best")
    assert close({name: tensor.array for name, tensor in loaded.items()}, best)
    assert trainer.stop_reason == "patience"


@pytest.mark.parametrize("where", ["on_train_batch_end", "on_test_batch_end", "on_epoch_end"])
@pytest.mark.parametrize("at_end", [True, False])
def test_after_an_exception_the_weights_are_whole(where, at_end):
    watch = Watch()

    def fail(*arguments, **named):
        if len(watch.steps) >= 6:
            raise ZeroDivisionError

    af.manual_seed(0)
    model = network()
    trainer = Trainer(model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.05))
    failing = LambdaCallback(**{where: fail})
    failing.order = 20
    callbacks = [ExponentialMovingAverage(decay=0.9, at_end=at_end), watch, failing]
    with pytest.raises(ZeroDivisionError):
        trainer.fit(X, Y, epochs=5, validation_data=(X, Y), batch_size=8, checks=False, verbose=0, callbacks=callbacks)
    present = watch.steps[-1]
    assert close(values(model), average_of(watch.steps) if at_end else present)


def test_a_second_training_goes_on():
    average, watch = ExponentialMovingAverage(decay=0.9), Watch()
    trainer, _ = trained(1, average, watch)
    assert average.updates == 3
    trainer.fit(X, Y, epochs=1, batch_size=8, checks=False, verbose=0, callbacks=[average])
    assert average.updates == 6
    other, _ = trained(1, average, seed=4)
    assert average.updates == 3
    assert other.model is not trainer.model


@pytest.mark.parametrize("cut", [1, 2])
def test_resumed_is_the_same_bit_for_bit(tmp_path, cut):
    whole, _ = trained(4, ExponentialMovingAverage(decay=0.9))
    trained(cut, ExponentialMovingAverage(decay=0.9), checkpoint=tmp_path / "state")
    resumed, _ = trained(4, ExponentialMovingAverage(decay=0.9), seed=9, resume=tmp_path / "state")
    assert all(np.array_equal(array, values(whole.model)[name]) for name, array in values(resumed.model).items())


def test_a_compiled_fit_averages_the_same():
    options = {"compile": {"fast": False, "threads": False}}
    plain, _ = trained(3, ExponentialMovingAverage(decay=0.9))
    compiled, _ = trained(3, ExponentialMovingAverage(decay=0.9), **options)
    assert close(values(compiled.model), values(plain.model))


def test_a_copy_of_the_model_is_left_alone():
    model = network()
    average = ExponentialMovingAverage(model)
    twin = copy.deepcopy(model)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    before = values(twin)
    step(model, optimizer)
    average.update()
    average.apply()
    assert all(np.array_equal(before[name], array) for name, array in values(twin).items())
