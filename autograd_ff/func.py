"""PyTorch's ``torch.func``: what treats functions and modules as pure functions of their tensors."""

from .nn.stateless import functional_call

__all__ = ["functional_call"]
