"""Tokens of a language model: characters or a BPE, made of a text, kept as Hugging Face's ``tokenizer.json``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from ...engine import here
from ...errors import FileFormatError, ShapeError
from ...serialization import write_atomically
from ...text import CharTokenizer, Tokenizer
from .corpus import Corpus

__all__ = [
    "END",
    "encoded",
    "make_tokenizer",
    "read_tokenizer",
    "save_tokenizer",
    "tokenizer_from_text",
    "unknown_characters",
]

END = "<|endoftext|>"  # stands before and between works, and after the last
PRINTABLE = "\n" + "".join(map(chr, range(32, 127)))  # always in an alphabet, so that other texts can follow
EACH = "[\\s\\S]"  # in a tokenizer.json: every character by itself


def make_tokenizer(kind: str, corpus: Corpus, vocab_size: int) -> Any:
    """The tokenizer of a corpus.

    Args:
        kind: ``"bpe"``, whose pieces are learnt from the part to learn from; ``"chars"``, the alphabet of the whole corpus
            and what is printable in ASCII.
        corpus: the texts.
        vocab_size: how many tokens a BPE has.
    """
    if kind == "bpe":
        return Tokenizer.train_bpe(corpus.train, vocab_size, special_tokens=(END,))
    return CharTokenizer([PRINTABLE, *corpus.alphabet], special_tokens=(END,), unknown=None)


def unknown_characters(tokenizer: Any, corpus: Corpus) -> list[str]:
    """The characters of a corpus for which there is no token; a BPE has one for every byte."""
    if not isinstance(tokenizer, CharTokenizer) or tokenizer.unknown is not None:
        return []
    return sorted(one for one in corpus.alphabet if tokenizer.token_to_id(one) is None)


def encoded(tokenizer: Any, works: Iterable[str]) -> np.ndarray:
    """Works as one row of numbers, with the token of the end before and after each.

    >>> from autograd_ff.text import CharTokenizer
    >>> encoded(CharTokenizer("ab", special_tokens=(END,), unknown=None), ["ab", "b"])
    array([0, 1, 2, 0, 2, 0])
    """
    end = tokenizer.token_to_id(END)
    mark = [] if end is None else [end]
    parts = [np.asarray(mark, np.int64)]
    for numbers in tokenizer.encode_many(works):
        parts += [np.asarray(numbers, np.int64), np.asarray(mark, np.int64)]
    return np.concatenate(parts)


# ---------------------------------------------------------------- files


def save_tokenizer(tokenizer: Any, folder: Any) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json`` into a folder, also of characters."""
    if not isinstance(tokenizer, CharTokenizer):
        tokenizer.save_pretrained(folder)
        return
    os.makedirs(folder, exist_ok=True)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    for name, content in (
        ("tokenizer.json", text_of_tokenizer(tokenizer)),
        ("tokenizer_config.json", json.dumps(settings, indent=2) + "\n"),
    ):
        write_atomically(os.path.join(folder, name), content.encode())


def text_of_tokenizer(tokenizer: Any) -> str:
    """The ``tokenizer.json`` of a tokenizer."""
    if not isinstance(tokenizer, CharTokenizer):
        return str(tokenizer.inner.to_str())
    special = [
        {"id": number, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": True}
        for number, token in enumerate(tokenizer.special_tokens)
    ]  # fmt: skip
    vocabulary = {token: number for number, token in enumerate(tokenizer.tokens)}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": EACH}, "behavior": "Isolated", "invert": False},
        "post_processor": None,
        "decoder": {"type": "Fuse"},
        # An unknown token that is not in the vocabulary makes unknown characters an error.
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": tokenizer.unknown or "<unk>"},
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def read_tokenizer(folder: Any) -> Any:
    """The tokenizer in a model's folder; one of characters needs no library.

    Raises:
        FileFormatError: the file is damaged.
        FileNotFoundError: there is none.
    """
    path = os.path.join(folder, "tokenizer.json")
    if not os.path.exists(path):
        return Tokenizer.from_pretrained(folder)  # of older files
    with open(path, "rb") as file:
        data = file.read()
    try:
        return tokenizer_from_text(data.decode())
    except (ValueError, FileFormatError) as error:
        raise FileFormatError(f"{path} is no tokenizer: {error!s:.200}{here()}") from None


def tokenizer_from_text(text: str) -> Any:
    """The tokenizer of a ``tokenizer.json``."""
    try:
        content = json.loads(text)
        model, splitting = content["model"], content.get("pre_tokenizer") or {}
        if model.get("type") == "WordLevel" and splitting.get("pattern") == {"Regex": EACH}:
            vocabulary: dict[str, int] = model["vocab"]
            special = [one["content"] for one in content["added_tokens"]]
            unknown = model["unk_token"] if model["unk_token"] in vocabulary else None
            made = CharTokenizer([one for one in vocabulary if one not in special], special, unknown)
            if made.tokens != sorted(vocabulary, key=vocabulary.__getitem__):
                raise ShapeError("its characters are not in the order of their code points")
            return made
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise FileFormatError(f"this is no tokenizer: {error!s:.200}{here()}") from None
    return _of_library(text)


def _of_library(text: str) -> Tokenizer:
    try:
        from tokenizers import Tokenizer as Inner
    except ImportError:
        raise ImportError("tokenizers are the work of another library: pip install autograd_ff[text]") from None
    try:
        inner = Inner.from_str(text)
    except Exception as error:  # the library raises Exception itself
        raise FileFormatError(f"this is no tokenizer: {error!s:.200}{here()}") from None
    return Tokenizer(inner, END if inner.token_to_id(END) is not None else None)
