"""Looks: that kinds and marks stay apart for every eye, that text can be read, and what pictures, Mermaid texts and
notebooks show."""

from __future__ import annotations

import inspect
import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_visualize import GRAPHS, WEIRD, Network, cross_entropy, fake_dot, filled, needs_layout, network_view

import autograd_ff as af
import visualize
from visualize import DARK, LIGHT, Edge, GraphView, Module, Node, Value
from visualize.drawing import layout as layout_module
from visualize.drawing import notebook as notebook_module
from visualize.drawing.labels import bytes_text, number_text, share_text, time_text
from visualize.drawing.layout import LayoutError, layout, scalable
from visualize.drawing.mermaid import fenced, to_mermaid
from visualize.drawing.notebook import bundle
from visualize.drawing.ramps import Ramp, Scale, contrast, text_on
from visualize.drawing.ramps import _oklab as oklab
from visualize.drawing.style import MarkStyle, marked, theme_of
from visualize.graph.view import KINDS, MARKS, MEASURES

__all__ = ["fake_dot"]  # a fixture

THEMES = {"light": LIGHT, "dark": DARK}
each_theme = pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
GOLDEN = Path(__file__).parent / "golden"
SHAPE = Value((64, 128), "float32")


# ---------------------------------------------------------------- eyes

# Linear light as people see it who lack one kind of cone: Machado, Oliveira and Fernandes (2009), severity 1.
EYES = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
    "greyscale": np.tile([0.2126, 0.7152, 0.0722], (3, 1)),
}
each_eye = pytest.mark.parametrize("eye", EYES)


