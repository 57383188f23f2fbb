"""The memory of the same step

`visualize.plot_memory(step, path)`: time runs to the right, addresses in the arena upwards, and each intermediate value is
a rectangle for as long as it is needed. The activations wait for their gradients; as soon as one has been read for the
last time, the next value moves in. The title says what that saves against memory of its own for each value.
"""

from __future__ import annotations

import visualize
from visualize.gallery.plan import compiled


def draw(path: str) -> None:
    _, step = compiled()
    visualize.plot_memory(step, path)
