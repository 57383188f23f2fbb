"""The exceptions of autograd_ff.

Each message says what clashes, the line of the user's code where it happened, and the way out. Every class derives
from `AutogradError` (a `RuntimeError`, as PyTorch raises) and, where Python has a fitting built-in, from that too, so
that ``except ValueError`` and ``except IndexError`` work as people expect.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AnomalyError",
    "AutogradError",
    "CaptureError",
    "DimensionError",
    "DistributedError",
    "DownloadError",
    "DtypeError",
    "FileFormatError",
    "GradcheckError",
    "GraphError",
    "InplaceError",
    "MissingDataError",
    "ModuleError",
    "NoRuleError",
    "NonFiniteError",
    "OptimizerError",
    "RegistrationError",
    "ShapeError",
    "StateDictError",
    "TrainingWarning",
]


class AutogradError(RuntimeError):
    """Base class of everything that autograd_ff raises itself."""


class ShapeError(AutogradError, ValueError):
    """Shapes that do not fit each other, or a value outside what an operation accepts."""


class DtypeError(AutogradError, TypeError):
    """Dtypes that do not fit each other or the operation."""


class DimensionError(AutogradError, IndexError, ValueError):
    """A dimension or an index out of range."""


class GraphError(AutogradError):
    """A graph that cannot be differentiated as asked: freed, not recorded, or without a path."""


class GradcheckError(AutogradError):
    """A gradient that `autograd.gradcheck` does not pass.

    Attributes:
        report: the report of the check, where there is one; its text is the error's.
    """

    report: Any = None


class InplaceError(AutogradError):
    """A write in place that would make a recorded gradient wrong."""


class NoRuleError(AutogradError, TypeError):
    """A NumPy function, method or keyword that has no derivative rule, applied to a Tensor."""


class ModuleError(AutogradError, AttributeError, TypeError, KeyError):
    """A module used in a way that cannot work: before ``super().__init__()``, or with a name or a child unfit for it."""

    def __str__(self) -> str:  # KeyError would print the repr of its message
        return str(self.args[0]) if self.args else ""


class AnomalyError(AutogradError):
    """A NaN or an infinity, found by `detect_anomaly`."""


class NonFiniteError(AnomalyError):
    """A loss or a gradient in a training that is not finite. The weights are as they were before that batch."""


class TrainingWarning(UserWarning):
    """Something that looks wrong before a training begins; the text says what to do, and how to switch it off."""


class CaptureError(AutogradError):
    """A step that cannot be captured: replaying what one call did would not be what the next call does."""


class RegistrationError(AutogradError, TypeError):
    """A derivative rule that cannot enter the op table."""


class OptimizerError(AutogradError, ValueError, TypeError):
    """Parameters, options or a schedule that an optimizer cannot work with."""


class StateDictError(AutogradError, KeyError):
    """A state dict whose keys or shapes differ from what the module or optimizer expects."""

    def __str__(self) -> str:  # KeyError would print the repr of its message
        return str(self.args[0]) if self.args else ""


class FileFormatError(AutogradError, ValueError):
    """A file that is truncated, damaged or of another format than expected."""


class MissingDataError(AutogradError, FileNotFoundError):
    """Data or weights that are not on this machine, and the command that fetches them."""


class DownloadError(AutogradError, OSError):
    """Data or weights that could not be fetched, or that are not what was expected."""


class DistributedError(AutogradError):
    """Processes that cannot work together: what they differ in, or a collective that does not end."""
