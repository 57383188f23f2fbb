"""What a functional model computes, step by step: read off its `KerasTensor` s, run, and written as plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..engine import here
from ..errors import FileFormatError, ModuleError
from .layers.input_layer import InputLayer
from .layers.layer import is_plain
from .layers.symbolic import Call, KerasTensor, flat, mapped

__all__ = ["Graph", "Slot", "Step", "trace"]


class Slot:
    """Stands for the value of that number in the structures of a `Graph`."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


class Step:
    """One call of a layer: with which values, and which values it makes."""

    __slots__ = ("args", "kwargs", "layer", "outputs")

    def __init__(self, layer: Any, args: Any, kwargs: Any, outputs: Any) -> None:
        self.layer = layer
        self.args = args
        self.kwargs = kwargs
        self.outputs = outputs


class Graph:
    """The steps of a model in an order in which each has what it needs.

    The layers are held in plain lists, and not by way of one another, so that a model of any depth can be copied.

    Attributes:
        inputs, outputs: structures of `Slot` s.
        input_layers: one for each input.
        steps: the calls of layers.
        layers: all of them, those of the inputs too, each once and in Keras's order.
        size: how many values there are.
    """

    def __init__(
        self, inputs: Any, input_layers: Sequence[Any], steps: Sequence[Step], outputs: Any, layers: Sequence[Any]
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.input_layers = list(input_layers)
        self.steps = list(steps)
        self.layers = list(layers)
        self.size = sum(len(flat(one)) for one in (inputs, *(step.outputs for step in steps)))

    def run(
        self, inputs: Sequence[Any], act: Callable[[Any, Any, Any], Any], steps: Sequence[Step] | None = None
    ) -> Any:
        """All values, from those of the inputs.

        Args:
            inputs: a value for each.
            act: makes a step's values, given its layer and what this is called with.
            steps: those to take; all by default.
        """
        values: list[Any] = [None] * self.size
        for slot, value in zip(flat(self.inputs), inputs, strict=True):
            values[slot.number] = value
        for step in self.steps if steps is None else steps:
            result = act(step.layer, _filled(step.args, values), _filled(step.kwargs, values))
            if step.outputs.__class__ is Slot:
                values[step.outputs.number] = result
                continue
            for slot, value in zip(flat(step.outputs), flat(result), strict=True):
                values[slot.number] = value
        return values

    def results(self, values: Sequence[Any]) -> Any:
        """The outputs among all values; one in a list is handed out without it, as Keras does."""
        outputs = self.outputs
        if isinstance(outputs, (list, tuple)) and len(outputs) == 1:
            outputs = outputs[0]
        return _filled(outputs, values)

    def last(self) -> Step | None:
        """The step that makes the output, where there is one output and nothing but that step's layer and its one input
        take part in it."""
        made = flat(self.outputs)
        for step in reversed(self.steps):
            if step.outputs.__class__ is Slot and [one.number for one in made] == [step.outputs.number]:
                return step if len(step.args) == 1 and not step.kwargs else None
        return None

    def is_chain(self) -> bool:
        """Whether the layers are one after the other, each called once."""
        needed = [[one.number for one in _slots([step.args, step.kwargs])] for step in self.steps]
        return (
            len(self.input_layers) == 1
            and all(len(numbers) == 1 for numbers in needed)
            and len({numbers[0] for numbers in needed}) == len({id(step.layer) for step in self.steps}) == len(needed)
        )

    def sources(self, layer: Any) -> list[int]:
        """The numbers of the values that the calls of a layer are given."""
        return [slot.number for step in self.steps if step.layer is layer for slot in _slots([step.args, step.kwargs])]

    # ---------------------------------------------------------------- as plain data

    def get_config(self) -> dict[str, Any]:
        """The steps, in which numbers stand for the layers."""
        places = {id(layer): place for place, layer in enumerate(self.layers)}
        return {
            "inputs": _written(self.inputs),
            "input_layers": [places[id(layer)] for layer in self.input_layers],
            "steps": [
                {
                    "layer": places[id(step.layer)],
                    **{name: _written(getattr(step, name)) for name in ("args", "kwargs", "outputs")},
                }
                for step in self.steps
            ],
            "outputs": _written(self.outputs),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], layers: Sequence[Any]) -> Graph:
        """The graph of that `get_config`, of these layers.

        Raises:
            FileFormatError: it is none.
        """
        count = 0

        def made(entry: Any) -> Any:
            """Values that come to be here: their numbers follow those before."""
            nonlocal count
            structure = _read(entry)
            for slot in flat(structure):
                if not isinstance(slot, Slot) or slot.number != count:
                    raise FileFormatError(f"the values of a model are not numbered one after the other.{here()}")
                count += 1
            return structure

        def used(entry: Any) -> Any:
            structure = _read(entry)
            for slot in flat(structure):
                if isinstance(slot, Slot) and not 0 <= slot.number < count:
                    raise FileFormatError(f"a model uses its value {slot.number} before there is one.{here()}")
            return structure

        inputs = made(config["inputs"])
        input_layers = [layers[place] for place in config["input_layers"]]
        if len(input_layers) != count or not all(isinstance(layer, InputLayer) for layer in input_layers):
            raise FileFormatError(f"a model has {count} inputs, and other layers for them.{here()}")
        steps = []
        for one in config["steps"]:
            args, kwargs = used(one["args"]), used(one["kwargs"])
            steps.append(Step(layers[one["layer"]], args, kwargs, made(one["outputs"])))
        return cls(inputs, input_layers, steps, used(config["outputs"]), layers)


