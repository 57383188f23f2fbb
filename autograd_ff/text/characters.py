"""`CharTokenizer`: each character a token."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from ..engine import here
from ..errors import FileFormatError, ShapeError
from ..serialization import write_atomically
from .padding import Batch, pad_batch

__all__ = ["CharTokenizer"]


class CharTokenizer:
    """A token for each character that was seen, in the order of their code points, after the special ones.

    Args:
        characters: a text, or any strings, whose characters are the vocabulary.
        special_tokens: come first; the padding is the first of them.
        unknown: the special token for characters that are not in the vocabulary; None raises there.

    >>> from autograd_ff.text import CharTokenizer
    >>> tokenizer = CharTokenizer("hello")
    >>> tokenizer.encode("hole"), tokenizer.decode(tokenizer.encode("hole"))
    ([3, 5, 4, 2], 'hole')
    """

    FILE = "characters.json"

    def __init__(
        self,
        characters: Iterable[str],
        special_tokens: Sequence[str] = ("<pad>", "<unk>"),
        unknown: str | None = "<unk>",
    ) -> None:
        if unknown is not None and unknown not in special_tokens:
            raise ShapeError(
                f"the unknown token {unknown!r} is none of the special ones, {tuple(special_tokens)}{here()}"
            )
        found: set[str] = set()
        for text in [characters] if isinstance(characters, str) else characters:
            found.update(text)
        self.special_tokens = tuple(special_tokens)
        self.unknown = unknown
        self.tokens = [*self.special_tokens, *sorted(found - set(self.special_tokens))]
        self._ids = {token: number for number, token in enumerate(self.tokens)}
        if len(self._ids) != len(self.tokens):
            raise ShapeError(f"a special token stands twice in {tuple(special_tokens)}{here()}")

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""
        return len(self.tokens)

    @property
    def pad_id(self) -> int:
        """The number that fills up batches."""
        return 0

    def token_to_id(self, token: str) -> int | None:
        """The number of a token, None of one that is not there."""
        return self._ids.get(token)

    def encode(self, text: str, *, max_length: int | None = None) -> list[int]:
        """The numbers of a text's characters.

        Raises:
            ShapeError: a character that is not in the vocabulary, where there is no unknown token.
        """
        text = text[:max_length]
        if self.unknown is not None:
            other = self._ids[self.unknown]
            return [self._ids.get(character, other) for character in text]
        try:
            return [self._ids[character] for character in text]
        except KeyError as error:
            raise ShapeError(f"the character {error.args[0]!r} is not in the vocabulary{here()}") from None

    def encode_many(self, texts: Iterable[str], *, max_length: int | None = None) -> list[list[int]]:
        """The numbers of each text."""
        return [self.encode(text, max_length=max_length) for text in texts]

    def pad(self, sequences: Sequence[Any], **options: Any) -> Batch:
        """Encoded texts as one batch, see `pad_batch`."""
        return pad_batch(sequences, self.pad_id, **options)

    def encode_batch(
        self, texts: Iterable[str], *, max_length: int | None = None, padding_side: str = "right"
    ) -> Batch:
        """Texts as one padded batch.

        >>> from autograd_ff.text import CharTokenizer
        >>> CharTokenizer("ab").encode_batch(["ab", "b"]).input_ids.tolist()
        [[2, 3], [3, 0]]
        """
        return self.pad(self.encode_many(texts, max_length=max_length), side=padding_side)

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """The text of numbers.

        Raises:
            ShapeError: a number that stands for nothing.
        """
        first = len(self.special_tokens) if skip_special_tokens else 0
        numbers = [int(number) for number in ids]
        wrong = [number for number in numbers if not 0 <= number < len(self.tokens)]
        if wrong:
            raise ShapeError(f"{wrong[0]} is none of the {len(self.tokens)} tokens{here()}")
        return "".join(self.tokens[number] for number in numbers if number >= first)

    def save_pretrained(self, folder: Any) -> None:
        """Write ``characters.json`` into a folder, which is made where it is not there."""
        os.makedirs(folder, exist_ok=True)
        content = {
            "characters": "".join(self.tokens[len(self.special_tokens) :]),
            "special_tokens": list(self.special_tokens),
            "unknown": self.unknown,
        }
        write_atomically(os.path.join(folder, self.FILE), json.dumps(content, indent=2).encode())

    @classmethod
    def from_pretrained(cls, folder: Any) -> CharTokenizer:
        """The tokenizer that `save_pretrained` wrote.

        Raises:
            FileFormatError: the file is damaged.
        """
        path = os.path.join(folder, cls.FILE)
        with open(path, "rb") as file:
            data = file.read()
        try:
            content = json.loads(data)
            return cls(content["characters"], content["special_tokens"], content["unknown"])
        except (ValueError, TypeError, LookupError, ShapeError) as error:
            raise FileFormatError(f"{path} is damaged: {error!s:.200}{here()}") from None

    def __repr__(self) -> str:
        return f"CharTokenizer({self.vocab_size} tokens)"
