"""Ratings of films by people, for recommenders."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from ...errors import FileFormatError
from ..downloads import fetch, locate

__all__ = ["MovieLens100K"]


class MovieLens100K:
    """MovieLens 100K: 100,000 ratings of films, from 1 to 5 stars, by people who rated at least 20 each, in 1997 and 1998.

    Args:
        download: fetch them first, if they are not there.

    Attributes:
        users, items: int64 (n,), numbered from 0; the ratings are in order of time.
        ratings: float32 (n,).
        timestamps: int64 (n,), seconds since 1970.
        titles: the name of each item, with the year of its release.
        user_count, item_count: how many there are.

    Raises:
        MissingDataError: they are not on this machine; the message names the command that fetches them.
        FileFormatError: the files are not what was expected.

    Source: F. Harper and J. Konstan, "The MovieLens datasets: history and context" (2015).

    >>> MovieLens100K().item_count  # doctest: +SKIP
    1682
    """

    def __init__(self, download: bool = False) -> None:
        folder = fetch("movielens") if download else locate("movielens")
        rows = np.array(read(folder / "ml-100k.inter")[1:], np.float64)
        if rows.ndim != 2 or rows.shape[1] != 4:
            raise FileFormatError(f"{folder / 'ml-100k.inter'} does not have the columns user, item, rating, time")
        # Several ratings share a second; among them the order of the file is kept.
        rows = rows[np.argsort(rows[:, 3], kind="stable")]
        _, self.users = np.unique(rows[:, 0], return_inverse=True)
        numbers, self.items = np.unique(rows[:, 1], return_inverse=True)
        self.ratings = rows[:, 2].astype(np.float32)
        self.timestamps = rows[:, 3].astype(np.int64)
        named = {int(row[0]): f"{row[1]} ({row[2]})" for row in read(folder / "ml-100k.item")[1:]}
        self.titles = [named.get(int(number), f"item {int(number)}") for number in numbers]
        self.user_count, self.item_count = int(self.users.max()) + 1, len(numbers)

    def __len__(self) -> int:
        return len(self.ratings)

    def __repr__(self) -> str:
        return f"MovieLens100K({len(self):,} ratings of {self.item_count:,} films by {self.user_count:,} people)"


def read(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