def _slots(structure: Any) -> list[Slot]:
    return [one for one in flat(structure) if one.__class__ is Slot]


def _filled(structure: Any, values: Sequence[Any]) -> Any:
    return mapped(lambda one: values[one.number] if one.__class__ is Slot else one, structure)


def _written(structure: Any) -> Any:
    if isinstance(structure, Slot):
        return {"value": structure.number}
    if isinstance(structure, Mapping):
        return {"dict": {name: _written(one) for name, one in structure.items()}}
    if isinstance(structure, (list, tuple)):
        return {type(structure).__name__: [_written(one) for one in structure]}
    if not is_plain(structure):
        raise ModuleError(f"a layer of this model is called with {structure!r}, which cannot be written down.{here()}")
    return {"plain": structure}


def _read(entry: Any) -> Any:
    ((kind, content),) = entry.items()
    if kind == "value":
        return Slot(int(content))
    if kind == "dict":
        return {name: _read(one) for name, one in content.items()}
    if kind in ("list", "tuple"):
        several = [_read(one) for one in content]
        return several if kind == "list" else tuple(several)
    return content


# ---------------------------------------------------------------- from the tensors to the graph


def trace(inputs: Any, outputs: Any) -> tuple[Graph, list[KerasTensor] | None]:
    """The graph from inputs to outputs, and its values.

    The values are None where an input is one that a layer made: they belong to the model that the layer is in, and this
    one, which begins there, has an input of its own.
    """
    begins: dict[int, KerasTensor] = {}
    for tensor in flat(inputs):
        if id(tensor) in begins:
            raise ModuleError(f"{tensor!r} is twice among the inputs.{here()}")
        own = isinstance(tensor.layer, InputLayer)
        begins[id(tensor)] = (
            tensor if own else InputLayer(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name).output
        )
    calls, met = _in_order([begins.get(id(one), one) for one in flat(outputs)], begins)
    for tensor in begins.values():  # inputs that nothing needs
        if tensor.call not in calls:
            assert tensor.call is not None
            calls.insert(0, tensor.call)
            met.setdefault(id(tensor.layer), -1)
    numbers: dict[int, Slot] = {}
    values: list[KerasTensor] = []

    def number(tensor: Any) -> Any:
        if tensor.__class__ is not KerasTensor:
            return tensor
        tensor = begins.get(id(tensor), tensor)
        if id(tensor) not in numbers:
            numbers[id(tensor)] = Slot(len(values))
            values.append(tensor)
        return numbers[id(tensor)]

    taken = mapped(number, inputs)
    steps = [
        Step(call.layer, mapped(number, call.args), mapped(number, call.kwargs), mapped(number, call.outputs))
        for call in calls
        if not isinstance(call.layer, InputLayer)
    ]
    graph = Graph(
        taken,
        [one.layer for one in begins.values()],
        steps,
        mapped(number, outputs),
        _sorted_layers(calls, met, begins),
    )
    return graph, values if all(id(one) in begins for one in begins.values()) else None


def _parents(call: Call, begins: Mapping[int, KerasTensor]) -> Iterator[KerasTensor]:
    return (begins.get(id(one), one) for one in call.parents)


def _in_order(ends: Sequence[KerasTensor], begins: Mapping[int, KerasTensor]) -> tuple[list[Call], dict[int, int]]:
    """The calls, each after those that it needs; and when each layer was first met on the way back from the outputs."""
    calls: list[Call] = []
    entered: set[int] = set()
    met: dict[int, int] = {}
    given = {id(one) for one in begins.values()}
    for end in ends:
        path: list[tuple[Call, Iterator[KerasTensor]]] = []
        waiting = iter([end])
        while True:
            for tensor in waiting:
                call = tensor.call
                if call is None or (isinstance(call.layer, InputLayer) and id(tensor) not in given):
                    raise ModuleError(
                        f"the outputs need {tensor!r}, which is not among the inputs of this model.{here()}\n"
                        "  Give all inputs: keras.Model([first, second], outputs)."
                    )
                if id(call) not in entered:
                    entered.add(id(call))
                    met.setdefault(id(call.layer), len(met))
                    waiting = _parents(call, begins)
                    path.append((call, waiting))
                    break
            else:
                if not path:
                    break
                calls.append(path.pop()[0])
                waiting = path[-1][1] if path else iter(())
    return calls, met


def _sorted_layers(calls: Sequence[Call], met: Mapping[int, int], begins: Mapping[int, KerasTensor]) -> list[Any]:
    """The layers in Keras's order, which is that of the weights too: the farthest from the outputs first."""
    layers = {id(call.layer): call.layer for call in calls}
    distances: dict[int, int] = {}  # of calls, and of layers by the farthest of their calls
    for call in reversed(calls):
        distance = max(distances.get(id(call), 0), distances.get(id(call.layer), 0))
        distances[id(call)] = distances[id(call.layer)] = distance
        for tensor in _parents(call, begins):
            distances[id(tensor.call)] = max(distance + 1, distances.get(id(tensor.call), 0))
    return sorted(layers.values(), key=lambda layer: (-distances[id(layer)], met[id(layer)]))
