"""The recommender example: its measures against their definitions, people whose tastes are known, and MovieLens."""

from __future__ import annotations

import numpy as np
import pytest

import autograd_ff as af
from autograd_ff import datasets
from autograd_ff.errors import MissingDataError
from autograd_ff.examples import recommender
from autograd_ff.examples.recommender import Data, Factorisation, Ratings, Tower


class Tastes:
    """Two kinds of people, who rate films of their own kind, and these high; some films are liked by all."""

    user_count, item_count = 90, 60

    def __init__(self, seed=0, each=24):
        random = np.random.default_rng(seed)
        kind = np.arange(self.user_count) % 2
        rows = []
        for user in range(self.user_count):
            chances = np.where(np.arange(self.item_count) % 2 == kind[user], 1.0, 0.06)
            chances[:6] *= 1.5
            for item in random.choice(self.item_count, each, replace=False, p=chances / chances.sum()):
                liked = 4.2 if item % 2 == kind[user] else 2.0
                rows.append((user, item, np.clip(round(liked + random.normal(0, 0.5)), 1, 5)))
        rows = [rows[at] for at in random.permutation(len(rows))]
        users, items, ratings = zip(*rows, strict=True)
        self.users, self.items = np.array(users), np.array(items)
        self.ratings = np.array(ratings, np.float32)
        self.titles = [f"film {item} ({1980 + item % 19})" for item in range(self.item_count)]


@pytest.fixture(scope="module")
def small():
    return recommender.run(
        Tastes(), "user", epochs=12, seeds=(0,), compile=False, patience=12, batch_size=64, side=8, ridges=(0.005, 0.01)
    )


# ---------------------------------------------------------------- people whose tastes are known


def test_networks_find_tastes_that_popularity_does_not_see(small):
    rows = small.rows
    popular = rows["popularity"].mean("ndcg")
    for name in ("factorisation, ranking", "tower, ranking"):
        assert rows[name].mean("ndcg") > 1.3 * popular, name
        assert rows[name].mean("recall") > 1.3 * rows["popularity"].mean("recall"), name
        assert not rows[name].errors
    assert rows["factorisation by least squares"].errors[0] < 0.98 * rows["item mean"].errors[0]
    for name in ("factorisation, ratings", "tower, ratings"):
        losses = small.histories[name][0]["loss"]
        assert losses[-1] < 0.95 * losses[0], name
        assert rows[name].errors[0] < 0.95, name  # that of the mean of all is 1.24
    assert small.data.known_users.all()
    assert not rows["popularity"].new


