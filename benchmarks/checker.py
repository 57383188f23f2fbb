"""How good the gradient checkers are: wrong rules caught, right rules accused, and kinks.

Every rule of the op table is planted wrong in all the ways of `autograd_ff.testing.faults`. The same wrong ops, on the same
float64 examples, go to our `gradcheck` and, wrapped as a `torch.autograd.Function`, to PyTorch's `torch.autograd.gradcheck`
with its default tolerances, in its slow and its fast mode.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from typing import Any

import numpy as np
from tqdm import tqdm

import autograd_ff as af
from autograd_ff.autograd import grad
from autograd_ff.engine import OPS, Call, Op, TensorCore, enable_grad, wrap
from autograd_ff.testing import gradcheck, table
from autograd_ff.testing.faults import FAMILIES
from autograd_ff.testing.mutation import FalseAlarms, MutationScore, false_alarms, mutants, mutation_score, verdict
from autograd_ff.testing.tree import flatten, rebuild

ACCUSED = ("FAIL", "NONFINITE")


# ---------------------------------------------------------------- the checkers


def _ours(op: Op, call: Call) -> str:
    return verdict(op, call)


def _along_directions(op: Op, call: Call) -> str:
    """As it checks Jacobians that are too large to be computed whole."""
    return verdict(op, call, full=0)


def _second_order(op: Op, call: Call) -> str:
    return verdict(op, call, order=2)


def _pytorch_slow(op: Op, call: Call) -> str:
    return _pytorch(op, call, fast=False)


def _pytorch_fast(op: Op, call: Call) -> str:
    return _pytorch(op, call, fast=True)


def _pytorch(op: Op, call: Call, fast: bool) -> str:
    """PyTorch's verdict on one of our ops: its forward runs ours, and its backward runs our rule."""
    import torch

    torch.set_num_threads(1)
    positions = table.checked_positions(op, call)
    leaves = flatten(call.inputs)
    if not positions:
        return "PASS"

    class Wrapped(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, *tensors: Any) -> Any:
            given = [wrap(leaf) if isinstance(leaf, np.ndarray) else leaf for leaf in leaves]
            targets = [wrap(tensor.detach().numpy().copy()) for tensor in tensors]
            for position, target in zip(positions, targets, strict=True):
                target.requires_grad = True
                given[position] = target
            with enable_grad():
                result = table.run(op, rebuild(call.inputs, given), call.params)
            outputs = [leaf for leaf in flatten(result) if isinstance(leaf, TensorCore)]
            context.outputs, context.targets = outputs, targets
            arrays = tuple(torch.from_numpy(np.array(output.array)) for output in outputs)
            return arrays if len(arrays) > 1 else arrays[0]

        @staticmethod
        def backward(context: Any, *upstream: Any) -> Any:
            seeds = [wrap(np.array(one.numpy())) for one in upstream]
            pairs = [(out, seed) for out, seed in zip(context.outputs, seeds, strict=True) if out.requires_grad]
            found = grad(
                [out for out, _ in pairs], context.targets, [seed for _, seed in pairs], retain_graph=True,
                allow_unused=True,
            )  # fmt: skip
            gradients = tuple(
                torch.from_numpy(np.zeros(target.shape) if one is None else np.array(one.array))
                for one, target in zip(found, context.targets, strict=True)
            )
            return gradients if len(gradients) > 1 else gradients[0]

    inputs = tuple(torch.tensor(leaves[position], requires_grad=True) for position in positions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            passed = torch.autograd.gradcheck(Wrapped.apply, inputs, fast_mode=fast, raise_exception=False)
        except Exception:  # it cannot run this op
            return "UNABLE"
    return "PASS" if passed else "FAIL"


CHECKERS: dict[str, tuple[str, Callable[[Op, Call], str], int]] = {
    # key: (title, verdict of an op at an example, order of the gradient that it checks)
    "autograd_ff": ("autograd_ff", _ours, 1),
    "directions": ("autograd_ff, along directions", _along_directions, 1),
    "second_order": ("autograd_ff, second order", _second_order, 2),
    "pytorch_slow": ("PyTorch, slow mode", _pytorch_slow, 1),
    "pytorch_fast": ("PyTorch, fast mode", _pytorch_fast, 1),
}

# ---------------------------------------------------------------- right functions at their kinks

_KINKS: dict[str, tuple[Callable[..., Any], list[list[float]]]] = {
    # name: (function of the framework, `af` or `torch`, and of tensors; the values of those tensors)
    "relu at 0": (lambda one, x: one.relu(x), [[0.0, 1.0, -1.0]]),
    "abs at 0": (lambda one, x: one.abs(x), [[0.0, 1.0]]),
    "clamp at its ends": (lambda one, x: one.clamp(x, -1.0, 1.0), [[-1.0, 0.5, 1.0]]),
    "amax of equals": (lambda one, x: one.amax(x), [[2.0, 1.0, 2.0]]),
    "amin of equals": (lambda one, x: one.amin(x), [[1.0, 1.0, 2.0]]),
    "max along a dimension, of equals": (lambda one, x: one.max(x, 0)[0], [[3.0, 3.0]]),
    "maximum of equals": (lambda one, x, y: one.maximum(x, y), [[1.0, 2.0], [1.0, 0.0]]),
    "minimum of equals": (lambda one, x, y: one.minimum(x, y), [[1.0, 2.0], [1.0, 0.0]]),
    "relu(x) - relu(-x) at 0": (lambda one, x: one.relu(x) - one.relu(-x), [[0.0]]),
    "norm of zeros": (lambda one, x: one.norm(x), [[0.0, 0.0, 0.0]]),
    "std of equals": (lambda one, x: one.std(x), [[1.0, 1.0, 1.0]]),
    "where at its edge": (lambda one, x: one.where(x > 0, x, 2 * x), [[0.0, 1.0]]),
    "hardtanh at its ends": (lambda one, x: one.nn.functional.hardtanh(x), [[-1.0, 0.0, 1.0]]),
    "leaky_relu at 0": (lambda one, x: one.nn.functional.leaky_relu(x), [[0.0, 1.0]]),
    "l1_loss of equals": (lambda one, x, y: one.nn.functional.l1_loss(x, y), [[1.0, 2.0], [1.0, 0.0]]),
    "sort of equals": (lambda one, x: one.sort(x)[0], [[1.0, 1.0, 0.0]]),
}  # fmt: skip


def kinks(checker: str) -> dict[str, str]:
    """The verdict on each right function at its kink, PyTorch's on its own functions."""
    found: dict[str, str] = {}
    for name, (function, values) in _KINKS.items():
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            if checker.startswith("pytorch"):
                import torch

                inputs = tuple(torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in values)
                passed = torch.autograd.gradcheck(
                    lambda *x, function=function: function(torch, *x), inputs, raise_exception=False,
                    fast_mode=checker == "pytorch_fast",
                )  # fmt: skip
                found[name] = "PASS" if passed else "FAIL"
            else:
                tensors = tuple(af.tensor(value, dtype=af.float64) for value in values)
                options: dict[str, Any] = {"directions": {"full": 0}, "second_order": {"order": 2}}.get(checker, {})
                found[name] = gradcheck(lambda *x, function=function: function(af, *x), tensors, **options).verdict
    return found


# ---------------------------------------------------------------- measuring


def _task(what: str, checker: str, name: str, examples: int) -> tuple[str, str, Any, float]:
    """One op, one checker, in one of the processes; with the seconds of processor time that it took."""
    start = time.process_time()
    _, check, order = CHECKERS[checker]
    result: Any
    if what == "score":
        result = mutation_score(OPS[name], check=check, order=order, examples=examples)
    elif what == "alarms":
        result = false_alarms(OPS[name], check=check, examples=examples)
    else:
        result = kinks(checker)
    return what, checker, result, time.process_time() - start


def measure(examples: int = 20, right: int = 10_000, jobs: int = 2, only: list[str] | None = None) -> dict[str, Any]:
    """Mutation scores, false alarms over at least ``right`` examples, and verdicts at kinks, of each checker."""
    torch_there = importlib.util.find_spec("torch") is not None
    chosen = [key for key in CHECKERS if (only is None or key in only) and (torch_there or "pytorch" not in key)]
    differentiable = [name for name, op in OPS.items() if op.differentiable]
    each = -(-right // len(differentiable))
    tasks = [("score", key, name, examples) for key in chosen for name in OPS if mutants(OPS[name])]
    tasks += [("alarms", key, name, each) for key in chosen for name in differentiable]
    tasks += [("kinks", key, "", 0) for key in chosen]
    scores = {key: MutationScore() for key in chosen}
    alarms = {key: FalseAlarms() for key in chosen}
    at_kinks: dict[str, dict[str, str]] = {}
    seconds = dict.fromkeys(chosen, 0.0)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read by the processes: their threads would fight for the cores
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        waiting = [pool.submit(_task, *task) for task in tasks]
        for done in tqdm(as_completed(waiting), total=len(waiting), desc="checkers", leave=False):
            what, key, result, took = done.result()
            seconds[key] += took
            if what == "score":
                scores[key] = scores[key] + result
            elif what == "alarms":
                alarms[key] = alarms[key] + result
            else:
                at_kinks[key] = result
    return {
        key: {
            "title": CHECKERS[key][0],
            "order": CHECKERS[key][2],
            "mutants": scores[key].counted,
            "caught": scores[key].caught,
            "share": scores[key].share,
            "score": asdict(scores[key]),
            "alarms": asdict(alarms[key]),
            "kinks": at_kinks[key],
            "seconds": seconds[key],
        }
        for key in chosen
    }


def report(results: dict[str, Any]) -> str:
    lines = [
        "Gradient checkers on planted wrong rules and on right ones",
        f"  {'':32}{'wrong rules':>12}{'caught':>8}{'share':>9}{'at once':>9}{'false alarms':>22}{'at kinks':>10}{'CPU s':>7}",
    ]
    for one in results.values():
        alarms = f"{len(one['alarms']['alarms'])} of {one['alarms']['examples']}"
        wrong = sum(verdict in ACCUSED for verdict in one["kinks"].values())
        lines.append(
            f"  {one['title']:32}{one['mutants']:12}{one['caught']:8}{one['share']:9.2%}"
            f"{one['score']['at_once'] / max(one['mutants'], 1):9.2%}{alarms:>22}"
            f"{f'{wrong} of ' + str(len(one['kinks'])):>10}{one['seconds']:7.0f}"
        )
    lines.append("  caught of each kind of fault:")
    for family in FAMILIES:
        cells = [one["score"]["families"].get(family) for one in results.values()]
        lines.append(
            f"    {family:28}" + "".join(f"{'–' if cell is None else f'{cell[0]}/{cell[1]}':>12}" for cell in cells)
        )
    for one in results.values():
        score, alarms = one["score"], one["alarms"]
        lines.append(
            f"  {one['title']}: not counted {score['equivalent']} equivalent, {score['crashing']} that raise, "
            f"{score['unable']} that it cannot check; no verdict on right rules: {alarms['no_verdict'] or 'none'}"
        )
        lines += [f"    survived: {name}" for name in score["survivors"][:20]]
        if len(score["survivors"]) > 20:
            lines.append(f"    and {len(score['survivors']) - 20} more (--json lists them)")
        lines += [f"    false alarm: {name}" for name in alarms["alarms"][:10]]
        accused = [name for name, verdict in one["kinks"].items() if verdict in ACCUSED]
        if accused:
            lines.append(f"    accused at kinks: {', '.join(accused)}")
    return "\n".join(lines)