def seen(color, eye="usual"):
    """CIELAB coordinates of a colour through an eye."""
    values = np.array([int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    linear = np.clip(EYES[eye] @ linear, 0, 1)
    to_xyz = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                       [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip
    x, y, z = to_xyz @ linear / np.array([0.95047, 1.0, 1.08883])
    x, y, z = (math.cbrt(v) if v > (6 / 29) ** 3 else v / (3 * (6 / 29) ** 2) + 4 / 29 for v in (x, y, z))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def difference(one, other, eye="usual"):
    """How far apart two colours are (CIE 1976); 2.3 is just noticeable."""
    return float(np.linalg.norm(seen(one, eye) - seen(other, eye)))


def outline(style):
    """What a shape looks like without its colours."""
    lines = frozenset(style.style.split(",")) - {"filled"}
    return style.shape, lines, style.width >= 1.5, style.outlines


def indistinguishable(styles, eye):
    """Pairs that neither outline nor fill tells apart."""
    return [
        (one, other)
        for one, other in combinations(styles, 2)
        if outline(styles[one]) == outline(styles[other]) and difference(styles[one].fill, styles[other].fill, eye) < 7
    ]


def styles_of(theme):
    return {**theme.kinds, "gradient": theme.gradient, "gradient_result": theme.gradient_result}


def test_the_simulated_eyes_see_as_they_should():
    assert seen("#FFFFFF")[0] == pytest.approx(100, abs=0.01)
    red, green = "#C8102E", "#4C6A00"  # far apart for most, close without green cones
    assert difference(red, green, "deuteranopia") < 0.5 * difference(red, green)
    assert difference("#808080", "#808080", "greyscale") == 0
    assert difference("#FFFFFF", "#000000", "greyscale") == pytest.approx(100, abs=0.01)


@each_theme
@each_eye
def test_kinds_are_told_apart_by_every_eye(theme, eye):
    assert set(theme.kinds) == set(KINDS)
    assert indistinguishable(styles_of(theme), eye) == []


@each_theme
def test_the_main_kinds_differ_in_colour_and_in_outline(theme):
    styles = styles_of(theme)
    main = {name: styles[name] for name in ("parameter", "input", "op", "kernel", "loss", "gradient")}
    for one, other in combinations(main, 2):
        assert difference(main[one].fill, main[other].fill) > 12, (one, other)
        assert outline(main[one]) != outline(main[other]), (one, other)
        # fills alone, as far as a print without colours can hold them apart
        pale = {"input", "parameter", "op", "kernel", "gradient"} if theme is LIGHT else set(main) - {"loss"}
        if not {one, other} <= pale:
            assert difference(main[one].fill, main[other].fill, "greyscale") > 25, (one, other)


def test_planted_lookalikes_are_found():
    styles = styles_of(LIGHT)
    styles["kernel"] = replace(styles["kernel"], fill="#FDFFFE", width=1.0)
    assert ("op", "kernel") in indistinguishable(styles, "usual")
    # a red and a green of the same lightness
    twins = {"one": replace(styles["op"], fill="#CFB0B0"), "two": replace(styles["op"], fill="#B0B8B0")}
    assert indistinguishable(twins, "usual") == []
    assert indistinguishable(twins, "greyscale") == [("one", "two")]


@each_theme
@each_eye
def test_marks_are_told_apart_by_every_eye(theme, eye):
    assert set(theme.marks) == set(MARKS)
    symbols = [mark.symbol for mark in theme.marks.values()]
    assert len(set(symbols)) == len(symbols)
    plain = theme.kinds["op"]
    for name, mark in theme.marks.items():
        style = marked(plain, mark)
        assert style.width >= 2  # thicker than any unmarked outline
        assert difference(style.fill, plain.fill, eye) > 4 or outline(style) != outline(plain), name


@each_theme
def test_a_wrong_gradient_is_unmistakably_red(theme):
    mark = theme.marks["wrong"]
    _, a, b = seen(mark.fill)
    assert a > 50  # far on the red side
    assert abs(b) < a
    assert mark.double
    others = [style.fill for style in styles_of(theme).values()]
    others += [one.fill for name, one in theme.marks.items() if name not in ("wrong", "origin")]
    assert min(difference(mark.fill, other) for other in others) > 20
    widest = max(style.width for style in styles_of(theme).values())
    assert mark.width > 1.5 * widest


def test_symbols_are_in_the_fonts_of_every_system():
    """WGL4: what the basic fonts of Windows, macOS and Linux have in common."""
    wgl4 = set("≠●∞○†Δ►−") | set(map(chr, range(0x20, 0x7F)))
    for theme in THEMES.values():
        for mark in theme.marks.values():
            assert set(mark.symbol) <= wgl4
        assert {"Helvetica", "Arial", "sans-serif"} == set(theme.font.split(","))


# ---------------------------------------------------------------- readable


@each_theme
def test_all_text_can_be_read(theme):
    background = "#FFFFFF" if theme.background == "white" else theme.background
    for name, style in styles_of(theme).items():
        for mark in (None, *theme.marks.values()):
            drawn = style if mark is None else marked(style, mark)
            assert contrast(drawn.text, drawn.fill) >= 4.5, (name, mark)
            assert contrast(drawn.note, drawn.fill) >= 4.5, (name, mark)
            around = drawn.line if mark is None else mark.line
            assert max(contrast(around, background), contrast(drawn.fill, background)) >= 3 or name == "constant"
    for text in (theme.text, theme.note):
        assert contrast(text, background) >= 4.5
    for fill in (*theme.module_fills, theme.module_backward_fill):
        assert contrast(theme.note, fill) >= 4.5  # the name of a module's box
    for line in (theme.edge, theme.edge_parameter, theme.edge_gradient, *(one.line for one in theme.marks.values())):
        assert contrast(line, background) >= 3


colors = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06X}")


@given(colors, colors)
def test_contrast_is_that_of_the_guidelines(one, other):
    ratio = contrast(one, other)
    assert 1 <= ratio <= 21.0000001
    assert ratio == contrast(other, one)
    assert contrast(text_on(one), one) >= 4.5
    # against the luminance in CIELAB, which is computed another way
    lightness = [(seen(color)[0] + 16) / 116 for color in (one, other)]
    light = [value**3 if value > 6 / 29 else (value - 4 / 29) * 3 * (6 / 29) ** 2 for value in lightness]
    assert ratio == pytest.approx((max(light) + 0.05) / (min(light) + 0.05), rel=1e-3)


@each_theme
def test_ramps_are_even_and_rise_in_lightness_for_every_eye(theme):
    steps = [theme.ramp.at(at / 20) for at in range(21)]
    for eye in EYES:
        lightness = [seen(color, eye)[0] for color in steps]
        rises = np.diff(lightness) if theme is DARK else -np.diff(lightness)
        assert (rises > 0.5).all()
    for ramp, ways in ((theme.ramp, [(0, 1)]), (theme.signed_ramp, [(0, 0.5), (0.5, 1)])):
        for start, end in ways:
            labs = [oklab(ramp.at(start + (end - start) * at / 20)) for at in range(21)]
            lengths = [math.dist(one, other) for one, other in pairwise(labs)]
            assert max(lengths) < 1.35 * min(lengths)  # corners of the path are cut
        assert ramp.at(-1) == ramp.at(0) == ramp.stops[0]
        assert ramp.at(2) == ramp.at(1) == ramp.stops[-1]
    assert theme.signed_ramp.at(0.5) == theme.signed_ramp.stops[2]
    low, middle, high = (theme.signed_ramp.at(at) for at in (0, 0.5, 1))
    for eye in ("usual", "protanopia", "deuteranopia"):
        assert difference(low, high, eye) > 40
        assert difference(middle, high, eye) > 25
        assert difference(middle, low, eye) > 25


numbers = st.one_of(st.floats(-1e300, 1e300), st.sampled_from([math.nan, math.inf, -math.inf]))


@given(st.lists(numbers, max_size=8), st.sampled_from(["log", "share", "signed", "linear"]))
def test_scales_keep_order_and_never_fail(values, kind):
    scale = Scale.of(values, kind)
    placed = sorted(value for value in values if not math.isnan(value))
    positions = [scale.position(value) for value in placed]
    assert all(0 <= position <= 1 for position in positions)
    assert positions == sorted(positions)
    assert Ramp(LIGHT.ramp.stops).at(scale.position(math.nan)) == LIGHT.ramp.stops[-1]
    if kind == "signed" and scale.kind == "signed":
        assert scale.position(0.0) == pytest.approx(0.5)


def test_a_logarithmic_scale_gives_each_tenfold_the_same_room():
    scale = Scale.of([1e-6, 1e-2], "log")
    assert [scale.position(10.0**power) for power in (-6, -5, -4, -3, -2)] == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert scale.position(0.0) == 0


# ---------------------------------------------------------------- words


@given(st.floats(1e-9, 1e5))
def test_times_are_rounded_and_not_changed(seconds):
    digits, unit = time_text(seconds).split()
    assert float(digits) * {"s": 1, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}[unit] == pytest.approx(seconds, rel=0.06)
    assert len(digits) <= 3 or unit == "s"


@given(st.integers(1, 10**14))
def test_bytes_are_rounded_and_not_changed(count):
    digits, unit = bytes_text(count).split()
    factor = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}[unit]
    assert float(digits) * factor == pytest.approx(count, rel=0.06)


@given(numbers)
def test_numbers_are_short(number):
    text = number_text(number)
    assert len(text) <= 10
    if math.isfinite(number) and number:
        assert float(text.replace("−", "-")) == pytest.approx(number, rel=0.006)


@given(st.floats(0, 1))
def test_shares_say_none_and_all_only_where_it_is_so(share):
    text = share_text(share)
    assert (text == "0 %") == (share == 0)
    assert (text == "100 %") == (share == 1)


def title_of(node, *, edges=()):
    return visualize.drawing.labels.node_title(node, edges)


def test_labels_are_words():
    linear = Node(1, "kernel", "linear")
    weight = Edge(0, 1, name="weight", value=Value((128, 784), "float32"))
    assert title_of(linear, edges=[weight]) == "linear 784→128"
    assert title_of(Node(0, "op", "relu")) == "ReLU"
    assert title_of(Node(0, "op", "log_softmax", arguments=(("axis", "1"),))) == "log softmax dim=1"
    assert title_of(Node(0, "op", "multiply · add · tanh", inside=3)) == "multiply · add · tanh"
    assert title_of(Node(0, "op", "cast", arguments=(("dtype", "float64"),))) == "to float64"
    block = Node(0, "module", "Block", (SHAPE,), path="layers.0–11", detail="64", count=12, inside=168)
    assert title_of(block) == "layers.0–11 · Block(64) ×12"
    assert visualize.drawing.labels.inside_text(block) == "14 operations each"


class Block(af.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = af.nn.Linear(width, width)

    def forward(self, x):
        return x + af.relu(self.linear(x))


@pytest.mark.parametrize("backward", [False, True])
def test_repeats_that_are_all_a_module_holds_keep_their_name_and_number(backward):
    blocks = af.nn.Sequential(*(Block(8) for _ in range(3)))
    model = af.nn.Sequential(af.nn.Linear(4, 8), blocks, af.nn.Linear(8, 2))
    view = visualize.trace(model, af.ones(5, 4), names={}, backward=backward)
    view = visualize.simplify(view, depth=1, open="1", repeats=True)
    assert sum(node.count == 3 for node in view.nodes) == 1 + backward
    wanted = ["1 · Sequential › Block ×3", *(["∇ 1 · Sequential › Block ×3"] if backward else [])]
    for text in (visualize.to_dot(view, legend=False), to_mermaid(view)):
        assert re.findall(r"(?:∇ )?1 · Sequential › Block ×3(?=<)", text) == wanted


def test_repeated_operations_alone_in_a_module_say_how_many():
    nodes = (Node(0, "op", "relu", (SHAPE,), module=0, count=4), Node(1, "op", "relu", (SHAPE,), module=1))
    view = GraphView(nodes, (Edge(0, 1),), (Module(0, "module", "a", "Deep"), Module(1, "module", "b", "Deep")))
    assert re.findall("<B>(.*?)</B>", visualize.to_dot(view, legend=False)) == ["a · Deep › ReLU ×4", "b · Deep"]


def test_inside_a_box_names_are_short_and_tooltips_are_not():
    nodes = (
        Node(0, "parameter", names=("encoder.layers.0.fc1.weight",), outputs=(SHAPE,), module=2),
        Node(1, "kernel", "linear", (SHAPE,), module=2),
        Node(2, "op", "relu", (SHAPE,), module=1),
        Node(3, "op", "tanh", (SHAPE,), module=3),
    )
    modules = (
        Module(0, "module", "encoder", "Encoder"),
        Module(1, "module", "encoder.layers.0–11", "Block", 0, count=12),
        Module(2, "module", "encoder.layers.0.fc1", "Linear", 1, detail="128→64"),
        Module(3, "module", "encoder.act", "Tanh", 0),
    )
    text = visualize.to_dot(GraphView(nodes, (Edge(0, 1), Edge(1, 2), Edge(2, 3)), modules), legend=False)
    labels = re.findall(r"<B>(.*?)</B>", text)
    assert labels == ["encoder · Encoder", "layers.0–11 · Block ×12", "ReLU", "fc1 · Linear(128→64)", "fc1.weight",
                      "linear", "act · Tanh"]  # fmt: skip
    assert 'tooltip="encoder.layers.0.fc1.weight\\n' in text
    assert 'tooltip="encoder.layers.0.fc1 · Linear(128→64)' in text


# ---------------------------------------------------------------- marks, measurements and widths in the picture


def chain(**options):
    """x → relu → exp → output, with what is given for the relu."""
    nodes = (
        Node(0, "input", names=("x",), outputs=(SHAPE,)),
        Node(1, "op", "relu", (SHAPE,), **options),
        Node(2, "op", "exp", (SHAPE,)),
        Node(3, "output", names=("output",), outputs=(SHAPE,)),
    )
    return GraphView(nodes, tuple(Edge(at, at + 1, value=SHAPE) for at in range(3)))


def line_of(text, name):
    return next(line for line in text.splitlines() if re.match(rf" *{name} \[", line))


@each_theme
@pytest.mark.parametrize("mark", MARKS)
def test_every_mark_is_drawn_said_and_explained(theme, mark):
    remark = "×2/3 of what it should be, at index [3, 7] of the second input of this operation"
    text = visualize.to_dot(chain(mark=mark, remark=remark), theme=theme)
    style, line = theme.marks[mark], line_of(text, "n1")
    assert f'fillcolor="{style.fill}" color="{style.line}"' in line
    assert f"penwidth={style.width:g}" in line
    assert ("dashed" in line) == style.dashed
    assert ("peripheries=2" in line) == style.double
    assert f"<B>{style.symbol}&#160;</B>" in line
    assert f'class="op {mark}"' in line
    said = re.sub(r"<[^>]*>", " ", line)
    assert " ".join(said.split()).count("of what it should be") == 1
    assert f'label="{style.symbol} {MARKS[mark]}"' in text
    explained = f"{style.symbol} {MARKS[mark]}"
    assert explained not in visualize.to_dot(chain(), theme=theme)
    assert explained not in visualize.to_dot(chain(mark=mark, remark="so"), theme=theme, legend=False)


def test_marks_of_edges():
    view = chain()
    edges = (replace(view.edges[0], mark="cut"), replace(view.edges[1], mark="nonfinite"), view.edges[2])
    text = visualize.to_dot(replace(view, edges=edges))
    cut, passed, plain = (next(line for line in text.splitlines() if f'id="e{at}"' in line) for at in range(3))
    assert 'label=" //"' in cut
    assert "style=dashed" in cut
    assert LIGHT.marks["nonfinite"].line in passed
    widths = [float(re.search(r"penwidth=([\d.]+)", line)[1]) for line in (cut, passed, plain)]
    assert min(widths[:2]) > widths[2] + 1
    assert "path of the gradient cut here" in text


def test_an_unknown_mark_changes_nothing():
    assert line_of(visualize.to_dot(chain(mark="")), "n1") == line_of(
        visualize.to_dot(chain(mark="of another version")), "n1"
    ).replace("op of another version", "op")


@each_theme
@pytest.mark.parametrize("measure", MEASURES)
def test_every_measurement_fills_and_is_said(theme, measure):
    low, high = {"s": (1.2e-5, 3.4e-2), "bytes": (2048.0, 3.1e6), "share": (0.0, 0.92)}.get(
        MEASURES[measure], (0.01, 25.0)
    )
    view = chain(measures=((measure, low),))
    view = replace(view, nodes=(*view.nodes[:2], replace(view.nodes[2], measures=((measure, high),)), view.nodes[3]))
    text = visualize.to_dot(view, theme=theme, color_by=measure)
    fills = [re.search(r'fillcolor="(#\w+)".*fontcolor="(#\w+)"', line_of(text, name)) for name in ("n1", "n2")]
    assert fills[0][1] == theme.ramp.at(0)
    assert difference(fills[0][1], fills[1][1]) > 40
    for found in fills:
        assert contrast(found[1], found[2]) >= 4.5
    expected = {"s": ("12 µs", "34 ms"), "bytes": ("2 kB", "3.1 MB"), "share": ("0 %", "92 %")}.get(
        MEASURES[measure], ("0.01", "25")
    )
    for name, said in zip(("n1", "n2"), expected, strict=True):
        assert said in line_of(text, name)
    (legend,) = (line for line in text.splitlines() if "legend" in line and theme.ramp.at(1) in line)
    ends = ("0&#160;%", "100&#160;%") if MEASURES[measure] == "share" else expected
    for end in ends:
        assert end.replace(" ", "&#160;") in legend
    assert ("(log)" in legend) == (MEASURES[measure] in ("s", "bytes") or "norm" in measure or "spread" in measure)
    assert f'fillcolor="{theme.kinds["input"].fill}"' in line_of(text, "n0")  # not measured


@pytest.mark.parametrize(
    ("measures", "chosen"),
    [
        ({"forward": 2e-6, "zeros": 0.5, "norm": 3.0}, "forward"),
        ({"zeros": 0.5, "norm": 3.0}, "zeros"),
        ({"zeros": 0.0, "norm": 3.0}, "norm"),
        ({"zeros": 0.0}, "zeros"),
        ({"saved": 64.0}, "saved"),
        ({}, ""),
    ],
)
def test_measurements_show_without_being_asked_for(measures, chosen):
    view = chain(measures=tuple(measures.items()))
    named, plain = (visualize.to_dot(view, color_by=one) for one in (chosen, False))
    assert plain == visualize.to_dot(chain(), color_by="none")
    assert (
        visualize.to_dot(view) == visualize.to_dot(view, color_by="") == visualize.to_dot(view, color_by=None) == named
    )
    assert (named != plain) == bool(chosen)


def test_a_measurement_that_was_not_taken_is_an_error(tmp_path):
    with pytest.raises(visualize.PictureError, match=r"(?s)'forward'.* no measurements.*visualize\.measure"):
        visualize.render(chain(), tmp_path / "graph.dot", color_by="forward")
    with pytest.raises(visualize.PictureError, match=r"'forward'.* only norm, zeros\n"):
        visualize.to_dot(chain(measures=(("norm", 1.0), ("zeros", 0.0))), color_by="forward")
    with pytest.raises(visualize.PictureError, match="not True"):
        visualize.to_dot(chain(), color_by=True)
    assert not (tmp_path / "graph.dot").exists()


def test_a_measurement_that_was_hidden_colours_nothing(tmp_path):
    view = chain(measures=(("zeros", 0.5),))
    plain = visualize.render(chain(), tmp_path / "plain.dot", hide="relu")
    hidden = visualize.render(view, tmp_path / "hidden.dot", hide="relu", color_by="zeros")
    assert Path(plain).read_text() == Path(hidden).read_text()


def legend_of(text):
    return re.findall(r'legend\d_\d \[.*?label="(.*?)"', text)


def test_the_legend_lists_a_kind_only_where_a_node_looks_like_it():
    assert legend_of(visualize.to_dot(chain(mark="wrong"))) == ["input", "operation", "output", "≠ wrong gradient"]
    view = chain(mark="wrong")
    alone = replace(view, nodes=(*view.nodes[:2], replace(view.nodes[2], mark="wrong"), view.nodes[3]))
    assert legend_of(visualize.to_dot(alone)) == ["input", "output", "≠ wrong gradient"]
    every = replace(view, nodes=tuple(replace(node, mark="wrong") for node in view.nodes))
    assert legend_of(visualize.to_dot(every)) == ["≠ wrong gradient"]
    unknown = replace(view, nodes=tuple(replace(node, mark="of another version") for node in view.nodes))
    assert legend_of(visualize.to_dot(unknown)) == ["input", "operation", "output"]


def test_signatures_and_views_are_short():
    for function in (visualize.render, visualize.to_dot, visualize.animate, visualize.plot_history):
        assert len(str(inspect.signature(function))) < 1200
    assert [repr(one) for one in (LIGHT, DARK)] == ["visualize.LIGHT", "visualize.DARK"]
    assert repr(replace(DARK, background="#000000")) == "<Theme on '#000000'>"
    assert repr(replace(chain(), name="Net")) == "<GraphView 'Net': 4 nodes, 3 edges, 0 modules>"
    assert repr(GraphView((Node(0, "op", "exp"),))) == "<GraphView: 1 node, 0 edges, 0 modules>"


def test_signed_measurements_have_zero_in_the_middle():
    view = chain(measures=(("mean", -2.0),))
    view = replace(view, nodes=(*view.nodes[:2], replace(view.nodes[2], measures=(("mean", 0.0),)), view.nodes[3]))
    text = visualize.to_dot(view, color_by="mean")
    assert "mean −2" in text
    nodes = (view.nodes[0], replace(view.nodes[1], measures=(("mean", 4.0),)), *view.nodes[2:])
    nodes = (replace(nodes[0], measures=(("mean", -2.0),)), *nodes[1:])
    text = visualize.to_dot(replace(view, nodes=nodes), color_by="mean")
    assert LIGHT.signed_ramp.at(0.5) in line_of(text, "n2")
    assert LIGHT.signed_ramp.at(1) in line_of(text, "n1")


def test_a_mark_prevails_over_a_measurement():
    text = visualize.to_dot(chain(mark="wrong", measures=(("zeros", 0.5),)), color_by="zeros")
    assert f'fillcolor="{LIGHT.marks["wrong"].fill}"' in line_of(text, "n1")
    assert "50 % zeros" in line_of(text, "n1")


@given(st.integers(0, 10**13), st.integers(0, 10**13))
def test_edges_are_as_wide_as_their_bytes(one, other):
    low, high = LIGHT.widths
    small, large = sorted((one, other))
    assert low <= LIGHT.edge_width(small) <= LIGHT.edge_width(large) <= high
    if small >= 1000 and large <= 10**9:
        tenfolds = math.log10(large / small)
        assert LIGHT.edge_width(large) - LIGHT.edge_width(small) == pytest.approx(tenfolds * (high - low) / 6)


def test_the_legend_says_what_widths_mean_only_where_they_differ():
    assert "edge&#160;width" not in visualize.to_dot(chain())
    view = chain()
    wide = replace(view.edges[1], value=Value((10**6,), "float32"))
    text = visualize.to_dot(replace(view, edges=(view.edges[0], wide, view.edges[2])))
    assert "33&#160;kB" in text
    assert "4&#160;MB" in text


def test_themes_by_name_and_what_is_unknown():
    assert visualize.to_dot(chain(), theme="dark") == visualize.to_dot(chain(), theme=DARK)
    assert f'bgcolor="{DARK.background}"' in visualize.to_dot(chain(), theme="dark")
    assert theme_of(LIGHT) is LIGHT
    for wrong in ({"theme": "blue"}, {"color_by": "beauty"}, {"direction": "down"}):
        with pytest.raises(visualize.PictureError, match=rf"(?s){next(iter(wrong))}.*{next(iter(wrong.values()))}"):
            visualize.to_dot(chain(), **wrong)
    mine = replace(LIGHT, marks={"wrong": MarkStyle("X", "#000000", "#FFFFFF")})  # a theme may leave marks out
    assert "<B>X&#160;</B>" in visualize.to_dot(chain(mark="wrong"), theme=mine)
    assert visualize.to_dot(chain(mark="dead"), theme=mine)


def test_titles_and_captions():
    text = visualize.to_dot(chain(), title="A & B", caption="What <there> is to see. " * 9)
    assert "<B>A &amp; B</B>" in text
    caption = next(line for line in text.splitlines() if "&lt;there&gt;" in line)
    assert caption.count("<BR/>") >= 2  # broken into lines
    assert "What" not in visualize.to_dot(chain())
    assert visualize.to_dot(GraphView(), title="nothing", caption="at all").count("{") >= 1


# ---------------------------------------------------------------- where things stand


def places(svg):
    """The middle of each node of an SVG picture."""
    found = {}
    for group in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}g"):
        if re.fullmatch(r"n\d+|legend\d_\d", group.get("id") or ""):
            texts = list(group.iter("{http://www.w3.org/2000/svg}text"))
            found[group.get("id")] = tuple(np.mean([float(text.get(one)) for text in texts]) for one in ("x", "y"))
    return found


@needs_layout
@pytest.mark.parametrize("direction", ["TB", "LR", "BT", "RL"])
def test_the_legend_stands_at_the_end(direction):
    text = visualize.to_dot(visualize.fold_functions(network_view()), direction=direction)
    found = places(layout(text, "svg"))
    nodes = [place for name, place in found.items() if name.startswith("n")]
    legend = [place for name, place in found.items() if name.startswith("legend")]
    assert len(legend) >= 5
    if direction in ("TB", "BT"):
        assert min(y for _, y in legend) > max(y for _, y in nodes)
    else:
        assert min(x for x, _ in legend) > max(x for x, _ in nodes)


@needs_layout
def test_gradients_stand_beside_their_values():
    model, images, labels = Network(), filled(5, 8), np.arange(5) % 3
    loss = cross_entropy(model(images), labels)
    view = visualize.fold_functions(visualize.trace(loss, backward=True))
    found = places(layout(visualize.to_dot(view), "svg"))
    pairs = [(node.id, node.belongs_to) for node in view.nodes if node.backward and node.belongs_to is not None]
    assert len(pairs) >= 6
    for gradient, value in pairs:
        assert abs(found[f"n{gradient}"][1] - found[f"n{value}"][1]) < 12, view.nodes[gradient]
    # the backward pass runs up, each gradient later than those that it is made of
    for edge in view.edges:
        source, target = view.nodes[edge.source], view.nodes[edge.target]
        if source.backward and target.backward and target.op and source.belongs_to != target.belongs_to:
            assert found[f"n{edge.target}"][1] < found[f"n{edge.source}"][1]
    text = visualize.to_dot(view)
    assert "read&#160;by&#160;a&#160;gradient" in text


@needs_layout
@pytest.mark.parametrize("theme", THEMES)
def test_every_kind_mark_and_measurement_can_be_laid_out(theme):
    nodes = [Node(0, "input", names=("x",), outputs=(SHAPE,))]
    for kind in KINDS:
        for mark in ("", *MARKS):
            for backward in (False, True):
                nodes.append(
                    Node(len(nodes), kind, "op", (SHAPE,), mark=mark, backward=backward, count=3, inside=9,
                         measures=(("forward", 10.0 ** -(len(nodes) % 7)),))
                )  # fmt: skip
    edges = tuple(Edge(0, node.id, value=SHAPE, mark=node.mark) for node in nodes[1:])
    view = GraphView(tuple(nodes), edges)
    svg = layout(visualize.to_dot(view, theme=theme, color_by="forward", title="T", caption="C"), "svg")
    assert len([name for name in places(svg) if name.startswith("n")]) == len(nodes)


# ---------------------------------------------------------------- layout and files


@needs_layout
@pytest.mark.parametrize("engine", [name for name, _ in layout_module._engines("png")])
def test_two_processes_draw_the_same_bytes(engine):
    program = """
import sys, hashlib, json
sys.path.insert(0, sys.argv[1])
import test_visualize as t
from visualize.drawing import layout as module
from visualize.drawing.mermaid import to_mermaid
engines = list(module._engines
("svg"))
wanted = {name: command[:-1] for name, command in engines}[sys.argv[2]]
module._engines = lambda format: [(sys.argv[2], [*wanted, format])]
text = t.GRAPHS["network"]()
found = [hashlib.sha256(module.layout(text, one)).hexdigest() for one in module.FORMATS]
print(json.dumps([text, to_mermaid(t.network_view()), *found]))
""".replace("_engines\n(", "_engines(")
    results = []
    for seed in ("1", "4711"):
        done = subprocess.run(
            [sys.executable, "-c", program, str(Path(__file__).parent), engine],
            capture_output=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        results.append(json.loads(done.stdout))
    assert results[0] == results[1]


@needs_layout
def test_dots_per_inch():
    image = pytest.importorskip("matplotlib.image")
    from io import BytesIO

    text = visualize.to_dot(chain())
    wide = [image.imread(BytesIO(layout(text, "png", dpi=dpi))).shape[1] for dpi in (72, 216)]
    assert wide[1] == pytest.approx(3 * wide[0], rel=0.02)


@needs_layout
def test_a_scalable_svg_keeps_its_size_and_its_picture():
    plain = layout(visualize.to_dot(network_view(), title="weights & <biases>"), "svg")
    text = scalable(plain)
    before, after = ElementTree.fromstring(plain), ElementTree.fromstring(text)
    assert text.startswith("<svg ")
    assert after.get("viewBox") == before.get("viewBox")
    for side in ("width", "height"):
        points = float(before.get(side).removesuffix("pt"))
        assert float(after.get(side)) == pytest.approx(points * 4 / 3, abs=1)
    assert after.get("style") == "max-width:100%;height:auto"
    shown = [[text.strip() for text in root.itertext() if text.strip()] for root in (before, after)]
    assert shown[0] == shown[1]
    assert "weights & <biases>" in shown[0]
    assert not [one for one in after.iter() if one.get("id")]
    assert scalable(plain) == text


def test_a_crashing_layout_leaves_a_message_with_the_way_out(fake_dot, monkeypatch):
    fake_dot("os.abort()")
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    with pytest.raises(LayoutError, match=r"(?s)1 edges.*dot failed.*\.dot file"):
        layout("digraph { a -> b }", "png")


# ---------------------------------------------------------------- Mermaid

ENTITY = r"#\d+;"
TEXT = rf'"(?:[^"#<>&`\\%]|{ENTITY}|<br/>)*"'
SHAPES = [r"\(\[{}\]\)", r"\[\({}\)\]", r"\[{}\]", r"\({}\)", r">{}\]", r"\[\[{}\]\]", r"\[/{}\\\]", r"\{{\{{{}\}}\}}"]
LINES = {
    "node": re.compile(rf" +n\d+(?:{'|'.join(shape.format(TEXT) for shape in SHAPES)}):::[a-z_]+"),
    "edge": re.compile(rf"  n\d+ -->(?:\|{TEXT}\|)? n\d+"),
    "open": re.compile(rf" +subgraph m\d+\[{TEXT}\]"),
    "close": re.compile(r" +end"),
    "class": re.compile(
        r"  classDef [a-z_]+ fill:#\w{6},stroke:#\w{6},color:#\w{6},stroke-width:[\d.]+px(,stroke-dasharray:\d \d)?"
    ),
    "style": re.compile(r"  style m\d+ fill:#\w{6},stroke:#\w{6},color:#\w{6}"),
    "link": re.compile(r"  linkStyle \d+(,\d+)* stroke:#\w{6},stroke-width:[\d.]+px(,stroke-dasharray:\d \d)?"),
}


def check_mermaid(text, view):
    """A strict grammar: every line is of one kind, boxes nest, and each node and edge is there once."""
    lines = text.splitlines()
    if lines[0] == "---":
        assert json.loads(lines[1].removeprefix("title: ")) is not None
        assert lines[2] == "---"
        lines = lines[3:]
    assert re.fullmatch(r"flowchart (TB|LR|BT|RL)", lines[0])
    counts, depth, classes, used = dict.fromkeys(LINES, 0), 0, set(), set()
    for line in lines[1:]:
        (kind,) = (name for name, pattern in LINES.items() if pattern.fullmatch(line))
        counts[kind] += 1
        depth += {"open": 1, "close": -1}.get(kind, 0)
        assert depth >= 0
        if kind == "node":
            used.add(line.rsplit(":::", 1)[1])
        if kind == "class":
            classes.add(line.split()[1])
    assert depth == 0
    assert used == classes
    assert counts["node"] == len(view.nodes)
    assert counts["edge"] == len(view.edges)
    links = [int(number) for line in lines if "linkStyle" in line for number in line.split()[1].split(",")]
    assert sorted(links) == list(range(len(view.edges)))
    return True


def label_of(text, name):
    """The text that Mermaid shows in a node."""
    coded = re.search(rf'^ *{name}[^"\n]*"(.*)"[^"\n]*$', text, re.MULTILINE)[1]
    return re.sub(r"#(\d+);", lambda found: chr(int(found[1])), coded.replace("<br/>", "\n")).replace("\u200b", "")


VIEWS = {
    "network": lambda: visualize.fold_functions(network_view()),
    "marks": lambda: GraphView(
        tuple(Node(at, "op", "exp", (SHAPE,), mark=mark, remark="why") for at, mark in enumerate(MARKS)),
        tuple(Edge(at, at + 1, mark=mark) for at, mark in enumerate(list(MARKS)[1:])),
    ),
    "kinds": lambda: GraphView(
        tuple(Node(at, kind, "op", (SHAPE, SHAPE), backward=at % 2 > 0) for at, kind in enumerate(KINDS)),
        tuple(Edge(at, at + 1, value=Value((3,), "int64")) for at in range(len(KINDS) - 1)),
    ),
    "empty": GraphView,
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("theme", THEMES)
def test_mermaid_texts_are_flowcharts(name, theme):
    view = VIEWS[name]()
    for direction in ("TB", "LR", "BT", "RL"):
        assert check_mermaid(to_mermaid(view, direction=direction, theme=theme, title='A "title": #1'), view)
    with pytest.raises(visualize.PictureError, match="direction"):
        to_mermaid(view, direction="up")


def test_mermaid_text_is_golden():
    text = fenced(to_mermaid(VIEWS["network"](), title="A small network"))
    file = GOLDEN / "network.md"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


HOSTILE = [*WEIRD, "end", "graph TD", "1. one", "- two", "* three", "%%{init: {'theme':'x'}}%%", "click n0", "fa:fa-car",
           "$$x^2$$", "a;b", "<script>alert(1)</script>", "#35;", "&quot;", 'x"]:::foo', "---", "`**b**`", "n0 --> n1",
           "style a:#b;", "classDef x"]  # fmt: skip


@settings(deadline=None)
@given(st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=30)), min_size=1, max_size=6))
def test_hostile_names_stay_names_in_mermaid(names):
    nodes = tuple(Node(at, "input", names=(name,), module=0) for at, name in enumerate(names))
    nodes += (Node(len(names), "op", "exp", module=0),)  # two nodes have a box
    module = Module(0, "module", names[0], names[-1], detail=names[0])
    edges = tuple(Edge(at, at + 1, name=name) for at, name in enumerate(names[1:]))
    view = GraphView(nodes, edges, (module,))
    text = to_mermaid(view, title=names[0])
    # splitlines() of the check takes more for line ends than Mermaid does
    for other in "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029":
        text = text.replace(other, "\ufffd")
    assert check_mermaid(text, view)
    for at, name in enumerate(names):
        shown = visualize.drawing.labels.printable(name).replace("\r", "").replace("\u200b", "") or "''"
        shown = re.sub("[\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]", "\ufffd", shown)
        assert label_of(text, f"n{at}") == shown


