"""What is written on a picture: words that a person reads."""

from __future__ import annotations

from collections.abc import Sequence

from .graph import Edge, Module, Node, Source, Value

__all__ = ["module_label", "node_note", "node_title", "shape_text", "source_text", "tooltip", "value_text"]

# Operations with a number on one side: "multiply by 2", "subtract from 1".
_WITH_NUMBER = {
    "add": ("add {}", "add {}"),
    "subtract": ("subtract {}", "subtract from {}"),
    "multiply": ("multiply by {}", "multiply by {}"),
    "divide": ("divide by {}", "divide {} by"),
    "power": ("to the power {}", "{} to the power"),
    "maximum": ("maximum with {}", "maximum with {}"),
    "minimum": ("minimum with {}", "minimum with {}"),
}
_WRITES = {"write": "write in place", "write_view": "write in place", "write_index": "write at"}
# NumPy's names of arguments, and those that users of this library write.
_ARGUMENTS = {"axis": "dim", "keepdims": "keepdim", "ddof": "correction"}
_UNSAID = {("reduction", "mean")}  # what everybody expects
_LONG = 44  # characters of one label line


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


def module_label(module: Module) -> str:
    """
    >>> module_label(Module(0, "module", "fc1", "Linear", detail="784→128"))
    'fc1 · Linear(784→128)'
    >>> module_label(Module(0, "module", "fc1", "Linear", call=1))
    'fc1 · Linear · call 2'
    """
    text = f"{module.type}({module.detail})" if module.detail else module.type
    if module.name not in ("", module.type):
        text = f"{module.name} · {text}"
    if module.call and module.kind == "module" and not module.backward:
        text += f" · call {module.call + 1}"
    return f"∇ {text}" if module.backward else text


def node_title(node: Node, incoming: Sequence[Edge] = (), outgoing: Sequence[Edge] = ()) -> str:
    """The first line of a node's label."""
    if not node.op:
        if node.names:
            return "\n".join(name or "''" for name in node.names[:3]) + ("\n…" if len(node.names) > 3 else "")
        value = dict(node.arguments).get("value")
        return value if value is not None else _role(outgoing) or node.kind
    if node.op == "linear" and not node.backward:
        return _linear(node, incoming)
    title = _WRITES.get(node.op, node.op.removeprefix("_"))
    arguments = dict(node.arguments)
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
    texts = list(dict.fromkeys(value_text(value) for value in node.outputs))
    return " · ".join(texts[:3]) + (" …" if len(texts) > 3 else "")


def source_text(source: Source) -> str:
    """A line of code with the file's bare name.

    >>> source_text(Source("/home/me/train.py", 12, "loss = f(x)"))
    'train.py:12: loss = f(x)'
    """
    return str(Source(source.file.rsplit("/", 1)[-1], source.line, source.text))


def tooltip(node: Node, title: str = "", modules: Sequence[Module] = ()) -> str:
    """What shows when the mouse rests on a node: all that the label had no room for."""
    lines = [", ".join(node.names)] if node.names and node.op else []
    arguments = [f"{name}={value}" for name, value in node.arguments]
    lines.append(f"{node.op}({', '.join(arguments)})" if node.op else title)
    lines += [f"{value_text(value)}, {value.nbytes:,} bytes" for value in node.outputs]
    if modules:
        lines.append(f"in {modules[-1].name}")
    if node.source is not None:
        lines.append(source_text(node.source))
    return "\n".join(lines)


def _cut(text: str) -> str:
    return text if len(text) <= _LONG else text[: _LONG - 1] + "…"
