"""Real data: MNIST, which comes with the package, and what `autograd_ff.data.fetch` brings.

>>> from autograd_ff import datasets
>>> len(datasets.MNIST(train=True))
60000
"""

from .images import MNIST, FashionMNIST
from .movielens import MovieLens100K
from .shakespeare import Shakespeare
from .texts import BBCNews, ChineseReviews, LabelledTexts, MovieReviews
from .verses import Verses

__all__ = [
    "BBCNews", "ChineseReviews", "FashionMNIST", "LabelledTexts", "MNIST", "MovieLens100K", "MovieReviews", "Shakespeare",
    "Verses",
]  # fmt: skip
