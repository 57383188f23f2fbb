"""Pointers that say which memory they do not share.

A compiler has to assume that a store through one pointer may change what another one shows, so it either asks before each
loop or keeps everything in order. Kernels know better: operands in different memories do not overlap. Each pointer here
belongs to a scope, and its loads and stores tell LLVM (by ``alias.scope`` and ``noalias`` metadata) that they touch no
other scope's memory.
"""

from __future__ import annotations

import functools
from typing import Any

__all__ = ["pointer"]


@functools.cache
def _kind() -> Any:
    """The numba type, known to numba from the first call on."""
    import operator

    from numba.core import types
    from numba.core.datamodel import models, register_default
    from numba.core.imputils import impl_ret_borrowed, lower_builtin

    class ScopedPointer(types.CPointer):
        def __init__(self, dtype: Any, scope: int, scopes: int) -> None:
            super().__init__(dtype)
            self.name = f"{dtype}* in scope {scope} of {scopes}"
            self.scope, self.scopes = scope, scopes

        @property
        def key(self) -> Any:
            return self.dtype, self.scope, self.scopes

        def mark(self, module: Any, instruction: Any) -> None:
            domain = module.add_metadata(["autograd_ff"])
            scopes = [module.add_metadata([f"memory {number}", domain]) for number in range(self.scopes)]
            others = scopes[: self.scope] + scopes[self.scope + 1 :]
            instruction.set_metadata("alias.scope", module.add_metadata([scopes[self.scope]]))
            if others:
                instruction.set_metadata("noalias", module.add_metadata(others))

    register_default(ScopedPointer)(models.PointerModel)

    @lower_builtin(operator.getitem, ScopedPointer, types.Integer)
    def load(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        base, index = arguments
        loaded = builder.load(builder.gep(base, [index], inbounds=True))
        signature.args[0].mark(builder.module, loaded)
        return impl_ret_borrowed(context, builder, signature.return_type, loaded)

    @lower_builtin(operator.setitem, ScopedPointer, types.Integer, types.Any)
    def store(context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        base, index, value = arguments
        stored = builder.store(value, builder.gep(base, [index], inbounds=True))
        signature.args[0].mark(builder.module, stored)

    return ScopedPointer


def pointer(name: str, scope: int, scopes: int) -> Any:
    """A function of an address, for compiled code: the pointer there to numbers of numba's type ``name``."""
    from numba.core import types
    from numba.extending import intrinsic

    kind = _kind()(getattr(types, name), scope, scopes)

    def cast(context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(kind))

        return kind(types.int64), generate

    return intrinsic(cast)
