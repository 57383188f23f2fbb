"""What is written on a picture: words that a person reads."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from ..graph.view import MARKS, Edge, Module, Node, Source, Value

__all__ = [
    "bytes_text", "inside_text", "mark_text", "measure_text", "module_label", "node_note", "node_title", "number_text",
    "op_text", "place_text", "printable", "repeated_title", "shape_text", "share_text", "source_text", "time_text", "tooltip", "value_text",
]  # fmt: skip

# Operations with a number on one side: "multiply by 2", "subtract from 1".
_WITH_NUMBER = {
    "add": ("add {}", "add {}"),
    "subtract": ("subtract {}", "subtract from {}"),
    "multiply": ("multiply by {}", "multiply by {}"),
    "divide": ("divide by {}", "divide {} by"),
    "power": ("to the power {}", "{} to the power"),
    "maximum": ("maximum with {}", "maximum with {}"),
    "minimum": ("minimum with {}", "minimum with {}"),
    "greater": ("greater than {}", "less than {}"),
    "less": ("less than {}", "greater than {}"),
    "greater_equal": ("at least {}", "at most {}"),
    "less_equal": ("at most {}", "at least {}"),
    "equal": ("equal to {}", "equal to {}"),
}
_WRITES = {"write": "write in place", "write_view": "write in place", "write_index": "write at"}
# NumPy's names of arguments, and those that users of this library write.
_ARGUMENTS = {"axis": "dim", "keepdims": "keepdim", "ddof": "correction"}
_UNSAID = {("reduction", "mean")}  # what everybody expects
_TELLING = ("wrong", "origin", "cut")  # marks that are said in full even where there is no remark
# What modules say of themselves where nobody asked for anything else.
_PLAIN = {
    "start_dim=1, end_dim=-1", "negative_slope=0.01", "approximate='none'", "alpha=1.0", "min_val=-1.0, max_val=1.0",
    "num_parameters=1", "beta=1.0, threshold=20.0", "dim=None",
}  # fmt: skip
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_LONG = 44  # characters of one label line

# Names of operations that people write otherwise than the table of operations does.
_SPOKEN = {
    "relu": "ReLU", "relu6": "ReLU6", "leaky_relu": "leaky ReLU", "prelu": "PReLU", "rrelu": "RReLU", "elu": "ELU",
    "celu": "CELU", "selu": "SELU", "gelu": "GELU", "gelu_tanh": "GELU (tanh)", "glu": "GLU", "silu": "SiLU",
    "mse_loss": "MSE loss", "l1_loss": "L1 loss", "nll_loss": "NLL loss", "kl_div": "KL divergence", "amax": "max",
    "amin": "min", "maximum.reduce": "max", "minimum.reduce": "min", "add.reduce": "sum", "gammaln": "log gamma",
    "logsigmoid": "log sigmoid", "rsqrt": "1 / square root", "sqrt": "square root", "index_add": "add at index",
    "broadcast_to": "broadcast", "expand_dims": "unsqueeze",
}  # fmt: skip
# What stands beside a number, by the name of the measurement; times and bytes say it by their unit.
_MEASURED = {
    "mean": "mean {}", "spread": "spread {}", "norm": "norm {}", "smallest": "min {}", "largest": "max {}",
    "zeros": "{} zeros", "nonfinite": "{} NaN or ∞",
    "buffer": "buffer {}",
}  # fmt: skip


def op_text(op: str) -> str:
    """The name of an operation in words.

    >>> op_text("leaky_relu"), op_text("∇ log_softmax"), op_text("multiply · relu"), op_text("MyLayer_2")
    ('leaky ReLU', '∇ log softmax', 'multiply · ReLU', 'MyLayer_2')
    >>> op_text("add + relu")
    'add + ReLU'
    """
    for sign in (" · ", " + "):  # a chain, a compiled loop
        if sign in op:
            return sign.join(op_text(one) for one in op.split(sign))
    sign = "∇ " if op.startswith("∇ ") else ""
    name = op.removeprefix(sign).removeprefix("_").removeprefix("np.").removeprefix("linalg.")
    return sign + _SPOKEN.get(name, name if name != name.lower() else name.replace("_", " "))


def number_text(number: float) -> str:
    """
    >>> number_text(0.01234), number_text(-1.5e-9), number_text(1200.0), number_text(float("nan"))
    ('0.0123', '−1.5e−9', '1200', 'NaN')
    """
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "∞" if number > 0 else "−∞"
    if number == 0:
        return "0"
    text = f"{number:.0f}" if 1000 <= abs(number) < 100_000 else f"{number:.3g}"
    digits, _, exponent = text.partition("e")
    return (f"{digits}e{int(exponent)}" if exponent else digits).replace("-", "−")


def time_text(seconds: float) -> str:
    """
    >>> time_text(0.0012), time_text(3.4e-5), time_text(2.0)
    ('1.2 ms', '34 µs', '2 s')
    """
    return _with_unit(seconds, ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")))


def bytes_text(count: float) -> str:
    """
    >>> bytes_text(160), bytes_text(3_100_000), bytes_text(131_072)
    ('160 B', '3.1 MB', '131 kB')
    """
    return _with_unit(count, ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")))


def share_text(share: float) -> str:
    """
    >>> share_text(0.924), share_text(0.0), share_text(0.001), share_text(0.9999)
    ('92 %', '0 %', '<1 %', '>99 %')
    """
    if not math.isfinite(share):
        return number_text(share)
    if 0 < share < 0.01:
        return "<1 %"
    return ">99 %" if 0.99 < share < 1 else f"{share * 100:.0f} %"


def _with_unit(number: float, units: Sequence[tuple[float, str]]) -> str:
    if not math.isfinite(number):
        return f"{number_text(number)} {units[0][1]}"
    for scale, unit in units:
        if abs(number) >= scale * 0.9995 or unit == units[-1][1]:
            number /= scale
            digits = f"{number:.0f}" if abs(number) >= 9.95 else f"{number:.1f}".removesuffix(".0")
            return f"{digits} {unit}"
    raise AssertionError("no unit")


def measure_text(name: str, number: float, unit: str = "") -> str:
    """A measurement in words; ``unit`` as in `MEASURES`.

    >>> measure_text("forward", 0.0012, "s"), measure_text("gradient zeros", 0.92, "share")
    ('1.2 ms', '92 % zeros')
    """
    texts = {"s": time_text, "bytes": bytes_text, "share": share_text}
    text = texts.get(unit, number_text)(number)
    return _MEASURED.get(name.removeprefix("gradient "), "{}").format(text)


def shape_text(shape: Sequence[int]) -> str:
    """A shape as people say it.

    >>> shape_text((64, 128)), shape_text((5,)), shape_text(())
    ('64×128', '5', 'scalar')
    """
    return "×".join(str(side) for side in shape) if len(shape) else "scalar"


def value_text(value: Value) -> str:
    """
    >>> value_text(Value((64, 128), "float32"))
    '64×128 float32'
    """
    return f"{shape_text(value.shape)} {value.dtype}"


def module_label(module: Module, within: str = "") -> str:
    """
    >>> module_label(Module(0, "module", "fc1", "Linear", detail="784→128"))
    'fc1 · Linear(784→128)'
    >>> module_label(Module(0, "module", "layers.0.fc1", "Linear", call=1), within="layers.0–11")
    'fc1 · Linear · call 2'
    """
    text = _named(relative(module.name, within), module.type, module.detail)
    if module.call and module.kind == "module" and not module.backward:
        text += f" · call {module.call + 1}"
    if module.count > 1:
        text += f" ×{module.count}"
    return f"∇ {text}" if module.backward else text


def repeated_title(title: str, node: Node) -> str:
    """The label of a node that stands for several and is all that a module holds; ``title`` is that module's.

    >>> repeated_title("layers · Sequential", Node(0, "module", "Block", count=12, path="layers.0–11"))
    'layers · Sequential › Block ×12'
    >>> repeated_title("∇ layers · Sequential", Node(0, "module", "∇ Block", count=12, backward=True))
    '∇ layers · Sequential › Block ×12'
    """
    own = node_title(replace(node, path="", backward=False, op=node.op.removeprefix("∇ ")))
    return f"{title} › {own}"


def _named(name: str, type: str, detail: str) -> str:
    text = f"{type}({detail})" if detail and detail not in _PLAIN else type
    return text if name in ("", type) else f"{name} · {text}"


def relative(name: str, within: str) -> str:
    """A qualified name as it is said inside a module.

    >>> relative("encoder.layers.0.fc1", "encoder.layers"), relative("layers.0.fc1", "layers.0–11")
    ('0.fc1', 'fc1')
    """
    prefix = within.split("–")[0] + "."
    return name[len(prefix) :] if name.startswith(prefix) else name


def node_title(
    node: Node, incoming: Sequence[Edge] = (), outgoing: Sequence[Edge] = (), *, within: str | None = None
) -> str:
    """The first line of a node's label; ``within`` is the name of the module in whose box it stands.

    >>> node = Node(0, "parameter", names=("encoder.layers.0.fc1.weight",))
    >>> node_title(node), node_title(node, within="encoder.layers.0.fc1"), node_title(node, within="encoder.layers.0")
    ('encoder.layers.0.fc1.weight', 'fc1.weight', 'fc1.weight')
    """
    if within is not None and node.kind in ("parameter", "buffer") and not node.op:
        node = replace(node, names=tuple(_brief(name, within) for name in node.names))
    title = _title(node, incoming, outgoing, within or "")
    return f"{title} ×{node.count}" if node.count > 1 else title


def _title(node: Node, incoming: Sequence[Edge], outgoing: Sequence[Edge], within: str) -> str:
    if (node.kind == "module" or node.path) and not node.backward:
        return _named(relative(node.path, within), node.op, node.detail)
    if not node.op:
        if node.names:
            return "\n".join(name or "''" for name in node.names[:3]) + ("\n…" if len(node.names) > 3 else "")
        value = dict(node.arguments).get("value")
        return value if value is not None else _role(outgoing) or node.kind
    if node.op == "linear" and not node.backward:
        return _linear(node, incoming)
    title = _WRITES.get(node.op) or op_text(node.op)
    arguments = dict(node.arguments)
    if node.op == "cast" and "dtype" in arguments:
        return f"to {arguments['dtype']}"
    phrases = _WITH_NUMBER.get(node.op)
    if phrases is not None and len(arguments) == 1:
        ((name, number),) = arguments.items()
        if name in ("x1", "x2"):
            return phrases[name == "x1"].format(number)
    if node.backward and node.op in ("add", "index_add") and not arguments:
        return "sum of gradients"
    shown = [
        value if name in ("index", "geometry", "position") else f"{_ARGUMENTS.get(name, name)}={value}"
        for name, value in node.arguments
        if (name, value) not in _UNSAID
    ]
    if node.op in ("reshape", "broadcast_to"):
        shown = []  # the new shape stands in the second line
    if node.op in ("transpose", "permute") and "axes" in arguments:
        shown = [arguments["axes"]]
    text = f"{title} {', '.join(shown)}" if shown else title
    return _cut(text)


def _brief(name: str, within: str) -> str:
    """A parameter's name in its module's box: the last part of the module's name stays, unless it is a number."""
    last = within.rsplit(".", 1)[-1]
    rest = relative(name, within)
    if rest == name:
        return ".".join(name.split(".")[-2:])
    return f"{last}.{rest}" if last.isidentifier() and "." not in rest else rest


