"""What is said where a loss or a gradient of a training is not finite."""

from __future__ import annotations

import numpy as np
import pytest

import autograd_ff as af
from autograd_ff import nn, optim
from autograd_ff.errors import NonFiniteError
from autograd_ff.training import Trainer
from autograd_ff.training.nonfinite import explain


@pytest.fixture(autouse=True)
def _seeded():
    af.manual_seed(0)


class Around(nn.Module):
    """A layer, and a function of what it gives."""

    def __init__(self, after):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.after = after

    def forward(self, x):
        return self.after(self.layer(x))


def explained(model, loss, inputs, targets, rate: float = 0.5) -> str:
    return explain(Trainer(model, loss, optim.SGD(model.parameters(), lr=rate)), inputs, targets)


X = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
CLASSES = np.arange(8) % 2


@pytest.mark.parametrize(
    ("after", "operation", "line", "advice"),
    [
        (lambda out: (out * 1000).softmax(1).log(), "log made -inf at index", "softmax(1).log()", "log_softmax"),
        (lambda out: (out * 900).exp(), "exp made inf at index", "900).exp()", "too large for float32"),
        (lambda out: out / (out * 0), "divide made ", "out / (out * 0)", "add a small number to the denominator"),
        (lambda out: (out * 0).sqrt(), "the derivative of sqrt made", "(out * 0).sqrt()", "under it"),
    ],
)
def test_the_operation_and_its_line(after, operation, line, advice):
    said = explained(Around(after), nn.NLLLoss(), af.tensor(X), af.tensor(CLASSES))
    assert operation in said
    assert line in said
    assert advice in said
    assert "test_training_nonfinite.py" in said


def test_the_module():
    said = explained(Around(lambda out: (out * 0).log()), nn.NLLLoss(), af.tensor(X), af.tensor(CLASSES))
    assert "in the module Around" in said


def test_data_that_are_not_finite():
    inputs, targets = X.copy(), np.ones((8, 2), np.float32)
    inputs[5, 1] = np.nan
    said = explained(nn.Linear(3, 2), nn.MSELoss(), af.tensor(inputs), af.tensor(targets))
    assert "inputs holds nan at index [5, 1]" in said
    assert "Remove" in said
    targets[6, 0] = np.inf
    said = explained(nn.Linear(3, 2), nn.MSELoss(), af.tensor(X), af.tensor(targets))
    assert "targets holds inf at index [6, 0]" in said


def test_weights_that_are_not_finite_already():
    model = nn.Linear(3, 2)
    with af.no_grad():
        model.bias[1] = float("nan")
    said = explained(model, nn.CrossEntropyLoss(), af.tensor(X), af.tensor(CLASSES))
    assert "bias holds nan at index [1]" in said
    assert "an earlier step" in said


def test_weights_that_have_grown():
    model = nn.Linear(3, 2)
    nn.init.constant_(model.weight, 1e25)
    said = explained(model, nn.MSELoss(), af.tensor(X), af.ones(8, 2), rate=7.5)
    assert "grown to 1e+25 (weight)" in said
    assert "it is 7.5" in said
    assert "In float64 the same step is finite" in said
    assert "overflow of float32" in said


def test_a_mask_of_infinities_is_not_blamed():
    mask = af.tensor([True, False])
    masked = Around(lambda out: (out.masked_fill(mask, float("-inf")).softmax(1) * 0).log())
    said = explained(masked, nn.NLLLoss(), af.tensor(X), af.tensor(CLASSES))
    assert said.startswith("log made"), said
    everything = Around(lambda out: out.masked_fill(af.tensor([True, True]), float("-inf")))
    with np.errstate(all="ignore"):
        said = explained(everything, nn.CrossEntropyLoss(), af.tensor(X), af.tensor(CLASSES))
    assert said.startswith("cross_entropy made nan")
    assert "masked" in said


def test_a_norm_that_overflows():
    model = nn.Linear(3, 2)
    said = explained(model, lambda out, y: (out * 1e25).sum(), af.tensor(X), af.ones(8, 2))
    assert "their norm is not" in said


def test_a_step_that_is_finite_now():
    said = explained(nn.Linear(3, 2), nn.CrossEntropyLoss(), af.tensor(X), af.tensor(CLASSES))
    assert "Run again, the step is finite" in said


def test_the_same_random_numbers_and_no_trace():
    """Of some draws only one is 0, whose logarithm is infinite: the explanation meets the very same one."""

    class Drawing(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm = nn.Linear(3, 2), nn.BatchNorm1d(2)

        def forward(self, x):
            return self.norm(self.layer(x)) + (af.rand(()) > 0.5).float().log()

    model = Drawing()
    state = next(
        state
        for state in (af.manual_seed(seed).get_state() for seed in range(20))
        if (af.set_rng_state(state), af.rand(()).item())[1] < 0.5
    )
    af.set_rng_state(state)
    before = [one.array.tobytes() for one in model.state_dict().values()]
    said = explained(model, nn.CrossEntropyLoss(), af.tensor(X), af.tensor(CLASSES))
    assert "log made -inf" in said
    assert af.get_rng_state().tolist() == state.tolist()
    assert [one.array.tobytes() for one in model.state_dict().values()] == before
    assert all(one.grad is None for one in model.parameters())


def test_a_training_that_stops():
    inputs = X.copy()
    inputs[4, 2] = np.nan
    model = nn.Linear(3, 2)
    trainer = Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1))
    before = model.weight.tolist()
    with pytest.raises(NonFiniteError, match=r"inputs holds nan at index \[0, 2\]"):
        trainer.fit(inputs, CLASSES, batch_size=4, shuffle=False, checks=False, verbose=0, epochs=1)
    assert model.weight.tolist() != before  # by the first batch, not by the second
    assert np.isfinite(model.weight.array).all()
