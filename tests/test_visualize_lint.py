"""The lint of a graph: planted faults are found by name and line, and an ordinary network has none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import nn, optim
from visualize import GraphView, lint

F = nn.functional


def batch(features=8, rows=6, classes=3):
    rng = np.random.default_rng(0)
    return af.tensor(rng.standard_normal((rows, features), np.float32)), af.tensor(np.arange(rows) % classes)


def kinds(found):
    return [(one.kind, one.severity) for one in found]


def marked(view, mark):
    return {node.op or node.names[0] for node in view.nodes if node.mark == mark}


# ---------------------------------------------------------------- nothing wrong

ORDINARY = {
    "MNIST": lambda: nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10)),
    "dropout": lambda: nn.Sequential(nn.Linear(784, 64), nn.GELU(), nn.Dropout(0.3), nn.Linear(64, 10)),
    "deep": lambda: nn.Sequential(*(layer for _ in range(5) for layer in (nn.Linear(784, 784), nn.Tanh())), nn.Linear(784, 10)),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_network_has_no_finding(name):
    model = ORDINARY[name]()
    images, labels = batch(784, 64, 10)

    def step(images):
        loss = F.cross_entropy(model(images), labels)
        assert loss.item() > 0  # a look at the number cuts nothing
        return loss

    for found in (
        lint(model, images, loss=lambda scores: F.cross_entropy(scores, labels)),
        lint(step, images),
        lint(F.cross_entropy(model(images), labels), model),
        lint(F.cross_entropy(model(images), labels, label_smoothing=0.1), model),
        lint(model, images, loss=lambda scores: F.nll_loss(F.log_softmax(scores, 1), labels)),
        lint(model, images, loss=lambda scores: (scores[:, :1] - labels.float().unsqueeze(1)).square().mean()),
    ):
        assert list(found) == []
        assert found.passed
        assert str(found) == "nothing found"
        assert not any(node.mark for node in found.view.nodes)
        assert not any(edge.mark for edge in found.view.edges)


def test_a_training_loop_that_adds_up_numbers_has_no_finding():
    model = nn.Linear(8, 3)
    x, labels = batch()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    total = 0.0
    for _ in range(3):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        total += loss.item()
    assert list(lint(loss, model)) == []
    assert total > 0


def test_frozen_layers_are_no_fault():
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))
    x, labels = batch()
    model[0].requires_grad_(False)
    assert list(lint(model, x, loss=lambda out: F.cross_entropy(out, labels))) == []
    model.requires_grad_(False)
    found = lint(model, x, loss=lambda out: F.cross_entropy(out, labels))
    assert "frozen" in found[0].message


# ---------------------------------------------------------------- where the path was cut


class Cutting(nn.Module):
    """A network whose middle does something to the values on their way."""

    def __init__(self, middle, outside=False):
        super().__init__()
        self.first, self.second = nn.Linear(8, 6), nn.Linear(6, 3)
        self.middle, self.outside = middle, outside

    def forward(self, x):
        return self.second(self.middle(self.first(x)))


def no_grad(x):
    with af.no_grad():
        return x * 2


CUTS = {
    "detach() cuts it": lambda x: x.detach(),
    ".data cuts it": lambda x: x.data * 2,
    "numpy() takes the value out of the graph": lambda x: af.tensor(x.detach().numpy() * 2),
    "item() takes the value out of the graph": lambda x: af.full((6, 6), x.sum().item()),
    "tolist() takes the value out of the graph": lambda x: af.tensor(x.tolist()),
    "no_grad() is on": no_grad,
    "argmax has no derivative": lambda x: F.one_hot(x.argmax(1), 6).float(),
    "greater has no derivative": lambda x: (x > 0).float(),
    "cast_to_integers has no derivative": lambda x: x.int().float(),
    "the derivative of round is 0 everywhere": lambda x: x.round(),
}


@pytest.mark.parametrize("reason", CUTS)
def test_the_line_that_cuts_the_path_is_named(reason):
    middle = CUTS[reason]
    x, labels = batch()
    found = lint(Cutting(middle), x, loss=lambda out: F.cross_entropy(out, labels))
    (one,) = found
    assert (one.kind, one.severity) == ("no gradient", "error")
    assert one.names == ("first.weight", "first.bias")
    assert one.message == f"first.weight and first.bias get no gradient: {reason}"
    first = middle.__code__.co_firstlineno
    assert one.source.file.endswith("tests/test_visualize_lint.py")
    assert first <= one.source.line <= first + 2
    assert marked(found.view, "unreached") == {"first.weight", "first.bias"}
    if "takes the value out" not in reason:  # the picture still shows the way
        assert len(marked(found.view, "cut")) == 1
        assert [edge.mark for edge in found.view.edges if edge.mark] == ["cut"]
    assert GraphView.from_dict(found.view.to_dict()) == found.view
    assert "get no gradient" in str(found)


@given(st.integers(1, 6), st.data())
@settings(deadline=None, max_examples=30)
def test_all_parameters_before_a_cut_are_listed_and_none_after_it(depth, data):
    place = data.draw(st.integers(0, depth))
    layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(depth)])
    kind = data.draw(st.sampled_from(["detach", "no_grad", "data"]))

    class Chain(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = layers

        def forward(self, x):
            for at, layer in enumerate(self.layers):
                x = layer(x).tanh()
                if at == place:
                    if kind == "no_grad":
                        with af.no_grad():
                            x = x * 2
                    else:
                        x = x.detach() if kind == "detach" else x.data
            return x * weight

    weight = af.ones(8, requires_grad=True)
    found = lint(Chain(), batch()[0], loss=lambda out: out.sum())
    names = {name for one in found for name in one.names}
    if place < depth:
        assert names == {f"layers.{at}.{name}" for at in range(place + 1) for name in ("weight", "bias")}
        assert len(found) == 1
    else:
        assert not names
    assert {node.names[0] for node in found.view.nodes if node.mark == "unreached"} == names


def test_two_ways_one_of_them_cut_is_no_fault():
    x, labels = batch()
    model = Cutting(lambda x: x + x.detach().round())  # straight through
    assert list(lint(model, x, loss=lambda out: F.cross_entropy(out, labels))) == []


def test_parameters_that_nobody_uses_or_whose_result_nobody_uses():
    class Extra(nn.Module):
        def __init__(self, used):
            super().__init__()
            self.layer, self.extra, self.used = nn.Linear(8, 3), nn.Linear(8, 2), used

        def forward(self, x):
            if self.used:
                self.extra(x).exp()
            return self.layer(x)

    x, labels = batch()
    (one,) = lint(Extra(False), x, loss=lambda out: F.cross_entropy(out, labels))
    assert one.message == "extra.weight and extra.bias get no gradient: not used in this call"
    found = lint(Extra(True), x, loss=lambda out: F.cross_entropy(out, labels))
    assert found[0].message.endswith("the loss does not depend on what exp makes of it")
    assert found[0].source.text == "self.extra(x).exp()"
    assert marked(found.view, "unreached") == {"extra.weight", "extra.bias"}  # though they lead nowhere in the picture


def test_a_run_under_no_grad_is_one_finding():
    x, labels = batch()
    with af.no_grad():
        (one,) = lint(Cutting(F.relu), x, loss=lambda out: F.cross_entropy(out, labels))
    assert one.message == "nothing gets a gradient, for the result has no graph: no_grad() is on"
    assert len(one.names) == 4


def test_of_a_finished_loss_it_says_what_can_be_said():
    x, labels = batch()
    model = Cutting(lambda x: x.detach())
    found = lint(F.cross_entropy(model(x), labels), model)
    (one,) = found
    assert one.names == ("first.weight", "first.bias")
    assert "cut perhaps where linear (test_visualize_lint.py:" in one.message
    assert "reads 6×6 without a gradient" in one.message
    assert marked(found.view, "suspect") == {"linear"}
    with pytest.raises(ValueError, match="has no graph"):
        lint(af.ones(1).sum(), model)
    with pytest.raises(ValueError, match="give its module and nothing else"):
        lint(F.cross_entropy(model(x), labels))


# ---------------------------------------------------------------- other faults


@given(st.integers(2, 40), st.booleans(), st.booleans())
@settings(deadline=None, max_examples=25)
def test_a_prediction_broadcast_against_its_targets(rows, swapped, finished):
    model, x = nn.Linear(8, 1), af.ones(rows, 8)
    target = af.zeros(rows)

    def loss(out):
        return ((target - out) if swapped else (out - target)).abs().mean()

    found = lint(loss(model(x)), model) if finished else lint(model, x, loss=loss)
    assert kinds(found) == [("broadcast", "error")]
    assert f"{rows}×1 and {rows} to {rows}×{rows}" in found[0].message
    assert marked(found.view, "suspect") == {"subtract"}
    target = target.unsqueeze(1)
    assert list(lint(loss(model(x)), model) if finished else lint(model, x, loss=loss)) == []


def test_pairwise_differences_are_meant():
    points = af.ones(5, 2, requires_grad=True)
    assert list(lint(lambda x: (x[:, :1] - x[:, 0]).square().sum(), points)) == []


def test_a_wrong_accuracy():
    found = lint(lambda out, labels: ((out > 0) == (labels > 0)).float().mean(), af.ones(5, 1), af.ones(5))
    assert kinds(found) == [("broadcast", "error")]


def test_float64_that_nobody_asked_for_is_named_where_it_enters():
    x, labels = batch()
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))
    scale = np.ones(3)
    found = lint(model, x, loss=lambda out: F.cross_entropy(out * scale, labels))
    assert kinds(found) == [("float64", "warning")]
    assert found[0].message.startswith("scale is float64, so multiply computes in float64")
    assert "out * scale" in found[0].source.text
    found = lint(model, np.ones((6, 8)), loss=lambda out: F.cross_entropy(out, labels))
    assert kinds(found) == [("float64", "warning")]  # once, not for each layer after it
    assert list(lint(model.double(), np.ones((6, 8)), loss=lambda out: F.cross_entropy(out, labels))) == []
    model.float()
    assert list(lint(model, x, loss=lambda out: F.cross_entropy(out * np.float64(2), labels))) == []


@pytest.mark.parametrize(
    ("before", "loss", "told"),
    [
        (lambda x: x.softmax(1), F.cross_entropy, "softmax comes before cross_entropy"),
        (lambda x: x.log_softmax(1).reshape(6, 3), F.cross_entropy, "log_softmax comes before cross_entropy"),
        (lambda x: x.softmax(1), lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1), "softmax comes before"),
        (lambda x: x.softmax(1), F.nll_loss, "softmax gives probabilities"),
        (
            lambda x: x.sigmoid(),
            lambda x, y: F.binary_cross_entropy_with_logits(x, F.one_hot(y, 3).float()),
            "sigmoid comes before binary_cross_entropy_with_logits",
        ),
    ],
)
def test_scores_that_are_none_any_more(before, loss, told):
    x, labels = batch()
    model = nn.Linear(8, 3)
    for found in (
        lint(model, x, loss=lambda out: loss(before(out), labels)),
        lint(loss(before(model(x)), labels), model),
    ):
        assert kinds(found) == [("scores", "error")]
        assert found[0].message.startswith(told)
        assert len(marked(found.view, "suspect")) == 1


@pytest.mark.parametrize("over", ["backward", "step"])
def test_a_sum_of_losses_keeps_finished_steps_alive(over):
    model = nn.Linear(8, 3)
    x, labels = batch()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    total = 0
    for _ in range(4):
        loss = F.cross_entropy(model(x), labels)
        if over == "backward":
            loss.backward()
        else:
            F.cross_entropy(model(x), labels).backward()
            optimizer.step()
        total += loss
    found = lint(total, model)
    assert kinds(found) == [("kept alive", "warning")]
    assert "the graphs of 4 losses" in found[0].message
    assert found[0].source.text == "total += loss"


def test_a_sum_over_a_sequence_is_meant_and_one_over_batches_worth_a_word():
    model = nn.Linear(8, 8)
    x = batch()[0]
    total, state = 0, x
    for _ in range(4):
        state = model(state).tanh()
        total = total + state.square().mean()
    assert list(lint(total, model)) == []
    total = 0
    for _ in range(4):
        total = total + model(x).square().mean()
    found = lint(total, model)
    assert kinds(found) == [("kept alive", "info")]
    assert found.passed


def test_modules_that_hold_on_to_graphs():
    class Keeping(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.history = nn.Linear(8, 3), []
            self.register_buffer("mean", af.zeros(3))

        def forward(self, x):
            out = self.layer(x)
            self.history.append(out)
            self.mean = self.mean * 0.9 + out.mean(0) * 0.1
            return out

    x, labels = batch()
    model = Keeping()
    mean = model.mean
    found = lint(model, x, loss=lambda out: F.cross_entropy(out, labels))
    assert kinds(found) == [("kept alive", "warning")] * 2
    assert [one.source.text.split(" =")[0] for one in found] == ["out", "self.mean"]
    assert model.mean is mean
    model.history.clear()
    with pytest.warns(UserWarning, match="create_graph"):
        F.cross_entropy(model.layer(x), labels).backward(create_graph=True)
    found = lint(model.layer, x, loss=lambda out: F.cross_entropy(out, labels))
    assert [one.names for one in found] == [("weight",), ("bias",)]
    assert "create_graph=True" in found[0].message
    model.zero_grad()


def test_sharing_and_modes_are_only_mentioned():
    layer = nn.Linear(8, 8)
    model = nn.Sequential(layer, nn.Dropout(0.5), layer)
    model[1].eval()
    found = lint(model, batch()[0], loss=lambda out: out.sum())
    assert kinds(found) == [("mode", "info"), ("shared", "info"), ("shared", "info")]
    assert found[1].message == "0.weight and 2.weight are one parameter"
    assert found.passed
    assert not any(node.mark for node in found.view.nodes)
    assert str(found).startswith("info: 1 (Dropout) is off, while Sequential is in training mode")


def test_a_users_function_hands_the_gradient_on():
    class Rounded(af.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.round()

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    x, labels = batch()
    assert list(lint(Cutting(Rounded.apply), x, loss=lambda out: F.cross_entropy(out, labels))) == []
    (one,) = lint(Cutting(lambda x: Rounded.apply(x).detach()), x, loss=lambda out: F.cross_entropy(out, labels))
    assert one.message.endswith("detach() cuts it")
