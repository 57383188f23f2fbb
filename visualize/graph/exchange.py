"""A `GraphView` to and from JSON.

A file may come from anywhere, so everything in it is checked: types, that ids are positions, that edges lead forward.
What is wrong is said with its place: ``nodes[3].outputs[0].shape``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any

from autograd_ff.errors import FileFormatError

from ..errors import here
from .view import KINDS, MARKS, MODULE_KINDS, Edge, GraphView, Histogram, Module, Node, Source, Value

__all__ = ["from_dict", "from_json", "to_dict", "to_json"]

FORMAT = "autograd_ff.GraphView"
VERSION = 1
_NUMBERS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}  # JSON has no such numbers


# ---------------------------------------------------------------- writing


def to_dict(view: GraphView, *, brief: bool = False) -> dict[str, Any]:
    """``brief``: fields that have their default value are left out."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": view.name,
        "nodes": [_object(node, brief) for node in view.nodes],
        "edges": [_object(edge, brief) for edge in view.edges],
        "modules": [_object(module, brief) for module in view.modules],
    }


def to_json(view: GraphView, indent: int | None = None) -> str:
    """See `GraphView.to_json`."""
    data = to_dict(view, brief=True)
    separators = None if indent is not None else (",", ":")
    return json.dumps(data, allow_nan=False, ensure_ascii=True, indent=indent, separators=separators)


def _object(one: Any, brief: bool) -> dict[str, Any]:
    found = {}
    for name, default in _FIELDS[type(one)]:
        value = getattr(one, name)
        if not brief or (value is not default and value != default):
            found[name] = _plain(value, brief)
    return found


def _plain(value: Any, brief: bool) -> Any:
    kind = type(value)
    if kind is tuple:
        return [_plain(one, brief) for one in value]
    if kind in _FIELDS:
        return _object(value, brief)
    if kind is float and not math.isfinite(value):
        return str(value)
    return value


# ---------------------------------------------------------------- reading


class _Wrong(Exception):
    """What a value should have been, and the keys on the way to it, innermost first."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.keys: list[str] = []


def from_json(text: str | bytes, name: str = "this text") -> GraphView:
    """See `GraphView.from_json`; ``name`` is what errors call the text."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise FileFormatError(f"{name} is not JSON: {why}{here()}") from error
    return from_dict(data)


def from_dict(data: Any) -> GraphView:
    """See `GraphView.from_dict`."""
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise FileFormatError(f"this is not the data of a GraphView: it has no format {FORMAT!r}{here()}")
    if type(data.get("version")) is not int or data["version"] != VERSION:
        raise FileFormatError(
            f"this GraphView has version {data.get('version')!r}; this program reads version {VERSION}{here()}"
        )
    try:
        view = GraphView(
            nodes=_field(data, "nodes", _list(_node)),
            edges=_field(data, "edges", _list(_edge)),
            modules=_field(data, "modules", _list(_module)),
            name=_field(data, "name", _text, ""),
        )
        _check(view)
    except _Wrong as error:
        raise FileFormatError(f"this is no GraphView: {_place(error.keys)} {error}{here()}") from None
    return view


def _place(keys: list[str]) -> str:
    place = ""
    for key in reversed(keys):
        place += key if key.startswith("[") or not place else f".{key}"
    return place


_MISSING: Any = object()
_Reader = Callable[[Any], Any]


def _field(data: dict[str, Any], key: str, read: _Reader, default: Any = _MISSING) -> Any:
    if key not in data:
        if default is _MISSING:
            raise _Wrong(f"has no {key!r}")
        return default
    try:
        return read(data[key])
    except _Wrong as error:
        error.keys.append(key)
        raise


def _list(read: _Reader) -> _Reader:
    def reader(value: Any) -> tuple[Any, ...]:
        if type(value) is not list and type(value) is not tuple:
            raise _Wrong(f"should be a list, and is {_shown(value)}")
        found = []
        for at, one in enumerate(value):
            try:
                found.append(read(one))
            except _Wrong as error:
                error.keys.append(f"[{at}]")
                raise
        return tuple(found)

    return reader


def _pair(first: _Reader, second: _Reader) -> _Reader:
    def reader(value: Any) -> tuple[Any, Any]:
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise _Wrong(f"should be a pair, and is {_shown(value)}")
        return first(value[0]), second(value[1])

    return reader


def _plainly(kind: type, name: str) -> _Reader:
    def reader(value: Any) -> Any:
        if type(value) is not kind:
            raise _Wrong(f"should be {name}, and is {_shown(value)}")
        return value

    return reader


