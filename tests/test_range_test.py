"""The learning rate range test: what it finds, and that it leaves nothing behind."""

from __future__ import annotations

import random

import numpy as np
import pytest

import autograd_ff as af
from autograd_ff import nn, optim
from autograd_ff.data import DataLoader, TensorDataset
from autograd_ff.errors import OptimizerError, ShapeError
from autograd_ff.functions.random import Generator
from autograd_ff.training import Callback, Trainer
from autograd_ff.training.range_test import _fitted, _steepest, learning_rate_range_test

OPTIMIZERS = {
    "SGD": lambda parameters: optim.SGD(parameters, lr=0.01, momentum=0.9),
    "Adam": lambda parameters: optim.Adam(parameters, lr=0.01),
    "RMSprop": lambda parameters: optim.RMSprop(parameters, lr=0.01),
    "Adagrad": lambda parameters: optim.Adagrad(parameters, lr=0.01),
}


def regression(optimizer=OPTIMIZERS["SGD"], seed=0):
    """A trainer with all that a step may change: dropout, running statistics, moments."""
    af.manual_seed(seed)
    x = af.randn(128, 4)
    model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 1))
    return Trainer(model, nn.MSELoss(), optimizer(model.parameters())), x, x.sum(1, keepdim=True)


def numbers(trainer):
    """Everything that a training goes on from, as plain data."""
    state = trainer.optimizer.state_dict()
    return {
        "model": {name: one.tolist() for name, one in trainer.model.state_dict().items()},
        "moments": {
            at: {name: value.tolist() if hasattr(value, "tolist") else value for name, value in entry.items()}
            for at, entry in state["state"].items()
        },
        "groups": state["param_groups"],
        "gradients": [None if one.grad is None else one.grad.tolist() for one in trainer.model.parameters()],
        "training": trainer.model.training,
        "trainer": (trainer.epoch, trainer.batch, trainer.stop_reason, trainer.part, trainer.check_finite),
        "random": (af.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()),
    }


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("trained", [False, True])
def test_it_leaves_everything_as_it_was(name, trained):
    trainer, x, y = regression(OPTIMIZERS[name])
    if trained:
        trainer.fit(x, y, epochs=2, checks=False, verbose=0)
        trainer.model.eval()
    before, history = numbers(trainer), trainer.history
    found = learning_rate_range_test(trainer, x, y, steps=40)
    assert len(found.losses) > 20
    assert numbers(trainer) == before
    assert trainer.history is history


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_training_after_it_is_the_training_without_it(name):
    weights = []
    for tested in (False, True):
        trainer, x, y = regression(OPTIMIZERS[name])
        if tested:
            learning_rate_range_test(trainer, x, y, steps=40)
        trainer.fit(x, y, epochs=3, checks=False, verbose=0)
        weights.append([one.tolist() for one in trainer.model.parameters()])
    assert weights[0] == weights[1]


def plain(seed=0):
    af.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))
    x = af.randn(128, 4)
    return Trainer(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.01)), x, x.sum(1, keepdim=True)


def test_the_losses_are_those_of_a_loop_with_these_rates():
    trainer, x, y = plain()
    loader = DataLoader(TensorDataset(x, y), batch_size=32)
    found = learning_rate_range_test(trainer, loader, lowest=1e-4, highest=1e-1, steps=12)
    expected = []
    for at, rate in enumerate(np.geomspace(1e-4, 1e-1, 12)):
        rows = slice(at % 4 * 32, at % 4 * 32 + 32)
        trainer.optimizer.param_groups[0]["lr"] = float(rate)
        trainer.optimizer.zero_grad()
        loss = trainer.loss(trainer.model(x[rows]), y[rows])
        loss.backward()
        trainer.optimizer.step()
        expected.append(loss.item())
    assert found.rates == np.geomspace(1e-4, 1e-1, 12).tolist()
    assert found.losses == expected
    assert not found.exploded


def test_an_explosion_ends_it_and_the_suggestion_is_below():
    trainer, x, y = plain()
    found = learning_rate_range_test(trainer, x, y, lowest=1e-4, highest=1e4)
    assert found.exploded
    assert len(found.rates) == len(found.losses) < 200
    # Of this quadratic-like loss any rate above a few tenths diverges.
    assert 1e-3 < found.suggestion < found.rates[-1] < 100
    trainer.learning_rate = found.suggestion
    history = trainer.fit(x, y, epochs=10, checks=False, verbose=0)
    assert history["loss"][-1] < 0.1 * found.losses[0]


