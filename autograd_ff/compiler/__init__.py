"""Capturing a step: record what it does, plan its memory, emit straight-line NumPy, replay.

Read in this order: `values` (arrays as a plan knows them), `record` (what a call did), `compare` (whether two calls did the
same), `plan` and `build` (from the record to the plan) with `lower` (ops as calls that write into given memory), `simplify`,
`allocate` and `fuse` (neighbours as one compiled loop, made in `loops`), `emit` (the source) with `threads` (of BLAS),
`guards` (what a plan rests on), `capture` (a plan and its replay), `verify`, and `step` (calls, and which of all this
they need).
"""

from .step import CompiledStep, compile

__all__ = ["CompiledStep", "compile"]
