"""Callbacks: what looks on while a model is trained, and steers. Keras's names and arguments."""

from ..callback import Callback
from .averaging import ExponentialMovingAverage
from .csv_logger import CSVLogger
from .early_stopping import EarlyStopping
from .lambda_callback import LambdaCallback
from .learning_rate import LearningRateScheduler, ReduceLROnPlateau
from .live_curve import LiveCurve
from .model_checkpoint import ModelCheckpoint
from .monitor import Monitor
from .progress import ProgressBar
from .tensorboard import TensorBoard
from .terminate_on_nan import TerminateOnNaN

__all__ = [
    "CSVLogger", "Callback", "EarlyStopping", "ExponentialMovingAverage", "LambdaCallback", "LearningRateScheduler",
    "LiveCurve", "ModelCheckpoint", "Monitor", "ProgressBar", "ReduceLROnPlateau", "TensorBoard", "TerminateOnNaN",
]  # fmt: skip
