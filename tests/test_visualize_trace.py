"""What a trace knows: the backward pass, steps, marks, whatever a model is called with, and its way to JSON and back."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
import visualize
from autograd_ff import engine, nn
from autograd_ff.autograd import Function
from autograd_ff.errors import AutogradError, FileFormatError, GraphError
from visualize import Edge, GraphView, Histogram, Module, Node, PictureError, Source, Value


def leaf(*shape):
    values = np.linspace(-1.5, 1.5, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    return af.tensor(values, requires_grad=True)


def named(view, name):
    (found,) = (node for node in view.nodes if name in node.names)
    return found


def incoming(view, node):
    return [view.nodes[edge.source] for edge in view.edges if edge.target == node.id]


# ---------------------------------------------------------------- the backward pass


def network():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    return model, af.ones(5, 4), af.tensor([0, 1, 0, 1, 1])


def test_each_gradient_belongs_to_its_value():
    model, x, y = network()
    loss = nn.functional.cross_entropy(model(x), y)
    view = visualize.trace(loss, backward=True)
    gradients = {node.names[0]: node for node in view.nodes if node.kind == "output"}
    assert set(gradients) == {f"∂loss/∂{name}" for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        gradient = gradients[f"∂loss/∂{name}"]
        assert view.nodes[gradient.belongs_to].names == (name,)
        assert gradient.outputs == (Value(tuple(parameter.shape), "float32"),)
        assert gradient.backward
        assert view.modules[gradient.module].name == name.partition(".")[0]
        assert view.modules[gradient.module].backward
    # The forward part is what it is without.
    forward = [(node.op, node.names) for node in view.nodes if not node.backward]
    assert forward == [(node.op, node.names) for node in visualize.trace(loss).nodes]
    # Rules belong to the operation that they derive, stand at its line and read its values.
    for node in view.nodes:
        if node.backward and node.op:
            op = view.nodes[node.belongs_to]
            rule = next(view.modules[one] for one in view.path(node.module) if view.modules[one].kind == "backward")
            assert rule.type == op.op
            assert node.source == op.source
    mask = next(node for node in view.nodes if node.op == "greater")
    assert [node.op for node in incoming(view, mask)] == ["relu"]
    folded = visualize.simplify(view, open=False)
    assert [node.op for node in folded.nodes if node.backward and node.op] == [
        "∇ cross_entropy", "∇ linear", "∇ relu", "∇ linear"
    ]  # fmt: skip


def test_drawing_a_backward_pass_changes_nothing():
    w = leaf(3)
    calls = []
    y = w * 2
    y.retain_grad()
    y.register_hook(lambda gradient: calls.append("hook"))
    loss = (y * y).sum()
    visualize.trace(loss, backward=True)
    assert w.grad is None
    assert y.grad is None
    assert calls == []
    loss.backward()  # the graph is still there, and so are the hooks
    assert calls == ["hook"]
    assert np.allclose(w.grad.numpy(), 8 * w.detach().numpy())
    with pytest.raises(GraphError, match=r"(?s)second time.*retain_graph=True"):
        visualize.trace(loss, backward=True)


def test_contributions_to_one_gradient_are_summed():
    x = leaf(3)

    def function(x):
        h = x * 2
        return h * h.exp() + h.tanh()

    view = visualize.trace(function, x, backward=True)
    h = next(node for node in view.nodes if node.op == "multiply" and not node.backward)
    sums = [node for node in view.nodes if node.backward and node.op == "add"]
    assert len(sums) == 2
    assert {node.belongs_to for node in sums} == {h.id}
    gradient = named(view, "∂sum(output)/∂x")
    assert view.nodes[gradient.belongs_to].names == ("x",)
    assert named(view, "∂sum(output)/∂output").outputs == (Value((3,), "float32"),)


def test_gradients_of_values_that_the_user_named():
    w, x = leaf(3), af.ones(3)
    hidden = w * x
    loss = hidden.tanh().sum()
    view = visualize.trace(loss, backward=True)
    gradient = named(view, "∂loss/∂hidden")
    assert gradient.op == "multiply"
    assert view.modules[gradient.module].type == "tanh"


def test_the_backward_pass_alone():
    model, x, y = network()
    loss = nn.functional.cross_entropy(model(x), y)
    both = visualize.trace(loss, backward=True)
    alone = visualize.trace(loss, backward="only")
    assert [node.op for node in alone.nodes if node.op] == [node.op for node in both.nodes if node.backward and node.op]
    assert all(node.backward or not node.op for node in alone.nodes)
    read = {edge.source for edge in alone.edges}
    assert all(node.id in read for node in alone.nodes if not node.backward)
    assert "output of relu" in {node.names[0] for node in alone.nodes if node.kind == "input"}
    assert all(edge.source < edge.target for edge in alone.edges)


def test_a_module_with_inputs_is_run_forward_and_backward():
    model, x, _ = network()
    with af.no_grad():  # what it takes is switched on for the picture
        view = visualize.trace(model, x, backward=True)
    assert {node.names[0] for node in view.nodes if node.kind == "output" and node.backward} == {
        f"∂sum(output)/∂{name}" for name, _ in model.named_parameters()
    }
    assert model[0].weight.grad is None
    with pytest.raises(PictureError, match=r"(?s)no result requires grad.*requires_grad=True"):
        visualize.trace(lambda x: x * 2, x, backward=True)


def test_several_results_kernels_functions_and_slices_have_gradients():
    class Twice(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x + x

        @staticmethod
        def backward(ctx, gradient):
            return gradient + gradient

    def function(x):
        first, second = af.split(Twice.apply(x), 3)
        values, _ = second.sort()
        return {"first": first[1:] * 2, "second": values.softmax(0), "none": None}

    x = leaf(6)
    view = visualize.trace(function, x, backward=True)
    gradient = named(view, "∂sum of outputs/∂x")
    assert gradient.outputs == (Value((6,), "float32"),)
    rules = {view.modules[one].type for node in view.nodes for one in view.path(node.module)}
    assert {"Twice", "softmax"} <= rules
    # Every node but the leaf's gradient is read: nothing hangs in the air.
    read = {edge.source for edge in view.edges}
    assert [node.names[0] for node in view.nodes if node.id not in read] == [
        "output['first']", "output['second']", "∂sum of outputs/∂x"
    ]  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=12))
def test_every_leaf_that_has_a_gradient_shows_it(steps):
    leaves = [leaf(2, 2) for _ in range(3)]
    values = list(leaves)
    for which, one, other in steps:
        x, y = values[one % len(values)], values[other % len(values)]
        values.append(
            (x.tanh(), x.tanh() * y, x + y, x.cos().sum(1, keepdim=True) * y.tanh(), x.sin().sum(0, keepdim=True))[
                which
            ]
        )
    loss = values[-1].sum()
    view = visualize.trace(loss, names={f"w{at}": one for at, one in enumerate(leaves)}, backward=True)
    loss.backward()
    shown = {node.names[0]: node for node in view.nodes if node.kind == "output"}
    assert set(shown) == {f"∂loss/∂w{at}" for at, one in enumerate(leaves) if one.grad is not None}
    for at, one in enumerate(leaves):
        if one.grad is not None:
            assert shown[f"∂loss/∂w{at}"].outputs == (Value(tuple(one.grad.shape), "float32"),)
    assert all(edge.source < edge.target for edge in view.edges)
    assert GraphView.from_json(view.to_json()) == view
    for options in ({}, {"depth": 0}, {"open": True}, {"hide": "view"}):
        visualize.to_dot(visualize.simplify(view, **options))


def test_a_gradient_graph_has_a_backward_pass_of_its_own():
    x = leaf(3)
    (slope,) = af.autograd.grad(x.tanh().sum(), x, create_graph=True)
    penalty = (slope * slope).sum()
    view = visualize.trace(penalty, backward=True)
    assert named(view, "∂penalty/∂x").outputs == (Value((3,), "float32"),)
    assert any(node.backward and node.op for node in visualize.trace(penalty).nodes)


# ---------------------------------------------------------------- what a model may be called with


@dataclasses.dataclass
class Batch:
    images: af.Tensor
    mask: np.ndarray | None = None


class Choosing(nn.Module):
    """Branches on values and strings, takes dicts, None and a dataclass, and calls one layer several times."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.unused = nn.Linear(3, 3)

    def forward(self, batch, mode, *more, scale=None, **options):
        x = batch.images
        for _ in range(options["rounds"]):
            x = self.layer(x)
            if float(x.sum()) > 1e6:
                break
        if mode == "double":
            x = x * 2
        if batch.mask is not None:
            x = af.where(af.tensor(batch.mask), x, 0.0)
        return x if scale is None else x * scale, [one + 1 for one in more], None