def test_planted_mermaid_mistakes_are_found():
    view = VIEWS["network"]()
    good = to_mermaid(view)
    for mistake in (
        good.replace("images", 'ima"ges'),
        good.replace("  end\n", "", 1),
        good.replace("classDef input", "classDef inputs"),
        good.replace("n0 -->", "n0 ->", 1),
        good.replace("flowchart", "graph"),
    ):
        assert mistake != good
        with pytest.raises((AssertionError, ValueError)):
            check_mermaid(mistake, view)


# ---------------------------------------------------------------- notebooks


@pytest.fixture
def no_engine(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "pygraphviz", None)


@needs_layout
def test_a_tensor_with_a_graph_shows_it_and_its_value():
    weight = filled(3, requires_grad=True)
    loss = (weight * 2).sum()
    shown = loss._repr_mimebundle_()
    assert set(shown) == {"text/plain", "image/svg+xml"}
    assert shown["text/plain"] == repr(loss)
    root = ElementTree.fromstring(shown["image/svg+xml"])
    texts = "".join(root.itertext()).replace("\xa0", " ")
    assert "multiply by 2" in texts
    assert repr(loss) in texts
    assert "max-width:100%" in root.get("style")


def test_tensors_without_a_graph_show_their_numbers():
    for value in (filled(3), filled(3, requires_grad=True), (filled(3, requires_grad=True) * 2).detach()):
        assert value._repr_mimebundle_() == {"text/plain": repr(value)}


