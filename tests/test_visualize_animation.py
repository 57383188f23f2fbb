"""The film of a backward pass: the order of its steps, frames that stay in place, and the file."""

from __future__ import annotations

import importlib.util
import io
import re
import shutil
import sys

import numpy as np
import pytest

import autograd_ff as af
import visualize
from autograd_ff import nn
from autograd_ff.engine import Observer, observe
from visualize.drawing.animation import _lit, animate, backward_frames
from visualize.drawing.dot import to_dot
from visualize.drawing.layout import layout
from visualize.drawing.palette import indexed
from visualize.drawing.style import LIGHT

needs_pillow = pytest.mark.skipif(importlib.util.find_spec("PIL") is None, reason="Pillow is not installed")
needs_layout = pytest.mark.skipif(
    not (importlib.util.find_spec("pygraphviz") or (shutil.which("dot") and importlib.util.find_spec("graphviz"))),
    reason="there is no layout engine",
)


def network():
    af.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


def loss_of(model):
    return nn.functional.cross_entropy(model(af.ones(4, 6)), af.tensor([0, 1, 2, 0]))


@pytest.fixture(scope="module")
def view():
    model = network()
    return visualize.trace(loss_of(model), names={"": model})


@pytest.fixture(scope="module")
def film(view, tmp_path_factory):
    """The frames of an animated file as arrays, and how long each stays."""
    pytest.importorskip("PIL")
    from PIL import Image

    path = tmp_path_factory.mktemp("film") / "backward.gif"
    assert animate(view, path) == str(path)
    frames, durations = [], []
    with Image.open(path) as image:
        loop = image.info["loop"]
        for number in range(image.n_frames):
            image.seek(number)
            frames.append(np.asarray(image.convert("RGB")).astype(int))
            durations.append(image.info["duration"])
    return frames, durations, loop, path


# ---------------------------------------------------------------- the steps


def names_of(view, ids):
    return {view.nodes[id].op or view.nodes[id].names[0] for id in ids}


def test_gradients_arrive_where_the_engine_brings_them(view):
    frames = backward_frames(view)
    assert [names_of(view, frame.active) for frame in frames] == [
        set(), {"mean"}, {"cross_entropy"}, {"linear"}, {"relu"}, {"linear"}, set(),
    ] or [names_of(view, frame.active) for frame in frames] == [
        set(), {"cross_entropy"}, {"linear"}, {"relu"}, {"linear"}, set(),
    ]  # fmt: skip
    assert frames[0].done == frozenset()
    second = next(at for at, frame in enumerate(frames) if "linear" in names_of(view, frame.active))
    assert names_of(view, frames[second].done) >= {"2.weight", "2.bias"}
    assert "0.weight" not in names_of(view, frames[second].done)
    assert {"0.weight", "0.bias", "2.weight", "2.bias"} <= names_of(view, frames[-1].done)
    assert frames[-1].caption == "4 parameters now have a gradient"


def test_the_order_is_the_engines():
    """An observer of the real backward pass sees the same operations one after another."""

    class Watch(Observer):
        def __init__(self):
            self.seen = []

        def backward(self, node, gradient, gradients):
            self.seen.append(node.op.name)

    a = af.ones(3, requires_grad=True)
    b = af.exp(a)
    c = (b * a).sum() + b.tanh().sum()
    view = visualize.trace(c)
    watch = Watch()
    with observe(watch):
        c.backward()
    ours = [view.nodes[id].op for frame in backward_frames(view) for id in sorted(frame.active, reverse=True)]
    assert ours == [name for name in watch.seen if name != "leaf"]


def test_a_value_read_twice_waits_for_both_gradients():
    w = af.ones(3, requires_grad=True)
    view = visualize.trace((w.exp() * w).sum())
    frames = backward_frames(view)
    arrived = [frame.title for frame in frames if 0 in frame.done]
    assert arrived == ["exp", "done"]  # not yet when multiply gave its part


def test_frames_pass_along_edges_that_exist_and_each_once(view):
    frames = backward_frames(view)
    along = [edge for frame in frames for edge in frame.edges]
    assert len(along) == len(set(along)) == sum(edge.tracked for edge in view.edges)
    for frame in frames:
        assert {view.edges[edge].target for edge in frame.edges} == frame.active
        assert not frame.edges & frame.passed
        assert not frame.active & frame.done


