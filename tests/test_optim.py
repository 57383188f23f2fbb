"""The optimizers' numbers, options and state, against formulas written apart from them and against PyTorch."""

from __future__ import annotations

import copy
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optim_reference import REFERENCES, reference_run

from autograd_ff import engine, nn, optim
from autograd_ff.errors import AutogradError, DtypeError, OptimizerError, ShapeError, StateDictError
from autograd_ff.kernels import optimizers as kernels

KINDS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.05, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.01}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.7, 0.95), "eps": 1e-4, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.05, "amsgrad": True, "maximize": True}),
    ("Adam", {"lr": 0.05, "betas": (0.0, 0.0), "weight_decay": 0.1, "maximize": True}),
    ("AdamW", {"lr": 0.05}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.5, "amsgrad": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.02, "alpha": 0.9, "eps": 1e-5, "weight_decay": 0.1, "maximize": True}),
    ("RMSprop", {"lr": 0.02, "centered": True}),
    ("RMSprop", {"lr": 0.02, "momentum": 0.9}),
    ("RMSprop", {"lr": 0.02, "momentum": 0.9, "centered": True, "weight_decay": 0.01}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.2, "initial_accumulator_value": 0.3, "eps": 1e-4}),
    ("Adagrad", {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
]
SHAPES = [(4, 3), (3,), (), (2, 0), (5,)]


def leaf(values, requires_grad=True):
    tensor = engine.wrap(np.array(values))
    tensor.requires_grad = requires_grad
    return tensor


def fill(params, gradients):
    for param, gradient in zip(params, gradients, strict=True):
        param.grad = None if gradient is None else engine.wrap(np.array(gradient))


def draw_steps(seed, shapes, steps, dtype=np.float64, missing=0.0):
    rng = np.random.default_rng(seed)
    values = [np.asarray(rng.standard_normal(shape), dtype) for shape in shapes]
    gradients = [
        [None if rng.random() < missing else np.asarray(rng.standard_normal(shape), dtype) for shape in shapes]
        for _ in range(steps)
    ]
    return values, gradients


def run(optimizer, params, gradients):
    for step in gradients:
        fill(params, step)
        optimizer.step()


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize(("name", "options"), KINDS)
@given(seed=st.integers(0, 2**32 - 1), missing=st.sampled_from([0.0, 0.3, 0.7]))
@settings(max_examples=8, deadline=None)
def test_against_the_formulas_with_gradients_missing_at_random(name, options, seed, missing):
    values, gradients = draw_steps(seed, SHAPES, 12, missing=missing)
    params = [leaf(value) for value in values]
    optimizer = getattr(optim, name)(params, **options)
    run(optimizer, params, gradients)
    expected, states = reference_run(REFERENCES[name], values, gradients, optimizer.param_groups[0])
    for param, value, state in zip(params, expected, states, strict=True):
        # The centered form divides by the root of a small difference of large numbers.
        np.testing.assert_allclose(param.array, value, rtol=1e-12 if not options.get("centered") else 1e-7, atol=1e-13)
        if state or name != "Adagrad":  # which has a state from the beginning
            assert sorted(optimizer.state[param]) == sorted(state)
        for key, moment in state.items():
            np.testing.assert_allclose(optimizer.state[param][key].array, moment, rtol=1e-12, atol=1e-14)


@pytest.mark.torch
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "options"), KINDS)
def test_against_torch_step_by_step(name, options, dtype):
    torch = pytest.importorskip("torch")
    values, gradients = draw_steps(0, [(7, 5), (5,), (), (3, 2, 2)], 40, dtype, missing=0.2)
    params = [leaf(value) for value in values]
    theirs = [torch.tensor(value, requires_grad=True) for value in values]
    optimizer = getattr(optim, name)(params, **options)
    reference = getattr(torch.optim, name)(theirs, **options)
    centered = options.get("centered", False)
    rtol, atol = (2e-5, 2e-6) if dtype == np.float32 else (1e-12, 1e-12)
    if centered:
        rtol, atol = (2e-3, 2e-3) if dtype == np.float32 else (1e-9, 1e-9)
    for number, step in enumerate(gradients):
        rate = 0.01 + 0.001 * number  # options may change between steps
        optimizer.param_groups[0]["lr"] = reference.param_groups[0]["lr"] = rate
        fill(params, step)
        for param, gradient in zip(theirs, step, strict=True):
            param.grad = None if gradient is None else torch.tensor(gradient)
        optimizer.step()
        reference.step()
        for mine, their in zip(params, theirs, strict=True):
            np.testing.assert_allclose(mine.array, their.detach().numpy(), rtol=rtol, atol=atol)
            assert mine.array.dtype == dtype
            kept = {key: value for key, value in reference.state[their].items() if value is not None}
            assert sorted(optimizer.state[mine]) == sorted(kept)
            for key, value in kept.items():
                np.testing.assert_allclose(optimizer.state[mine][key].array, value.numpy(), rtol=rtol, atol=atol)


