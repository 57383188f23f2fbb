"""Elementwise chains become one node: "multiply · add · tanh"."""

from __future__ import annotations

from functools import partial

from ..graph.view import GraphView, Node
from .contraction import End, Group, contract, folded

__all__ = ["ELEMENTWISE", "joined", "merge_chains"]

# Operations that make each element of their result from the elements at the same place.
ELEMENTWISE = {
    "abs", "add", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "bitwise_and",
    "bitwise_or", "bitwise_xor", "cast", "ceil", "clip", "copy", "cos", "cosh", "digamma", "divide", "elu", "entr",
    "equal", "erf", "erfc", "erfinv", "exp", "exp2", "expm1", "floor", "floor_divide", "fmod", "gammaln", "gelu",
    "gelu_tanh", "greater", "greater_equal", "hardsigmoid", "hardswish", "hardtanh", "hypot", "invert", "isfinite",
    "isinf", "isnan", "leaky_relu", "less", "less_equal", "log", "log10", "log1p", "log2", "log_ndtr", "logaddexp",
    "logical_and", "logical_not", "logical_or", "logical_xor", "logit", "logsigmoid", "maximum", "minimum", "mish",
    "multiply", "nan_to_num", "ndtr", "ndtri", "negative", "not_equal", "positive", "power", "power_scalar",
    "reciprocal", "relu", "remainder", "rint", "round", "rsqrt", "sigmoid", "sign", "signbit", "silu", "sin", "sinh",
    "softplus", "softsign", "sqrt", "square", "subtract", "tan", "tanh", "tanhshrink", "threshold", "trunc",
    "trunc_divide", "where", "xlog1py", "xlogy", "zeta",
}  # fmt: skip
_SHOWN = 4


def merge_chains(view: GraphView) -> GraphView:
    """A view in which elementwise operations that follow one another are one node.

    Each but the last is read by the next one alone, all have one shape, and they stand in one module. What is marked
    stays by itself.

    >>> import autograd_ff as af, visualize
    >>> view = merge_chains(visualize.trace(lambda x: af.tanh(x * 2 + 1), af.ones(3)))
    >>> [node.op for node in view.nodes if node.op]
    ['multiply · add · tanh']
    """
    nodes = view.nodes
    readers = [0] * len(nodes)
    for edge in view.edges:
        readers[edge.source] += 1
    chain: dict[int, list[int]] = {}  # the last node of a chain so far, and the chain
    for edge in sorted(view.edges, key=lambda edge: edge.target):
        one, other = nodes[edge.source], nodes[edge.target]
        if (
            readers[one.id] == 1
            and _fits(one)
            and _fits(other)
            and one.module == other.module
            and one.backward == other.backward
            and one.outputs == other.outputs
            and not (other.id in chain and len(chain[other.id]) > 1)  # each has one place in one chain
        ):
            longer = chain.pop(one.id, [one.id])
            longer.append(other.id)
            chain[other.id] = longer
    groups: list[Group] = [(ids, partial(_whole, view)) for ids in chain.values() if len(ids) > 1]
    return contract(view, groups)


def _fits(node: Node) -> bool:
    return (
        node.kind in ("op", "kernel")
        and node.op.removeprefix("∇ ") in ELEMENTWISE
        and len(node.outputs) == 1
        and node.count == 1
        and not node.mark
    )


def _whole(view: GraphView, members: list[Node], results: list[End]) -> Node:
    return folded(view, members, results, kind="op", op=joined([node.op for node in members]))


def joined(ops: list[str]) -> str:
    """What a person says of several operations in a row.

    >>> joined(["multiply", "add", "add", "tanh"]), joined(["a", "b", "c", "d", "e", "f"])
    ('multiply · add ×2 · tanh', 'a · b · … · f')
    """
    runs: list[tuple[str, int]] = []
    for op in ops:
        if runs and runs[-1][0] == op:
            runs[-1] = (op, runs[-1][1] + 1)
        else:
            runs.append((op, 1))
    words = [op if count == 1 else f"{op} ×{count:,}" for op, count in runs]
    if len(words) > _SHOWN:
        words = [*words[: _SHOWN - 2], "…", words[-1]]
    return " · ".join(words)