def test_captions_say_what_flows(view):
    frames = backward_frames(view)
    captions = {frame.title: frame.caption for frame in frames}
    first = next(frame for frame in frames if frame.active)
    assert first.caption.startswith("starts from the gradient 1\n")
    assert captions["linear 5→3"] == (
        "takes the gradient of its output, 4×3\ngives the gradient of ReLU 4×5, 2.weight 3×5, 2.bias 3"
    )
    assert captions["linear 6→5"].endswith("gives the gradient of 0.weight 5×6, 0.bias 5")


def test_long_passes_share_frames():
    x = af.ones(2, requires_grad=True)
    y = x
    for _ in range(500):
        y = y.tanh()
    frames = backward_frames(visualize.trace(y.sum()))
    assert len(frames) <= 60
    assert sum(len(frame.active) for frame in frames) == 501
    assert "operations" in frames[1].caption


def test_a_module_without_a_loss_starts_at_its_output():
    frames = backward_frames(visualize.trace(network(), af.ones(2, 6)))
    assert frames[1].title == "output"
    assert len(frames[-1].done) >= 4


def test_without_gradients_there_is_nothing_to_animate(tmp_path):
    with af.no_grad():
        view = visualize.trace(network(), af.ones(2, 6))
    with pytest.raises(ValueError, match="no gradient flows"):
        backward_frames(view)


def test_folded_modules_light_up_as_one(view):
    folded = visualize.fold(view, "Linear")
    frames = backward_frames(folded)
    assert sum(names_of(folded, frame.active) == {"Linear"} for frame in frames) == 2
    assert frames[-1].caption == "every parameter now has a gradient"  # who can tell how many are inside?
    assert backward_frames(folded, whole=view)[-1].caption == "4 parameters now have a gradient"


@pytest.mark.parametrize("depth", [None, 0, 1, 2])
def test_what_is_drawn_once_and_there_twelve_times_counts_twelve_times(depth):
    model = nn.Sequential(nn.Linear(4, 8), *(nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(12)))
    whole = visualize.trace(model(af.ones(3, 4)).sum(), names={})
    view = visualize.simplify(whole, depth=depth, repeats=True)
    frames = backward_frames(view, whole=whole)
    assert len(view.nodes) < 15
    assert frames[0].caption.startswith("26 operations computed the result")  # 13 linear, 12 ReLU and the sum
    assert frames[-1].caption == "26 parameters now have a gradient"
    if not any(node.kind == "module" for node in view.nodes):
        assert backward_frames(view)[-1].caption == frames[-1].caption
    together = backward_frames(view, at_most=3)
    assert together[1].caption.startswith(("26 operations", "starts"))


# ---------------------------------------------------------------- the pictures


@needs_layout
def test_nodes_stay_where_they_are(view):
    """Each frame's SVG has every node's label in the same place."""

    def places(svg: bytes):
        return re.findall(rb'<text [^>]*?x="([-\d.]+)" y="([-\d.]+)"', svg)

    text = to_dot(view, legend=False)
    still = places(layout(text, "svg"))
    assert len(still) > 10
    for frame in backward_frames(view):
        assert places(layout(_lit(text, view, frame, LIGHT), "svg")) == still


@needs_layout
def test_active_and_done_nodes_and_edges_are_colored(view):
    frame = backward_frames(view)[2]
    svg = layout(_lit(to_dot(view, legend=False), view, frame, LIGHT), "svg").decode()

    def fill(id: int) -> str:
        return re.search(rf'<g id="n{id}".*?fill="(#\w+)"', svg, re.DOTALL)[1].upper()

    for id in frame.active:
        assert fill(id) == LIGHT.marks["active"].fill.upper()
    for id in frame.done:
        assert fill(id) == LIGHT.gradient.fill.upper()
    untouched = {node.id for node in view.nodes} - frame.active - frame.done
    assert untouched
    for id in untouched:
        assert fill(id) not in (LIGHT.marks["active"].fill.upper(), LIGHT.gradient.fill.upper())
    for edge in frame.edges:
        assert (
            re.search(rf'<g id="e{edge}".*?stroke="(#\w+)"', svg, re.DOTALL)[1].upper() == LIGHT.edge_gradient.upper()
        )


