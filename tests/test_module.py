"""Module and Parameter: registration, names, state dicts, hooks, copies."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections import OrderedDict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import nn
from autograd_ff.errors import AutogradError, DtypeError, GraphError, ModuleError, StateDictError


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(4, 3)
        self.fc2 = nn.Linear(3, 2)
        self.register_buffer("mean", af.zeros(4))

    def forward(self, x):
        return self.fc2(self.fc1(x - self.mean).relu())


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(3, 3, bias=False)
        self.decode = nn.Linear(3, 3, bias=False)
        self.decode.weight = self.encode.weight

    def forward(self, x):
        return self.decode(self.encode(x))


# ---------------------------------------------------------------- Parameter


def test_a_parameter_shares_the_memory_it_is_made_of():
    data = af.zeros(3)
    parameter = nn.Parameter(data)
    with af.no_grad():
        parameter[1] = 5.0
    assert data.tolist() == [0.0, 5.0, 0.0]
    assert parameter.requires_grad
    assert parameter.is_leaf
    assert not data.requires_grad


def test_a_parameter_of_a_tracked_tensor_is_a_leaf():
    tracked = af.ones(2, requires_grad=True) * 2
    assert nn.Parameter(tracked).is_leaf


def test_a_parameter_takes_the_given_dtype_and_refuses_to_train_integers():
    assert nn.Parameter(np.zeros(2)).dtype == np.float64
    assert nn.Parameter([1, 2]).dtype == np.float32
    with pytest.raises(GraphError, match="floating"):
        nn.Parameter(np.zeros(2, dtype=np.int64))
    assert not nn.Parameter(np.zeros(2, dtype=np.int64), requires_grad=False).requires_grad


def test_the_results_of_operations_on_a_parameter_are_tensors():
    assert type(nn.Parameter(af.ones(2)) * 2) is af.Tensor


def test_deepcopy_and_pickle_of_a_parameter():
    parameter = nn.Parameter(af.ones(2), requires_grad=True)
    (parameter * 3).sum().backward()
    for again in (copy.deepcopy(parameter), pickle.loads(pickle.dumps(parameter))):
        assert type(again) is nn.Parameter
        assert again.requires_grad
        assert again.is_leaf
        assert again.grad is None
        assert again.tolist() == [1.0, 1.0]
        assert not np.shares_memory(again.array, parameter.array)
    pair = [parameter, parameter]
    first, second = copy.deepcopy(pair)
    assert first is second


def test_the_repr_of_a_parameter():
    assert repr(nn.Parameter(af.ones(1))) == "Parameter containing:\ntensor([1.], requires_grad=True)"


# ---------------------------------------------------------------- registration


def test_assigning_registers_parameters_modules_and_buffers():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    assert [name for name, _ in net.named_buffers()] == ["mean"]
    assert [name for name, _ in net.named_children()] == ["fc1", "fc2"]
    assert [name for name, _ in net.named_modules()] == ["", "fc1", "fc2"]
    assert net.fc1.weight is dict(net.named_parameters())["fc1.weight"]


def test_prefix_and_recurse():
    net = Net()
    assert [name for name, _ in net.named_parameters(prefix="net", recurse=False)] == []
    assert next(net.named_parameters(prefix="net"))[0] == "net.fc1.weight"
    assert [name for name, _ in net.named_modules(prefix="net")] == ["net", "net.fc1", "net.fc2"]
    assert next(net.named_buffers(prefix="net"))[0] == "net.mean"


def test_a_shared_parameter_comes_once_unless_asked_for_twice():
    net = Tied()
    assert [name for name, _ in net.named_parameters()] == ["encode.weight"]
    assert [name for name, _ in net.named_parameters(remove_duplicate=False)] == ["encode.weight", "decode.weight"]
    assert len(list(net.parameters())) == 1


def test_a_shared_module_comes_once_unless_asked_for_twice():
    shared = nn.Linear(2, 2)
    net = nn.Sequential(shared, nn.ReLU(), shared)
    assert [name for name, _ in net.named_modules()] == ["", "0", "1"]
    assert [name for name, _ in net.named_modules(remove_duplicate=False)] == ["", "0", "1", "2"]
    assert [name for name, _ in net.named_children()] == ["0", "1"]
    assert len(list(net.modules())) == 3


def test_reassigning_changes_the_kind_of_an_attribute_cleanly():
    module = nn.Module()
    module.thing = 3
    module.thing = nn.Parameter(af.ones(1))
    assert "thing" not in module.__dict__
    assert dict(module.named_parameters()).keys() == {"thing"}
    del module.thing
    module.thing = nn.Linear(1, 1)
    assert dict(module.named_children()).keys() == {"thing"}
    module.thing = nn.Parameter(af.ones(1))
    assert not dict(module.named_children())
    module.thing = None
    assert module.thing is None
    assert not list(module.parameters())
    module.thing = nn.Parameter(af.zeros(1))
    assert len(list(module.parameters())) == 1


def test_assigning_to_a_buffer_keeps_it_a_buffer():
    net = Net()
    net.mean = af.ones(4)
    assert dict(net.named_buffers())["mean"] is net.mean
    with pytest.raises(ModuleError, match="buffer"):
        net.mean = 3.0
    net.mean = None
    assert not list(net.buffers())


def test_a_Buffer_registers_itself():
    module = nn.Module()
    module.kept = nn.Buffer(af.ones(2))
    module.passing = nn.Buffer(af.ones(2), persistent=False)
    assert list(module.state_dict()) == ["kept"]
    assert [name for name, _ in module.named_buffers()] == ["kept", "passing"]


def test_what_does_not_fit_a_name_is_refused():
    net = Net()
    with pytest.raises(TypeError, match="takes a Module or None"):
        net.fc1 = 3
    with pytest.raises(TypeError, match="takes a Parameter or None"):
        net.fc1.weight = af.zeros(3, 4)
    with pytest.raises(ModuleError, match="Parameter"):
        net.register_parameter("new", af.zeros(1))
    with pytest.raises(ModuleError, match="instance"):
        net.add_module("new", nn.Linear)
    with pytest.raises(ModuleError, match="Tensor"):
        net.register_buffer("new", np.zeros(1))
    with pytest.raises(ModuleError, match="dot"):
        net.register_parameter("a.b", nn.Parameter(af.zeros(1)))
    with pytest.raises(ModuleError, match="non-empty"):
        net.add_module("", nn.ReLU())
    with pytest.raises(KeyError, match="already"):
        net.register_buffer("forward", af.zeros(1))
    with pytest.raises(KeyError, match="already"):
        net.register_parameter("fc1", nn.Parameter(af.zeros(1)))


def test_a_computed_tensor_is_no_parameter():
    weight = nn.Parameter(af.ones(2))
    computed = weight * 2
    computed.__class__ = nn.Parameter
    with pytest.raises(GraphError, match="not a leaf"):
        nn.Module().register_parameter("computed", computed)


def test_forgetting_super_init_says_so():
    class Forgetful(nn.Module):
        def __init__(self, value) -> None:
            self.value = value

    for value in (nn.Linear(1, 1), nn.Parameter(af.ones(1)), nn.Buffer(af.ones(1))):
        with pytest.raises(AttributeError, match=r"super\(\).__init__\(\)"):
            Forgetful(value)
    with pytest.raises(ModuleError, match=r"super\(\).__init__\(\)"):
        Forgetful(3)(1)
    with pytest.raises(ModuleError, match=r"super\(\).__init__\(\)"):
        list(Forgetful(3).parameters())


def test_a_missing_attribute_is_an_attribute_error_that_python_can_suggest_from():
    net = Net()
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'fc3'") as caught:
        net.fc3
    assert (caught.value.name, caught.value.obj) == ("fc3", net)
    assert not hasattr(net, "fc3")
    assert {"fc1", "mean", "named_modules"} <= set(dir(net))


def test_deleting_attributes():
    net = Net()
    del net.fc1
    del net.mean
    net.plain = 1
    del net.plain
    assert [name for name, _ in net.named_modules()] == ["", "fc2"]
    assert list(net.state_dict()) == ["fc2.weight", "fc2.bias"]
    with pytest.raises(AttributeError):
        del net.nothing


def test_a_forward_that_is_missing_says_so():
    with pytest.raises(NotImplementedError, match="Module does not define forward"):
        nn.Module()()


def test_paths():
    net = nn.Sequential(Net(), nn.ReLU())
    assert net.get_submodule("0.fc1") is net[0].fc1
    assert net.get_submodule("") is net
    assert net.get_parameter("0.fc1.weight") is net[0].fc1.weight
    assert net.get_buffer("0.mean") is net[0].mean
    net.set_submodule("0.fc1", nn.Identity())
    assert isinstance(net[0].fc1, nn.Identity)
    with pytest.raises(AttributeError, match=r"'0.fc3'.*'0', a Net, has no child 'fc3'; it has 'fc1', 'fc2'"):
        net.get_submodule("0.fc3")
    with pytest.raises(AttributeError, match="Linear has 'weight', 'bias'"):
        net.get_parameter("0.fc2.wieght")
    with pytest.raises(AttributeError, match="no buffer"):
        net.get_buffer("0.fc2.weight")


# ---------------------------------------------------------------- changing all at once


def test_train_and_eval_reach_all_modules():
    net = nn.Sequential(Net(), nn.Dropout())
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    assert all(module.training for module in net.train().modules())
    with pytest.raises(ModuleError, match="True or False"):
        net.train("yes")


def test_apply_calls_children_first():
    seen = []
    net = Net()
    assert net.apply(lambda module: seen.append(type(module).__name__)) is net
    assert seen == ["Linear", "Linear", "Net"]


def test_requires_grad_and_zero_grad():
    net = Net()
    net(af.ones(2, 4)).sum().backward()
    gradient = net.fc2.bias.grad
    net.zero_grad(set_to_none=False)
    assert net.fc2.bias.grad.tolist() == [0.0, 0.0]
    assert np.shares_memory(net.fc2.bias.grad.array, gradient.array)
    net.zero_grad()
    assert all(parameter.grad is None for parameter in net.parameters())
    assert net.requires_grad_(False) is net
    assert not net(af.ones(2, 4)).requires_grad
    net.requires_grad_()
    assert net(af.ones(2, 4)).requires_grad


def test_dtypes_change_in_place_and_spare_integers():
    net = Net()
    net.register_buffer("count", af.tensor(3))
    weight = net.fc1.weight
    net(af.ones(2, 4)).sum().backward()
    assert net.double() is net
    assert net.fc1.weight is weight
    assert weight.dtype == weight.grad.dtype == np.float64
    assert net.mean.dtype == np.float64
    assert net.count.dtype == np.int64
    net.zero_grad()
    net(af.ones(2, 4, dtype=af.float64)).sum().backward()
    assert weight.grad.dtype == np.float64
    assert net.to("float32").fc1.bias.dtype == np.float32
    assert net.to(af.zeros(1, dtype=af.float64)).fc1.bias.dtype == np.float64
    assert net.to("cpu", af.float32).float().cpu() is net
    assert net.half().fc1.bias.dtype == np.float16
    with pytest.raises(AutogradError, match="cuda"):
        net.to("cuda")
    with pytest.raises(DtypeError, match="floating"):
        net.to(af.int64)


# ---------------------------------------------------------------- state dicts


def test_a_state_dict_shares_memory_and_is_detached():
    net = Net()
    state = net.state_dict()
    assert isinstance(state, OrderedDict)
    assert list(state) == ["mean", "fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    assert not any(tensor.requires_grad for tensor in state.values())
    assert np.shares_memory(state["fc1.weight"].array, net.fc1.weight.array)
    assert net.state_dict(keep_vars=True)["fc1.weight"] is net.fc1.weight
    assert next(iter(net.state_dict(prefix="net."))) == "net.mean"


def test_loading_writes_into_the_memory_that_is_there():
    net, other = Net(), Net()
    arrays = {name: tensor.array for name, tensor in net.state_dict(keep_vars=True).items()}
    result = net.load_state_dict(other.state_dict())
    assert repr(result) == "<All keys matched successfully>"
    for name, tensor in net.state_dict(keep_vars=True).items():
        assert tensor.array is arrays[name]
        assert np.array_equal(tensor.array, other.state_dict()[name].array)
        assert not np.shares_memory(tensor.array, other.state_dict()[name].array)


def test_loading_is_a_write_that_a_recorded_graph_notices():
    net = nn.Linear(2, 2)
    x = af.ones(1, 2, requires_grad=True)
    out = net(x).sum()
    net.load_state_dict(nn.Linear(2, 2).state_dict())
    with pytest.raises(AutogradError, match="modified in place"):
        out.backward()


def test_loading_takes_arrays_and_casts_to_the_modules_dtype():
    net = Net()
    state = {name: tensor.array.astype(np.float64) + 1 for name, tensor in net.state_dict().items()}
    net.load_state_dict(state)
    assert net.fc1.weight.dtype == np.float32
    assert np.allclose(net.mean.array, 1)


def test_loading_by_assign_takes_the_tensors_over():
    net, other = Net(), Net().double()
    net.fc1.bias.requires_grad = False
    net.load_state_dict(other.state_dict(), assign=True)
    assert net.fc1.weight.dtype == np.float64
    assert isinstance(net.fc1.weight, nn.Parameter)
    assert np.shares_memory(net.fc1.weight.array, other.fc1.weight.array)
    assert (net.fc1.weight.requires_grad, net.fc1.bias.requires_grad) == (True, False)
    assert np.shares_memory(net.mean.array, other.mean.array)


def test_non_persistent_buffers_are_not_state():
    net = nn.Module()
    net.register_buffer("scratch", af.zeros(1), persistent=False)
    assert not net.state_dict()
    net.register_buffer("scratch", af.zeros(1))
    assert list(net.state_dict()) == ["scratch"]


def test_a_state_dict_that_does_not_fit_is_shown_side_by_side_and_loads_nothing():
    net = Net()
    before = copy.deepcopy(net.state_dict())
    state = copy.deepcopy(Net().state_dict())
    state["fc1.wieght"] = state.pop("fc1.weight")
    state["fc2.weight"] = af.zeros(2, 5)
    with pytest.raises(StateDictError) as caught:
        net.load_state_dict(state)
    message = str(caught.value)
    for part in (
        "Net: 1 missing key, 1 unexpected key, 1 different shape. Nothing was loaded.",
        "test_module.py",
        "net.load_state_dict(state)",
        "fc1.weight  float32 (3, 4)   is it 'fc1.wieght' of the state dict?",
        "fc2.weight  (2, 3)  (2, 5)",
    ):
        assert part in message
    for name, tensor in net.state_dict().items():
        assert np.array_equal(tensor.array, before[name].array)


def test_without_strict_names_may_differ_and_shapes_may_not():
    net = Net()
    result = net.load_state_dict({"mean": af.ones(4), "other": af.ones(1)}, strict=False)
    assert result.missing_keys == ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    assert result.unexpected_keys == ["other"]
    assert net.mean.tolist() == [1.0] * 4
    assert "missing_keys" in repr(result)
    with pytest.raises(StateDictError, match=r"mean +\(4,\) +\(5,\)"):
        net.load_state_dict({"mean": af.ones(5)}, strict=False)


def test_a_prefix_on_all_names_is_recognised():
    state = {f"module.{name}": tensor for name, tensor in Net().state_dict().items()}
    with pytest.raises(StateDictError, match=r"removeprefix\('module.'\)"):
        Net().load_state_dict(state)


def test_what_is_no_tensor_is_named():
    with pytest.raises(StateDictError, match=r"not tensors:\n    mean +a str"):
        Net().load_state_dict({**Net().state_dict(), "mean": "four zeros"})
    with pytest.raises(StateDictError, match="a list"):
        Net().load_state_dict([1, 2])
    with pytest.raises(DtypeError, match="complex"):
        Net().load_state_dict({**Net().state_dict(), "mean": np.zeros(4, np.complex64)})


def test_hundreds_of_differences_are_not_all_listed():
    net = nn.Sequential(*(nn.Linear(1, 1) for _ in range(100)))
    with pytest.raises(StateDictError, match="200 missing keys") as caught:
        net.load_state_dict({})
    assert len(str(caught.value).splitlines()) < 40


@given(st.lists(st.integers(1, 4), min_size=2, max_size=5), st.booleans())
def test_state_survives_the_way_out_and_back(sizes, bias):
    def make():
        return nn.Sequential(*(nn.Linear(*pair, bias=bias) for pair in pairwise(sizes)))

    net, other = make(), make()
    other.load_state_dict(net.state_dict())
    x = af.randn(3, sizes[0])
    assert np.array_equal(net(x).detach().numpy(), other(x).detach().numpy())


# ---------------------------------------------------------------- copies


def test_a_deep_copy_is_independent_and_keeps_tied_weights_tied():
    net = Tied()
    net(af.ones(1, 3)).sum().backward()
    again = copy.deepcopy(net)
    assert again.encode.weight is again.decode.weight
    assert again.encode.weight is not net.encode.weight
    assert again.encode.weight.grad is None
    again(af.ones(1, 3)).sum().backward()
    assert np.allclose(again.encode.weight.grad.array, net.encode.weight.grad.array)
    with af.no_grad():
        again.encode.weight.copy_(af.zeros(3, 3))
    assert np.any(net.encode.weight.array)


def test_a_pickled_module_comes_back():
    net = Net()
    net(af.ones(1, 4))
    again = pickle.loads(pickle.dumps(net))
    x = af.randn(2, 4)
    assert np.array_equal(net(x).detach().numpy(), again(x).detach().numpy())
    tied = pickle.loads(pickle.dumps(Tied()))
    assert len(list(tied.parameters())) == 1


def test_loading_into_tied_weights_keeps_them_tied():
    net = Tied()
    net.load_state_dict(Tied().state_dict())
    assert net.encode.weight is net.decode.weight


def test_a_module_is_freed_without_the_garbage_collector():
    gc.collect()
    gc.disable()
    try:
        net = nn.Sequential(Net(), nn.ReLU())
        net(af.ones(2, 4)).sum().backward()
        watch = weakref.ref(net)
        inner = weakref.ref(net[0])
        del net
        assert watch() is None
        assert inner() is None
    finally:
        gc.enable()


# ---------------------------------------------------------------- hooks


def test_forward_hooks_see_and_replace():
    net = nn.Linear(2, 1)
    seen = []
    handle = net.register_forward_pre_hook(lambda module, args: (args[0] * 0,))
    first = net.register_forward_hook(lambda module, args, output: seen.append((module, args[0].tolist())))
    net.register_forward_hook(lambda module, args, output: output + 1)
    out = net(af.ones(1, 2))
    assert np.allclose(out.detach().numpy(), net.bias.array + 1)
    assert seen == [(net, [[0.0, 0.0]])]
    handle.remove()
    first.remove()
    first.remove()  # harmless
    assert not np.allclose(net(af.ones(1, 2)).detach().numpy(), net.bias.array + 1)
    assert len(seen) == 1


def test_hooks_with_keyword_arguments_and_prepended():
    class Scaled(nn.Module):
        def forward(self, x, scale=1.0):
            return x * scale

    module, order = Scaled(), []
    module.register_forward_pre_hook(lambda m, args, kwargs: (args, {"scale": 3.0}), with_kwargs=True)
    module.register_forward_hook(lambda m, args, kwargs, out: order.append(("second", kwargs)), with_kwargs=True)
    module.register_forward_hook(lambda m, args, out: order.append("first"), prepend=True)
    assert module(af.ones(1), scale=2.0).tolist() == [3.0]
    assert order == ["first", ("second", {"scale": 3.0})]


def test_a_hook_that_is_always_called_runs_after_an_error():
    module, seen = nn.Module(), []
    module.register_forward_hook(lambda m, args, out: seen.append("not me"))
    module.register_forward_hook(lambda m, args, out: seen.append(out), always_call=True)
    with pytest.raises(NotImplementedError):
        module()
    assert seen == [None]


def test_a_handle_is_a_context_manager():
    module, seen = nn.Identity(), []
    with module.register_forward_hook(lambda m, args, out: seen.append(1)):
        module(1)
    module(1)
    assert seen == [1]


def test_full_backward_hooks_see_and_replace_gradients():
    net = nn.Linear(2, 1, bias=False)
    seen = {}

    def before(module, grad_output):
        return (grad_output[0] * 2,)

    def after(module, grad_input, grad_output):
        seen.update(module=module, grad_input=grad_input[0].tolist(), grad_output=grad_output[0].tolist())
        return (grad_input[0] * 0 + 7,)

    net.register_full_backward_pre_hook(before)
    net.register_full_backward_hook(after)
    x = af.ones(1, 2, requires_grad=True)
    net(x).sum().backward()
    assert seen["module"] is net
    assert seen["grad_output"] == [[2.0]]
    assert np.allclose(seen["grad_input"], 2 * net.weight.array)
    assert x.grad.tolist() == [[7.0, 7.0]]
    assert net.weight.grad.tolist() == [[2.0, 2.0]]


def test_a_backward_hook_on_a_first_layer_and_none_for_what_is_not_tracked():
    net, seen = nn.Linear(2, 1), []
    handle = net.register_full_backward_hook(lambda m, grad_input, grad_output: seen.append((grad_input, grad_output)))
    net(af.ones(3, 2)).sum().backward()
    ((grad_input, grad_output),) = seen
    assert grad_input == (None,)
    assert grad_output[0].tolist() == [[1.0]] * 3
    handle.remove()
    net(af.ones(3, 2)).sum().backward()
    assert len(seen) == 1


def test_backward_hooks_of_several_inputs_and_outputs():
    class Pair(nn.Module):
        def forward(self, a, n, b):
            return a * n, n, a + b

    net, seen = Pair(), []
    net.register_full_backward_hook(lambda m, grad_input, grad_output: seen.append((grad_input, grad_output)))
    a, b = af.ones(2, requires_grad=True), af.ones(2, requires_grad=True)
    first, n, second = net(a, 3.0, b)
    assert n == 3.0
    (first.sum() + 10 * second.sum()).backward()
    ((grad_input, grad_output),) = seen
    assert [None if g is None else g.tolist() for g in grad_input] == [[13.0, 13.0], None, [10.0, 10.0]]
    assert [None if g is None else g.tolist() for g in grad_output] == [[1.0, 1.0], None, [10.0, 10.0]]
    assert a.grad.tolist() == [13.0, 13.0]


def test_backward_hooks_let_second_derivatives_through_and_keep_no_module_alive():
    gc.collect()
    gc.disable()
    try:
        net = nn.Tanh()
        net.register_full_backward_hook(lambda m, grad_input, grad_output: None)
        x = af.tensor([0.3], dtype=af.float64, requires_grad=True)
        y = net(x)
        (slope,) = af.autograd.grad(y.sum(), x, create_graph=True)
        (curvature,) = af.autograd.grad(slope.sum(), x)
        t = np.tanh(0.3)
        assert np.allclose(curvature.array, -2 * t * (1 - t * t))
        watch = weakref.ref(net)
        del net
        assert watch() is None
        graph = weakref.ref(y)
        del y, slope, curvature
        assert graph() is None
    finally:
        gc.enable()


def test_a_backward_hook_that_returns_too_many_gradients_is_told():
    net = nn.Identity()
    net.register_full_backward_hook(lambda m, grad_input, grad_output: (grad_input[0], None))
    out = net(af.ones(1, requires_grad=True))
    with pytest.raises(GraphError, match="1 gradients, it returned 2"):
        out.sum().backward()


# ---------------------------------------------------------------- repr, and PyTorch


def test_reprs_nest_and_take_several_lines_of_extra():
    class Wordy(nn.Module):
        def extra_repr(self) -> str:
            return "first=1\nsecond=2"

    assert repr(Wordy()) == "Wordy(\n  first=1\n  second=2\n)"
    assert repr(nn.Sequential()) == "Sequential()"
    assert repr(nn.Sequential(Wordy())) == "Sequential(\n  (0): Wordy(\n    first=1\n    second=2\n  )\n)"


@pytest.mark.torch
def test_names_repr_state_and_results_are_pytorchs():
    torch = pytest.importorskip("torch")

    def make(nn):
        class Block(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.fc = nn.Linear(3, 3)
                self.act = nn.GELU()

            def forward(self, x):
                return x + self.act(self.fc(x))

        class Network(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layers = nn.ModuleList([Block() for _ in range(2)])
                self.heads = nn.ModuleDict({"a": nn.Linear(3, 2), "b": nn.Sequential(nn.Tanh(), nn.Linear(3, 1))})

            def forward(self, x):
                for layer in self.layers:
                    x = layer(x)
                return self.heads["a"](x).sum() + self.heads["b"](x).sum()

        return Network()

    ours, theirs = make(nn), make(torch.nn)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [n for n, _ in ours.named_modules()] == [n for n, _ in theirs.named_modules()]
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict({name: torch.from_numpy(tensor.numpy()) for name, tensor in ours.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((5, 3), dtype=np.float32)
    out, expected = ours(af.from_numpy(x)), theirs(torch.from_numpy(x))
    assert out.item() == pytest.approx(expected.item(), rel=1e-5)
    out.backward()
    expected.backward()
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert np.allclose(one.grad.numpy(), other.grad.numpy(), rtol=1e-4, atol=1e-5), name