def planted(name, wrong, kernel=None):
    """Run an optimizer whose kernel was replaced; True where the comparison with the formulas notices."""
    values, gradients = draw_steps(1, SHAPES, 5)
    params = [leaf(value) for value in values]
    optimizer = getattr(optim, name)(params, lr=0.1)
    op = engine.OPS[kernel or f"{name.lower()}_update"]
    right, op.forward = op.forward, wrong(op.forward)
    try:
        run(optimizer, params, gradients)
    finally:
        op.forward = right
    expected, _ = reference_run(REFERENCES[name], values, gradients, optimizer.param_groups[0])
    return not all(np.allclose(p.array, e, rtol=1e-12, atol=1e-13) for p, e in zip(params, expected, strict=True))


def changed(**changes):
    """The kernel with some of its parameters wrong."""

    def wrong(forward):
        return lambda *arrays, **params: forward(
            *arrays, **{key: changes[key](value) if key in changes else value for key, value in params.items()}
        )

    return wrong


def test_planted_faults_are_caught():
    assert not planted("Adam", lambda forward: forward)
    assert not planted("RMSprop", lambda forward: forward)
    assert planted("Adam", changed(step=lambda step: step + 1))  # wrong bias correction
    assert planted("Adam", changed(eps=lambda eps: eps * 100))
    assert planted("Adam", changed(lr=lambda lr: lr * 1.0000001))
    assert planted("Adam", changed(beta2=lambda beta: beta * 0.999))
    assert planted("SGD", changed(maximize=lambda maximize: not maximize))
    assert planted("SGD", changed(weight_decay=lambda factor: factor + 0.001))
    assert planted("SGD", lambda forward: lambda *arrays, **params: forward(*arrays[:2], *arrays[:1:-1], **params))
    assert planted("RMSprop", changed(alpha=lambda alpha: alpha * 0.999))
    assert not planted("Adagrad", lambda forward: forward)
    assert planted("Adagrad", changed(initial=lambda initial: initial + 1e-6))
    assert planted("Adagrad", changed(lr=lambda lr: lr * 1.0000001))
    assert planted("Adam", lambda forward: lambda param, *arrays, **params: param)  # does nothing


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_chunks_do_not_show(name, options, monkeypatch):
    values, gradients = draw_steps(2, [(40, 7), (33,)], 4)
    results = []
    for size in (8 * 16, 1 << 19):
        monkeypatch.setattr(kernels, "CHUNK_BYTES", size)
        params = [leaf(value) for value in values]
        run(getattr(optim, name)(params, **options), params, gradients)
        results.append(np.concatenate([param.array.ravel() for param in params]))
    assert np.array_equal(*results)


def test_large_and_infinite_gradients_warn_of_nothing():
    for name, options in KINDS:
        p = leaf(np.ones(3, np.float32))
        optimizer = getattr(optim, name)([p], **options)
        p.grad = engine.wrap(np.array([1e30, np.inf, np.nan], np.float32))
        optimizer.step()
        assert np.isnan(p.array[2])


# ---------------------------------------------------------------- groups and options


def test_groups_have_options_of_their_own():
    a, b = leaf([1.0]), leaf([1.0])
    optimizer = optim.SGD([{"params": [a]}, {"params": b, "lr": 1.0, "maximize": True}], lr=0.1)
    fill([a, b], [[1.0], [1.0]])
    optimizer.step()
    assert (a.array, b.array) == (pytest.approx([0.9]), pytest.approx([2.0]))
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert optimizer.param_groups[1]["params"] == [b]


