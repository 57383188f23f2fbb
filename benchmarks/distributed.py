"""Data-parallel training: how it scales to two processes, what communication costs, and a model beyond this machine.

Everything measured runs in jobs of two processes with one BLAS thread each, started by ``mpiexec``; the steps are compiled,
with Adam. Beside a process alone stands the same step with two BLAS threads, and both processes together without any
communication: what is lost there, the processors lose to each other (memory, caches, clock) and not to messages.

The model takes the costs of `collective_costs`, this machine's compute times, and a network as stated.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from .collective_costs import ETHERNET, INFINIBAND, Link, Work, best, fit, step, stops_paying
from .processes import Failed, environment, reason

NETWORKS = {"784-128-128-10": (784, 128, 128, 10), "784-1024-1024-10": (784, 1024, 1024, 10)}
BATCHES = {"784-128-128-10": (64, 512), "784-1024-1024-10": (64, 512)}
SIZES = (64, 1024, 16384, 131072, 473128, 1_000_000, 4_000_000, 7_446_568, 16_000_000)
COMPRESSIONS = (None, "bfloat16", "float16")
SEEDS = [0, 1, 2]
LARGE = (784, 2048, 2048, 2048, 2048, 2048, 2048, 10)
MEMORY: dict[str, tuple[int, dict[str, Any]]] = {
    "one process": (1, {"ranks": 1}),
    "2 ranks": (2, {}),
    "2 ranks, bfloat16": (2, {"compression": "bfloat16"}),
    "2 ranks, sharded": (2, {"sharded": True}),
    "4 ranks, sharded": (4, {"sharded": True}),
}
CORES = 32  # of a node of the model
BACKWARD = 2 / 3  # of the products of a step
NODES = [2**power for power in range(11)]


def variants(batch: int) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {
        "alone": {"ranks": 1, "batch": batch},
        "two threads": {"ranks": 1, "batch": batch, "threads": 2},
        "silent": {"batch": batch, "communicates": False},
        "overlap": {"batch": batch},
        "not poked": {"batch": batch, "poke": False},
        "one bucket": {"batch": batch, "bucket": 1000},
        "copied": {"batch": batch, "view": False},
        "strong": {"batch": batch // 2},
    }
    return found | {one: {"batch": batch, "compression": one} for one in COMPRESSIONS if one}


def parameters(widths: Sequence[int]) -> int:
    return sum(a * b + b for a, b in pairwise(widths))


def launcher() -> list[str]:
    beside = Path(sys.executable).parent / "mpiexec"
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None or importlib.util.find_spec("mpi4py") is None:
        raise Failed('no mpiexec or no mpi4py: pip install "autograd_ff[mpi]"')
    version = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=60, check=False).stdout
    known = any(name in version for name in ("Open MPI", "OpenRTE", "prterun"))
    return [found, *(["--allow-run-as-root", "--oversubscribe", "--bind-to", "none"] if known else [])]


def job(task: str, ranks: int = 2, limit: float = 600, **arguments: Any) -> Any:
    """The answer of `benchmarks.ranks` to a task."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answer.json"
        command = [*launcher(), "-n", str(ranks), sys.executable, "-m", "benchmarks.ranks", task]
        done = subprocess.run(
            [*command, json.dumps(arguments), str(path)], capture_output=True, text=True, timeout=limit, check=False,
            env=environment(OPENBLAS_NUM_THREADS="2"),
        )  # fmt: skip
        if done.returncode or not path.exists():
            raise Failed(reason(done.stderr, done.returncode))
        return json.loads(path.read_text(encoding="utf-8"))


def measure(rounds: int = 5, epochs: int = 3) -> dict[str, Any]:
    """All figures; ``failed`` alone where no job can run."""
    try:
        results: dict[str, Any] = {
            "rates": job("rates", 1),
            "all_reduce": job("all_reduces", sizes=SIZES, rounds=rounds),
        }
        results["steps"] = {
            name: {
                str(batch): job("steps", widths=widths, variants=variants(batch), rounds=rounds)
                for batch in BATCHES[name]
            }
            for name, widths in NETWORKS.items()
        }
        results["memory"] = {
            title: job("memory", ranks, widths=LARGE, batch=32, variant=variant)
            for title, (ranks, variant) in MEMORY.items()
        }
        results["mnist"] = {
            one or "float32": job("mnist", epochs=epochs, seeds=SEEDS, compression=one, batch=64)
            for one in COMPRESSIONS
        }
    except Failed as error:
        return {"failed": str(error)}
    results["epochs"] = epochs
    return results | {"model": model(results)}


