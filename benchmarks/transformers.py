"""MiniLM, a pretrained encoder of 6 layers: inference, and a step of tuning it, beside PyTorch on the same weights and texts.

Tuned with AdamW are all weights, LoRA of rank 8 on queries and values, or the feedforward blocks alone, each with a new head;
with dropout, as the model's config says. Each framework has a process of its own, in which it runs on one thread and on two.
The ratios are to PyTorch's eager time, in the same round. Memory is the peak of a step (with gradients, moments and the
optimizer's own) above that of the loaded model; "at first" is that of the first steps, in which a framework compiles.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import gc
import importlib
import importlib.util
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from tqdm import tqdm

from .frameworks import minilm
from .frameworks.minilm import Program, Task
from .processes import Failed, Process
from .quiet import FEWEST, Calibration, ForeignLoad, Round, disturbances
from .steps import SETTLE, duration, spread
from .worker import peak, reset_peak

THREADS = (1, 2)
FIRST = 3  # runs before anything is measured: a compiled step is recorded twice
SECONDS = 0.3  # of a round, at least one step

PROGRAMS = {
    # key: (title, module that has to be installed)
    "pytorch": ("PyTorch, eager", "torch"),
    "pytorch_compiled": ("PyTorch, compile", "torch"),
    "autograd_ff": ("autograd_ff, eager", "autograd_ff"),
    "compiled": ("autograd_ff, compiled", "autograd_ff"),
}
BASE = "pytorch"

# Where it is not asked for, what else there is beside the two that are compared is left out but in these: PyTorch's compiler
# takes a minute. What it compiles is for one number of threads, so it runs on all of them only.
WHOLE = ("inference-32x32", "full-32x32")

KINDS = {
    "inference": "inference",
    "full": "tuning all",
    "lora": "tuning by LoRA",
    "feedforward": "tuning the feedforward blocks",
}
TASKS = {
    f"{kind}-{texts}x{tokens}": Task(kind, texts, tokens) for texts, tokens in ((32, 32), (8, 128)) for kind in KINDS
}


def title(task: Task) -> str:
    return f"{KINDS[task.kind]}, {task.texts} × {task.tokens}"


# ---------------------------------------------------------------- in a process of its own


def worker(key: str, text: str) -> None:
    """First the logits before any step, and the memory; then, to each line, the seconds of a step by number of threads."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(**found: Any) -> None:
        print(json.dumps(found), file=answers, flush=True)

    task = Task(**json.loads(text))
    build: Callable[[Task], Program] = getattr(minilm, key)
    numbers = THREADS if key != "pytorch_compiled" else THREADS[-1:]
    with limited(key, numbers[0]):
        minilm.prepare(key)
        program = build(task)
        logits = program.logits()  # also reads the weights, which may lie in a mapped file until then
        give_back()
        before = reset_peak()
        for _ in range(FIRST):
            program.run()
        first = peak() - before
        reset_peak()
        program.run()
        start = time.perf_counter()
        program.run()
        steps = max(1, round(SECONDS / (time.perf_counter() - start)))
        memory = peak() - before
    answer(version=minilm.version(key), logits=logits.tolist(), first_kib=first, memory_kib=memory)
    for _ in sys.stdin:
        seconds = {}
        for threads in numbers:
            with limited(key, threads):
                if steps > 1:
                    program.run()  # other processes had the caches meanwhile
                start = time.perf_counter()
                for _ in range(steps):
                    program.run()
                seconds[threads] = (time.perf_counter() - start) / steps
        answer(seconds=seconds)


def give_back() -> None:
    """Return to the system what was freed: the C library keeps it, and what a step takes of it would not be seen."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError, TypeError):  # of glibc's
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def limited(key: str, threads: int) -> Any:
    """So many threads for a framework's products."""
    if PROGRAMS[key][1] == "torch":
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
    else:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(threads):
            yield


# ---------------------------------------------------------------- the driver


def measure(
    rounds: int = 5,
    tasks: Iterable[str] | None = None,
    only: Iterable[str] | None = None,
) -> dict[str, Any]:
    """Median seconds of each framework by threads, their spread, ratios to PyTorch, memory; and why others are not there."""
    chosen = {name: task for name, task in TASKS.items() if tasks is None or name in tasks}
    results: dict[str, Any] = {}
    for name, task in chosen.items():
        keys = [key for key in PROGRAMS if key in (only or (PROGRAMS if name in WHOLE else (BASE, "compiled")))]
        results[name] = one_task(task, rounds, keys)
    return results


def one_task(task: Task, rounds: int, keys: list[str]) -> dict[str, Any]:
    workers: dict[str, Process] = {}
    started: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    measured: list[Round] = []
    try:
        for key in tqdm(keys, desc=f"starting {title(task)}", leave=False, disable=None):
            try:
                if importlib.util.find_spec(PROGRAMS[key][1]) is None:
                    raise Failed("not installed")
                workers[key] = Process("transformers", key, json.dumps(dataclasses.asdict(task)))
                started[key] = workers[key].answer()
            except Failed as error:
                failed[key] = str(error)
                workers.pop(key, None)
        calibration = Calibration()
        for number in tqdm(range(rounds), desc=f"rounds of {title(task)}", leave=False, disable=None):
            order = list(workers)
            turn = number % len(order) if order else 0  # nobody always runs behind the same one
            before = calibration.seconds()
            load = ForeignLoad([one.process.pid for one in workers.values()])
            seconds: dict[str, float] = {}
            for key in order[turn:] + order[:turn]:
                time.sleep(SETTLE)
                try:
                    for threads, value in workers[key].ask()["seconds"].items():
                        seconds[f"{key} {threads}"] = value
                except Failed as error:
                    failed[key] = str(error)
                    workers.pop(key).close()
            foreign = load.share()
            time.sleep(SETTLE)
            measured.append(Round(seconds, (before, calibration.seconds()), foreign))
    finally:
        for one in workers.values():
            one.close()
    return {"title": title(task), **summary(measured, {key: started[key] for key in workers}, failed)}


