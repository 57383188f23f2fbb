"""Curves of a training run

Loss and accuracy of the ten epochs, `visualize.plot_history(history, path)`. Any metrics in a history are drawn, training
and validation in one panel; a run that diverged shows when.
"""

from __future__ import annotations

import visualize

from .trained import run


def draw(path: str) -> None:
    session, _ = run()
    during = "training, during the epoch"
    labels = {"loss": during, "train_accuracy": during}
    visualize.plot_history(session.rows(), path, "MNIST", labels=labels)