# ---------------------------------------------------------------- the model


def here(results: dict[str, Any], way: str = "ours") -> Link:
    """Two processes of this machine."""
    measured = [(float(size), one[way]) for size, one in results["all_reduce"].items()]
    return fit(measured, results["rates"]["gamma"], "two processes of this machine")


def works(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The modelled trainings: what a node computes for so many samples, and how many there are in all in strong scaling.

    The MNIST network is as measured, on one core. The others are dense: 6 operations for each parameter and sample, on a
    node of `CORES` cores of which each is as fast as this machine's in matrix products.
    """
    small = results["steps"]["784-128-128-10"]["64"]["alone"]["seconds"]
    rate, gamma = results["rates"]["flops"] * CORES, results["rates"]["gamma"]

    def network(seconds: float, parameters: float) -> Work:
        return Work(seconds * (1 - BACKWARD), seconds * BACKWARD, 0.0, 4 * parameters)

    def dense(parameters: float, samples: float) -> Work:
        update = 4 * parameters * 7 * gamma / CORES  # Adam reads and writes seven arrays
        whole = network(6 * parameters * samples / rate, parameters)
        return Work(whole.forward, whole.backward, update, whole.gradients)

    return {
        "MNIST network, 0.12 M": {
            "each": 64, "all": 4096, "of": lambda samples: network(small * max(samples, 1) / 64, 118_282), "cores": 1,
        },
        "25 M parameters": {"each": 256, "all": 8192, "of": lambda samples: dense(25e6, samples), "cores": CORES},
        "1 B parameters": {"each": 2048, "all": 524_288, "of": lambda samples: dense(1e9, samples), "cores": CORES},
    }  # fmt: skip


def model(results: dict[str, Any]) -> dict[str, Any]:
    gamma = results["rates"]["gamma"]
    link = here(results)
    found: dict[str, Any] = {"alpha": link.alpha, "beta": link.beta, "gamma": gamma, "checked": {}, "curves": {}}
    for name, batches in results["steps"].items():
        for batch, one in batches.items():
            size = 4 * parameters(NETWORKS[name])
            silent = one["silent"]["seconds"]
            # Both processors compute, and nobody else moves messages: nothing overlaps.
            predicted = step(Work(silent / 3, silent * 2 / 3, 0.0, size), 2, link, overlap=False)
            found["checked"][f"{name}, batch {batch}"] = {"predicted": predicted, "measured": one["overlap"]["seconds"]}
    for title, one in works(results).items():
        curves = found["curves"][title] = {}
        for network in (ETHERNET, INFINIBAND):
            across = Link(network.name, network.alpha, network.beta, gamma / one["cores"])
            for overlap in (True, False):
                label = f"{network.name}, {'with' if overlap else 'without'} overlap"
                single = one["of"](one["all"]).seconds

                def weak(nodes: int, across: Link = across, overlap: bool = overlap, one: Any = one) -> float:
                    work = one["of"](one["each"])
                    return work.seconds / step(work, nodes, across, overlap)

                def strong(
                    nodes: int, across: Link = across, overlap: bool = overlap, one: Any = one, single: float = single
                ) -> float:
                    return single / step(one["of"](one["all"] / nodes), nodes, across, overlap)

                curves[label] = {
                    "weak": [weak(nodes) for nodes in NODES],
                    "strong": [strong(nodes) for nodes in NODES],
                    "weak stops": stops_paying(weak),
                    "strong stops": stops_paying(lambda nodes, strong=strong: strong(nodes) / nodes),  # type: ignore[misc]
                    "fastest": max(NODES, key=strong),
                }
        curves_of = one["of"](one["each"])
        found["curves"][title]["work"] = {"seconds": curves_of.seconds, "bytes": curves_of.gradients,
                                          "each": one["each"], "all": one["all"]}  # fmt: skip
    return found


# ---------------------------------------------------------------- the tables


def rows(results: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """The measured tables, as (title, lines of cells); a table's first line is its head."""
    tables: list[tuple[str, list[list[str]]]] = []
    lines = [["network, samples a rank", "alone", "2 threads", "2 ranks silent", "2 ranks", "not poked", "one bucket",
              "copied", "bfloat16", "float16", "weak", "weak, least", "strong", "in messages", "one bucket"]]  # fmt: skip
    for name, batches in results["steps"].items():
        for batch, one in batches.items():
            cell = lambda key, one=one: f"{1e3 * one[key]['seconds']:.3f}"  # noqa: E731
            weak, least = (one["alone"][key] / one["overlap"][key] for key in ("seconds", "least"))
            strong = one["alone"]["seconds"] / one["strong"]["seconds"]
            messages = [
                (one[key]["waiting"] + one[key]["starting"]) / one[key]["seconds"] for key in ("overlap", "one bucket")
            ]
            keys = (
                "alone",
                "two threads",
                "silent",
                "overlap",
                "not poked",
                "one bucket",
                "copied",
                "bfloat16",
                "float16",
            )
            shares = [f"{weak:.0%}", f"{least:.0%}", f"{strong:.2f}×", *(f"{part:.0%}" for part in messages)]
            lines.append([f"{name}, {batch}", *map(cell, keys), *shares])
    title = "Milliseconds a step, medians; weak efficiency (and of the least steps), strong speed-up, share in messages (and without overlap)"
    tables.append((title, lines))
    lines = [["bytes", "gradients", "MPI, non-blocking", "MPI, blocking"]]
    for size, one in results["all_reduce"].items():
        lines.append([f"{int(size):,}", *(f"{1e6 * one[way]:.0f}" for way in ("ours", "nonblocking", "blocking"))])
    tables.append(("Microseconds of an all-reduce of two processes", lines))
    size = parameters(LARGE)
    lines = [
        [
            f"{size / 1e6:.1f} M parameters ({4 * size / 2**20:.0f} MiB), Adam",
            "MiB of moments",
            "MiB more at the peak",
            "ms a step",
        ]
    ]
    for name, one in results["memory"].items():
        lines.append([name, *(f"{max(one[key]):.0f}" for key in ("moments", "grown", "milliseconds"))])
    tables.append(("Memory of each rank", lines))
    lines = [["gradients travel as", "right of the test images", "standard deviation", "seconds"]]
    for name, several in results["mnist"].items():
        right = [one["accuracy"] for one in several]
        seconds = statistics.mean(one["seconds"] for one in several)
        lines.append([name, f"{statistics.mean(right):.2%}", f"{statistics.stdev(right):.2%}", f"{seconds:.1f}"])
    tables.append((f"MNIST, {results['epochs']} epochs in batches of 64 on two ranks, {len(SEEDS)} seeds", lines))
    found = results["model"]
    lines = [["step", "predicted, ms", "measured, ms"]]
    for name, one in found["checked"].items():
        lines.append([name, f"{1e3 * one['predicted']:.3f}", f"{1e3 * one['measured']:.3f}"])
    title = (f"The model here: {1e6 * found['alpha']:.1f} µs, {1e-9 / found['beta'] if found['beta'] else 0:.2f} GB/s, "
             f"adding {1e-9 / found['gamma']:.1f} GB/s")  # fmt: skip
    tables.append((title, lines))
    lines = [
        ["beyond this machine", "network", "weak at 1,024", "below half", "strong at 1,024", "below half", "fastest"]
    ]
    for name, curves in found["curves"].items():
        for label, one in curves.items():
            if label != "work":
                ends = [
                    ("never" if one[key] is None else f"{one[key]} nodes") for key in ("weak stops", "strong stops")
                ]
                lines.append([name, label, f"{one['weak'][-1]:.0%}", ends[0], f"{one['strong'][-1]:.1f}×", ends[1],
                              f"{one['fastest']} nodes"])  # fmt: skip
    tables.append(("Where data parallelism stops paying", lines))
    return tables  # type: ignore[return-value]


def report(results: dict[str, Any]) -> str:
    if "failed" in results:
        return f"distributed: {results['failed']}"
    text = []
    for title, lines in rows(results):
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        text += [title, *("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
                          for line in lines), ""]  # fmt: skip
    return "\n".join(text).rstrip()


def markdown(results: dict[str, Any]) -> str:
    if "failed" in results:
        return report(results)
    text = []
    for title, (head, *lines) in rows(results):
        text += [f"{title}:", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        text += [f"| {' | '.join(line)} |" for line in lines] + [""]
    return "\n".join(text).rstrip()


# ---------------------------------------------------------------- the picture

COLOURS = {ETHERNET.name: "#9aa3af", INFINIBAND.name: "#c2410c"}


def save_plot(results: dict[str, Any], path: Path) -> None:
    """Weak and strong scaling of three models, and how well the model foretells what was measured here."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    found = results["model"]
    figure, axes = pyplot.subplots(2, 4, figsize=(13.6, 6.4), layout="constrained")
    for column, (title, curves) in enumerate(found["curves"].items()):
        work = curves["work"]
        for row, kind in enumerate(("weak", "strong")):
            panel = axes[row, column]
            for label, one in curves.items():
                if label == "work":
                    continue
                name, _, overlap = label.rpartition(", ")
                panel.plot(
                    NODES, one[kind], color=COLOURS[name], linewidth=2.2 if overlap == "with overlap" else 1.4,
                    linestyle="-" if overlap == "with overlap" else (0, (4, 2)), label=f"{name}, {overlap}",
                )  # fmt: skip
            panel.set_xscale("log", base=2)
            if kind == "weak":
                panel.set_ylim(0, 1.06)
                panel.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
                panel.axhline(0.5, color="#111827", linewidth=0.8, linestyle=":")
                panel.set_title(
                    f"{title}\nweak: {work['each']:,} samples a node", fontsize=9.5, loc="left", fontweight="bold"
                )
            else:
                panel.plot(NODES, NODES, color="#111827", linewidth=0.8, linestyle=":")
                panel.set_yscale("log", base=2)
                low = min(min(one["strong"]) for label, one in curves.items() if label != "work")
                panel.set_ylim(max(2**-6, low * 0.8), 1400)
                ticks = [tick for tick in (1 / 32, 1 / 8, 1, 4, 16, 64, 256, 1024) if tick >= low * 0.8]
                panel.set_yticks(ticks, [f"{tick:g}×" if tick >= 1 else f"1/{round(1 / tick)}×" for tick in ticks])
                panel.set_title(f"strong: {work['all']:,} samples in all", fontsize=9.5, loc="left")
                panel.set_xlabel("nodes", fontsize=8.5)
            panel.set_xticks([1, 4, 16, 64, 256, 1024], ["1", "4", "16", "64", "256", "1,024"])
            _tidy(panel)
    axes[0, 0].set_ylabel("of each node is of use", fontsize=8.5)
    axes[1, 0].set_ylabel("times as fast as one node (dotted: all of use)", fontsize=8.5)
    _measured(axes[0, 3], results)
    _checked(axes[1, 3], found["checked"])
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8.5, frameon=False)
    figure.suptitle(
        "Data-parallel training beyond this machine: modelled from compute times and all-reduces measured on it",
        fontsize=11, x=0.01, ha="left",
    )  # fmt: skip
    figure.savefig(path, dpi=160)
    pyplot.close(figure)


def _measured(panel: Any, results: dict[str, Any]) -> None:
    link = here(results)
    sizes = [float(size) for size in results["all_reduce"]]
    panel.plot(sizes, [1e6 * best(size, 2, link) for size in sizes], color="#111827", linewidth=1, label="fitted line")
    panel.plot(sizes, [1e6 * one["ours"] for one in results["all_reduce"].values()], "o", color="#c2410c",
               markersize=4.5, label="measured")  # fmt: skip
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_title("Here, two processes:\nµs of an all-reduce by bytes", fontsize=9.5, loc="left", fontweight="bold")
    panel.legend(fontsize=8, frameon=False, loc="upper left")
    _tidy(panel)


def _checked(panel: Any, checked: dict[str, Any]) -> None:
    names = [*checked]
    for row, name in enumerate(names):
        one = checked[name]
        for shift, key, colour in ((-0.19, "predicted", "#9aa3af"), (0.19, "measured", "#c2410c")):
            panel.barh(row + shift, 1e3 * one[key], height=0.34, color=colour)
            panel.annotate(f"{1e3 * one[key]:.1f}", (1e3 * one[key], row + shift), (3, 0), textcoords="offset points",
                           va="center", fontsize=7.5)  # fmt: skip
    panel.set_xlim(0, 1.2e3 * max(max(one.values()) for one in checked.values()))
    panel.set_yticks(range(len(names)), [name.replace(", batch", "\nbatch") for name in names])
    panel.invert_yaxis()
    panel.set_title("ms a step: foretold (grey), measured", fontsize=9.5, loc="left")
    _tidy(panel)


def _tidy(panel: Any) -> None:
    panel.tick_params(axis="both", length=0, labelsize=8)
    panel.minorticks_off()
    panel.grid(color="#e5e7eb", linewidth=0.8)
    panel.set_axisbelow(True)
    for side in ("top", "right", "bottom", "left"):
        panel.spines[side].set_visible(False)
