"""What the network takes for what

`visualize.plot_confusion(labels, outputs, path)`: a row for each true digit, with counts and shares of the row. Shades of
mistakes have a scale of their own, so that rare ones show too.
"""

from __future__ import annotations

import visualize

from .trained import run


def draw(path: str) -> None:
    session, _ = run()
    _, labels, outputs = visualize.predict(session.model, session.test_data)
    visualize.plot_confusion(labels, outputs, path, classes=session.test_data.classes)
