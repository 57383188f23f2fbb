"""The network that several pictures are of: 784-128-128-10, trained on MNIST for ten epochs."""

from __future__ import annotations

import functools
import itertools

from autograd_ff.training import Classification, LambdaCallback, Settings
from visualize.charts.histograms import HistogramRecorder

_BETWEEN = 430  # steps between two snapshots

__all__ = ["run"]


@functools.cache
def run() -> tuple[Classification, HistogramRecorder]:
    """The finished run, and histograms of its weights and gradients."""
    session = Classification(Settings())
    recorder = HistogramRecorder(session.model)
    steps = itertools.count()

    def look(batch: int, logs: object) -> None:
        step = next(steps)
        if step % _BETWEEN == 0:
            recorder.record(step)

    session.train([LambdaCallback(on_train_batch_end=look)], verbose=0)
    session.model.eval()
    return session, recorder
