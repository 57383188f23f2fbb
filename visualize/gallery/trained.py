"""The network that several pictures are of: 784-128-128-10, trained on MNIST for ten epochs."""

from __future__ import annotations

import functools

from autograd_ff.training import Classification, Settings
from visualize.charts.histograms import HistogramRecorder

_BETWEEN = 430  # steps between two snapshots

__all__ = ["run"]


@functools.cache
def run() -> tuple[Classification, HistogramRecorder]:
    """The finished run, and histograms of its weights and gradients."""
    session = Classification(Settings())
    recorder = HistogramRecorder(session.model)
    step = 0
    while not session.finished:
        for _ in session.train_epoch():
            if step % _BETWEEN == 0:
                recorder.record(step)
            step += 1
    session.model.eval()
    return session, recorder
