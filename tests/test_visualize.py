"""Pictures: what the walk finds, that its data and texts are deterministic, and that every format comes out."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
import visualize
from autograd_ff import engine
from autograd_ff.autograd import Function
from autograd_ff.functions import Tensor
from autograd_ff.nn.module import Module
from autograd_ff.nn.parameter import Buffer, Parameter
from visualize.drawing import layout as layout_module
from visualize.drawing.layout import LayoutError, layout
from visualize.rendering import render

GOLDEN = Path(__file__).parent / "golden"


# ---------------------------------------------------------------- models to draw


def filled(*shape, requires_grad=False):
    values = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape) / 7
    return Tensor(values).requires_grad_(requires_grad)


class Linear(Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(np.ones((out_features, in_features), np.float32))
        self.bias = Parameter(np.zeros(out_features, np.float32))

    def forward(self, x):
        return engine.OPS["linear"](x, self.weight, self.bias)


class ReLU(Module):
    def forward(self, x):
        return np.maximum(x, 0)


class Network(Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.act, self.out = Linear(8, 4), ReLU(), Linear(4, 3)

    def forward(self, x):
        return self.out(self.act(self.fc1(x)))


class Block(Module):
    def __init__(self, mix):
        super().__init__()
        self.mix = mix

    def forward(self, x):
        return x + np.tanh(self.mix(x))


class Residual(Module):
    def __init__(self):
        super().__init__()
        shared = Linear(4, 4)
        self.first, self.second = Block(shared), Block(shared)

    def forward(self, x, options=None):
        out = self.second(self.first(x))
        return {"features": out, "score": out * options["scale"]} if options else out


def cross_entropy(logits, target):
    with engine.scope("composite", "cross_entropy", "cross_entropy"):
        return np.mean(engine.OPS["cross_entropy"](logits, target))


def network_view():
    model, images, labels = Network(), filled(5, 8), np.arange(5) % 3
    return visualize.trace(lambda images, labels: cross_entropy(model(images), labels), images, labels)


def writes_view():
    a, b = filled(4, requires_grad=True), filled(6, 4, requires_grad=True)
    t = b * 1.5
    t[1:3] += a[0]
    t *= 2
    return visualize.trace(np.sum(np.reshape(np.transpose(t), (3, 8))), names={"a": a, "b": b, "t": t})


def gradient_view():
    x = filled(4, requires_grad=True)
    (slope,) = af.autograd.grad(np.sum(np.tanh(x * 2)), x, create_graph=True)
    return visualize.trace(np.sum(slope * slope), names={"x": x, "slope": slope})


GRAPHS = {
    "network": lambda: visualize.to_dot(visualize.fold_functions(network_view()), title="A small network"),
    "writes": lambda: visualize.to_dot(visualize.fold_functions(writes_view())),
    "gradient": lambda: visualize.to_dot(gradient_view(), direction="LR", legend=False),
}


def kinds(view):
    return [(node.kind, node.op or node.names) for node in view.nodes]


def edge_names(view):
    def name(node):
        return node.op or "/".join(node.names)

    return {(name(view.nodes[edge.source]), name(view.nodes[edge.target]), edge.name) for edge in view.edges}


# ---------------------------------------------------------------- golden texts


@pytest.mark.parametrize("name", GRAPHS)
def test_dot_text_is_golden(name):
    """To accept a change: UPDATE_GOLDEN=1 pytest tests/test_visualize.py, then look at the difference."""
    text = re.sub(r"(\.py:)\d+", r"\1N", GRAPHS[name]())
    file = GOLDEN / f"{name}.dot"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_two_runs_and_two_processes_give_the_same_bytes():
    first = {name: make() for name, make in GRAPHS.items()}
    assert first == {name: make() for name, make in GRAPHS.items()}
    program = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); import test_visualize as t; "
        "print(json.dumps({name: make() for name, make in t.GRAPHS.items()}))"
    )
    there = subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parent)],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "12345"},
    )
    assert json.loads(there.stdout) == first


# ---------------------------------------------------------------- what the walk finds


def test_a_loss_shows_parameters_images_and_labels():
    model, images, labels = Network(), filled(5, 8), np.arange(5) % 3
    loss = cross_entropy(model(images), labels)
    view = visualize.trace(loss)
    assert kinds(view) == [
        ("parameter", ("fc1.weight",)),
        ("parameter", ("fc1.bias",)),
        ("parameter", ("out.weight",)),
        ("parameter", ("out.bias",)),
        ("input", ("images",)),
        ("kernel", "linear"),
        ("op", "maximum"),
        ("kernel", "linear"),
        ("input", ("labels",)),
        ("kernel", "cross_entropy"),
        ("loss", "mean"),
    ]
    assert view.nodes[-1].names == ("loss",)
    assert edge_names(view) >= {("images", "linear", "x"), ("fc1.weight", "linear", "weight")}
    assert [(module.kind, module.name, module.type, module.parent) for module in view.modules] == [
        ("module", "Network", "Network", None),
        ("module", "fc1", "Linear", 0),
        ("module", "act", "ReLU", 0),
        ("module", "out", "Linear", 0),
        ("composite", "cross_entropy", "cross_entropy", None),
    ]
    assert view.modules[1].detail == "8→4"
    assert [view.nodes[at].module for at in range(4)] == [1, 1, 3, 3]
    assert view.nodes[0].nbytes == 4 * 8 * 4


def test_names_can_be_given_or_left_out():
    w = filled(3, requires_grad=True)
    out = np.sum(w * 2)
    assert visualize.trace(out).nodes[0].names == ("w",)
    assert visualize.trace(out, names={}).nodes[0].names == ()
    assert visualize.trace(out, names={"fc1.weight": w}).nodes[0].names == ("fc1.weight",)
    model = Network()
    out = np.sum(model(filled(1, 8)))
    assert visualize.trace(out, names=model) == visualize.trace(out, names={"model": model})
    by_parameters = visualize.trace(out, names=dict(model.named_parameters()))
    assert by_parameters.nodes[0].names == ("fc1.weight",)
    other = Network()  # beside a second network, names say whose parameters they are
    assert visualize.trace(out).nodes[0].names == ("model.fc1.weight",)
    del other


def test_a_module_with_inputs_shows_inputs_outputs_and_shared_layers():
    model = Residual()
    x, scale = filled(2, 4), np.full((2, 4), 2.0, np.float32)
    view = visualize.trace(model, x, kwargs={"options": {"scale": scale}})
    assert [node.names for node in view.nodes if node.kind == "input"] == [("x",), ("options['scale']",)]
    assert [node.names for node in view.nodes if node.kind == "output"] == [
        ("output['features']",),
        ("output['score']",),
    ]
    (weight,) = (node for node in view.nodes if "first.mix.weight" in node.names)
    assert weight.names == ("first.mix.weight", "second.mix.weight")
    assert view.modules[weight.module].type == "Residual"  # outside both of its readers
    assert sum(edge.source == weight.id for edge in view.edges) == 2
    assert view.name == "Residual"
    assert visualize.trace(model, x) != view


def test_without_gradients_and_on_integers_a_model_is_drawn_all_the_same():
    model = Network()
    with af.no_grad():
        view = visualize.trace(model, np.arange(16).reshape(2, 8))
    assert [node.kind for node in view.nodes if node.op] == ["kernel", "op", "kernel"]
    assert not any(node.tracked for node in view.nodes if node.op)
    assert {node.names for node in view.nodes if node.kind == "parameter"} == {
        ("fc1.weight",), ("fc1.bias",), ("out.weight",), ("out.bias",)
    }  # fmt: skip
    # The engine computes in float32, and the picture still leads back to the integers.
    assert ("x", "linear", "x") in edge_names(view)
    assert view.nodes[0].outputs[0].dtype == "int64"


def test_a_parameter_read_with_and_without_gradient_is_one_node():
    w = filled(3, requires_grad=True)

    def function(x):
        with af.no_grad():
            scale = np.exp(w)
        return np.sum(x * w * scale)

    view = visualize.trace(function, filled(3))
    assert [node.names for node in view.nodes if node.kind == "parameter"] == [("w",)]
    assert ("w", "exp", "x") in edge_names(view)


def test_unused_inputs_are_shown_and_unread_results_are_not():
    def function(x, unused):
        np.exp(x)  # nobody reads it
        return np.tanh(x)

    view = visualize.trace(function, filled(2), filled(3))
    assert kinds(view) == [("input", ("x",)), ("input", ("unused",)), ("op", "tanh"), ("output", ("output",))]


def test_writes_without_a_graph_are_followed_through_memory():
    def function(x):
        total = x * 1
        part = total[1:3]
        part.copy_(5.0)
        return total + 1

    view = visualize.trace(function, filled(4))
    (write,) = (node for node in view.nodes if node.kind == "write")
    readers = [view.nodes[edge.target].op for edge in view.edges if edge.source == write.id]
    assert readers == ["add"]


def test_a_users_function_is_one_node():
    class Twice(Function):
        @staticmethod
        def forward(ctx, x):
            return x + x

        @staticmethod
        def backward(ctx, gradient):
            return gradient + gradient

    for requires_grad in (True, False):
        view = visualize.trace(lambda x: Twice.apply(x) * 3, filled(2, requires_grad=requires_grad))
        assert [(node.kind, node.op) for node in view.nodes if node.op] == [("op", "Twice"), ("op", "multiply")]


def test_several_outputs_are_folded_into_the_edges():
    def both(x):
        return np.sin(x), np.cos(x)

    op = engine.primitive(both, lambda g: g[0] + g[1], inputs=("x",), outputs=2, domain=engine.REAL)
    try:
        x = filled(3, requires_grad=True)
        sine, cosine = op(x)
        recorded = visualize.trace(sine * cosine)
        observed = visualize.trace(lambda x: np.multiply(*op(x)), x)
    finally:
        del engine.OPS["both"]
    for view in (recorded, observed):
        assert [node.op for node in view.nodes if node.op] == ["both", "multiply"]
        assert [(edge.output, edge.input) for edge in view.edges if view.nodes[edge.source].op == "both"][:2] == [
            (0, 0),
            (1, 1),
        ]
    assert visualize.to_dot(recorded).count('label=" 3 float32"') == 2


def test_gradient_graphs_tell_gradients_from_values():
    view = gradient_view()
    assert [node.op for node in view.nodes if node.backward] == ["multiply", "subtract", "multiply", "multiply"]
    folded = visualize.fold_functions(view)
    assert [node.op for node in folded.nodes if node.backward] == ["∇ tanh", "∇ multiply"]
    kept = visualize.fold_functions(view, open="tanh")
    assert [node.op for node in kept.nodes if node.backward] == ["multiply", "subtract", "multiply", "∇ multiply"]


def test_running_a_model_for_its_picture_changes_nothing():
    class Counting(Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", Buffer(np.zeros(2, np.float32)))

        def forward(self, x):
            with af.no_grad():
                self.seen.copy_(self.seen + 1)
            return x * self.seen

    model = Counting()
    view = visualize.trace(model, filled(2))
    assert model.seen.tolist() == [0, 0]
    assert ("buffer", ("seen",)) in kinds(view)
    assert ("write", "multiply", "x2") in edge_names(view)


def test_source_lines():
    x = filled(2, requires_grad=True)
    view = visualize.trace(np.sum(x * 5))  # this very line
    source = view.nodes[1].source
    assert source is not None
    assert source.text.endswith("# this very line")
    assert source.file.endswith("tests/test_visualize.py")


def test_what_cannot_be_drawn_says_why(tmp_path):
    with pytest.raises(ValueError, match="requires grad"):
        visualize.trace(filled(2))
    with pytest.raises(TypeError, match="nothing to draw in str"):
        visualize.trace("loss")
    with pytest.raises(TypeError, match="inputs belong to a module"):
        visualize.trace(filled(2, requires_grad=True) * 2, filled(2))
    loss = filled(2, requires_grad=True) * 2
    with pytest.raises(ValueError, match="path last"):
        render(loss)
    with pytest.raises(ValueError, match=r"\.png, \.svg, \.pdf, .* or \.json"):
        render(loss, tmp_path / "graph.jpg")
    with pytest.raises(ValueError, match="direction"):
        render(loss, tmp_path / "graph.dot", direction="down")
    with pytest.raises(visualize.PictureError, match=r"there is no folder '.*nowhere' to write 'graph.dot' into"):
        render(loss, tmp_path / "nowhere" / "graph.dot")
    with pytest.raises(ValueError, match="version 99"):
        visualize.GraphView.from_dict({"format": "autograd_ff.GraphView", "version": 99})
    with pytest.raises(ValueError, match="not the data of a GraphView"):
        visualize.GraphView.from_dict({})


def test_a_module_without_inputs_is_told_how_to_give_them(tmp_path):
    path = tmp_path / "graph.dot"
    with pytest.raises(
        visualize.PictureError, match=r"(?s)Network is called with x: .*render\(model, x, .*module_tree"
    ):
        render(Network(), path)
    with pytest.raises(visualize.PictureError, match=r"pair is called with a, b: .*render\(function, a, b, ") as caught:
        render(pair, path)
    assert "module_tree" not in str(caught.value)
    assert not path.exists()
    weight = filled(2, requires_grad=True)
    assert render(lambda: weight * 2, path) == str(path)  # needs none
    with pytest.raises(TypeError):
        render(pair, weight, path)


def pair(a, b):
    return a * b


def test_a_module_that_is_not_there_is_told_the_nearest(tmp_path):
    x = filled(2, 8)
    with pytest.raises(visualize.PictureError, match=r"open='all'.*\(open=True means all of them\)"):
        render(Network(), x, tmp_path / "graph.dot", open="all")
    with pytest.raises(visualize.PictureError, match=r"fold='Linera'.*\(did you mean 'Linear'\?\)"):
        render(Network(), x, tmp_path / "graph.dot", fold="Linera")
    with pytest.raises(visualize.PictureError, match=r"'xyzzy' is no module of this graph; there are "):
        render(Network(), x, tmp_path / "graph.dot", fold="xyzzy")


# ---------------------------------------------------------------- properties of random graphs

UNARY = (np.tanh, np.exp, np.negative, np.transpose)
BINARY = (np.add, np.multiply, np.maximum)


@st.composite
def programs(draw):
    """Steps (function, positions of arguments, scopes to enter, scopes to leave)."""
    leaves = draw(st.integers(1, 3))
    steps = []
    for count in range(leaves, leaves + draw(st.integers(1, 14))):
        unary = draw(st.booleans())
        function = draw(st.sampled_from(UNARY if unary else BINARY))
        arguments = draw(st.lists(st.integers(0, count - 1), min_size=2 - unary, max_size=2 - unary))
        scopes = draw(st.lists(st.sampled_from(("module", "composite")), max_size=2))
        steps.append((function, tuple(arguments), tuple(scopes), draw(st.integers(0, 2))))
    return leaves, steps


def run(program, values):
    """All values of a program; the scope that each step ran in."""
    from contextlib import ExitStack

    _, steps = program
    values, stacks = list(values), []
    with ExitStack() as everything:
        for number, (function, arguments, scopes, leave) in enumerate(steps):
            for _ in range(min(leave, len(stacks))):
                stacks.pop().close()
            for kind in scopes:
                stack = everything.enter_context(ExitStack())
                stack.enter_context(engine.scope(kind, f"s{number}", "S"))
                stacks.append(stack)
            values.append(function(*(values[at] for at in arguments)))
        while stacks:
            stacks.pop().close()
    return values


@settings(deadline=None)
@given(programs(), st.booleans())
def test_every_node_and_edge_once(program, observed):
    leaves, steps = program
    inputs = [filled(2, 2, requires_grad=True) for _ in range(leaves)]
    with np.errstate(over="ignore"):  # exp of exp of exp
        if observed:
            view = visualize.trace(lambda *inputs: run(program, inputs)[-1], *inputs, names={})
        else:
            view = visualize.trace(run(program, inputs)[-1], names={})
    needed = {leaves + len(steps) - 1}
    for at in reversed(range(len(steps))):
        if leaves + at in needed:
            needed.update(steps[at][1])
    expected_ops = [steps[at][0].__name__ for at in range(len(steps)) if leaves + at in needed]
    assert [node.op for node in view.nodes if node.op] == expected_ops
    assert len(view.edges) == sum(len(steps[at][1]) for at in range(len(steps)) if leaves + at in needed) + observed
    assert [node.id for node in view.nodes] == list(range(len(view.nodes)))
    assert all(edge.source < edge.target for edge in view.edges)
    assert len({(edge.target, edge.input) for edge in view.edges}) == len(view.edges)
    # the same program gives an equal view, and JSON gives it back
    again = (
        visualize.trace(lambda *inputs: run(program, inputs)[-1], *inputs, names={})
        if observed
        else visualize.trace(run(program, inputs)[-1], names={})
    )
    assert again == view
    assert visualize.GraphView.from_dict(json.loads(json.dumps(view.to_dict()))) == view
    # folded or not, the text has each node and edge once
    for shown in (view, visualize.fold_functions(view)):
        check_text(shown)
        assert all(edge.source < edge.target for edge in shown.edges)
        assert all(edge.output < len(shown.nodes[edge.source].outputs) for edge in shown.edges)
        assert all(module.parent is None or module.parent < module.id for module in shown.modules)
    assert not any(module.kind == "composite" for module in visualize.fold_functions(view).modules)


def check_text(view):
    text = visualize.to_dot(view)
    found = re.findall(r"^ *n(\d+) \[", text, re.MULTILINE)
    assert sorted(map(int, found)) == [node.id for node in view.nodes]
    edges = [
        (int(target), int(source)) if options.endswith("dir=back") else (int(source), int(target))
        for source, target, options in re.findall(r"^ *n(\d+) -> n(\d+) \[(.*)\];$", text, re.MULTILINE)
    ]
    assert sorted(edges) == sorted((edge.source, edge.target) for edge in view.edges)
    assert text.count("{") == text.count("}")


def test_folding_a_module_keeps_what_goes_in_and_out():
    view = network_view()
    folded = visualize.fold(view, lambda module: module.type == "Network")
    assert kinds(folded) == [
        ("input", ("images",)), ("input", ("labels",)), ("module", "Network"), ("kernel", "cross_entropy"),
        ("loss", "mean"),
    ]  # fmt: skip
    assert folded.nodes[2].outputs == (visualize.Value((5, 3), "float32"),)
    assert [(edge.source, edge.target) for edge in folded.edges] == [(0, 2), (2, 3), (1, 3), (3, 4)]


def test_a_chain_of_100_000_operations_never_recurses(tmp_path):
    x = filled(2, requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y + 1.0
    limit = sys.getrecursionlimit()
    frame, depth = sys._getframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    sys.setrecursionlimit(depth + 60)
    try:
        in_full = render(y, tmp_path / "chain.dot", names={}, open=True)
        folded = render(y, tmp_path / "folded.dot", names={})
    finally:
        sys.setrecursionlimit(limit)
    with open(in_full, encoding="utf-8") as file:
        assert sum(" -> " in line for line in file) == 100_000
    assert "add ×100,000" in Path(folded).read_text(encoding="utf-8").replace("×100000", "×100,000")


# ---------------------------------------------------------------- formats


@pytest.fixture
def small():
    w = filled(2, 3, requires_grad=True)
    return np.sum(np.tanh(w * 2))


needs_layout = pytest.mark.skipif(not list(layout_module._engines("png")), reason="neither dot nor pygraphviz is here")


@needs_layout
def test_png_shows_something(small, tmp_path):
    image = pytest.importorskip("matplotlib.image")
    path = render(small, tmp_path / "graph.png")
    assert path == str(tmp_path / "graph.png")
    pixels = image.imread(path)
    assert pixels.shape[0] > 200
    assert pixels.shape[1] > 200
    colours = np.unique((pixels[..., :3] * 255).astype(int).reshape(-1, 3), axis=0)
    assert len(colours) > 20
    for hexadecimal in ("#CFE3F4", "#A63A00"):  # the parameter and the loss are there
        wanted = [int(hexadecimal[at : at + 2], 16) for at in (1, 3, 5)]
        assert (np.abs(colours - wanted).max(axis=1) <= 2).any()


@needs_layout
def test_svg_is_xml_with_all_nodes_and_tooltips(tmp_path):
    path = render(network_view(), tmp_path / "graph.svg")
    root = ElementTree.parse(path).getroot()
    ids = {element.get("id") for element in root.iter()}
    view = visualize.fold_functions(network_view())
    assert {f"n{node.id}" for node in view.nodes} <= ids
    assert {f"e{number}" for number in range(len(view.edges))} <= ids
    texts = "".join(root.itertext())
    assert "linear 8→4" in texts
    assert "fc1 · Linear(8→4)" in texts
    titles = [element.get("{http://www.w3.org/1999/xlink}title") or "" for element in root.iter()]
    assert any("return engine.OPS" in title for title in titles)


@needs_layout
def test_pdf_and_svg_are_deterministic(small, tmp_path):
    for suffix, start in (("pdf", b"%PDF-"), ("svg", b"<?xml")):
        first, second = (
            Path(render(small, path=tmp_path / f"{name}.{suffix}")).read_bytes() for name in ("one", "two")
        )
        assert first.startswith(start)
        assert first == second
    assert b"/CreationDate (D:20000101" in Path(render(small, tmp_path / "dated.pdf")).read_bytes()


WEIRD = ['a"b', "<b>&amp;</b>", "back\\slash\\N\\G\\n", "größe→λ🎈", "two\nlines", "", "%s {x|y}", "bell\x07", "\ud800"]


@needs_layout
def test_weird_names_are_shown_as_they_are(tmp_path):
    shape = visualize.Value((2,), "float32")
    nodes = tuple(
        visualize.Node(at, "input", names=(name,), outputs=(shape,), module=0) for at, name in enumerate(WEIRD)
    )
    last = visualize.Node(len(nodes), "op", 'weird <op> & "such"', outputs=(shape,), names=("a<b>",), module=0)
    edges = tuple(visualize.Edge(node.id, last.id, name='"', value=shape) for node in nodes)
    module = visualize.Module(0, "module", 'the "best" <module>', "M\\N & Co", detail="<x>")
    view = visualize.GraphView((*nodes, last), edges, (module,))
    path = render(view, tmp_path / "weird.svg", title='<title> & "more"')
    root = ElementTree.fromstring(Path(path).read_text(encoding="utf-8").replace("\u200b", ""))
    texts = {element.text for element in root.iter() if element.tag.endswith("text")}
    for name in WEIRD:
        shown = name.replace("\x07", "\ufffd").replace("\ud800", "\ufffd") or "''"
        for line in shown.split("\n"):
            assert line in texts
    assert 'the "best" <module> · M\\N & Co(<x>)' in texts
    assert '<title> & "more"' in texts
    titles = {element.get("{http://www.w3.org/1999/xlink}title") for element in root.iter()}
    for name in ('a"b', "<b>&amp;</b>", "back\\slash\\N\\G\\n", "größe→λ🎈"):
        assert any(title and title.split("\n")[0] == name for title in titles)


@needs_layout
def test_every_direction_and_kind_can_be_drawn(tmp_path):
    shape = visualize.Value((2,), "float32")
    nodes = tuple(
        visualize.Node(at, kind, "op" if at > 3 else "", (shape,)) for at, kind in enumerate(visualize.graph.view.KINDS)
    )
    view = visualize.GraphView(nodes, tuple(visualize.Edge(at, at + 1) for at in range(len(nodes) - 1)))
    for direction in ("TB", "LR", "BT", "RL"):
        root = ElementTree.parse(render(view, tmp_path / "graph.svg", direction=direction)).getroot()
        wide = float(root.get("width").removesuffix("pt")) > float(root.get("height").removesuffix("pt"))
        assert wide == (direction in ("LR", "RL"))


# ---------------------------------------------------------------- layout engines that are missing, broken or slow


@pytest.fixture
def fake_dot(tmp_path, monkeypatch):
    """Puts a program named dot on an otherwise empty PATH."""

    def make(body):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / "dot"
        program.write_text(f"#!{sys.executable}\nimport sys, time, os\n{body}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))

    if os.name == "nt":
        pytest.skip("programs without a suffix are not found on Windows")
    return make


def no_pygraphviz(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygraphviz", None)


def test_no_layout_engine_names_the_one_command(small, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    no_pygraphviz(monkeypatch)
    with pytest.raises(LayoutError, match=re.escape('pip install "autograd_ff[draw]"')):
        render(small, tmp_path / "graph.png")
    assert not (tmp_path / "graph.png").exists()
    assert Path(render(small, tmp_path / "graph.dot")).read_text(encoding="utf-8").startswith("digraph")


def test_dot_on_the_path_is_used(small, fake_dot, monkeypatch):
    fake_dot('sys.stdout.write(" ".join(sys.argv[1:]) + " " + " ".join(sys.stdin.read().split()))')
    assert layout("digraph {}", "svg") == b"-Kdot -Tsvg digraph {}"
    assert re.fullmatch(rb"-Kdot -Tpng digraph \{ +dpi=\d+; \}", layout("digraph {}", "png"))


@pytest.mark.parametrize("body", ["os.abort()", "sys.exit('no such font')", "pass"])
def test_a_broken_dot_falls_back(body, fake_dot, monkeypatch):
    fake_dot(body)
    no_pygraphviz(monkeypatch)
    with pytest.raises(LayoutError, match=r"dot (was ended by signal 6|failed)"):
        layout("digraph { a -> b }", "svg")
    monkeypatch.undo()
    pytest.importorskip("pygraphviz")
    fake_dot(body)
    assert layout("digraph { a -> b }", "svg").startswith(b"<?xml")


def test_a_hanging_dot_is_ended(fake_dot, monkeypatch):
    fake_dot("time.sleep(600)")
    no_pygraphviz(monkeypatch)
    start = time.monotonic()
    with pytest.raises(LayoutError, match=r"took longer than(.|\n)*coarser layout(.|\n)*timeout="):
        layout("digraph { a -> b }", "svg", timeout=1.0)
    assert time.monotonic() - start < 60  # far from the ten minutes that it would have taken
    fake_dot("time.sleep(0 if 'splines=line' in sys.stdin.read() else 600); sys.stdout.write('coarse')")
    assert layout("digraph { a -> b }", "svg", timeout=8.0) == b"coarse"


def test_importing_visualize_imports_no_drawing_library():
    program = "import sys, visualize; print([m for m in ('graphviz', 'pygraphviz', 'matplotlib', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"
