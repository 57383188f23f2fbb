"""A backward pass as a film: the graph lights up step by step, from the loss to the parameters."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import PictureError, here
from ..folding.fold import Selection
from ..folding.simplify import READABLE, simplify
from ..graph.view import Edge, GraphView, Node
from ..tracing.walk import trace_from
from .dot import to_dot
from .labels import node_title, shape_text
from .layout import layout
from .palette import indexed
from .style import LIGHT, Theme, theme_of

__all__ = ["Frame", "animate", "backward_frames"]

_FRAMES = 60  # at most
_BYTES = 1_000_000  # of a file, unless asked otherwise
_SMALLEST = 240  # pixels: below, nothing can be read
_EDGE = re.compile(r'^  n(\d+) -> n(\d+) \[id="e(\d+)"')
_NODE = re.compile(r"^ *n(\d+) \[")


@dataclass(frozen=True, slots=True)
class Frame:
    """One moment of a backward pass.

    >>> Frame("loss", "the backward pass starts here").done
    frozenset()
    """

    title: str
    caption: str
    active: frozenset[int] = frozenset()  # ids of the nodes that work on a gradient
    edges: frozenset[int] = frozenset()  # positions of the edges along which it is passed on now …
    passed: frozenset[int] = frozenset()  # … and of those along which it was before
    done: frozenset[int] = frozenset()  # ids of the nodes whose gradient is known


def animate(
    target: Any,
    *inputs: Any,
    path: str | os.PathLike[str] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    names: Any = None,
    title: str = "",
    depth: int | None = None,
    open: Selection = False,
    fold: Selection = False,
    hide: str | Collection[str] = (),
    limit: int = READABLE,
    direction: str = "TB",
    theme: Theme | str = LIGHT,
    seconds: float = 0.9,
    width: int = 720,
    max_bytes: int = _BYTES,
    timeout: float = 60.0,
) -> str:
    """Draw a backward pass as an animated GIF: the gradient enters at the loss and lights up one node after another.

    In each frame the node that works is bright, arrows show where it passes gradients on to, and what is done stays
    tinted. The nodes stay where they are. The film repeats; its last frame, in which every parameter has its gradient,
    stays for a while.

    Args:
        target: a Tensor (a loss), a module, a function of tensors, or a `GraphView`.
        inputs: what a module or function is called with; then the path, unless ``path=`` is given.
        path: a ``.gif`` file.
        kwargs: keyword arguments for the module or function.
        names: what to call tensors, as in `trace`.
        title: stands above the picture.
        depth, open, fold, hide, limit: what is shown, as in `render`.
        direction: where data flow forward: ``"TB"``, ``"LR"``, ``"BT"`` or ``"RL"``.
        theme: colours: ``"light"``, ``"dark"`` or a `Theme`.
        seconds: of a frame; the first stays longer, and the last three times as long.
        width: of the film in pixels, at most.
        max_bytes: of the file. A larger film is made smaller, until its words could not be read any more.
        timeout: seconds for the layout of each frame.

    More than 60 steps go by several at a time; for teaching, fewer are better.

    Returns:
        The path.

    Raises:
        PictureError: (a ValueError) no path, another suffix, no node that a gradient flows through, or a film that
            cannot be made small enough.
        LayoutError: no layout engine, or a graph too large for it.
        ImportError: Pillow, which comes with matplotlib, is missing.

    >>> animate(loss, "backward.gif")  # doctest: +SKIP
    'backward.gif'
    """
    if path is None:
        if not inputs or not isinstance(inputs[-1], (str, os.PathLike)):
            raise PictureError(f'give the path last: animate(loss, "backward.gif"){here()}')
        *rest, path = inputs
        inputs = tuple(rest)
    if Path(path).suffix.lower() != ".gif":
        raise PictureError(f"{Path(path).name!r} should end in .gif{here()}")
    if seconds <= 0 or width < _SMALLEST:
        raise PictureError(f"seconds are positive and width is at least {_SMALLEST}, not {seconds} and {width}{here()}")
    theme = theme_of(theme)
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise ImportError(f'{error}\n  Animations need Pillow: pip install "autograd_ff[plot]"') from error
    whole = trace_from(sys._getframe(1), target, inputs, kwargs, names)
    view = simplify(whole, depth=depth, open=open, fold=fold, hide=hide, limit=limit)
    frames = backward_frames(view, whole=whole)
    text = to_dot(view, title=title, direction=direction, legend=False, theme=theme, color_by=False)
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:  # each layout is a process of its own
        pictures = list(pool.map(lambda frame: layout(_lit(text, view, frame, theme), "png", timeout=timeout), frames))
    Path(path).write_bytes(_film(frames, pictures, theme, seconds, width, max_bytes))
    return os.fspath(path)


# ---------------------------------------------------------------- what happens


def backward_frames(view: GraphView, at_most: int = _FRAMES, whole: GraphView | None = None) -> list[Frame]:
    """The steps of a backward pass over a graph, in the order in which the engine takes them.

    Args:
        view: a forward graph.
        at_most: how many frames; where there are more steps, several share a frame.
        whole: the graph before it was folded, in which the parameters are counted that the picture does not show.

    Raises:
        PictureError: (a ValueError) no gradient flows anywhere.

    >>> import autograd_ff as af, visualize
    >>> w = af.ones(2, requires_grad=True)
    >>> [frame.title for frame in backward_frames(visualize.trace((w * 3).exp().sum()))]
    ['forward pass', 'sum', 'exp', 'multiply by 3', 'done']
    """
    nodes = view.nodes
    incoming, outgoing = _tracked(view)
    steps = _steps(view, incoming, outgoing)
    if not steps:
        raise PictureError(
            "no gradient flows through this graph: nothing in it requires grad.\n"
            f"  Give a loss that was computed from parameters, with gradients enabled.{here()}"
        )
    reached = set(steps)
    waiting = [sum(edge.target in reached for edge in readers) for readers in outgoing]  # for how many gradients
    frames = [
        Frame("forward pass", f"{_operations(view, steps)} computed the result\nthe gradient will come back this way")
    ]
    done: set[int] = set()
    passed: set[int] = set()
    together = -(-len(steps) // max(at_most - 2, 1))
    for start in range(0, len(steps), together):
        working = steps[start : start + together]
        along: set[int] = set()
        finished: list[Node] = []
        for step in working:
            for number, edge in incoming[step]:
                along.add(number)
                waiting[edge.source] -= 1
                if not nodes[edge.source].op and not waiting[edge.source]:
                    finished.append(nodes[edge.source])
        first = nodes[working[0]]
        name = _title(view, first)
        caption = _caption(view, first, [edge for _, edge in incoming[first.id]], not outgoing[first.id])
        if len(working) > 1:
            name += f" … {_title(view, nodes[working[-1]])}"
            caption = _operations(view, working)
        done.update(node.id for node in finished)
        frames.append(Frame(name, caption, frozenset(working), frozenset(along), frozenset(passed), frozenset(done)))
        done.update(working)
        passed |= along
    filled = _filled(view if whole is None else whole)
    frames.append(Frame("done", filled, passed=frozenset(passed), done=frozenset(done)))
    return frames


def _tracked(view: GraphView) -> tuple[list[list[tuple[int, Edge]]], list[list[Edge]]]:
    """For each node the edges along which a gradient leaves it, with their positions, and those along which it comes."""
    incoming: list[list[tuple[int, Edge]]] = [[] for _ in view.nodes]
    outgoing: list[list[Edge]] = [[] for _ in view.nodes]
    for number, edge in enumerate(view.edges):
        if edge.tracked and not view.nodes[edge.source].backward and not view.nodes[edge.target].backward:
            incoming[edge.target].append((number, edge))
            outgoing[edge.source].append(edge)
    return incoming, outgoing


def _steps(view: GraphView, incoming: list[list[tuple[int, Edge]]], outgoing: list[list[Edge]]) -> list[int]:
    """The operations that a gradient comes to, last one first."""
    roots = [node.id for node in view.nodes if node.kind == "loss" and node.tracked and not node.backward]
    if not roots:
        roots = [node.id for node in view.nodes if incoming[node.id] and not outgoing[node.id]]
    reached = set(roots)
    for id in range(len(view.nodes) - 1, -1, -1):  # every edge leads from a lower id to a higher one
        if id in reached:
            reached.update(edge.source for _, edge in incoming[id])
    return sorted((id for id in reached if incoming[id] or view.nodes[id].op), reverse=True)


def _times(view: GraphView, node: Node) -> int:
    """How often there is in truth what a folded picture shows once."""
    times, place = 1, node.module
    while place is not None:
        times *= view.modules[place].count
        place = view.modules[place].parent
    return times


def _operations(view: GraphView, steps: Collection[int]) -> str:
    """How many operations there are in some nodes, folded or not."""
    working = [view.nodes[id] for id in steps if view.nodes[id].op]
    count = sum(_times(view, node) * (node.inside or node.count) for node in working)
    return f"{count:,} operations" if count != 1 else "1 operation"


def _title(view: GraphView, node: Node) -> str:
    return node_title(node, [edge for edge in view.edges if edge.target == node.id], ()).replace("\n", ", ")


def _caption(view: GraphView, node: Node, edges: list[Edge], root: bool) -> str:
    """What a node gets and what it gives, with shapes."""
    given = [f"{_name(view, edge)} {_shape(view, edge)}".strip() for edge in edges]
    shown = ", ".join(dict.fromkeys(given[:4])) + (", …" if len(given) > 4 else "")
    shown = shown or "the parameters inside"
    if root:
        return f"starts from the gradient 1\ngives the gradient of {shown}"
    own = f", {shape_text(node.outputs[0].shape)}" if node.outputs else ""
    return f"takes the gradient of its output{own}\ngives the gradient of {shown}"


def _name(view: GraphView, edge: Edge) -> str:
    source = view.nodes[edge.source]
    if source.names:
        return source.names[0]
    return _title(view, source) if not edge.name or len(edge.name) < 3 else edge.name


def _shape(view: GraphView, edge: Edge) -> str:
    value = edge.value or view.output(edge)
    return "" if value is None else shape_text(value.shape)


def _filled(view: GraphView) -> str:
    """What has a gradient in the end."""
    incoming, outgoing = _tracked(view)
    steps = [view.nodes[id] for id in _steps(view, incoming, outgoing)]
    leaves = {edge.source for node in steps for _, edge in incoming[node.id] if not view.nodes[edge.source].op}
    counts = dict.fromkeys(("parameter", "input"), 0)
    for node in (view.nodes[id] for id in leaves):
        if node.kind in counts:
            counts[node.kind] += _times(view, node) * node.count
    texts = [f"{count:,} {kind}{'s' if count > 1 else ''}" for kind, count in counts.items() if count]
    if not texts or any(node.kind == "module" for node in steps):  # a folded module does not tell how many it holds
        return "every parameter now has a gradient"
    return f"{' and '.join(texts)} now {'has' if sum(counts.values()) < 2 else 'have'} a gradient"


# ---------------------------------------------------------------- what it looks like


def _lit(text: str, view: GraphView, frame: Frame, theme: Theme) -> str:
    """DOT text with the colours of a frame. Nothing changes its size, so everything stays where it is."""
    active, gradient = theme.marks["active"], theme.gradient
    lines = []
    for line in text.split("\n"):
        node, edge = _NODE.match(line), _EDGE.match(line)
        more = ""
        if node is not None:
            number = int(node[1])
            if number in frame.active:
                more = f'fillcolor="{active.fill}" color="{active.line}" fontcolor="{active.text}" penwidth=3.2'
                line = _recolored(line, active.text)
            elif number in frame.done:
                more = f'fillcolor="{gradient.fill}" color="{gradient.line}" fontcolor="{gradient.text}" penwidth=1.8'
                line = _recolored(line, gradient.text)
        elif edge is not None:
            number = int(edge[3])
            back = int(edge[1]) == view.edges[number].source  # else it is drawn from its target already
            if number in frame.edges or number in frame.passed:
                now = number in frame.edges
                more = (
                    f'color="{theme.edge_gradient}" penwidth={4 if now else 1.6} arrowsize={1.0 if now else 0.6} '
                    f"dir={'back' if back else 'forward'}"
                )
        lines.append(f"{line.removesuffix('];')} {more}];" if more else line)
    return "\n".join(lines)


def _recolored(line: str, color: str) -> str:
    """The label's smaller lines in a colour that can be read on the new ground."""
    return re.sub(r'(<FONT [^>]*COLOR=")[^"]*"', rf'\g<1>{color}"', line)


