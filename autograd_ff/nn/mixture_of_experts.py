"""Sparse mixtures of experts: many feedforward blocks, of which a router chooses a few for each token."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..engine import apply, here, scope, wrap
from ..engine.tensor import note_read
from ..errors import ModuleError, ShapeError, StateDictError
from ..functions import creation, reductions, shaping, sorting
from ..functions.tensor import Tensor
from ..rules.indexing import permute_rows
from . import functional as F
from .containers import ModuleList
from .feedforward import FeedForward
from .linear import Linear
from .module import Module

__all__ = ["MixtureOfExperts", "Routing", "auxiliary_loss"]


class Routing:
    """Where a `MixtureOfExperts` sent the tokens of a call.

    Attributes:
        logits: (tokens, experts), the router's scores, in the graph.
        index: (tokens, top_k), the experts of each token, the best first; ``experts`` for tokens that are masked out.
        gates: (tokens, top_k), what each one's result is multiplied by, in the graph.
        load: (experts,), how many tokens chose each expert.
        dropped: (experts,), how many of those found no room in it.
        mask: (tokens,), false for tokens that are masked out; None if none are.

    >>> import autograd_ff as af
    >>> layer = af.nn.MixtureOfExperts(4, 8, experts=3, top_k=2)
    >>> out = layer(af.rand(5, 4))
    >>> layer.routing.index.shape, int(layer.routing.load.sum())
    ((5, 2), 10)
    """

    def __init__(
        self,
        logits: Tensor,
        index: Tensor,
        gates: Tensor,
        load: np.ndarray,
        dropped: np.ndarray,
        mask: Tensor | None = None,
    ) -> None:
        self.logits = logits
        self.index = index
        self.gates = gates
        self.load = load
        self.dropped = dropped
        self.mask = mask

    @property
    def share(self) -> np.ndarray:
        """(experts,), the part of all choices that fell on each expert; they sum to 1."""
        return self.load / max(1, int(self.load.sum()))

    def load_balancing_loss(self) -> Tensor:
        """E Σ share_e · mean probability_e over the E experts, which is 1 where all are used alike; a scalar.

        The shares are constants; the gradient flows to the router through the probabilities, softmax(logits), and draws
        those of experts with many tokens down. Hugging Face's loss for Mixtral is top_k times this one.
        Source: Fedus, Zoph and Shazeer 2022, "Switch transformers".
        """
        probabilities = F.softmax(self.logits, -1)
        share: Any = self.share.astype(probabilities.dtype)
        return len(self.load) * (self._mean(probabilities) * share).sum()

    def z_loss(self) -> Tensor:
        """The mean over tokens of logsumexp(logits)², which keeps the scores small; a scalar.

        Source: Zoph et al. 2022, "ST-MoE".
        """
        size = reductions.logsumexp(self.logits, -1)
        return self._mean(size * size)

    def _mean(self, values: Tensor) -> Tensor:
        """The mean over the tokens that count; 0 where there are none."""
        count = len(values) if self.mask is None else int(self.mask.array.sum())
        if self.mask is not None:
            keep: Any = self.mask.array.reshape(-1, *(1,) * (values.ndim - 1))
            values = values * keep.astype(values.dtype)
        return values.sum(0) / max(1, count)

    def __deepcopy__(self, memo: dict[int, Any]) -> Routing:
        """A copy outside of the graph, so that a model can be copied after a call."""
        logits, index, gates = (wrap(one.array.copy()) for one in (self.logits, self.index, self.gates))
        return Routing(logits, index, gates, self.load.copy(), self.dropped.copy(), self.mask)

    def __repr__(self) -> str:
        tokens, choices = self.index.shape
        dropped = f", dropped={self.dropped.tolist()}" if self.dropped.any() else ""
        return f"Routing(tokens={tokens}, top_k={choices}, load={self.load.tolist()}{dropped})"


class MixtureOfExperts(Module):
    """Σ gate_e(x) · expert_e(x) over the ``top_k`` experts that a router chooses for each token.

    The router's scores are logits = router(x); the chosen are the top_k largest (of equal ones those with the lower
    numbers). Their gates are softmax over the chosen alone where ``renormalize``, else the chosen ones of
    softmax(logits). Only the chosen experts compute: the tokens are sorted by expert, and each expert gets its own in one
    piece; one that is chosen by none does not run, and its parameters get no gradient from the call. All is
    deterministic. Gradients flow to the experts, to the input, and through the gates to the router; where a token's
    choice changes, the function jumps.

    That the router does not send all to a few experts takes a loss of its own: add `auxiliary_loss`.

    Source: Shazeer et al. 2017, "Outrageously large neural networks"; top_k=1: Fedus et al. 2022, "Switch transformers";
    renormalised gates: Jiang et al. 2024, "Mixtral of experts".

    Args:
        width: the last side of input and output.
        hidden: the side inside of each expert; see `FeedForward`.
        experts: how many there are.
        top_k: how many of them compute for each token.
        activation, gated, bias, dropout: of each expert, a `FeedForward`.
        renormalize: whether a token's gates sum to 1; None for ``top_k > 1``. With one gate, always 1, the router would
            learn nothing.
        capacity_factor: in training an expert has room for capacity_factor · tokens · top_k / experts, rounded up; the
            tokens for which there is none left get nothing from it. First choices come before second ones, and earlier
            tokens before later ones. None for room without limit, which costs nothing here; in evaluation there is no
            limit, so that a token's result does not depend on those beside it.
        dtype: of the parameters; the default dtype if None.

    Attributes:
        router: `Linear` from width to experts, without bias.
        experts: a `ModuleList` of `FeedForward`.
        routing: the `Routing` of the last call, or None. It keeps the router's part of the graph alive until the next.

    A step with it cannot be compiled: how much each expert computes depends on the values.

    Raises:
        ShapeError: a number out of range.

    >>> import autograd_ff as af
    >>> layer = af.nn.MixtureOfExperts(16, 32, experts=4, top_k=2)
    >>> x = af.rand(2, 5, 16)
    >>> y = layer(x)
    >>> y.shape
    (2, 5, 16)
    >>> loss = (y - x).square().mean() + af.nn.auxiliary_loss(layer, 0.01)
    >>> loss.backward()
    """

    routing: Routing | None

    def __init__(
        self,
        width: int,
        hidden: int | None = None,
        experts: int = 8,
        top_k: int = 2,
        activation: str | Callable[[Tensor], Tensor] = "swiglu",
        gated: bool | None = None,
        bias: bool = False,
        dropout: float = 0.0,
        renormalize: bool | None = None,
        capacity_factor: float | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        for name, number in (("experts", experts), ("top_k", top_k)):
            if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < 1:
                raise ShapeError(f"{name} must be a whole number, 1 or more, not {number!r}.{here()}")
        if top_k > experts:
            raise ShapeError(f"top_k={top_k} experts cannot be chosen among {experts}.{here()}")
        if capacity_factor is not None and not 0 < capacity_factor < math.inf:
            raise ShapeError(f"capacity_factor must be a number above 0, or None, not {capacity_factor!r}.{here()}")
        self.width = width
        self.top_k = int(top_k)
        self.renormalize = top_k > 1 if renormalize is None else renormalize
        self.capacity_factor = capacity_factor
        self.router = Linear(width, int(experts), bias=False, device=device, dtype=dtype)
        self.experts = ModuleList(
            [FeedForward(width, hidden, activation, gated, bias, dropout, device=device, dtype=dtype)
             for _ in range(experts)]
        )  # fmt: skip
        self.routing = None

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        """(…, width) to the same shape.

        Args:
            input: the tokens.
            mask: (…), false or 0 for tokens that are no tokens but padding: no expert computes for them, their result is
                0, and they count in no statistic. None if all count.

        Raises:
            ShapeError: the input's last side is not ``width``, or the mask is not of the other sides.
        """
        shape = tuple(input.shape)
        if shape[-1:] != (self.width,):
            raise ShapeError(f"the input must have a last side of {self.width}, and its shape is {shape}.{here()}")
        if mask is not None and tuple(mask.shape) != shape[:-1]:
            raise ShapeError(
                f"the mask has shape {tuple(mask.shape)}; for an input of shape {shape} it needs {shape[:-1]}.{here()}"
            )
        tokens = input.reshape(math.prod(shape[:-1]), self.width)
        count, choices, experts = len(tokens), self.top_k, len(self.experts)

        logits = self.router(tokens)
        counted = None if mask is None else mask.reshape(count) != 0
        with scope("composite", "choose", "choose"):
            best, index = sorting.topk(logits, choices)
            gates = F.softmax(best, -1) if self.renormalize else F.softmax(logits, -1).gather(1, index)
            if counted is not None:  # the padding goes to an expert that there is not, the last in the order
                index = index.masked_fill(~counted.unsqueeze(1), experts)
            # All first choices, then all second ones; sorted by expert, and within each in this order.
            wanted = index.t().reshape(choices * count)
            order = sorting.argsort(wanted)
            inverse = sorting.argsort(order)
        note_read(wanted, "experts")
        load = np.bincount(wanted.array, minlength=experts + 1)
        kept = np.minimum(load, self._capacity(int(load[:experts].sum())))
        kept[experts] = 0
        self.routing = Routing(logits, index, gates, load[:experts], (load - kept)[:experts], counted)

        with scope("composite", "dispatch", "dispatch"):
            copies = tokens if choices == 1 else tokens.expand(choices, count, self.width).reshape(-1, self.width)
            rows = apply(permute_rows, (copies, order, inverse))
        results = self._compute(rows, load, kept)
        with scope("composite", "combine", "combine"):
            each = apply(permute_rows, (results, inverse, order)).reshape(choices, count, self.width)
            return (each * gates.t().unsqueeze(-1)).sum(0).reshape(shape)

    def _capacity(self, assigned: int) -> int:
        """For how many tokens an expert has room."""
        if self.capacity_factor is None or not self.training:
            return assigned
        return math.ceil(self.capacity_factor * assigned / len(self.experts))

    def _compute(self, rows: Tensor, load: np.ndarray, kept: np.ndarray) -> Tensor:
        """Each expert's results for its rows, which lie one expert after the other; 0 for those that are not kept."""
        parts, start = [], 0
        for number, (size, room) in enumerate(zip(load.tolist(), kept.tolist(), strict=True)):
            if room:
                parts.append(self.experts[number](rows[start : start + room]))
            if size > room:
                parts.append(creation.zeros(size - room, self.width, dtype=rows.dtype))
            start += size
        return shaping.cat(parts) if parts else rows

    def load_from(self, state: Mapping[str, Any], layout: str = "mixtral", prefix: str = "") -> None:
        """Load the parameters under Mixtral's names: gate.weight, the router's, and experts.N.w1, w2 and w3.

        Args:
            state: the state dict; entries that are not this layer's are left out.
            layout: ``"mixtral"``.
            prefix: of the layer's names, such as ``"model.layers.0.block_sparse_moe."``.

        Raises:
            StateDictError: a parameter is missing or of another shape.

        >>> import autograd_ff as af
        >>> one, other = (af.nn.MixtureOfExperts(4, 8, experts=3) for _ in range(2))
        >>> other.load_from(one.state_as("mixtral", "moe."), "mixtral", "moe.")
        >>> bool((one.router.weight == other.router.weight).all())
        True
        """
        names = self._names(layout, prefix)
        missing = [theirs for theirs in names.values() if theirs not in state]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise StateDictError(f"the state of {len(state)} entries has no {missing[0]}{more}.{here()}")
        self.load_state_dict({name: state[theirs] for name, theirs in names.items()})

    def state_as(self, layout: str = "mixtral", prefix: str = "") -> dict[str, Tensor]:
        """The parameters under Mixtral's names; see `load_from`."""
        state = self.state_dict()
        return {theirs: state[name] for name, theirs in self._names(layout, prefix).items()}

    def _names(self, layout: str, prefix: str) -> dict[str, str]:
        if layout != "mixtral":
            raise ModuleError(f"the layout of a mixture of experts is 'mixtral', not {layout!r}.{here()}")
        names = {"router.weight": f"{prefix}gate.weight"}
        for number, expert in enumerate(self.experts):
            own = f"experts.{number}."
            names.update({own + name: theirs for name, theirs in expert._names(layout, prefix + own).items()})
        return names

    def extra_repr(self) -> str:
        text = f"{self.width}, top_k={self.top_k}"
        text += "" if self.renormalize == (self.top_k > 1) else f", renormalize={self.renormalize}"
        return text + ("" if self.capacity_factor is None else f", capacity_factor={self.capacity_factor}")