@needs_layout
def test_the_film_has_a_frame_for_each_step_and_its_last_one_stays(film, view):
    frames, durations, loop, path = film
    steps = backward_frames(view)
    assert len(frames) == len(steps)
    assert loop == 0  # for ever
    assert durations[-1] > 2 * durations[1]
    assert path.stat().st_size < 200_000
    assert len({frame.shape for frame in frames}) == 1
    assert frames[0].shape[1] <= 720


@needs_layout
def test_the_light_moves(film):
    """The bright colour of the working node is in every frame but the first and the last, and moves upwards."""
    frames = film[0]
    bright = np.array([int(LIGHT.marks["active"].fill[at : at + 2], 16) for at in (1, 3, 5)])
    heights = []
    for frame in frames:
        rows = np.flatnonzero((np.abs(frame - bright).sum(axis=2) < 12).sum(axis=1) > 10)
        heights.append(rows.mean() if len(rows) else None)
    assert heights[0] is None
    assert heights[-1] is None
    assert all(height is not None for height in heights[1:-1])
    assert heights[1:-1] == sorted(heights[1:-1], reverse=True)
    # Where nothing happens, nothing changes: the upper left corner is paper in all frames.
    assert all(np.array_equal(frame[:20, :5], frames[0][:20, :5]) for frame in frames)


@needs_layout
@needs_pillow
def test_two_films_are_the_same_bytes_and_dark_ones_are_dark(view, tmp_path):
    from PIL import Image

    one, two = (animate(view, tmp_path / f"{at}.gif") for at in (1, 2))
    assert (tmp_path / "1.gif").read_bytes() == (tmp_path / "2.gif").read_bytes()
    assert one != two
    with Image.open(animate(view, tmp_path / "dark.gif", theme="dark", title="a title", direction="LR")) as image:
        assert np.asarray(image.convert("L")).mean() < 110
        assert image.width > image.height


@needs_layout
@needs_pillow
def test_a_film_is_made_smaller_until_it_fits_or_refused(view, tmp_path):
    from PIL import Image

    animate(view, tmp_path / "small.gif", max_bytes=80_000)
    assert (tmp_path / "small.gif").stat().st_size <= 80_000
    with Image.open(tmp_path / "small.gif") as image:
        assert 240 <= image.width < 720
    with pytest.raises(ValueError, match=r"takes [\d,]+ bytes even at \d+ pixels, more than 2,000"):
        animate(view, tmp_path / "tiny.gif", max_bytes=2_000)
    assert not (tmp_path / "tiny.gif").exists()


# ---------------------------------------------------------------- what it refuses


def test_wrong_calls_say_what_is_right(view, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"backward\.png.* should end in \.gif"):
        animate(view, tmp_path / "backward.png")
    with pytest.raises(ValueError, match="give the path last"):
        animate(view)
    with pytest.raises(ValueError, match="width is at least 240"):
        animate(view, tmp_path / "backward.gif", width=20)
    with pytest.raises(ValueError, match="seconds are positive"):
        animate(view, tmp_path / "backward.gif", seconds=0)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ImportError, match=r'pip install "autograd_ff\[plot\]"'):
        animate(view, tmp_path / "backward.gif")


# ---------------------------------------------------------------- the palette


@needs_pillow
def test_flat_colors_survive_the_palette():
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)  # far more colours than 256
    pixels = np.concatenate([np.full((64, 64, 3), color, np.uint8) for color in ((255, 255, 255), (255, 210, 63))])
    pixels = np.concatenate([pixels, noise])
    first, second = indexed([Image.fromarray(pixels), Image.fromarray(pixels[:64])])
    assert first.mode == "P"
    assert first.getpalette() == second.getpalette()
    assert np.array_equal(np.asarray(first.convert("RGB"))[:128], pixels[:128])
    file = io.BytesIO()
    second.save(file, "PNG")
    assert np.array_equal(np.asarray(Image.open(file).convert("RGB")), pixels[:64])
