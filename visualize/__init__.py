"""Pictures of computation.

`render` draws a loss, a module or a function into a file; `trace` gives the same graph as plain data.

>>> import autograd_ff as af, visualize
>>> x = af.ones(2, requires_grad=True)
>>> len(visualize.trace((x * x).sum()).nodes)
3

Read in this order: `graph` (the data), `names`, `walk` and `gradients` (how it is read off the engine), `simplify` and
what it is made of (`contraction`, `fold`, `repeats`, `chains`, `stretches`, `hiding`),
`labels`, `style` and `ramps` (words and looks), `nesting`, `appearance`, `arrangement` and `legend` (what a picture
shows), `dot` and `mermaid` (the text of a picture), `layout` (Graphviz), `page_tree`, `formulas` and
`page` (a page to explore), `rendering` (all together), `module_tree` and
`notebook` (what a notebook shows);
`observed` (a run with onlookers), `measure`, `provenance` (paths of NaNs), `cuts` and `lint`, `diff`;
`animation` (a backward pass as a film), `curves`, `histograms` and `classification` (charts of a training run), `cli`.
"""

from .animation import animate
from .checkpoints import load_checkpoint
from .classification import confusion_matrix, plot_confusion, plot_worst, predict
from .curves import plot_history
from .diff import diff, diff_text
from .dot import to_dot
from .errors import PictureError
from .fold import fold, fold_functions
from .graph import Edge, GraphView, Histogram, Module, Node, Source, Value
from .histograms import HistogramRecorder, plot_histograms
from .layout import LayoutError
from .lint import Finding, Lint, lint
from .marks import mark
from .measure import measure
from .mermaid import to_mermaid
from .module_tree import module_tree
from .page import to_html
from .provenance import nan_path
from .rendering import render
from .simplify import simplify
from .style import DARK, LIGHT, MarkStyle, Style, Theme
from .walk import trace

__all__ = [
    "DARK", "Edge", "Finding", "GraphView", "Histogram", "HistogramRecorder", "LIGHT", "LayoutError", "Lint",
    "MarkStyle", "Module", "Node", "PictureError", "Source", "Style", "Theme", "Value", "animate",
    "confusion_matrix", "diff", "diff_text", "fold", "fold_functions", "lint", "load_checkpoint", "mark",
    "measure", "module_tree", "nan_path", "plot_confusion", "plot_histograms", "plot_history", "plot_worst",
    "predict", "render", "simplify", "to_dot", "to_html", "to_mermaid", "trace",
]  # fmt: skip