def test_a_group_added_in_the_middle_starts_at_step_one():
    a, b = leaf([1.0, 2.0]), leaf([3.0])
    optimizer = optim.Adam([a], lr=0.1)
    run(optimizer, [a], [[[1.0, 2.0]]] * 3)
    optimizer.add_param_group({"params": [b], "lr": 0.5})
    fill([a, b], [[1.0, 1.0], [2.0]])
    optimizer.step()
    assert optimizer.state[a]["step"].item() == 4
    assert optimizer.state[b]["step"].item() == 1
    assert b.array == pytest.approx([2.5])


def test_named_parameters():
    a, b = leaf([1.0]), leaf([1.0])
    optimizer = optim.SGD([("first", a), ("second", b)])
    assert optimizer.param_groups[0]["param_names"] == ["first", "second"]
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["first", "second"]
    with pytest.raises(OptimizerError, match="have no name"):
        optim.SGD([("first", a), b])
    with pytest.raises(OptimizerError, match="names"):
        optimizer.add_param_group({"params": [leaf([1.0])]})


def test_options_switched_on_later():
    """Momentum, amsgrad, centering: from the step on at which they are asked for."""
    for name, change in [
        ("SGD", {"momentum": 0.9}),
        ("Adam", {"amsgrad": True}),
        ("RMSprop", {"centered": True, "momentum": 0.5}),
    ]:
        p = leaf([1.0, 2.0])
        optimizer = getattr(optim, name)([p])
        run(optimizer, [p], [[[1.0, 2.0]]])
        keys = set(optimizer.state[p])
        optimizer.param_groups[0].update(change)
        run(optimizer, [p], [[[1.0, 2.5]]])
        assert keys < set(optimizer.state[p])
        assert np.isfinite(p.array).all()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("SGD", {"lr": -1}, "Invalid learning rate: -1"),
        ("SGD", {"momentum": -1}, "Invalid momentum value"),
        ("SGD", {"weight_decay": -1}, "Invalid weight_decay value"),
        ("SGD", {"nesterov": True}, "Nesterov momentum requires a momentum and zero dampening"),
        ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "zero dampening"),
        ("SGD", {"lr": "fast"}, "must be a number"),
        ("Adam", {"lr": float("nan")}, "Invalid learning rate"),
        ("Adam", {"eps": -1}, "Invalid epsilon value"),
        ("Adam", {"betas": (1.0, 0.9)}, "Invalid beta parameter at index 0"),
        ("Adam", {"betas": (0.9, -0.1)}, "Invalid beta parameter at index 1"),
        ("Adam", {"betas": 0.9}, "pair of numbers"),
        ("Adam", {"weight_decay": -1}, "Invalid weight_decay value"),
        ("AdamW", {"differentiable": True}, "not offered"),
        ("AdamW", {"lrr": 1}, "unknown argument 'lrr'"),
        ("RMSprop", {"alpha": -1}, "Invalid alpha value"),
        ("RMSprop", {"momentum": -1}, "Invalid momentum value"),
        ("Adagrad", {"lr_decay": -1}, "Invalid lr_decay value: -1"),
        ("Adagrad", {"initial_accumulator_value": -1}, "Invalid initial_accumulator_value value: -1"),
        ("Adagrad", {"eps": -1}, "Invalid epsilon value"),
    ],
)
def test_options_out_of_range(name, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        getattr(optim, name)([leaf([1.0])], **options)
    assert isinstance(caught.value, OptimizerError)
    assert "test_optim.py" in str(caught.value)


def test_what_is_no_list_of_parameters():
    p = leaf([1.0])
    with pytest.raises(ValueError, match="no parameters"):
        optim.SGD([])
    with pytest.raises(TypeError, match="not one Tensor"):
        optim.SGD(p)
    with pytest.raises(TypeError, match="set"):
        optim.SGD([{"params": {p}}])
    with pytest.raises(TypeError, match="parameter 1 is a float"):
        optim.SGD([p, 3.0])
    with pytest.raises(ValueError, match=r"non-leaf Tensor: parameter 0, of shape \(1,\), is the result of multiply"):
        optim.SGD([p * 2])
    with pytest.raises(ValueError, match="more than one parameter group"):
        optim.SGD([{"params": [p]}, {"params": [p]}])
    with pytest.raises(TypeError, match="dict"):
        optim.SGD([p]).add_param_group([leaf([1.0])])
    with pytest.raises(DtypeError, match="complex"):
        optim.SGD([leaf([1j])])


def test_a_group_that_was_refused_leaves_no_trace():
    p, other = leaf([1.0]), leaf([2.0])
    optimizer = optim.SGD([p])
    alias = engine.wrap(other.array)
    alias.requires_grad = True
    with pytest.raises(OptimizerError, match="two tensors on the same memory"):
        optimizer.add_param_group({"params": [other, alias]})
    assert len(optimizer.param_groups) == 1
    p.grad = engine.wrap(np.array([1.0]))
    optimizer.step()


def test_a_parameter_named_twice_is_updated_once():
    p = leaf([1.0])
    with pytest.warns(UserWarning, match="updated once"):
        optimizer = optim.SGD([p, p], lr=0.1)
    p.grad = engine.wrap(np.array([1.0]))
    optimizer.step()
    assert p.array == pytest.approx([0.9])


def test_hints_of_torch_are_accepted():
    adam = optim.Adam([leaf([1.0])], lr=0.25, foreach=True, fused=None, capturable=False, differentiable=False)
    sgd = optim.SGD([leaf([1.0])], lr=0.5, foreach=False, fused=True)
    assert [one.param_groups[0]["lr"] for one in (adam, sgd)] == [0.25, 0.5]


def test_repr_names_the_options():
    text = repr(optim.Adam([leaf(np.zeros((2, 3)))], lr=0.25))
    assert text.startswith("Adam (\nParameter Group 0: 1 parameters, 6 numbers")
    assert "\n    lr: 0.25\n" in text


# ---------------------------------------------------------------- gradients


def test_zero_grad():
    p, frozen = leaf([1.0, 2.0]), leaf([1.0])
    optimizer = optim.SGD([p, frozen])
    p.grad = engine.wrap(np.array([1.0, 1.0]))
    memory = p.grad.array
    before = engine.versions.version(memory)
    optimizer.zero_grad(set_to_none=False)
    assert memory.tolist() == [0.0, 0.0]
    assert engine.versions.version(memory) > before
    assert frozen.grad is None
    optimizer.zero_grad()
    assert p.grad is None


def test_zero_grad_of_a_gradient_that_cannot_be_written():
    p = leaf([1.0, 2.0])
    gradient = np.array([1.0, 1.0])
    gradient.flags.writeable = False
    p.grad = engine.wrap(gradient)
    optim.SGD([p]).zero_grad(set_to_none=False)
    assert p.grad.array.tolist() == [0.0, 0.0]
    assert gradient.tolist() == [1.0, 1.0]


def test_gradients_that_do_not_fit():
    good, p = leaf([1.0]), leaf(np.ones((2, 3)))
    optimizer = optim.SGD([{"params": [good]}, {"params": [p]}])
    good.grad = engine.wrap(np.ones(1))
    p._grad = engine.wrap(np.ones(3))  # would broadcast
    with pytest.raises(ShapeError, match=r"shape \(2, 3\) has a gradient of shape \(3,\)"):
        optimizer.step()
    p._grad = engine.wrap(np.ones((2, 3), np.float32))
    with pytest.raises(DtypeError, match="dtype float64 has a gradient of dtype float32"):
        optimizer.step()
    assert good.array.tolist() == [1.0]  # nothing was updated by halves


def test_gradients_of_any_layout():
    for layout in (np.asfortranarray, lambda g: np.repeat(g, 2, axis=0)[::2], lambda g: g[:, ::-1][:, ::-1]):
        p = leaf(np.zeros((3, 4)))
        gradient = np.arange(12.0).reshape(3, 4)
        p.grad = engine.wrap(layout(gradient))
        optim.SGD([p], lr=1.0).step()
        assert np.array_equal(p.array, -gradient)
        assert np.array_equal(p.grad.array, gradient)  # the gradient stays as it was


def test_the_gradient_is_left_alone():
    for name, options in KINDS:
        p = leaf([1.0, 2.0])
        p.grad = engine.wrap(np.array([3.0, 4.0]))
        getattr(optim, name)([p], **options).step()
        assert p.grad.array.tolist() == [3.0, 4.0]


def test_step_returns_what_the_closure_returns_and_records_in_it():
    p = leaf([3.0])
    optimizer = optim.SGD([p], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with engine.no_grad():
        loss = optimizer.step(closure)
    assert loss.item() == 9.0
    assert p.array == pytest.approx([0.0])
    assert optimizer.step() is None


def test_training_finds_the_minimum():
    rng = np.random.default_rng(0)
    x, true = rng.standard_normal((64, 4)), rng.standard_normal(4)
    y = x @ true
    for name, options in [
        ("SGD", {"lr": 0.1}),
        ("Adam", {"lr": 0.1}),
        ("RMSprop", {"lr": 0.01, "momentum": 0.5}),
        ("Adagrad", {"lr": 0.5}),
    ]:
        w = leaf(np.zeros(4))
        optimizer = getattr(optim, name)([w], **options)
        for _ in range(300):
            optimizer.zero_grad()
            error = x @ w - y
            (error * error).sum().backward(engine.wrap(np.array(1 / 64)))
            optimizer.step()
        assert np.abs(w.array - true).max() < 0.05, name


# ---------------------------------------------------------------- state


def test_state_is_readable_and_on_the_optimizers_memory():
    p, frozen = leaf([1.0, 2.0]), leaf([1.0])
    optimizer = optim.Adam([p, frozen])
    assert len(optimizer.state) == 0
    assert dict(optimizer.state[p]) == {}
    run(optimizer, [p, frozen], [[[1.0, 2.0], None]] * 2)
    assert list(optimizer.state) == [p]
    assert p in optimizer.state
    assert frozen not in optimizer.state
    assert optimizer.state[p]["step"].item() == 2
    optimizer.state[p]["exp_avg"].array[...] = 0.0
    assert optimizer.state_dict()["state"][0]["exp_avg"].array.tolist() == [0.0, 0.0]
    with pytest.raises(TypeError):
        optimizer.state[p]["exp_avg"] = p
    assert "exp_avg_sq" in repr(optimizer.state)


def test_adagrads_sum_starts_where_its_group_says():
    """Also of a parameter that moves to fresh memory, or is loaded, before it takes a step."""
    a, b, c = leaf([1.0, 2.0]), leaf([3.0]), leaf([4.0])
    optimizer = optim.Adagrad([{"params": [a, b]}, {"params": [c], "initial_accumulator_value": 2.0}], lr=0.1)
    assert len(optimizer.state) == 3
    assert [optimizer.state[p]["step"].item() for p in (a, b, c)] == [0, 0, 0]
    assert optimizer.state[c]["sum"].tolist() == [2.0]
    run(optimizer, [a, b, c], [[[1.0, 2.0], None, None]])
    a.array, b.array = a.array.copy(), b.array.copy()  # both move, one with a state and one without
    other_params = [leaf(p.array) for p in (a, b, c)]
    other = optim.Adagrad([{"params": other_params[:2]}, {"params": other_params[2:]}], lr=7.0)
    other.load_state_dict(optimizer.state_dict())
    for each, params in ((optimizer, (a, b, c)), (other, other_params)):
        run(each, params, [[[1.0, 2.0], [3.0], [4.0]]])
        assert [each.state[p]["sum"].tolist() for p in params] == [[2.0, 8.0], [9.0], [18.0]]
        assert params[2].array == pytest.approx([4.0 - 0.1 * 4 / math.sqrt(18)])


@pytest.mark.torch
def test_adagrads_state_before_its_first_step_goes_to_torch_and_back():
    torch = pytest.importorskip("torch")
    options = {"lr": 0.1, "initial_accumulator_value": 0.5}
    p, their = leaf([1.0, 2.0]), torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    optimizer, reference = optim.Adagrad([p], **options), torch.optim.Adagrad([their], **options)
    state = optimizer.state_dict()
    state["state"][0] = {key: torch.tensor(value.array) for key, value in state["state"][0].items()}
    optimizer.load_state_dict(reference.state_dict())
    reference.load_state_dict(state)
    their.grad = torch.tensor([3.0, 4.0], dtype=torch.float64)
    run(optimizer, [p], [[[3.0, 4.0]]])
    reference.step()
    np.testing.assert_allclose(p.array, their.detach().numpy(), rtol=1e-15)


def test_state_can_be_forgotten():
    p = leaf([1.0])
    optimizer = optim.Adam([p], lr=0.1)
    run(optimizer, [p], [[[1.0]], [[5.0]]])
    optimizer.state = {}
    assert not optimizer.state
    before = p.array.copy()
    run(optimizer, [p], [[[2.0]]])
    assert p.array == pytest.approx(before - 0.1)  # Adam's first step is lr
    with pytest.raises(OptimizerError, match="load_state_dict"):
        optimizer.state = {p: {}}


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_state_dict_continues_bit_for_bit(name, options):
    values, gradients = draw_steps(3, SHAPES, 10, np.float32, missing=0.3)
    params = [leaf(value) for value in values]
    optimizer = getattr(optim, name)(params, **options)
    run(optimizer, params, gradients[:5])
    saved = optimizer.state_dict()
    kept = copy.deepcopy(saved)
    copies = [leaf(param.array) for param in params]
    other = getattr(optim, name)([{"params": copies, "lr": 7.0}])
    other.load_state_dict(saved)
    assert other.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
    run(optimizer, params, gradients[5:])
    run(other, copies, gradients[5:])
    for param, one in zip(params, copies, strict=True):
        assert np.array_equal(param.array, one.array)
    for index, state in saved["state"].items():  # the snapshot is not written by later steps
        for key, value in state.items():
            assert np.array_equal(value.array, kept["state"][index][key].array)


def as_json(state_dict):
    """A state dict through JSON, as a checkpoint may store it."""
    plain = json.loads(json.dumps(state_dict, default=lambda value: value.array.tolist()))
    for state in plain["state"].values():
        for key, value in state.items():
            state[key] = np.array(value)
    return plain


def test_state_dict_survives_json():
    p = leaf([1.0, 2.0])
    optimizer = optim.Adam([p])
    run(optimizer, [p], [[[1.0, 3.0]]])
    q = leaf(p.array)
    other = optim.Adam([q])
    other.load_state_dict(as_json(optimizer.state_dict()))
    run(optimizer, [p], [[[1.0, 3.0]]])
    run(other, [q], [[[1.0, 3.0]]])
    assert np.array_equal(p.array, q.array)
    assert other.param_groups[0]["betas"] == (0.9, 0.999)


@pytest.mark.torch
@pytest.mark.parametrize(("name", "options"), KINDS)
def test_state_of_torch_loads_and_continues_and_back(name, options):
    torch = pytest.importorskip("torch")
    values, gradients = draw_steps(4, [(4, 3), (3,)], 8)
    theirs = [torch.tensor(value, requires_grad=True) for value in values]
    reference = getattr(torch.optim, name)(theirs, **options)

    def torch_run(steps, optimizer, params):
        for step in steps:
            for param, gradient in zip(params, step, strict=True):
                param.grad = torch.tensor(gradient)
            optimizer.step()

    torch_run(gradients[:4], reference, theirs)
    params = [leaf(param.detach().numpy().copy()) for param in theirs]
    optimizer = getattr(optim, name)(params)
    optimizer.load_state_dict(reference.state_dict())
    run(optimizer, params, gradients[4:6])
    torch_run(gradients[4:6], reference, theirs)
    # and back
    state = optimizer.state_dict()
    state["state"] = {
        index: {key: torch.tensor(value.array) for key, value in entry.items()}
        for index, entry in state["state"].items()
    }
    again = [torch.tensor(param.array, requires_grad=True) for param in params]
    returned = getattr(torch.optim, name)(again)
    returned.load_state_dict(state)
    torch_run(gradients[6:], returned, again)
    torch_run(gradients[6:], reference, theirs)
    for mine, their in zip(again, theirs, strict=True):
        tolerance = 1e-9 if options.get("centered") else 1e-12
        np.testing.assert_allclose(mine.detach(), their.detach(), rtol=tolerance, atol=tolerance)


def test_state_dicts_that_do_not_fit():
    p = leaf([1.0, 2.0])
    optimizer = optim.Adam([p])
    run(optimizer, [p], [[[1.0, 2.0]]])
    saved = optimizer.state_dict()
    with pytest.raises(StateDictError, match="number of parameter groups: 1, and the optimizer has 2"):
        optim.Adam([{"params": [leaf([1.0])]}, {"params": [leaf([1.0])]}]).load_state_dict(saved)
    with pytest.raises(StateDictError, match="1 parameters in group 0, and the optimizer has 2"):
        optim.Adam([leaf([1.0]), leaf([1.0])]).load_state_dict(saved)
    with pytest.raises(StateDictError, match=r"exp_avg of parameter 0 has shape \(2,\)"):
        optim.Adam([leaf([1.0])]).load_state_dict(saved)
    with pytest.raises(StateDictError, match="another optimizer's"):
        optim.SGD([leaf([1.0, 2.0])]).load_state_dict(saved)
    with pytest.raises(StateDictError, match='keys "state" and "param_groups"'):
        optimizer.load_state_dict({"model": 1})


def test_an_optimizer_of_ones_own():
    class Momentum(optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        def step(self, closure=None):
            with engine.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        buffer = self.state[p].setdefault("buffer", engine.wrap(np.zeros_like(p.array)))
                        buffer.array += p.grad.array
                        p.array -= group["lr"] * buffer.array

    p = leaf([1.0])
    p.grad = engine.wrap(np.array([1.0]))
    memory = p.array
    optimizer = Momentum([p], 0.1)
    optimizer.step()
    optimizer.step()
    assert p.array is memory
    assert p.array == pytest.approx([0.7])
    q = leaf([0.7])
    other = Momentum([q], 1.0)
    other.load_state_dict(optimizer.state_dict())
    q.grad = engine.wrap(np.array([1.0]))
    other.step()
    assert q.array == pytest.approx([0.4])
    assert optimizer.state[p]["buffer"].array == pytest.approx([2.0])  # a copy was loaded
    assert issubclass(OptimizerError, AutogradError)


# ---------------------------------------------------------------- copies


def test_deepcopy_is_apart():
    values, gradients = draw_steps(5, SHAPES, 6, missing=0.3)
    params = [leaf(value) for value in values]
    optimizer = optim.Adam(params, amsgrad=True)
    run(optimizer, params, gradients[:3])
    twin = copy.deepcopy(optimizer)
    copies = twin.param_groups[0]["params"]
    assert all(one is not param for one, param in zip(copies, params, strict=True))
    run(optimizer, params, gradients[3:])
    before = [param.array.copy() for param in params]
    run(twin, copies, gradients[3:])
    for one, param, value in zip(copies, params, before, strict=True):
        assert np.array_equal(one.array, param.array)
        assert np.array_equal(param.array, value)
        assert not np.shares_memory(one.array, param.array)
        assert math.isclose(twin.state[one]["step"].item(), optimizer.state[param]["step"].item())


def test_deepcopy_together_with_the_model():
    params = [leaf([1.0, 2.0]), leaf([3.0])]
    optimizer = optim.SGD(params, lr=0.1, momentum=0.9)
    run(optimizer, params, [[[1.0, 1.0], [1.0]]])
    for bundle in ({"model": params, "optimizer": optimizer}, {"optimizer": optimizer, "model": params}):
        twin = copy.deepcopy(bundle)
        assert all(
            one is param for one, param in zip(twin["optimizer"].param_groups[0]["params"], twin["model"], strict=True)
        )
        run(twin["optimizer"], twin["model"], [[[1.0, 1.0], [1.0]]])
        assert twin["model"][1].array == pytest.approx([2.9 - 0.19])
        assert params[1].array == pytest.approx([2.9])


def test_a_module_in_place_of_its_parameters():
    for wrong in (nn.Linear(2, 1), 3):
        with pytest.raises(OptimizerError, match=r"\.parameters\(\)"):
            optim.SGD(wrong, lr=0.1)
