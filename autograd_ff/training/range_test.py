"""Finding a learning rate by trying all of them in one short run."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine import here
from ..errors import OptimizerError, ShapeError
from .batches import Batches, batches_of
from .fitting import WHOLE, NotFinite
from .passes import Passes
from .snapshot import Snapshot
from .trainer import Trainer

__all__ = ["RangeTest", "learning_rate_range_test"]


@dataclass(frozen=True)
class RangeTest:
    """What a learning rate range test saw.

    Attributes:
        rates: the learning rate of each step, ascending.
        losses: the loss of each step's batch before the step; the last one may not be finite.
        smoothed: the same, each averaged with its neighbours.
        suggestion: the rate at which the loss fell fastest, or None where it fell at none.
        exploded: whether it ended because the loss became far too large, or not finite.

    >>> test = RangeTest([0.1, 1.0], [2.0, 0.5], [2.0, 0.5], suggestion=0.1, exploded=False)
    >>> test.suggestion
    0.1
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggestion: float | None
    exploded: bool

    def __repr__(self) -> str:
        found = "none" if self.suggestion is None else f"{self.suggestion:.3g}"
        rates = f"{self.rates[0]:.3g} to {self.rates[-1]:.3g}" if self.rates else "none"
        return f"RangeTest(suggestion {found}; {len(self.rates)} rates, {rates}{', exploded' * self.exploded})"

    def plot(self, path: str | os.PathLike[str] | None = None, title: str = "learning rate range test") -> Any:
        """The loss over the learning rate as a matplotlib figure; also written to ``path`` where one is given.

        Raises:
            ImportError: matplotlib is missing: it comes with the extra ``plot``.
        """
        from visualize.charts.chart import OTHER, TEST, TRAIN, finish, frame, new_figure
        from visualize.drawing.style import LIGHT

        figure = new_figure(6.0, 4.0, LIGHT)
        axes = figure.add_subplot()
        axes.semilogx(self.rates, self.losses, color=OTHER, alpha=0.45, linewidth=1, label="each batch")
        axes.semilogx(self.rates[: len(self.smoothed)], self.smoothed, color=TRAIN, linewidth=2, label="smoothed")
        if self.suggestion is not None:
            axes.axvline(self.suggestion, color=TEST, linestyle="--", label=f"suggestion {self.suggestion:.2g}")
        finite = [one for one in self.smoothed if math.isfinite(one)]
        if finite:  # what exploded would press the rest flat
            low, high = min(finite), max(finite[0], *finite[: max(1, len(finite) // 2)])
            axes.set_ylim(low - 0.15 * (high - low or 1), high + 0.4 * (high - low or 1))
        axes.set(xlabel="learning rate", ylabel="loss")
        axes.grid(alpha=0.25)
        frame(axes, LIGHT)
        axes.legend(frameon=False, fontsize=9, labelcolor=LIGHT.text)
        return finish(figure, path, title, LIGHT)


def learning_rate_range_test(
    trainer: Trainer,
    data: Any,
    targets: Any = None,
    *,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 200,
    batch_size: int | None = None,
    explosion: float = 4.0,
) -> RangeTest:
    """Train for a few steps while the learning rate rises, and look at which rates the loss falls, and at which it explodes.

    Each step is the trainer's own, on the next batch, with the next of ``steps`` rates in equal ratios. Too small ones
    change nothing, then the loss falls the faster the larger the rate, until the steps are so large that it rises. The
    suggestion is where it falls fastest. Model, optimizer, gradients and random generators are afterwards as they were
    before.

    Source: L. N. Smith, "Cyclical learning rates for training neural networks" (2017), section 3.3.

    Args:
        trainer: with the model as it is to be trained from.
        data, targets, batch_size: as of `Trainer.fit`. Data that can be read but once are not put back.
        lowest, highest: the first and the last rate. Several groups of parameters keep their proportions, with the first
            group's rate in this range.
        steps: how many rates; as many batches are taken, over several epochs where one has too few.
        explosion: it ends where the loss has risen above its lowest by so many times its first value.

    Raises:
        OptimizerError: the trainer has no optimizer, or is in the middle of a fit.
        ShapeError: rates or steps that cannot be.

    >>> import autograd_ff as af
    >>> from autograd_ff.training import Trainer
    >>> _ = af.manual_seed(0)
    >>> x = af.randn(256, 4)
    >>> model = af.nn.Linear(4, 1)
    >>> trainer = Trainer(model, af.nn.MSELoss(), af.optim.SGD(model.parameters(), lr=0.001))
    >>> found = learning_rate_range_test(trainer, x, x.sum(1, keepdim=True), lowest=1e-4)
    >>> 0.01 < found.suggestion < 1, found.exploded, trainer.learning_rate
    (True, True, 0.001)
    """
    rates = _rates(lowest, highest, steps)
    if trainer.optimizer is None:
        raise OptimizerError(f"a range test needs an optimizer: Trainer(model, loss, optimizer).{here()}")
    if trainer.fitting:
        raise OptimizerError(f"a range test in the middle of a fit would train on: run it before.{here()}")
    if not explosion > 0:
        raise ShapeError(f"explosion is a number above 0, got {explosion!r}{here()}")
    batches = batches_of(data, targets, batch_size=batch_size, shuffle=True)
    losses: list[float] = []
    exploded = False
    with _put_back(trainer, batches):
        trainer.part, trainer.check_finite = WHOLE, True
        trainer.model.train()
        for rate, batch in zip(rates, Passes(batches, trainer.sharing, len(rates)).epoch(0), strict=True):
            trainer.learning_rate = rate
            try:
                with np.errstate(all="ignore"):  # an explosion is expected, and ends it
                    loss = _loss_of(trainer.train_step(*batch))
            except NotFinite:
                loss = math.nan
            losses.append(loss)
            lowest_loss = min(losses) if math.isfinite(loss) else loss
            exploded = not loss - lowest_loss <= explosion * max(abs(losses[0]), 1e-12)
            if exploded:
                break
    rates = rates[: len(losses)]
    finite = losses[:-1] if exploded else losses
    smoothed, slopes = _fitted(np.log(rates[: len(finite)]), np.array(finite))
    return RangeTest(rates, losses, smoothed.tolist(), _steepest(rates, smoothed, slopes), exploded)


def _rates(lowest: float, highest: float, steps: int) -> list[float]:
    if not 0 < lowest < highest < math.inf:
        raise ShapeError(f"a range of learning rates has 0 < lowest < highest, got {lowest!r} and {highest!r}{here()}")
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 10:
        raise ShapeError(f"a range test takes at least 10 steps, got {steps!r}{here()}")
    rates: list[float] = np.geomspace(lowest, highest, int(steps)).tolist()
    return rates


def _loss_of(result: Any) -> float:
    loss = result["loss"] if isinstance(result, dict) else result
    return float(loss.item() if hasattr(loss, "item") else loss)


@contextmanager
def _put_back(trainer: Trainer, batches: Batches) -> Iterator[None]:
    """Leave trainer and data behind as they were, on every way out."""
    snapshot, order = Snapshot(trainer), batches.randomness.state()
    own = {name: getattr(trainer, name) for name in ("part", "check_finite")}
    try:
        yield
    finally:
        snapshot.restore()
        vars(trainer).update(own)
        batches.randomness.restore(order)


def _fitted(places: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At each place the value and the slope of the line that fits best to the losses about it."""
    count = len(losses)
    reach = max(2, count // 20)
    values, slopes = losses.copy(), np.zeros(count)
    for at in range(count):
        window = slice(max(0, at - reach), at + reach + 1)
        x, y = places[window] - places[at], losses[window]
        if len(x) > 2:
            centred = x - x.mean()
            slopes[at] = (centred * y).sum() / (centred * centred).sum()
            values[at] = y.mean() - slopes[at] * x.mean()
    return values, slopes


def _steepest(rates: list[float], smoothed: np.ndarray, slopes: np.ndarray) -> float | None:
    """Where the loss falls fastest, before it is lowest."""
    if not len(smoothed):
        return None
    before = slopes[: int(smoothed.argmin()) + 1]
    at = int(before.argmin())
    return rates[at] if before[at] < 0 else None
