"""Run in every process of a job by test_distributed_equality: random networks and settings, each trained by all processes
together and by one alone, which must come to the same parameters.

    python distributed_equality_job.py seed cases
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
from typing import Any

import numpy as np

import autograd_ff as af
from autograd_ff import distributed as dist
from autograd_ff import nn, optim
from autograd_ff.distributed.sampler import part_of

ACTIVATIONS = (nn.Tanh, nn.ReLU, nn.GELU, nn.Sigmoid)
HOWS = ("parallel", "sharded", "sharded takes over", "sharded alone")
STEPS = 4


class Cast(nn.Module):
    """A change of dtype on the way: parameters before and behind have different ones."""

    def __init__(self, dtype: Any) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: Any) -> Any:
        return x.to(self.dtype)


class Case:
    """All that is drawn for one training, the same in all processes."""

    def __init__(self, seed: tuple[int, int], ranks: int) -> None:
        self.ranks = ranks
        draw = self.draw = np.random.default_rng(seed)
        self.seed = int(draw.integers(2**31))
        self.dtype = str(draw.choice(["float64", "float64", "float32", "mixed"]))
        self.widths = draw.integers(1, 10, draw.integers(2, 5)).tolist()
        self.activation = ACTIVATIONS[draw.integers(len(ACTIVATIONS))]
        self.normalizes = bool(draw.integers(2))
        self.classifies = bool(draw.integers(2))
        self.frozen = bool(draw.integers(4) == 0)
        self.groups = bool(draw.integers(2))
        self.clips = float(draw.choice([0, 0.05, 1.0]))
        self.accumulates = int(draw.choice([1, 1, 2, 3]))
        self.schedules = bool(draw.integers(2))
        self.compiles = bool(draw.integers(3) == 0)
        number = seed[1]  # each optimizer comes in turn, and each in every way
        self.how = HOWS[(number + number // 6) % len(HOWS)]
        self.optimizer, self.options = self._optimizer(number)
        self.batch = int(draw.integers(ranks, 3 * ranks + 5))  # not always one that divides
        exact = self.dtype == "float64"
        self.tolerance = {"rtol": 1e-7, "atol": 1e-9} if exact else {"rtol": 2e-3, "atol": 2e-4}

    def _optimizer(self, number: int) -> tuple[Any, dict[str, Any]]:
        draw = self.draw
        common = {"weight_decay": float(draw.choice([0.0, 0.1])), "maximize": bool(draw.integers(5) == 0)}
        # Where a gradient is zero but for rounding, a small eps would make a whole step of it.
        eps = 1e-6 if self.dtype == "float64" else 1e-2
        momentum = float(draw.choice([0.0, 0.9]))
        kinds: list[tuple[Any, dict[str, Any]]] = [
            (optim.SGD, {"lr": 0.1, "momentum": momentum, "nesterov": momentum > 0 and bool(draw.integers(2))}),
            (optim.Adam, {"lr": 0.01, "amsgrad": bool(draw.integers(2)), "eps": eps}),
            (optim.AdamW, {"lr": 0.01, "eps": eps}),
            (optim.RMSprop, {"lr": 0.01, "momentum": momentum, "centered": False, "eps": eps}),
            (optim.RMSprop, {"lr": 0.01, "momentum": momentum, "centered": True, "eps": 100 * eps}),
            (optim.Adagrad, {"lr": 0.05, "lr_decay": 0.1, "initial_accumulator_value": 0.1, "eps": eps}),
        ]
        kind, options = kinds[number % len(kinds)]
        return kind, {**options, **common}

    def __repr__(self) -> str:
        return str({key: value for key, value in vars(self).items() if key not in ("draw", "tolerance")})

    def model(self) -> nn.Module:
        af.manual_seed(self.seed)
        layers: list[nn.Module] = []
        for position, (before, behind) in enumerate(zip(self.widths[:-1], self.widths[1:], strict=True)):
            if position:
                layers.append(self.activation())
            if self.normalizes and before > 2:
                layers.append(nn.LayerNorm(before))
            layers.append(nn.Linear(before, behind))
        model = nn.Sequential(*layers)
        if self.dtype != "float32":
            model.double()
        if self.dtype == "mixed":
            model = nn.Sequential(model, Cast(af.float32), nn.Linear(self.widths[-1], 3))
            self.outputs = 3
        else:
            self.outputs = self.widths[-1]
        if self.frozen:
            next(iter(model.parameters())).requires_grad_(False)
            if not any(one.requires_grad for one in model.parameters()):
                model.requires_grad_(True)
        return model

    def parameters(self, model: nn.Module) -> Any:
        every = list(model.parameters())
        if not self.groups or len(every) < 2:
            return every
        return [{"params": every[::2], "lr": 0.02}, {"params": every[1::2]}]

    def data(self) -> list[tuple[Any, Any]]:
        kind = "float32" if self.dtype == "float32" else "float64"
        draw = np.random.default_rng(self.seed)
        found = []
        for _ in range(STEPS * self.accumulates):
            inputs = draw.normal(size=(self.batch, self.widths[0])).astype(kind)
            if self.classifies:
                targets = draw.integers(0, self.outputs, self.batch)
            else:
                targets = draw.normal(size=(self.batch, self.outputs)).astype(
                    "float32" if self.dtype == "mixed" else kind
                )
            found.append((inputs, targets))
        return found

    def train(self, together: bool) -> tuple[list[np.ndarray], Any]:
        """The parameters after training, and the optimizer."""
        ranks = self.ranks if together else 1
        model: Any = self.model()
        plain = model
        if together and self.how != "sharded alone":
            model = dist.DistributedDataParallel(model, bucket_cap_mb=1e-4, gradient_as_bucket_view=bool(self.seed % 2))
        if together and self.how != "parallel":
            takes = True if self.how == "sharded takes over" else None
            optimizer: Any = dist.ZeroRedundancyOptimizer(
                self.parameters(model), self.optimizer, reduce_gradients=takes, **self.options
            )
        else:
            optimizer = self.optimizer(self.parameters(model), **self.options)
        scheduler = optim.lr_scheduler.StepLR(optimizer, 2, 0.5) if self.schedules else None
        loss_of = nn.CrossEntropyLoss() if self.classifies else nn.MSELoss()
        part = part_of(self.batch, ranks, dist.get_rank()) if together else slice(None)
        whole_steps = isinstance(model, dist.DistributedDataParallel)

        def backward(inputs: Any, targets: Any) -> None:
            loss = loss_of(model(inputs), targets)
            if self.batch % ranks:
                loss = loss * dist.share_of_batch(len(inputs))
            (loss / self.accumulates).backward()

        def step(*arrays: Any) -> None:
            optimizer.zero_grad()
            pairs = list(zip(arrays[::2], arrays[1::2], strict=True))
            for inputs, targets in pairs[:-1]:
                with model.no_sync() if whole_steps else contextlib.nullcontext():
                    backward(inputs, targets)
            backward(*pairs[-1])
            if self.clips and together and self.how.startswith("sharded"):
                optimizer.clip_grad_norm_(self.clips)
            elif self.clips:
                nn.utils.clip_grad_norm_(plain.parameters(), self.clips)
            optimizer.step()
            if scheduler is not None:
                scheduler.step()

        run = af.compile(step, fast=False) if together and self.compiles else step
        data = self.data()
        for number in range(STEPS):
            few = data[number * self.accumulates : (number + 1) * self.accumulates]
            run(*[af.from_numpy(np.ascontiguousarray(one[part])) for pair in few for one in pair])
        if together and self.compiles:
            assert len(run.plan.instructions) > 0
        return [one.array.copy() for one in plain.parameters()], optimizer


def check_states(optimizer: Any, alone: Any, case: Case) -> None:
    """The moments are equal too, gathered."""
    if isinstance(optimizer, dist.ZeroRedundancyOptimizer):
        optimizer.consolidate_state_dict(to=None)
    ours, theirs = optimizer.state_dict(), alone.state_dict()
    assert ours["param_groups"] == theirs["param_groups"]
    assert ours["state"].keys() == theirs["state"].keys()
    for index, values in theirs["state"].items():
        for name, value in values.items():
            np.testing.assert_allclose(ours["state"][index][name].array, value.array, **case.tolerance, err_msg=name)


def main(seed: int, cases: int) -> None:
    dist.init_process_group(timeout=60)
    ranks = dist.get_world_size()
    digest = hashlib.sha256()
    for number in range(cases):
        case = Case((seed, number), ranks)
        try:
            with np.errstate(all="raise", under="ignore"):
                alone, lonely = case.train(together=False)
                ours, optimizer = case.train(together=True)
            for one, other in zip(ours, alone, strict=True):
                np.testing.assert_allclose(one, other, **case.tolerance)
            check_states(optimizer, lonely, case)
            again, _ = Case((seed, number), ranks).train(together=True)
            assert [one.tobytes() for one in again] == [one.tobytes() for one in ours], "other bits in a second run"
        except Exception as error:
            error.add_note(f"case {number} of seed {seed}: {case}")
            raise
        own = hashlib.sha256(b"".join(one.tobytes() for one in ours)).hexdigest()
        dist.agree("the parameters' bits", [own])
        digest.update(own.encode())
    if dist.get_rank() == 0:
        print(f"passed {cases} {digest.hexdigest()}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
