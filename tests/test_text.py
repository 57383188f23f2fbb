"""Tokenizers, padding and batches: nothing is lost, nothing is preset, and a seed says it all."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff.data import DataLoader
from autograd_ff.errors import DtypeError, FileFormatError, ShapeError
from autograd_ff.text import CharTokenizer, LengthBatchSampler, Tokenizer, pad_batch

tokenizers = pytest.importorskip("tokenizers")
CORPUS = ["the quick brown fox jumps over the lazy dog", "the dog sleeps; the fox does not", "Größe, café, 数学 🙂"] * 5
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "fox", "dog", "##s", "jump", ",", "cafe", "数", "学"]


@pytest.fixture(scope="module")
def bpe():
    return Tokenizer.train_bpe(CORPUS, 300)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    path.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return Tokenizer.from_vocab(path)


# ---------------------------------------------------------------- BPE


@given(st.text(max_size=40))
def test_a_byte_level_bpe_gives_every_text_back(bpe, text):
    ids = bpe.encode(text)
    assert bpe.decode(ids, skip_special_tokens=False) == text
    assert all(0 <= one < bpe.vocab_size for one in ids)


def test_training_is_reproducible_and_learns_what_is_frequent(bpe):
    assert bpe.vocab_size == 300
    again = Tokenizer.train_bpe(iter(CORPUS), 300)
    assert again.inner.get_vocab() == bpe.inner.get_vocab()
    assert bpe.token_to_id("Ġthe") is not None
    assert len(bpe.encode("the fox")) < len("the fox") / 2
    assert bpe.encode("a<|endoftext|>b")[1] == bpe.pad_id == 0
    assert bpe.id_to_token(0) == "<|endoftext|>"
    assert bpe.id_to_token(10**6) is None


def test_settings_of_training_that_cannot_be():
    with pytest.raises(ShapeError, match="257"):
        Tokenizer.train_bpe(CORPUS, 200)
    with pytest.raises(DtypeError, match="one is"):
        Tokenizer.train_bpe("one text", 300)


# ---------------------------------------------------------------- WordPiece


def test_wordpiece_of_a_vocabulary(pieces):
    ids = pieces.encode("The foxs, Café 数学 zebra")
    assert [WORDS[one] for one in ids] == ["[CLS]", "the", "fox", "##s", ",", "cafe", "数", "学", "[UNK]", "[SEP]"]
    assert pieces.decode(ids) == "the foxs, cafe 数 学"
    assert pieces.encode("the", add_special_tokens=False) == [WORDS.index("the")]
    assert pieces.pad_id == 0


@pytest.mark.parametrize("text", ["", "[PAD]\n[UNK]\n", "\xff"])
def test_vocabularies_that_are_none(tmp_path, text):
    path = tmp_path / "vocab.txt"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(FileFormatError, match=r"vocab\.txt"):
        Tokenizer.from_vocab(path)


TEXTS = st.text("the fox dogs,", max_size=30)


@given(TEXTS, st.none() | TEXTS, st.integers(3, 12), st.booleans())
def test_what_is_cut_is_a_beginning_of_the_whole(pieces, first, second, limit, special):
    added = (2 if second is None else 3) if special else 0
    cut = pieces.encode(first, second, max_length=limit, add_special_tokens=special)
    whole = pieces.encode(first, second, add_special_tokens=special)
    assert len(cut) == min(len(whole), limit)
    one, two = (pieces.encode(text, add_special_tokens=False) for text in (first, second or ""))
    if special:
        assert cut[0] == WORDS.index("[CLS]")
        assert cut[-1] == WORDS.index("[SEP]")
        assert cut.count(WORDS.index("[SEP]")) == (1 if second is None else 2)
    if second is None:
        assert cut == (cut[:1] + one[: limit - 2] + cut[-1:] if special else one[:limit])
    elif special:
        end = cut.index(WORDS.index("[SEP]"))
        kept = (end - 1, len(cut) - end - 2)
        assert cut[1:end] == one[: kept[0]]
        assert cut[end + 1 : -1] == two[: kept[1]]
        if len(whole) > limit:  # as the library cuts: from the longer one, until both are equal
            twin = tokenizers.Tokenizer.from_str(pieces.inner.to_str())
            twin.enable_truncation(limit)
            assert sorted(kept) == sorted(
                sum(1 for number in twin.encode(first, second).sequence_ids if number == which) for which in (0, 1)
            )
    assert len(cut) <= limit or limit < added


def test_a_length_without_room_is_told(pieces):
    with pytest.raises(ShapeError, match="no room for the 2 special tokens"):
        pieces.encode("the fox", max_length=1)


def test_batches_have_masks_types_and_their_own_lengths(pieces):
    batch = pieces.encode_batch(["the", "the fox jumps"], max_length=9)
    assert batch.input_ids.dtype == batch.attention_mask.dtype == af.int64
    assert batch.attention_mask.tolist() == [[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]]
    assert batch.token_type_ids is None
    left = pieces.encode_batch(["the", "the fox jumps"], padding_side="left")
    assert left.attention_mask.tolist()[0] == [0, 0, 0, 1, 1, 1]
    pairs = pieces.encode_batch(["the", "fox"], ["dog", "dogs"])
    assert pairs.token_type_ids.tolist() == [[0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1]]
    assert pieces.encode_batch(["the"], padding=8).input_ids.shape == (1, 8)
    assert pieces.encode_batch(["the"], padding="max_length", max_length=7).input_ids.shape == (1, 7)
    assert pieces.encode_batch(["the"], multiple_of=8).input_ids.shape == (1, 8)
    assert pieces.encode_batch([]).input_ids.shape == (0, 0)
    assert pieces.decode_batch(batch.input_ids.tolist()) == ["the", "the fox jumps"]


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        (("one text",), {}, DtypeError),
        (([3],), {}, DtypeError),
        ((["a"], ["b", "c"]), {}, ShapeError),
        ((["a"],), {"padding": "max_length"}, ShapeError),
        ((["a"],), {"padding": True}, ShapeError),
        ((["the fox"],), {"padding": 2}, ShapeError),
        ((["a"],), {"padding_side": "top"}, ShapeError),
    ],
)
def test_batches_that_cannot_be(pieces, arguments, options, error):
    with pytest.raises(error):
        pieces.encode_batch(*arguments, **options)


# ---------------------------------------------------------------- files


def test_presets_of_a_file_are_off_and_saving_brings_all_back(tmp_path, pieces):
    inner = tokenizers.Tokenizer.from_str(pieces.inner.to_str())
    inner.enable_padding(length=128, pad_token="[PAD]")
    inner.enable_truncation(4)
    inner.save(str(tmp_path / "tokenizer.json"))
    loaded = Tokenizer.from_pretrained(tmp_path)
    assert len(loaded.encode("the fox jumps the dog")) == 8
    assert loaded.encode_batch(["the"]).input_ids.shape == (1, 3)
    loaded.save_pretrained(tmp_path / "again")
    assert Tokenizer.from_pretrained(tmp_path / "again").encode("the dogs") == pieces.encode("the dogs")


def test_vocabularies_as_files(tmp_path, bpe, pieces):
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    assert Tokenizer.from_pretrained(tmp_path / "words").encode("The dogs") == pieces.encode("The dogs")
    (tmp_path / "words" / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    assert Tokenizer.from_pretrained(tmp_path / "words").encode("The")[1] == WORDS.index("[UNK]")
    (tmp_path / "bytes").mkdir()
    bpe.inner.model.save(str(tmp_path / "bytes"))
    text = "the quick 数学 fox"
    again = Tokenizer.from_pretrained(tmp_path / "bytes")
    assert again.encode(text) == bpe.encode(text)
    assert again.decode(again.encode(text)) == text


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"model": 3}', "nonsense"])
def test_files_that_are_no_tokenizers(tmp_path, text):
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(FileFormatError, match=r"tokenizer\.json is no tokenizer"):
        Tokenizer.from_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError):
        Tokenizer.from_file(tmp_path / "nothing.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="neither"):
        Tokenizer.from_pretrained(tmp_path / "empty")


# ---------------------------------------------------------------- characters


@given(st.text(min_size=1), st.text())
def test_characters_come_back_and_others_are_unknown(tmp_path_factory, known, other):
    tokenizer = CharTokenizer([known])
    assert tokenizer.decode(tokenizer.encode(known)) == known
    ids = tokenizer.encode(other)
    assert [one == 1 for one in ids] == [character not in known for character in other]
    assert tokenizer.vocab_size == 2 + len(set(known))
    folder = tmp_path_factory.mktemp("characters")
    tokenizer.save_pretrained(folder)
    assert CharTokenizer.from_pretrained(folder).tokens == tokenizer.tokens


def test_misuse_of_characters(tmp_path):
    strict = CharTokenizer("abc", ("<pad>",), None)
    with pytest.raises(ShapeError, match="'d' is not in the vocabulary"):
        strict.encode("abd")
    with pytest.raises(ShapeError, match="9 is none of the 4 tokens"):
        strict.decode([9])
    with pytest.raises(ShapeError, match="none of the special ones"):
        CharTokenizer("abc", ("<pad>",))
    for text in ("", "{}", '{"characters": 3, "special_tokens": [], "unknown": null}'):
        (tmp_path / "characters.json").write_text(text)
        with pytest.raises(FileFormatError):
            CharTokenizer.from_pretrained(tmp_path)


# ---------------------------------------------------------------- padding and batches


ROWS = st.lists(st.lists(st.integers(1, 99), max_size=9), max_size=6)


@given(ROWS, st.integers(1, 5), st.sampled_from(["left", "right"]))
def test_padding_keeps_the_numbers_and_nothing_else(rows, multiple, side):
    batch = pad_batch(rows, -7, multiple_of=multiple, side=side)
    wide = batch.input_ids.shape[1]
    assert wide % multiple == 0
    assert wide - max(map(len, rows), default=0) < multiple
    for row, ids, mask in zip(rows, batch.input_ids.tolist(), batch.attention_mask.tolist(), strict=True):
        assert [one for one, seen in zip(ids, mask, strict=True) if seen] == row
        assert sum(mask) == len(row)
        fill = [-7] * (wide - len(row))
        assert ids == (fill + row if side == "left" else row + fill)


@given(
    lengths=st.lists(st.integers(0, 40), max_size=80),
    size=st.integers(1, 9),
    window=st.integers(1, 4),
    tokens=st.none() | st.integers(1, 100),
    shuffle=st.booleans(),
    seed=st.integers(0, 99),
)
def test_batches_by_length_hold_each_index_once(lengths, size, window, tokens, shuffle, seed):
    def make():
        generator = np.random.default_rng(seed)
        return LengthBatchSampler(lengths, size, max_tokens=tokens, shuffle=shuffle, window=window, generator=generator)

    sampler = make()
    batches = list(sampler)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(0 < len(batch) <= size for batch in batches)
    if tokens is not None:
        assert all(
            len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= tokens for batch in batches
        )
    if tokens is None or not shuffle:
        assert len(sampler) == len(batches)
    else:
        with pytest.raises(TypeError):
            len(sampler)
    assert list(make()) == batches  # the same seed
    dropped = LengthBatchSampler(lengths, size, shuffle=shuffle, window=window, drop_last=True)
    assert all(len(batch) == size for batch in dropped)
    assert len(dropped) == len(list(dropped))


def test_batches_by_length_are_padded_little_and_differ_from_epoch_to_epoch():
    random = np.random.default_rng(0)
    texts = [[1] * length for length in random.integers(1, 100, 640)]
    sampler = LengthBatchSampler([len(text) for text in texts], 16, generator=random)
    epochs = [list(DataLoader(texts, batch_sampler=sampler, collate_fn=pad_batch)) for _ in range(2)]
    assert [batch.input_ids.shape for batch in epochs[0]] != [batch.input_ids.shape for batch in epochs[1]]
    shares = [float(batch.attention_mask.double().mean()) for batch in epochs[0]]
    assert np.mean(shares) > 0.9
    plain = [
        float(batch.attention_mask.double().mean())
        for batch in DataLoader(texts, 16, shuffle=True, collate_fn=pad_batch)
    ]
    assert np.mean(plain) < 0.65


@pytest.mark.parametrize(
    "options",
    [{"batch_size": 0}, {"batch_size": True}, {"window": 0}, {"max_tokens": 0}, {"max_tokens": 9, "drop_last": True}],
)
def test_samplers_that_cannot_be(options):
    with pytest.raises(ShapeError):
        LengthBatchSampler([1, 2], **{"batch_size": 2, **options})
