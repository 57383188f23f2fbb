"""Beam search against all sequences there are, and a decoder run token by token against the decoder run on the whole."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import nn
from autograd_ff.errors import ModuleError, ShapeError
from autograd_ff.hub import beam_search

END = 0


class Model:
    """Log-probabilities of the next token that depend on all tokens before it, as a network's do."""

    def __init__(self, seed, batch, vocabulary, beams):
        self.random, self.vocabulary, self.beams = seed, vocabulary, beams
        self.texts = [[] for _ in range(batch * beams)]

    def after(self, number, text):
        """Logits after a text of the batch's row ``number``."""
        return np.random.default_rng([self.random, number, *text]).normal(0, 2, self.vocabulary)

    def __call__(self, tokens, parents):
        before = self.texts if parents is None else [self.texts[parent] for parent in parents]
        self.texts = [[*text, int(token)] for text, token in zip(before, tokens, strict=True)]
        return np.stack([self.after(row // self.beams, text) for row, text in enumerate(self.texts)])

    def score(self, number, start, text, penalty):
        total, before = 0.0, [start]
        for token in text:
            logits = self.after(number, before)
            total += logits[token] - np.log(np.exp(logits).sum())
            before.append(token)
        return total / len(text) ** penalty


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), penalty=st.sampled_from([0.0, 0.6, 1.0]), steps=st.integers(1, 3))
def test_with_beams_for_all_sequences_it_finds_the_best_of_all(seed, penalty, steps):
    vocabulary, beams = 3, 60
    model = Model(seed, 2, vocabulary, beams)
    texts, scores = beam_search(model, [1, 2], beams=beams, max_new_tokens=steps, stop=END, length_penalty=penalty)
    for number, start in enumerate([1, 2]):
        whole = [
            (*text, *end)
            for length in range(steps + 1)
            for text in itertools.product(range(1, vocabulary), repeat=length)
            for end in ([(END,)] if length < steps else [()])
        ]
        best = max(whole, key=lambda text: model.score(number, start, text, penalty))
        assert texts[number] == [token for token in best if token != END]
        assert scores[number] == pytest.approx(model.score(number, start, best, penalty))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_one_beam_takes_the_likeliest_token_each_time(seed):
    model = Model(seed, 3, 5, 1)
    texts, _ = beam_search(model, [1, 2, 3], beams=1, max_new_tokens=6, stop=[END], length_penalty=0.0)
    for number, text in enumerate(texts):
        wanted = [number + 1]
        while len(wanted) < 7 and (token := int(model.after(number, wanted).argmax())) != END:
            wanted.append(token)
        assert text == wanted[1:]


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), beams=st.integers(1, 4))
def test_a_score_is_that_of_its_text(seed, beams):
    model = Model(seed, 2, 4, beams)
    texts, scores = beam_search(model, [1, 2], beams=beams, max_new_tokens=5, stop=END)
    for number, (text, score) in enumerate(zip(texts, scores, strict=True)):
        whole = text if len(text) == 5 else [*text, END]
        assert score == pytest.approx(model.score(number, number + 1, whole, 1.0))


def test_what_cannot_be_searched_is_said():
    with pytest.raises(ShapeError, match="beams is a whole number"):
        beam_search(lambda tokens, parents: np.zeros((1, 2)), [1], beams=0, stop=0)
    with pytest.raises(ShapeError, match=r"logits of shape \(2, vocabulary\), got \(1, 2\)"):
        beam_search(lambda tokens, parents: np.zeros((1, 2)), [1], beams=2, stop=0)
    with pytest.raises(ShapeError, match="one token for each text"):
        beam_search(lambda tokens, parents: np.zeros((1, 2)), [[1]], beams=2, stop=0)


# ---------------------------------------------------------------- a decoder token by token


@settings(deadline=None, max_examples=25)
@given(
    batch_first=st.booleans(),
    norm_first=st.booleans(),
    masked=st.booleans(),
    cuts=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    seed=st.integers(0, 1000),
)
def test_decoder_cache_gives_what_the_decoder_gives(batch_first, norm_first, masked, cuts, seed):
    af.manual_seed(seed)
    model = nn.Transformer(8, 2, 1, 2, 12, dropout=0.3, batch_first=batch_first, norm_first=norm_first)
    model.eval()
    memory, target = af.randn(3, 5, 8), af.randn(3, sum(cuts), 8)
    padding = af.tensor(np.arange(5) >= np.array([[5], [3], [1]])) if masked else None
    turned = (lambda x: x) if batch_first else (lambda x: x.transpose(0, 1))
    with af.no_grad():
        wanted = model.decoder(
            turned(target), turned(memory), tgt_is_causal=True, memory_key_padding_mask=padding
        ).numpy()
    model.train()  # nothing is dropped all the same
    cache = nn.DecoderCache(model.decoder, turned(memory), padding, max_len=sum(cuts))
    parts, at = [], 0
    for cut in cuts:
        parts.append(cache(turned(target[:, at : at + cut])).numpy())
        at += cut
    assert cache.length == len(cache) == sum(cuts)
    np.testing.assert_allclose(np.concatenate(parts, 1 if batch_first else 0), wanted, rtol=1e-4, atol=1e-5)


def test_decoder_cache_goes_on_from_other_rows():
    af.manual_seed(0)
    model = nn.Transformer(8, 2, 1, 1, 12, batch_first=True).eval()
    memory, target = af.randn(1, 4, 8).expand(2, 4, 8), af.randn(2, 2, 8)
    cache = nn.DecoderCache(model.decoder, memory, max_len=2)
    cache(target[:, :1])
    cache.reorder(af.tensor([1, 1]))
    found = cache(target[:, 1:]).numpy()
    other = af.cat([target[1:, :1].expand(2, 1, 8), target[:, 1:]], 1)
    wanted = model.decoder(other, memory, tgt_is_causal=True)[:, 1:].detach().numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_decoder_cache_refuses_what_it_cannot_run():
    model = nn.Transformer(8, 2, 1, 1, 12, batch_first=True)
    memory = af.randn(2, 4, 8)
    with pytest.raises(ShapeError, match=r"shape \(4, 2\), and is to have \(2, 4\)"):
        nn.DecoderCache(model.decoder, memory, af.zeros(4, 2).bool())
    with pytest.raises(ShapeError, match="three dimensions"):
        nn.DecoderCache(model.decoder, memory[0])
    with pytest.raises(ModuleError, match="not a Linear"):
        nn.DecoderCache(nn.TransformerDecoder(nn.Linear(8, 8), 1), memory)
    cache = nn.DecoderCache(model.decoder, memory, max_len=1)
    cache(af.randn(2, 1, 8))
    with pytest.raises(ShapeError, match="room for 1 tokens"):
        cache(af.randn(2, 1, 8))
