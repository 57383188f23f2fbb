"""What a framework's builder returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Training:
    convert: Callable[[np.ndarray], Any]  # of inputs and of targets
    step: Callable[[Any, Any], Any]


class Unable(Exception):
    """The framework has no such step here; the message says why, in a few words."""
