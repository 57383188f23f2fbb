"""The arena of a compiled step: which value lies where, and how long."""

from __future__ import annotations

import os
from typing import Any

from autograd_ff.compiler.plan import Plan

from ..drawing.labels import bytes_text, op_text
from ..drawing.style import LIGHT, Theme, theme_of
from ..plans.flow import name_of
from ..plans.graph import plan_of
from ..plans.lifetimes import Lifetime, lifetimes, most_at_once
from ..plans.phases import PHASES, phases_of
from .chart import finish, frame, new_figure, picture_error

__all__ = ["plot_memory"]

_NAMED = 48  # instructions that the axis has room to name
_HIGH = 0.034  # of the height: lower rectangles have no room for a name
_TEXT = 7.0  # points
_LETTERS = 17.0  # of that size, in an inch
_HEADING = 12.0  # of a phase's name, in an inch
_SHORT = 5  # letters that say too little
_LONG = 28  # letters of an instruction's name on the axis
_MARGINS = 1.7  # inches beside the axes


def plot_memory(
    step: Any,
    path: str | os.PathLike[str] | None = None,
    title: str | None = None,
    *,
    theme: Theme | str = LIGHT,
) -> Any:
    """Draw the memory of a compiled step: each intermediate value as a rectangle.

    Instructions run to the right, addresses in the arena upwards: a rectangle is as long as its value lives and as high as
    it is large. What lies side by side in one row shares memory over time; where an operation writes its result over an
    operand, a rectangle goes on under both names, or begins where the other ends. What the step returns has a thick
    outline. Gradients, parameters and moments have memory of their own and are not shown.

    Args:
        step: a compiled step, or its ``plan``.
        path: a ``.png``, ``.svg`` or ``.pdf`` file; None for the figure itself.
        title: above the picture; by default the size of the arena beside what the same values take apart.
        theme: colours: ``"light"``, ``"dark"`` or a `Theme`.

    Returns:
        The path, or a ``matplotlib.figure.Figure``.

    Raises:
        PictureError: (a ValueError and TypeError) neither a compiled step nor a plan.
        CaptureError: the step has no plan yet.
        ImportError: matplotlib is missing.

    >>> import autograd_ff as af
    >>> @af.compile(fast=False)
    ... def step(x):
    ...     return (x.exp() + 1).sum()
    >>> with af.no_grad():
    ...     for _ in range(2): _ = step(af.ones(1000))
    >>> figure = plot_memory(step)
    >>> figure.get_suptitle()
    'Arena: 4.1 kB, for values that take 8 kB apart (51 %); 4 kB live at once'
    """
    theme = theme_of(theme)
    plan = plan_of(step)
    if plan is None:
        raise picture_error(f"a memory map shows a compiled step or its plan, not a {type(step).__name__}")
    living = lifetimes(plan)
    count = len(plan.instructions)
    phases = phases_of(plan)
    named = count <= _NAMED
    width = min(16.0, max(8.5, 0.27 * count + 2.2))
    figure = new_figure(width, 5.6 if named else 4.8, theme)
    axes = figure.add_subplot()
    wide = (width - _MARGINS) / max(count, 1)
    _shade_phases(axes, phases, wide, theme)
    for one in living:
        _rectangle(axes, one, phases, plan.arena_bytes - _lowest(living), wide, theme)
    _axes(axes, plan, living, named, theme)
    return finish(figure, path, _title(plan, living) if title is None else title, theme)


def _title(plan: Plan, living: list[Lifetime]) -> str:
    if not living:
        return "No intermediate values in an arena"
    share = f" ({plan.arena_bytes / plan.eager_bytes:.0%})".replace("%", " %") if plan.eager_bytes else ""
    return (
        f"Arena: {bytes_text(plan.arena_bytes)}, for values that take {bytes_text(plan.eager_bytes)} apart{share}; "
        f"{bytes_text(most_at_once(living))} live at once"
    )


