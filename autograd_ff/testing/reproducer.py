"""A failure as a pytest file of its own: the guilty op, and the smallest inputs that show it, to the last bit."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd import Function
from ..engine import OPS, Op, TensorCore, wrap
from ..functions.random import get_rng_state, manual_seed, set_rng_state
from ..nn import Module
from .importing import environment, folder_of, importable
from .report import FAIL
from .shrink import shrink
from .sources import NoSourceError, SourceFile
from .tree import flatten, rebuild

if TYPE_CHECKING:
    from .evidence import Evidence
    from .report import Report

__all__ = ["write"]

_FILE = '''"""{title}

{report}
"""

from __future__ import annotations

{imports}
{definitions}

{helpers}def {test}():
{inputs}
    {check}({call}, {arguments}{options})
'''

_COPY = " Below is a copy of it: to test your own once it is mended, import that instead."

_EXACT = '''def {exact}(shape, *numbers):
    """An array of the very numbers that failed: float.hex() of each."""
    return {numpy}.array([float.fromhex(number) for number in numbers]).reshape(shape)


'''

_CHECKED = '''def {checked}(shape, *numbers):
    """An input whose gradient is checked; the others are constants."""
    return {package}.tensor({exact}(shape, *numbers), requires_grad=True)


'''

_SEEDS = 8
_SECONDS = 60
_WRONG = 86  # the exit code of a run that found the gradient wrong
_RUN = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("written", sys.argv[1])
sys.modules["written"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
try:
    getattr(module, sys.argv[2])()
except AssertionError as error:
    if str(error).startswith("{FAIL}:"):
        sys.exit({_WRONG})
    raise
"""


def write(evidence: Evidence, report: Report, path: str | os.PathLike[str]) -> str:
    """Write the file. It has run once by itself, in a fresh interpreter, and has shown the wrong gradient.

    Raises:
        ValueError: the report is of right gradients.
        NoSourceError: the function cannot be written down.
    """
    if report.verdict != FAIL:
        raise ValueError(f"there is no failure to reproduce: the verdict is {report.verdict}")
    options = _options(evidence)
    problems: list[NoSourceError] = []
    for make in _targets(evidence):
        try:
            text, test = _written(make(), report, options)
            _run(text, test)
        except NoSourceError as error:
            problems.append(error)
            continue
        Path(path).write_text(text, encoding="utf-8")
        return str(path)
    if len(problems) == 1:
        raise problems[0]
    raise NoSourceError(f"the op by itself: {problems[0]}\nthe whole function: {problems[1]}")


def _options(evidence: Evidence) -> dict[str, Any]:
    """The options of the check that are not gradcheck's own defaults."""
    from .gradcheck import gradcheck

    parameters = inspect.signature(gradcheck).parameters
    given = getattr(evidence, "options", {})
    return {name: value for name, value in given.items() if value != parameters[name].default}


class _Target:
    """Something to check: a function, its arguments, and how it is called in a file."""

    def __init__(self, function: Callable[..., Any], arguments: Any, file: SourceFile, call: str, name: str) -> None:
        self.function = function
        self.arguments = arguments
        self.file = file
        self.call = call
        self.name = name
        self.seed: int | None = None  # of the random numbers that it draws, where they are frozen


def _targets(evidence: Evidence) -> Iterator[Callable[[], _Target]]:
    """The guilty op by itself, where there is one, then the whole function."""
    check = evidence.check
    if check is not None:
        inputs = [wrap(one) if isinstance(one, np.ndarray) else one for one in check.one.inputs]
        for position in check.positions:
            tensor = wrap(np.array(check.one.inputs[position], np.float64))
            tensor.requires_grad = True
            inputs[position] = tensor
        yield lambda: _op(check.one.op, tuple(inputs), check.one.params)
    yield lambda: _whole(evidence)


def _op(op: Op, inputs: tuple[Any, ...], params: dict[str, Any]) -> _Target:
    file = SourceFile()
    if op.pullback is not None:
        function: type[Function] = op.function
        return _Target(function.apply, inputs, file, f"{file.include(function)}.apply", function.__name__)
    if OPS.get(op.name) is not op:
        raise NoSourceError(f"the op {op.name} is not in the op table under its name")
    _register(op, file)
    names = [f"x{number}" for number in range(len(inputs))]
    given = f"[{', '.join(names)}]" if op.variadic else ", ".join(names)
    options = "".join(f", {key}={file.literal(value)}" for key, value in params.items())
    table = file.import_name("autograd_ff.engine", "OPS")
    call = f"lambda {', '.join(names)}: {table}[{op.name!r}]({given}{options})"

    def run(*values: Any) -> Any:
        return op(list(values), **params) if op.variadic else op(*values, **params)  # type: ignore[operator]

    return _Target(run, inputs, file, call, op.name)


