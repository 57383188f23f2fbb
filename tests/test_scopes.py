"""Every node knows the module that made it and the user's line, and the graph keeps no module alive."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

import autograd_ff as af
from autograd_ff import nn
from autograd_ff.engine import Observer, observe
from autograd_ff.engine.state import LOCAL
from autograd_ff.errors import AutogradError, ShapeError
from autograd_ff.nn.naming import ModuleScope


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(3, 3)
        self.act = nn.Sequential(nn.ReLU())

    def forward(self, x):
        return self.act(self.fc1(x))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.head(x) * 2


def nodes(tensor):
    found, stack = {}, [tensor.node]
    while stack:
        node = stack.pop()
        if node is not None and node.number not in found:
            found[node.number] = node
            stack.extend(node.parents)
    return [node for _, node in sorted(found.items()) if node.op.kind != "leaf"]


def names(tensor):
    return [(node.op.name, node.scope and node.scope.name) for node in nodes(tensor)]


def test_nodes_carry_qualified_names():
    assert names(Net()(af.ones(1, 3))) == [
        ("linear", "layers.0.fc1"),
        ("relu", "layers.0.act.0"),
        ("linear", "layers.1.fc1"),
        ("relu", "layers.1.act.0"),
        ("linear", "head"),
        ("multiply", "Net"),
    ]


def test_scopes_tell_kind_class_and_nesting():
    out = Net()(af.ones(1, 3))
    first = nodes(out)[0].scope
    assert [(one.kind, one.name, one.type) for one in first.chain()] == [
        ("module", "Net", "Net"),
        ("module", "layers.0", "Block"),
        ("module", "layers.0.fc1", "Linear"),
    ]
    assert all(isinstance(one, ModuleScope) and one.module is None for one in first.chain())


def test_each_node_names_the_users_line():
    net = Net()
    out = net(af.ones(1, 3))
    found = [node.site.text for node in nodes(out)]
    assert found[0] == found[2] == "return self.act(self.fc1(x))"
    assert found[1] == found[3] == "return self.act(self.fc1(x))"
    assert found[4] == found[5] == "return self.head(x) * 2"
    stack = nn.Sequential(nn.Linear(3, 3))
    out = stack(af.ones(1, 3))
    assert nodes(out)[0].site.text == "out = stack(af.ones(1, 3))"


def test_a_module_called_by_itself_is_a_root():
    net = Net()
    assert names(net.layers[0](af.ones(1, 3))) == [("linear", "fc1"), ("relu", "act.0")]
    assert names(net.head(af.ones(1, 3))) == [("linear", "Linear")]


def test_operations_outside_of_modules_have_no_scope():
    out = nn.Linear(3, 3)(af.ones(1, 3)) * 2
    assert nodes(out)[-1].scope is None


def test_a_shared_module_goes_by_its_first_name():
    shared = nn.Linear(3, 3)
    net = nn.Sequential(shared, nn.ReLU(), shared)
    assert names(net(af.ones(1, 3))) == [("linear", "0"), ("relu", "1"), ("linear", "0")]


def test_a_module_shared_by_two_networks_is_named_by_the_one_that_runs():
    shared = nn.Linear(3, 3)
    first, second = nn.Sequential(shared), nn.Sequential(nn.ReLU(), shared)
    x = af.ones(1, 3)
    assert names(first(x)) == [("linear", "0")]
    assert names(second(x))[-1] == ("linear", "1")
    assert names(first(x)) == [("linear", "0")]


def test_names_follow_changes_of_the_structure():
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.old = nn.Linear(3, 3)

        def forward(self, x):
            return (self.old if "old" in self._modules else self.new)(x)

    net, x = Outer(), af.ones(1, 3)
    assert names(net(x)) == [("linear", "old")]
    layer = net.old
    del net.old
    net.new = layer
    assert names(net(x)) == [("linear", "new")]
    stack = nn.Sequential(layer)
    assert names(stack(x)) == [("linear", "0")]
    stack.insert(0, nn.Identity())
    assert names(stack(x)) == [("linear", "1")]
    del stack[0]
    assert names(stack(x)) == [("linear", "0")]
    named = nn.ModuleDict({"a": layer})
    named["b"] = named.pop("a")
    assert next(iter(named.named_parameters()))[0] == "b.weight"


def test_a_module_that_belongs_to_an_outer_one_is_named_from_there():
    class Borrower(nn.Module):
        def __init__(self, lent) -> None:
            super().__init__()
            self.held = [lent]  # a plain list: not registered here

        def forward(self, x):
            return self.held[0](x)

    class Owner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lent = nn.Linear(3, 3)
            self.borrower = Borrower(self.lent)

        def forward(self, x):
            return self.borrower(x)

    owner, x = Owner(), af.ones(1, 3)
    assert names(owner(x)) == [("linear", "lent")]
    assert [one.name for one in nodes(owner(x))[0].scope.chain()] == ["Owner", "borrower", "lent"]
    assert names(Borrower(nn.Linear(3, 3))(x)) == [("linear", "Linear")]  # nobody's: a root of its own


def test_composites_inside_modules_do_not_hide_them():
    class Squashed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x):
            with af.engine.scope("composite", "squash", "squash"):
                return self.fc(x)

    assert names(Squashed()(af.ones(1, 3))) == [("linear", "fc")]


def test_an_error_names_the_line_of_the_call():
    net = nn.Sequential(nn.Linear(4, 2))
    with pytest.raises(ShapeError, match=r"test_scopes.py:\d+: net\(af.ones\(1, 3\)\)"):
        net(af.ones(1, 3))


def test_an_error_in_a_users_forward_names_that_line():
    class Wrong(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, x):
            return self.fc(x)

    with pytest.raises(AutogradError, match=r"test_scopes.py:\d+: return self.fc\(x\)"):
        Wrong()(af.ones(1, 3))


def test_an_error_restores_the_scope():
    net = Net()
    with pytest.raises(ShapeError):
        net(af.ones(1, 5))
    assert LOCAL.state.scope is None
    assert names(net(af.ones(1, 3)))[0] == ("linear", "layers.0.fc1")


def test_the_graph_keeps_no_module_alive():
    gc.collect()
    gc.disable()
    try:
        net = Net()
        out = net(af.ones(1, 3))
        watches = [weakref.ref(module) for module in net.modules()]
        del net
        assert [watch() for watch in watches] == [None] * len(watches)
        assert names(out)[0] == ("linear", "layers.0.fc1")
        graph = weakref.ref(out)
        del out
        assert graph() is None
    finally:
        gc.enable()


def test_threads_name_their_own_modules():
    net, results = Net(), {}

    def work(which):
        results[which] = [names((net if which % 2 else net.layers[1])(af.ones(1, 3))) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(which,)) for which in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for which, found in results.items():
        assert all(one[0] == ("linear", "layers.0.fc1" if which % 2 else "fc1") for one in found)


def test_observers_see_the_scope_also_without_grad():
    class Watch(Observer):
        def __init__(self) -> None:
            self.seen = []

        def op(self, op, inputs, params, outputs, node, scope):
            self.seen.append((op.name, scope.name if scope else None))

    net = Net()
    x = af.ones(1, 3)
    with af.no_grad(), observe(Watch()) as watch:
        net(x)
    assert watch.seen[0] == ("linear", "layers.0.fc1")
    assert watch.seen[-1] == ("multiply", "Net")


def test_the_backward_pass_of_a_module_knows_it_too():
    net = nn.Sequential(nn.Linear(3, 3))
    x = af.ones(1, 3, requires_grad=True)
    (gradient,) = af.autograd.grad((net(x) ** 2).sum(), x, create_graph=True)
    scopes = {node.scope.name: node.scope for node in nodes(gradient) if node.scope and node.scope.kind == "backward"}
    assert [one.name for one in scopes["linear"].chain()] == ["Sequential", "0", "linear"]


def test_an_error_names_the_innermost_module_once():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 3), nn.Linear(5, 2))])

        def forward(self, x):
            return self.blocks[0](x)

    with pytest.raises(af.errors.ShapeError) as caught:
        Net()(af.ones(2, 4))
    assert caught.value.__notes__ == ["  in the module blocks.0.1 (Linear)"]
    with pytest.raises(af.errors.ShapeError) as caught:
        nn.Linear(5, 2)(af.ones(2, 4))
    assert caught.value.__notes__ == ["  in the module Linear"]