def _shade_phases(axes: Any, phases: list[str], wide: float, theme: Theme) -> None:
    """Where each phase begins, and its name above; ``wide``: inches of one instruction."""
    start = 0
    for at in range(1, len(phases) + 1):
        if at == len(phases) or phases[at] != phases[start]:
            if phases[start]:
                fill, line = theme.box(0, phases[start] == "backward")
                axes.axvspan(start, at, color=fill, zorder=0, linewidth=0)
                fits = len(phases[start]) <= (at - start) * wide * _HEADING
                name = phases[start] if fits else phases[start].replace(", ", ",\n").replace(" and ", "\nand ")
                axes.axvline(at, color=line, linewidth=0.8, zorder=0.5)
                axes.annotate(
                    name, ((start + at) / 2, 1), xycoords=("data", "axes fraction"), xytext=(0, 4),
                    textcoords="offset points", ha="center", va="bottom", color=theme.note, fontsize=9,
                    annotation_clip=False,
                )  # fmt: skip
            start = at


def _lowest(living: list[Lifetime]) -> int:
    """The first address; below 0 lie the gradients, where other values live before these are there."""
    return min([0, *(one.offset for one in living)])


def _rectangle(axes: Any, one: Lifetime, phases: list[str], arena: int, wide: float, theme: Theme) -> None:
    """``wide``: inches of one instruction."""
    from matplotlib.patches import Rectangle

    phase = phases[one.first] if one.first < len(phases) else ""
    style = (
        theme.gradient if phase == "backward" else theme.kinds["kernel"] if phase != PHASES[2] else theme.kinds["write"]
    )
    result = one.last == len(phases)
    end = min(one.end, len(phases))
    axes.add_patch(
        Rectangle(
            (one.first, one.offset), end - one.first, one.size, facecolor=style.fill, edgecolor=style.line,
            linewidth=1.8 if result else 0.8, zorder=2,
        )
    )  # fmt: skip
    if arena and one.size / arena >= _HIGH:
        name = ", ".join(map(op_text, one.name.split(", ")))
        text = _cut(name, int((end - one.first) * wide * _LETTERS))
        if text == name or len(text) > _SHORT:
            axes.text(
                (one.first + end) / 2, one.offset + one.size / 2, text, ha="center", va="center", fontsize=_TEXT,
                color=style.text, zorder=3, clip_on=True,
            )  # fmt: skip


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: max(room - 1, 0)] + "…"


def _axes(axes: Any, plan: Plan, living: list[Lifetime], named: bool, theme: Theme) -> None:
    from matplotlib.ticker import MaxNLocator

    count = len(plan.instructions)
    top = max(plan.arena_bytes, 1)
    axes.set_xlim(0, max(count, 1))
    lowest = min(
        [0, *(one.offset for one in living)]
    )  # below 0 lie the gradients, where nothing else does from then on
    axes.set_ylim(lowest, max(top, -0.1 * lowest) * 1.06)
    if lowest:
        axes.axhline(0, color=theme.note, linewidth=0.8, zorder=1)
    axes.axhline(plan.arena_bytes, color=theme.note, linewidth=0.8, zorder=1)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(
        lambda number, _: f"{'-' if number < 0 else ''}{bytes_text(abs(number))}" if number else "0"
    )
    axes.set_ylabel("address in the arena" + (" (below 0: gradients to come)" if lowest else ""))
    axes.set_xlabel("instruction")
    frame(axes, theme)
    if named:
        axes.set_xticks(
            [at + 0.5 for at in range(count)],
            [_cut(op_text(name_of(one)), _LONG) for one in plan.instructions],
            rotation=90,
            fontsize=_TEXT,
        )
        axes.tick_params(axis="x", length=0, labelsize=_TEXT)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    buffers = {one.offset: one.buffer for one in living}
    if len(buffers) <= 40:
        right = axes.secondary_yaxis("right")
        shown: list[int] = []
        for offset in sorted(buffers):
            if not shown or offset - shown[-1] > (top - lowest) * 0.04:
                shown.append(offset)
        right.set_yticks(shown, [f"buffer {buffers[offset]}" for offset in shown])
        right.tick_params(colors=theme.note, labelcolor=theme.note, labelsize=_TEXT)
        right.spines["right"].set_visible(False)
