"""Training steps of all the frameworks, in alternating rounds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

from tqdm import tqdm

from .cases import Case, to_json
from .frameworks import FRAMEWORKS, OURS, missing
from .processes import Failed, Process
from .quiet import FEWEST, Calibration, ForeignLoad, Round, disturbances

SETTLE = 0.05  # seconds for the threads of the last process to go to sleep
TOLERANCE = 1e-3  # of the loss after the first steps, relative


def measure(case: Case, rounds: int, only: Iterable[str] | None = None) -> dict[str, Any]:
    """Median seconds per step, spread, ratios, memory and loss of each framework; and why the others are not there."""
    chosen = [key for key in FRAMEWORKS if only is None or key in only or key == "products"]
    failed: dict[str, str] = {}
    started: dict[str, dict[str, Any]] = {}
    workers: dict[str, Process] = {}
    measured: list[Round] = []
    try:
        # One after another: what one chooses or compiles in its first steps must not hang on the others' load.
        for key in tqdm(chosen, desc=f"starting {case.name}", leave=False, disable=None):
            try:
                if why := missing(key):
                    raise Failed(why)
                workers[key] = Process("worker", key, to_json(case))
                started[key] = workers[key].answer(FRAMEWORKS[key].limit)
            except Failed as error:
                failed[key] = str(error)
                workers.pop(key, None)
        calibration = Calibration()
        for number in tqdm(range(rounds), desc=f"rounds of {case.name}", leave=False, disable=None):
            keys = list(workers)
            turn = number % len(keys) if keys else 0  # nobody always runs behind the same one
            try:
                measured.append(one_round(workers, keys[turn:] + keys[:turn], calibration, failed))
            except Failed:
                continue  # one of them crashed: the others go on without it
    finally:
        for worker in workers.values():
            worker.close()
    return {
        "case": case.title,
        "name": case.name,
        "failed": {key: {"title": FRAMEWORKS[key].title, "reason": why} for key, why in failed.items()},
        **summary(measured, {key: started[key] for key in workers}),
    }


def one_round(workers: dict[str, Process], order: list[str], calibration: Calibration, failed: dict[str, str]) -> Round:
    before = calibration.seconds()
    load = ForeignLoad([worker.process.pid for worker in workers.values()])
    seconds: dict[str, float] = {}
    for key in order:
        time.sleep(SETTLE)
        try:
            seconds[key] = workers[key].ask()["seconds"]
        except Failed as error:
            failed[key] = str(error)
            workers.pop(key).close()
            raise
    foreign = load.share()
    time.sleep(SETTLE)
    return Round(seconds, (before, calibration.seconds()), foreign)


def summary(measured: list[Round], started: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the rounds say. Ratios are medians of the ratios within a round, so a slow drift of the machine leaves them."""
    disturbed = disturbances(measured)
    kept = [one for one, why in zip(measured, disturbed, strict=True) if why is None]
    reliable = bool(measured) and len(kept) >= max(FEWEST * len(measured), 2)
    used = kept if len(kept) >= 2 else measured
    losses = [one["loss"] for key, one in started.items() if key != "products"]
    usual = statistics.median(losses) if losses else 0.0
    ours = next((key for key in OURS if key in started), None)
    frameworks: dict[str, Any] = {}
    for key, first in started.items() if used else ():
        times = [one.seconds[key] for one in used]
        frameworks[key] = {
            "title": FRAMEWORKS[key].title,
            "version": first.get("version", ""),
            "microseconds": statistics.median(times) * 1e6,
            "spread": spread(times),
            "ratio": ratio(used, key, "products"),
            "beside_ours": ratio(used, key, ours),
            "memory_mib": first["memory_kib"] / 1024,
            "first_mib": first["first_kib"] / 1024,
            "loss": first["loss"],
            "differs": key != "products" and abs(first["loss"] - usual) > TOLERANCE * abs(usual),
            "rounds": [one.seconds.get(key) for one in measured],
        }
    return {
        "rounds": len(measured),
        "kept": len(kept),
        "dropped": {number: why for number, why in enumerate(disturbed) if why},
        "reliable": reliable,
        "ours": ours,
        "frameworks": frameworks,
    }


