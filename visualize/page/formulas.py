"""What the common operations compute, and how a gradient passes them, in one line each."""

from __future__ import annotations

import re

__all__ = ["formula"]

# y is what comes out, g the gradient that arrives there. The formula, then what flows back to each input.
_KNOWN = {
    "add": ("y = x₁ + x₂", "x₁: g   x₂: g"),
    "subtract": ("y = x₁ − x₂", "x₁: g   x₂: −g"),
    "multiply": ("y = x₁ · x₂", "x₁: g · x₂   x₂: g · x₁"),
    "divide": ("y = x₁ / x₂", "x₁: g / x₂   x₂: −g · y / x₂"),
    "power": ("y = x₁ ^ x₂", "x₁: g · x₂ · x₁^(x₂ − 1)   x₂: g · y · log x₁"),
    "power_scalar": ("y = x ^ p", "g · p · x^(p − 1)"),
    "maximum": ("y = max(x₁, x₂)", "g to the larger one, half to each where equal"),
    "minimum": ("y = min(x₁, x₂)", "g to the smaller one, half to each where equal"),
    "negative": ("y = −x", "−g"),
    "abs": ("y = |x|", "g · sign x"),
    "square": ("y = x²", "2 · g · x"),
    "sqrt": ("y = √x", "g / (2 · y)"),
    "rsqrt": ("y = 1 / √x", "−g · y³ / 2"),
    "reciprocal": ("y = 1 / x", "−g · y²"),
    "exp": ("y = eˣ", "g · y"),
    "expm1": ("y = eˣ − 1", "g · (y + 1)"),
    "log": ("y = log x", "g / x"),
    "log1p": ("y = log(1 + x)", "g / (1 + x)"),
    "sin": ("y = sin x", "g · cos x"),
    "cos": ("y = cos x", "−g · sin x"),
    "tanh": ("y = tanh x", "g · (1 − y²)"),
    "sigmoid": ("y = 1 / (1 + e⁻ˣ)", "g · y · (1 − y)"),
    "relu": ("y = max(x, 0)", "g where x > 0, else 0"),
    "leaky_relu": ("y = x where x > 0, else s · x", "g where x > 0, else s · g"),
    "silu": ("y = x · σ(x)", "g · (σ + y · (1 − σ))"),
    "softplus": ("y = log(1 + eˣ)", "g · σ(x)"),
    "gelu": ("y = x · Φ(x)", "g · (Φ(x) + x · φ(x))"),
    "erf": ("y = erf x", "g · 2/√π · e^(−x²)"),
    "matmul": ("y = A B", "A: g Bᵀ   B: Aᵀ g"),
    "linear": ("y = x Wᵀ + b", "x: g W   W: gᵀ x   b: Σ g"),
    "sum": ("y = Σ x", "g, repeated"),
    "add.reduce": ("y = Σ x", "g, repeated"),
    "mean": ("y = Σ x / n", "g / n, repeated"),
    "var": ("y = Σ (x − mean)² / (n − correction)", "2 · g · (x − mean) / (n − correction)"),
    "softmax": ("y = eˣ / Σ eˣ", "y · (g − Σ g · y)"),
    "log_softmax": ("y = x − log Σ eˣ", "g − softmax(x) · Σ g"),
    "logsumexp": ("y = log Σ eˣ", "g · softmax(x)"),
    "cross_entropy": ("y = log Σ eˣ − x[target]", "g · (softmax(x) − one-hot(target))"),
    "mse_loss": ("y = mean of (x − target)²", "2 · g · (x − target) / n"),
    "reshape": ("the same elements in another shape", "g in the old shape"),
    "transpose": ("the same elements, dims in another order", "g, transposed back"),
    "permute": ("the same elements, dims in another order", "g, dims in the old order"),
    "swapaxes": ("the same elements, two dims exchanged", "g, exchanged back"),
    "broadcast_to": ("x, repeated to the shape", "Σ g over the repeated dims"),
    "concatenate": ("the inputs, one after another", "to each input its part of g"),
    "where": ("y = x₁ where the condition holds, else x₂", "x₁: g where it holds   x₂: g elsewhere"),
    "index": ("y = x[index]", "g, added at the index"),
    "slice": ("y = x[index]", "g, added at the index"),
    "clip": ("y = min(max(x, low), high)", "g inside the limits, else 0"),
}
_FORMULA = re.compile(r"``([^`]+)``")


def formula(op: str) -> tuple[str, str]:
    """What an operation computes and what flows back to its inputs; empty texts where neither is known.

    What is not in the table is read off the docstring of the public function of that name.

    >>> formula("tanh")
    ('y = tanh x', 'g · (1 − y²)')
    >>> formula("lerp")
    ('input + weight * (end - input)', '')
    >>> formula("my_op")
    ('', '')
    """
    known = _KNOWN.get(op)
    if known is not None:
        return known
    import autograd_ff as af  # the public functions, which this package reads only for their words

    function = getattr(af, op, None) or getattr(af.nn.functional, op, None)
    found = _FORMULA.match((getattr(function, "__doc__", None) or "").lstrip()) if callable(function) else None
    return (found[1] if found else "", "")
