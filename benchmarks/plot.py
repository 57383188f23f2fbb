"""The picture of the training steps: how many times the bare matrix products' time each framework takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .frameworks import FRAMEWORKS, OURS

SHADES = dict(zip(OURS, ("#c2410c", "#ea8a5a", "#f5c9ae"), strict=True))
OTHERS = "#9aa3af"
COLUMNS = 2


def save(several: list[dict[str, Any]], path: Path) -> None:
    """Bars on a logarithmic axis that begins at the products themselves; a panel for each case, the same rows in each."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    keys = [key for key in FRAMEWORKS if key != "products" and any(key in one["frameworks"] for one in several)]
    keys.sort(key=lambda key: OURS.index(key) if key in OURS else len(OURS))
    titles = [FRAMEWORKS[key].title for key in keys]
    columns = min(COLUMNS, len(several))
    rows = -(-len(several) // columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(2.6 + 3.4 * columns, 0.9 + rows * (0.75 + 0.24 * len(keys))), squeeze=False, sharey=True,
        layout="constrained",
    )  # fmt: skip
    panels = list(axes.flat)
    for panel, one in zip(panels, several, strict=False):
        draw(panel, one, keys)
    panels[0].set_ylim(len(keys) - 0.4, -0.6)
    for panel in panels[::columns]:
        panel.set_yticks(range(len(keys)))
        for label, key in zip(panel.set_yticklabels(titles), keys, strict=True):
            label.set_fontweight("bold" if key in OURS else "normal")
    for panel in panels[len(several) :]:
        panel.set_visible(False)
    figure.set_layout_engine("constrained", hspace=0.06, wspace=0.04)
    figure.suptitle(
        "Training step with Adam on the CPU, as a multiple of its bare matrix products (shorter is faster)",
        fontsize=11, x=0.01, ha="left",
    )  # fmt: skip
    figure.savefig(path, dpi=160)
    pyplot.close(figure)


def draw(panel: Any, results: dict[str, Any], keys: list[str]) -> None:
    from matplotlib.ticker import NullFormatter, NullLocator

    ratios = {key: found["ratio"] for key in keys if (found := results["frameworks"].get(key)) and found["ratio"]}
    low = min(1.0, *ratios.values()) if ratios else 1.0
    high = max(2.0, *ratios.values()) if ratios else 2.0
    low = low if low == 1 else low * 0.9
    for row, key in enumerate(keys):
        if key not in ratios:
            panel.annotate(
                results["failed"].get(key, {}).get("reason", "not measured")[:32], (low, row), (4, 0),
                textcoords="offset points", va="center", fontsize=7, color="#6b7280", style="italic",
            )  # fmt: skip
            continue
        value, found = ratios[key], results["frameworks"][key]
        panel.barh(row, value - 1, left=1, height=0.72, color=SHADES.get(key, OTHERS))
        note = (" (unlike loss)" if found["differs"] else "") + ("" if value > 1.005 else " ")
        panel.annotate(
            f"{value:.2f}{note}" if value < 10 else f"{value:.0f}{note}", (max(value, 1), row), (4, 0),
            textcoords="offset points", va="center", fontsize=8, fontweight="bold" if key in OURS else "normal",
        )  # fmt: skip
    panel.set_xscale("log")
    panel.set_xlim(low, high * (high / low) ** 0.2)  # room for the numbers
    ticks = [tick for tick in (1, 1.2, 1.5, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000) if low <= tick <= high]
    if high > 3:
        ticks = [tick for tick in ticks if tick in (1, 2, 3 if high < 10 else 2, 5, 10, 20, 50, 100, 200, 500)]
    panel.set_xticks(ticks, [f"{tick:g}×" for tick in ticks])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.axvline(1, color="#111827", linewidth=1)
    panel.set_title(
        results["case"] + ("" if results["reliable"] else " (unreliable)"), fontsize=9.5, loc="left", fontweight="bold"
    )
    panel.tick_params(axis="both", length=0, labelsize=8.5)
    panel.grid(axis="x", color="#e5e7eb", linewidth=0.8)
    panel.set_axisbelow(True)
    for side in ("top", "right", "bottom", "left"):
        panel.spines[side].set_visible(False)
