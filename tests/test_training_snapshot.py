"""A snapshot of a trainer: whatever steps have changed is put back, wherever an optimizer has moved it meanwhile."""

from __future__ import annotations

import random

import numpy as np
import pytest

import autograd_ff as af
from autograd_ff import nn, optim
from autograd_ff.training import Trainer
from autograd_ff.training.snapshot import Snapshot


class WithTeacher(Trainer):
    """Two modules and two optimizers, and a generator of its own."""

    def __init__(self):
        af.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
        super().__init__(model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.1))
        self.teacher = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        self.second = optim.SGD(self.teacher.parameters(), lr=0.1, momentum=0.9)
        self.noise = np.random.default_rng(0)

    def step(self):
        x = af.randn(5, 3) + float(self.noise.normal()) + random.random() + np.random.rand()
        loss = ((self.model(x) - self.teacher(x)) ** 2).mean()
        for optimizer in (self.optimizer, self.second):
            optimizer.zero_grad()
        loss.backward()
        for optimizer in (self.optimizer, self.second):
            optimizer.step()


def seen(trainer):
    """All that a step may change, as plain data."""
    modules = (trainer.model, trainer.teacher)
    return [
        [one.tolist() for module in modules for one in module.state_dict().values()],
        [None if one.grad is None else one.grad.tolist() for module in modules for one in module.parameters()],
        [one.training for module in modules for one in module.modules()],
        [repr(one.state_dict()) for one in (trainer.optimizer, trainer.second)],
        [af.rand(1).item(), trainer.noise.random(), random.random(), np.random.rand()],
    ]


@pytest.mark.parametrize("before", [0, 1])
def test_all_is_put_back(before):
    trainer = WithTeacher()
    for _ in range(before):
        trainer.step()
    trainer.teacher[1].eval()
    snapshot = Snapshot(trainer)
    was = seen(trainer)
    trainer.teacher.train()
    trainer.model.eval()
    trainer.step()
    changed = seen(trainer)
    assert all(one != other for one, other in zip(was, changed, strict=True))
    snapshot.restore()
    assert seen(trainer) == was


def test_what_is_put_back_trains_on_as_before():
    plain = WithTeacher()
    for _ in range(3):
        plain.step()
    expected = seen(plain)[0]
    probed = WithTeacher()
    probed.step()
    snapshot = Snapshot(probed)
    probed.step()
    snapshot.restore()
    for _ in range(2):
        probed.step()
    assert seen(probed)[0] == expected
