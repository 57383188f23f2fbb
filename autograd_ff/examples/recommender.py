"""What predicts ratings best ranks films worst, and a feedforward tower does not beat the inner product of two vectors.

MovieLens 100K, 100,000 ratings of 1,682 films by 943 users (`python -m autograd_ff fetch movielens`). Users and items have
learnt vectors and biases. What comes of a pair is their inner product (matrix factorisation) or a feedforward network over
both vectors and their product (the tower); either is trained towards the ratings (squared error), or towards the order:
a softmax over the film that was rated and five drawn ones. What is ranked are all films that the user had not rated before,
never a sample of them. Early stopping by the validation part.

Parted by the calendar (80 % to train on, 10 % to look at, the last 10 % to test on), 97 of the 166 users of the test part,
with 86 % of its ratings, were not there in training. A user in ten of each training batch is therefore shown as "unknown",
whose vector then stands for all new ones. That is as good as popularity and no better. Parted by each user's own time,
everybody is known, and there the vectors tell something:

| | RMSE | recall@10 | NDCG@10 | hit rate | coverage | by calendar: RMSE | NDCG@10 |
|---|---|---|---|---|---|---|---|
| popularity | | .071 | .079 | 37 % | 5 % | | .283 |
| item mean | 1.088 | .027 | .025 | 17 % | 3 % | 1.036 | .166 |
| user + item biases | 1.009 | .025 | .024 | 16 % | 3 % | 1.036 | .165 |
| factorisation by least squares | .998 | .032 | .040 | 21 % | 15 % | 1.032 | .170 |
| factorisation, ratings | **.991** | .016 | .019 | 13 % | 25 % | **1.026** | .185 |
| factorisation, ranking | | **.113** | **.120** | **47 %** | 28 % | | .293 |
| tower, ratings | .999 | .015 | .013 | 10 % | 8 % | 1.033 | .162 |
| tower, ranking | | .096 | .104 | 43 % | 18 % | | .273 |

(Seed 0, ``--seeds 1``. With a second seed by the calendar, the factorisation's NDCG@10 is .283 ± .010: popularity's.)

The smallest error of ratings, and still the films with the highest predictions are those that few rated: the order of
"factorisation, ratings" is far
worse than popularity's. Trained towards the order, both find a third to a half more than popularity, and the inner product is
ahead of the tower, as Rendle et al. found.

Sources: Y. Koren, R. Bell and C. Volinsky, "Matrix factorization techniques for recommender systems" (2009); X. He et al.,
"Neural collaborative filtering" (2017), of the tower; S. Rendle et al., "Neural collaborative filtering vs. matrix
factorization revisited" (2020); W. Krichene and S. Rendle, "On sampled metrics for item recommendation" (2020), on why all
items are ranked; F. Harper and J. Konstan, "The MovieLens datasets" (2015).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import autograd_ff as af
from autograd_ff import datasets, nn, optim
from autograd_ff.training import Callback, EarlyStopping, History, Trainer

from . import command

TOP = 10  # how many recommendations are looked at


# ---------------------------------------------------------------- data


@dataclass
class Ratings:
    """Who rated what, and how, in order of time."""

    users: np.ndarray
    items: np.ndarray
    ratings: np.ndarray

    def __len__(self) -> int:
        return len(self.users)


@dataclass
class Data:
    """Ratings of three stretches of time, and what was known when the first of them ended."""

    train: Ratings
    validation: Ratings
    test: Ratings
    user_count: int
    item_count: int
    titles: list[str]

    @classmethod
    def by_calendar(cls, movies: Any, held_out: float = 0.1) -> Data:
        """One day ends the training for all, a later one the validation. Most who rate after that were not there before."""
        count = len(movies.ratings)
        ends = [round(count * (1 - 2 * held_out)), round(count * (1 - held_out))]
        return cls.parted(movies, np.searchsorted(ends, np.arange(count), side="right"))

    @classmethod
    def by_user(cls, movies: Any, held_out: float = 0.1) -> Data:
        """The last tenth of each user's own ratings, and the tenth before: everybody is known."""
        order = np.argsort(movies.users, kind="stable")  # in order of time within each user
        counts = np.bincount(movies.users, minlength=movies.user_count)
        starts = np.cumsum(counts) - counts
        part = np.empty(len(order), np.int64)
        mine = movies.users[order]
        share = (np.arange(len(order)) - starts[mine]) / counts[mine]
        part[order] = (share >= 1 - 2 * held_out).astype(np.int64) + (share >= 1 - held_out)
        return cls.parted(movies, part)

    @classmethod
    def parted(cls, movies: Any, part: np.ndarray) -> Data:
        columns = (movies.users, movies.items, movies.ratings)
        train, validation, test = (Ratings(*(column[part == number] for column in columns)) for number in range(3))
        return cls(train, validation, test, movies.user_count, movies.item_count, list(movies.titles))

    def __post_init__(self) -> None:
        self.mean = float(self.train.ratings.mean())
        self.seen = self.table(self.train)
        self.known_users, self.known_items = (np.asarray(self.seen.any(axis)) for axis in (1, 0))

    def table(self, *parts: Ratings) -> np.ndarray:
        """Booleans (users, items): who has rated what."""
        made = np.zeros((self.user_count, self.item_count), np.bool_)
        for part in parts:
            made[part.users, part.items] = True
        return made

    def before(self, part: Ratings) -> np.ndarray:
        """Who had rated what before a part began."""
        return self.seen if part is self.validation else self.table(self.train, self.validation)

    def users_of(self, users: np.ndarray) -> np.ndarray:
        """Users as a network knows them: one number more stands for all that were not there in training."""
        return np.where(self.known_users[users], users, self.user_count)

    def items_of(self, items: np.ndarray) -> np.ndarray:
        return np.where(self.known_items[items], items, self.item_count)


