"""The images that it is most wrong about

`visualize.plot_worst(images, labels, outputs, path)`: the highest losses of the 10,000 test images, each with its true
class and the predicted one, and what the network gave for both.
"""

from __future__ import annotations

import visualize

from .trained import run


def draw(path: str) -> None:
    session, _ = run()
    images, labels, outputs = visualize.predict(session.model, session.test_data)
    visualize.plot_worst(images, labels, outputs, path, classes=session.test_data.classes, rows=3)
