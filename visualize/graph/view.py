"""A graph as plain data: what `trace` returns and everything else draws.

Nothing here knows the engine or a drawing program. Two views of the same computation compare equal, and a view goes to
JSON and back unchanged.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .enclosing import module_path

__all__ = [
    "KINDS", "MARKS", "MEASURES", "MODULE_KINDS", "Edge", "GraphView", "Histogram", "Module", "Node", "Source", "Value",
]  # fmt: skip

# What a node is, in the order in which a legend lists them.
KINDS = {
    "input": "input",
    "parameter": "parameter",
    "buffer": "buffer",
    "constant": "constant",
    "op": "operation",
    "kernel": "fused kernel",
    "view": "view of the same memory",
    "write": "write in place",
    "action": "done by Python itself",
    "module": "folded module",
    "loss": "loss",
    "output": "output",
}

# What puts nodes into one box.
MODULE_KINDS = {
    "module": "call of a module",
    "composite": "call of an operation made of others",
    "function": "call of a user's Function",
    "backward": "derivative rule of one operation",
    "repeat": "operations that repeat",
    "phase": "part of a compiled step",
}

# Why a node stands out, in the order in which a legend lists them. At most one for each node.
MARKS = {
    "wrong": "wrong gradient",
    "origin": "first NaN or infinity",
    "nonfinite": "NaN or infinity passed on",
    "cut": "path of the gradient cut here",
    "unreached": "no gradient arrives",
    "dead": "dead units",
    "suspect": "worth a look",
    "added": "added",
    "removed": "removed",
    "changed": "changed",
    "active": "gradient is here now",
}

# What may be measured of a node in a real run, and its unit. Of a gradient, of the gradient of the node's output.
MEASURES = {
    "forward": "s",
    "backward": "s",
    "saved": "bytes",
    "mean": "",
    "spread": "",  # standard deviation
    "norm": "",
    "smallest": "",
    "largest": "",
    "zeros": "share",
    "nonfinite": "share",
    "gradient mean": "",
    "gradient spread": "",
    "gradient norm": "",
    "gradient zeros": "share",
    "gradient nonfinite": "share",
    "buffer": "",  # of a compiled step: the number of the buffer that a result lies in
}


@dataclass(frozen=True, slots=True)
class Source:
    """A line of the user's code. ``file`` is relative to the working directory where it lies below it.

    >>> str(Source("train.py", 12, "loss = f(x)"))
    'train.py:12: loss = f(x)'
    """

    file: str
    line: int
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}" if self.text else f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Value:
    """Shape and dtype of an array.

    >>> Value((64, 128), "float32").nbytes
    32768
    """

    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """The bytes of its elements."""
        return math.prod(self.shape) * _item_size(self.dtype)


def _item_size(dtype: str) -> int:
    bits = "".join(letter for letter in dtype if letter.isdigit())
    return int(bits) // 8 if bits else 1


@dataclass(frozen=True, slots=True)
class Histogram:
    """How the numbers of an array are spread: ``counts`` of equally wide bins from ``low`` to ``high``.

    >>> sum(Histogram("values", -1.0, 1.0, (3, 5)).counts)
    8
    """

    of: str  # "values" or "gradient"
    low: float
    high: float
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One operation, or one array that no operation made.

    >>> Node(0, "op", "exp", outputs=(Value((64, 128), "float32"),)).nbytes
    32768
    """

    id: int  # position in a topological order: every edge leads from a lower id to a higher one
    kind: str  # one of KINDS
    op: str = ""  # the op's name; "" where no op made it
    outputs: tuple[Value, ...] = ()
    names: tuple[str, ...] = ()  # qualified names of a parameter, name of an input or of the user's variable
    arguments: tuple[tuple[str, str], ...] = ()  # what else the op was given, readable: (("axis", "1"),)
    module: int | None = None  # id of the innermost module around it
    source: Source | None = None  # the line that made it
    tracked: bool = False  # a gradient flows back through it
    backward: bool = False  # part of the computation of a gradient
    count: int = 1  # how many equal ones this node stands for: "Block ×12"
    inside: int = 0  # how many operations are folded into it
    path: str = ""  # of a folded module: its qualified name, "encoder.layer.0", or "layers.0–11" of several …
    detail: str = ""  # … and what it says of itself: "784→128"
    step: int | None = None  # which op of the traced call this is, counting all that an observer saw, from 0
    # Of a gradient: id of the value that it is the gradient of, or of the op that it derives.
    belongs_to: int | None = None
    mark: str = ""  # one of MARKS
    remark: str = ""  # what there is to say about the mark
    measures: tuple[tuple[str, float], ...] = ()  # of a real run, by a name in MEASURES
    histograms: tuple[Histogram, ...] = ()
    memory: str = ""  # of a compiled step: where its results lie: "buffer 3, 33 kB at 0x8000"

    @property
    def nbytes(self) -> int:
        """The bytes of all its outputs."""
        return sum(value.nbytes for value in self.outputs)

    def measure(self, name: str) -> float | None:
        """One measurement, or None where it was not taken."""
        return dict(self.measures).get(name)


