"""A failure as a pytest file of its own: the guilty op, and the smallest inputs that show it, to the last bit."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd import Function
from ..engine import OPS, Op, TensorCore
from ..nn import Module
from .report import FAIL
from .shrink import shrink
from .sources import NoSourceError, literal, source_of
from .tree import flatten, rebuild

if TYPE_CHECKING:
    from .evidence import Evidence
    from .report import Report

__all__ = ["write"]

_FILE = '''"""{title}

{report}
"""

{imports}
{definitions}

def exact(shape, *numbers):
    """An array of the very numbers that failed: float.hex() of each."""
    return np.array([float.fromhex(number) for number in numbers]).reshape(shape)


def test_gradient_of_{name}():
{inputs}
    assert_gradients({call}, {arguments}{options})
'''


def write(evidence: Evidence, report: Report, path: str | os.PathLike[str]) -> str:
    """Write the file.

    Raises:
        ValueError: the report is of right gradients.
        NoSourceError: the function cannot be written down.
    """
    from .gradcheck import gradcheck

    if report.verdict != FAIL:
        raise ValueError(f"there is no failure to reproduce: the verdict is {report.verdict}")
    order = report.order

    def fails(target: Callable[..., Any], arguments: Any) -> bool:
        try:
            with np.errstate(all="ignore"):
                return gradcheck(target, arguments, order=order).verdict == FAIL
        except Exception:  # these smaller inputs do not even run
            return False

    for target in _targets(evidence):
        arguments = target.arguments
        leaves = [np.array(leaf.array) if isinstance(leaf, TensorCore) else leaf for leaf in flatten(arguments)]
        if fails(target.function, rebuild(arguments, list(leaves))):
            smallest = shrink(
                leaves, lambda found, target=target, arguments=arguments: fails(  # type: ignore[misc]
                    target.function, rebuild(arguments, list(found))
                )
            )  # fmt: skip
            text = _text(target, rebuild(arguments, smallest), report)
            Path(path).write_text(text, encoding="utf-8")
            return str(path)
    raise NoSourceError(
        "neither the guilty op alone nor the whole function fails again, so there is nothing to write down: it may depend "
        "on what ran before"
    )


class _Target:
    """Something to check: a function, its arguments, and how to write it down."""

    def __init__(
        self, function: Callable[..., Any], arguments: Any, imports: list[str], definitions: str, call: str, name: str
    ) -> None:
        self.function = function
        self.arguments = arguments
        self.imports = imports
        self.definitions = definitions
        self.call = call
        self.name = name


def _targets(evidence: Evidence) -> list[_Target]:
    """The guilty op by itself, where there is one, then the whole function; what cannot be written down is left out."""
    found: list[_Target] = []
    problem: NoSourceError | None = None
    candidates = [lambda: _whole(evidence)]
    if evidence.check is not None:
        check = evidence.check
        candidates.insert(0, lambda: _op(check.one.op, tuple(check.one.inputs), check.one.params))
    for candidate in candidates:
        try:
            found.append(candidate())
        except NoSourceError as error:
            problem = error
    if not found and problem is not None:
        raise problem
    return found


def _op(op: Op, inputs: tuple[Any, ...], params: dict[str, Any]) -> _Target:
    if op.pullback is not None:
        function: type[Function] = op.function
        imports, definitions, name = source_of(function)
        return _Target(function.apply, inputs, imports, definitions, f"{name}.apply", function.__name__)
    if OPS.get(op.name) is not op:
        raise NoSourceError(f"the op {op.name} is not in the op table under its name")
    names = [f"x{number}" for number in range(len(inputs))]
    given = f"[{', '.join(names)}]" if op.variadic else ", ".join(names)
    options = "".join(f", {key}={literal(value)}" for key, value in params.items())
    call = f"lambda {', '.join(names)}: OPS[{op.name!r}]({given}{options})"

    def run(*values: Any) -> Any:
        return op(list(values), **params) if op.variadic else op(*values, **params)  # type: ignore[operator]

    imports, definitions = ["from autograd_ff.engine import OPS"], ""
    if not op.forward.__module__.startswith(("autograd_ff", "numpy")):  # registered by a module of the user's
        imports.append(f"import {op.forward.__module__}  # registers the op")
    return _Target(run, inputs, imports, definitions, call, op.name)


def _whole(evidence: Evidence) -> _Target:
    function = evidence.fn
    if isinstance(function, Module):
        raise NoSourceError(
            "a module cannot be written down with its parameters; save its state_dict() beside the test"
        )
    owner = getattr(function, "__self__", None)
    if isinstance(owner, type) and issubclass(owner, Function):
        imports, definitions, name = source_of(owner)
        return _Target(function, evidence.arguments, imports, definitions, f"{name}.apply", name)
    if not hasattr(function, "__name__") or not hasattr(function, "__code__"):
        raise NoSourceError(f"{function!r} is no plain function, whose source could be written down")
    imports, definitions, name = source_of(function)
    return _Target(function, evidence.arguments, imports, definitions, name, name)


def _text(target: _Target, arguments: Any, report: Report) -> str:
    parts = arguments if isinstance(arguments, tuple) else (arguments,)
    names: list[str] = []
    lines: list[str] = []
    for number, part in enumerate(parts):
        names.append(f"x{number}" if len(parts) > 1 else "x")
        lines.append(f"    {names[-1]} = {_written(part)}")
    imports = {"import numpy as np": None, "from autograd_ff.testing import assert_gradients": None}
    imports.update(dict.fromkeys(target.imports))
    plain = sorted(one for one in imports if one.startswith("import "))
    rest = sorted(one for one in imports if not one.startswith("import "))
    definitions = f"\n\n{target.definitions}\n" if target.definitions else ""
    printed = str(report).replace("\\", "\\\\").replace('"""', "'''")
    return _FILE.format(
        title=f"The gradient of {target.name} is wrong.",
        report=printed,
        imports="\n".join([*plain, "", *rest]),
        definitions=definitions,
        name=re.sub(r"\W", "_", target.name).lower(),
        inputs="\n".join(lines),
        call=target.call,
        arguments=f"({', '.join(names)},)" if len(names) == 1 else f"({', '.join(names)})",
        options="" if report.order == 1 else f", order={report.order}",
    )


def _written(part: Any) -> str:
    if isinstance(part, np.ndarray) and part.dtype.kind == "f":
        numbers = "".join(f", {float(number).hex()!r}" for number in part.ravel())
        return f"exact({part.shape}{numbers})"
    if isinstance(part, (tuple, list)):
        inner = ", ".join(_written(one) for one in part)
        return f"[{inner}]" if isinstance(part, list) else f"({inner}{',' if len(part) == 1 else ''})"
    if isinstance(part, dict):
        return "{" + ", ".join(f"{literal(key)}: {_written(one)}" for key, one in part.items()) + "}"
    return literal(part)
