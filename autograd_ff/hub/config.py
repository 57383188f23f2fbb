"""What a model is made of: Hugging Face's ``config.json``."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from typing import Any, ClassVar, TypeVar

from ..engine import here
from ..errors import FileFormatError, ShapeError
from ..serialization import write_atomically

__all__ = ["BertConfig", "Config", "GPT2Config", "read_config"]

FILE = "config.json"
MAX_CONFIG = 10_000_000  # bytes; a config is a page of text
C = TypeVar("C", bound="Config")


@dataclasses.dataclass(kw_only=True)
class Config:
    """What all configs share: reading, checking, writing. Entries that no model here uses are kept in ``extra``.

    >>> from autograd_ff.hub import BertConfig
    >>> config = BertConfig.from_dict({"model_type": "bert", "hidden_size": 384, "my_note": "kept"})
    >>> config.hidden_size, config.extra
    (384, {'my_note': 'kept'})
    """

    model_type: ClassVar[str] = ""
    unsupported: ClassVar[dict[str, Any]] = {}  # entries whose only value here is this one
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if "None" in str(field.type) and value is None:
                continue
            problem = _problem(str(field.type), value, field.metadata)
            if problem:
                raise ShapeError(f"{type(self).__name__}: {field.name} {problem}, not {_short(value)}.{here()}")
        for name, only in self.unsupported.items():
            value = self.extra.get(name, only)
            if value != only:
                raise ShapeError(
                    f"{type(self).__name__}: {name} is {_short(value)}, and only {only!r} is implemented.{here()}"
                )

    @classmethod
    def from_dict(cls: type[C], values: dict[str, Any]) -> C:
        """A config of the entries of a ``config.json``.

        Raises:
            ShapeError: a value that cannot be, or another ``model_type``.
        """
        kind = values.get("model_type", cls.model_type)
        if kind != cls.model_type:
            raise ShapeError(
                f"the config is one of a {_short(kind)} model; {cls.__name__} wants {cls.model_type!r}.{here()}"
            )
        known = {field.name for field in dataclasses.fields(cls)} - {"extra"}
        extra = {name: value for name, value in values.items() if name not in known and name != "model_type"}
        return cls(**{name: value for name, value in values.items() if name in known}, extra=extra)

    def to_dict(self) -> dict[str, Any]:
        """The entries of a ``config.json``: the fields under Hugging Face's names, and what `from_dict` kept."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "extra"}
        return {"model_type": self.model_type, **own, **self.extra}

    @classmethod
    def from_pretrained(cls: type[C], folder: Any) -> C:
        """The config of the ``config.json`` in a folder.

        Raises:
            FileFormatError: it is damaged, or describes what cannot be.
            FileNotFoundError: there is none.
        """
        path = os.path.join(folder, FILE)
        try:
            return cls.from_dict(read_config(folder))
        except ShapeError as error:
            raise FileFormatError(f"{path}: {error}") from None

    def save_pretrained(self, folder: Any) -> None:
        """Write ``config.json`` into a folder, which is made where it is not there."""
        os.makedirs(folder, exist_ok=True)
        text = json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"
        write_atomically(os.path.join(folder, FILE), text.encode())


def read_config(folder: Any) -> dict[str, Any]:
    """The entries of the ``config.json`` in a folder.

    Raises:
        FileFormatError: it is no JSON object.
        FileNotFoundError: there is none.

    >>> import tempfile
    >>> from autograd_ff.hub import BertConfig, read_config
    >>> folder = tempfile.mkdtemp()
    >>> BertConfig(hidden_size=24).save_pretrained(folder)
    >>> read_config(folder)["hidden_size"]
    24
    """
    return read_json(os.path.join(folder, FILE), MAX_CONFIG)


def read_json(path: str, limit: int, kind: type = dict) -> Any:
    """The JSON object, or list, in a file of at most ``limit`` bytes."""
    try:
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError as error:
        raise FileNotFoundError(error.errno, "there is no such file to load", path) from None
    if len(data) > limit:
        raise FileFormatError(f"{path} has more than {limit:,} bytes, which no such file has{here()}")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path} is no JSON: {str(error)[:200] or type(error).__name__}{here()}") from None
    if not isinstance(content, kind):
        raise FileFormatError(f"{path} holds a {type(content).__name__}, where a {kind.__name__} is expected{here()}")
    return content


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _problem(kind: str, value: Any, metadata: Any) -> str:
    """What is wrong with the value of a field, or nothing."""
    if kind.startswith("bool"):
        return "" if isinstance(value, bool) else "is True or False"
    if kind.startswith("int"):
        least = metadata.get("least", 1)
        fine = isinstance(value, int) and not isinstance(value, bool) and value >= least
        return "" if fine else f"is a whole number, {least} or more"
    if kind.startswith("float"):
        most = metadata.get("most", math.inf)
        fine = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most
        return "" if fine else ("is a number from 0 to 1" if most == 1 else "is a number, 0 or more")
    if kind.startswith("str"):
        return "" if isinstance(value, str) else "is a string"
    return ""


