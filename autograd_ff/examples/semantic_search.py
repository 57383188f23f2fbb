"""A pretrained sentence encoder finds answers to questions in quite other words, where counting words is no better than
drawing lots; on news, which share words, both together are best.

A shop has 45 answers (``shop_faq.json``, written for this example). Each is asked for once in its own words and three
times in others, as customers do who do not know the shop's. In its own words every method puts every answer first. In
other words TF-IDF finds 0.7 % of the answers at the first place, lots 2.2 %, and MiniLM 52.6 % (74.1 % among the first
three). Where other wordings of the same question are known, and a question's score is the mean of its likeness to the
answer and to these, it is 64.4 % and 83.7 %; that does not help TF-IDF. The questions were written so that words do not
help: 129 of the 135 have no word of the answer but such as "the" and "can". News were not. Of 2,058 BBC headlines, each
to find its article, MiniLM, which reads the first 100 words, finds 72.4 % at the first place, TF-IDF 65.6 % (of the
whole article 64.5 %), and the sum of both 76.9 %.

A search always finds something, so it has to know when to say "I do not know". With a threshold that was chosen on half
of the topics, of other topics' questions 37 % are answered rightly, 12 % wrongly, and the rest is refused; without a
threshold it would be 64 % rightly and 36 % wrongly. Of questions that have no answer here, 99 % are refused if they are
no matter of a shop's ("Why is the sky blue?"), and 86 % if they are ("Do you sell kitchen knives?").

``--ask "..."`` answers a question of yours. Needs the weights and the news (``python -m autograd_ff fetch minilm
bbc-news``, or ``--download``), scikit-learn and tokenizers; reading the articles takes minutes, ``--articles 0`` leaves
them out.

Sources: N. Reimers and I. Gurevych, "Sentence-BERT" (2019), of the encoder's training; W. Youden, "Index for rating
diagnostic tests" (1950), of the threshold; D. Greene and P. Cunningham (2006), of the news.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from autograd_ff import datasets
from autograd_ff.data import fetch, locate
from autograd_ff.hub import SentenceEncoder

from . import command

Score = Callable[
    [Sequence[str], Sequence[str]], np.ndarray
]  # questions and documents to their likeness, (questions, documents)


@dataclass
class Faq:
    """The answers of a shop, and what is asked of it.

    Attributes:
        topics, answers: of equal length.
        plain: for each answer a question in its own words.
        questions, truth: questions in other words, and the place of the answer of each.
        near, far: questions that none of them answers: such as are put to a shop, and such as are not.
    """

    topics: list[str]
    answers: list[str]
    plain: list[str]
    questions: list[str]
    truth: np.ndarray
    near: list[str]
    far: list[str]

    @classmethod
    def load(cls) -> Faq:
        file = resources.files(__package__) / "shop_faq.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        entries = content["entries"]
        return cls(
            [one["topic"] for one in entries],
            [one["answer"] for one in entries],
            [one["plain"] for one in entries],
            [question for one in entries for question in one["questions"]],
            np.array([place for place, one in enumerate(entries) for _ in one["questions"]]),
            content["near"],
            content["far"],
        )

    @property
    def documents(self) -> list[str]:
        """What is searched: each answer under its heading."""
        return [f"{topic.capitalize()}: {answer}" for topic, answer in zip(self.topics, self.answers, strict=True)]


@dataclass
class Quality:
    """Of rankings: how often the right document comes first, among the first three, and the mean of 1 / its rank."""

    hit1: float
    hit3: float
    mrr: float
    count: int

    @classmethod
    def of(cls, scores: np.ndarray, truth: np.ndarray) -> Quality:
        found = ranks(scores, truth)
        return cls(float((found <= 1).mean()), float((found <= 3).mean()), float((1 / found).mean()), len(truth))

    @classmethod
    def chance(cls, documents: int) -> Quality:
        """That of documents in an order drawn by lot."""
        return cls(1 / documents, min(1.0, 3 / documents), float((1 / np.arange(1, documents + 1)).mean()), 0)


def ranks(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The rank of the right document, from 1, of each row; among equals the middle one.

    >>> ranks(np.array([[0.1, 0.9, 0.5], [0.0, 0.0, 0.0]]), np.array([2, 0]))
    array([2., 2.])
    """
    own = scores[np.arange(len(truth)), truth][:, None]
    place: np.ndarray = (scores > own).sum(1) + ((scores == own).sum(1) - 1) / 2 + 1
    return place