def test_dicts_none_strings_dataclasses_and_control_flow_are_no_obstacle():
    model = Choosing()
    batch = Batch(af.ones(2, 3), np.ones((2, 3), bool))
    view = visualize.trace(model, batch, "double", af.ones(1), kwargs={"rounds": 3, "scale": None})
    assert {node.names[0] for node in view.nodes if node.kind == "input"} == {"batch.images", "batch.mask", "more[0]"}
    assert [node.op for node in view.nodes if node.op].count("linear") == 3
    assert {node.names[0] for node in view.nodes if node.kind == "output"} == {"output[0]", "output[1][0]"}
    parameters = {node.names: node for node in view.nodes if node.kind == "parameter"}
    assert set(parameters) == {
        ("layer.weight",),
        ("layer.bias",),
    }  # shared by three calls, and the unused one is not there
    weight = parameters["layer.weight",]
    assert view.modules[weight.module].type == "Choosing"
    assert [module.call for module in view.modules if module.name == "layer"] == [0, 1, 2]
    assert "where" in [node.op for node in view.nodes]
    other = visualize.trace(model, Batch(af.ones(2, 3)), "", kwargs={"rounds": 1})
    assert [node.op for node in other.nodes if node.op] == ["linear"]
    assert other.nodes[0].nbytes == 24
    assert other.nodes[-2].source.text.startswith("x = self.layer(x)")


