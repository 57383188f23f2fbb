"""`Tokenizer`: WordPiece and BPE, by the tokenizers library."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from ..engine import here
from ..errors import DtypeError, FileFormatError, ShapeError
from ..serialization import write_atomically
from .padding import Batch, pad_batch

__all__ = ["Tokenizer"]


def _library() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise ImportError("tokenizers are the work of another library: pip install autograd_ff[text]") from None
    return tokenizers


class Tokenizer:
    """Text to numbers and back, by the ``tokenizers`` library.

    What a file presets about padding and truncation is switched off: texts are cut at ``max_length`` and padded to the
    longest of their batch, and to nothing else.

    Args:
        inner: a ``tokenizers.Tokenizer``.
        pad_token: the token that fills up batches; found in the file's presets, or by its usual names, if None.

    Attributes:
        inner: that of the library, for all that is not here.

    >>> from autograd_ff.text import Tokenizer
    >>> tokenizer = Tokenizer.train_bpe(["low lower lowest"] * 10, vocab_size=270)
    >>> tokenizer.decode(tokenizer.encode("slow, lower"))
    'slow, lower'
    >>> tokenizer.encode_batch(["low", "lower and lower"]).attention_mask.shape[0]
    2
    """

    def __init__(self, inner: Any, pad_token: str | None = None) -> None:
        preset = inner.padding or {}
        inner.no_padding()
        inner.no_truncation()
        self.inner = inner
        candidates = [pad_token] if pad_token else [preset.get("pad_token"), "[PAD]", "<pad>", "<|endoftext|>"]
        found = [token for token in candidates if token and inner.token_to_id(token) is not None]
        if pad_token and not found:
            raise ShapeError(f"the vocabulary has no token {pad_token!r} to pad with{here()}")
        self.pad_token: str | None = found[0] if found else None

    # ---------------------------------------------------------------- making

    @classmethod
    def from_file(cls, path: Any, **options: Any) -> Tokenizer:
        """The tokenizer of a ``tokenizer.json``.

        Raises:
            FileFormatError: the file is no tokenizer.
            FileNotFoundError: there is none.
        """
        library, name = _library(), os.fspath(path)
        try:
            with open(name, "rb") as file:
                data = file.read()
        except FileNotFoundError as error:
            raise FileNotFoundError(error.errno, "there is no such file to load", name) from None
        try:
            inner = library.Tokenizer.from_buffer(data)
        except Exception as error:  # the library raises Exception itself
            raise FileFormatError(f"{name} is no tokenizer: {error!s:.200}{here()}") from None
        return cls(inner, **options)

    @classmethod
    def from_vocab(cls, path: Any, *, lowercase: bool = True, strip_accents: bool | None = None) -> Tokenizer:
        """BERT's WordPiece with the vocabulary of a ``vocab.txt``, a token a line.

        Args:
            path: the file.
            lowercase: whether the vocabulary is of lower-case words ("uncased").
            strip_accents: whether accents are taken off; as ``lowercase`` if None.

        Raises:
            FileFormatError: the vocabulary lacks one of BERT's special tokens, or is not UTF-8.
        """
        library, name = _library(), os.fspath(path)
        try:
            with open(name, encoding="utf-8", newline="\n") as file:
                tokens = file.read().split("\n")
        except UnicodeDecodeError as error:
            raise FileFormatError(f"{name} is not UTF-8: {error}{here()}") from None
        if tokens and not tokens[-1]:
            tokens.pop()
        vocabulary = {token.rstrip("\r"): number for number, token in enumerate(tokens)}
        lacking = [token for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]") if token not in vocabulary]
        if lacking:
            raise FileFormatError(f"{name} is no vocabulary of BERT: it lacks {', '.join(lacking)}{here()}")
        inner = library.Tokenizer(library.models.WordPiece(vocabulary, unk_token="[UNK]"))
        inner.normalizer = library.normalizers.BertNormalizer(lowercase=lowercase, strip_accents=strip_accents)
        inner.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
        inner.decoder = library.decoders.WordPiece()
        inner.post_processor = library.processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
        )
        special = [token for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if token in vocabulary]
        inner.add_special_tokens(special)
        return cls(inner, "[PAD]")

    @classmethod
    def from_pretrained(cls, folder: Any) -> Tokenizer:
        """The tokenizer in a folder: ``tokenizer.json``, or ``vocab.txt``, or ``vocab.json`` with ``merges.txt``.

        Raises:
            FileFormatError: a file is damaged.
            FileNotFoundError: the folder holds none of them.
        """
        library = _library()
        settings: dict[str, Any] = {}
        path = os.path.join(folder, "tokenizer_config.json")
        if os.path.exists(path):
            try:
                with open(path, "rb") as file:
                    settings = dict(json.loads(file.read()))
            except (ValueError, TypeError) as error:
                raise FileFormatError(f"{path} is no JSON object: {error!s:.200}{here()}") from None
        pad = settings.get("pad_token")
        pad = pad.get("content") if isinstance(pad, dict) else pad
        whole, words, pieces, merges = (
            os.path.join(folder, name) for name in ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt")
        )
        if os.path.exists(whole):
            made = cls.from_file(whole)
            return made if pad is None or made.token_to_id(pad) is None else cls(made.inner, pad)
        if os.path.exists(words):
            return cls.from_vocab(words, lowercase=bool(settings.get("do_lower_case", True)))
        if os.path.exists(pieces) and os.path.exists(merges):
            try:
                inner = library.Tokenizer(library.models.BPE.from_file(pieces, merges))
            except Exception as error:  # the library raises Exception itself
                raise FileFormatError(f"{pieces} and {merges} make no tokenizer: {error!s:.200}{here()}") from None
            _byte_level(library, inner)
            return cls(inner)
        raise FileNotFoundError(f"{folder} holds neither tokenizer.json nor a vocabulary{here()}")

    @classmethod
    def train_bpe(
        cls,
        texts: Iterable[str],
        vocab_size: int = 8000,
        *,
        min_frequency: int = 2,
        special_tokens: Sequence[str] = ("<|endoftext|>",),
    ) -> Tokenizer:
        """A byte-level BPE, as GPT-2's, learnt from texts: pairs of pieces that come often become pieces.

        Each byte is a token, so no text is unknown, and every text comes back as it was. The same texts give the same
        tokenizer. Source: Sennrich, Haddow and Birch 2016; Radford et al. 2019.

        Args:
            texts: what to learn from.
            vocab_size: how many tokens there are in the end, the 256 bytes and the special ones among them.
            min_frequency: how often a pair has to come.
            special_tokens: come first, and are never cut; the first is the padding too, where none is called ``<pad>``.

        Raises:
            ShapeError: a vocabulary too small for the bytes.
        """
        if isinstance(texts, str):
            raise DtypeError(
                f"train_bpe takes a list of texts, or any that come one after the other; one is [text]{here()}"
            )
        least = 256 + len(special_tokens)
        if vocab_size < least:
            raise ShapeError(
                f"a byte-level BPE has the 256 bytes and {len(special_tokens)} special tokens at least, {least}; got "
                f"vocab_size={vocab_size}{here()}"
            )
        library = _library()
        inner = library.Tokenizer(library.models.BPE())
        _byte_level(library, inner)
        trainer = library.trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=min_frequency,
            special_tokens=list(special_tokens),
            initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        inner.train_from_iterator(texts, trainer)
        pad = "<pad>" if "<pad>" in special_tokens else (special_tokens[0] if special_tokens else None)
        return cls(inner, pad)

    # ---------------------------------------------------------------- using

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""
        return int(self.inner.get_vocab_size())

    @property
    def pad_id(self) -> int:
        """The number that fills up batches; 0 where the vocabulary has no token for it, since the mask tells."""
        return 0 if self.pad_token is None else int(self.inner.token_to_id(self.pad_token))

    def token_to_id(self, token: str) -> int | None:
        """The number of a token, None of one that is not there."""
        return self.inner.token_to_id(token)

    def id_to_token(self, number: int) -> str | None:
        """The token of a number, None where there is none."""
        return self.inner.id_to_token(number)

    def encode(
        self, text: str, pair: str | None = None, *, add_special_tokens: bool = True, max_length: int | None = None
    ) -> list[int]:
        """The numbers of a text, or of a pair of texts.

        Args:
            text, pair: what to encode.
            add_special_tokens: put in what the tokenizer puts around a text, such as ``[CLS]`` and ``[SEP]``.
            max_length: how many numbers at most, special ones included; the longer text of a pair is cut first.
        """
        (encoded,) = self._encoded([text], None if pair is None else [pair], add_special_tokens, max_length)
        return list(encoded.ids)

    def encode_many(
        self, texts: Iterable[str], *, add_special_tokens: bool = True, max_length: int | None = None
    ) -> list[list[int]]:
        """The numbers of each text, not padded."""
        return [list(one.ids) for one in self._encoded(texts, None, add_special_tokens, max_length)]

    def encode_batch(
        self,
        texts: Iterable[str],
        pairs: Iterable[str] | None = None,
        *,
        add_special_tokens: bool = True,
        max_length: int | None = None,
        padding: str | int = "longest",
        padding_side: str = "right",
        multiple_of: int = 1,
    ) -> Batch:
        """Texts, or pairs of texts, as one padded batch.

        Args:
            texts, pairs: what to encode.
            add_special_tokens, max_length: see `encode`.
            padding: ``"longest"`` fills up to the longest of the batch; ``"max_length"``, or a number, to that.
            padding_side: ``"right"``, or ``"left"`` for generating.
            multiple_of: make the length a multiple of this.

        Raises:
            ShapeError: a text longer than the padding.
        """
        encoded = self._encoded(texts, pairs, add_special_tokens, max_length)
        length: int | None
        if padding == "longest":
            length = None
        elif padding == "max_length" and max_length is not None:
            length = max_length
        elif isinstance(padding, int) and not isinstance(padding, bool):
            length = padding
        else:
            raise ShapeError(
                f'padding is "longest", "max_length" (with max_length given) or a number, not {padding!r}{here()}'
            )
        types = None if pairs is None else [one.type_ids for one in encoded]
        ids = [one.ids for one in encoded]
        return pad_batch(ids, self.pad_id, length=length, multiple_of=multiple_of, side=padding_side, types=types)

    def pad(self, sequences: Sequence[Any], **options: Any) -> Batch:
        """Encoded texts as one batch, see `pad_batch`."""
        return pad_batch(sequences, self.pad_id, **options)

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """The text of numbers."""
        return str(self.inner.decode([int(number) for number in ids], skip_special_tokens=skip_special_tokens))

    def decode_batch(self, batch: Iterable[Iterable[int]], skip_special_tokens: bool = True) -> list[str]:
        """The text of each row of numbers."""
        return [self.decode(row, skip_special_tokens) for row in batch]

    def save_pretrained(self, folder: Any) -> None:
        """Write ``tokenizer.json`` into a folder, which is made where it is not there, as Hugging Face's libraries read it."""
        os.makedirs(folder, exist_ok=True)
        write_atomically(os.path.join(folder, "tokenizer.json"), self.inner.to_str(pretty=True).encode())
        settings = {"tokenizer_class": "PreTrainedTokenizerFast"}
        if self.pad_token is not None:
            settings["pad_token"] = self.pad_token
        text = json.dumps(settings, indent=2) + "\n"
        write_atomically(os.path.join(folder, "tokenizer_config.json"), text.encode())

    def __repr__(self) -> str:
        return f"Tokenizer({type(self.inner.model).__name__}, {self.vocab_size} tokens)"

    # ---------------------------------------------------------------- the work

    def _check(self, *texts: Any) -> None:
        for text in texts:
            if text is not None and not isinstance(text, str):
                raise DtypeError(f"a text is a string, not {type(text).__name__}{here()}")

    def _encoded(
        self, texts: Iterable[str], pairs: Iterable[str] | None, special: bool, max_length: int | None
    ) -> list[Any]:
        if isinstance(texts, str):
            raise DtypeError(f"a batch is a list of texts; a single one is [text]{here()}")
        firsts = list(texts)
        inputs: list[Any] = firsts
        if pairs is not None:
            seconds = list(pairs)
            if len(firsts) != len(seconds):
                raise ShapeError(f"there are {len(firsts)} texts and {len(seconds)} to pair them with{here()}")
            self._check(*seconds)
            inputs = list(zip(firsts, seconds, strict=True))
        self._check(*firsts)
        encoded = self.inner.encode_batch(inputs, add_special_tokens=special)
        if max_length is None:
            return encoded
        room = max_length - (self.inner.num_special_tokens_to_add(pairs is not None) if special else 0)
        if room < 0:
            raise ShapeError(
                f"max_length={max_length} leaves no room for the {max_length - room} special tokens around a text{here()}"
            )
        # By hand, and not by the library's setting: that would be one for all threads that use the tokenizer.
        return [
            one if len(one) <= max_length else self._cut(given, room, special)
            for one, given in zip(encoded, inputs, strict=True)
        ]

    def _cut(self, given: Any, room: int, special: bool) -> Any:
        """A text, or a pair, in ``room`` numbers and the special ones around them."""
        first, second = given if isinstance(given, tuple) else (given, None)
        one = self.inner.encode(first, add_special_tokens=False)
        if second is None:
            one.truncate(room)
            return self.inner.post_process(one, None, special)
        two = self.inner.encode(second, add_special_tokens=False)
        # The longer one is cut until both are of a length, then both in turn.
        shorter = min(len(one), len(two), room // 2)
        kept = (
            (min(len(one), room - shorter), shorter)
            if len(one) > len(two)
            else (shorter, min(len(two), room - shorter))
        )
        one.truncate(kept[0])
        two.truncate(kept[1])
        return self.inner.post_process(one, two, special)


def _byte_level(library: Any, inner: Any) -> None:
    """GPT-2's way: words with the space before them, as bytes."""
    inner.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = library.decoders.ByteLevel()
    inner.post_processor = library.processors.ByteLevel(trim_offsets=False)
