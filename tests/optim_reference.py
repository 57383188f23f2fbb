"""The optimizers a second time: one parameter after the other, the formulas as their papers have them."""

from __future__ import annotations

import numpy as np

__all__ = ["REFERENCES", "adagrad", "adam", "reference_run", "rmsprop", "sgd"]


def sgd(p, g, state, o):
    g = (-g if o["maximize"] else g) + o["weight_decay"] * p
    if o["momentum"]:
        if "momentum_buffer" in state:
            buffer = o["momentum"] * state["momentum_buffer"] + (1 - o["dampening"]) * g
        else:
            buffer = np.array(g)
        state["momentum_buffer"] = buffer
        g = g + o["momentum"] * buffer if o["nesterov"] else buffer
    return p - o["lr"] * g


def adam(p, g, state, o):
    g = -g if o["maximize"] else g
    t = state["step"] = state.get("step", 0) + 1
    if o["decoupled_weight_decay"]:
        p = p * (1 - o["lr"] * o["weight_decay"])
    else:
        g = g + o["weight_decay"] * p
    beta1, beta2 = o["betas"]
    m = state["exp_avg"] = beta1 * state.get("exp_avg", 0.0) + (1 - beta1) * g
    v = state["exp_avg_sq"] = beta2 * state.get("exp_avg_sq", 0.0) + (1 - beta2) * g * g
    if o["amsgrad"]:
        v = state["max_exp_avg_sq"] = np.maximum(state.get("max_exp_avg_sq", 0.0), v)
    return p - o["lr"] * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + o["eps"])


def rmsprop(p, g, state, o):
    g = (-g if o["maximize"] else g) + o["weight_decay"] * p
    state["step"] = state.get("step", 0) + 1
    alpha = o["alpha"]
    v = state["square_avg"] = alpha * state.get("square_avg", 0.0) + (1 - alpha) * g * g
    if o["centered"]:
        mean = state["grad_avg"] = alpha * state.get("grad_avg", 0.0) + (1 - alpha) * g
        v = v - mean * mean
    d = g / (np.sqrt(v) + o["eps"])
    if o["momentum"] > 0:
        d = state["momentum_buffer"] = o["momentum"] * state.get("momentum_buffer", 0.0) + d
    return p - o["lr"] * d


def adagrad(p, g, state, o):
    g = (-g if o["maximize"] else g) + o["weight_decay"] * p
    t = state["step"] = state.get("step", 0) + 1
    total = state["sum"] = state.get("sum", o["initial_accumulator_value"]) + g * g
    return p - o["lr"] / (1 + (t - 1) * o["lr_decay"]) * g / (np.sqrt(total) + o["eps"])


REFERENCES = {"SGD": sgd, "Adagrad": adagrad, "Adam": adam, "AdamW": adam, "RMSprop": rmsprop}


def reference_run(rule, values, gradients, options):
    """Values and states after a list of steps, each a list of gradients (None: no gradient)."""
    values = [np.array(value) for value in values]
    states = [{} for _ in values]
    for step in gradients:
        for position, gradient in enumerate(step):
            if gradient is not None:
                values[position] = np.asarray(rule(values[position], gradient, states[position], options))
    return values, states
