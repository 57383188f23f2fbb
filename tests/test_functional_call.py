"""A module run on other tensors than its own: what it computes, and that no trace is left in it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import nn, testing
from autograd_ff.errors import DtypeError, ModuleError, ShapeError, StateDictError
from autograd_ff.func import functional_call


class Tied(nn.Module):
    """One weight under two names, one layer under two names, a buffer."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.again = self.second
        self.scale = nn.Buffer(np.array(2.0, dtype=np.float32))

    def forward(self, x, shift=0.0):
        return self.again(self.second(self.first(x))) * self.scale + shift


class Counter(nn.Module):
    """Exchanges its buffer at each call, as running statistics may."""

    def __init__(self, fail=False):
        super().__init__()
        self.count = nn.Buffer(np.zeros(()))
        self.fail = fail

    def forward(self, x):
        self.count = self.count + 1
        if self.fail:
            raise ValueError("as asked")
        return x * self.count


def state(module):
    """All that could be disturbed: names and their order, identities, values."""
    members = [
        (name, id(store), list(store), [id(one) for one in store.values()])
        for name, one in module.named_modules()
        for store in (one._parameters, one._buffers, one._modules)
    ]
    return members, [list(one.__dict__) for one in module.modules()], [one.tolist() for one in module.parameters()]


def others(module, seed=0):
    """Random tracked tensors for all names of a module."""
    numbers = np.random.default_rng(seed)
    named = [*module.named_parameters(), *module.named_buffers()]
    return {name: af.tensor(numbers.normal(size=one.shape), requires_grad=True) for name, one in named}


def network():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


X = af.tensor(np.random.default_rng(1).normal(size=(5, 3)))


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**16),
    names=st.sets(st.sampled_from([name for name, _ in network().named_parameters()])),
    make=st.sampled_from([network, Tied]),
)
def test_as_if_the_values_were_loaded(seed, names, make):
    module, twin = make(), make()
    twin.load_state_dict(module.state_dict())
    given = others(module, seed)
    given = {name: one for name, one in given.items() if make is Tied or name in names}
    twin.load_state_dict(given, strict=False)
    before = state(module)
    out = functional_call(module, given, X)
    np.testing.assert_allclose(out.detach().numpy(), twin(X).detach().numpy(), rtol=1e-4, atol=1e-5)
    assert state(module) == before


def test_gradients_flow_to_what_the_tensors_were_made_of():
    module = network()
    base = others(module)
    before = state(module)
    functional_call(module, {name: 2 * one for name, one in base.items()}, (X,)).sum().backward()
    assert all(parameter.grad is None for parameter in module.parameters())
    assert all(one.grad is not None for one in base.values())
    assert state(module) == before

    def loss(*values):
        return functional_call(module, dict(zip(base, values, strict=True)), X)

    testing.assert_gradients(loss, tuple(base.values()), order=2)


def test_the_last_bias_gradient_by_hand():
    module = network()
    bias = af.zeros(2, requires_grad=True)
    functional_call(module, {"2.bias": bias}, X).sum().backward()
    assert bias.grad.tolist() == [5.0, 5.0]


@pytest.mark.parametrize("name", ["first.weight", "second.weight", "again.weight"])
def test_a_shared_parameter_is_replaced_under_all_its_names(name):
    module = Tied()
    weight = af.tensor(np.eye(3) * 2, dtype="float32")
    bias = af.zeros(3)
    out = functional_call(module, {name: weight, "first.bias": bias}, X.float())
    np.testing.assert_allclose(out.numpy(), 16 * X.numpy(), rtol=1e-5)
    assert module.first.weight is module.second.weight is module.again.weight


def test_untied_each_name_is_on_its_own():
    module = Tied()
    given = {"first.weight": af.eye(3), "first.bias": af.zeros(3)}
    out = functional_call(module, given, X.float(), tie_weights=False)
    own = module.first.weight.detach().numpy()
    np.testing.assert_allclose(out.detach().numpy(), 2 * X.numpy() @ own.T @ own.T, rtol=1e-4, atol=1e-5)
    given["second.weight"] = af.zeros(3, 3)
    assert not functional_call(module, given, X.float(), tie_weights=False).any()


def test_two_tensors_for_one_parameter():
    module = Tied()
    before = state(module)
    two = {"first.weight": af.eye(3), "second.weight": af.zeros(3, 3)}
    with pytest.raises(StateDictError, match=r"'first.weight' and 'second.weight' are one and the same parameter"):
        functional_call(module, two, X)
    same_place = {"again.weight": af.eye(3), "second.weight": af.zeros(3, 3)}
    with pytest.raises(StateDictError, match="one and the same place"):
        functional_call(module, same_place, X, tie_weights=False)
    one = af.eye(3)
    assert functional_call(module, {"first.weight": one, "second.weight": one}, X).shape == (5, 3)
    assert state(module) == before


