"""What goes wrong with pictures, told with the line of the user's code that asked for one."""

from __future__ import annotations

import os
import sys
from types import FrameType

from autograd_ff.engine.site import at, in_package, resolve
from autograd_ff.errors import AutogradError

__all__ = ["PACKAGE", "PictureError", "here", "user_frame"]

PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


class PictureError(AutogradError, ValueError, TypeError):
    """Something that has no picture, or a picture asked for in a way that cannot work."""


def user_frame() -> FrameType | None:
    """The innermost frame now running that belongs neither to this package nor to autograd_ff."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (frame.f_code.co_filename.startswith(PACKAGE) or in_package(frame.f_code)):
        frame = frame.f_back
    return frame


def here() -> str:
    """The user's line that is running now, as the closing line of an error message."""
    frame = user_frame()
    return "" if frame is None else at(resolve(frame.f_code, frame.f_lasti))