@needs_layout
def test_a_module_shows_its_parts():
    model = Network()
    shown = model._repr_mimebundle_()
    assert shown["text/plain"] == repr(model)
    texts = "".join(ElementTree.fromstring(shown["image/svg+xml"]).itertext())
    for part in ("fc1 · Linear(8→4)", "weight 4×8 · bias 4", "51 parameters", "act · ReLU"):
        assert part in texts


@needs_layout
def test_a_view_shows_itself():
    shown = network_view()._repr_mimebundle_()
    assert shown["text/plain"].startswith("GraphView: ")
    assert "<svg " in shown["image/svg+xml"]
    assert GraphView()._repr_mimebundle_() == {"text/plain": "GraphView: 0 nodes, 0 edges, 0 modules"}


def test_only_what_is_asked_for(monkeypatch):
    loss = (filled(3, requires_grad=True) * 2).sum()
    monkeypatch.setattr(notebook_module, "layout", lambda *_, **__: pytest.fail("a picture nobody wants"))
    assert set(bundle(loss, include=["text/plain"])) == {"text/plain"}
    assert set(bundle(loss, exclude=["image/svg+xml", "text/markdown"])) == {"text/plain"}
    assert bundle(loss, include=["text/html"]) == {}


def test_without_a_layout_engine_a_notebook_shows_mermaid(no_engine):
    loss = (filled(3, requires_grad=True) * 2).sum()
    shown = bundle(loss)
    assert set(shown) == {"text/plain", "text/markdown"}
    assert shown["text/markdown"].startswith("```mermaid\nflowchart TB\n")
    assert "multiply by 2" in shown["text/markdown"]


