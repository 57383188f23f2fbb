"""Sequential, ModuleList, ModuleDict, ParameterList, ParameterDict."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import nn
from autograd_ff.errors import DimensionError, ModuleError


def layers(count):
    return [nn.Linear(2, 2) for _ in range(count)]


# ---------------------------------------------------------------- Sequential


def test_a_sequential_runs_its_modules_in_order():
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
    x = af.ones(4, 3)
    assert np.array_equal(net(x).array, net[2](net[1](net[0](x))).array)
    assert nn.Sequential()(x) is x


def test_a_sequential_of_named_modules():
    net = nn.Sequential(OrderedDict([("first", nn.Linear(3, 2)), ("act", nn.ReLU())]))
    assert list(net.state_dict()) == ["first.weight", "first.bias"]
    assert net.first is net[0]
    assert isinstance(net[-1], nn.ReLU)


def test_a_list_given_to_sequential_says_how_to_write_it():
    with pytest.raises(ModuleError, match=r"Sequential\(\*modules\)"):
        nn.Sequential(layers(2))
    with pytest.raises(ModuleError, match="function"):
        nn.Sequential(lambda x: x)


@pytest.mark.parametrize("kind", [lambda modules: nn.Sequential(*modules), nn.ModuleList])
def test_what_both_numbered_containers_do(kind):
    a, b, c, d, e = layers(5)
    box = kind([a, b])
    assert box.append(c) is box
    assert box.insert(0, d) is box
    assert box.insert(-1, e) is box
    assert list(box) == [d, a, b, e, c]
    assert (len(box), box[-1], box[1]) == (5, c, a)
    assert list(box[1:3]) == [a, b]
    assert type(box[1:3]) is type(box)
    box[1] = e
    assert box[1] is e
    assert box.pop() is c
    assert box.pop(0) is d
    del box[0]
    assert list(box) == [b, e]
    assert [name for name, _ in box.named_children()] == ["0", "1"]
    del box[:1]
    assert list(box) == [e]
    box.extend([a, b])
    box += [c]
    assert list(box) == [e, a, b, c]
    assert list(box + kind([d])) == [e, a, b, c, d]
    assert len(list(box.parameters())) == 8
    for wrong in (4, -5):
        with pytest.raises(IndexError, match="no module"):
            box[wrong]
    with pytest.raises(DimensionError):
        box.insert(9, a)
    with pytest.raises(ModuleError):
        box.insert(0, 3)
    with pytest.raises(ModuleError):
        box.append("linear")
    with pytest.raises(ModuleError):
        box.extend(3)
    assert "0" not in dir(box)


@given(st.data())
def test_a_module_list_behaves_like_a_list(data):
    box, model = nn.ModuleList(), []
    for _ in range(data.draw(st.integers(0, 12))):
        action = data.draw(st.sampled_from(["append", "insert", "delete", "replace", "cut"]))
        module = nn.Identity()
        place = data.draw(st.integers(-len(model), max(len(model) - 1, 0))) if model else 0
        if action == "append":
            box.append(module)
            model.append(module)
        elif action == "insert":
            box.insert(place, module)
            model.insert(place, module)
        elif model and action == "delete":
            del box[place]
            del model[place]
        elif model and action == "replace":
            box[place] = module
            model[place] = module
        elif action == "cut":
            stop = data.draw(st.integers(0, 5))
            del box[place:stop]
            del model[place:stop]
        assert list(box) == model
        assert [name for name, _ in box.named_children()] == [str(i) for i in range(len(model))]


def test_sequentials_multiply():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    assert [type(one).__name__ for one in net * 2] == ["Linear", "ReLU"] * 2
    assert len(3 * net) == 6
    assert (net * 2)[0] is (net * 2)[2]
    with pytest.raises(ModuleError, match="not 0 times"):
        net * 0
    with pytest.raises(TypeError):
        net * 1.5
    with pytest.raises(TypeError):
        net + [nn.ReLU()]  # noqa: RUF005


# ---------------------------------------------------------------- ModuleList and ModuleDict


def test_lists_and_dicts_of_modules_do_not_run():
    with pytest.raises(ModuleError, match="Sequential"):
        nn.ModuleList(layers(1))(af.ones(1, 2))
    with pytest.raises(ModuleError, match="one of its modules"):
        nn.ModuleDict()(1)


def test_a_module_dict_is_a_dictionary():
    a, b, c = layers(3)
    box = nn.ModuleDict({"a": a})
    box["b"] = b
    box.update({"c": c})
    box.update([("a", b)])
    assert dict(box.items()) == {"a": b, "b": b, "c": c}
    assert list(box) == list(box.keys()) == ["a", "b", "c"]
    assert list(box.values()) == [b, b, c]
    assert "c" in box
    assert box.pop("c") is c
    assert "c" not in box
    assert box.get("c") is None
    assert box.get("a") is b
    del box["a"]
    assert len(box) == 1
    assert dict(nn.ModuleDict(box).items()) == {"b": b}
    with pytest.raises(KeyError, match=r"no module 'z'; there are \['b'\]"):
        box["z"]
    with pytest.raises(KeyError):
        del box["z"]
    with pytest.raises(ModuleError):
        box["bad"] = 3
    with pytest.raises(ModuleError):
        nn.ModuleDict(3)
    box.clear()
    assert not list(box.parameters())


def test_any_name_is_a_key_of_a_module_dict():
    box = nn.ModuleDict({"type": nn.Linear(1, 1), "keys": nn.Linear(1, 1), "forward": nn.ReLU()})
    assert list(box.keys()) == ["type", "keys", "forward"]
    assert "type.weight" in box.state_dict()
    assert box.get_parameter("keys.bias") is box["keys"].bias
    with pytest.raises(ModuleError, match="dot"):
        box["a.b"] = nn.ReLU()


def test_equal_neighbours_in_a_list_are_shown_once():
    box = nn.ModuleList([nn.Linear(1, 2), nn.Linear(1, 2), nn.ReLU()])
    assert repr(box) == ("ModuleList(\n  (0-1): 2 x Linear(in_features=1, out_features=2, bias=True)\n  (2): ReLU()\n)")
    assert repr(nn.ModuleList()) == "ModuleList()"


# ---------------------------------------------------------------- parameters


def test_a_parameter_list():
    kept = nn.Parameter(af.ones(1))
    box = nn.ParameterList([kept, af.zeros(2)])
    box.append(np.zeros(3, np.float32))
    box += [af.zeros(4)]
    assert box[0] is kept
    assert [one.shape for one in box] == [(1,), (2,), (3,), (4,)]
    assert box[-1].shape == (4,)
    assert [one.shape for one in box[1:3]] == [(2,), (3,)]
    box[1] = af.ones(5)
    assert [name for name, _ in box.named_parameters()] == ["0", "1", "2", "3"]
    assert all(isinstance(one, nn.Parameter) for one in box)
    assert "(1): Parameter containing: [float32 of shape (5,)]" in repr(box)
    with pytest.raises(IndexError):
        box[4]
    with pytest.raises(ModuleError):
        box.extend(af.ones(2))


def test_a_parameter_dict():
    box = nn.ParameterDict({"a": af.ones(1)})
    box["type"] = af.zeros(2)
    assert list(box) == list(box.keys()) == ["a", "type"]
    assert [one.shape for one in box.values()] == [one.shape for _, one in box.items()] == [(1,), (2,)]
    assert "type" in box
    assert list(box.state_dict()) == ["a", "type"]
    del box["a"]
    assert len(box) == 1
    assert "(type): Parameter" in repr(box)
    with pytest.raises(KeyError):
        box["a"]
