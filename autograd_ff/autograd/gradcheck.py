"""`gradcheck` and `gradgradcheck` as PyTorch has them: the same call, on top of this library's own gradient checker.

`autograd_ff.testing.gradcheck` is that checker itself, and gives a report instead of a bool.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..engine import TensorCore, enable_grad, here
from ..errors import GradcheckError, GraphError, ShapeError
from ..functions.creation import zeros_like
from ..functions.tensor import Tensor
from .differentiate import grad

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Whether the gradient of ``func`` with respect to those inputs that require grad is its numeric derivative.

    This is PyTorch's name and call for `autograd_ff.testing.gradcheck`, which says more and allows less: its own
    tolerances are 1e-6 and 1e-8. Unlike PyTorch's, the check computes in float64 whatever the inputs are, estimates the
    error of its numeric derivative, and tells a kink from a wrong gradient. A point where ``func`` has no derivative,
    such as ``relu`` at 0, is not passed (PyTorch fails it in most cases, too); the error's text then begins with KINK and
    not with FAIL.

    Args:
        func: a function of Tensors that returns a Tensor or a tuple of them.
        inputs: a Tensor, or a tuple or list of the arguments of ``func``, which may be tuples, lists and dicts of Tensors.
        atol: what a derivative may differ by, relative to the largest one of the same input. (In PyTorch it is absolute,
            so that any gradient smaller than it passes.)
        rtol: what a derivative may differ by, relative to itself.
        raise_exception: raise where the check does not pass, instead of returning False.
        check_undefined_grad: where ``func`` has several outputs, also check that its backward takes a missing gradient
            of one of them for zero.
        eps, fast_mode: without effect: step sizes are found by estimating the error, and a large Jacobian is always
            checked along several dense random directions.
        nondet_tol: without effect: two evaluations must agree exactly.
        check_grad_dtypes: without effect: gradients always have the dtype of their tensor.
        masked: without effect: there are no sparse tensors.
        check_forward_ad, check_batched_grad, check_batched_forward_grad: must be False, and ``check_backward_ad`` True:
            there is no forward mode and no vmap.

    Returns:
        True, or False where the check does not pass and ``raise_exception`` is false.

    Raises:
        GradcheckError: the check does not pass. Its text is the report, and its attribute ``report`` has all of it.
        ShapeError: (a ValueError) no input requires grad.
        GraphError: an option asks for what there is not.

    >>> import autograd_ff as af
    >>> x = af.tensor([0.5, -1.0, 2.0], requires_grad=True)
    >>> af.autograd.gradcheck(lambda x: x**3, x)
    True
    >>> af.autograd.gradcheck(lambda x: x**2 * x.detach(), x, raise_exception=False)
    False
    """
    _refuse(check_forward_ad or not check_backward_ad, "forward-mode differentiation", "check_forward_ad=False")
    _refuse(check_batched_grad, "vmap", "check_batched_grad=False")
    _refuse(check_batched_forward_grad, "vmap", "check_batched_forward_grad=False")
    arguments = _as_tuple(inputs)
    _require_tracked(arguments)
    passed = _judge(_check(func, arguments, order=1, rtol=rtol, atol=atol), raise_exception)
    if passed and check_undefined_grad:
        wrong = _undefined_gradients(func, arguments)
        if wrong and raise_exception:
            raise GradcheckError(wrong)
        return not wrong
    return passed


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Whether the gradient of the gradient of ``func`` is the numeric derivative of the gradient.

    The gradient itself is not checked: that is `gradcheck`.

    Args:
        func: a function of Tensors that returns a Tensor or a tuple of them.
        inputs: a Tensor, or a tuple or list of the arguments of ``func``, which may be tuples, lists and dicts of Tensors.
        grad_outputs: the gradient of each output that requires grad; random ones by default. Those that require grad are
            checked too.
        atol, rtol, raise_exception: as `gradcheck` has them.
        check_fwd_over_rev, check_batched_grad: must be False, and ``check_rev_over_rev`` True: there is no forward mode
            and no vmap.
        eps, gen_non_contig_grad_outputs, nondet_tol, check_undefined_grad, check_grad_dtypes, fast_mode, masked: without
            effect.

    Returns:
        True, or False where the check does not pass and ``raise_exception`` is false.

    Raises:
        GradcheckError, ShapeError, GraphError: as `gradcheck`.

    >>> import autograd_ff as af
    >>> x = af.tensor([0.5, -1.0, 2.0], requires_grad=True)
    >>> af.autograd.gradgradcheck(lambda x: x.exp() * x, x)
    True
    """
    _refuse(check_fwd_over_rev or not check_rev_over_rev, "forward-mode differentiation", "check_fwd_over_rev=False")
    _refuse(check_batched_grad, "vmap", "check_batched_grad=False")
    arguments = _as_tuple(inputs)
    _require_tracked(arguments)
    if grad_outputs is None:
        return _judge(_check(func, arguments, order=2, rtol=rtol, atol=atol), raise_exception)
    upstream = tuple(_tensors(_as_tuple(grad_outputs)))
    gradient = _gradient_function(func, arguments, len(upstream))
    return _judge(_check(gradient, (*arguments, *upstream), order=1, rtol=rtol, atol=atol), raise_exception)


def _check(func: Callable[..., Any], arguments: tuple[Any, ...], **options: Any) -> Any:
    from ..testing import gradcheck as check  # a layer above this one, which only lends its name

    return check(func, arguments, **options)


def _judge(report: Any, raise_exception: bool) -> bool:
    if report.passed or not raise_exception:
        return bool(report.passed)
    text = str(report)
    if report.verdict == "KINK":
        text += "\n  The function has no derivative here, so the gradient is not wrong: check it at another point."
    elif report.verdict == "NONDETERMINISTIC":
        text += "\n  Make it repeat itself: seed its generator at each call, and set dropout to eval()."
    error = GradcheckError(text)
    error.report = report
    raise error


def _refuse(wanted: bool, what: str, way_out: str) -> None:
    if wanted:
        raise GraphError(f"there is no {what} here to be checked.{here()}\n  Leave {way_out}.")


def _as_tuple(inputs: Any) -> tuple[Any, ...]:
    return tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)


def _tensors(tree: Any) -> list[Any]:
    if isinstance(tree, (tuple, list)):
        return [tensor for part in tree for tensor in _tensors(part)]
    if isinstance(tree, dict):
        return [tensor for part in tree.values() for tensor in _tensors(part)]
    return [tree] if isinstance(tree, TensorCore) else []


def _require_tracked(arguments: tuple[Any, ...]) -> None:
    if not any(tensor.requires_grad for tensor in _tensors(arguments)):
        raise ShapeError(
            f"gradcheck expects at least one input that requires grad, and none does.{here()}\n"
            "  Make one by autograd_ff.tensor(..., requires_grad=True) or x.requires_grad_()."
        )


def _gradient_function(func: Callable[..., Any], example: tuple[Any, ...], upstream: int) -> Any:
    """The gradients of ``func`` as a function of arguments like ``example`` and ``upstream`` gradients of its outputs."""
    from ..testing.tree import flatten, rebuild  # as in _check

    count = len(example)
    leaves = enumerate(flatten(example))
    tracked = [position for position, leaf in leaves if isinstance(leaf, TensorCore) and leaf.requires_grad]

    def gradient(*values: Any) -> tuple[Any, ...]:
        leaves = flatten(values[:count])
        for position in tracked:
            if not leaves[position].requires_grad:
                leaves[position] = leaves[position].detach().requires_grad_()
        wanted = [leaves[position] for position in tracked]
        with enable_grad():
            result = func(*rebuild(values[:count], list(leaves)))
        outputs = [output for output in _tensors(result) if output.requires_grad]
        if len(outputs) != upstream:
            raise ShapeError(f"{len(outputs)} outputs require grad, and {upstream} grad_outputs are given.{here()}")
        found = grad(outputs, wanted, list(values[count:]), create_graph=True, allow_unused=True)
        return tuple(zeros_like(one) if part is None else part for one, part in zip(wanted, found, strict=True))

    names = [f"input_{position}" for position in range(count)]
    names += [f"grad_output_{position}" for position in range(upstream)]
    kind = inspect.Parameter.POSITIONAL_ONLY
    gradient.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # type: ignore[attr-defined]
    return gradient


def _undefined_gradients(func: Callable[..., Any], arguments: tuple[Any, ...]) -> str:
    """What goes wrong where one of several outputs has no gradient and the others' are zero; "" for nothing."""
    wanted: list[Tensor] = [tensor for tensor in _tensors(arguments) if tensor.requires_grad]

    def differentiable() -> list[Tensor]:
        with enable_grad():
            return [output for output in _tensors(func(*arguments)) if output.requires_grad]

    count = len(differentiable())
    for left_out in range(count if count > 1 else 0):
        others = [output for position, output in enumerate(differentiable()) if position != left_out]
        what = (
            f"FAIL: with no gradient for output {left_out} of {count}, which stands for zero, and zeros for the others,"
        )
        try:
            found = grad(others, wanted, [zeros_like(output) for output in others], allow_unused=True)
        except Exception as error:  # whatever a user's backward raises where it meets None
            return f"{what}\n  backward raised {type(error).__name__}: {error}"
        if any(one is not None and one.array.any() for one in found):
            return f"{what}\n  backward gave a gradient that is not zero"
    return ""
