"""The user's lines of code, as a view has them."""

from __future__ import annotations

import os

from autograd_ff.engine import Node as Recorded
from autograd_ff.engine.site import Site, resolve

from ..errors import user_frame
from ..graph.view import Source

__all__ = ["running_source", "source_of", "source_of_node"]


def source_of(site: Site) -> Source:
    """A line as views have it: relative to the working directory where it lies below it."""
    file = os.path.abspath(site.file) if os.path.exists(site.file) else site.file
    return Source(file.removeprefix(os.path.join(os.getcwd(), "")).replace(os.sep, "/"), site.line, site.text)


def source_of_node(node: Recorded | None) -> Source | None:
    """The line that recorded a node."""
    site = None if node is None else node.site
    return None if site is None else source_of(site)


def running_source() -> Source | None:
    """The user's innermost line that is running now."""
    frame = user_frame()
    return None if frame is None else source_of(resolve(frame.f_code, frame.f_lasti))
