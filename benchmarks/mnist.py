"""A whole epoch of MNIST: loading, shuffling and training of 784-128-128-10 in batches of 64.

The program is the same for both: their `DataLoader`, their layers, Adam, and the loss read every hundred batches. PyTorch
reads a `TensorDataset` of images made floats beforehand. autograd_ff reads its `MNIST` with `ToTensor`, which makes the
floats batch by batch, or a `TensorDataset` as well.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tqdm import tqdm

from .processes import Failed, Process
from .quiet import Calibration, ForeignLoad, Round, disturbances

BATCH = 64

PROGRAMS: dict[str, tuple[str, str, str, bool | None]] = {
    # key: (title, framework, dataset, compiled with `fast` or without, or not at all)
    "eager": ("autograd_ff, eager", "autograd_ff", "MNIST", None),
    "compiled": ("autograd_ff, compiled, NumPy alone", "autograd_ff", "MNIST", False),
    "fast": ("autograd_ff, compiled, fast", "autograd_ff", "MNIST", True),
    "fast_tensors": ("autograd_ff, compiled, fast, TensorDataset", "autograd_ff", "TensorDataset", True),
    "loading": ("autograd_ff, loading alone", "autograd_ff", "loading", None),
    "pytorch": ("PyTorch, default Adam, TensorDataset", "torch", "TensorDataset", None),
    "pytorch_fused": ("PyTorch, fused Adam, TensorDataset", "torch", "TensorDataset", None),
    "pytorch_loading": ("PyTorch, loading alone", "torch", "loading", None),
}


def program(key: str) -> Callable[[], float]:
    """A function that trains for an epoch and returns its last loss."""
    _, framework, dataset, fast = PROGRAMS[key]
    compile = None
    if framework == "torch":
        import torch as api
        from torch.utils.data import DataLoader, TensorDataset
    else:
        import autograd_ff as api  # type: ignore[no-redef]
        from autograd_ff.data import DataLoader, TensorDataset  # type: ignore[assignment]

        if fast is not None:
            compile = api.compile
            if fast and importlib.util.find_spec("numba") is None:
                raise Failed("numba is not installed")
    loader = DataLoader(data(api, framework, dataset, TensorDataset), batch_size=BATCH, shuffle=True)
    if dataset == "loading":
        return lambda: float(sum(len(labels) for _, labels in loader))
    nn = api.nn
    api.manual_seed(0)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )
    criterion = nn.CrossEntropyLoss()
    optimizer = api.optim.Adam(model.parameters(), lr=0.001, **({"fused": True} if key == "pytorch_fused" else {}))

    def step(images: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    chosen = step if compile is None else compile(step, fast=fast)

    def epoch() -> float:
        losses = []
        for number, (images, labels) in enumerate(loader):
            loss = chosen(images, labels)
            if number % 100 == 0:
                losses.append(loss.item())
        return statistics.fmean(losses[1:])

    return epoch


def data(api: Any, framework: str, dataset: str, tensor_dataset: Any) -> Any:
    from autograd_ff import datasets, transforms

    if framework == "autograd_ff" and dataset != "TensorDataset":
        return datasets.MNIST("~/data", train=True, download=True, transform=transforms.ToTensor())
    split = datasets.MNIST(train=True)
    images = split.data.numpy()[:, None].astype("float32") / 255
    return tensor_dataset(api.from_numpy(images), api.from_numpy(split.targets.numpy().copy()))


def worker(key: str, program: Callable[[str], Callable[[], float]] = program) -> None:
    """Answer each line with an epoch's seconds and loss."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        epoch = program(key)
    except Failed as error:
        print(json.dumps({"failed": str(error)}), file=answers, flush=True)
        return
    print(json.dumps({}), file=answers, flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        loss = epoch()
        print(json.dumps({"seconds": time.perf_counter() - start, "loss": loss}), file=answers, flush=True)


def measure(
    epochs: int = 10,
    only: Iterable[str] | None = None,
    programs: Mapping[str, tuple[Any, ...]] = PROGRAMS,
    module: str = "mnist",
) -> dict[str, Any]:
    """Seconds of an epoch, in turn; the first one of each, in which it may compile, apart.

    Args:
        programs: by key, what begins with a title and the library that it needs.
        module: of this package; its process answers for a key.
    """
    results: dict[str, Any] = {}
    workers: dict[str, Process] = {}
    measured: list[Round] = []
    calibration = Calibration()
    try:
        for key, (title, framework, *_) in programs.items():
            if only is not None and key not in only:
                continue
            results[key] = {"title": title}
            try:
                if not importlib.util.find_spec(framework):
                    raise Failed("not installed")
                workers[key] = Process(module, key)
                workers[key].answer()
                results[key]["first"] = workers[key].ask()["seconds"]
            except Failed as error:
                results[key]["failed"] = str(error)
                workers.pop(key, None)
        for _ in tqdm(range(epochs - 1), desc="epochs of MNIST", leave=False, disable=None):
            before = calibration.seconds()
            load = ForeignLoad([worker.process.pid for worker in workers.values()])
            seconds = {}
            for key, worker in workers.items():
                answer = worker.ask()
                seconds[key], results[key]["loss"] = answer["seconds"], answer["loss"]
            foreign = load.share()
            time.sleep(0.05)
            measured.append(Round(seconds, (before, calibration.seconds()), foreign))
    finally:
        for worker in workers.values():
            worker.close()
    disturbed = disturbances(measured)
    kept = [one for one, why in zip(measured, disturbed, strict=True) if why is None] or measured
    for key in workers:
        results[key]["seconds"] = statistics.median(one.seconds[key] for one in kept)
    return {"epochs": epochs, "kept": disturbed.count(None), "rounds": len(measured), "programs": results}


TITLE = f"MNIST, 784-128-128-10, batch {BATCH}"


def report(results: dict[str, Any], title: str = TITLE) -> str:
    lines = [
        f"{title}: seconds of an epoch, loading and shuffling included ({results['kept']} of {results['rounds']} rounds)",
        f"  {'':44}{'first':>8}{'others':>9}{'loss':>9}",
    ]
    for one in results["programs"].values():
        if "failed" in one:
            lines.append(f"  {one['title']:44}  {one['failed']}")
        else:
            loss = "" if "loading" in one["title"] else f"{one['loss']:9.4f}"
            lines.append(f"  {one['title']:44}{one['first']:8.2f}{one['seconds']:9.3f}{loss}")
    if results["kept"] < results["rounds"] / 2:
        lines.append("  UNRELIABLE: too few undisturbed rounds; run it again on a quiet machine")
    return "\n".join(lines)


def markdown(results: dict[str, Any], title: str = TITLE) -> str:
    rows = [f"| {one['title']} | {one['seconds']:.3f} s |" for one in results["programs"].values() if "seconds" in one]
    return "\n".join([f"| {title} | an epoch |", "|---|---|", *rows])


if __name__ == "__main__":
    worker(sys.argv[1])