def test_methods_and_closures_leave_their_models_as_they_were():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", af.zeros(2))

        def step(self, x):
            with af.no_grad():
                self.seen.add_(1)
            return x * self.seen

    model = Counting()
    for function in (model.step, lambda x: model.step(x) + 1):
        view = visualize.trace(function, af.ones(2))
        assert model.seen.tolist() == [0, 0]
        assert "write" in {node.kind for node in view.nodes}


# ---------------------------------------------------------------- steps and marks


class Seeing(engine.Observer):
    def __init__(self):
        self.ops = []

    def op(self, op, inputs, params, outputs, node, scope):
        self.ops.append((op.name, node))


def test_steps_count_what_an_observer_sees():
    x, w = leaf(3), leaf(3)

    def function(x):
        x.exp()  # nobody reads it
        y = x * af.tensor([1, 2, 3]) + w  # the integers are cast on the way
        with af.no_grad():
            scale = y.detach() * 2
        return (af.lerp(y, y * y, 0.5) * scale).sum()

    seeing = Seeing()
    with engine.observe(seeing):
        function(x)
    view = visualize.trace(function, x)
    steps = {node.step: node for node in view.nodes if node.step is not None}
    assert len(steps) == sum(bool(node.op) for node in view.nodes)
    assert all(seeing.ops[step][0] == node.op for step, node in steps.items())
    assert "cast" in [name for name, _ in seeing.ops]
    # The k-th op with a node is found by its step.
    recorded = [step for step, (_, node) in enumerate(seeing.ops) if node is not None]
    assert {step for step, node in steps.items() if node.tracked} <= set(recorded)
    last = steps[recorded[-1]]
    assert last.op == "sum"
    assert all(node.step is None for node in visualize.trace(function(x)).nodes)
    marked = visualize.mark(view, {last.id: ("wrong", "off by 2")})
    assert (marked.nodes[last.id].mark, marked.nodes[last.id].remark) == ("wrong", "off by 2")
    assert visualize.mark(marked, {last.id: ""}) == view


def test_marks_that_do_not_exist():
    view = visualize.trace(leaf(2) * 2)
    with pytest.raises(PictureError, match="no node 7 to mark among 2"):
        visualize.mark(view, {7: "wrong"})
    with pytest.raises(PictureError, match=r"(?s)'odd' is no mark; marks are wrong, .*test_visualize_trace"):
        visualize.mark(view, {0: "odd"})


