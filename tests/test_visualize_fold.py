"""Pictures of any size: folding by modules, equal neighbours, chains, stretches; what is opened, hidden and marked."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import replace
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
import visualize
from autograd_ff import engine, nn
from visualize import Edge, GraphView, Module, Node, PictureError, Value, simplify
from visualize.folding.chains import ELEMENTWISE, merge_chains
from visualize.folding.contraction import contract, folded
from visualize.folding.hiding import hide
from visualize.folding.periods import repetitions
from visualize.folding.repeats import merge_repeats
from visualize.folding.stretches import merge_lines, merge_stretches

# ---------------------------------------------------------------- a transformer encoder


class LayerNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight, self.bias = nn.Parameter(af.ones(width)), nn.Parameter(af.zeros(width))

    def forward(self, x):
        mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, correction=0)
        return (x - mean) / af.sqrt(variance + 1e-5) * self.weight + self.bias


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        batch, length, width = x.shape
        query, key, value = (
            project(x).reshape(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        weights = af.softmax(query @ key.transpose(-2, -1) / math.sqrt(width // self.heads), dim=-1)
        return self.out((weights @ value).transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.attention, self.norm2 = LayerNorm(width), Attention(width, heads), LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.fc2(nn.functional.gelu(self.fc1(self.norm2(x))))


class Transformer(nn.Module):
    """Twelve blocks of their own, or one that is called twelve times."""

    def __init__(self, shared, layers=12, width=16):
        super().__init__()
        self.embed = nn.Linear(8, width)
        if shared:
            self.block = Block(width, 2)
            self.sequence = [self.block] * layers
        else:
            self.layers = nn.ModuleList([Block(width, 2) for _ in range(layers)])
            self.sequence = None
        self.norm, self.head = LayerNorm(width), nn.Linear(width, 5)

    def forward(self, x):
        x = self.embed(x)
        for block in self.sequence or self.layers:
            x = block(x)
        return self.head(self.norm(x))


@pytest.fixture(scope="module", params=["own", "shared"])
def transformer(request):
    model = Transformer(request.param == "shared")
    return model, visualize.trace(model, af.ones(2, 6, 8))


def titles(view):
    return [(node.op or node.names[0], node.count) for node in view.nodes]


def well_formed(view):
    """What every view promises."""
    assert [node.id for node in view.nodes] == list(range(len(view.nodes)))
    assert [module.id for module in view.modules] == list(range(len(view.modules)))
    assert all(module.parent is None or module.parent < module.id for module in view.modules)
    assert all(node.module is None or node.module < len(view.modules) for node in view.nodes)
    assert all(edge.source < edge.target for edge in view.edges)
    assert all(edge.output < max(1, len(view.nodes[edge.source].outputs)) for edge in view.edges)
    assert all(node.belongs_to is None or 0 <= node.belongs_to < len(view.nodes) for node in view.nodes)
    assert all(node.count >= 1 for node in view.nodes)
    used = {module for node in view.nodes for module in view.path(node.module)}
    assert used == {module.id for module in view.modules}
    assert visualize.GraphView.from_json(view.to_json()) == view
    return view


def test_a_transformer_of_twelve_layers_shows_at_most_forty_nodes(transformer):
    model, view = transformer
    assert len(view.nodes) > 400
    shown = well_formed(simplify(view))
    assert len(shown.nodes) <= 40
    (box,) = (module for module in shown.modules if module.count > 1)
    assert (box.type, box.count) == ("Block", 12)
    assert box.name == ("block" if model.sequence else "layers.0–11")
    # The inside of one block stands for all twelve.
    inside = [node.op for node in shown.nodes if node.module == box.id]
    assert inside == ["LayerNorm", "Attention", "add", "LayerNorm", "Linear", "gelu", "Linear", "add"]
    assert " · Block ×12" in visualize.to_dot(shown)


def test_depth_says_how_many_levels_are_open(transformer):
    _, view = transformer
    assert titles(simplify(view, depth=0)) == [("x", 1), ("Transformer", 1), ("output", 1)]
    outer = well_formed(simplify(view, depth=1))
    assert titles(outer) == [("x", 1), ("Linear", 1), ("Block", 12), ("LayerNorm", 1), ("Linear", 1), ("output", 1)]
    assert [edge.target for edge in outer.edges] == [1, 2, 3, 4, 5]
    one = next(node for node in simplify(view, depth=1, repeats=False).nodes if node.op == "Block")
    assert outer.nodes[2].inside == 12 * one.inside > 12 * 30
    deep = well_formed(simplify(view, depth=3))
    assert [module.count for module in deep.modules if module.type == "Block"] == [12]
    assert "softmax" in [node.op for node in deep.nodes]


def names_around(view, node):
    return {view.modules[module].name for module in view.path(node.module)}


def test_one_block_is_opened_by_its_name(transformer):
    model, view = transformer
    name = "block" if model.sequence else "layers.0"
    shown = well_formed(simplify(view, depth=1, open=name))
    assert [node.op for node in shown.nodes if node.module is not None and shown.modules[node.module].count == 12] == [
        "LayerNorm", "Attention", "add", "LayerNorm", "Linear", "gelu", "Linear", "add",
    ]  # fmt: skip
    # The one that stands for all is opened by the name of any of them, and its inside by a pattern.
    if not model.sequence:
        assert simplify(view, depth=1, open="layers.7") == shown
    deeper = simplify(view, depth=1, open=f"{name}.attention*")
    assert "softmax" in [node.op for node in deeper.nodes]
    assert "var" not in [node.op for node in deeper.nodes]


def test_without_repeats_every_block_is_there(transformer):
    _, view = transformer
    shown = simplify(view, depth=1, repeats=False)
    assert [node.op for node in shown.nodes].count("Block") == 12
    if len({node.path for node in shown.nodes if node.op == "Block"}) == 12:
        assert [node.path for node in shown.nodes if node.op == "Block"] == [f"layers.{at}" for at in range(12)]


def test_a_backward_pass_folds_like_its_forward_pass(transformer):
    model, _ = transformer
    loss = model(af.ones(2, 6, 8)).sum()
    view = visualize.trace(loss, backward=True)
    shown = well_formed(simplify(view, depth=1))
    forward = [(node.op, node.count) for node in shown.nodes if node.op and not node.backward]
    back = [(node.op, node.count) for node in shown.nodes if node.op and node.backward]
    assert forward == [("Linear", 1), ("Block", 12), ("LayerNorm", 1), ("Linear", 1), ("sum", 1)]
    assert back[:3] == [("∇ sum", 1), ("∇ Linear", 1), ("∇ LayerNorm", 1)]
    assert {op for op, _ in back[3:-1]} == {"∇ Block"}
    assert sum(count for op, count in back if op == "∇ Block") == 12
    assert back[-1] == ("∇ Linear", 1)
    # Each gradient belongs to what it is the gradient of.
    for node in shown.nodes:
        if node.backward and node.op and node.belongs_to is not None:
            assert node.op == f"∇ {shown.nodes[node.belongs_to].op}"
    assert len(simplify(view).nodes) <= 40


def test_a_changed_block_is_no_repetition():
    model = Transformer(False, layers=6)
    model.layers[2].fc1, model.layers[2].fc2 = nn.Linear(16, 32), nn.Linear(32, 16)
    shown = simplify(visualize.trace(model, af.ones(2, 6, 8)), depth=1)
    assert [(node.path, node.count) for node in shown.nodes if node.op == "Block"] == [
        ("layers.0–1", 2), ("layers.2", 1), ("layers.3–5", 3)
    ]  # fmt: skip


def test_heads_side_by_side_are_no_chain():
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.heads = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])

        def forward(self, x):
            return af.cat([head(x) for head in self.heads], 1)

    view = visualize.trace(Heads(), af.ones(2, 4))
    assert all(module.count == 1 for module in merge_repeats(view).modules)


# ---------------------------------------------------------------- graphs without modules


def test_a_loop_of_operations_is_a_word_that_repeats():
    weights = [af.ones(4, 4, requires_grad=True) for _ in range(50)]
    x = af.ones(2, 4)
    for weight in weights:
        x = af.tanh(x @ weight)
    shown = well_formed(simplify(visualize.trace(x)))
    assert [(module.kind, module.type, module.count) for module in shown.modules] == [("repeat", "matmul · tanh", 50)]
    assert sorted(node.op for node in shown.nodes if node.op) == ["matmul", "tanh"]
    assert [node.kind for node in shown.nodes].count("parameter") == 1


def test_one_operation_that_repeats_counts():
    def count_up(x):
        for step in range(60):
            x = x + float(step)
        return x

    shown = simplify(visualize.trace(count_up, af.ones(2)))
    assert titles(shown) == [("x", 1), ("add", 60), ("output", 1)]
    assert shown.nodes[1].arguments == (("x2", "0 … 59"),)


def test_a_recurrent_cell_is_one_with_its_steps():
    cell, steps, state = nn.Linear(6, 3), [af.ones(1, 3) for _ in range(30)], af.zeros(1, 3)

    def run(state):
        for step in steps:
            state = af.tanh(cell(af.cat([state, step], 1)))
        return state

    shown = simplify(visualize.trace(run, state))
    assert [module.count for module in shown.modules if module.kind == "repeat"] == [30]
    assert len(shown.nodes) < 10


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 3), max_size=60))
def test_words_that_repeat_are_found_whole_and_apart(letters):
    found = repetitions(np.array(letters, int), [0] * len(letters))
    end = 0
    for start, length, times in found:
        assert start >= end
        assert times >= 2
        word = letters[start : start + length]
        assert letters[start : start + length * times] == word * times
        end = start + length * times
    # Nothing that repeats three times in a row was missed everywhere.
    if not found:
        assert not re.search(r"(.)\1", "".join(map(str, letters)))


def test_a_word_that_repeats_is_found_among_others():
    assert repetitions(np.array([9, *[1, 2, 1, 3] * 7, 9]), [0] * 30) == [(1, 4, 7)]
    assert repetitions(np.array([1, 2] * 500), [5, 4] * 500) == [(0, 2, 500)]


# ---------------------------------------------------------------- random graphs

UNARY = (af.tanh, af.exp, af.relu)


@st.composite
def views(draw, size=30):
    """Views of random graphs with nested modules, some of them marked, some of them backward."""
    count = draw(st.integers(1, size))
    random = draw(st.randoms(use_true_random=False))
    modules: list[Module] = []
    current: list[int] = []
    nodes, edges = [], []
    for id in range(count):
        while current and random.random() < 0.25:
            current.pop()
        if random.random() < 0.3:
            kind = random.choice(["module", "module", "composite"])
            modules.append(
                Module(len(modules), kind, f"m.{len(modules)}", random.choice("AB"), current[-1] if current else None)
            )
            current.append(len(modules) - 1)
        is_array = id == 0 or random.random() < 0.2
        value = Value((random.choice([2, 3]),), "float32")
        kind = random.choice(["parameter", "constant", "input"]) if is_array else random.choice(["op", "op", "view"])
        nodes.append(
            Node(
                id, kind, "" if is_array else random.choice(["exp", "add", "matmul"]), (value,),
                (f"n{id}",) if is_array else (), module=current[-1] if current else None,
                mark="dead" if random.random() < 0.05 else "", measures=(("forward", 1.0),),
            )
        )  # fmt: skip
        if not is_array:
            for position in range(random.choice([1, 1, 2])):
                source = id - 1 if random.random() < 0.6 else random.randrange(id)
                edges.append(Edge(source, id, 0, position, value=nodes[source].outputs[0]))
    return visualize.folding.contraction.without_empty_modules(GraphView(tuple(nodes), tuple(edges), tuple(modules)))


def times(view, node):
    return node.count * prod(view.modules[module].count for module in view.path(node.module))


@settings(deadline=None, max_examples=150)
@given(views())
def test_merging_repeats_counts_every_operation_once(view):
    merged = well_formed(merge_repeats(view))
    before = sum(node.count for node in view.nodes if node.op)
    assert sum(times(merged, node) for node in merged.nodes if node.op) == before
    # Times add up, and no mark is lost.
    assert sum(node.measure("forward") for node in merged.nodes) == sum(node.measure("forward") for node in view.nodes)
    assert {node.mark for node in merged.nodes} == {node.mark for node in view.nodes}


@settings(deadline=None, max_examples=150)
@given(views(), st.data())
def test_contraction_keeps_every_path(view, data):
    numbers = data.draw(st.lists(st.integers(-1, 3), min_size=len(view.nodes), max_size=len(view.nodes)))
    groups = [
        ([id for id, one in enumerate(numbers) if one == number], lambda members, results: folded(
            view, members, results, kind="module", op="+".join(str(node.id) for node in members)
        ))
        for number in set(numbers) - {-1}
    ]  # fmt: skip
    small = well_formed(contract(view, groups))
    where = {}
    for node in small.nodes:
        if re.fullmatch(r"\d+(\+\d+)*", node.op):
            where.update((int(id), node.id) for id in node.op.split("+"))
    left = [node.id for node in small.nodes if not re.fullmatch(r"\d+(\+\d+)*", node.op)]
    rest = [node for node in view.nodes if node.id not in where]
    assert len(left) == len(rest)
    for node in rest:
        fits = [id for id in left if replace(small.nodes[id], id=0, module=None) == replace(node, id=0, module=None)]
        assert fits
    assert sum(bool(node.op) for node in view.nodes) == sum(
        node.inside or 1 for node in small.nodes if node.op and (node.inside or node.id in left)
    )
    lines = {(edge.source, edge.target) for edge in small.edges}
    for edge in view.edges:
        if edge.source in where and edge.target in where and where[edge.source] != where[edge.target]:
            assert (where[edge.source], where[edge.target]) in lines


def test_a_group_in_a_circle_stays_apart():
    value = (Value((2,), "float32"),)
    nodes = tuple(Node(id, "op" if id else "input", "exp" if id else "", value, ("x",) * (not id)) for id in range(4))
    view = GraphView(nodes, (Edge(0, 1), Edge(1, 2), Edge(2, 3)))
    assert (
        contract(view, [([1, 3], lambda members, results: folded(view, members, results, kind="op", op="+"))]) == view
    )


@settings(deadline=None, max_examples=100)
@given(views(60), st.integers(8, 30))
def test_a_graph_of_any_shape_is_folded_to_what_was_asked_for(view, limit):
    shown = well_formed(simplify(view, limit=limit))
    assert len(shown.nodes) <= limit
    marks = {node.mark for node in view.nodes} - {""}
    assert marks <= {node.mark for node in shown.nodes}
    assert simplify(view, limit=limit) == shown


@settings(deadline=None, max_examples=60)
@given(views())
def test_chains_lines_and_stretches_keep_graphs_well_formed(view):
    well_formed(merge_chains(view))
    well_formed(merge_lines(view))
    for most in (1, 5, 12):
        assert len(well_formed(merge_stretches(view, most)).nodes) <= most + 2 * len(view.nodes) // max(most // 4, 1)
    for kind in ("view", "constant", "parameter"):
        left = well_formed(hide(view, kind))
        assert all(node.kind != kind or node.mark for node in left.nodes)


# ---------------------------------------------------------------- chains


def test_elementwise_operations_in_a_row_are_one():
    view = visualize.trace(lambda x, y: af.tanh(x * y + 1) @ y.T, af.ones(2, 2), af.ones(2, 2))
    merged = well_formed(merge_chains(view))
    assert [node.op for node in merged.nodes if node.op] == ["multiply · add · tanh", "transpose", "matmul"]
    assert merged.nodes[2].inside == 3
    assert len([edge for edge in merged.edges if edge.target == 2]) == 2


def test_what_is_read_twice_or_changes_shape_ends_a_chain():
    def twice(x):
        y = x.exp()
        return y.tanh() + y

    def wider(x):
        return (x.exp() + af.ones(3, 1)).tanh()

    assert [n.op for n in merge_chains(visualize.trace(twice, af.ones(2))).nodes if n.op] == ["exp", "tanh · add"]
    assert [n.op for n in merge_chains(visualize.trace(wider, af.ones(2))).nodes if n.op] == ["exp", "add · tanh"]


def test_every_elementwise_operation_exists():
    assert not ELEMENTWISE - set(engine.OPS)
    # Shape in, shape out: what mixes elements is no part of a chain.
    assert not ELEMENTWISE & {"softmax", "cumsum", "sort", "matmul", "layer_norm", "flip", "transpose"}


# ---------------------------------------------------------------- opening, folding, hiding


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.second = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

    def forward(self, x):
        return af.lerp(self.first(x), self.second(x.reshape(4, 1).reshape(1, 4)), 0.25)


def test_modules_are_chosen_by_name_pattern_type_class_and_predicate():
    view = visualize.trace(Mixed(), af.ones(1, 4))
    by_type = simplify(view, fold="Linear")
    assert [node.path for node in by_type.nodes if node.kind == "module"] == ["first.0", "second.0"]
    assert by_type == simplify(view, fold=nn.Linear) == simplify(view, fold="*.0")
    assert (
        by_type
        == simplify(view, fold=lambda module: module.detail == "4→4")
        == simplify(view, fold=("first.0", "second.0"))
    )
    one = simplify(view, fold="first")
    assert [node.path for node in one.nodes if node.kind == "module"] == ["first"]
    # What is opened by name is open, though its like is folded.
    assert simplify(view, fold=nn.Linear, open="first.0") == simplify(view, fold="second.0")
    assert simplify(view, depth=1, open="second*") == simplify(view, fold="first")
    assert [node.op for node in simplify(view, depth=1, open="second").nodes if node.module == 1] == ["Linear", "ReLU"]


def test_composites_are_closed_and_opened():
    view = visualize.trace(Mixed(), af.ones(1, 4))
    assert "lerp" in [node.op for node in simplify(view).nodes]
    assert "lerp" not in [node.op for node in simplify(view, open="lerp").nodes]
    assert simplify(view, open=True) == view
    assert simplify(view, open=True, fold="first") != view


def test_hidden_views_let_their_readers_read_on():
    view = visualize.trace(Mixed(), af.ones(1, 4))
    shown = well_formed(simplify(view, hide=("view", "parameter")))
    assert {node.kind for node in shown.nodes} == {"input", "kernel", "op", "output"}
    (x,) = (node.id for node in shown.nodes if node.kind == "input")
    assert sum(edge.source == x for edge in shown.edges) == 2
    by_name = simplify(view, hide="reshape")
    assert [node.op for node in view.nodes].count("reshape") == 2
    assert "reshape" not in [node.op for node in by_name.nodes]


def test_options_that_mean_nothing_say_so():
    view = visualize.trace(Mixed(), af.ones(1, 4))
    for options, message in (
        ({"depth": -1}, "depth is a number of levels"),
        ({"depth": 1.5}, "depth is a number of levels"),
        ({"limit": 0}, "limit is a number of nodes"),
        ({"hide": "op"}, "'op' cannot be hidden: give input"),
        ({"hide": "colour"}, "'colour' cannot be hidden"),
        ({"open": "third"}, "open='third' is no module of this graph; there are Mixed, first"),
        ({"fold": 3}, "not by int"),
    ):
        with pytest.raises(PictureError, match=message) as error:
            simplify(view, **options)
        assert "test_visualize_fold.py" in str(error.value)
        assert isinstance(error.value, ValueError)


# ---------------------------------------------------------------- marks and measurements


def test_the_modules_around_a_marked_node_are_open():
    view = visualize.trace(Transformer(False), af.ones(2, 6, 8))
    wrong = next(n.id for n in view.nodes if n.op == "softmax" and "layers.7" in names_around(view, n))
    view = visualize.mark(view, {wrong: ("wrong", "off by 2")})
    shown = well_formed(simplify(view))
    assert len(shown.nodes) <= 40
    (node,) = (node for node in shown.nodes if node.mark)
    assert (node.op, node.mark, node.remark) == ("softmax", "wrong", "off by 2")
    assert [(m.name, m.count) for m in shown.modules if m.type == "Block"] == [("layers.7", 1)]
    blocks = {node.path: node.count for node in shown.nodes if node.op == "Block"}
    assert blocks == {"layers.0–6": 7, "layers.8–11": 4}
    # Folded all the same, the mark stays on what it was folded into.
    closed = simplify(view, depth=1, fold="layers.7")
    (node,) = (node for node in closed.nodes if node.mark)
    assert (node.path, node.mark, node.remark) == ("layers.7", "wrong", "off by 2")


def test_a_mark_everywhere_opens_no_more_than_fits():
    view = visualize.trace(Transformer(False), af.ones(2, 6, 8))
    marked = visualize.mark(view, {n.id: "dead" for n in view.nodes if n.op == "gelu"})
    shown = simplify(marked)
    assert len(shown.nodes) <= 40
    assert "dead" in {node.mark for node in shown.nodes}


def test_measurements_of_what_is_folded():
    value = (Value((2,), "float32"),)
    nodes = tuple(
        Node(id, "op", "exp", value, module=0, measures=(("forward", 1.0), ("mean", float(id)), ("zeros", id / 10)))
        for id in range(4)
    )
    view = GraphView(nodes, tuple(Edge(id, id + 1) for id in range(3)), (Module(0, "module", "net", "Net"),))
    (whole,) = visualize.fold(view, "Net").nodes
    assert dict(whole.measures) == {"forward": 4.0, "mean": 3.0, "zeros": 0.3}
    one, *_ = merge_repeats(view).nodes
    rest = merge_repeats(view).nodes
    assert sum(node.measure("forward") for node in rest) == 4.0
    assert max(node.measure("zeros") for node in rest) == 0.3
    assert one.count + sum(node.count for node in rest[1:]) == 4


# ---------------------------------------------------------------- a hundred thousand nodes


def many(count):
    model = nn.Sequential(*(nn.Linear(2, 2) if at % 2 == 0 else nn.ReLU() for at in range(count)))
    return model(af.ones(1, 2))


def one_by_one(count):
    x = af.ones(2, requires_grad=True)
    for step in range(count):
        x = (x.sin() if step % 3 else x.cos()) + (x if step % 7 == 0 else 1.0)
    return x


def shuffled(count):
    """No two stretches alike, much is read twice."""
    choose = np.random.default_rng(0).integers(0, 4, (count, 2))
    values = [af.ones(2, requires_grad=True)]
    for which, back in choose:
        x, y = values[-1], values[-1 - min(back, len(values) - 1)]
        values.append((x.sin(), x + y, x * y, y.tanh())[which] * 0.5)
    return values[-1]


@pytest.mark.parametrize(("make", "count"), [(many, 10_000), (one_by_one, 50_000), (shuffled, 20_000)])
def test_a_hundred_thousand_nodes_are_folded_and_never_recurse(make, count):
    result = make(count)
    limit = sys.getrecursionlimit()
    frame, depth = sys._getframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    sys.setrecursionlimit(depth + 60)
    try:
        view = visualize.trace(result, names={})
        shown = simplify(view)
        text = visualize.to_dot(shown)
    finally:
        sys.setrecursionlimit(limit)
    assert len(view.nodes) > 1.6 * count
    assert 1 < len(shown.nodes) <= 40
    assert len(text) < 100_000


def test_a_picture_of_too_many_nodes_is_refused_with_the_way_out(tmp_path):
    result = one_by_one(3000)
    with pytest.raises(
        visualize.LayoutError, match=r"(?s)6,\d\d\d nodes.*test_visualize_fold.*leave out depth"
    ) as error:
        visualize.render(result, tmp_path / "graph.png", open=True)
    assert not (tmp_path / "graph.png").exists()
    assert ".html" in str(error.value)
    visualize.render(result, tmp_path / "graph.dot", open=True)