def _register(op: Op, file: SourceFile) -> None:
    """Import the module that enters an op of the user's into the table."""
    rules = [rule for rule in (op.forward, *(op.vjps or ()), op.joint, op.definition) if isinstance(rule, FunctionType)]
    homes = {
        rule.__module__ for rule in rules if rule.__module__.partition(".")[0] not in ("autograd_ff", "numpy", "scipy")
    }
    for home in sorted(homes):
        if home == "__main__":
            raise NoSourceError(
                f"the op {op.name} is registered by the program itself, which no file can import; put the op into a "
                "module of its own"
            )
        folder = folder_of(sys.modules[home]) if home in sys.modules else None
        if folder is None:
            raise NoSourceError(f"the op {op.name} is registered by {home}, which cannot be imported")
        if not importable(home):
            file.statement(f"{file.import_module('sys', 'sys')}.path.append({str(folder)!r})")
        file.statement(f"import {home} as {file.free(home.rpartition('.')[2])}  # registers the op")


def _whole(evidence: Evidence) -> _Target:
    function = evidence.fn
    if isinstance(function, Module):
        raise NoSourceError(
            "a module cannot be written down with its parameters; save its state_dict() beside the test"
        )
    file = SourceFile()
    owner = getattr(function, "__self__", None)
    if isinstance(owner, type) and issubclass(owner, Function) and function.__name__ == "apply":
        return _Target(function, evidence.arguments, file, f"{file.include(owner)}.apply", owner.__name__)
    if not hasattr(function, "__name__") or not hasattr(function, "__code__"):
        raise NoSourceError(f"{function!r} is no plain function, whose source could be written down")
    name = file.include(function)
    return _Target(function, evidence.arguments, file, name, name)


# -------------------------------------------------------------------- the inputs