def test_what_cannot_be_drawn_is_still_shown(monkeypatch):
    x = filled(2, requires_grad=True)
    for _ in range(400):
        x = x + 1
    monkeypatch.setattr(notebook_module, "simplify", lambda view: view)
    shown = bundle(x)
    assert set(shown) == {"text/plain"}
    assert shown["text/plain"].startswith(repr(x))
    assert "too many for a cell" in shown["text/plain"]

    def broken(*_, **__):
        raise RuntimeError("no\nway")

    monkeypatch.setattr(notebook_module, "layout", broken)
    loss = (filled(3, requires_grad=True) * 2).sum()
    assert bundle(loss) == {"text/plain": f"{loss!r}\n(no picture: no)"}


@needs_layout
def test_ipython_finds_it():
    formatters = pytest.importorskip("IPython.core.formatters")
    data, _ = formatters.DisplayFormatter().format((filled(3, requires_grad=True) * 2).sum())
    assert "<svg" in data["image/svg+xml"]


# ---------------------------------------------------------------- the tree of a module


def test_the_tree_of_a_module():
    shared = af.nn.Linear(4, 4)
    model = af.nn.Sequential(
        af.nn.Sequential(af.nn.Linear(4, 4), af.nn.ReLU()), af.nn.Sequential(af.nn.Linear(4, 4), af.nn.ReLU()),
        af.nn.Sequential(af.nn.Linear(4, 4), af.nn.Tanh()), shared, shared,
    )  # fmt: skip
    view = visualize.module_tree(model)
    assert [(node.path, node.op, node.count) for node in view.nodes] == [
        ("", "Sequential", 1), ("0–1", "Sequential", 2), ("0", "Linear", 1), ("1", "ReLU", 1), ("2", "Sequential", 1),
        ("0", "Linear", 1), ("1", "Tanh", 1), ("3", "Linear", 1), ("4", "the same Linear as 3", 1),
    ]  # fmt: skip
    assert view.nodes[0].arguments == (("", f"{sum(one.numel() for one in model.parameters())} parameters"),)
    assert [(edge.source, edge.target) for edge in view.edges] == [
        (0, 1), (1, 2), (1, 3), (0, 4), (4, 5), (4, 6), (0, 7), (0, 8)
    ]  # fmt: skip
    assert GraphView.from_json(view.to_json()) == view


def test_a_deep_tree_never_recurses():
    model = af.nn.ReLU()
    for _ in range(300):
        model = af.nn.Sequential(model)
    frame, depth = sys._getframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(depth + 60)
    try:
        view = visualize.module_tree(model)
    finally:
        sys.setrecursionlimit(limit)
    assert len(view.nodes) == 301


def test_every_golden_graph_has_a_legend_of_what_it_shows():
    text = GRAPHS["network"]()
    legend = re.findall(r'legend\d_\d \[.*?label="(.*?)"', text)
    assert legend == ["input", "parameter", "operation", "fused kernel", "loss"]
