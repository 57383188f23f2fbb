"""`PretrainedModel`: what models with Hugging Face's files share; `from_pretrained`, which finds the class itself."""

from __future__ import annotations

import os
import re
from typing import Any, ClassVar, TypeVar

from ..engine import get_default_dtype, here
from ..errors import FileFormatError, ShapeError
from ..functions.tensor import Tensor
from ..nn import Module
from .config import FILE, Config, read_config
from .layers import without_values
from .weights import load_weights, save_weights

__all__ = ["PretrainedModel", "from_pretrained"]

P = TypeVar("P", bound="PretrainedModel")
ARCHITECTURES: dict[str, type[PretrainedModel]] = {}  # by the name that a config gives, which is the class's
BY_TYPE: dict[str, type[PretrainedModel]] = {}  # by model_type, for configs that name no architecture


class PretrainedModel(Module):
    """A model that is built of a config, and whose files are Hugging Face's: ``config.json``, ``model.safetensors``.

    Attributes:
        config: what it is built of.

    >>> import tempfile
    >>> from autograd_ff import hub
    >>> config = hub.BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
    ...                         intermediate_size=16, max_position_embeddings=10)
    >>> folder = tempfile.mkdtemp()
    >>> hub.BertModel(config).save_pretrained(folder)
    >>> hub.from_pretrained(folder).config.hidden_size
    8
    """

    config: Config
    config_class: ClassVar[type[Config]]
    base_prefix: ClassVar[str]  # before the names of the model proper, in files of models with a head
    has_head: ClassVar[bool] = False
    not_weights: ClassVar[str] = r"(?!)"  # names in files that are no parameters but follow from the config

    def __init__(self, config: Config) -> None:
        super().__init__()
        if not isinstance(config, self.config_class):
            raise ShapeError(
                f"{type(self).__name__} is built of a {self.config_class.__name__}, not of {config!r:.100}.{here()}"
            )
        self.config = config

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        ARCHITECTURES.setdefault(cls.__name__, cls)
        BY_TYPE.setdefault(cls.config_class.model_type, cls)

    # ---------------------------------------------------------------- names

    @classmethod
    def rename(cls, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of a file under this model's names.

        Taken off or put on is the prefix of the model proper (``bert.``, ``transformer.``), where the file is of a model
        with a head and this one has none, or the other way round; the heads of other tasks are left out. ``gamma`` and
        ``beta`` of old files become ``weight`` and ``bias``. Tables of positions and causal masks, which old files hold
        though they follow from the config, are left out.
        """
        prefix = f"{cls.base_prefix}."
        if cls.has_head:
            if not any(name.startswith(prefix) for name in state):
                state = {prefix + name: value for name, value in state.items()}
        elif any(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        left_out = re.compile(cls.not_weights)
        named = {re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name)): state[name] for name in state}
        return {name: value for name, value in named.items() if not left_out.search(name)}

    @classmethod
    def build(cls: type[P], config: Any, state: dict[str, Tensor], options: dict[str, Any]) -> P:
        """The model for these tensors; subclasses read from them which optional parts there are."""
        return cls(config, **options)

    def stored_state(self) -> dict[str, Tensor]:
        """The state dict as it goes into a file: without what is tied to another name."""
        return dict(self.state_dict())

    # ---------------------------------------------------------------- files

    @classmethod
    def from_pretrained(
        cls: type[P],
        folder: Any,
        *,
        dtype: Any = None,
        strict: bool = True,
        mmap: bool = True,
        config: Any = None,
        **options: Any,
    ) -> P:
        """The model whose ``config.json`` and weights lie in a folder, in evaluation mode.

        Args:
            folder: with ``config.json`` and ``model.safetensors``, or shards and ``model.safetensors.index.json``.
            dtype: of the parameters: the default dtype if None, to which float16 and bfloat16 are widened; ``"float16"``
                keeps them at half the memory; ``"auto"`` leaves each as it is stored (bfloat16 becomes float32).
            strict: whether the file must hold exactly the model's parameters. Otherwise what fits by name is loaded,
                and the rest is drawn anew.
            mmap: leave float32 weights in the file until they are used, see `load_weights`.
            config: in place of that in the folder.
            options: handed to the class, such as ``add_pooling_layer=False``.

        Raises:
            StateDictError: the names or shapes differ; the message shows both sides.
            FileFormatError: a file is damaged, or the config describes no model of this class.
            FileNotFoundError: a file is missing.
        """
        if config is None:
            config = cls.config_class.from_pretrained(folder)
        wanted = None if dtype == "auto" else get_default_dtype() if dtype is None else dtype
        state = cls.rename(load_weights(folder, wanted, mmap=mmap))
        if layers_of(config) > max(len(state), 1) and strict:  # before layers without end are built
            raise FileFormatError(
                f"{os.path.join(folder, FILE)} speaks of {layers_of(config):,} layers, and the weights are {len(state):,} "
                f"tensors in all{here()}"
            )
        try:
            if strict:
                with without_values():
                    model = cls.build(config, state, options)
            else:
                model = cls.build(config, state, options)
        except (MemoryError, ValueError) as error:  # sizes that no array can have, an unknown activation
            raise FileFormatError(
                f"{os.path.join(folder, FILE)} describes a model that cannot be built: {error!s:.400}{here()}"
            ) from None
        model.take(state, strict)
        return model.eval()

    def take(self, state: dict[str, Tensor], strict: bool = True) -> None:
        """Make these tensors, under the model's names, its parameters, without copying them."""
        self.load_state_dict(state, strict=strict, assign=True)

    def save_pretrained(self, folder: Any, max_shard_size: int | str = "5GB", *, dtype: Any = None) -> None:
        """Write ``config.json`` and the weights into a folder, as Hugging Face's libraries read them.

        Args:
            folder: made where it is not there.
            max_shard_size: see `save_weights`.
            dtype: what the weights are stored as; None leaves them as they are.
        """
        self.config.extra["architectures"] = [type(self).__name__]
        save_weights(self.stored_state(), folder, max_shard_size, dtype=dtype)
        self.config.save_pretrained(folder)


def layers_of(config: Any) -> int:
    """How many layers a config speaks of, by either name."""
    return int(getattr(config, "num_hidden_layers", 0) or getattr(config, "n_layer", 0))


def from_pretrained(folder: Any, **options: Any) -> PretrainedModel:
    """The model in a folder, of the class that its ``config.json`` names.

    Args:
        folder: with ``config.json`` and weights.
        options: see `PretrainedModel.from_pretrained`.

    Raises:
        FileFormatError: the config names no model that is implemented here.

    >>> import tempfile
    >>> from autograd_ff import hub
    >>> config = hub.GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    >>> folder = tempfile.mkdtemp()
    >>> hub.GPT2LMHeadModel(config).save_pretrained(folder)
    >>> type(hub.from_pretrained(folder)).__name__
    'GPT2LMHeadModel'
    """
    values = read_config(folder)
    named = values.get("architectures")
    for name in named if isinstance(named, list) else []:
        if isinstance(name, str) and name in ARCHITECTURES:
            return ARCHITECTURES[name].from_pretrained(folder, **options)
    kind = values.get("model_type")
    if isinstance(kind, str) and kind in BY_TYPE:
        return BY_TYPE[kind].from_pretrained(folder, **options)
    raise FileFormatError(
        f"{os.path.join(folder, FILE)} is of model_type {str(kind)[:60]!r} and names {str(named)[:60]}; implemented are "
        f"{', '.join(sorted(ARCHITECTURES))}{here()}"
    )