def words_of(text: str) -> set[str]:
    """
    >>> sorted(words_of("Can I send it back?"))
    ['back', 'can', 'i', 'it', 'send']
    """
    return set(re.findall(r"\w+", text.lower()))


def overlap(questions: Sequence[str], documents: Sequence[str]) -> np.ndarray:
    """The words that two texts share, over all that they have (Jaccard)."""
    asked, found = [words_of(text) for text in questions], [words_of(text) for text in documents]
    return np.array([[len(one & other) / max(len(one | other), 1) for other in found] for one in asked])


def tfidf(questions: Sequence[str], documents: Sequence[str]) -> np.ndarray:
    """The cosine of the counts of words, rare words weighing more (learned from the documents).

    Raises:
        ImportError: scikit-learn is missing.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError:
        raise ImportError("the search by words is scikit-learn's: pip install scikit-learn") from None
    vectorizer = TfidfVectorizer(sublinear_tf=True).fit(documents)
    return np.asarray((vectorizer.transform(questions) @ vectorizer.transform(documents).T).toarray())


class ByMeaning:
    """The cosine of sentence vectors. Each text is encoded once."""

    def __init__(self, encoder: SentenceEncoder, label: str = "") -> None:
        self.encoder = encoder
        self.label = label
        self.known: dict[str, np.ndarray] = {}

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        new = sorted(set(texts) - self.known.keys(), key=len)
        starts = range(0, len(new), 32)
        for start in command.progress(starts, self.label) if self.label and len(starts) > 8 else starts:
            part = new[start : start + 32]
            self.known.update(zip(part, self.encoder.encode(part).numpy(), strict=True))
        return np.stack([self.known[text] for text in texts])

    def __call__(self, questions: Sequence[str], documents: Sequence[str]) -> np.ndarray:
        return self.vectors(questions) @ self.vectors(documents).T


def with_wordings(
    score: Score,
    questions: Sequence[str],
    documents: Sequence[str],
    wordings: Sequence[str],
    truth: np.ndarray,
) -> np.ndarray:
    """Scores by documents and by how others have asked for them: the mean of the likeness to a document and of the mean
    likeness to the wordings that are known for it. A question is never held against itself.

    Args:
        questions, documents: as for any score.
        wordings, truth: known questions, and the place of the document of each.
    """
    alike = score(questions, wordings)
    own = np.array([[question == other for other in wordings] for question in questions])
    belongs = truth[:, None] == np.arange(len(documents))
    total = np.where(own, 0, alike) @ belongs
    return np.asarray((score(questions, documents) + total / np.maximum(~own @ belongs.astype(int), 1)) / 2)


@dataclass
class Refusal:
    """A threshold under which the answer is "I do not know", chosen on a half of the topics and held on the other.

    Attributes:
        threshold: chosen on all, for use.
        right, wrong: of the questions that have an answer, the share that is answered rightly and wrongly; the rest is
            refused.
        near, far: of those that have none, the share that gets one nevertheless.
        always_right: the share that is answered rightly where nothing is refused.
    """

    threshold: float
    right: float
    wrong: float
    near: float
    far: float
    always_right: float


def best_threshold(good: np.ndarray, bad: np.ndarray) -> float:
    """The score that parts two groups best: the middle between two scores where most of the one group lie above and most
    of the other below, each group counting as much as the other (Youden's index).

    >>> best_threshold(np.array([0.8, 0.6, 0.5]), np.array([0.1, 0.2, 0.55]))
    0.35
    """
    values = np.unique(np.concatenate([good, bad]))
    if not len(good) or not len(bad) or len(values) < 2:  # nothing to part: all below, or all above
        return float(values[-1]) if not len(good) else float(values[0]) - 1e-9
    middles = (values[1:] + values[:-1]) / 2
    gain = (good[:, None] > middles).mean(0) - (bad[:, None] > middles).mean(0)
    return float(middles[int(gain.argmax())])


def refusal(
    scores: np.ndarray, truth: np.ndarray, near: np.ndarray, far: np.ndarray, splits: int = 50, seed: int = 0
) -> Refusal:
    """The threshold of all, and how one does that was chosen without the topics and questions that it is tried on.

    What counts as good is a question whose best document is the right one: a wrong answer is no better than one to a
    question that has none.

    Args:
        scores, truth: of questions that have an answer.
        near, far: scores of those that have none.
        splits: into halves, by lot; the shares are means over them.
    """
    generator = np.random.default_rng(seed)
    best, correct = scores.max(1), scores.argmax(1) == truth
    tops = [near.max(1), far.max(1)]

    def choose(kept: np.ndarray, others: Sequence[np.ndarray]) -> float:
        return best_threshold(best[kept & correct], np.concatenate([best[kept & ~correct], *others]))

    found = []
    for _ in range(splits):
        topics = generator.permutation(scores.shape[1])[: scores.shape[1] // 2]
        kept = np.isin(truth, topics)
        halves = [generator.permutation(len(top)) < len(top) // 2 for top in tops]
        threshold = choose(kept, [top[half] for top, half in zip(tops, halves, strict=True)])
        answered = best[~kept] > threshold
        found.append(
            [
                (answered & correct[~kept]).mean(),
                (answered & ~correct[~kept]).mean(),
                *[(top[~half] > threshold).mean() for top, half in zip(tops, halves, strict=True)],
            ]
        )
    right, wrong, on_near, on_far = (float(share) for share in np.mean(found, 0))
    threshold = choose(np.ones(len(truth), bool), tops)
    return Refusal(threshold, right, wrong, on_near, on_far, float(correct.mean()))


@dataclass
class Result:
    """What was found, by method and task, with what the picture shows."""

    shop: dict[str, dict[str, Quality]]  # by method: "plain", "reworded"
    news: dict[str, Quality]  # by method; empty without articles
    refusal: Refusal
    faq: Faq
    scores: dict[str, np.ndarray]  # by method: reworded questions by answers
    best: dict[str, np.ndarray]  # of the encoder with other wordings, the best score of each question


def load_encoder(download: bool = False) -> SentenceEncoder:
    """MiniLM.

    Raises:
        MissingDataError: it was not fetched.
    """
    return SentenceEncoder.from_pretrained(fetch("minilm") if download else locate("minilm"))


def wordings_of(faq: Faq) -> tuple[list[str], np.ndarray]:
    """All known questions, and the place of the answer of each."""
    return [*faq.plain, *faq.questions], np.concatenate([np.arange(len(faq.plain)), faq.truth])


def search_shop(meaning: ByMeaning, faq: Faq) -> dict[str, dict[str, Quality]]:
    """Each method on questions in the words of the answers, and in others."""
    own = np.arange(len(faq.answers))
    methods: dict[str, Score] = {"shared words": overlap, "TF-IDF": tfidf, "encoder": meaning}
    found = {
        name: {
            "plain": Quality.of(score(faq.plain, faq.documents), own),
            "reworded": Quality.of(score(faq.questions, faq.documents), faq.truth),
        }
        for name, score in methods.items()
    }
    for name in ("TF-IDF", "encoder"):
        found[f"{name}, other wordings known"] = {
            kind: Quality.of(with_wordings(methods[name], asked, faq.documents, *wordings_of(faq)), truth)
            for kind, asked, truth in (("plain", faq.plain, own), ("reworded", faq.questions, faq.truth))
        }
    found["by lot"] = dict.fromkeys(("plain", "reworded"), Quality.chance(len(own)))
    return found


def search_news(meaning: ByMeaning, articles: Sequence[str], words: int) -> dict[str, Quality]:
    """Each method on headlines, which are to find the article that they stood over.

    Some articles were published twice, with small changes: of those with the same headline or beginning one is taken.
    """
    headlines, bodies, beginnings = [], [], []
    for text in articles:
        headline, _, body = text.partition("\n")
        beginning = " ".join(body.split()[:words])
        if headline not in headlines and beginning not in beginnings:
            headlines.append(headline)
            bodies.append(body)
            beginnings.append(beginning)
    truth = np.arange(len(bodies))
    by_words, by_meaning = tfidf(headlines, bodies), meaning(headlines, beginnings)
    return {
        f"TF-IDF, first {words} words": Quality.of(tfidf(headlines, beginnings), truth),
        "TF-IDF, whole article": Quality.of(by_words, truth),
        f"encoder, first {words} words": Quality.of(by_meaning, truth),
        "encoder + TF-IDF": Quality.of(by_meaning + by_words, truth),
        "by lot": Quality.chance(len(bodies)),
    }


def run(
    articles: int | None = None, words: int = 100, seed: int = 0, download: bool = False, encoder: Any = None
) -> Result:
    """Search the shop's answers, and the news.

    Args:
        articles: so many of the news, drawn by lot; all if None, none if 0.
        words: of each article that the encoder reads.
        seed: of what is drawn.
        download: fetch what is not on this machine.
        encoder: a `SentenceEncoder`; MiniLM if None.

    Raises:
        MissingDataError: weights or news were not fetched.
        ImportError: scikit-learn or tokenizers are missing.
    """
    faq = Faq.load()
    meaning = ByMeaning(load_encoder(download) if encoder is None else encoder, "reading")
    shop = search_shop(meaning, faq)
    known = wordings_of(faq)
    scores, near, far = (
        with_wordings(meaning, asked, faq.documents, *known) for asked in (faq.questions, faq.near, faq.far)
    )
    news: dict[str, Quality] = {}
    if articles != 0:
        texts = [text for train in (True, False) for text in datasets.BBCNews(train=train, download=download).texts]
        order = np.random.default_rng(seed).permutation(len(texts))[:articles]
        news = search_news(meaning, [texts[place] for place in np.sort(order)], words)
    return Result(
        shop,
        news,
        refusal(scores, faq.truth, near, far, seed=seed),
        faq,
        {"TF-IDF": tfidf(faq.questions, faq.documents), "encoder": meaning(faq.questions, faq.documents)},
        {
            "found rightly": scores.max(1)[scores.argmax(1) == faq.truth],
            "found wrongly": scores.max(1)[scores.argmax(1) != faq.truth],
            "no answer, near": near.max(1),
            "no answer, far": far.max(1),
        },
    )


@dataclass
class Reply:
    """What the shop says to a question: the likeliest answers, the best first, and whether the best is good enough."""

    topics: list[str]
    answers: list[str]
    scores: list[float]
    threshold: float

    @property
    def known(self) -> bool:
        return self.scores[0] > self.threshold


def ask(question: str, threshold: float | None = None, count: int = 3, encoder: Any = None) -> Reply:
    """Search the shop's answers for one question.

    Args:
        question: any.
        threshold: of the score; the one that `refusal` chooses if None.
        count: how many answers to return.
        encoder: a `SentenceEncoder`; MiniLM if None.

    Raises:
        ValueError: the question has no word.
        MissingDataError: the weights were not fetched.
    """
    if not words_of(question):
        raise ValueError(f"a question of one word at least is needed, got {question!r}")
    faq = Faq.load()
    meaning = ByMeaning(load_encoder() if encoder is None else encoder)
    known = wordings_of(faq)
    if threshold is None:
        of_known, near, far = (
            with_wordings(meaning, asked, faq.documents, *known) for asked in (faq.questions, faq.near, faq.far)
        )
        threshold = refusal(of_known, faq.truth, near, far, splits=1).threshold
    (scores,) = with_wordings(meaning, [question], faq.documents, *known)
    best = np.argsort(-scores)[:count]
    return Reply(
        [faq.topics[place] for place in best],
        [faq.answers[place] for place in best],
        [float(scores[place]) for place in best],
        threshold,
    )


def draw(path: str, result: Result) -> None:
    """Which answers each topic's questions are near to, by words and by meaning; the scores that the threshold parts."""
    from .picture import COLORS, axes_of, save

    figure, (by_words, by_meaning, parted) = axes_of(3, width=4.9, height=4.9)
    topics = len(result.faq.topics)
    belongs = (result.faq.truth == np.arange(topics)[:, None]).astype(float)
    belongs /= belongs.sum(1, keepdims=True)
    for axes, (name, scores) in zip((by_words, by_meaning), result.scores.items(), strict=True):
        axes.imshow(belongs @ scores, cmap="Greys", vmin=0)
        axes.grid(False)
        axes.set(title=name, xlabel="answer")
        axes.set_xticks([])
        axes.set_yticks([])
    for place, topic in enumerate(result.faq.topics):
        by_words.text(-1, place, topic, fontsize=5.5, ha="right", va="center")
    by_words.set_ylabel("questions in other words, mean of three", labelpad=72)
    edges = np.linspace(min(map(np.min, result.best.values())), max(map(np.max, result.best.values())), 19)
    looks = ((COLORS[0], "-"), (COLORS[4], "-"), (COLORS[1], "-"), (COLORS[7], "-"))
    for (name, scores), (color, line) in zip(result.best.items(), looks, strict=True):
        counts = np.histogram(scores, edges)[0] / len(scores)
        parted.stairs(counts, edges, color=color, linewidth=1.8, linestyle=line, label=f"{name} ({len(scores)})")
    parted.axvline(result.refusal.threshold, color="#000000", linestyle=":")
    parted.set(xlim=(edges[0] - 0.03, edges[-1] + 0.12), ylim=(0, parted.get_ylim()[1] * 1.12))
    for text, side in ((" answered", "left"), ('"I do not know" ', "right")):
        parted.text(result.refusal.threshold, parted.get_ylim()[1], text, va="top", ha=side)
    parted.set(title="where the limit was set", xlabel="score of the best answer", ylabel="share of the questions")
    parted.legend(fontsize=8, loc="upper right", bbox_to_anchor=(1.02, 0.93))
    save(figure, path, "Questions to a shop, and its 45 answers")


def main(arguments: Sequence[str] | None = None) -> int:
    options = command.parser(__doc__)
    options.add_argument("--ask", metavar="QUESTION", help="answer a question of yours, and do nothing else")
    options.add_argument("--articles", type=int, metavar="N", help="of the news (default: all; 0: none)")
    options.add_argument(
        "--words", type=command.positive, default=100, metavar="N", help="of each article (default: 100)"
    )
    options.add_argument("--download", action="store_true", help="fetch the weights and the news first")
    chosen = options.parse_args(arguments)
    if chosen.articles is not None and chosen.articles < 0:
        options.error(f"--articles {chosen.articles} is less than none")
    try:
        if chosen.ask is not None:
            return answer(chosen)
        result = run(chosen.articles, chosen.words, chosen.seed, chosen.download)
    except (FileNotFoundError, ImportError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    report(result)
    command.picture(chosen, "semantic_search.png", lambda path: draw(path, result))
    return 0


def answer(chosen: argparse.Namespace) -> int:
    """Print the reply to a user's own question."""
    if chosen.download:
        load_encoder(download=True)
    reply = ask(chosen.ask)
    print(reply.answers[0] if reply.known else "I do not know.")
    print(f"\nscores (answered above {reply.threshold:.2f}):")
    for topic, text, score in zip(reply.topics, reply.answers, reply.scores, strict=True):
        print(f"  {score:.2f}  {topic}: {text}")
    return 0


def report(result: Result) -> None:
    """Print the tables."""
    faq = result.faq
    print(f"{len(faq.answers)} answers; {len(faq.plain)} questions in their words, {len(faq.questions)} in others")
    command.table(
        ["search", "hit@1", "hit@3", "MRR", "in others: hit@1", "hit@3", "MRR"],
        [
            [name, *(shown for kind in ("plain", "reworded") for shown in cells(kinds[kind]))]
            for name, kinds in result.shop.items()
        ],
    )
    one = result.refusal
    print(
        f"\nA score above {one.threshold:.2f} is answered. With a threshold chosen on half of the topics, of the questions "
        f"of the other half\n{one.right:.0%} are answered rightly and {one.wrong:.0%} wrongly, the rest is refused "
        f"(nothing refused: {one.always_right:.0%} and {1 - one.always_right:.0%}).\nOf questions that have no answer here, "
        f"{1 - one.far:.0%} are refused where they are far from the shop's business, {1 - one.near:.0%} where they are near."
    )
    if result.news:
        count = max(quality.count for quality in result.news.values())
        print(f"\n{count} headlines, each to find its article among {count}")
        command.table(
            ["search", "hit@1", "hit@3", "MRR"], [[name, *cells(quality)] for name, quality in result.news.items()]
        )


def cells(quality: Quality) -> list[str]:
    """Shares in percent with a digit, and the mean reciprocal rank."""
    return [f"{quality.hit1:.1%}", f"{quality.hit3:.1%}", f"{quality.mrr:.3f}"]


if __name__ == "__main__":
    sys.exit(main())