def spread(times: list[float]) -> float:
    """The distance of the quartiles, over the median."""
    if len(times) < 2:
        return 0.0
    quartiles = statistics.quantiles(times, n=4)
    return (quartiles[2] - quartiles[0]) / statistics.median(times)


def ratio(rounds: list[Round], key: str, other: str | None) -> float | None:
    if other is None or any(other not in one.seconds for one in rounds):
        return None
    return statistics.median(one.seconds[key] / one.seconds[other] for one in rounds)


# ---------------------------------------------------------------- reports


def report(results: dict[str, Any]) -> str:
    lines = [
        f"Training step with Adam, {results['case']} ({results['kept']} of {results['rounds']} alternating rounds)",
        f"  {'':36}{'µs a step':>11}{'± spread':>10}{'× products':>12}{'× ours':>8}{'MiB':>8}{'loss':>10}",
    ]
    for one in results["frameworks"].values():
        bare = one["title"] == FRAMEWORKS["products"].title
        lines.append(
            f"  {one['title']:36}{one['microseconds']:11.1f}{one['spread']:9.0%} {_number(one['ratio']):>12}"
            f"{_number(one['beside_ours']):>8}"
            + ("" if bare else f"{one['memory_mib']:8.1f}{one['loss']:10.4f}")
            + ("  OTHER LOSS" if one["differs"] else "")
        )
    lines += [f"  {one['title']:36}{one['reason']:>11}" for one in results["failed"].values()]
    return "\n".join(lines + _remarks(results))


def _remarks(results: dict[str, Any]) -> list[str]:
    lines = []
    if results["dropped"]:
        why = ", ".join(f"{number + 1}: {text}" for number, text in list(results["dropped"].items())[:6])
        more = ", …" if len(results["dropped"]) > 6 else ""
        lines.append(f"  dropped rounds ({why}{more})")
    if not results["reliable"]:
        lines.append("  UNRELIABLE: too few undisturbed rounds; run it again on a quiet machine")
    return lines


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def markdown(several: list[dict[str, Any]]) -> str:
    """One table of all the cases: multiples of the bare products, and the time; the least of a column in bold."""

    def table(cell: Callable[[dict[str, Any], str], str]) -> list[str]:
        keys = [key for key in FRAMEWORKS if any(key in one["frameworks"] for one in several)]
        head = ["training step with Adam", *(one["case"] for one in several)]
        rows = [[FRAMEWORKS[key].title, *(cell(one, key) for one in several)] for key in keys]
        return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]

    def cell(results: dict[str, Any], key: str) -> str:
        one = results["frameworks"].get(key)
        if one is None:
            return results["failed"].get(key, {}).get("reason", "–")
        shown = f"{_number(one['ratio'])} ({duration(one['microseconds'])}{', another loss' if one['differs'] else ''})"
        others = [other["ratio"] or 0 for name, other in results["frameworks"].items() if name != "products"]
        return f"**{shown}**" if key != "products" and others and one["ratio"] == min(others) else shown

    lines = table(cell)
    rows = {key for one in several for key in one["frameworks"]}
    absent = {
        entry["title"]: entry["reason"] for one in several for key, entry in one["failed"].items() if key not in rows
    }
    remarks = [f"{title}: {why}" for title, why in absent.items()]
    remarks += [f"{one['case']}: {line.strip()}" for one in several for line in _remarks(one)]
    return "\n".join([*lines, "", *(f"- {remark}" for remark in remarks)] if remarks else lines)


def duration(microseconds: float) -> str:
    """
    >>> duration(7.46), duration(432.1), duration(16800), duration(1.6e6)
    ('7.5 µs', '432 µs', '16.8 ms', '1.60 s')
    """
    if microseconds < 1000:
        return f"{microseconds:.1f} µs" if microseconds < 100 else f"{microseconds:.0f} µs"
    return f"{microseconds / 1000:.1f} ms" if microseconds < 1e6 else f"{microseconds / 1e6:.2f} s"