def _role(outgoing: Sequence[Edge]) -> str:
    """What an array without a name is to who reads it: a mask, indices, a target."""
    names = {edge.name for edge in outgoing}
    return names.pop() if len(names) == 1 and all(len(name) > 2 for name in names) else ""


def _linear(node: Node, incoming: Sequence[Edge]) -> str:
    for edge in incoming:
        if edge.name == "weight" and edge.value is not None and len(edge.value.shape) == 2:
            return f"linear {edge.value.shape[1]}→{edge.value.shape[0]}"
    return "linear"


def node_note(node: Node) -> str:
    """The second line: what comes out."""
    if node.kind == "module" and not node.outputs:  # a module that stands still: what it holds
        return " · ".join(f"{name} {text}".strip() for name, text in node.arguments)
    values = list(dict.fromkeys(node.outputs))
    same = len({value.dtype for value in values}) == 1  # said once
    texts = [shape_text(value.shape) if same else value_text(value) for value in values[:3]]
    return " · ".join(texts) + (" …" if len(values) > 3 else "") + (f" {values[0].dtype}" if same else "")


def mark_text(node: Node) -> str:
    """What there is to say about a node's mark: the remark, or for what is at fault the mark's own name."""
    return node.remark or (MARKS.get(node.mark, "") if node.mark in _TELLING else "")


