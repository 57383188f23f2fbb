"""The works of Shakespeare, for language models."""

from __future__ import annotations

from ..downloads import fetch, locate

__all__ = ["Shakespeare"]


class Shakespeare:
    """The works of Shakespeare: plays, sonnets and poems.

    Args:
        download: fetch them first, if they are not there.

    Attributes:
        works: the text of each work by its name, such as ``"hamlet"``.
        text: all of them, one after another.

    Raises:
        MissingDataError: they are not on this machine; the message names the command that fetches them.

    Source: the plain texts of Project Gutenberg.

    >>> Shakespeare().works["sonnets"][:18]  # doctest: +SKIP
    'THE SONNETS\\n\\nby W'
    """

    def __init__(self, download: bool = False) -> None:
        folder = fetch("shakespeare") if download else locate("shakespeare")
        self.works = {
            path.name.removesuffix("_gut.txt"): path.read_text(encoding="latin-1").strip() + "\n"
            for path in sorted(folder.glob("*_gut.txt"))
        }

    @property
    def text(self) -> str:
        return "\n\n".join(self.works.values())

    def __repr__(self) -> str:
        return f"Shakespeare({len(self.works)} works, {sum(map(len, self.works.values())):,} characters)"
