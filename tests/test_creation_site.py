"""Each node knows the line of the user's code that made it, through every front door."""

from __future__ import annotations

import sys
import weakref

import numpy as np
import pytest

import autograd_ff as af
from autograd_ff import engine
from autograd_ff.engine import TensorCore
from autograd_ff.errors import AutogradError


def leaf(data, dtype=np.float64):
    return af.tensor(np.asarray(data, dtype=dtype), requires_grad=True)


def made_here(tensor, offset=0):
    """The tensor's node, and all those behind it that are not leaves, name the line of the caller."""
    line = sys._getframe(1).f_lineno + offset
    site = tensor.node.site
    assert site is not None, tensor.node
    assert (site.file, site.line) == (__file__, line), f"{tensor.node} says {site}, made at line {line}"
    return True


def test_every_front_door_names_the_line():
    a, b = leaf(np.full((2, 2), 0.5)), leaf(np.full((2, 2), 2.0))
    array = np.ones((2, 2))
    assert made_here(a + b)
    assert made_here(1.0 - a)
    assert made_here(a**2)
    assert made_here(a**3)
    assert made_here(2.0**a)
    assert made_here(-a)
    assert made_here(abs(a))
    assert made_here(a @ b)
    assert made_here(array @ a)
    assert made_here(array * a)
    assert made_here(np.float64(2.0) * a)
    assert made_here(a[0])
    assert made_here(a[[0, 1]])
    assert made_here(a[a > 0])
    assert made_here(np.exp(a))
    assert made_here(np.sum(a))
    assert made_here(np.where(array > 0, a, 0.0))
    assert made_here(np.concatenate([a, b]))
    assert made_here(np.modf(a)[0])
    assert made_here(a.exp())
    assert made_here(a.sum())
    assert made_here(a.mean())
    assert made_here(a.reshape(4))
    assert made_here(a.T)
    assert made_here(a.var())
    assert made_here(a.softmax(0))
    assert made_here(a.clone())
    assert made_here(a.to(af.float32))
    assert made_here(af.exp(a))
    assert made_here(af.stack([a, b]))
    assert made_here(af.cat([a, b]))
    assert made_here(af.where(a > 0, a, b))
    assert made_here(af.logsumexp(a, 0))
    assert made_here(next(iter(a)))
    assert made_here(engine.OPS["tanh"](a))
    for row in a:
        assert made_here(row, offset=-1)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_method_and_property_names_the_line():
    """All those that take nothing, a dimension, or another tensor, and return something tracked."""
    examined, wrong = set(), []
    for name in dir(af.Tensor):
        x = leaf(np.full((2, 2), 0.5)) * 1.0
        member = getattr(af.Tensor, name)
        if name.startswith("_") or name in ("backward", "detach_", "requires_grad_"):
            continue
        if not callable(member):
            result, line = getattr(x, name), sys._getframe().f_lineno
        else:
            for arguments in [(0,), (), (x,), (0.5,), (2, 0), (0, 1), (x, 0.5)]:
                try:
                    result, line = getattr(x, name)(*arguments), sys._getframe().f_lineno
                    break
                except (TypeError, ValueError, AttributeError, AutogradError):
                    continue
            else:
                continue
        for one in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(one, TensorCore) and one.requires_grad and one is not x:
                examined.add(name)
                site = one.node.site
                if site is None or (site.file, site.line) != (__file__, line):
                    wrong.append((name, one.node, site))
    assert not wrong
    assert len(examined) > 80, sorted(examined)


def test_writes_name_the_line_too():
    y = leaf(np.ones(4)) * 1.0
    y += 1.0
    assert made_here(y, -1)
    y[0] = 2.0
    assert made_here(y, -1)
    y[[0, 1]] *= 2.0
    assert made_here(y, -1)
    y[y > 0] = 1.0
    assert made_here(y, -1)
    y.copy_(af.ones(4))
    assert made_here(y, -1)
    view = y[1:]
    view *= 2.0
    assert made_here(view, -1)
    assert made_here(y, -2)
    view[0] = 3.0
    assert made_here(view, -1)
    y.mul_(2.0)
    assert made_here(y, -1)


def test_a_site_holds_no_frame(no_collector):
    class Big:
        pass

    def compute():
        local = Big()
        gone.append(weakref.ref(local))
        return leaf([1.0]) * 2.0, np.exp(leaf([1.0]) + 1.0)

    gone = []
    results = compute()
    assert gone[0]() is None
    assert "leaf([1.0]) * 2.0" in results[0].node.site.text


def test_the_backward_pass_names_the_line_of_the_forward_one():
    x = leaf([1.0])
    y, made = x.exp(), sys._getframe().f_lineno
    (dx,) = af.autograd.grad(y, x, create_graph=True)
    site = dx.node.site
    assert (site.file, site.line) == (__file__, made)
    assert dx.node.scope.kind == "backward"
