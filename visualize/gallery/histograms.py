"""Weights and gradients while they were learned

A ridge for each snapshot that a `visualize.HistogramRecorder` took, time running downwards. The weights spread from their
uniform start; the gradients shrink as the network gets everything right.
"""

from __future__ import annotations

import visualize

from .trained import run


def draw(path: str) -> None:
    _, recorder = run()
    visualize.plot_histograms(recorder, path, parameters=["fc1.weight", "fc3.weight"])
