"""Pictures of computation.

`render` draws a loss, a module or a function into a file; `trace` gives the same graph as plain data.

>>> import autograd_ff as af, visualize
>>> x = af.ones(2, requires_grad=True)
>>> len(visualize.trace((x * x).sum()).nodes)
3

Read in this order: `graph` (the data), `tracing` (how it is read off the engine), `folding` (making it simpler), `drawing`
(words, looks, DOT, Mermaid, layout, films), `page` (the HTML page), `rendering` (all together: a graph into a file);
`inspection` (measurements, paths of NaNs, lint, differences), `plans` (of compiled steps), `charts` (of a training run), `cli`, `gallery`.
"""

from .charts.classification import confusion_matrix, plot_confusion, plot_worst, predict
from .charts.curves import plot_history
from .charts.histograms import HistogramRecorder, plot_histograms
from .charts.memory import plot_memory
from .checkpoints import load_checkpoint
from .drawing.animation import animate
from .drawing.dot import to_dot
from .drawing.layout import LayoutError
from .drawing.mermaid import to_mermaid
from .drawing.module_tree import module_tree
from .drawing.style import DARK, LIGHT, MarkStyle, Style, Theme
from .errors import PictureError
from .folding.fold import fold, fold_functions
from .folding.simplify import simplify
from .graph.marks import mark
from .graph.view import Edge, GraphView, Histogram, Module, Node, Source, Value
from .inspection.diff import diff, diff_text
from .inspection.lint import Finding, Lint, lint
from .inspection.measure import measure
from .inspection.provenance import nan_path
from .page.document import to_html
from .rendering import render
from .tracing.walk import trace

__all__ = [
    "DARK", "Edge", "Finding", "GraphView", "Histogram", "HistogramRecorder", "LIGHT", "LayoutError", "Lint",
    "MarkStyle", "Module", "Node", "PictureError", "Source", "Style", "Theme", "Value", "animate",
    "confusion_matrix", "diff", "diff_text", "fold", "fold_functions", "lint", "load_checkpoint", "mark",
    "measure", "module_tree", "nan_path", "plot_confusion", "plot_histograms", "plot_history", "plot_memory", "plot_worst",
    "predict", "render", "simplify", "to_dot", "to_html", "to_mermaid", "trace",
]  # fmt: skip