def _probability(value: float = 0.1) -> Any:
    return dataclasses.field(default=value, metadata={"most": 1})


def _index(value: int | None) -> Any:
    return dataclasses.field(default=value, metadata={"least": 0})


def _check_heads(name: str, hidden: int, heads: int) -> None:
    if hidden % heads:
        raise ShapeError(f"{name}: a hidden size of {hidden} is not divisible among {heads} heads.{here()}")


@dataclasses.dataclass(kw_only=True)
class BertConfig(Config):
    """The config of a `BertModel`, with the defaults of BERT base.

    Args:
        vocab_size: how many tokens there are.
        hidden_size: the side of a token's vector; divisible by ``num_attention_heads``.
        num_hidden_layers, num_attention_heads: how many.
        intermediate_size: the side between the two layers of the feedforward block.
        hidden_act: its function: gelu, gelu_new, relu, silu or tanh.
        hidden_dropout_prob, attention_probs_dropout_prob: dropout in training.
        max_position_embeddings: the longest sequence.
        type_vocab_size: how many token types.
        initializer_range: the standard deviation of new weights.
        layer_norm_eps: keeps the root in LayerNorm from zero.
        pad_token_id: the token that stands for nothing.
        extra: further entries, kept as they are.

    Raises:
        ShapeError: a value out of range.

    >>> from autograd_ff.hub import BertConfig
    >>> BertConfig(hidden_size=384, num_attention_heads=12).intermediate_size
    3072
    """

    model_type: ClassVar[str] = "bert"
    unsupported: ClassVar[dict[str, Any]] = {
        "position_embedding_type": "absolute",
        "is_decoder": False,
        "add_cross_attention": False,
    }
    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = _probability()
    attention_probs_dropout_prob: float = _probability()
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = _index(0)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_heads("BertConfig", self.hidden_size, self.num_attention_heads)
        if self.pad_token_id is not None and self.pad_token_id >= self.vocab_size:
            raise ShapeError(
                f"BertConfig: pad_token_id {self.pad_token_id} is none of the {self.vocab_size} tokens.{here()}"
            )


@dataclasses.dataclass(kw_only=True)
class GPT2Config(Config):
    """The config of a `GPT2LMHeadModel`, with the defaults of the smallest GPT-2.

    Args:
        vocab_size: how many tokens there are.
        n_positions: the longest sequence.
        n_embd: the side of a token's vector; divisible by ``n_head``.
        n_layer, n_head: how many layers, and heads in each.
        n_inner: the side between the two layers of the feedforward block; 4 · n_embd if None.
        activation_function: its function: gelu_new (with tanh), gelu, relu, silu or tanh.
        resid_pdrop, embd_pdrop, attn_pdrop: dropout in training.
        layer_norm_epsilon: keeps the root in LayerNorm from zero.
        initializer_range: the standard deviation of new weights.
        scale_attn_weights: divide the scores by the root of a head's side.
        scale_attn_by_inverse_layer_idx: divide them by the layer's number, from 1, as well.
        bos_token_id, eos_token_id: the tokens at a text's begin and end.
        tie_word_embeddings: the output layer's weight is that of the token embedding.
        extra: further entries, kept as they are.

    Raises:
        ShapeError: a value out of range.

    >>> from autograd_ff.hub import GPT2Config
    >>> GPT2Config(n_embd=64, n_head=4).n_positions
    1024
    """

    model_type: ClassVar[str] = "gpt2"
    unsupported: ClassVar[dict[str, Any]] = {"add_cross_attention": False}
    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None
    activation_function: str = "gelu_new"
    resid_pdrop: float = _probability()
    embd_pdrop: float = _probability()
    attn_pdrop: float = _probability()
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    bos_token_id: int | None = _index(50256)
    eos_token_id: Any = 50256
    tie_word_embeddings: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_heads("GPT2Config", self.n_embd, self.n_head)
