"""Verses in English and Spanish, for translation."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from ...engine import here
from ...errors import MissingDataError
from ..downloads import fetch, locate

__all__ = ["Verses"]

ENGLISH, SPANISH = "engWEB2015eb", "spaRV1909eb"
PREPARED = "verses.tsv"


class Verses:
    """The verses of the Bible in English (World English Bible) and Spanish (Reina-Valera, 1909).

    The first use takes one or two minutes, since the texts are compressed book by book and marked up word by word; what
    comes out is kept beside them. That needs the package pysword.

    Args:
        download: fetch them first, if they are not there.

    Attributes:
        references: where each verse stands, such as ``"Genesis 1:1"``.
        english, spanish: the verses, lists of str of equal length.

    Raises:
        MissingDataError: they are not on this machine, or pysword is not; the message names the command that helps.

    >>> Verses().spanish[0]  # doctest: +SKIP
    'EN el principio crió Dios los cielos y la tierra.'
    """

    def __init__(self, download: bool = False) -> None:
        folder = fetch("verses") if download else locate("verses")
        prepared = folder / PREPARED
        if prepared.exists():
            rows = [line.split("\t") for line in prepared.read_text(encoding="utf-8").splitlines()]
        else:
            rows = [list(row) for row in aligned(folder)]
            unfinished = folder / f".{PREPARED}.{os.getpid()}"
            unfinished.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
            unfinished.replace(prepared)
        self.references = [row[0] for row in rows]
        self.english = [row[1] for row in rows]
        self.spanish = [row[2] for row in rows]

    def __len__(self) -> int:
        return len(self.references)

    def __getitem__(self, index: int) -> tuple[str, str]:
        return self.english[index], self.spanish[index]

    def __repr__(self) -> str:
        return f"Verses({len(self):,} in English and Spanish)"


def aligned(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Reference, English and Spanish of all verses that both Bibles have under the same number."""
    from tqdm import tqdm

    try:
        from pysword.modules import SwordModules
    except ImportError:
        raise MissingDataError(
            f"The verses are read with pysword, which is not installed.\n  pip install pysword{here()}"
        ) from None
    modules = SwordModules(os.fspath(folder))
    modules.parse_modules()
    english, spanish = modules.get_bible_from_module(ENGLISH), modules.get_bible_from_module(SPANISH)
    # Of the Spanish Bible, which has the books that both have.
    books = [book for part in spanish.get_structure().get_books().values() for book in part]
    for book in tqdm(books, desc="reading the verses, once", disable=None, file=sys.stderr):
        for chapter in range(1, book.num_chapters + 1):
            for verse in range(1, book.chapter_lengths[chapter - 1] + 1):
                place = {"books": [book.name], "chapters": [chapter], "verses": [verse], "clean": False}
                pair = (plain(english.get(**place)), plain(spanish.get(**place)))
                if all(pair):
                    yield (f"{book.name} {chapter}:{verse}", *pair)


def plain(marked: str) -> str:
    """A verse without its markup (OSIS): without headings and footnotes, and what follows the last verse.

    >>> plain('<w lemma="H430">God</w><note>Hebrew <hi>Elohim</hi></note><w>created</w> it<div type="colophon">The end</div>')
    'God created it'
    """
    text = re.sub(r"<(note|title)\b[^>]*?(?<!/)>.*?</\1>", " ", marked, flags=re.DOTALL)
    text = re.sub(r"<div[^>]*type=\"(?:glossary|colophon|book|x-glossary)\".*", " ", text, flags=re.DOTALL)
    text = re.sub(
        r"<[^>]*>", lambda tag: "" if re.match(r"</?(w|q|seg|hi|divineName|transChange)\b", tag[0]) else " ", text
    )
    text = re.sub(r"\s+", " ", text).strip()
    return re.sub(r" (?=[,.;:!?’”])", "", text)
