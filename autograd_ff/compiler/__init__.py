"""Capturing a step: record what it does, plan its memory, emit straight-line NumPy, replay.

Read in this order: `record` (what a call did), `compare` (whether two calls did the same), `lower` (ops as calls that
write into given memory), `simplify`, `allocate`, `emit` (the source), `guards` (what a plan rests on), `capture` and `step`
(calls, and their replay).
"""

from .step import CompiledStep, compile

__all__ = ["CompiledStep", "compile"]