_text = _plainly(str, "text")
_truth = _plainly(bool, "true or false")


def _natural(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise _Wrong(f"should be a whole number from 0, and is {_shown(value)}")
    return value


def _positive(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise _Wrong(f"should be a whole number from 1, and is {_shown(value)}")
    return value


def _number(value: Any) -> float:
    if type(value) in (int, float):
        return value
    if isinstance(value, str) and value in _NUMBERS:
        return _NUMBERS[value]
    raise _Wrong(f"should be a number, and is {_shown(value)}")


def _one_of(names: Any) -> _Reader:
    def reader(value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise _Wrong(f"should be one of {', '.join(filter(None, names))}, and is {_shown(value)}")
        return value

    return reader


def _maybe(read: _Reader) -> _Reader:
    return lambda value: None if value is None else read(value)


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    text = repr(value) if isinstance(value, (str, int, float, bool)) else type(value).__name__
    return text if len(text) <= 40 else f"{text[:39]}…"


def _record(cls: Any, **readers: _Reader) -> _Reader:
    """A reader of an object: required are the fields without a default, and unknown ones are left out."""
    names = tuple(readers.items())

    def reader(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _Wrong(f"should be an object, and is {_shown(value)}")
        found = {}
        for name, read in names:
            if name in value:
                found[name] = _field(value, name, read)
        try:
            return cls(**found)
        except TypeError:
            missing = [name for name, default in _FIELDS[cls] if default is MISSING and name not in found]
            raise _Wrong(f"has no {missing[0]!r}") from None

    return reader


_value = _record(Value, shape=_list(_natural), dtype=_text)
_source = _record(Source, file=_text, line=_natural, text=_text)
_histogram = _record(Histogram, of=_text, low=_number, high=_number, counts=_list(_natural))
_node = _record(
    Node,
    id=_natural,
    kind=_one_of(KINDS),
    op=_text,
    outputs=_list(_value),
    names=_list(_text),
    arguments=_list(_pair(_text, _text)),
    module=_maybe(_natural),
    source=_maybe(_source),
    tracked=_truth,
    backward=_truth,
    count=_positive,
    inside=_natural,
    path=_text,
    detail=_text,
    step=_maybe(_natural),
    belongs_to=_maybe(_natural),
    mark=_one_of(("", *MARKS)),
    remark=_text,
    measures=_list(_pair(_text, _number)),
    histograms=_list(_histogram),
    memory=_text,
)
_edge = _record(
    Edge,
    source=_natural,
    target=_natural,
    output=_natural,
    input=_natural,
    name=_text,
    value=_maybe(_value),
    tracked=_truth,
    mark=_one_of(("", *MARKS)),
)
_module = _record(
    Module,
    id=_natural,
    kind=_one_of(MODULE_KINDS),
    name=_text,
    type=_text,
    parent=_maybe(_natural),
    call=_natural,
    detail=_text,
    source=_maybe(_source),
    backward=_truth,
    count=_positive,
)

_CLASSES = (Node, Edge, Module, Value, Source, Histogram)
_FIELDS = {cls: tuple((field.name, field.default) for field in fields(cls)) for cls in _CLASSES}


def _check(view: GraphView) -> None:
    """That all numbers point where they should."""
    for at, module in enumerate(view.modules):
        if module.id != at:
            raise _at(f"should be {at}, its position, and is {module.id}", f"modules[{at}].id")
        if module.parent is not None and module.parent >= at:
            raise _at(f"should be less than {at}, and is {module.parent}", f"modules[{at}].parent")
    for at, node in enumerate(view.nodes):
        if node.id != at:
            raise _at(f"should be {at}, its position, and is {node.id}", f"nodes[{at}].id")
        if node.module is not None and node.module >= len(view.modules):
            raise _at(f"is {node.module}, and there are {len(view.modules)} modules", f"nodes[{at}].module")
        if node.belongs_to is not None and node.belongs_to >= len(view.nodes):
            raise _at(f"is {node.belongs_to}, and there are {len(view.nodes)} nodes", f"nodes[{at}].belongs_to")
    for at, edge in enumerate(view.edges):
        if edge.target >= len(view.nodes):
            raise _at(f"is {edge.target}, and there are {len(view.nodes)} nodes", f"edges[{at}].target")
        if edge.source >= edge.target:
            raise _at(f"should be less than its target {edge.target}, and is {edge.source}", f"edges[{at}].source")


def _at(message: str, place: str) -> _Wrong:
    error = _Wrong(message)
    error.keys.append(place)
    return error
