"""Flat buffers: where parameters lie, and that nobody who replaces, shares or keeps their memory is surprised."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optim_reference import adam, reference_run

from autograd_ff import engine, optim
from autograd_ff.errors import InplaceError, OptimizerError, ShapeError
from autograd_ff.kernels import optimizers as kernels


def leaf(values, requires_grad=True):
    tensor = engine.wrap(np.asarray(values))
    tensor.requires_grad = requires_grad
    return tensor


def give_gradients(params, value=1.0):
    for param in params:
        param.grad = engine.wrap(np.full_like(param.array, value))


class Seen(engine.Observer):
    def __init__(self):
        self.names = []
        self.calls = []

    def op(self, op, inputs, params, outputs, node, scope):
        self.names.append(op.name)
        self.calls.append((op, inputs, dict(params), outputs))


def test_parameters_lie_in_one_array_for_each_dtype():
    shapes = [(2, 3), (), (0, 4), (3,)]
    params = [leaf(np.full(shape, position, np.float32)) for position, shape in enumerate(shapes)]
    double = leaf(np.ones(2))
    optimizer = optim.Adam([params[0], params[1], double, *params[2:]])
    flat = params[0].array.base
    assert flat.shape == (10,)
    for position, param in enumerate(params):
        assert param.array.base is flat
        assert param.array.shape == shapes[position]
        assert (param.array == position).all()
    assert double.array.base is not flat
    give_gradients([*params, double])
    with engine.observe(Seen()) as seen:
        optimizer.step()
    assert seen.names == ["adam_update"] * 2
    assert double.array == pytest.approx([0.999, 0.999])
    assert params[3].array == pytest.approx([2.999] * 3)


def test_observers_see_every_write_and_can_replay_it():
    params = [leaf(np.ones((2, 2))), leaf(np.ones(3))]
    optimizer = optim.Adam(params, weight_decay=0.1)
    give_gradients(params)
    optimizer.step()
    start = [
        np.array(array) for array in (params[0].array.base, *[optimizer.state[p]["exp_avg"].array for p in params])
    ]
    give_gradients(params, 2.0)
    with engine.observe(Seen()) as seen:
        optimizer.step()
    assert seen.names == ["adam_update"]
    assert seen.calls[-1][2]["step"] == 2
    # Playing the record a second time takes the same arrays one step further.
    for op, inputs, options, _ in seen.calls:
        if op.name == "adam_update":
            options["step"] += 1
        engine.apply_raw(op, tuple(inputs), options)
    expected, _ = reference_run(
        adam,
        [np.ones((2, 2)), np.ones(3)],
        [[np.full((2, 2), g), np.full(3, g)] for g in (1.0, 2.0, 2.0)],
        optimizer.param_groups[0],
    )
    for param, value in zip(params, expected, strict=True):
        np.testing.assert_allclose(param.array, value, rtol=1e-12)
    assert not np.array_equal(start[0], params[0].array.base)


def test_nothing_is_allocated_by_later_steps():
    params = [leaf(np.ones((100, 100), np.float32)), leaf(np.ones(100, np.float32))]
    optimizer = optim.Adam(params)
    give_gradients(params)
    optimizer.step()
    import tracemalloc

    tracemalloc.start()
    try:
        optimizer.step()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        optimizer.step()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 10_000  # the parameters take 40,400 bytes


def test_in_place_writes_of_others_are_followed():
    p = leaf(np.ones(3))
    optimizer = optim.SGD([p], lr=1.0)
    place = p.array
    p.array[...] = 5.0
    p.data.array += 1.0
    give_gradients([p])
    optimizer.step()
    assert p.array is place
    assert p.array.tolist() == [5.0] * 3


def test_an_alias_taken_before_the_first_step_sees_it():
    p = leaf(np.ones(3))
    optimizer = optim.SGD([p], lr=1.0)
    alias = p.detach()
    give_gradients([p])
    optimizer.step()
    assert alias.array.tolist() == [0.0] * 3


def test_replaced_data_is_taken_over_and_left_alone():
    p, q = leaf(np.ones(3)), leaf(np.ones(2))
    optimizer = optim.Adam([p, q], lr=0.1)
    give_gradients([p, q])
    optimizer.step()
    old = p.data
    kept = old.array.copy()
    new = np.full(3, 10.0)
    p.data = engine.wrap(new)
    optimizer.step()
    assert p.array == pytest.approx([9.9] * 3)
    assert new.tolist() == [10.0] * 3
    assert np.array_equal(old.array, kept)  # whoever kept the old memory still has the old values
    assert optimizer.state[p]["step"].item() == 2
    p.data = old  # and may put it back
    optimizer.step()
    assert p.array == pytest.approx(kept - 0.1)
    assert q.array == pytest.approx([0.7, 0.7])
    assert [optimizer.state[one]["step"].item() for one in (p, q)] == [3, 3]


def test_a_model_loaded_anew_is_one_array_again():
    params = [leaf(np.ones(3)), leaf(np.ones(2))]
    optimizer = optim.Adam(params)
    give_gradients(params)
    optimizer.step()
    for param in params:
        param.data = engine.wrap(np.zeros_like(param.array))
    with engine.observe(Seen()) as seen:
        optimizer.step()
    assert seen.names[-1] == "adam_update"
    assert seen.names.count("adam_update") == 1
    assert params[0].array.base is params[1].array.base


def test_swapped_data():
    p, q = leaf(np.full(2, 1.0)), leaf(np.full(2, 2.0))
    for optimizer in (optim.SGD([p, q], lr=0.5), optim.SGD([{"params": [p]}, {"params": [q]}], lr=0.5)):
        before = p.array.copy(), q.array.copy()
        p.data, q.data = q.data, p.data
        give_gradients([p, q])
        optimizer.step()
        assert np.array_equal(p.array, before[1] - 0.5)
        assert np.array_equal(q.array, before[0] - 0.5)


def test_two_optimizers_share_a_parameter():
    shared, own = leaf(np.ones(3)), leaf(np.ones(2))
    first = optim.SGD([own, shared], lr=0.1, momentum=0.9)
    second = optim.Adam([shared], lr=0.01)
    reference_shared, buffer = np.ones(3), np.zeros(3)
    moments: dict = {}
    for number in range(4):
        give_gradients([shared, own], 1.0 + number)
        first.step()
        second.step()
        gradient = np.full(3, 1.0 + number)
        buffer = gradient if number == 0 else 0.9 * buffer + gradient
        reference_shared = adam(reference_shared - 0.1 * buffer, gradient, moments, second.param_groups[0])
        np.testing.assert_allclose(shared.array, reference_shared, rtol=1e-12)
    assert second.state[shared]["step"].item() == 4


def test_tied_weights_once():
    w = leaf(np.ones((2, 2)))
    layers = {"encoder": w, "decoder": w}
    optimizer = optim.SGD(dict.fromkeys(layers.values()), lr=1.0)
    give_gradients([w])
    optimizer.step()
    assert w.array.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_two_tensors_on_the_same_memory_are_refused():
    memory = np.ones((4, 4))
    with pytest.raises(OptimizerError, match=r"parameters 0 and 2 are two tensors on the same memory"):
        optim.SGD([leaf(memory), leaf(np.ones(2)), leaf(memory[1])])
    p, q = leaf(np.ones(3)), leaf(np.ones(3))
    optimizer = optim.SGD([{"params": [p]}, {"params": [q]}])
    p.data = q.data
    give_gradients([p, q])
    with pytest.raises(OptimizerError, match="same memory"):
        optimizer.step()
    # Columns of one array interleave in memory and share none of it.
    columns = leaf(memory[:, :2]), leaf(memory[:, 2:])
    optim.SGD(list(columns))


def test_arrays_of_any_layout_and_read_only_ones():
    values = np.arange(6.0).reshape(2, 3)
    read_only = values.copy()
    read_only.flags.writeable = False
    for array in (np.asfortranarray(values), values.T.copy().T, np.repeat(values, 2, 1)[:, ::2], read_only):
        p = leaf(array)
        optimizer = optim.SGD([p], lr=1.0)
        give_gradients([p])
        optimizer.step()
        assert np.array_equal(p.array, values - 1)
        assert p.array.flags.c_contiguous
        assert p.array.flags.writeable
    assert np.array_equal(read_only, values)
    broadcast = leaf(np.broadcast_to(np.float64(2.0), (3,)))
    optimizer = optim.SGD([broadcast], lr=1.0)
    give_gradients([broadcast])
    optimizer.step()
    assert broadcast.array.tolist() == [1.0] * 3


def test_parameters_outlive_their_optimizer():
    p = leaf(np.ones(3))
    optimizer = optim.Adam([p], lr=0.5)
    give_gradients([p])
    optimizer.step()
    gone = weakref.ref(optimizer)
    gc.disable()
    try:
        del optimizer
        assert gone() is None  # no reference cycle
    finally:
        gc.enable()
    assert p.array == pytest.approx([0.5] * 3)
    (p * p).sum().backward()
    give_gradients([p])
    optim.SGD([p], lr=0.25).step()
    assert p.array == pytest.approx([0.25] * 3)


def test_a_graph_from_before_the_step_is_noticed():
    p = leaf(np.ones(3))
    optimizer = optim.SGD([p], lr=0.1)
    loss = (p * p).sum()
    give_gradients([p])
    optimizer.step()
    with pytest.raises(InplaceError, match="modified in place"):
        loss.backward()


def test_a_graph_on_replaced_data_stays_right():
    """The step moves a parameter whose data was replaced, and writes none of the memory that a graph may hold."""
    p = leaf(np.ones(3))
    optimizer = optim.SGD([p], lr=0.1)
    p.data = engine.wrap(np.full(3, 4.0))
    loss = (p * p).sum()
    give_gradients([p])
    optimizer.step()
    p.grad = None
    loss.backward()
    assert p.grad.array.tolist() == [8.0] * 3


def test_the_version_of_a_skipped_parameter_stays():
    p, skipped, q = leaf(np.ones(3)), leaf(np.ones(3)), leaf(np.ones(3))
    optimizer = optim.SGD([p, skipped, q], lr=0.1)
    loss = (skipped * skipped).sum()
    give_gradients([p, q])
    optimizer.step()
    loss.backward()  # its memory lies between those that were written
    assert skipped.grad.array.tolist() == [2.0] * 3


def test_a_leaf_that_was_a_view():
    base = engine.wrap(np.ones((2, 3)))
    row = base[0]
    row.requires_grad = True
    optimizer = optim.SGD([row], lr=1.0)
    (row * row).sum().backward()
    optimizer.step()
    assert row.array.tolist() == [-1.0] * 3
    (row * row).sum().backward()


def test_dtype_changed_afterwards():
    p, q = leaf(np.ones(3, np.float32)), leaf(np.ones(2, np.float32))
    optimizer = optim.Adam([p, q], lr=0.1)
    give_gradients([p, q])
    optimizer.step()
    for param in (p, q):
        param.data = engine.wrap(param.array.astype(np.float64))
    give_gradients([p, q])
    optimizer.step()
    assert p.array.dtype == np.float64
    assert optimizer.state[p]["exp_avg"].array.dtype == np.float64
    assert optimizer.state[p]["step"].item() == 2
    np.testing.assert_allclose(q.array, [0.8, 0.8], atol=1e-6)


def test_shape_changed_afterwards():
    p = leaf(np.ones(3))
    optimizer = optim.Adam([p], lr=0.1)
    p.data = engine.wrap(np.ones(4))  # before any step there is nothing to fit
    give_gradients([p])
    optimizer.step()
    assert p.array == pytest.approx([0.9] * 4)
    p.data = engine.wrap(np.ones(5))
    give_gradients([p])
    with pytest.raises(ShapeError, match=r"shape \(4,\), after 1 steps, was given data of shape \(5,\)"):
        optimizer.step()


def test_groups_edited_by_hand():
    p, q, late = leaf(np.ones(2)), leaf(np.ones(3)), leaf(np.ones(1))
    optimizer = optim.Adam([{"params": [p, q]}, {"params": [late], "lr": 0.5}], lr=0.1)
    give_gradients([p, q, late])
    optimizer.step()
    moved = optimizer.param_groups[0]["params"].pop(1)  # from one group to the other
    optimizer.param_groups[1]["params"].append(moved)
    optimizer.step()
    assert q.array == pytest.approx([0.4] * 3)
    assert p.array == pytest.approx([0.8] * 2)
    optimizer.param_groups[1]["params"].pop()
    optimizer.step()
    assert q.array == pytest.approx([0.4] * 3)
    optimizer.param_groups[0]["params"].append(q)  # it comes back with what was kept for it
    optimizer.step()
    assert optimizer.state[q]["step"].item() == 3
    assert optimizer.state[p]["step"].item() == 4
    assert q.array == pytest.approx([0.3] * 3)


def test_frozen_and_integer_parameters_stay():
    p, frozen, index = leaf(np.ones(2)), leaf(np.ones(2), requires_grad=False), leaf(np.arange(3), requires_grad=False)
    place = index.array
    optimizer = optim.AdamW([p, frozen, index], lr=0.1)
    give_gradients([p])
    optimizer.step()
    assert frozen.array.tolist() == [1.0, 1.0]
    assert index.array is place
    frozen.requires_grad = True
    give_gradients([p, frozen])
    optimizer.step()
    assert optimizer.state[frozen]["step"].item() == 1
    assert optimizer.state[p]["step"].item() == 2


@given(
    patterns=st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=12),
    replaced=st.lists(st.integers(0, 5), max_size=12),
)
@settings(max_examples=60, deadline=None)
def test_any_pattern_of_gradients_and_replacements(patterns, replaced):
    """Against a reference without flat buffers; what is skipped keeps value, moments and step count bit for bit."""
    shapes = [(2,), (), (3, 2), (0,), (1,), (4,)]
    rng = np.random.default_rng(0)
    values = [np.asarray(rng.standard_normal(shape)) for shape in shapes]
    params = [leaf(value.copy()) for value in values]
    optimizer = optim.AdamW(params, lr=0.1, amsgrad=True)
    states: list[dict] = [{} for _ in params]
    for number, pattern in enumerate(patterns):
        if number < len(replaced):
            param = params[replaced[number]]
            param.data = engine.wrap(param.array + 1.0)
            values[replaced[number]] = values[replaced[number]] + 1.0
        before = [(param.array.copy(), optimizer.state_dict()["state"].get(at)) for at, param in enumerate(params)]
        for at, (param, wanted) in enumerate(zip(params, pattern, strict=True)):
            param.grad = engine.wrap(np.asarray(rng.standard_normal(shapes[at]))) if wanted else None
        optimizer.step()
        after = optimizer.state_dict()["state"]
        for at, (param, wanted) in enumerate(zip(params, pattern, strict=True)):
            if wanted:
                values[at] = adam(values[at], param.grad.array, states[at], optimizer.param_groups[0])
                np.testing.assert_allclose(param.array, values[at], rtol=1e-12, atol=1e-13)
                assert after[at]["step"].item() == states[at]["step"]
                continue
            assert np.array_equal(param.array, before[at][0])
            assert (at in after) == (before[at][1] is not None)
            if at in after:
                assert all(np.array_equal(after[at][key].array, before[at][1][key].array) for key in after[at])


# ---------------------------------------------------------------- what a step says about itself, for whoever replays it


class Told(engine.Observer):
    """Keeps actions, questions and ops in their order."""

    def __init__(self):
        self.course = []

    def op(self, op, inputs, params, outputs, node, scope):
        self.course.append(("op", op, list(inputs), params))

    def host(self, action, arguments, result):
        self.course.append(("host", action, arguments, result))

    def depend(self, question, arguments, answer):
        self.course.append(("depend", question, arguments, answer))

    def replay(self):
        """Run the record again, with the numbers that its actions give now; False where an answer is another."""
        if any(kind == "depend" and one(*two) != three for kind, one, two, three in self.course):
            return False
        fresh = {}
        for kind, one, two, three in self.course:
            if kind == "host":
                fresh[id(three)] = one(*two)
            elif kind == "op":
                engine.apply_raw(one, tuple(two), fresh.get(id(three), three))
        return True


OPTIMIZERS = [
    (optim.SGD, {"lr": 0.1}),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    (optim.Adam, {"weight_decay": 0.1, "maximize": True}),
    (optim.AdamW, {"amsgrad": True}),
    (optim.RMSprop, {"momentum": 0.5, "centered": True}),
    (optim.Adagrad, {"lr_decay": 0.1, "initial_accumulator_value": 0.5}),
]


def told_twins(kind, options, steps=2):
    """Two optimizers in the same state, the second with the record of the last step."""
    twins = []
    for _ in range(2):
        params = [leaf(np.linspace(-1, 1, 6).reshape(2, 3)), leaf(np.ones(2))]
        optimizer = kind([{"params": params[:1]}, {"params": params[1:], "lr": 0.05}], **options)
        for step in range(steps):
            give_gradients(params, 1.0 + step)
            with engine.observe(Told()) as told:
                optimizer.step()
        twins.append((params, optimizer))
    return twins[0], twins[1], told


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_a_told_step_is_replayed_with_the_rates_and_counts_of_that_time(kind, options):
    (params, optimizer), (others, other), told = told_twins(kind, options)
    for number in range(5):
        for group, mine in zip(other.param_groups, optimizer.param_groups, strict=True):
            group["lr"] = mine["lr"] = 0.1 / (1 + number)
        give_gradients(params, 2.0)
        for param in others:  # the record holds the arrays of the gradients
            param.grad.array[...] = 2.0
        optimizer.step()
        assert told.replay()
        for param, one in zip(params, others, strict=True):
            assert param.array.tobytes() == one.array.tobytes()
            for key, value in optimizer.state[param].items():
                assert value.array.tobytes() == other.state[one][key].array.tobytes()
    assert optimizer.steps_taken == other.steps_taken == 7


def switch(**options):
    return lambda params, optimizer: optimizer.param_groups[0].update(options)


def append_group(params, optimizer):
    optimizer.add_param_group({"params": [leaf(np.ones(1))]})


def skip_one(params, optimizer):
    params[0].grad = None
    params[1].grad = None
    optimizer.param_groups[0]["params"] += optimizer.param_groups.pop()["params"]
    give_gradients(params[:1])
    optimizer.step()


CHANGES = {
    "amsgrad": switch(amsgrad=True),
    "maximize": switch(maximize=True),
    "weight decay": switch(weight_decay=0.1),
    "replaced data": lambda params, optimizer: setattr(params[0], "data", engine.wrap(np.zeros((2, 3)))),
    "a group more": append_group,
    "a parameter less": lambda params, optimizer: optimizer.param_groups[1]["params"].pop(),
    "other step counts": skip_one,
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_course_is_noticed_before_the_replay(change):
    _, (params, optimizer), told = told_twins(optim.Adam, {})
    assert told.replay()
    CHANGES[change](params, optimizer)
    layouts = [(layout, list(layout.placed)) for layout in optimizer._layouts]
    assert not told.replay()
    assert [(layout, list(layout.placed)) for layout in optimizer._layouts] == layouts  # to ask changes nothing


def test_what_changes_no_course_needs_no_new_record():
    _, (_, optimizer), told = told_twins(optim.Adam, {})
    for group in optimizer.param_groups:
        group.update(lr=0.5, betas=(0.8, 0.99), eps=1e-6, initial_lr=0.5, max_lr=1.0)
    leaf(np.ones(3)).requires_grad = False  # something was exchanged, elsewhere
    engine.restructured()
    assert told.replay()
    _, (_, optimizer), told = told_twins(optim.SGD, {"momentum": 0.9})
    optimizer.param_groups[0]["momentum"] = 0.8  # as OneCycleLR does
    assert told.replay()
    optimizer.param_groups[0]["momentum"] = 0.0
    assert not told.replay()


def test_the_first_step_with_momentum_is_another():
    _, (_, optimizer), told = told_twins(optim.SGD, {"momentum": 0.9}, steps=1)
    assert not told.replay()  # it would start the buffer anew
    optimizer.state = {}
    assert told.replay()


def test_what_was_loaded_counts_as_exchanged():
    _, (_, optimizer), _ = told_twins(optim.Adam, {})
    for action in (
        lambda: optimizer.load_state_dict(optimizer.state_dict()),
        lambda: optimizer.add_param_group({"params": [leaf(np.ones(1))]}),
        lambda: setattr(optimizer, "state", {}),
    ):
        before = engine.versions.structure
        action()
        assert engine.versions.structure > before


def test_an_optimizer_of_ones_own_depends_on_all_its_options():
    class Plain(optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {"lr": 0.1, "sizes": [1, 2], "schedule": len})

        def step(self):
            pass

    class Flat(optim.FlatOptimizer):
        def __init__(self, params):
            super().__init__(params, {"lr": 0.1})

        def _update(self, buffer, gradients, group):
            pass

    param = leaf(np.ones(2))
    give_gradients([param])
    plain, flat = Plain([param]), Flat([param])
    for optimizer, act in ((plain, plain.step), (flat, flat.step)):
        with engine.observe(Told()) as told:
            act()
        assert told.replay()
        optimizer.param_groups[0]["lr"] = 0.2
        assert not told.replay()
        optimizer.param_groups[0]["lr"] = 0.1
        assert told.replay()
    plain.param_groups[0]["sizes"].append(3)
    with engine.observe(Told()) as told:
        plain.step()
    assert told.replay()
    plain.param_groups[0]["sizes"].append(4)
    assert not told.replay()


@given(
    cuts=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    chunk=st.sampled_from([1, 7, 64, 1000]),
    small=st.sampled_from([1, 10, 1000]),
    kind=st.sampled_from(OPTIMIZERS),
    layout=st.sampled_from(["C", "F"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=80, deadline=None)
def test_how_gradients_are_cut_up_changes_no_bit(cuts, chunk, small, kind, layout, seed):
    """Each kernel on several gradients of any layout, and on the same numbers in one array; none is written."""
    rng = np.random.default_rng(seed)
    gradients = [np.asarray(rng.standard_normal((2, size)), np.float32, order=layout) for size in cuts]
    flat = np.concatenate([gradient.ravel() for gradient in gradients])
    kept = [gradient.copy() for gradient in gradients]
    param = leaf(rng.standard_normal(flat.size).astype(np.float32))
    param.grad = engine.wrap(flat)
    optimizer = kind[0]([param], **kind[1])
    optimizer.step()
    with engine.observe(Told()) as told:
        optimizer.step()
    (op, inputs, options) = next(one[1:] for one in told.course if one[0] == "op")
    scratch = op.inputs.index("scratch")
    usual, kernels.SMALL = kernels.SMALL, small
    try:
        results = []
        for pieces, size in ((gradients, chunk), ([flat], flat.size)):
            arrays = [np.array(one) for one in inputs[:scratch]]
            op.forward(*arrays, np.empty((2, size), np.float32), *pieces, **options)
            results.append([one.tobytes() for one in arrays])
    finally:
        kernels.SMALL = usual
    assert results[0] == results[1]
    for gradient, before in zip(gradients, kept, strict=True):
        assert np.array_equal(gradient, before)
