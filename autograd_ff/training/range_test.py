"""Finding a learning rate by trying all of them in one short run."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

import numpy as np

from ..engine import here
from ..errors import OptimizerError, ShapeError
from .batches import Batches, batches_of
from .callback import Callback
from .trainer import Trainer

__all__ = ["RangeTest", "learning_rate_range_test"]
