"""`Module`: the base of every layer and network."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from ..engine import TensorCore, here, no_grad, restructured, wrap
from ..engine.inplace import assign
from ..engine.node import Leaf
from ..engine.state import LOCAL
from ..engine.versions import retire
from ..errors import DtypeError, GraphError, ModuleError, StateDictError
from ..functions.conversion import check_device
from ..functions.dtypes import as_dtype
from ..functions.tensor import Tensor
from .hooks import Hook, ModuleHooks, Passage, RemovableHandle, add
from .naming import ModuleScope, Paths, children_changed, qualified_path
from .parameter import Buffer, Parameter
from .state import IncompatibleKeys, difference, plain_array

__all__ = ["Module"]

M = TypeVar("M", bound="Module")
_new = object.__new__
_getframe = sys._getframe


_IN_MODULE = "  in the module "


def _name_module(error: Exception, scope: ModuleScope) -> None:
    """Add the innermost running module's name to an error, under its message in the traceback."""
    if not any(note.startswith(_IN_MODULE) for note in getattr(error, "__notes__", ())):
        error.add_note(f"{_IN_MODULE}{scope.name} ({scope.type})" if scope.path else f"{_IN_MODULE}{scope.type}")


class Module:
    """The base class of layers and networks.

    A subclass calls ``super().__init__()``, assigns its parameters and child modules to attributes, which registers
    them, and defines ``forward``. Calling the module runs ``forward`` and the hooks around it, and names the module to
    every operation recorded inside (``node.scope.name``, such as ``"encoder.layers.0"``).

    Attributes:
        training: whether the module is in training mode; set it by `train` and `eval`.

    >>> import autograd_ff as af
    >>> from autograd_ff import nn
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.hidden = nn.Linear(4, 3)
    ...         self.out = nn.Linear(3, 2)
    ...     def forward(self, x):
    ...         return self.out(self.hidden(x).relu())
    >>> net = Net()
    >>> net
    Net(
      (hidden): Linear(in_features=4, out_features=3, bias=True)
      (out): Linear(in_features=3, out_features=2, bias=True)
    )
    >>> net(af.ones(5, 4)).shape
    (5, 2)
    >>> [name for name, parameter in net.named_parameters()]
    ['hidden.weight', 'hidden.bias', 'out.weight', 'out.bias']
    """

    # Whether children and parameters are found by module[name] alone, so that "type" or "keys" is a name like others.
    _names_are_keys = False

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _non_persistent_buffers_set: set[str]
    _modules: dict[str, Any]
    _paths: Paths
    _hooks: ModuleHooks | None  # None until the first is registered

    def __init__(self) -> None:
        # Through __dict__, past the __setattr__ below, which needs these to exist.
        own = self.__dict__
        own["training"] = True
        own["_parameters"] = {}
        own["_buffers"] = {}
        own["_non_persistent_buffers_set"] = set()
        own["_modules"] = {}
        own["_paths"] = Paths()
        own["_hooks"] = None

    # ---------------------------------------------------------------- running

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes. Every subclass defines it; callers call the module, not this."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward()")

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run `forward` on the arguments, with the hooks before and after it."""
        # Written for speed: this runs for every layer of every step.
        state = LOCAL.state
        outer = state.scope
        frame = _getframe(1)
        scope = _new(ModuleScope)
        scope.kind = "module"
        scope.type = kind = self.__class__.__name__
        scope.path = path = "" if outer is None else qualified_path(self, outer)
        scope.name = path or kind
        scope.code = frame.f_code
        scope.offset = frame.f_lasti
        scope.parent = outer
        scope.module = self
        state.scope = scope
        if state.observers is not None:
            for observer in state.observers:
                observer.enter(scope)
        try:
            if self._hooks is None:
                return self.forward(*args, **kwargs)
            return self._call_with_hooks(self._hooks, args, kwargs)
        except Exception as error:
            _name_module(error, scope)
            raise
        finally:
            state.scope = outer
            scope.module = None

    def _call_with_hooks(self, hooks: ModuleHooks, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for hook in list(hooks.forward_pre.values()):
            if hook.with_kwargs:
                replaced = hook.function(self, args, kwargs)
                if replaced is not None:
                    if not isinstance(replaced, tuple) or len(replaced) != 2:
                        raise ModuleError(f"a forward pre-hook with_kwargs must return None or (args, kwargs).{here()}")
                    args, kwargs = replaced
            else:
                replaced = hook.function(self, args)
                if replaced is not None:
                    args = replaced if isinstance(replaced, tuple) else (replaced,)
        back = None
        if (hooks.backward or hooks.backward_pre) and LOCAL.state.grad_enabled:
            back = Passage(self, hooks)
            args = back.enter(args)
        called: set[int] = set()
        result = None
        try:
            result = self.forward(*args, **kwargs)
            for key, hook in list(hooks.forward.items()):
                called.add(key)
                result = self._after(hook, args, kwargs, result)
        except Exception:
            for key, hook in list(hooks.forward.items()):
                if hook.always_call and key not in called:
                    result = self._after(hook, args, kwargs, result)
            raise
        return result if back is None else back.leave(result)

    def _after(self, hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
        replaced = hook.function(self, args, kwargs, result) if hook.with_kwargs else hook.function(self, args, result)
        return result if replaced is None else replaced

    # ---------------------------------------------------------------- attributes

    def __getattr__(self, name: str) -> Any:
        # Reached only for what is no plain attribute.
        own = self.__dict__
        if "_modules" in own:
            parameters = own["_parameters"]
            if name in parameters:
                return parameters[name]
            modules = own["_modules"]
            if name in modules:
                return modules[name]
            buffers = own["_buffers"]
            if name in buffers:
                return buffers[name]
            error = ModuleError(f"{type(self).__name__!r} object has no attribute {name!r}")
        elif name in Module.__annotations__:
            raise self._uninitialised(f"use {type(self).__name__}")
        else:
            error = ModuleError(f"{type(self).__name__!r} object has no attribute {name!r}")
        error.name, error.obj = name, self  # Python's traceback suggests the nearest attribute from these
        raise error

    def _let_go(self, name: str) -> None:
        """Note that what goes by this name is about to be exchanged, for those whose work rests on it."""
        restructured()
        for store in ("_parameters", "_buffers", "_modules"):
            member = self.__dict__.get(store, {}).get(name)
            if member is not None:
                retire(member)

    def __setattr__(self, name: str, value: Any) -> None:
        self._let_go(name)
        own = self.__dict__
        ready = "_modules" in own
        if isinstance(value, Parameter):
            if not ready:
                raise self._uninitialised(f"assign the parameter {name!r}")
            self._forget(name, but="_parameters")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            if not ready:
                raise self._uninitialised(f"assign the module {name!r}")
            self._refuse_if_registered(name, value, "_parameters")
            self._forget(name, but="_modules")
            own["_modules"][name] = value
            children_changed()
        elif isinstance(value, Buffer):
            if not ready:
                raise self._uninitialised(f"assign the buffer {name!r}")
            self._refuse_if_registered(name, value, "_parameters", "_modules")
            self._forget(name, but="_buffers")
            self.register_buffer(name, value, value.persistent)
        elif ready and name in own["_parameters"]:
            self._refuse_if_registered(name, value, "_parameters")
            own["_parameters"][name] = None
        elif ready and name in own["_modules"]:
            self._refuse_if_registered(name, value, "_modules")
            own["_modules"][name] = None
            children_changed()
        elif ready and name in own["_buffers"]:
            if value is not None and not isinstance(value, TensorCore):
                self._refuse_if_registered(name, value, "_buffers")
            own["_buffers"][name] = value
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        self._let_go(name)
        own = self.__dict__
        for store in ("_parameters", "_buffers", "_modules"):
            if name in own.get(store, ()):
                del own[store][name]
                own["_non_persistent_buffers_set"].discard(name)
                if store == "_modules":
                    children_changed()
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        registered = [*self._parameters, *self._buffers, *self._modules] if "_modules" in self.__dict__ else []
        return sorted({*super().__dir__(), *(name for name in registered if name.isidentifier())})

    def _uninitialised(self, wish: str) -> ModuleError:
        return ModuleError(
            f"cannot {wish} before super().__init__() was called.{here()}\n"
            f"  Make super().__init__() the first line of {type(self).__name__}.__init__."
        )

    def _refuse_if_registered(self, name: str, value: Any, *stores: str) -> None:
        expected = {"_parameters": "a Parameter", "_modules": "a Module", "_buffers": "a Tensor"}
        for store in stores:
            if value is not None and name in self.__dict__[store]:
                kind = store[1:-1]
                raise ModuleError(
                    f"cannot assign a {type(value).__name__} to {name!r}, which is a {kind} of {type(self).__name__}; "
                    f"it takes {expected[store]} or None.{here()}\n  Remove the {kind} first: del module.{name}."
                )

    def _forget(self, name: str, but: str = "") -> None:
        """Remove whatever else goes by this name."""
        own = self.__dict__
        if name in own:
            del own[name]
        for store in ("_parameters", "_buffers", "_modules"):
            if store != but and name in own[store]:
                del own[store][name]
                own["_non_persistent_buffers_set"].discard(name)
                if store == "_modules":
                    children_changed()

    def _check_name(self, name: Any, kind: str, store: str) -> None:
        if isinstance(name, str):
            self._let_go(name)
        if "_modules" not in self.__dict__:
            raise self._uninitialised(f"register the {kind} {name!r}")
        if not isinstance(name, str) or not name or "." in name:
            raise ModuleError(f"the name of a {kind} must be a non-empty string without a dot, not {name!r}.{here()}")
        if not self._names_are_keys and name not in self.__dict__[store] and hasattr(self, name):
            raise ModuleError(f"{type(self).__name__} has an attribute {name!r} already.{here()}")

    # ---------------------------------------------------------------- registering

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under a name; None holds the place of one that this instance does without."""
        self._check_name(name, "parameter", "_parameters")
        if param is not None and not isinstance(param, Parameter):
            raise ModuleError(
                f"{name!r} must be a Parameter or None, not a {type(param).__name__}.{here()}\n"
                "  Wrap the tensor: nn.Parameter(tensor)."
            )
        if param is not None and not param.is_leaf:
            raise GraphError(
                f"the parameter {name!r} is the result of {param.grad_fn.op.name}, not a leaf, so it cannot be "  # type: ignore[union-attr]
                f"trained.{here()}\n  Make it from a detached tensor, and compute with it in forward()."
            )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that belongs to the module's state without being trained, such as a running mean.

        Args:
            name: the attribute under which it is found.
            tensor: the buffer; None holds its place.
            persistent: whether it is part of `state_dict`.
        """
        self._check_name(name, "buffer", "_buffers")
        if tensor is not None and not isinstance(tensor, TensorCore):
            raise ModuleError(f"the buffer {name!r} must be a Tensor or None, not a {type(tensor).__name__}.{here()}")
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_module(self, name: str, module: Module | None) -> None:
        """Add a child module under a name, as assigning it to an attribute does."""
        self._check_name(name, "module", "_modules")
        if module is not None and not isinstance(module, Module):
            instead = " Give an instance, not the class." if isinstance(module, type) else ""
            raise ModuleError(f"the child {name!r} must be a Module, not a {type(module).__name__}.{instead}{here()}")
        self._modules[name] = module
        children_changed()

    add_module = register_module

    # ---------------------------------------------------------------- looking around

    def _named_members(
        self, store: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, member in getattr(module, store).items():
                if member is None or id(member) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(member))
                yield f"{path}.{name}" if path else name, member

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters and their qualified names, ``("encoder.0.weight", parameter)``.

        Args:
            prefix: what to put before each name.
            recurse: whether to include the modules below this one.
            remove_duplicate: whether a shared parameter comes once only, under its first name.
        """
        return self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, each once."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers and their qualified names."""
        return self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct children and their names, each child once."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """The direct children, each once."""
        for _, module in self.named_children():
            yield module

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it with their qualified names, this one's being ``prefix``.

        Args:
            memo: modules to leave out; those that come are added to it.
            prefix: what to put before each name.
            remove_duplicate: whether a shared module comes once only, under its first name.
        """
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        for _, module in self.named_modules():
            yield module

    def get_submodule(self, target: str) -> Module:
        """The module at a path such as ``"encoder.layers.0"``; this one for ``""``.

        Raises:
            ModuleError: there is none.
        """
        module: Any = self
        done: list[str] = []
        for name in target.split(".") if target else ():
            child = module._modules.get(name)
            if child is None:
                where = f"{'.'.join(done)!r}, a {type(module).__name__}," if done else type(module).__name__
                raise ModuleError(
                    f"there is no module {target!r}: {where} has no child {name!r}; it has "
                    f"{', '.join(map(repr, module._modules)) or 'none'}.{here()}"
                )
            module = child
            done.append(name)
        return module

    def set_submodule(self, target: str, module: Module) -> None:
        """Put ``module`` in the place of the one at a path such as ``"encoder.layers.0"``."""
        path, _, name = target.rpartition(".")
        self.get_submodule(target)
        setattr(self.get_submodule(path), name, module)

    def _get_member(self, target: str, store: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        found = module.__dict__[store].get(name)
        if found is None:
            there = [one for one, value in module.__dict__[store].items() if value is not None]
            raise ModuleError(
                f"there is no {store[1:-1]} {target!r}: {type(module).__name__} has {', '.join(map(repr, there)) or 'none'}."
                f"{here()}"
            )
        return found

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path such as ``"encoder.layers.0.weight"``."""
        return self._get_member(target, "_parameters")

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a path such as ``"encoder.norm.running_mean"``."""
        return self._get_member(target, "_buffers")

    # ---------------------------------------------------------------- changing all at once

    def apply(self: M, fn: Callable[[Module], None]) -> M:
        """Call ``fn`` on every module below this one, then on this one; returns this one.

        >>> from autograd_ff import nn
        >>> def start_at_zero(module):
        ...     if isinstance(module, nn.Linear):
        ...         nn.init.zeros_(module.bias)
        >>> net = nn.Sequential(nn.Linear(2, 2)).apply(start_at_zero)
        >>> net[0].bias
        Parameter containing:
        tensor([0., 0.], requires_grad=True)
        """
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self: M, mode: bool = True) -> M:
        """Set training mode on this module and all below it: dropout drops, running statistics run."""
        if not isinstance(mode, bool):
            raise ModuleError(f"train() takes True or False, not {mode!r}.{here()}")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self: M) -> M:
        """Set evaluation mode, ``train(False)``. It does not stop recording; `no_grad` does."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Freeze all parameters, or unfreeze them."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters; with ``set_to_none=False`` write zeros into them instead."""
        for parameter in self.parameters():
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad = parameter.grad.detach()
                assign(parameter.grad, 0)

    def _cast(self: M, dtype: np.dtype[Any], floating: bool = True) -> M:
        """All parameters and buffers in another dtype; with ``floating``, only those that hold floating numbers."""
        tensors: list[Any] = [*self.parameters(), *self.buffers()]
        for tensor in tensors:
            if tensor.array.dtype == dtype or (floating and tensor.array.dtype.kind not in "fc"):
                continue
            gradient = tensor._grad
            restructured()
            tensor.array = tensor.array.astype(dtype)
            if isinstance(tensor.node, Leaf):
                tensor.node.dtype = dtype
            if gradient is not None:
                tensor._grad = wrap(gradient.array.astype(dtype))
        return self

    def to(self: M, *args: Any, dtype: Any = None, device: Any = None, non_blocking: bool = False) -> M:
        """The module with its floating parameters and buffers in another dtype, changed in place.

        Args:
            args: a dtype, ``"cpu"``, or a Tensor whose dtype to take; several of them in any order.
            dtype, device: the same by name. There is no device but ``"cpu"``.

        >>> from autograd_ff import nn
        >>> nn.Linear(2, 2).to("float64").weight.dtype
        dtype('float64')
        """
        for value in args:
            if isinstance(value, TensorCore):
                dtype = value.array.dtype
            elif isinstance(value, str) and not hasattr(np, value):
                device = value
            elif value is not None and not isinstance(value, bool):
                dtype = value
        check_device(device)
        if dtype is None:
            return self
        wanted = as_dtype(dtype)
        if wanted.kind not in "fc":
            raise DtypeError(f"a module is moved to a floating dtype only, not to {wanted}.{here()}")
        return self._cast(wanted)

    def float(self: M) -> M:
        """All floating parameters and buffers as float32."""
        return self._cast(np.dtype(np.float32))

    def double(self: M) -> M:
        """All floating parameters and buffers as float64."""
        return self._cast(np.dtype(np.float64))

    def half(self: M) -> M:
        """All floating parameters and buffers as float16."""
        return self._cast(np.dtype(np.float16))

    def type(self: M, dst_type: Any) -> M:
        """All parameters and buffers as ``dst_type``."""
        return self._cast(as_dtype(dst_type), floating=False)

    def cpu(self: M) -> M:
        """The module itself: it is in main memory already."""
        return self

    # ---------------------------------------------------------------- hooks

    def _registered_hooks(self) -> ModuleHooks:
        if self._hooks is None:
            self._hooks = ModuleHooks()
        return self._hooks

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before forward. What it returns, if anything, replaces the arguments.

        Args:
            prepend: call it before the hooks that are there already.
            with_kwargs: call ``hook(module, args, kwargs)``, which returns None or ``(args, kwargs)``.
        """
        return add(self._registered_hooks().forward_pre, Hook(hook, with_kwargs), prepend)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after forward. What it returns, if anything, replaces the output.

        Args:
            prepend: call it before the hooks that are there already.
            with_kwargs: call ``hook(module, args, kwargs, output)``.
            always_call: call it also where forward raised; ``output`` is then None.
        """
        return add(self._registered_hooks().forward, Hook(hook, with_kwargs, always_call), prepend)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` before the gradient goes back through the module.

        ``grad_output`` has one entry for each output. What the hook returns, if anything, replaces it.
        """
        return add(self._registered_hooks().backward_pre, Hook(hook), prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` when the gradients of the module's inputs are known.

        The tuples have one entry for each positional argument and each output, None where there is no gradient. What
        the hook returns, if anything, replaces ``grad_input``.
        """
        return add(self._registered_hooks().backward, Hook(hook), prepend)

    # ---------------------------------------------------------------- state

    def state_dict(
        self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> OrderedDict[str, Tensor]:
        """All parameters and persistent buffers by qualified name.

        The tensors are detached and share the module's memory: training on changes them. For a snapshot, take
        ``copy.deepcopy(module.state_dict())``.

        Args:
            destination: a mapping to fill instead of a new one.
            prefix: what to put before each name.
            keep_vars: give the parameters themselves rather than detached tensors.

        >>> from autograd_ff import nn
        >>> {name: tensor.shape for name, tensor in nn.Linear(3, 2).state_dict().items()}
        {'weight': (2, 3), 'bias': (2,)}
        """
        destination = OrderedDict() if destination is None else destination
        for name, tensor in self._own_state():
            destination[prefix + name] = tensor if keep_vars else wrap(tensor.array)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        return destination

    def _own_state(self) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self._parameters.items():
            if parameter is not None:
                yield name, parameter
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers_set:
                yield name, buffer

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy the values of a state dict into the module's parameters and buffers.

        Everything is checked before anything is written, so a state dict that does not fit leaves the module as it
        was. The values are written into the memory that the parameters have, which optimizers and views share.

        Args:
            state_dict: Tensors, arrays, or other libraries' tensors on the CPU, by qualified name.
            strict: whether the names must be the same on both sides.
            assign: take over the given tensors and their dtypes instead of copying into the module's own.

        Returns:
            The names that are missing in ``state_dict``, and those that the module does not have.

        Raises:
            StateDictError: names (where ``strict``) or shapes differ; the message shows both sides.

        >>> from autograd_ff import nn
        >>> nn.Linear(3, 2).load_state_dict(nn.Linear(3, 2).state_dict())
        <All keys matched successfully>
        """
        if not isinstance(state_dict, Mapping):
            raise StateDictError(f"a state dict maps names to tensors, this is a {type(state_dict).__name__}.{here()}")
        own = self.state_dict(keep_vars=True)
        arrays = {name: plain_array(state_dict[name]) for name in own if name in state_dict}
        missing = [name for name in own if name not in state_dict]
        unexpected = [name for name in state_dict if name not in own]
        unreadable = [name for name, array in arrays.items() if array is None]
        unequal = [name for name, array in arrays.items() if array is not None and array.shape != own[name].shape]
        if unequal or unreadable or (strict and (missing or unexpected)):
            told = (missing, unexpected) if strict else ([], [])
            raise StateDictError(difference(type(self).__name__, own, state_dict, *told, unequal, unreadable, strict))
        for name, array in arrays.items():
            assert array is not None
            if assign:
                self._replace(name, state_dict[name], array)
            else:
                _copy_into(own[name], array)
        return IncompatibleKeys(missing, unexpected)

    def _replace(self, name: str, value: Any, array: np.ndarray) -> None:
        path, _, attribute = name.rpartition(".")
        module = self.get_submodule(path)
        before = module._parameters.get(attribute)
        if before is not None:
            taken = value if isinstance(value, Parameter) else Parameter(array, before.requires_grad)
            module._parameters[attribute] = taken
        else:
            module._buffers[attribute] = value if isinstance(value, Tensor) else wrap(array)

    # ---------------------------------------------------------------- showing

    def extra_repr(self) -> str:
        """What stands between the parentheses of the module's repr. Subclasses override it."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        children = [f"({name}): {indented(repr(module))}" for name, module in self._modules.items()]
        return layout(type(self).__name__, extra.split("\n") if extra else [], children)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What a notebook shows: the tree of the module's parts, where `visualize` is there to draw it."""
        try:
            from visualize.drawing.notebook import bundle
        except ImportError:
            return {"text/plain": repr(self)}
        return bundle(self, include, exclude)


def indented(text: str) -> str:
    """All lines but the first moved in by two spaces."""
    return text.replace("\n", "\n  ")


def layout(name: str, extra: list[str], children: list[str]) -> str:
    """A module's repr: on one line where it has no children."""
    if not children and len(extra) < 2:
        return f"{name}({''.join(extra)})"
    return "\n  ".join([f"{name}(", *extra, *children]) + "\n)"


def _copy_into(target: Tensor, array: np.ndarray) -> None:
    if array.dtype.kind == "c" and target.array.dtype.kind != "c":
        raise DtypeError(f"complex values cannot be loaded into a tensor of dtype {target.array.dtype}.{here()}")
    with no_grad():
        assign(target, wrap(array.astype(target.array.dtype, copy=False)))