# ---------------------------------------------------------------- how good


def rmse(predicted: np.ndarray, part: Ratings) -> float:
    return float(np.sqrt(np.mean((np.clip(predicted, 1, 5) - part.ratings) ** 2)))


@dataclass
class Ranking:
    """Means over the users who have something to find."""

    recall: float  # of what a user went on to rate, how much is among the ten
    ndcg: float  # the same, where the first of the ten count more
    hit_rate: float  # of the users, to how many the ten hold one thing at least
    coverage: float  # of all items, how many are recommended to anybody
    users: int


def ranking(scores: np.ndarray, data: Data, part: Ratings, who: np.ndarray | None = None, top: int = TOP) -> Ranking:
    """Scores against what came: all items that a user had not rated before are ranked, whatever the rating.

    Args:
        scores: (users, items); only the rows of users are read that rated something in this part.
        who: booleans (users,), those to look at; all by default.
    """
    wanted = data.table(part)
    users = np.flatnonzero(wanted.any(1) if who is None else wanted.any(1) & who)
    wanted = wanted[users]
    best = recommended(scores[users], data.before(part)[users], top)
    hits = np.take_along_axis(wanted, best, 1)
    counts = wanted.sum(1)
    discounts = 1 / np.log2(np.arange(2, top + 2))
    ideal = np.cumsum(discounts)[np.minimum(counts, top) - 1]
    return Ranking(
        float((hits.sum(1) / counts).mean()), float((hits @ discounts / ideal).mean()), float(hits.any(1).mean()),
        len(np.unique(best)) / scores.shape[1], len(users),
    )  # fmt: skip


def recommended(scores: np.ndarray, seen: np.ndarray, top: int = TOP) -> np.ndarray:
    """The items (users, top) with the highest scores among those not seen, the highest first."""
    open_scores = np.where(seen, -np.inf, scores)
    return np.argsort(-open_scores, axis=1, kind="stable")[:, :top]


# ---------------------------------------------------------------- without a network


