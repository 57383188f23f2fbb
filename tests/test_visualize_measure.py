"""Overlays of a real run: measurements against NumPy and `grad`, and the paths of NaNs that were planted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
import visualize
from autograd_ff import nn
from visualize import GraphView, measure, nan_path

F = nn.functional


def node_of(view, name):
    (found,) = (node for node in view.nodes if node.op == name or name in node.names)
    return found


def remarks(view, mark):
    return {node.op or node.names[0]: node.remark for node in view.nodes if node.mark == mark}


def mnist(*layers):
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(784, 128), *layers, nn.Linear(128, 10))
    images = af.tensor(rng.random((64, 784), dtype=np.float32))
    labels = af.tensor(rng.integers(0, 10, 64))
    return model, images, lambda scores: F.cross_entropy(scores, labels)


# ---------------------------------------------------------------- measurements


numbers = st.floats(-100, 100, width=32)


@given(st.lists(numbers, min_size=1, max_size=40), st.integers(1, 30))
@settings(deadline=None, max_examples=50)
def test_statistics_are_those_of_numpy(values, bins):
    x = af.tensor(values, requires_grad=True)
    scale = af.tensor(np.arange(len(values), dtype=np.float32))
    view = measure(lambda x: (x.relu() * scale).sum(), x, repeats=0, bins=bins)
    array = np.maximum(np.asarray(values, np.float32), 0).astype(np.float64)
    gradient = np.arange(len(values), dtype=np.float64)
    taken = dict(node_of(view, "relu").measures)
    expected = {
        "mean": array.mean(), "spread": array.std(), "norm": np.sqrt((array**2).sum()), "smallest": array.min(),
        "largest": array.max(), "zeros": (array == 0).mean(), "nonfinite": 0, "gradient mean": gradient.mean(),
        "gradient spread": gradient.std(), "gradient norm": np.sqrt((gradient**2).sum()),
        "gradient zeros": (gradient == 0).mean(), "gradient nonfinite": 0,
    }  # fmt: skip
    for name, number in expected.items():
        assert taken[name] == pytest.approx(number, rel=1e-6, abs=1e-9), name
    own = node_of(view, "x")
    (slope,) = af.autograd.grad((x.relu() * scale).sum(), x)
    assert own.measure("gradient norm") == pytest.approx(float(np.linalg.norm(slope.numpy())), rel=1e-6)
    assert own.measure("mean") == pytest.approx(float(np.mean(np.asarray(values, np.float64))), rel=1e-6, abs=1e-9)
    for node in (own, node_of(view, "relu")):
        values_of, gradient_of = node.histograms
        assert (values_of.of, gradient_of.of) == ("values", "gradient")
        assert len(values_of.counts) == bins
        assert sum(values_of.counts) == sum(gradient_of.counts) == len(values)
        assert values_of.low <= node.measure("smallest") <= node.measure("largest") <= values_of.high


def test_a_network_is_measured_forward_and_backward():
    model, images, loss = mnist(nn.ReLU())
    view = measure(model, images, loss=loss, repeats=2)
    for node in view.nodes:
        assert (node.measure("forward") is not None) == bool(node.op)
        assert (node.measure("backward") is not None) == (bool(node.op) and node.tracked)
        assert all(seconds > 0 for name, seconds in node.measures if name in ("forward", "backward"))
        if node.kind == "parameter" or node.op:
            assert node.measure("gradient norm") > 0
    assert view.name == "Sequential"
    assert node_of(view, "input").measure("gradient norm") is None
    assert GraphView.from_dict(view.to_dict()) == view


def test_saved_memory_counts_once_and_parameters_not_at_all():
    model, images, loss = mnist(nn.ReLU())
    view = measure(model, images, loss=loss, repeats=0)
    saved = [(node.op, node.measure("saved")) for node in view.nodes if node.measure("saved")]
    # The second layer reads what ReLU keeps; cross_entropy keeps scores, labels and a number for each row.
    assert saved == [("linear", 64 * 784 * 4), ("relu", 64 * 128 * 4), ("cross_entropy", 64 * 10 * 4 + 64 * 8 + 64 * 4)]
    x = af.ones(10, 4)
    view = measure(lambda x, y: (x[:5] * y).sum() + (x[3:] * y[0]).sum(), x, af.ones(4, requires_grad=True), repeats=0)
    assert sum(node.measure("saved") or 0 for node in view.nodes) == 10 * 4 * 4  # rows 3 and 4 once


def test_without_times_two_runs_measure_the_same_although_dropout_draws():
    model, images, loss = mnist(nn.ReLU(), nn.Dropout(0.3))
    state = af.get_rng_state()
    first, second = (measure(model, images, loss=loss, repeats=0) for _ in range(2))
    assert first == second
    again = af.get_rng_state()
    assert repr(state) == repr(again)


def test_a_measured_graph_shows_its_times_or_else_its_statistics(tmp_path):
    model, images, loss = mnist(nn.ReLU())
    for repeats, words in ((1, "forward&#160;time"), (0, "zeros")):
        view = measure(model, images, loss=loss, repeats=repeats)
        path = visualize.render(view, tmp_path / "graph.dot")
        with open(path, encoding="utf-8") as file:
            assert words in file.read()
    with pytest.raises(visualize.PictureError, match=r"visualize\.measure"):
        visualize.render(model, images, tmp_path / "graph.dot", color_by="forward")


def test_the_model_is_left_as_it_was():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(3, 2)
            self.register_buffer("seen", af.zeros(2))
            self.register_buffer("last", af.zeros(2))

        def forward(self, x):
            out = self.inner(x)
            with af.no_grad():
                self.seen.add_(out.mean(0))
            self.last = out.mean(0)
            return out

    model = Counting()
    last = model.last
    model(af.ones(4, 3)).sum().backward()
    model.last = last
    before = model.seen.tolist()
    gradient = model.inner.weight.grad
    values = gradient.tolist()
    for view in (
        measure(model, af.ones(4, 3)),
        nan_path(model, af.ones(4, 3)),
        visualize.lint(model, af.ones(4, 3)).view,
    ):
        assert len(view.nodes) > 4
    assert model.seen.tolist() == before
    assert model.last is last
    assert model.inner.weight.grad is gradient
    assert gradient.tolist() == values
    assert model.inner.bias.grad is not None


def test_dead_units_are_marked():
    model, images, loss = mnist(nn.ReLU())
    assert not remarks(measure(model, images, loss=loss, repeats=0), "dead")
    with af.no_grad():
        model[0].bias[:57].fill_(-100.0)
        model[0].bias[57:].fill_(100.0)
    view = measure(model, images, loss=loss, repeats=0)
    assert remarks(view, "dead") == {"relu": "57 of 128 units are 0 for the whole batch"}
    assert not remarks(measure(model, images[:4], loss=None, repeats=0), "dead")  # four images say nothing
    assert not remarks(measure(model, images, loss=loss, repeats=0, dead=0.5), "dead")
    planes = af.ones(2, 3, 4, 4)
    planes[:, 1] = -1.0
    view = measure(lambda x: np.maximum(x, 0), planes, repeats=0)
    assert remarks(view, "dead") == {"maximum": "1 of 3 units are 0 for the whole batch"}


@pytest.mark.parametrize(("scale", "factor"), [(0.1, "vanish"), (10.0, "explode")])
def test_vanishing_and_exploding_gradients_show(scale, factor):
    weights = [af.full((8, 8), scale / 8, requires_grad=True) for _ in range(6)]

    def chain(x):
        for weight in weights:
            x = x @ weight
        return x.sum()

    view = measure(chain, af.ones(4, 8), repeats=0)
    norms = [node.measure("gradient norm") for node in view.nodes if node.op == "matmul"]
    assert len(norms) == 6
    assert norms == sorted(norms, reverse=factor == "explode")
    assert max(norms) > 1e4 * min(norms)


def test_without_a_loss_a_softmax_hides_no_gradient():
    model, images, _ = mnist(nn.ReLU())
    view = measure(nn.Sequential(*model, nn.Softmax(1)), images, repeats=0)
    assert node_of(view, "0.weight").measure("gradient norm") > 1e-3


def test_infinite_and_odd_arrays_are_measured_too():
    view = measure(lambda x: (x / 0).sum(), af.tensor([1.0, 0.0, 2.0]), repeats=0)
    quotient = node_of(view, "divide")
    assert quotient.measure("nonfinite") == 1
    assert quotient.measure("mean") is None
    view = measure(lambda x: (x > 1, x.int() + 1), af.tensor([1.0, 2.0]), repeats=0)
    assert node_of(view, "greater").measure("zeros") == 0.5
    assert node_of(view, "add").measure("largest") == 3
    assert measure(lambda x: x * 2, af.ones(0), repeats=0).nodes[1].measures == ()


def test_what_cannot_be_measured_says_so():
    with pytest.raises(ValueError, match="whose computation is over"):
        measure(af.ones(2, requires_grad=True) * 2)
    with pytest.raises(TypeError, match="not str"):
        nan_path("model")
    with pytest.raises(ValueError, match="repeats and bins"):
        measure(lambda x: x, af.ones(2), repeats=-1)


# ---------------------------------------------------------------- the path of a NaN


STEPS = {"tanh": af.tanh, "square": af.square, "negative": af.negative, "sin": af.sin, "relu": af.relu}


@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=8), st.data())
@settings(deadline=None, max_examples=60)
def test_a_planted_nan_is_found_with_its_element_and_its_way(steps, data):
    place = data.draw(st.integers(0, len(steps)))
    rows, columns = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    row, column = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    other = af.ones(rows, columns, requires_grad=True)

    def function(x):
        unhurt = other.cos()
        for at, step in enumerate(steps):
            if at == place:
                x = (x.abs() + mask + 1).log()
            x = STEPS[step](x)
        if place == len(steps):
            x = (x.abs() + mask + 1).log()
        return (x * unhurt).sum()

    mask = af.zeros(rows, columns)
    mask[row, column] = -1e30  # log of something below 0, wherever
    x = af.full((rows, columns), 0.7, requires_grad=True)
    view = nan_path(function, x)
    (origin,) = (node for node in view.nodes if node.mark == "origin")
    assert origin.op == "log"
    assert origin.remark == f"log of -1e+30 is NaN in element {(row, column)}"
    assert origin.source.text == "x = (x.abs() + mask + 1).log()"
    marked = [node.op for node in view.nodes if node.mark == "nonfinite"]
    assert marked == [*steps[place:], "multiply", "sum"]
    bad = {node.id for node in view.nodes if node.mark}
    assert {(edge.source, edge.target) for edge in view.edges if edge.mark} == {
        (edge.source, edge.target) for edge in view.edges if edge.source in bad
    }
    mask[row, column] = 1.0
    assert not any(node.mark for node in nan_path(function, x).nodes)


def test_several_nans_and_what_met_in_them():
    x = af.tensor([[1.0, 0.0], [-1.0, 1000.0]], requires_grad=True)
    cases = {
        "0 / 0 is NaN in element (0, 1)": lambda x: (x / x)[0].sum(),
        "1000 to the power 20 is more than float32 can hold in element (1, 1)": lambda x: (x**20).sum(),
        "exp of 1000 is more than float32 can hold in element (1, 1)": lambda x: x.exp().sum(),
        "sqrt of -1 is NaN in element (1, 0)": lambda x: x.sqrt().sum(),
        "1 / 0 is inf in element (0, 1)": lambda x: (1 / x).sum(),
    }
    for remark, function in cases.items():
        view = nan_path(function, x)
        assert list(remarks(view, "origin").values()) == [remark]
    view = nan_path(lambda x: x.log().sum(), x)
    assert remarks(view, "origin") == {"log": "log of -1 is NaN in element (1, 0), and in 1 other"}


def test_a_nan_that_came_in_is_its_own_origin():
    model, images, loss = mnist(nn.ReLU())
    with af.no_grad():
        model[0].weight[3, 4] = float("nan")
    view = nan_path(model, images, loss=loss)
    assert remarks(view, "origin") == {"0.weight": "came with NaN in element (3, 4)"}
    assert remarks(view, "nonfinite") == {
        "relu": "NaN in 64 of 8,192 elements",
        "linear": "NaN in 640 of 640 elements",
        "cross_entropy": "is NaN",
    }
    model, images, loss = mnist(nn.ReLU())
    images[0, 5] = float("inf")
    view = nan_path(model, images, loss=loss)
    assert remarks(view, "origin") == {"input": "came with inf in element (0, 5)"}
    view = nan_path(lambda x: x, af.tensor([float("nan"), 1.0]))
    assert remarks(view, "origin") == {"x": "came with NaN in element (0,)"}


def test_masks_of_minus_infinity_are_no_fault_unless_a_row_has_nothing_else():
    scores = af.ones(2, 3, requires_grad=True)

    def attention(scores, mask):
        return scores.masked_fill(mask, -float("inf")).softmax(1).square().sum()

    mask = np.array([[True, True, False], [False, True, True]])
    assert not any(node.mark for node in nan_path(attention, scores, af.tensor(mask)).nodes)
    mask[1, 0] = True
    view = nan_path(attention, scores, af.tensor(mask))
    told = "softmax of a row of 3 times -inf in element (1, 0) is NaN, and in 2 others"
    assert remarks(view, "origin") == {"softmax": told}


def test_an_infinity_that_does_not_reach_the_result_is_not_marked():
    x = af.tensor([1.0, 2000.0])
    view = nan_path(lambda x: x.exp().reciprocal().sum(), x)
    assert not any(node.mark for node in view.nodes)
    view = nan_path(lambda x: x.exp().reciprocal().sum() + x.square().exp().sum(), x)
    assert [node.mark for node in view.nodes if node.op == "exp"] == ["", "origin"]


def test_gradients_lost_in_the_branch_that_where_does_not_choose():
    x = af.tensor([1.0, 100.0, 2.0], requires_grad=True)
    view = nan_path(lambda x: af.where(x < 50, x.exp(), x).sum(), x)
    (told,) = remarks(view, "origin").values()
    assert told.startswith(
        "the derivative of exp at 100 gives NaN in element (1,), where the gradient that arrives is 0"
    )
    line = node_of(view, "where").source.line
    assert told.endswith(f": where (test_visualize_measure.py:{line}) does not choose it")
    (advice,) = remarks(view, "suspect").values()
    assert node_of(view, "where").mark == "suspect"
    assert "where(mask, f, g, x)" in advice
    assert remarks(view, "nonfinite") == {"x": "its gradient: NaN in 1 of 3 elements"}
    (edge,) = (edge for edge in view.edges if edge.mark)
    assert (view.nodes[edge.source].names, view.nodes[edge.target].op) == (("x",), "exp")
    safe = nan_path(lambda x: af.where(x < 50, lambda x: x.exp(), lambda x: x, x).sum(), x)
    assert not any(node.mark for node in safe.nodes)


def test_a_derivative_that_is_infinite_is_found_behind_a_finite_loss():
    model, images, _ = mnist(nn.ReLU())
    view = nan_path(model, images * 0, loss=lambda scores: (scores - scores.detach()).square().sum(1).sqrt().mean())
    (told,) = remarks(view, "origin").values()
    assert told.startswith("the derivative of sqrt at 0 gives inf in element (0,), where the gradient that arrives is ")
    assert told.endswith(", and in 63 others")
    lost = remarks(view, "nonfinite")
    assert {"sum", "square", "subtract", "2.weight", "2.bias", "0.bias"} <= set(lost)
    assert not {"mean", "sqrt", "input"} & set(lost)
