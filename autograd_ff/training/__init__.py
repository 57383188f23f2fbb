"""Training: the trainer with its callbacks, metrics and checks; and the classifier that the command line trains.

>>> from autograd_ff.training import EarlyStopping, Trainer

Read in this order:

- the loop: `trainer` (what a step is, and what can be asked for), `batches` (from data to batches), `passes` (one pass over
  them after another), `fitting` (the loop itself), `running` and `history` (what is logged), `interrupt` (Ctrl-C);
- who looks on: `callback` and `callbacks/`; what is measured: `metrics/`;
- before the first epoch: `checks/`, `range_test`; where it breaks: `nonfinite`; and what is known of losses:
  `loss_kind`;
- going back: `holdings` (what a trainer holds), `randomness`, `snapshot` (around steps), `untouched` (around a look);
- trainers complete with network, data and schedule, those of the command line: `classification`, `text_classification`,
  `language_modelling`.
"""

from . import callbacks, metrics
from .callback import Callback
from .callbacks import *  # noqa: F403
from .checks import Finding
from .classification import Classification, Settings, evaluate, feedforward
from .history import History
from .interrupt import Interruption
from .language_modelling import LanguageModelling, LanguageSettings
from .range_test import RangeTest, learning_rate_range_test
from .text_classification import FineTuningSettings, TextClassification
from .trainer import Trainer

__all__ = [
    "Callback", "Classification", "Finding", "FineTuningSettings", "History", "Interruption", "LanguageModelling",
    "LanguageSettings", "RangeTest", "Settings", "TextClassification", "Trainer", "callbacks",
    "evaluate", "feedforward", "learning_rate_range_test", "metrics", *callbacks.__all__,
]  # fmt: skip