# ---------------------------------------------------------------- files


def everything():
    """A view with every field in use."""
    return GraphView(
        (
            Node(0, "input", outputs=(Value((2, 3), "float32"),), names=("größe→\ud800", "")),
            Node(
                1, "op", "exp", (Value((), "bool"), Value((0,), "int8")), ("y",), (("axis", "1"),), 0,
                Source("a.py", 3, "y = exp(x)"), True, True, 12, 24, "layers.0–11", "3→4", 7, 0, "dead", "80 % are zero",
                (("mean", math.inf), ("zeros", 0.8)), (Histogram("values", -1.0, 1.0, (3, 0, 5)),), "buffer 3, in place",
            ),
        ),
        (Edge(0, 1, 0, 1, "x", Value((2, 3), "float32"), True, "cut"),),
        (Module(0, "module", "layers.0", "Linear", None, 2, "3→4", Source("a.py", 3), True, 12),),
        "everything",
    )  # fmt: skip


def test_a_view_goes_to_a_file_and_back(tmp_path):
    view = everything()
    assert GraphView.from_dict(view.to_dict()) == view
    assert GraphView.from_json(view.to_json(indent=2)) == view
    assert GraphView.load(view.save(tmp_path / "graph.json")) == view
    traced = visualize.trace(network()[0], af.ones(1, 4))
    path = visualize.render(network()[0], af.ones(1, 4), tmp_path / "rendered.json")
    assert [node.op for node in GraphView.load(path).nodes] == [node.op for node in traced.nodes]
    again = visualize.render(GraphView.load(path), tmp_path / "again.json")
    assert GraphView.load(again) == GraphView.load(path)
    for one in dataclasses.fields(Node):  # nothing is forgotten when a field is added
        assert getattr(view.nodes[1], one.name) != one.default


def test_what_is_no_graph_says_where(tmp_path):
    good = json.loads(everything().to_json())

    def wrong(change):
        data = json.loads(json.dumps(good))
        change(data)
        return data

    cases = [
        ({}, "no format 'autograd_ff.GraphView'"),
        ([], "no format"),
        ({**good, "version": 2}, "version 2; this program reads version 1"),
        ({**good, "version": True}, "version True"),
        ({**good, "nodes": None}, "nodes should be a list, and is null"),
        ({**good, "name": 3}, "name should be text, and is 3"),
        (wrong(lambda data: data.pop("edges")), "has no 'edges'"),
        (wrong(lambda data: data["nodes"][1].update(kind="thing")), r"nodes\[1\].kind should be one of input, "),
        (wrong(lambda data: data["nodes"][1].pop("kind")), r"nodes\[1\] has no 'kind'"),
        (wrong(lambda data: data["nodes"].append(7)), r"nodes\[2\] should be an object, and is 7"),
        (
            wrong(lambda data: data["nodes"][1]["outputs"][0].update(shape=[-1])),
            r"nodes\[1\].outputs\[0\].shape\[0\] should",
        ),
        (wrong(lambda data: data["nodes"][1].update(measures=[["mean", "big"]])), r"measures\[0\] should be a number"),
        (wrong(lambda data: data["nodes"][1].update(measures=[1])), r"measures\[0\] should be a pair"),
        (wrong(lambda data: data["nodes"][1].update(id=0)), r"nodes\[1\].id should be 1, its position, and is 0"),
        (wrong(lambda data: data["nodes"][1].update(module=5)), r"nodes\[1\].module is 5, and there are 1 modules"),
        (wrong(lambda data: data["nodes"][1].update(belongs_to=5)), r"nodes\[1\].belongs_to is 5"),
        (wrong(lambda data: data["nodes"][1].update(count=0)), r"nodes\[1\].count should be a whole number from 1"),
        (wrong(lambda data: data["edges"][0].update(source=1)), r"edges\[0\].source should be less than its target 1"),
        (wrong(lambda data: data["edges"][0].update(target=9)), r"edges\[0\].target is 9, and there are 2 nodes"),
        (wrong(lambda data: data["modules"][0].update(parent=0)), r"modules\[0\].parent should be less than 0"),
    ]
    for data, message in cases:
        with pytest.raises(FileFormatError, match=message) as error:
            GraphView.from_dict(data)
        assert isinstance(error.value, ValueError)
        assert "test_visualize_trace.py" in str(error.value)
    for text in ("", "{", "[" * 200_000, b"\xff\xfe\x00", "NaN"):
        with pytest.raises(FileFormatError, match=r"not JSON|no format"):
            GraphView.from_json(text)
    (tmp_path / "graph.json").write_text("no")
    with pytest.raises(FileFormatError, match=r"graph\.json is not JSON"):
        GraphView.load(tmp_path / "graph.json")


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_a_damaged_file_is_an_error_or_a_graph(data):
    content = json.loads(everything().to_json())
    place = content
    while True:  # somewhere in it stands something else
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(place[key], (dict, list)) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(JUNK)
        break
    try:
        view = GraphView.from_dict(content)
    except FileFormatError:
        return
    assert GraphView.from_json(view.to_json()) == view
    visualize.to_dot(visualize.simplify(view))