def auxiliary_loss(model: Module, load_balancing: float = 0.01, z: float = 0.0) -> Tensor:
    """What keeps the experts of a model in use: the weighted losses of the last call's routing, summed over its mixtures.

    Args:
        model: a module with at least one `MixtureOfExperts` in it, after a call.
        load_balancing: the weight of `Routing.load_balancing_loss`; 0.01 in Fedus et al. 2022.
        z: the weight of `Routing.z_loss`; 0.001 in Zoph et al. 2022.

    Raises:
        ModuleError: there is no mixture in the model, or none was called.

    >>> import autograd_ff as af
    >>> model = af.nn.Sequential(af.nn.MixtureOfExperts(4, 8, experts=1, top_k=1), af.nn.Linear(4, 2))
    >>> out = model(af.rand(3, 4))
    >>> round(af.nn.auxiliary_loss(model, load_balancing=0.5).item(), 4)
    0.5
    """
    routings = [one.routing for one in model.modules() if isinstance(one, MixtureOfExperts)]
    called = [one for one in routings if one is not None]
    if not called:
        why = "no mixture of experts in it has been called yet" if routings else "there is no mixture of experts in it"
        raise ModuleError(f"auxiliary_loss of {type(model).__name__}: {why}.{here()}")
    terms = [load_balancing * one.load_balancing_loss() for one in called if load_balancing]
    terms += [z * one.z_loss() for one in called if z]
    if not terms:
        return creation.zeros((), dtype=called[0].logits.dtype)
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
