"""Pictures of computation.

`render` draws a loss, a module or a function into a file; `trace` gives the same graph as plain data.

>>> import autograd_ff as af, visualize
>>> x = af.ones(2, requires_grad=True)
>>> len(visualize.trace((x * x).sum()).nodes)
3

Read in this order: `graph` (the data), `names` and `walk` (how it is read off the engine), `fold` (making it simpler),
`labels` and `style` (words and looks), `dot` (the text of a picture), `layout` (Graphviz), `rendering` (all together).
"""

from .dot import to_dot
from .fold import fold, fold_functions
from .graph import Edge, GraphView, Histogram, Module, Node, Source, Value
from .layout import LayoutError
from .rendering import render
from .style import LIGHT, Style, Theme
from .walk import trace

__all__ = [
    "LIGHT", "Edge", "GraphView", "Histogram", "LayoutError", "Module", "Node", "Source", "Style", "Theme", "Value", "fold",
    "fold_functions", "render", "to_dot", "trace",
]  # fmt: skip