def test_files_of_other_kinds(tmp_path):
    model, x, _ = network()
    for suffix, start in ((".dot", "digraph"), (".mmd", "flowchart"), (".md", "```mermaid\nflowchart")):
        path = visualize.render(model, x, tmp_path / f"graph{suffix}", depth=1, theme="dark")
        text = (tmp_path / f"graph{suffix}").read_text(encoding="utf-8")
        assert path == str(tmp_path / f"graph{suffix}")
        assert text.startswith(start)
        assert "Linear" in text
    with pytest.raises(PictureError, match=r"(?s)'graph.gif' should end in \.png, .*\.json.*test_visualize_trace"):
        visualize.render(model, x, tmp_path / "graph.gif")
    backward = visualize.render(model, x, tmp_path / "both.dot", backward="only")
    with open(backward, encoding="utf-8") as file:
        assert "∇ linear" in file.read()


def test_errors_name_the_line_that_asked():
    for call in (
        lambda: visualize.trace(af.ones(2)),
        lambda: visualize.trace("loss"),
        lambda: visualize.trace(leaf(2) * 2, af.ones(2)),
        lambda: visualize.trace(leaf(2) * 2, backward="maybe"),
        lambda: visualize.trace(GraphView(), backward=True),
        lambda: visualize.render(leaf(2) * 2),
    ):
        with pytest.raises(PictureError, match=r"test_visualize_trace\.py") as error:
            call()
        assert isinstance(error.value, (AutogradError, ValueError))
        assert isinstance(error.value, TypeError)


def test_what_a_function_reads_from_around_it_names_its_parameters():
    def made(width):
        model, mask = nn.Linear(width, 2), af.ones(2)
        return lambda x: sum(one(x) * mask for one in (model,)).sum()

    function = made(3)
    model = nn.Linear(5, 5)  # another of that name
    view = visualize.trace(function, af.ones(4, 3), backward=True)
    assert model.weight.shape == (5, 5)
    assert {node.names for node in view.nodes if node.kind == "parameter"} == {("weight",), ("bias",)}
    assert {"∂loss/∂weight", "∂loss/∂bias"} <= {name for node in view.nodes for name in node.names}
    assert named(view, "mask").outputs[0].shape == (2,)
    unnamed = visualize.trace(function, af.ones(4, 3), names={})
    assert not any(node.names for node in unnamed.nodes if node.kind == "parameter")


@pytest.mark.parametrize("depth", [None, 1])
def test_an_embedding_hangs_on_the_tokens_that_it_looks_up(depth):
    model = af.nn.Sequential(af.nn.Embedding(10, 4), af.nn.Linear(4, 2))
    view = visualize.trace(model, af.tensor([[1, 2]]))
    (tokens,) = (node for node in view.nodes if node.kind == "input")
    (edge,) = (edge for edge in view.edges if edge.source == tokens.id)
    (looking_up,) = (node for node in view.nodes if node.id == edge.target)
    assert looking_up.op == "index"
