"""Which nodes stand in which box: the modules of a view as a picture draws them."""

from __future__ import annotations

from collections.abc import Iterator

from ..graph.view import GraphView, Module, Node

__all__ = ["Nesting"]


class Nesting:
    """The boxes of a view. A module around a single node is no box: the node's own label says as much.

    >>> view = GraphView((Node(0, "op", "exp", module=0), Node(1, "op", "log", module=0)),
    ...                  modules=(Module(0, "module", "fc1", "Linear"),))
    >>> [type(one).__name__ for one, depth in Nesting(view).walk()]
    ['Module', 'Node', 'Node', 'NoneType']
    """

    def __init__(self, view: GraphView) -> None:
        self._view = view
        self._children: dict[int | None, list[Module]] = {}
        self._inside: dict[int | None, list[Node]] = {}
        self._sizes = [0] * len(view.modules)
        for node in view.nodes:
            self._inside.setdefault(node.module, []).append(node)
            if node.module is not None:
                self._sizes[node.module] += 1
        for module in reversed(view.modules):  # children before parents
            if module.parent is not None:
                self._sizes[module.parent] += self._sizes[module.id]
        for module in view.modules:
            self._children.setdefault(module.parent, []).append(module)

    def box(self, module: int | None) -> int | None:
        """The innermost module around that is drawn as a box."""
        while module is not None and not self.is_box(module):
            module = self._view.modules[module].parent
        return module

    def is_box(self, module: int) -> bool:
        """Whether a box is drawn around a module."""
        one = self._view.modules[module]
        return self._sizes[module] > 1 or (one.count > 1 and self._sizes[module] > 0)

    def alone(self, node: Node) -> Module | None:
        """The outermost module that holds this node and nothing else, and has no box."""
        found, module = None, node.module
        while module is not None and not self.is_box(module):
            one = self._view.modules[module]
            found = one if one.kind == "module" else found
            module = one.parent
        return found

    def inside(self, module: int | None) -> list[Node]:
        """The nodes that belong to a module itself."""
        return self._inside.get(module, [])

    def walk(self) -> Iterator[tuple[Module | Node | None, int]]:
        """Boxes and nodes, outermost first, with their depth; None where the last box that was opened ends."""
        stack: list[tuple[Module | None, int, bool]] = [(None, 0, False)]
        while stack:
            module, depth, ends = stack.pop()
            if ends:
                yield None, depth
                continue
            inner = depth
            if module is not None and self.is_box(module.id):
                yield module, depth
                stack.append((None, depth, True))
                inner += 1
            key = None if module is None else module.id
            for node in self.inside(key):
                yield node, inner
            stack += [(child, inner, False) for child in reversed(self._children.get(key, []))]