def summary(measured: list[Round], started: dict[str, dict[str, Any]], failed: dict[str, str]) -> dict[str, Any]:
    disturbed = disturbances(measured)
    kept = [one for one, why in zip(measured, disturbed, strict=True) if why is None]
    used = kept if len(kept) >= 2 else measured
    programs: dict[str, Any] = {}
    for key, found in started.items():
        base = started.get(BASE, found)
        programs[key] = {
            "title": PROGRAMS[key][0],
            "version": found["version"],
            "memory_mib": found["memory_kib"] / 1024,
            "first_mib": found["first_kib"] / 1024,
            "differs": not np.allclose(found["logits"], base["logits"], rtol=0, atol=1e-4),
            "threads": {},
        }
        for threads in THREADS:
            name, other = f"{key} {threads}", f"{BASE} {threads}"
            times = [one.seconds[name] for one in used if name in one.seconds]
            ratios = [
                one.seconds[name] / one.seconds[other] for one in used if name in one.seconds and other in one.seconds
            ]
            if times:
                programs[key]["threads"][threads] = {
                    "seconds": statistics.median(times),
                    "spread": spread(times),
                    "ratio": statistics.median(ratios) if ratios else None,
                }
    return {
        "rounds": len(measured),
        "kept": len(kept),
        "reliable": len(kept) >= max(FEWEST * len(measured), 2),
        "failed": failed,
        "programs": programs,
    }


# ---------------------------------------------------------------- reports


def report(results: dict[str, Any]) -> str:
    lines = [
        "MiniLM with 6 layers (texts × tokens): time of a run, its ratio to PyTorch's, and memory above the loaded model"
    ]
    for one in results.values():
        lines += [
            "",
            f"  {one['title']} ({one['kept']} of {one['rounds']} rounds)",
            f"  {'':24}" + "".join(f"{f'{threads} thread' + 's' * (threads > 1):>12}{'±':>6}{'ratio':>7}" for threads in THREADS)
            + f"{'MiB':>8}{'at first':>10}",
        ]  # fmt: skip
        for found in one["programs"].values():
            cells = ""
            for threads in THREADS:
                timing = found["threads"].get(threads)
                cells += (
                    f"{duration(timing['seconds'] * 1e6):>12}{timing['spread']:6.0%}{_ratio(timing):>7}"
                    if timing
                    else f"{'–':>25}"
                )
            lines.append(
                f"  {found['title']:24}{cells}{found['memory_mib']:8.0f}{found['first_mib']:10.0f}"
                + ("  OTHER RESULTS" if found["differs"] else "")
            )
        lines += [f"  {PROGRAMS[key][0]:24}{why}" for key, why in one["failed"].items()]
        if not one["reliable"]:
            lines.append("  UNRELIABLE: too few undisturbed rounds; run it again on a quiet machine")
    return "\n".join(lines)


def _ratio(timing: dict[str, Any] | None) -> str:
    return "–" if timing is None or timing["ratio"] is None else f"{timing['ratio']:.2f}"


def markdown(results: dict[str, Any]) -> str:
    """PyTorch's time and the others' ratios to it, on one thread and on two; then memory in MiB."""
    keys = [key for key in PROGRAMS if any(key in one["programs"] for one in results.values())]
    others = [key for key in keys if key != BASE]
    columns = [
        (key, threads)
        for threads in THREADS
        for key in ([BASE] if BASE in keys else []) + others
        if any(threads in one["programs"].get(key, {}).get("threads", {}) for one in results.values())
    ]
    head = ["MiniLM, texts × tokens"]
    for key, threads in columns:
        head.append(f"{PROGRAMS[key][0]}, {threads} thread" + "s" * (threads > 1))
    rows = [head, ["---"] * len(head)]
    for one in results.values():
        row = [one["title"] + ("" if one["reliable"] else " (unreliable)")]
        for key, threads in columns:
            timing = one["programs"].get(key, {}).get("threads", {}).get(threads)
            if timing is None:
                row.append("–")
            elif key == BASE:
                row.append(duration(timing["seconds"] * 1e6))
            else:
                row.append(f"{_ratio(timing)} ({duration(timing['seconds'] * 1e6)})")
        rows.append(row)
    memory = [["MiB above the loaded model", *(PROGRAMS[key][0] for key in keys)], ["---"] * (len(keys) + 1)]
    for one in results.values():
        found = [one["programs"].get(key) for key in keys]
        memory.append([one["title"], *("–" if each is None else f"{each['memory_mib']:.0f}" for each in found)])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", *(f"| {' | '.join(row)} |" for row in memory)])


if __name__ == "__main__":
    worker(*sys.argv[1:3])