def test_the_table_and_the_picture(small, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    recommender.show(small)
    printed = capsys.readouterr().out
    assert "tower, ranking" in printed
    assert "0 of them unseen" in printed
    recommender.draw(str(tmp_path / "picture.png"), small)
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_recommended_is_new_and_in_order(small):
    model = small.models["factorisation, ranking"]
    found = recommender.recommend(model, small.data, 3)
    items = [item for item, _ in found]
    scores = [score for _, score in found]
    assert len(set(items)) == 10
    assert not small.data.seen[3, items].any()
    assert scores == sorted(scores, reverse=True)
    assert np.mean(np.array(items) % 2 == 1) > 0.7  # of this user's kind


@pytest.mark.parametrize("kind", [Factorisation, Tower])
def test_scores_of_pairs_and_of_all_items_agree(small, kind):
    af.manual_seed(0)
    data = small.data
    model = kind(data, side=4)
    table = recommender.all_scores(model, data)
    pairs = recommender.pair_scores(model, data, data.test)
    np.testing.assert_allclose(table[data.test.users, data.test.items], pairs, rtol=1e-4, atol=1e-5)


def test_who_was_not_there_gets_what_nobody_in_particular_gets():
    movies = Tastes()
    late = movies.users >= 80  # these come last
    order = np.argsort(late, kind="stable")
    for name in ("users", "items", "ratings"):
        setattr(movies, name, getattr(movies, name)[order])
    data = Data.by_calendar(movies)
    assert not data.known_users[80:].any()
    af.manual_seed(0)
    model = Tower(data, side=4)
    recommender.fit_ranking(model, data, 1, compile=False, batch_size=128)
    table = recommender.all_scores(model, data)
    np.testing.assert_array_equal(table[80:], np.repeat(table[80:81], 10, axis=0))
    assert np.abs(model.users.weight.grad[data.user_count].numpy()).max() > 0  # and it is learnt what that is
    assert set(data.users_of(np.array([3, 85]))) == {3, movies.user_count}


# ---------------------------------------------------------------- how good


def test_measures_are_their_definitions():
    random = np.random.default_rng(0)
    movies = Tastes(1)
    data = Data.by_user(movies)
    scores = random.normal(size=(90, 60))
    found = recommender.ranking(scores, data, data.test)
    recalls, gains, hits, shown = [], [], [], set()
    for user in range(90):
        wanted = set(data.test.items[data.test.users == user].tolist())
        before = set(data.train.items[data.train.users == user]) | set(
            data.validation.items[data.validation.users == user]
        )
        if not wanted:
            continue
        best = sorted((item for item in range(60) if item not in before), key=lambda item: -scores[user, item])[:10]
        gain = sum(1 / np.log2(2 + place) for place, item in enumerate(best) if item in wanted)
        recalls.append(len(wanted & set(best)) / len(wanted))
        gains.append(gain / sum(1 / np.log2(2 + place) for place in range(min(10, len(wanted)))))
        hits.append(bool(wanted & set(best)))
        shown |= set(best)
    assert found.recall == pytest.approx(np.mean(recalls))
    assert found.ndcg == pytest.approx(np.mean(gains))
    assert found.hit_rate == pytest.approx(np.mean(hits))
    assert found.coverage == pytest.approx(len(shown) / 60)
    assert found.users == len(recalls)
    perfect = recommender.ranking(data.table(data.test).astype(float), data, data.test)
    assert perfect.ndcg == pytest.approx(1)
    assert perfect.hit_rate == 1


def test_ratings_are_held_to_one_to_five():
    part = Ratings(np.zeros(2, int), np.zeros(2, int), np.array([5.0, 1.0]))
    assert recommender.rmse(np.array([9.0, 2.0]), part) == pytest.approx(np.sqrt(0.5))


def test_drawn_items_were_not_rated_and_people_are_hidden_now_and_then():
    data = Data.by_user(Tastes())
    af.manual_seed(0)
    batches = list(recommender.Batches(data, batch_size=64, negatives=5))
    assert len(batches) == len(recommender.Batches(data, batch_size=64)) == len(data.train) // 64
    users = np.concatenate([inputs[0][:, 0] for inputs, _ in batches])
    items = np.concatenate([inputs[1] for inputs, _ in batches])
    there = users < data.user_count
    assert 0.05 < np.mean(~there) < 0.15
    assert data.seen[users[there], items[there, 0]].all()
    assert not data.seen[users[there, None], items[there, 1:]].any()


def test_biases_are_the_ridge_regression():
    data = Data.by_user(Tastes(2))
    of_users, of_items = recommender.bias_model(data, shrink=3.0, rounds=200)
    design = np.zeros((len(data.train), 150))
    design[np.arange(len(design)), data.train.users] = 1
    design[np.arange(len(design)), 90 + data.train.items] = 1
    wanted = np.linalg.solve(design.T @ design + 3 * np.eye(150), design.T @ (data.train.ratings - data.mean))
    np.testing.assert_allclose(np.concatenate([of_users, of_items]), wanted, atol=1e-5)


# ---------------------------------------------------------------- MovieLens


@pytest.fixture(scope="module")
def movies():
    try:
        return datasets.MovieLens100K()
    except MissingDataError as error:
        pytest.skip(f"MovieLens is not here: {str(error).splitlines()[-1].strip()}")


def test_movielens_parted_by_the_calendar_is_mostly_new_people(movies):
    data = Data.by_calendar(movies)
    assert [len(data.train), len(data.validation), len(data.test)] == [80000, 10000, 10000]
    users, items = np.unique(data.test.users), np.unique(data.test.items)
    assert (len(users), int((~data.known_users[users]).sum())) == (166, 97)
    assert (len(items), int((~data.known_items[items]).sum())) == (1343, 48)
    assert np.mean(~data.known_users[data.test.users]) == pytest.approx(0.858, abs=0.001)


def test_movielens_without_a_network(movies):
    data = Data.by_user(movies)
    test = data.test
    assert data.known_users.all()
    of_items = recommender.item_means(data)[test.items]
    of_users, of_both = recommender.bias_model(data)
    biases = data.mean + of_users[test.users] + of_both[test.items]
    factors = recommender.factors_by_least_squares(data)[test.users, test.items]
    errors = [recommender.rmse(one, test) for one in (of_items, biases, factors)]
    assert errors == pytest.approx([1.088, 1.009, 0.998], abs=0.002)
    popular = recommender.ranking(np.broadcast_to(recommender.popularity(data), data.seen.shape), data, test)
    assert popular.ndcg == pytest.approx(0.079, abs=0.001)


def test_movielens_users_are_numbered(movies, capsys):
    with pytest.raises(SystemExit):
        recommender.main(["--user", "943"])
    assert "users are numbered from 0 to 942" in capsys.readouterr().err
