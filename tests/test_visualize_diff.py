"""Diffs of graphs: what belongs together, what came, went and changed, and that both are in the picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
import visualize
from autograd_ff import nn
from visualize import Edge, GraphView, Module, Node, Value, diff, diff_text

OPS = ("exp", "tanh", "add", "relu")
SHAPES = ((2,), (2, 3), (4, 3))


@st.composite
def views(draw):
    """Small graphs with nested modules, full of nodes that are alike."""
    modules = []
    for at in range(draw(st.integers(0, 4))):
        parent = draw(st.sampled_from([None, *range(at)]))
        modules.append(Module(at, "module", f"m{draw(st.integers(0, 2))}", "Block", parent))
    nodes, edges = [], []
    for at in range(draw(st.integers(1, 14))):
        value = Value(draw(st.sampled_from(SHAPES)), "float32")
        if at == 0 or draw(st.integers(0, 4)) == 0:
            nodes.append(Node(at, "parameter", outputs=(value,), names=(f"w{draw(st.integers(0, 3))}",)))
            continue
        module = draw(st.sampled_from([None, *range(len(modules))]))
        nodes.append(Node(at, "op", draw(st.sampled_from(OPS)), (value,), module=module))
        for position, source in enumerate(draw(st.lists(st.integers(0, at - 1), min_size=1, max_size=2))):
            edges.append(Edge(source, at, input=position, value=nodes[source].outputs[0]))
    return GraphView(tuple(nodes), tuple(edges), tuple(modules), "drawn")


def without(view, gone):
    """The view less some nodes and the edges at them."""
    left = [node for node in view.nodes if node.id not in gone]
    ids = {node.id: at for at, node in enumerate(left)}
    return replace(
        view,
        nodes=tuple(replace(node, id=ids[node.id]) for node in left),
        edges=tuple(
            replace(edge, source=ids[edge.source], target=ids[edge.target])
            for edge in view.edges
            if edge.source in ids and edge.target in ids
        ),
    )


def marks(view):
    found = [node.mark for node in view.nodes if node.mark]
    return {mark: found.count(mark) for mark in found}


def plain(node):
    return (node.kind, node.op, node.names, node.outputs)


# ---------------------------------------------------------------- properties


@given(views())
@settings(deadline=None)
def test_a_view_does_not_differ_from_itself(view):
    same = diff(view, view)
    assert same.nodes == view.nodes
    assert sorted(map(repr, same.edges)) == sorted(map(repr, view.edges))
    assert diff_text(same) == "no difference"


@given(views(), st.data())
@settings(deadline=None)
def test_what_was_taken_away_is_removed_and_nothing_else_is_marked(view, data):
    gone = data.draw(st.sets(st.integers(0, len(view.nodes) - 1), max_size=len(view.nodes) - 1))
    less = without(view, gone)
    found = diff(view, less)
    assert marks(found) == ({"removed": len(gone)} if gone else {})
    assert sorted(map(repr, (plain(node) for node in found.nodes))) == sorted(map(repr, map(plain, view.nodes)))
    removed = sorted(repr(plain(node)) for node in found.nodes if node.mark)
    assert removed == sorted(repr(plain(view.nodes[at])) for at in gone)
    assert marks(diff(less, view)) == ({"added": len(gone)} if gone else {})


@given(views(), views())
@settings(deadline=None)
def test_forth_and_back_mirror_each_other_and_every_edge_leads_forward(before, after):
    forth, back = diff(before, after), diff(after, before)
    mirror = {"added": "removed", "removed": "added", "changed": "changed"}
    assert {mirror[mark]: count for mark, count in marks(forth).items()} == marks(back)
    for view in (forth, back):
        assert [node.id for node in view.nodes] == list(range(len(view.nodes)))
        assert all(edge.source < edge.target for edge in view.edges)
        assert all(module.parent is None or module.parent < module.id for module in view.modules)
        assert GraphView.from_dict(view.to_dict()) == view
    new = [plain(node) for node in forth.nodes if node.mark != "removed"]
    assert sorted(map(repr, new)) == sorted(map(repr, map(plain, after.nodes)))
    assert len(forth.nodes) == len(after.nodes) + marks(forth).get("removed", 0)
    left = [edge for edge in forth.edges if edge.mark != "removed"]
    assert len(left) == len(after.edges)
    assert diff(before, after) == forth


@given(views(), st.data())
@settings(deadline=None)
def test_a_changed_shape_is_one_change(view, data):
    at = data.draw(st.integers(0, len(view.nodes) - 1))
    nodes = list(view.nodes)
    nodes[at] = replace(nodes[at], outputs=(Value((9, 9), "float32"),))
    found = diff(view, replace(view, nodes=tuple(nodes)))
    (changed,) = (node for node in found.nodes if node.mark)
    assert changed.mark == "changed"
    assert changed.remark.endswith("→ 9×9")


# ---------------------------------------------------------------- networks


def network(width=128, middle=()):
    return nn.Sequential(nn.Linear(784, width), nn.ReLU(), *middle, nn.Linear(width, 10))


def differences(before, after, *inputs, **options):
    return {
        node.op or node.names[0]: (node.mark, node.remark)
        for node in diff(before, after, *inputs, **options).nodes
        if node.mark
    }


def test_a_wider_layer():
    images = af.ones(64, 784)
    assert differences(network(128), network(256), images) == {
        "0.weight": ("changed", "128×784 → 256×784"),
        "0.bias": ("changed", "128 → 256"),
        "linear": ("changed", "64×128 → 64×256"),
        "relu": ("changed", "64×128 → 64×256"),
        "2.weight": ("changed", "10×128 → 10×256"),
    }


def test_a_layer_put_in_renumbers_the_rest_and_only_it_is_new():
    images = af.ones(64, 784)
    found = diff(network(), network(middle=[nn.Tanh()]), images)
    assert [(node.op, node.mark) for node in found.nodes if node.mark] == [("tanh", "added")]
    assert [node.names for node in found.nodes if node.kind == "parameter"][-1] == ("3.bias",)
    # The connection that led past the new layer is there still, and said to be gone.
    assert sorted(edge.mark for edge in found.edges if edge.mark) == ["added", "added", "removed"]
    assert diff_text(found).splitlines()[0] == "1 added"
    assert "+ tanh in 2, 64×128 float32" in diff_text(found)
    back = diff(network(middle=[nn.Tanh()]), network(), images)
    assert [(node.op, node.mark) for node in back.nodes if node.mark] == [("tanh", "removed")]


def test_arguments_dtypes_and_gradients():
    x = af.ones(2, 3)
    assert differences(lambda x: x.sum(dim=0).exp(), lambda x: x.sum(dim=1).exp(), x)["sum"] == (
        "changed",
        "3 → 2, axis: 0 → 1",
    )
    found = differences(lambda x: x.exp(), lambda x: x.double().exp(), x)
    assert found["exp"] == ("changed", "float32 → float64")
    weight = af.ones(3, requires_grad=True)
    view = diff(lambda x: (x * weight).exp(), lambda x: (x * weight.detach()).exp(), x)
    assert [node.remark for node in view.nodes if node.op] == ["now without a gradient"] * 2


def test_the_order_of_independent_branches_is_no_difference():
    def one(x):
        left = x.exp()
        return left * x.tanh()

    def other(x):
        right = x.tanh()
        return x.exp() * right

    assert differences(one, other, af.ones(2)) == {}


def test_statistics_beyond_the_tolerance():
    model = network()
    images = af.tensor(np.random.default_rng(0).random((64, 784), dtype=np.float32))
    before = visualize.measure(model, images, repeats=1)
    again = visualize.measure(model, images, repeats=1)
    assert marks(diff(before, again)) == {}  # times are no difference
    with af.no_grad():
        model[0].bias.add_(50.0)
    after = visualize.measure(model, images, repeats=1)
    found = differences(before, after)
    assert found["0.bias"][0] == "changed"
    assert found["0.bias"][1].startswith("mean ")
    assert "0.weight" not in {name for name, (_, remark) in found.items() if "gradient" not in remark}
    assert differences(before, after, measures=()) == {}
    assert marks(diff(before, after, tolerance=1e9)) == {}
    with pytest.raises(ValueError, match="no measurement is called 'median'"):
        diff(before, after, measures=["median"])


def test_marks_and_values_go_together_with_both_passes():
    x = af.ones(3, requires_grad=True)
    before = visualize.trace(lambda x: x.exp().sum(), x, backward=True)
    after = visualize.trace(lambda x: x.exp().tanh().sum(), x, backward=True)
    found = diff(before, after)
    for node in found.nodes:
        if node.belongs_to is not None:
            owner = found.nodes[node.belongs_to]
            source = after if node.mark != "removed" else before
            assert plain(owner) in map(plain, source.nodes)
    assert {"tanh"} <= {node.op for node in found.nodes if node.mark == "added"}


def test_a_long_chain_takes_no_recursion_and_little_time():
    def chain(count, other=()):
        nodes = [Node(at, "op", "tanh" if at in other else "exp", (Value((2,), "float32"),)) for at in range(count)]
        return GraphView(tuple(nodes), tuple(Edge(at, at + 1) for at in range(count - 1)))

    found = diff(chain(20_000), chain(20_000, {7, 12_000}))
    assert marks(found) == {"added": 2, "removed": 2}
