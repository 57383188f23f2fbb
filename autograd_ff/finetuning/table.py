"""What of a model is trained and what is frozen, and how much memory both take, module by module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..nn import Module
from .patterns import require_module
from .storage import Stored

__all__ = ["ParameterRow", "ParameterTable", "parameter_table"]


@dataclass(frozen=True)
class ParameterRow:
    """One module of a `ParameterTable`.

    Attributes:
        name: qualified; "" for parameters of the model itself.
        kind: the module's class.
        trainable: how many numbers are trained.
        frozen: how many are not.
        bytes: that both take.
        trainable_bytes: that the trained ones take.

    >>> ParameterRow("head", "Linear", 10, 0, 40, 40).parameters
    10
    """

    name: str
    kind: str
    trainable: int
    frozen: int
    bytes: int
    trainable_bytes: int

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.trainable + self.frozen


@dataclass(frozen=True)
class ParameterTable:
    """What `parameter_table` gives: printed as columns, or as Markdown.

    Attributes:
        rows: of modules, in the model's order.
        total: of all.

    >>> from autograd_ff import finetuning, nn
    >>> table = finetuning.parameter_table(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)))
    >>> table.total.parameters, len(table.rows)
    (58, 2)
    """

    rows: tuple[ParameterRow, ...]
    total: ParameterRow

    @property
    def training_bytes(self) -> int:
        """What training takes beside the weights: the gradients of the trained ones, and Adam's two moments of each."""
        return 3 * self.total.trainable_bytes

    def _cells(self) -> list[list[str]]:
        cells = [["module", "kind", "parameters", "trainable", "frozen", "memory"]]
        cells += [
            [
                row.name or "(itself)",
                row.kind,
                f"{row.parameters:,}",
                f"{row.trainable:,}",
                f"{row.frozen:,}",
                _size(row.bytes),
            ]
            for row in (*self.rows, self.total)
        ]
        return cells

    def _below(self) -> str:
        part = self.total.trainable / max(1, self.total.parameters)
        return f"{part:.2%} trained; gradients and Adam's moments take {_size(self.training_bytes)} more."

    def __str__(self) -> str:
        cells = self._cells()
        widths = [max(len(line[at]) for line in cells) for at in range(len(cells[0]))]
        lines = [
            "  ".join(
                cell.ljust(width) if at < 2 else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in cells
        ]
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], self._below()])

    def __repr__(self) -> str:
        return str(self)

    def to_markdown(self) -> str:
        """The table in Markdown."""
        header, *body = self._cells()
        body[-1] = [f"**{cell}**" if cell else "" for cell in body[-1]]
        lines = [header, ["---", "---", "---:", "---:", "---:", "---:"], *body]
        return "\n".join([*("| " + " | ".join(line) + " |" for line in lines), "", self._below()])


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def parameter_table(model: Module, depth: int = 2) -> ParameterTable:
    """A table of trainable and frozen parameters and their memory, by module.

    A tied weight is counted once, where it comes first. Weights that `store_frozen` stored count as the numbers that they
    stand for, and the bytes that they take.

    Args:
        model: to count.
        depth: of the modules that get a row of their own, in names: 1 for the model's children; deeper ones are counted with
            the one that they are in.

    >>> from autograd_ff import finetuning, nn
    >>> model = nn.Sequential(nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 2))
    >>> _ = finetuning.freeze(model, "0")
    >>> finetuning.parameter_table(model)
    module  kind        parameters  trainable  frozen   memory
    ----------------------------------------------------------
    0       Linear          10,100          0  10,100  40.4 KB
    2       Linear             202        202       0    808 B
    ----------------------------------------------------------
    total   Sequential      10,302        202  10,100  41.2 KB
    1.96% trained; gradients and Adam's moments take 2.4 KB more.
    """
    require_module(model, "parameter_table")
    kinds = {name: type(one).__name__ for name, one in model.named_modules(remove_duplicate=False)}
    counts: dict[str, list[int]] = {}
    seen: dict[int, Any] = {}
    for path, module in model.named_modules():
        members: list[Any] = [one for one in module._parameters.values() if one is not None]
        if isinstance(module, Stored):
            members.append(module.bits())
        row = ".".join(path.split(".")[:depth])
        for one in members:
            if id(one) not in seen:
                seen[id(one)] = one
                count = counts.setdefault(row, [0, 0, 0, 0])
                array = one.array
                count[0 if one.requires_grad else 1] += array.size
                count[2] += array.nbytes
                count[3] += array.nbytes if one.requires_grad else 0
    rows = tuple(ParameterRow(name, kinds[name], *count) for name, count in counts.items())
    sums = [sum(count[at] for count in counts.values()) for at in range(4)]
    return ParameterTable(rows, ParameterRow("total", type(model).__name__, *sums))
