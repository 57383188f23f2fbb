"""Pictures of compiled steps: the graph of a plan is its data flow, and its memory map never lies."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
import visualize
from autograd_ff import nn
from autograd_ff.compiler.allocate import ALIGNMENT
from autograd_ff.errors import CaptureError
from visualize import GraphView, PictureError, plot_memory, render, trace
from visualize.graph.enclosing import module_path
from visualize.plans.flow import Flow, Made, results_of
from visualize.plans.lifetimes import lifetimes, most_at_once
from visualize.plans.phases import PHASES, phases_of

OPTIMIZERS = {
    "SGD": lambda parameters: af.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "Adam": lambda parameters: af.optim.Adam(parameters, lr=0.01),
    "AdamW": lambda parameters: af.optim.AdamW(parameters, lr=0.01),
}
ACTIVATIONS = (nn.ReLU, nn.Tanh, nn.GELU, nn.Sigmoid)


def fast_ones():
    """Both forms of plans, where numba is installed."""
    return [False, pytest.param(True, marks=pytest.mark.skipif(not _has_numba(), reason="numba is not installed"))]


def _has_numba():
    from autograd_ff.compiler.fuse import is_available

    return is_available()


each_form = pytest.mark.parametrize("fast", fast_ones())


def network(widths, activation=nn.ReLU, norm=False, bias=True):
    layers = []
    for at, (before, after) in enumerate(pairwise(widths)):
        layers.append(nn.Linear(before, after, bias=bias))
        if at < len(widths) - 2:
            layers += [nn.LayerNorm(after)] * norm + [activation()]
    return nn.Sequential(*layers)


def trained(widths=(12, 8, 4), optimizer="Adam", batch=6, clip=False, squared=False, fast=False, **options):
    """A model and a compiled step of its training, which has its plan."""
    af.manual_seed(0)
    model = network(widths, **options)
    optimizer = OPTIMIZERS[optimizer](model.parameters())
    loss_of = nn.MSELoss() if squared else nn.CrossEntropyLoss()

    @af.compile(fast=fast)
    def step(images, labels):
        optimizer.zero_grad()
        loss = loss_of(model(images), labels)
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    for _ in range(3):
        labels = af.rand(batch, widths[-1]) if squared else af.randint(0, widths[-1], (batch,))
        step(af.rand(batch, widths[0]), labels)
    return model, step


def inference(fast=False):
    model = network((12, 8, 4))

    @af.compile(fast=fast)
    def predict(images):
        return model(images)

    with af.no_grad():
        for _ in range(2):
            predict(af.rand(3, 12))
        return model, predict


@st.composite
def steps(draw):
    return trained(
        tuple(draw(st.lists(st.integers(1, 40), min_size=2, max_size=6))),
        draw(st.sampled_from(sorted(OPTIMIZERS))),
        draw(st.integers(1, 20)),
        clip=draw(st.booleans()),
        squared=draw(st.booleans()),
        norm=draw(st.booleans()),
        bias=draw(st.booleans()),
        activation=draw(st.sampled_from(ACTIVATIONS)),
    )


# ---------------------------------------------------------------- references, written apart from what they check


def bytes_of(value):
    """The places in its memory that a value shows."""
    size = value.memory.size + 64
    places = np.lib.stride_tricks.as_strided(
        np.arange(size)[value.offset :], value.shape, tuple(stride * 8 for stride in value.strides)
    )
    starts = np.unique(places.reshape(-1))
    return (starts[:, None] + np.arange(value.dtype.itemsize)).reshape(-1)


def dependencies(plan):
    """Pairs of instructions, the second of which reads a byte that the first was the last to write."""
    writer = {}

    def of(memory):
        return writer.setdefault(memory, np.full(memory.size + 64, -1))

    pairs = Counter()
    for at, one in enumerate(plan.instructions):
        readers = {int(who) for value in one.reads for who in of(value.memory)[bytes_of(value)]} - {-1}
        pairs.update((before, at) for before in readers)
        if one.form != "action":
            numbers = [action for action, _ in one.params["numbers"]] if one.form == "kernel" else [one.runtime]
            pairs.update(
                (before, at)
                for before, other in enumerate(plan.instructions)
                if other.form == "action" and any(other.runtime is action for action in numbers if action is not None)
            )
        for value in results_of(one):
            of(value.memory)[bytes_of(value)] = at
    return set(pairs)


def drawn(view):
    """The same of a picture."""
    nodes = view.nodes
    return {
        (nodes[edge.source].step, nodes[edge.target].step)
        for edge in view.edges
        if nodes[edge.source].step is not None and nodes[edge.target].step is not None
    }


def clashes(plan, living):
    """Pairs of values that live at the same time and share bytes of the arena, though neither is written over the other."""
    found = []
    for at, one in enumerate(living):
        for other in living[at + 1 :]:
            apart = one.offset + one.size <= other.offset or other.offset + other.size <= one.offset
            if apart or one.last < other.first or other.last < one.first:
                continue
            before, after = (one, other) if one.first < other.first else (other, one)
            in_place = (
                before.last == after.first
                and plan.instructions[after.first].elementwise
                and (before.offset, before.size) == (after.offset, after.size)
            )
            if not in_place:
                found.append((before.name, after.name))
    return found


def end_of(living):
    return max((one.offset + max(-(-one.size // ALIGNMENT), 1) * ALIGNMENT for one in living), default=0)


# ---------------------------------------------------------------- the graph


@settings(max_examples=12)
@given(steps())
def test_the_graph_is_the_data_flow_of_the_plan(made):
    model, step = made
    plan = step.plan
    view = trace(step)
    instructions = [node for node in view.nodes if node.step is not None]
    assert [node.step for node in instructions] == list(range(len(plan.instructions)))
    assert drawn(view) == dependencies(plan)
    for node in instructions:
        shapes = [value.shape for value in results_of(plan.instructions[node.step])]
        assert [value.shape for value in node.outputs] == shapes
    assert all(edge.source < edge.target for edge in view.edges)
    names = {name for node in view.nodes for name in node.names}
    assert {name for name, _ in model.named_parameters()} <= names
    assert {f"{name}.grad" for name, _ in model.named_parameters()} <= names
    assert GraphView.from_json(view.to_json()) == view
    assert trace(step.plan, names=model).nodes == view.nodes


@each_form
def test_every_instruction_of_both_forms_appears_once(fast):
    for _, step in (trained(fast=fast), trained(clip=True, fast=fast), inference(fast)):
        view = trace(step)
        steps = [node.step for node in view.nodes if node.step is not None]
        assert steps == list(range(len(step.plan.instructions)))
        assert drawn(view) == dependencies(step.plan)


def test_a_dependency_that_is_left_out_is_found():
    """The reference of these tests against a plan in which two instructions changed places."""
    _, step = trained()
    view = trace(step)
    instructions = step.plan.instructions
    instructions[0], instructions[1] = instructions[1], instructions[0]
    assert drawn(view) != dependencies(step.plan)


def test_arrays_from_outside_and_what_comes_out():
    model, step = trained((12, 8, 4))
    view = trace(step)
    kinds = {name: node.kind for node in view.nodes for name in node.names}
    assert [kinds[name] for name in ("0.weight", "0.bias", "2.weight", "2.bias", "param")] == ["parameter"] * 5
    assert [kinds[name] for name in ("exp_avg", "exp_avg_sq")] == ["buffer"] * 2
    assert sum(node.kind == "input" for node in view.nodes) == 2
    (output,) = (node for node in view.nodes if node.names == ("output",))
    (edge,) = (edge for edge in view.edges if edge.target == output.id)
    assert view.nodes[edge.source].op == "cross_entropy"
    assert view.nodes[edge.source].kind == "loss"
    gradients = {node.names[0]: node for node in view.nodes if node.kind == "output" and node.backward}
    assert set(gradients) == {f"{name}.grad" for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        assert gradients[f"{name}.grad"].outputs == (visualize.Value(tuple(parameter.shape), "float32"),)
    held = dict(next(node for node in view.nodes if node.names == ("param",)).arguments)["holds"]
    assert held.startswith("0.weight, 0.bias")


def test_edges_say_what_is_read():
    """A weight enters transposed; of the gradients, which are read in one piece, each edge carries its own."""
    _, step = trained((12, 8, 4))
    view = trace(step)
    (weight,) = (node for node in view.nodes if node.names == ("0.weight",))
    shapes = [edge.value.shape for edge in view.edges if edge.source == weight.id]
    assert shapes == [(12, 8)]
    (update,) = (node for node in view.nodes if node.op == "adam_update")
    read = [
        edge.value.shape for edge in view.edges if edge.target == update.id and view.nodes[edge.source].op == "matmul"
    ]
    assert sorted(read) == [(4,), (4, 8), (8,), (8, 12)]
    numbers = [edge.name for edge in view.edges if view.nodes[edge.source].kind == "action"]
    assert numbers == ["numbers"]


def test_nodes_know_the_users_line():
    _, step = trained()
    view = trace(step)
    texts = {node.source.text for node in view.nodes if node.step is not None}
    assert texts == {"loss = loss_of(model(images), labels)", "loss.backward()", "optimizer.step()"}


def test_phases_are_boxes():
    _, step = trained(clip=True)
    view = trace(step)
    assert [(module.kind, module.name) for module in view.modules] == [("phase", name) for name in PHASES]
    assert [module.backward for module in view.modules] == [False, True, False]
    phases = {}
    for node in view.nodes:
        if node.step is not None:
            phases.setdefault(view.modules[node.module].name, []).append(node.op)
    assert phases["forward"] == ["matmul", "add", "relu", "matmul", "add", "cross_entropy"]
    assert phases["backward"][0] == "cross_entropy.backward"
    assert "adam_update" in phases["optimizer"]
    assert phases["optimizer"][0] == "gradient_norm"  # clipping
    for node in view.nodes:
        if node.names in (("0.weight",), ("0.bias",)):
            assert [view.modules[one].name for one in module_path(view.modules, node.module)] == ["forward"]


@pytest.mark.skipif(not _has_numba(), reason="numba is not installed")
def test_a_loop_of_several_phases_says_so():
    """Small products are part of the loops: one holds the whole of forward and backward, or the update as well."""
    _, step = trained((16, *[16] * 12, 10), batch=32, fast=True)
    phases = phases_of(step.plan)
    for phase, one in zip(phases, step.plan.instructions, strict=True):
        assert ("backward" in phase) == ("cross_entropy.backward" in one.name or "backward" in one.phases)
        assert ("optimizer" in phase) == (one.form == "action" or one.updates)
    assert "forward and backward" in phases
    view = visualize.simplify(trace(step), limit=80)
    names = {name for node in view.nodes for name in node.names}
    assert {"26 parameters", "gradients of 26 parameters"} <= names
    assert len(view.nodes) < 20
    assert max(Counter((edge.source, edge.target) for edge in view.edges).values()) < 5
    assert GraphView.from_json(view.to_json()) == view
    (node,) = (node for node in view.nodes if "cross_entropy.backward" in node.op)
    assert re.match(r"buffers [\d, –]+ · gradients", node.memory)
    assert "…" not in node.memory


def test_the_colours_are_of_all_buffers_that_are_named():
    _, step = trained((8, *[8] * 30, 4))
    small = visualize.simplify(trace(step), limit=80)
    scale = visualize.drawing.appearance.Appearance(small, "light", "buffer").scale
    numbers = [
        int(one) for node in small.nodes if node.memory.startswith("buffers") for one in re.findall(r"\d+", node.memory)
    ]
    assert scale.low == 1
    assert scale.high >= max(numbers)


def test_arithmetic_of_an_optimizer_and_sums_of_gradients():
    """Two uses of a weight have their gradients added in the backward pass; an update in plain ops is an update."""
    weight = af.rand(4, 4).requires_grad_()

    @af.compile(fast=False)
    def step(x):
        weight.grad = None
        loss = (x @ weight @ weight).sum()
        loss.backward()
        with af.no_grad():
            weight.sub_(weight.grad * 0.1)
        return loss

    for _ in range(3):
        step(af.rand(3, 4))
    phases = phases_of(step.plan)
    assert phases == sorted(phases, key=PHASES.index)
    found = {
        phase: [one.name for one, its in zip(step.plan.instructions, phases, strict=True) if its == phase]
        for phase in PHASES
    }
    assert found["forward"] == ["matmul", "matmul", "sum"]
    assert "add" in found["backward"]
    assert "multiply" in found["optimizer"]


def test_phases_without_a_loss_of_their_own_kernel():
    """A squared error is plain arithmetic: only its line says that the backward pass has begun."""
    _, step = trained(squared=True)
    phases = phases_of(step.plan)
    assert phases == sorted(phases, key=PHASES.index)
    assert set(phases) == set(PHASES)


def test_phases_of_a_step_that_is_one_line():
    model = network((12, 8, 8, 4))
    optimizer = af.optim.Adam(model.parameters())
    loss_of = nn.CrossEntropyLoss()
    names = {"model": model, "optimizer": optimizer, "loss_of": loss_of}
    exec(
        "def step(x, y): optimizer.zero_grad(); loss = loss_of(model(x), y); loss.backward(); optimizer.step(); return loss",
        names,
    )
    step = af.compile(names["step"], fast=False)
    for _ in range(3):
        step(af.rand(6, 12), af.randint(0, 4, (6,)))
    assert len({one.site for one in step.plan.instructions}) == 1
    phases = phases_of(step.plan)
    assert [phase for at, phase in enumerate(phases) if phases[at - 1 : at] != [phase]] == list(PHASES)
    assert phases.count("forward") == 9


def test_several_passes_in_one_step_are_boxes_in_turn():
    model = network((6, 4, 2))

    @af.compile(fast=False)
    def step(one, other):
        for batch in (one, other):
            loss = model(batch).sum()
            loss.backward()

    for _ in range(3):
        for parameter in model.parameters():
            parameter.grad = None
        step(af.rand(3, 6), af.rand(3, 6))
    view = trace(step)
    assert [module.name for module in view.modules] == ["forward", "backward"] * 2
    assert drawn(view) == dependencies(step.plan)


def test_inference_has_no_phases():
    _, predict = inference()
    view = trace(predict)
    assert not view.modules
    assert view.name == "predict"
    assert [node.op for node in view.nodes if node.op] == ["matmul", "add", "relu", "matmul", "add"]


def test_a_compiled_module():
    model = network((12, 8, 4))
    compiled = af.compile(model, fast=False)
    with af.no_grad():
        for _ in range(2):
            compiled(af.rand(3, 12))
        view = trace(compiled)
    assert view.name == "Sequential"
    assert {"0.weight", "2.bias", "input"} <= {name for node in view.nodes for name in node.names}


def test_a_step_with_inputs_is_traced_as_it_runs():
    _, predict = inference()
    view = trace(predict, af.rand(3, 12))
    assert "linear" in {node.op for node in view.nodes}
    assert all(node.memory == "" for node in view.nodes)


def test_a_state_that_is_read_and_written():
    """Running statistics are read from outside and written in place."""
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4))
    compiled = af.compile(model, fast=False)
    for _ in range(2):
        with af.no_grad():
            compiled(af.rand(5, 6))
    view = trace(compiled)
    assert drawn(view) == dependencies(compiled.plan)
    kinds = {name: node.kind for node in view.nodes for name in node.names}
    assert kinds["1.running_mean"] == "buffer"


# ---------------------------------------------------------------- buffers


def test_buffers_and_what_is_written_in_place():
    _, step = trained((12, 8, 4))
    view = trace(step)
    forward = [node for node in view.nodes if node.step is not None][:3]
    assert [node.op for node in forward] == ["matmul", "add", "relu"]
    assert [node.memory for node in forward] == ["buffer 1, 192 B at 0x0", "buffer 1, in place", "buffer 1, in place"]
    assert len({node.measure("buffer") for node in forward}) == 1
    gradients = [node.memory for node in view.nodes if node.memory.startswith("gradients")]
    assert len(gradients) == 4
    offsets = {int(text.rsplit("0x")[1], 16) for text in gradients}
    assert min(offsets) == 0
    assert len(offsets) == 4


@settings(max_examples=8)
@given(steps())
def test_equal_buffers_are_equal_addresses(made):
    _, step = made
    plan, view = step.plan, trace(made[1])
    living = {one.memory: one for one in lifetimes(plan)}
    for node in view.nodes:
        buffer = node.measure("buffer")
        inside = [
            living[one.memory]
            for one in (results_of(plan.instructions[node.step]) if node.op else ())
            if one.memory in living
        ]
        assert (buffer is None) == (not inside)
        if inside:
            assert buffer in {one.buffer for one in inside}
    numbers = {one.offset: one.buffer for one in living.values()}
    assert sorted(numbers.values()) == list(range(1, len(numbers) + 1))
    assert [numbers[offset] for offset in sorted(numbers)] == sorted(numbers.values())


def test_buffers_colour_the_nodes_and_stand_in_the_text():
    _, step = trained()
    text = visualize.to_dot(trace(step))
    assert "<B>buffer 1, in place</B>" in text
    assert "buffer&#160;" in text  # the legend
    fills = re.findall(
        r'fillcolor="(#\w+)"', "\n".join(line for line in text.splitlines() if "<B>buffer 1, in place" in line)
    )
    assert len(fills) > 1
    assert len(set(fills)) == 1
    plain = visualize.to_dot(trace(step), color_by=False)
    assert "<B>buffer 1" not in plain
    assert "buffer 1, in place" in plain


@each_form
def test_actions_and_kernels_are_told_apart(fast):
    _, step = trained((784, 128, 10), batch=64, fast=fast)
    kinds = {node.op: node.kind for node in trace(step).nodes if node.op}
    assert kinds["advance"] == kinds["count_step"] == "action"
    if fast:
        assert kinds["add + relu"] == "kernel"
    else:
        assert kinds["adam_update"] == "write"


# ---------------------------------------------------------------- folding


def test_a_deep_network_is_folded():
    _, step = trained((8, *[8] * 30, 4))
    view = trace(step)
    assert len(view.nodes) > 300
    small = visualize.simplify(view, limit=80)
    assert len(small.nodes) <= 80
    assert max(module.count for module in small.modules) >= 28
    repeated = [node for node in small.nodes if node.memory.startswith("buffers ")]
    assert repeated
    for node in repeated:
        assert node.measure("buffer") is None  # several have no mean
        assert re.fullmatch(r"buffers \d+(, \d+){1,3}|buffers \d+, \d+, \d+, …, \d+", node.memory)
    assert GraphView.from_json(small.to_json()) == small


def test_a_phase_can_be_folded():
    _, step = trained()
    small = visualize.fold(trace(step), "backward")
    (node,) = (node for node in small.nodes if node.path == "" and node.op == "∇ backward")
    assert node.inside > 5
    assert [module.name for module in small.modules] == ["forward", "optimizer"]


# ---------------------------------------------------------------- files


@each_form
def test_every_format(tmp_path, fast):
    _, step = trained((784, 128, 10), batch=64, fast=fast)
    for suffix in (".dot", ".md", ".mmd", ".json", ".html"):
        path = render(step, tmp_path / f"plan{suffix}")
        text = (tmp_path / f"plan{suffix}").read_text(encoding="utf-8")
        assert path.endswith(suffix)
        assert "buffer 1" in text, suffix
    assert GraphView.load(tmp_path / "plan.json") == trace(step)
    data = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    assert "forward" in {module["name"] for module in data["modules"]}
    assert render(step.plan, tmp_path / "same.dot").endswith("same.dot")


@pytest.mark.skipif(not shutil.which("dot"), reason="there is no layout engine")
def test_pictures(tmp_path):
    _, step = trained()
    for suffix in (".png", ".svg", ".pdf"):
        render(step, tmp_path / f"plan{suffix}")
        assert (tmp_path / f"plan{suffix}").stat().st_size > 3000


def test_a_small_network_is_drawn_in_full(tmp_path):
    _, step = trained((12, 8, 8, 4))
    render(step, tmp_path / "plan.dot")
    drawn_nodes = len(re.findall(r"^ *n\d+ \[", (tmp_path / "plan.dot").read_text(encoding="utf-8"), re.MULTILINE))
    assert drawn_nodes == len(trace(step).nodes) > 40
    render(step, tmp_path / "plan.dot", limit=20)
    drawn_nodes = len(re.findall(r"^ *n\d+ \[", (tmp_path / "plan.dot").read_text(encoding="utf-8"), re.MULTILINE))
    assert drawn_nodes <= 20


# ---------------------------------------------------------------- the memory map


@settings(max_examples=25)
@given(steps())
def test_no_two_values_share_memory_while_both_live(made):
    _, step = made
    plan = step.plan
    living = lifetimes(plan)
    assert clashes(plan, living) == []
    assert end_of(living) == plan.arena_bytes
    assert sum(one.size for one in living) == plan.eager_bytes
    assert most_at_once(living) <= plan.arena_bytes <= plan.eager_bytes + ALIGNMENT * len(living)
    for at, one in enumerate(plan.instructions):
        for value in (*one.reads, *one.made, *one.writes):
            if value.memory.kind == "internal" and not value.memory.kept:
                (where,) = (found for found in living if found.memory is value.memory)
                assert where.first <= at <= where.last
                assert where.first < where.end <= where.last + 1


@each_form
def test_no_two_values_share_memory_in_larger_steps(fast):
    model = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 16))
    optimizer = af.optim.AdamW(model.parameters(), lr=0.01)

    @af.compile(fast=fast)
    def step(x):
        optimizer.zero_grad()
        y = x
        for _ in range(4):
            y = y + model(y)
        loss = (y * y).mean()
        loss.backward()
        optimizer.step()
        return loss, y

    for _ in range(2):
        step(af.rand(8, 16))
    plan, living = step.plan, lifetimes(step.plan)
    assert len(living) > 30 or fast
    assert clashes(plan, living) == []
    assert end_of(living) == plan.arena_bytes
    assert sorted(living[at].last == len(plan.instructions) for at in range(len(living)))[-2:] == [True, True]


@settings(max_examples=10)
@given(st.data())
def test_a_wrong_address_is_found(data):
    """A planted fault: a value that is put where another one lives."""
    _, step = trained((12, 8, 8, 4))
    living = lifetimes(step.plan)
    pairs = [
        (one, other)
        for one in living
        for other in living
        if one is not other
        and one.first < other.first < one.last
        and one.size >= other.size
        and one.offset != other.offset
    ]
    one, other = data.draw(st.sampled_from(range(len(pairs))).map(pairs.__getitem__))
    moved = [replace(each, offset=one.offset) if each is other else each for each in living]
    assert clashes(step.plan, moved)


@each_form
def test_the_map_shows_every_value_once(fast):
    pytest.importorskip("matplotlib")
    from matplotlib.patches import Rectangle

    _, step = trained(fast=fast)
    plan = step.plan
    figure = plot_memory(step)
    axes = figure.axes[0]
    shown = Counter(
        (patch.get_x(), patch.get_y(), patch.get_x() + patch.get_width(), patch.get_height())
        for patch in axes.patches
        if isinstance(patch, Rectangle) and patch.get_zorder() == 2
    )
    count = len(plan.instructions)
    assert shown == Counter((one.first, one.offset, min(one.end, count), one.size) for one in lifetimes(plan))
    assert axes.get_xlim() == (0, count)
    assert axes.get_ylim()[1] >= plan.arena_bytes
    title = figure.get_suptitle()
    assert visualize.drawing.labels.bytes_text(plan.arena_bytes) in title
    assert visualize.drawing.labels.bytes_text(plan.eager_bytes) in title
    assert plot_memory(plan, title="mine").get_suptitle() == "mine"


def test_the_map_of_a_deep_and_of_an_empty_step(tmp_path):
    pytest.importorskip("matplotlib")
    _, step = trained((8, *[8] * 20, 4))
    figure = plot_memory(step, theme="dark")
    assert len(figure.axes[0].get_xticks()) < 30
    empty = af.compile(lambda x: x, fast=False)
    for _ in range(2):
        empty(af.ones(3))
    assert plot_memory(empty, tmp_path / "empty.png").endswith("empty.png")
    assert [node.kind for node in trace(empty).nodes][:1] == ["input"]
    one, two = (plot_memory(step, tmp_path / name) for name in ("one.svg", "two.svg"))
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes(), (one, two)


# ---------------------------------------------------------------- errors


def test_what_has_no_plan(tmp_path):
    pytest.importorskip("matplotlib")
    step = af.compile(lambda x: x + 1)
    for draw in (lambda: trace(step), lambda: render(step, tmp_path / "plan.png"), lambda: plot_memory(step)):
        with pytest.raises(CaptureError, match="no plan yet") as caught:
            draw()
        assert "test_visualize_plan.py" in str(caught.value)
    assert not list(tmp_path.iterdir())
    with pytest.raises(PictureError, match="a compiled step or its plan, not a Sequential"):
        plot_memory(network((2, 2)))
    _, predict = inference()
    with pytest.raises(PictureError, match="the whole step"):
        trace(predict, backward=True)
    with pytest.raises(PictureError, match="should end in"):
        plot_memory(predict, tmp_path / "memory.txt")


def test_the_origin_of_a_read_is_an_instruction_or_outside():
    _, step = trained()
    flow = Flow(step.plan)
    for reads in flow.reads:
        for read in reads:
            assert isinstance(read.origin, Made) != (read.origin in flow.outside)
