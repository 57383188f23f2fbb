"""Which module each node is in: the scopes that operations were recorded in, as modules of a view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autograd_ff.engine import Scope

from ..graph.enclosing import common_module
from ..graph.view import Module, Source
from .drafts import Draft
from .names import Names

__all__ = ["Homes"]


class Homes:
    """Makes modules of the scopes that the nodes were recorded in."""

    def __init__(self, names: Names, source: Callable[..., Source | None]) -> None:
        self.found: list[Module] = []
        self._names = names
        self._source = source
        self._ids: dict[Any, int] = {}
        self._calls: dict[tuple[str, str, bool], int] = {}

    def of(self, drafts: list[Draft]) -> list[int | None]:
        """For each draft the id of its innermost module."""
        places: dict[Draft, int | None] = {}
        run, running = 0, None
        for draft in drafts:
            if not draft.op:
                if draft.kind == "output" and draft.backward:  # a gradient stands where its rule does
                    places[draft] = common_module(
                        self.found, [places.get(link.source) for link in draft.incoming], ("module",)
                    )
            elif draft.scope is None and draft.backward:  # a sum of gradients from several places
                places[draft] = common_module(
                    self.found, [places.get(link.source) for link in draft.incoming], ("module",)
                )
            else:
                chain = [] if draft.scope is None else draft.scope.chain()
                first = next((at for at, scope in enumerate(chain) if scope.kind == "backward"), len(chain))
                rule = chain[first] if first < len(chain) else None
                if rule is not running:  # each stretch of work on one op's gradient is a module call of its own
                    run, running = run + 1, rule
                places[draft] = self._nested(chain, first, run, draft.backward)
        readers: dict[Draft, list[Draft]] = {}
        for draft in drafts:
            for link in draft.incoming:
                readers.setdefault(link.source, []).append(draft)
        for draft in drafts:
            if not draft.op and draft.kind not in ("input", "output"):
                places[draft] = self._home(draft, readers.get(draft, []), places)
        return [places.get(draft) for draft in drafts]

    def _nested(self, chain: list[Scope], first: int, run: int, going_back: bool) -> int | None:
        parent: int | None = None
        backward = first < len(chain) or going_back
        for at, scope in enumerate(chain):
            if at < first and backward and scope.kind != "module":
                continue  # the gradients of a composite stand in the module that called it
            key = (scope, backward, run if at >= first else 0)
            known = self._ids.get(key)
            if known is None:
                name = (scope.name, scope.kind, backward)
                known = self._ids[key] = len(self.found)
                self.found.append(
                    Module(
                        id=known,
                        kind=scope.kind,
                        name=scope.name,
                        type=scope.type,
                        parent=parent,
                        call=self._calls.get(name, 0),
                        detail=self._names.detail(scope.name, scope.type) if scope.kind == "module" else "",
                        source=self._source(scope.code, scope.offset, scope.parent),
                        backward=backward,
                    )
                )
                self._calls[name] = self._calls.get(name, 0) + 1
            parent = known
        return parent

    def _home(self, draft: Draft, readers: list[Draft], places: dict[Draft, int | None]) -> int | None:
        """The innermost module around all who read an array: the parameters of a shared module stand outside its calls."""
        forward = [reader for reader in readers if not reader.backward] or readers
        kinds = ("module", "backward") if draft.kind == "constant" and not draft.names else ("module",)
        return common_module(self.found, [places.get(reader) for reader in forward], kinds)