def test_a_loss_that_is_not_finite_ends_it():
    model = nn.Linear(1, 1)
    optimizer = optim.SGD(model.parameters(), lr=1.0, maximize=True)
    trainer = Trainer(model, lambda output, target: (output - target).exp().sum(), optimizer)
    found = learning_rate_range_test(trainer, af.ones(8, 1), af.zeros(8, 1), lowest=0.1, explosion=1e300)
    assert not np.isfinite(found.losses[-1])
    assert np.isfinite(found.smoothed).all()
    assert found.exploded
    assert model.weight.isfinite().all()


def test_a_loss_that_never_falls_has_no_suggestion():
    model = nn.Linear(1, 1)
    trainer = Trainer(model, lambda output, target: output.sum() * 0.0 + 1.0, optim.SGD(model.parameters(), lr=1.0))
    found = learning_rate_range_test(trainer, af.ones(8, 1), af.ones(8, 1), steps=20)
    assert found.suggestion is None
    assert not found.exploded
    assert found.losses == [1.0] * 20


def test_the_steepest_place_of_a_known_curve():
    places = np.linspace(-10, 0, 201)
    smoothed, slopes = _fitted(places, 1 / (1 + np.exp(2 * (places + 4))))  # steepest at -4
    np.testing.assert_allclose(smoothed, 1 / (1 + np.exp(2 * (places + 4))), atol=0.02)
    assert abs(np.log(_steepest(np.exp(places).tolist(), smoothed, slopes)) + 4) < 0.1


def test_an_interruption_leaves_everything_as_it_was():
    class Interrupted(Trainer):
        count = 0

        def train_step(self, inputs, targets, weights=None):
            self.count += 1
            if self.count == 7:
                raise KeyboardInterrupt
            return super().train_step(inputs, targets, weights)

    trainer, x, y = regression()
    trainer = Interrupted(trainer.model, trainer.loss, trainer.optimizer)
    before = numbers(trainer)
    with pytest.raises(KeyboardInterrupt):
        learning_rate_range_test(trainer, x, y, steps=20)
    assert numbers(trainer) == before


def test_generators_of_data_and_model_are_put_back():
    trainer, x, y = plain()
    own = Generator().manual_seed(3)
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True, generator=own)
    before = own.get_state().tolist()
    learning_rate_range_test(trainer, loader, steps=10)
    assert own.get_state().tolist() == before


def test_groups_keep_their_proportions():
    af.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    seen = []

    class Watched(optim.SGD):
        def step(self, closure=None):
            seen.append([group["lr"] for group in self.param_groups])
            return super().step(closure)

    groups = [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[1].parameters(), "lr": 0.02}]
    trainer = Trainer(model, nn.MSELoss(), Watched(groups))
    found = learning_rate_range_test(trainer, af.ones(8, 4), af.ones(8, 1), highest=1e-2, steps=10)
    assert np.allclose([first for first, _ in seen], found.rates)
    assert np.allclose([second / first for first, second in seen], 0.2)
    assert [group["lr"] for group in trainer.optimizer.param_groups] == [0.1, 0.02]


@pytest.mark.parametrize(
    "options",
    [{"lowest": 0.0}, {"lowest": 2.0, "highest": 1.0}, {"highest": float("inf")}, {"steps": 9}, {"explosion": 0}],
)
def test_impossible_options(options):
    trainer, x, y = plain()
    with pytest.raises(ShapeError):
        learning_rate_range_test(trainer, x, y, **options)


def test_without_an_optimizer_and_in_the_middle_of_a_fit():
    trainer, x, y = plain()
    with pytest.raises(OptimizerError, match="needs an optimizer"):
        learning_rate_range_test(Trainer(trainer.model, trainer.loss), x, y)

    class Nested(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            learning_rate_range_test(self.trainer, x, y)

    with pytest.raises(OptimizerError, match="middle of a fit"):
        trainer.fit(x, y, callbacks=[Nested()], checks=False, verbose=0)


def test_the_picture_shows_losses_and_suggestion(tmp_path):
    pytest.importorskip("matplotlib")
    trainer, x, y = plain()
    found = learning_rate_range_test(trainer, x, y, lowest=1e-4, steps=60)
    axes = found.plot().axes[0]
    assert [len(line.get_xdata()) for line in axes.lines] == [len(found.losses), len(found.smoothed), 2]
    assert axes.lines[2].get_xdata()[0] == found.suggestion
    found.plot(tmp_path / "rates.png")
    assert (tmp_path / "rates.png").stat().st_size > 10_000