def item_means(data: Data, shrink: float = 5.0) -> np.ndarray:
    """(items,): the mean of an item's ratings, and of ``shrink`` ratings of the overall mean, which alone is left of new items."""
    sums = np.bincount(data.train.items, data.train.ratings - data.mean, data.item_count)
    return data.mean + sums / (np.bincount(data.train.items, minlength=data.item_count) + shrink)


def popularity(data: Data) -> np.ndarray:
    """(items,): how often an item was rated."""
    return np.bincount(data.train.items, minlength=data.item_count).astype(np.float64)


def bias_model(data: Data, shrink: float = 5.0, rounds: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """What users (users,) and items (items,) are above the mean, each found with the other held, by ridge regression."""
    users, items, left = data.train.users, data.train.items, data.train.ratings - data.mean
    of_users, of_items = np.zeros(data.user_count), np.zeros(data.item_count)
    for _ in range(rounds):
        of_items = np.bincount(items, left - of_users[users], data.item_count) / (
            np.bincount(items, minlength=data.item_count) + shrink
        )
        of_users = np.bincount(users, left - of_items[items], data.user_count) / (
            np.bincount(users, minlength=data.user_count) + shrink
        )
    return of_users, of_items


def factors_by_least_squares(
    data: Data, rank: int = 8, ridge: float = 8.0, rounds: int = 12, seed: int = 0
) -> np.ndarray:
    """Predictions (users, items) of biases and factors found by alternating least squares: each user's factors exactly,
    with the items' held, then the other way round.

    Source: Koren, Bell and Volinsky, 2009, "Matrix factorization techniques for recommender systems".
    """
    of_users, of_items = bias_model(data)
    base = data.mean + of_users[:, None] + of_items
    left = np.zeros_like(base)
    left[data.train.users, data.train.items] = data.train.ratings - base[data.train.users, data.train.items]
    random = np.random.default_rng(seed)
    tables = [np.zeros((data.user_count, rank)), random.normal(0, 0.1, (data.item_count, rank))]
    for turn in range(2 * rounds):
        mine, other = turn % 2, tables[1 - turn % 2]
        seen, wanted = (data.seen.T, left.T) if mine else (data.seen, left)
        for row in np.flatnonzero(seen.any(1)):
            known = other[seen[row]]
            tables[mine][row] = np.linalg.solve(
                known.T @ known + ridge * np.eye(rank), known.T @ wanted[row, seen[row]]
            )
    return base + tables[0] @ tables[1].T


# ---------------------------------------------------------------- networks


class Scores(nn.Module):
    """Vectors and biases of users and items; the last row of each table stands for those that were not there in training."""

    def __init__(self, data: Data, side: int, mean: float) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(data.user_count + 1, side), nn.Embedding(data.item_count + 1, side)
        self.user_bias, self.item_bias = nn.Embedding(data.user_count + 1, 1), nn.Embedding(data.item_count + 1, 1)
        self.mean = mean
        for table, deviation in ((self.users, 0.1), (self.items, 0.1), (self.user_bias, 0.0), (self.item_bias, 0.0)):
            nn.init.normal_(table.weight, std=deviation)

    def interaction(self, user: af.Tensor, item: af.Tensor) -> af.Tensor:
        """Vectors (…, side) to a number for each pair (…)."""
        raise NotImplementedError

    def forward(self, users: af.Tensor, items: af.Tensor) -> af.Tensor:
        """Whole numbers (N,) and (N,), or (N, 1) and (N, K), to scores of the items' shape."""
        biases = (self.user_bias(users) + self.item_bias(items)).squeeze(-1)
        return self.interaction(self.users(users), self.items(items)) + biases + self.mean

    def size(self, users: af.Tensor, items: af.Tensor) -> af.Tensor:
        """The mean over pairs of the sum of squares of all that stands for them."""
        total = sum((table(users) ** 2).sum(-1).mean() for table in (self.users, self.user_bias))
        return total + sum((table(items) ** 2).sum(-1).mean() for table in (self.items, self.item_bias))


class Factorisation(Scores):
    """The inner product of both vectors: matrix factorisation."""

    def __init__(self, data: Data, side: int = 32, mean: float = 0.0, dropout: float = 0.0) -> None:
        super().__init__(data, side, mean)
        self.dropout = nn.Dropout(dropout)

    def interaction(self, user: af.Tensor, item: af.Tensor) -> af.Tensor:
        return (self.dropout(user) * item).sum(-1)


class Tower(Scores):
    """A feedforward network over both vectors and their product."""

    def __init__(self, data: Data, side: int = 32, mean: float = 0.0, dropout: float = 0.2, hidden: int = 32) -> None:
        super().__init__(data, side, mean)
        self.tower = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(3 * side, hidden), nn.ReLU(),
            nn.Dropout(dropout), nn.Linear(hidden, hidden // 2), nn.ReLU(), nn.Linear(hidden // 2, 1),
        )  # fmt: skip

    def interaction(self, user: af.Tensor, item: af.Tensor) -> af.Tensor:
        both = user * item
        return self.tower(af.cat([user.expand(both.shape), item.expand(both.shape), both], -1)).squeeze(-1)


def all_scores(model: Scores, data: Data, users: np.ndarray | None = None) -> np.ndarray:
    """(users, items), of every item for the users given (all by default); the rows of others are 0."""
    found = np.zeros((data.user_count, data.item_count), np.float32)
    rows = np.arange(data.user_count) if users is None else np.unique(users)
    items = af.tensor(data.items_of(np.arange(data.item_count)))[None]
    training = model.training
    model.eval()
    with af.no_grad():
        for start in range(0, len(rows), 64):
            some = rows[start : start + 64]
            ids = af.tensor(data.users_of(some)[:, None])
            found[some] = model(ids, items.expand(len(some), data.item_count)).numpy()
    model.train(training)
    return found


def pair_scores(model: Scores, data: Data, part: Ratings) -> np.ndarray:
    """What a model predicts for the pairs of a part."""
    inputs = data.users_of(part.users), data.items_of(part.items)
    found: np.ndarray = Trainer(model).predict(inputs, batch_size=4096).numpy()
    return found


class Batches:
    """Batches of rated pairs in a new order each epoch, some of them with a user or an item as if nobody knew them.

    With ``negatives``, so many items that the user has not rated stand after each item, drawn anew in each epoch.
    """

    def __init__(
        self, data: Data, batch_size: int = 512, negatives: int = 0, hidden: tuple[float, float] = (0.1, 0.02)
    ) -> None:
        self.data, self.batch_size, self.negatives, self.hidden = data, batch_size, negatives, hidden

    def __len__(self) -> int:
        return len(self.data.train) // self.batch_size

    def __iter__(self) -> Iterator[Any]:
        train, data, size = self.data.train, self.data, self.batch_size
        order = af.randperm(len(train)).numpy()
        for start in range(0, len(self) * size, size):
            chosen = order[start : start + size]
            users, items = train.users[chosen], train.items[chosen]
            unknown = af.rand(2, size).numpy() < np.array(self.hidden)[:, None]
            shown = np.where(unknown[0], data.user_count, users)
            if not self.negatives:
                yield (shown, np.where(unknown[1], data.item_count, items)), train.ratings[chosen]
                continue
            others = af.randint(0, data.item_count, (size, self.negatives)).numpy()
            again = data.seen[users[:, None], others]
            while again.any():
                others[again] = af.randint(0, data.item_count, (int(again.sum()),)).numpy()
                again = data.seen[users[:, None], others]
            candidates = data.items_of(np.concatenate([items[:, None], others], 1))
            yield (shown[:, None], candidates), np.zeros(size, np.int64)  # the first one is to have the highest score


class Validation(Callback):
    """After each epoch the NDCG@10 of some users on the validation part, for `EarlyStopping` to watch."""

    def __init__(self, data: Data, users: int = 300) -> None:
        super().__init__()
        self.data = data
        there = np.unique(data.validation.users)
        self.users = there[:: -(-len(there) // users)]
        self.who = np.isin(np.arange(data.user_count), self.users)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        model: Any = self.trainer.model
        scores = all_scores(model, self.data, self.users)
        logs["val_ndcg"] = ranking(scores, self.data, self.data.validation, self.who).ndcg


class Shrinking(Trainer):
    """Adds to the loss of each batch the size of the vectors in it: what is often rated may grow further from 0."""

    def __init__(self, model: Scores, loss: Any, optimizer: Any, ridge: float) -> None:
        super().__init__(model, loss, optimizer)
        self.ridge = ridge

    def compute_loss(self, inputs: Any, targets: Any, weights: Any = None) -> tuple[Any, Any]:
        loss, outputs = super().compute_loss(inputs, targets, weights)
        return (loss + self.ridge * self.model.size(*inputs) if self.model.training else loss), outputs


def fit_ratings(
    model: Scores,
    data: Data,
    epochs: int,
    rate: float = 5e-3,
    ridge: float = 0.1,
    *,
    batch_size: int = 512,
    patience: int = 2,
    compile: bool = True,
) -> History:
    """Towards the ratings themselves: the squared error, stopped early by that of the validation part."""
    trainer = Shrinking(model, nn.MSELoss(), optim.Adam(model.parameters(), lr=rate), ridge)
    part = data.validation
    validation = ((data.users_of(part.users), data.items_of(part.items)), part.ratings)
    return trainer.fit(
        Batches(data, batch_size), epochs=epochs, validation_data=validation, validation_batch_size=4096, verbose=0, compile=compile,
        callbacks=[EarlyStopping(patience=patience)],
    )  # fmt: skip


def fit_ranking(
    model: Scores,
    data: Data,
    epochs: int,
    rate: float = 5e-3,
    ridge: float = 0.03,
    *,
    batch_size: int = 512,
    patience: int = 2,
    compile: bool = True,
) -> History:
    """Towards the order: a softmax over the item that was rated and 5 others, stopped early by the validation's NDCG."""
    trainer = Shrinking(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=rate), ridge)
    return trainer.fit(
        Batches(data, batch_size, negatives=5), epochs=epochs, verbose=0, compile=compile,
        callbacks=[Validation(data), EarlyStopping(monitor="val_ndcg", mode="max", patience=patience)],
    )  # fmt: skip


# ---------------------------------------------------------------- all of it


@dataclass
class Row:
    """One method on the test part."""

    name: str
    errors: list[float]  # RMSE, of each seed; none where it gives no ratings
    rankings: list[Ranking]  # of each seed
    new: list[Ranking]  # for users alone that were not there in training; none where everybody was

    def mean(self, of: str) -> float:
        return float(np.mean([getattr(one, of) for one in self.rankings]))


@dataclass
class Result:
    """One way of parting the ratings, all methods on it."""

    data: Data
    rows: dict[str, Row]
    histories: dict[str, list[History]]
    models: dict[str, Scores]  # of the first seed


NETWORKS = {"factorisation": Factorisation, "tower": Tower}


def run(
    movies: Any = None,
    parted: str = "calendar",
    epochs: int = 30,
    seeds: Sequence[int] = (0, 1, 2),
    ridges: tuple[float, float] = (0.1, 0.03),
    patience: int = 2,
    compile: bool = True,
    batch_size: int = 512,
    **settings: Any,
) -> Result:
    """All methods on the test part.

    Args:
        movies: as `datasets.MovieLens100K` has them, which is the default.
        parted: ``"calendar"`` or ``"user"``: see `Data.by_calendar` and `Data.by_user`.
        epochs: at most.
        seeds: of first weights, batches and drawn items.
        patience: epochs without an improvement after which a training stops.
        ridges: how much the size of the vectors counts, of ratings and of the ranking.
        settings: of the networks.
    """
    movies = datasets.MovieLens100K() if movies is None else movies
    data = Data.by_calendar(movies) if parted == "calendar" else Data.by_user(movies)
    test = data.test
    shape = data.user_count, data.item_count
    of_items = np.broadcast_to(item_means(data), shape)
    of_users, of_both = bias_model(data)
    result = Result(data, {}, {}, {})

    def add(name: str, scores: np.ndarray, predicted: np.ndarray | None = None) -> None:
        row = result.rows.setdefault(name, Row(name, [], [], []))
        if predicted is not None:
            row.errors.append(rmse(predicted, test))
        row.rankings.append(ranking(scores, data, test))
        if not data.known_users.all():
            row.new.append(ranking(scores, data, test, ~data.known_users))

    add("popularity", np.broadcast_to(popularity(data), shape))
    for name, table in {
        "item mean": of_items,
        "user + item biases": data.mean + of_users[:, None] + of_both,
        "factorisation by least squares": factors_by_least_squares(data),
    }.items():
        add(name, table, table[test.users, test.items])
    trainings = [(seed, name, head) for name in NETWORKS for head in ("ratings", "ranking") for seed in seeds]
    for seed, name, head in command.progress(trainings, "trainings"):
        af.manual_seed(seed)
        model = NETWORKS[name](data, mean=data.mean if head == "ratings" else 0.0, **settings)
        fit, ridge = (fit_ratings, ridges[0]) if head == "ratings" else (fit_ranking, ridges[1])
        history = fit(model, data, epochs, ridge=ridge, batch_size=batch_size, patience=patience, compile=compile)
        scores = all_scores(model, data, test.users)
        full = f"{name}, {head}"
        add(full, scores, pair_scores(model, data, test) if head == "ratings" else None)
        result.histories.setdefault(full, []).append(history)
        result.models.setdefault(full, model)
    return result


def show(result: Result) -> None:
    """The table of one way of parting."""
    data, test = result.data, result.data.test
    users, items = np.unique(test.users), np.unique(test.items)
    print(
        f"{len(data.train):,} ratings to train on, {len(test):,} to test on, of {len(users)} users "
        f"({int((~data.known_users[users]).sum())} of them unseen in training, with {np.mean(~data.known_users[test.users]):.0%} "
        f"of the ratings) and {len(items):,} items ({int((~data.known_items[items]).sum())} unseen)"
    )

    def shown(values: Sequence[float], digits: int = 3) -> str:
        if not values:
            return ""
        spread = f" ± {np.std(values):.{digits}f}" if len(values) > 1 else ""
        return f"{np.mean(values):.{digits}f}{spread}"

    new = any(row.new for row in result.rows.values())
    command.table(
        ["method", "RMSE", "recall@10", "NDCG@10", "hit rate", "coverage", *(["NDCG@10, new users"] if new else [])],
        [
            [row.name, shown(row.errors), *(shown([getattr(one, of) for one in row.rankings]) for of in ("recall", "ndcg")),
             f"{row.mean('hit_rate'):.1%}", f"{row.mean('coverage'):.0%}",
             *([shown([one.ndcg for one in row.new])] if new else [])]
            for row in result.rows.values()
        ],
    )  # fmt: skip


def recommend(model: Scores, data: Data, user: int, top: int = TOP) -> list[tuple[int, float]]:
    """Items and their scores for one user, the best first, of those that were not rated in training."""
    scores = all_scores(model, data, np.array([user]))[user]
    return [(int(item), float(scores[item])) for item in recommended(scores[None], data.seen[user][None], top)[0]]


def draw(path: str, result: Result) -> None:
    """How the order gets better by epoch; the items' vectors as a map."""
    from .picture import COLORS, axes_of, save

    figure, (curves, plane) = axes_of(2, width=6.6, height=5.4)
    data = result.data
    for name, color in (("factorisation, ranking", COLORS[0]), ("tower, ranking", COLORS[1])):
        for number, history in enumerate(result.histories[name]):
            values = history["val_ndcg"]
            curves.plot(range(1, len(values) + 1), values, color=color, alpha=0.8, label=None if number else name)
    popular = ranking(np.broadcast_to(popularity(data), data.seen.shape), data, data.validation, Validation(data).who)
    curves.axhline(popular.ndcg, color=COLORS[7], linestyle=":", label="popularity")
    curves.set(xlabel="epoch", ylabel="NDCG@10", title="validation, each seed", ylim=(0, None))
    curves.legend(loc="lower right")
    # What is often rated, as its vector is well known; two directions in which the vectors differ most.
    often = np.argsort(-popularity(data), kind="stable")[:300]
    vectors = result.models["factorisation, ranking"].items.weight.detach().numpy()[often]
    _, _, directions = np.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    places = (vectors - vectors.mean(0)) @ directions[:2].T
    years = np.array([year_of(data.titles[item]) for item in often])
    dots = plane.scatter(*places.T, c=years, cmap="viridis", s=14, vmin=1970, vmax=1998)
    figure.colorbar(dots, ax=plane, label="year of release", extend="min")
    for at in spread_out(places, 22):
        title = data.titles[often[at]].rpartition(" (")[0]
        plane.annotate(title[:24], places[at], xytext=(3, 3), textcoords="offset points", fontsize=7)
    plane.set(title="vectors of the 300 films rated most", xticks=[], yticks=[])
    plane.grid(False)
    save(figure, path, "MovieLens 100K")


def year_of(title: str) -> float:
    year = title.rpartition("(")[2].rstrip(")")
    return float(year) if year.isdecimal() else np.nan


def spread_out(places: np.ndarray, count: int) -> list[int]:
    """The first of some points, then those that lie farthest from all before, to have names that do not overlap."""
    chosen = [0]
    while len(chosen) < count:
        apart = np.linalg.norm(places[:, None] - places[chosen], axis=-1).min(1)
        chosen.append(int(apart.argmax()))
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command.parser(__doc__, epochs=30)
    parser.add_argument(
        "--seeds", type=command.positive, default=3, metavar="N", help="how many, from --seed on (default: 3)"
    )
    parser.add_argument(
        "--user", type=int, metavar="N", help="train one model, and print what it recommends to this user"
    )
    options = parser.parse_args(arguments)
    movies = datasets.MovieLens100K()
    seeds = range(options.seed, options.seed + options.seeds)
    if options.user is not None:
        if not 0 <= options.user < movies.user_count:
            parser.error(f"users are numbered from 0 to {movies.user_count - 1}")
        data = Data.by_user(movies)
        af.manual_seed(options.seed)
        model = Factorisation(data)
        fit_ranking(model, data, options.epochs)
        mine = data.train.users == options.user
        best = sorted(zip(-data.train.ratings[mine], data.train.items[mine], strict=True))[:TOP]
        print(f"user {options.user} rated {int(mine.sum())} films, among them:")
        command.table(["film", "rating"], [[data.titles[item], f"{-rating:.0f}"] for rating, item in best])
        later = data.table(data.validation, data.test)[options.user]
        print("\nrecommended:")
        command.table(
            ["film", "item", "score", "rated later"],
            [
                [data.titles[item], item, score, "yes" if later[item] else ""]
                for item, score in recommend(model, data, options.user)
            ],
        )
        return 0
    results = {}
    for parted, title in (("calendar", "Parted by the calendar"), ("user", "Parted by each user's own time")):
        results[parted] = run(movies, parted, options.epochs, seeds)
        print(f"{title}: ", end="")
        show(results[parted])
        print()
    rows = results["user"].rows
    first = max(rows.values(), key=lambda row: row.mean("ndcg"))
    print(
        f"For known users the best order is that of {first.name}, NDCG@10 {first.mean('ndcg'):.3f} against "
        f"{rows['popularity'].mean('ndcg'):.3f} of popularity; the smallest RMSE "
        f"{min(np.mean(row.errors) for row in rows.values() if row.errors):.3f}."
    )
    command.picture(options, "recommender.png", lambda path: draw(path, results["user"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
