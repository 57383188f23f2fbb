"""Generating: the distribution that is drawn from, stop tokens, padding, the cache, and going on past the positions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import hub
from autograd_ff.errors import ShapeError
from autograd_ff.hub.generation import sample

SCORES = st.lists(st.floats(-8, 8), min_size=2, max_size=7).map(lambda row: np.array([row]))


def gpt(seed=0, **changed):
    af.manual_seed(seed)
    small = {"vocab_size": 11, "n_positions": 16, "n_embd": 8, "n_layer": 2, "n_head": 2, "initializer_range": 0.5}
    return hub.GPT2LMHeadModel(hub.GPT2Config(**{**small, **changed})).eval()


def chances(scores, temperature, top_k, top_p):
    """The distribution, token by token."""
    weights = np.exp((scores - scores.max()) / temperature)
    order = sorted(range(len(scores)), key=lambda index: -scores[index])[:top_k]
    total = sum(weights[order])
    kept, so_far = [], 0.0
    for index in order:
        if so_far < (1 if top_p is None else top_p):
            kept.append(index)
        so_far += weights[index] / total
    return {index: weights[index] / sum(weights[kept]) for index in kept}


@given(SCORES, st.floats(0.2, 3), st.none() | st.integers(1, 8), st.none() | st.floats(0.05, 1), st.integers(0, 999))
@settings(max_examples=80)
def test_what_is_drawn_is_in_the_set_and_as_frequent_as_told(scores, temperature, top_k, top_p, seed):
    many = np.repeat(scores, 2000, 0)
    drawn = sample(many, temperature, top_k, top_p, np.random.default_rng(seed))
    wanted = chances(scores[0], temperature, top_k, top_p)
    near = chances(scores[0], temperature, top_k, None if top_p is None else min(top_p + 1e-9, 1))  # ends to rounding
    assert set(drawn) <= set(wanted) | set(near)
    for index, chance in wanted.items():
        if wanted.keys() == near.keys():
            assert abs(np.mean(drawn == index) - chance) < 0.08


@given(SCORES)
def test_no_temperature_and_the_likeliest_alone_are_greedy(scores):
    assert sample(scores, 0.0)[0] == np.argmax(scores)
    assert sample(scores, 1.0, top_k=1)[0] == np.argmax(scores)
    assert sample(scores, 1.0, top_p=1e-9)[0] == np.argmax(scores)


def greedy(model, ids, count):
    """Without a cache: the whole text again for each token."""
    for _ in range(count):
        with af.no_grad():
            scores = model(af.tensor(ids)).logits.numpy()[:, -1]
        ids = np.concatenate([ids, scores.argmax(-1)[:, None]], 1)
    return ids


@given(st.integers(0, 9), st.integers(1, 3), st.integers(1, 8), st.integers(0, 8))
@settings(max_examples=20)
def test_the_cache_changes_nothing(seed, batch, length, count):
    model = gpt(seed)
    ids = np.random.default_rng(seed).integers(0, 11, (batch, length))
    np.testing.assert_array_equal(model.generate(af.tensor(ids), count).numpy(), greedy(model, ids, count))


@given(st.lists(st.lists(st.integers(0, 10), min_size=1, max_size=6), min_size=1, max_size=4), st.integers(0, 9))
@settings(max_examples=20)
def test_a_padded_batch_goes_on_as_its_texts_do_alone(texts, seed):
    model = gpt(seed)
    wide = max(map(len, texts))
    ids = [[0] * (wide - len(text)) + text for text in texts]
    mask = [[0] * (wide - len(text)) + [1] * len(text) for text in texts]
    made = model.generate(af.tensor(ids), 6, attention_mask=af.tensor(mask)).numpy()
    for row, text in enumerate(texts):
        np.testing.assert_array_equal(made[row, wide:], greedy(model, np.array([text]), 6)[0, len(text) :])


def test_stop_tokens_end_a_text_and_not_the_batch():
    model = gpt()
    ids = af.tensor([[1, 2], [3, 4], [5, 6]])
    free = model.generate(ids, 12).numpy()
    stop = int(free[0, 4])
    made = model.generate(ids, 12, stop=stop, pad=9).numpy()
    for row, whole in zip(made, free, strict=True):
        ends = np.flatnonzero(whole[2:] == stop)
        if len(ends):
            end = 3 + ends[0]
            np.testing.assert_array_equal(row[:end], whole[:end])
            assert (row[end:] == 9).all()
        else:
            np.testing.assert_array_equal(row, whole[: len(row)])
    alone = model.generate(ids[:1], 12, stop=[stop]).numpy()
    assert alone.shape == (1, 3 + np.flatnonzero(free[0, 2:] == stop)[0])


def test_a_seed_says_it_all_and_streaming_is_generating():
    model = gpt()
    ids = af.tensor([[1, 2]])
    how = {"do_sample": True, "temperature": 1.3, "top_k": 8, "top_p": 0.95}
    first = model.generate(ids, 10, generator=np.random.default_rng(5), **how).tolist()
    assert model.generate(ids, 10, generator=np.random.default_rng(5), **how).tolist() == first
    streamed = [token.tolist()[0] for token in model.stream(ids, 10, generator=np.random.default_rng(5), **how)]
    assert first[0][2:] == streamed
    assert any(
        model.generate(ids, 10, generator=np.random.default_rng(seed), **how).tolist() != first for seed in range(4)
    )


def test_streaming_gives_each_token_when_it_is_made_and_leaves_the_grad_mode():
    model = gpt()
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    tokens = model.stream(af.tensor([[1]]), 5)
    next(tokens)
    assert len(calls) == 1
    assert af.is_grad_enabled()
    next(tokens)
    assert len(calls) == 2
    tokens.close()
    assert af.is_grad_enabled()


def test_going_on_past_the_positions():
    model = gpt()
    ids = af.tensor([[1, 2, 3]])
    with pytest.raises(
        ShapeError, match=r"3 tokens and 14 new ones are more than the model's 16 positions(.*\n)*.*slide=True"
    ):
        model.generate(ids, 14)
    assert model.generate(ids, 13).shape == (1, 16)
    long = model.generate(ids, 60, slide=True)
    assert long.shape == (1, 63)
    np.testing.assert_array_equal(long.numpy()[:, :16], model.generate(ids, 13).numpy())
    # After that, each token follows from the text that it still sees: 16 tokens at most, 8 at least.
    seen = [
        any(
            greedy(model, long.numpy()[:, place - kept : place], 1)[0, -1] == long.numpy()[0, place]
            for kept in range(8, 17)
        )
        for place in range(16, 63)
    ]
    assert all(seen)
    masked = model.generate(af.tensor([[0, 1, 2, 3]]), 40, slide=True, attention_mask=af.tensor([[0, 1, 1, 1]]))
    np.testing.assert_array_equal(masked.numpy()[:, :16][:, 1:], long.numpy()[:, :15])
    assert model.generate(af.tensor([[1] * 40]), 2, slide=True).shape == (1, 42)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.7}, "temperature has no effect"),
        ({"top_k": 3}, "top_k has no effect"),
        ({"do_sample": True, "temperature": -1}, "a temperature is"),
        ({"do_sample": True, "temperature": float("nan")}, "a temperature is"),
        ({"do_sample": True, "top_k": 0}, "top_k is"),
        ({"do_sample": True, "top_p": 0.0}, "top_p lies"),
        ({"do_sample": True, "top_p": 1.5}, "top_p lies"),
        ({"max_new_tokens": -1}, "max_new_tokens"),
        ({"attention_mask": [[1, 0]]}, "padding stands on the left"),
        ({"attention_mask": [[1, 0, 1]]}, "the attention mask has shape"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ShapeError, match=message):
        gpt().generate(af.tensor([[1, 2]]), **settings)


@pytest.mark.parametrize("ids", [af.tensor([1, 2]), af.tensor([[1.0]]), af.zeros(1, 0, dtype="int64")])
def test_texts_that_are_none(ids):
    with pytest.raises(ShapeError, match="whole numbers of shape"):
        gpt().generate(ids)


def test_scores_that_are_no_numbers_are_told():
    with pytest.raises(ShapeError, match="NaN"):
        sample(np.array([[np.nan, 1.0]]))