def _film(
    frames: list[Frame], pictures: list[bytes], theme: Theme, seconds: float, width: int, max_bytes: int
) -> bytes:
    from PIL import Image

    images = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in pictures]
    if len({image.size for image in images}) > 1:
        raise PictureError(
            "the frames came out in different layouts, for some of them took too long.\n"
            f"  Give more time (timeout=), or animate a smaller part.{here()}"
        )
    durations = [int(seconds * 1000)] * len(frames)
    durations[0], durations[-1] = int(seconds * 1500), int(seconds * 3000)
    while True:
        size = min(width, images[0].width)
        data = _gif(list(_framed(frames, images, theme, size)), durations)
        if len(data) <= max_bytes:
            return data
        width = max(int(size * min(0.85, (max_bytes / len(data)) ** 0.5)), _SMALLEST)
        if size <= _SMALLEST:
            raise PictureError(
                f"a film of {len(frames)} frames takes {len(data):,} bytes even at {size} pixels, more than "
                f"{max_bytes:,}.\n  Allow more (max_bytes=), or animate a smaller part.{here()}"
            )


def _framed(frames: list[Frame], images: list[Any], theme: Theme, width: int) -> Iterator[Any]:
    """The pictures at their final width, each over its caption."""
    from PIL import Image, ImageColor, ImageDraw

    image = images[0]
    height = max(1, round(image.height * width / image.width))
    unit = max(9, width // 48)
    big, small = _font(unit + 3, bold=True), _font(unit)
    bar = max(2, unit // 4)
    paper = ImageColor.getrgb("white" if theme.background == "transparent" else theme.background)
    strip = bar + int(unit * 6)
    for position, (frame, one) in enumerate(zip(frames, images, strict=True)):
        canvas = Image.new("RGB", (width, height + strip), paper)
        canvas.paste(one.resize((width, height), Image.Resampling.LANCZOS), (0, 0))
        draw = ImageDraw.Draw(canvas)
        draw.rectangle((0, height, width, height + bar - 1), fill=theme.module_line)
        done = round(width * position / (len(frames) - 1))
        draw.rectangle((0, height, done, height + bar - 1), fill=theme.gradient.line)
        top = height + bar + unit // 2
        counter = f"{position} / {len(frames) - 2}" if frame.active else ""
        draw.text((width - unit, top), counter, fill=theme.note, font=small, anchor="ra")
        room = width - 2 * unit
        draw.text((unit, top), _fitted(draw, frame.title, big, room - 5 * unit), fill=theme.text, font=big)
        for row, line in enumerate(frame.caption.split("\n")):
            place = (unit, top + int(unit * (1.9 + 1.5 * row)))
            draw.text(place, _fitted(draw, line, small, room), fill=theme.note, font=small)
        yield canvas


def _font(size: int, bold: bool = False) -> Any:
    """A font that is the same everywhere: matplotlib's own, else Pillow's."""
    from PIL import ImageFont

    try:
        import matplotlib

        name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
        return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", name)), size)
    except (ImportError, OSError):
        return ImageFont.load_default(size)


def _fitted(draw: Any, text: str, font: Any, room: float) -> str:
    if draw.textlength(text, font) <= room:
        return text
    while text and draw.textlength(f"{text}…", font) > room:
        text = text[:-1]
    return f"{text.rstrip()}…"


def _gif(images: list[Any], durations: list[int]) -> bytes:
    first, *rest = indexed(images)
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=rest, duration=durations, loop=0, optimize=True, disposal=1)
    return file.getvalue()