class _Inputs:
    """The leaves of the arguments as arrays, and which of them are checked."""

    def __init__(self, arguments: Any) -> None:
        self.arguments = arguments if isinstance(arguments, tuple) else (arguments,)
        given = flatten(self.arguments)
        self.tracked = [bool(getattr(leaf, "requires_grad", False)) for leaf in given]
        self.leaves = [_as_array(leaf) for leaf in given]
        floating = [isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f" for leaf in self.leaves]
        # Where none is tracked all floating ones are checked, so nothing need be said.
        self.all = not any(self.tracked) or self.tracked == floating

    def tensors(self, leaves: list[Any]) -> Any:
        """The arguments with other leaves."""
        given = list(leaves)
        for position, tracked in enumerate(self.tracked):
            if tracked and not self.all:
                given[position] = wrap(np.array(leaves[position]))
                given[position].requires_grad = True
        return rebuild(self.arguments, given)


def _as_array(leaf: Any) -> Any:
    """As the check takes it: floating numbers in float64."""
    if not isinstance(leaf, (TensorCore, np.ndarray)):
        return leaf
    array = leaf.array if isinstance(leaf, TensorCore) else leaf
    return np.array(array, np.float64 if array.dtype.kind == "f" else array.dtype)


def _smallest(target: _Target, inputs: _Inputs, order: int, options: dict[str, Any]) -> list[Any]:
    """The smallest leaves that fail in the same way."""
    from .gradcheck import gradcheck

    def failure(leaves: list[Any]) -> tuple[Any, ...] | None:
        """What fails; None where nothing does."""
        if target.seed is not None:
            manual_seed(target.seed)
        try:
            with np.errstate(all="ignore"):
                found = gradcheck(target.function, inputs.tensors(leaves), order=order, **options)
        except Exception:  # these inputs do not even run
            return None
        if found.verdict != FAIL:
            return None
        culprit = found.culprit
        named = None if culprit is None else (culprit.op, culprit.input, culprit.cut)
        return (found.note.partition(":")[0], named)

    state = get_rng_state()
    try:
        for target.seed in range(_SEEDS) if options.get("frozen") else (None,):  # any mask that shows it will do
            first = failure(inputs.leaves)
            if first is not None:
                return shrink(inputs.leaves, lambda leaves: failure(leaves) == first)  # noqa: B023
    finally:
        set_rng_state(state)
    raise NoSourceError(
        f"{target.name} does not fail again by itself, so there is nothing to write down: it may depend on what ran before"
    )


# -------------------------------------------------------------------- the file


def _written(target: _Target, report: Report, options: dict[str, Any]) -> tuple[str, str]:
    """The file, and the name of its test."""
    inputs = _Inputs(target.arguments)
    smallest = _smallest(target, inputs, report.order, options)
    file = target.file
    test = file.free(f"test_gradient_of_{re.sub(r'[^a-z0-9_]', '_', target.name.lower())}")
    check = file.import_name("autograd_ff.testing", "assert_gradients")
    writer = _Leaves(file, inputs)
    marked = [(leaf, tracked and not inputs.all) for leaf, tracked in zip(smallest, inputs.tracked, strict=True)]
    # Leaves in pairs: `rebuild` takes tuples as leaves, for it looks at the arguments only.
    parts = rebuild(inputs.arguments, [_Leaf(*pair) for pair in marked])
    names = [file.free(f"x{number}" if len(parts) > 1 else "x") for number in range(len(parts))]
    lines = [f"    {name} = {writer.text(part)}" for name, part in zip(names, parts, strict=True)]
    if target.seed is not None:
        lines.append(f"    {file.package}.manual_seed({target.seed})")
    given = {**({} if report.order == 1 else {"order": report.order}), **options}
    written_options = "".join(f", {name}={file.literal(value)}" for name, value in given.items())
    helpers = writer.helpers()
    imports, definitions = file.text()
    text = _FILE.format(
        title=_quoted(f"The gradient of {target.name} is wrong.{_COPY if definitions else ''}"),
        report=_quoted(str(report)),
        imports=imports,
        definitions=f"\n\n{definitions}\n" if definitions else "",
        helpers=helpers,
        test=test,
        inputs="\n".join(lines),
        check=check,
        call=target.call,
        arguments=f"({', '.join(names)},)" if len(names) == 1 else f"({', '.join(names)})",
        options=written_options,
    )
    return text, test


def _quoted(text: str) -> str:
    """Text as it may stand in a docstring."""
    readable = "".join(one if one == "\n" or one.isprintable() else "?" for one in text)
    return readable.replace("\\", "\\\\").replace('"""', "'''")


class _Leaf:
    """A leaf of the arguments, and whether it is checked where others are not."""

    def __init__(self, value: Any, checked: bool) -> None:
        self.value = value
        self.checked = checked


class _Leaves:
    """Writes the arguments, and remembers which helpers that takes."""

    def __init__(self, file: SourceFile, inputs: _Inputs) -> None:
        self._file = file
        leaves = inputs.leaves
        floating = [isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f" for leaf in leaves]
        self._exact = file.free("exact") if any(floating) else ""
        self._checked = "" if inputs.all else file.free("checked")

    def text(self, part: Any) -> str:
        if isinstance(part, _Leaf):
            value = part.value
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                numbers = "".join(f", {_hex(number)!r}" for number in value.ravel())
                return f"{self._checked if part.checked else self._exact}({value.shape}{numbers})"
            return self._file.literal(value)
        if isinstance(part, dict):
            return "{" + ", ".join(f"{self._file.literal(key)}: {self.text(one)}" for key, one in part.items()) + "}"
        inner = ", ".join(self.text(one) for one in part)
        if type(part) not in (tuple, list):
            return f"{self._file.include(type(part))}({inner})"  # a named tuple
        return f"[{inner}]" if isinstance(part, list) else f"({inner}{',' if len(part) == 1 else ''})"

    def helpers(self) -> str:
        text = _EXACT.format(exact=self._exact, numpy=self._file.numpy) if self._exact else ""
        if self._checked:
            text += _CHECKED.format(checked=self._checked, exact=self._exact, package=self._file.package)
        return text


def _hex(number: float) -> str:
    """All bits of a number, without the zeros at their end."""
    return re.sub(r"\.?0+p", "p", float(number).hex())


# -------------------------------------------------------------------- does it fail by itself?


def _run(text: str, test: str) -> None:
    """Run the file in a fresh interpreter, far from the script.

    Raises:
        NoSourceError: it does not show the wrong gradient there.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"{test}.py")
        file.write_text(text, encoding="utf-8")
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-c", _RUN, str(file), test],
                cwd=folder, env=environment(), capture_output=True, text=True, timeout=_SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise NoSourceError(f"the file does not come to an end by itself within {_SECONDS} seconds") from error
    if done.returncode == _WRONG:
        return
    said = done.stderr.strip().splitlines()
    why = "the gradient is right there, so that it depends on what ran before" if done.returncode == 0 else said[-1:]
    raise NoSourceError(
        f"a file of its own does not show the wrong gradient: {why if isinstance(why, str) else ''.join(why)}"
    )
