"""Texts to learn from, and what is held out of each."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...data import datasets
from ...engine import here
from ...errors import FileFormatError, ShapeError

__all__ = ["TEXTS", "Corpus", "read_corpus"]


@dataclass(frozen=True)
class Corpus:
    """Works, each in a part to learn from and a part that is held out.

    Attributes:
        name: what it is called in reports.
        train: what is learnt from, for each work that has such a part.
        held_out: what is not.
        skipped: characters that `without` left out.

    >>> corpus = Corpus.cut("poem", ["roses are red, violets are blue"], 0.5)
    >>> corpus.train, corpus.held_out
    (('roses are red, ',), ('violets are blue',))
    """

    name: str
    train: tuple[str, ...]
    held_out: tuple[str, ...]
    skipped: int = 0

    @classmethod
    def cut(cls, name: str, works: Iterable[str], held_out: float) -> Corpus:
        """Works of which the last part is held out: from the beginning of the line, or else of the word, where the cut falls."""
        parts = [_cut(work, held_out) for work in works if work.strip()]
        return cls(name, tuple(first for first, _ in parts if first), tuple(last for _, last in parts if last))

    @property
    def characters(self) -> int:
        """How many there are in all."""
        return sum(map(len, (*self.train, *self.held_out)))

    @property
    def alphabet(self) -> set[str]:
        """The characters of both parts."""
        return set().union(*self.train, *self.held_out)

    @property
    def digest(self) -> str:
        """Tells one corpus from another."""
        found = hashlib.sha256()
        for part in (self.train, self.held_out):
            for work in part:
                data = work.encode("utf-8", "surrogatepass")
                found.update(f"{len(data)}:".encode() + data)
            found.update(b"|")
        return found.hexdigest()

    def without(self, characters: Iterable[str]) -> Corpus:
        """The corpus with these characters left out."""
        table = dict.fromkeys(map(ord, characters))
        train, held_out = (tuple(work.translate(table) for work in part) for part in (self.train, self.held_out))
        left = replace(self, train=train, held_out=held_out)
        return replace(left, skipped=self.skipped + self.characters - left.characters)


def _cut(work: str, held_out: float) -> tuple[str, str]:
    place = round(len(work) * (1 - held_out))
    slack = max(80, len(work) // 20)  # as far back as the beginning of a line may be looked for
    for mark in ("\n", " "):
        found = work.rfind(mark, max(0, place - slack), place) + 1
        if found:
            return work[:found], work[found:]
    return work[:place], work[place:]


# ---------------------------------------------------------------- texts that are known by name


def shakespeare(held_out: float) -> Corpus:
    """The works of Shakespeare."""
    return Corpus.cut("shakespeare", datasets.Shakespeare().works.values(), held_out)


def bbc_news(held_out: float) -> Corpus:
    """News of 2004 and 2005; held out are whole articles, those of the data set's own test split."""
    train, test = (tuple(datasets.BBCNews(train=one).texts) for one in (True, False))
    return Corpus("bbc-news", train, test)


def verses(held_out: float) -> Corpus:
    """The World English Bible, a verse a line."""
    return Corpus.cut("verses", ["\n".join(datasets.Verses().english)], held_out)


TEXTS: dict[str, Callable[[float], Corpus]] = {"shakespeare": shakespeare, "bbc-news": bbc_news, "verses": verses}


def read_corpus(sources: Iterable[str], held_out: float = 0.1) -> Corpus:
    """The corpus of texts known by name, or of files.

    Args:
        sources: keys of `TEXTS`, or paths of UTF-8 files, each of which is a work.
        held_out: the share of each work, at its end, that is held out; texts that come with a split keep theirs.

    Raises:
        FileFormatError: a file is not UTF-8, or holds no text.
        FileNotFoundError: there is no such file, and no such name.
        MissingDataError: a text known by name was not fetched.

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "poem.txt")
    >>> with open(path, "w") as file:
    ...     _ = file.write("roses are red\\nviolets are blue\\n" * 10)
    >>> corpus = read_corpus([path])
    >>> corpus.name, corpus.characters, corpus.held_out
    ('poem', 310, ('roses are red\\nviolets are blue\\n',))
    """
    parts = [TEXTS[one](held_out) if one in TEXTS else _of_file(one, held_out) for one in sources]
    train, held = (tuple(work for part in parts for work in getattr(part, name)) for name in ("train", "held_out"))
    names = [part.name for part in parts]
    name = "+".join(names) if len(names) <= 3 else f"{names[0]} and {len(names) - 1} more"
    if not train or not held:
        raise ShapeError(f"{name}: the text is too short to hold {held_out:.0%} of it out{here()}")
    return Corpus(name, train, held)


def _of_file(path: Any, held_out: float) -> Corpus:
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError as error:
        known = f"{path!r}; by name are known {', '.join(TEXTS)}"
        raise FileNotFoundError(error.errno, "there is no such text", known) from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileFormatError(
            f"{path} is not UTF-8: byte {error.start:,} is 0x{data[error.start]:02x}.{here()}\n"
            "  Convert it, from Latin-1 say: iconv -f latin1 -t utf-8 OLD > NEW"
        ) from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise FileFormatError(f"{path} holds no text{here()}")
    return Corpus.cut(os.path.splitext(os.path.basename(path))[0], [text], held_out)