def test_arguments():
    module = Tied()
    one, two = af.tensor([1.0, 2.0, 3.0]), af.tensor(10.0)
    plain = module(one)
    assert functional_call(module, {}, one).tolist() == plain.tolist()
    assert functional_call(module, {}, (one,)).tolist() == plain.tolist()
    np.testing.assert_allclose(functional_call(module, {}, (one, two)).tolist(), (plain + 10).tolist(), rtol=1e-6)
    np.testing.assert_allclose(
        functional_call(module, [{"scale": af.tensor(4.0)}], one, {"shift": two}).tolist(),
        (2 * plain + 10).tolist(),
        rtol=1e-6,
    )
    constant = nn.Module()
    constant.value = nn.Parameter(np.ones(2))
    constant.forward = lambda: constant.value * 3
    assert functional_call(constant, {"value": af.tensor([1.0, 2.0])}).tolist() == [3.0, 6.0]


def test_the_module_is_restored_after_an_error():
    module = network()
    before = state(module)
    with pytest.raises(ShapeError):
        functional_call(module, others(module), af.ones(2, 7))
    with pytest.raises(ShapeError):
        functional_call(module, {"0.weight": af.ones(4, 9)}, X)
    assert state(module) == before


@pytest.mark.parametrize("fail", [False, True])
def test_a_buffer_that_forward_exchanges_goes_to_the_dict(fail):
    module = Counter(fail)
    own = module.count
    given = {"count": af.tensor(5.0)}
    if fail:
        with pytest.raises(ValueError, match="as asked"):
            functional_call(module, given, af.ones(1))
    else:
        assert functional_call(module, given, af.ones(1)).tolist() == [6.0]
    assert given["count"].item() == 6.0
    assert module.count is own
    assert own.item() == 0.0


def test_calls_inside_calls():
    module = Counter()

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = module

        def forward(self, x):
            nested = functional_call(self.inner, {"count": af.tensor(100.0)}, x)
            return nested + self.inner(x)

    outer = Outer()
    before = state(outer)
    assert functional_call(outer, {"inner.count": af.tensor(10.0)}, af.ones(1)).tolist() == [112.0]
    assert state(outer) == before


def test_operations_know_the_same_module_names():
    module = network()
    names = [module(X.float()).node.scope.name, functional_call(module, others(module), X).node.scope.name]
    assert names == ["2", "2"]


def test_what_is_no_parameter():
    layer = nn.Linear(2, 1, bias=False)
    with pytest.raises(StateDictError, match=r"Linear has no parameter or buffer 'weihgt'; did you mean 'weight'\?"):
        functional_call(layer, {"weihgt": af.ones(1, 2)}, af.ones(2))
    with pytest.raises(StateDictError, match=r"has no parameter or buffer 'x.y'; it has 'weight', 'bias'"):
        functional_call(layer, {"x.y": af.ones(1, 2)}, af.ones(2))
    with pytest.raises(StateDictError, match="strict: 'bias' of Linear is not given"):
        functional_call(nn.Linear(2, 1), {"weight": af.ones(1, 2)}, af.ones(2), strict=True)
    with pytest.raises(StateDictError, match=r"strict: 'second.weight', 'again.weight' of Tied are not given"):
        functional_call(Tied(), others(Tied()), X, strict=True, tie_weights=False)
    assert functional_call(Tied(), others(Tied()), X, strict=True).shape == (5, 3)
    with pytest.raises(StateDictError, match="'weight' is in more than one of the dicts"):
        functional_call(layer, ({"weight": af.ones(1, 2)}, {"weight": af.ones(1, 2)}), af.ones(2))
    with pytest.raises(DtypeError, match="'weight' must be a Tensor, not a list"):
        functional_call(layer, {"weight": [[1.0, 2.0]]}, af.ones(2))
    with pytest.raises(DtypeError, match="takes a dict of tensors by name"):
        functional_call(layer, af.ones(2), af.ones(2))
    with pytest.raises(ModuleError, match=r"not a type. Give an instance"):
        functional_call(nn.Linear, {}, af.ones(2))


def test_a_place_that_is_empty_may_be_filled():
    layer = nn.Linear(2, 1, bias=False)
    out = functional_call(layer, {"weight": af.ones(1, 2), "bias": af.tensor([10.0])}, af.ones(2), strict=True)
    assert out.tolist() == [12.0]
    assert layer.bias is None


@pytest.mark.torch
def test_like_pytorch():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()
    given = others(network())
    out = functional_call(network(), given, X)
    out.sum().backward()
    leaves = {name: torch.tensor(one.detach().numpy(), requires_grad=True) for name, one in given.items()}
    expected = torch.func.functional_call(theirs, leaves, torch.tensor(X.numpy()))
    expected.sum().backward()
    np.testing.assert_allclose(out.detach().numpy(), expected.detach().numpy(), rtol=1e-10)
    for name, one in given.items():
        np.testing.assert_allclose(one.grad.numpy(), leaves[name].grad.numpy(), rtol=1e-10, atol=1e-12)