@dataclass(frozen=True, slots=True)
class Edge:
    """An array on its way from the node that made it to one that reads it.

    >>> import autograd_ff as af, visualize
    >>> x = af.ones(2)
    >>> [(edge.source, edge.target, edge.input) for edge in visualize.trace(lambda x: x * x, x).edges][:2]
    [(0, 1, 0), (0, 1, 1)]
    """

    source: int
    target: int
    output: int = 0  # which output of the source
    input: int = 0  # which input of the target …
    name: str = ""  # … and its name there
    value: Value | None = None  # as it is read
    tracked: bool = False  # a gradient flows back along it
    mark: str = ""  # one of MARKS


@dataclass(frozen=True, slots=True)
class Module:
    """One call of a module, of a composite op, of a user's function, or of a derivative rule; or what repeats.

    >>> import autograd_ff as af, visualize
    >>> model = af.nn.Sequential(af.nn.Linear(3, 2))
    >>> [(one.name, one.type, one.parent) for one in visualize.trace(model, af.ones(1, 3)).modules]
    [('Sequential', 'Sequential', None), ('0', 'Linear', 0)]
    """

    id: int
    kind: str  # one of MODULE_KINDS
    name: str  # qualified: "encoder.layer.0"; "layers.0–11" where it stands for several
    type: str  # "Linear"
    parent: int | None = None
    call: int = 0  # which call of the same module this is
    detail: str = ""  # what the module says of itself: "784→128"
    source: Source | None = None  # the line that called it
    backward: bool = False  # the gradients that belong to it
    count: int = 1  # how many equal ones, one after another, this one stands for: "×12"


@dataclass(frozen=True, slots=True, repr=False)
class GraphView:
    """Nodes, edges and nested modules of a computation.

    >>> one = GraphView(nodes=(Node(0, "input", outputs=(Value((2,), "float32"),)), Node(1, "op", "exp")),
    ...                 edges=(Edge(0, 1),))
    >>> GraphView.from_dict(one.to_dict()) == one
    True
    """

    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    modules: tuple[Module, ...] = ()
    name: str = ""

    def __repr__(self) -> str:
        """How large it is; `to_json` writes all of it.

        >>> GraphView((Node(0, "op", "exp"),), name="Net")
        <GraphView 'Net': 1 node, 0 edges, 0 modules>
        """
        parts = {"node": self.nodes, "edge": self.edges, "module": self.modules}
        counts = ", ".join(f"{len(many):,} {one}{'' if len(many) == 1 else 's'}" for one, many in parts.items())
        return f"<GraphView {self.name!r}: {counts}>" if self.name else f"<GraphView: {counts}>"

    def path(self, module: int | None) -> tuple[int, ...]:
        """The ids of a module and of those around it, outermost first."""
        return module_path(self.modules, module)

    def output(self, edge: Edge) -> Value | None:
        """What the source of an edge gives there, which may differ from what the target reads."""
        outputs = self.nodes[edge.source].outputs
        return outputs[edge.output] if edge.output < len(outputs) else None

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What a notebook shows: the picture."""
        from ..drawing.notebook import bundle  # it draws

        return bundle(self, include, exclude)

    def to_dict(self) -> dict[str, Any]:
        """As dicts, lists, strings and numbers, ready for ``json.dumps``."""
        from .exchange import to_dict  # it makes the classes of this file

        return to_dict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> GraphView:
        """The view that `to_dict` wrote. Keys that this version does not know are ignored.

        Raises:
            FileFormatError: (a ValueError) the data are not a GraphView, or of a later version.
        """
        from .exchange import from_dict  # it makes the classes of this file

        return from_dict(data)

    def to_json(self, *, indent: int | None = None) -> str:
        """As JSON text, without the fields that have their default value. The same view gives the same text.

        >>> GraphView.from_json(GraphView(name="empty").to_json())
        <GraphView 'empty': 0 nodes, 0 edges, 0 modules>
        """
        from .exchange import to_json  # it makes the classes of this file

        return to_json(self, indent)

    @classmethod
    def from_json(cls, text: str | bytes) -> GraphView:
        """The view that `to_json` wrote.

        Raises:
            FileFormatError: (a ValueError) the text is not JSON, or not the JSON of a GraphView.
        """
        from .exchange import from_json  # it makes the classes of this file

        return from_json(text)

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write a JSON file that `load` reads; the path comes back."""
        Path(path).write_text(self.to_json(), encoding="utf-8")
        return str(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> GraphView:
        """The view in a JSON file that `save` or ``render(..., "graph.json")`` wrote.

        Raises:
            FileFormatError: (a ValueError) the file holds something else.
            OSError: there is no such file.

        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = GraphView(name="empty").save(pathlib.Path(folder, "graph.json"))
        ...     GraphView.load(file).name
        'empty'
        """
        from .exchange import from_json  # it makes the classes of this file

        return from_json(Path(path).read_bytes(), str(path))