def inside_text(node: Node) -> str:
    """How much a folded node holds.

    >>> inside_text(Node(0, "module", "Block", count=12, inside=168))
    '14 operations each'
    """
    if node.inside < 2:
        return ""
    if node.count > 1 and node.inside % node.count == 0:
        return f"{node.inside // node.count:,} operations each"
    return f"{node.inside:,} operations"


def printable(text: str) -> str:
    """Text without the characters that neither XML nor a DOT file may hold."""
    return _FORBIDDEN.sub("\ufffd", text)


def source_text(source: Source) -> str:
    """A line of code with the file's bare name.

    >>> source_text(Source("/home/me/train.py", 12, "loss = f(x)"))
    'train.py:12: loss = f(x)'
    """
    return str(replace(source, file=source.file.rsplit("/", 1)[-1]))


def place_text(source: Source) -> str:
    """Where a line is, without what it says.

    >>> place_text(Source("/home/me/train.py", 12, "loss = f(x)"))
    'train.py:12'
    """
    return source_text(replace(source, text=""))


def tooltip(node: Node, title: str = "", modules: Sequence[Module] = ()) -> str:
    """What shows when the mouse rests on a node: all that the label had no room for."""
    lines = [", ".join(node.names)] if node.names else []
    arguments = [f"{name}={value}" for name, value in node.arguments]
    if node.op:
        lines.append(f"{node.op}({', '.join(arguments)})")
    elif not node.names:
        lines.append(title)
    lines += [f"{value_text(value)}, {value.nbytes:,} bytes" for value in node.outputs]
    if node.memory:
        lines.append(node.memory)
    if modules:
        lines.append(f"in {modules[-1].name}")
    if node.source is not None:
        lines.append(source_text(node.source))
    return "\n".join(lines)


def _cut(text: str) -> str:
    return text if len(text) <= _LONG else text[: _LONG - 1] + "…"
