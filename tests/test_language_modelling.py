"""The language model of the command line: its texts, tokens, windows and scores, what it writes, and its training beside
PyTorch's, compiled and not, whole and resumed."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import hub
from autograd_ff.errors import AutogradError, FileFormatError, ShapeError
from autograd_ff.text import CharTokenizer
from autograd_ff.training.language_modelling import (
    Corpus,
    LanguageModelling,
    LanguageSettings,
    RandomWindows,
    Samples,
    Windows,
    held_out_windows,
    read_corpus,
    read_tokenizer,
    save_tokenizer,
    score,
    write,
)
from autograd_ff.training.language_modelling.tokens import END, encoded, make_tokenizer

LINES = [
    f"{number} men in {place} {act} the {thing}.\n"
    for number in ("two", "three", "four")
    for place in ("Spain", "Rome", "Elsinore")
    for act in ("sing", "fear", "love")
    for thing in ("rain", "king", "sea")
]
SMALL = {
    "tokenizer": "chars", "layers": 2, "width": 16, "heads": 2, "context": 12, "batch_size": 4, "interval": 5, "steps": 15,
    "warmup": 4, "lr": 1e-2,
}  # fmt: skip


@pytest.fixture
def text(tmp_path):
    """The path of a text of 81 lines."""
    path = tmp_path / "verse.txt"
    path.write_text("".join(LINES))
    return str(path)


def small(text: str, **others) -> LanguageSettings:
    return LanguageSettings(**{**SMALL, "text": (text,), **others})


class Recorded(LanguageModelling):
    """Keeps the loss of each step."""

    losses: list

    def measured(self, result, batch, metrics):
        values = super().measured(result, batch, metrics)
        if self.model.training:
            self.losses.append(values["loss"])
        return values


def recorded(settings, **options):
    run = Recorded(settings)
    losses = run.losses = []
    run.train(verbose=0, checks=False, **options)
    return run, losses


def weights(run) -> dict[str, np.ndarray]:
    return {name: value.array.copy() for name, value in run.model.state_dict().items()}


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


# ---------------------------------------------------------------- texts

TEXT = st.text(st.characters(codec="utf-8"), min_size=20, max_size=300)


@given(st.lists(TEXT, min_size=1, max_size=4), st.floats(0.05, 0.95))
def test_a_cut_loses_nothing_and_shares_nothing(works, held_out):
    assume(all(work.strip() for work in works))
    corpus = Corpus.cut("works", works, held_out)
    joined = "".join(first + last for first, last in zip(corpus.train, corpus.held_out, strict=False))
    if len(corpus.train) == len(corpus.held_out) == len(works):
        assert joined == "".join(works)
    assert corpus.characters == sum(map(len, works))


def test_a_cut_falls_at_the_beginning_of_a_line():
    corpus = Corpus.cut("lines", ["".join(LINES)], 0.1)
    assert corpus.train[0].endswith(".\n")
    assert 0.85 < len(corpus.train[0]) / corpus.characters < 0.95


def test_nothing_held_out_is_trained_on(text):
    run = LanguageModelling(small(text))
    (held,) = run.corpus.held_out
    missing = [line for line in LINES if line in held]
    assert missing
    learnt = run.tokenizer.decode(run.ids)
    assert learnt == run.corpus.train[0]
    assert not any(line in learnt for line in missing)
    for inputs, targets in run.batches_of_windows():
        for row in (*inputs.array, *targets.array):
            assert run.tokenizer.decode(row) in learnt


def test_a_bpe_learns_its_pieces_from_the_training_part_alone():
    corpus = Corpus("words", ("abcabc " * 50,), ("xyzxyz " * 50,))
    tokenizer = make_tokenizer("bpe", corpus, 300)
    assert len(tokenizer.encode("abcabc")) < 6
    assert len(tokenizer.encode("xyzxyz")) == 6


def test_digests_tell_texts_apart():
    parts = [(("ab",), ("c",)), (("a", "b"), ("c",)), (("a",), ("bc",)), (("ab", "c"), ()), (("ab",), ("d",))]
    assert len({Corpus("x", *one).digest for one in parts}) == len(parts)


# ---------------------------------------------------------------- tokens


@given(TEXT)
@settings(max_examples=30)
def test_both_tokenizers_give_a_text_back(work):
    corpus = Corpus("text", (work * 2,), (work,))
    for kind in ("chars", "bpe"):
        if kind == "bpe":
            pytest.importorskip("tokenizers")
        tokenizer = make_tokenizer(kind, corpus, 300)
        ids = encoded(tokenizer, [work, work])
        end = tokenizer.token_to_id(END)
        assert ids[0] == ids[-1] == end
        assert np.count_nonzero(ids == end) == 3
        assert tokenizer.decode(ids) == work * 2


def test_tokens_of_characters_are_kept_as_hugging_face_reads_them(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    made = make_tokenizer("chars", Corpus("x", ("déjà\nvu “so”",), ("é",)), 0)
    save_tokenizer(made, tmp_path)
    read = read_tokenizer(tmp_path)
    assert isinstance(read, CharTokenizer)
    assert read.tokens == made.tokens
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in ("déjà\nvu", "a  b\n\n", "“so”"):
        assert theirs.encode(text).ids == made.encode(text) == read.encode(text)
        assert theirs.decode(made.encode(text)) == text
    with pytest.raises(Exception, match="WordLevel"):
        theirs.encode("日")


def test_a_damaged_tokenizer_is_named(tmp_path):
    path = tmp_path / "tokenizer.json"
    for content in (b"", b"[]", b"{}", b"\xff\xfe", b'{"model": {"type": "WordLevel"}}', b'{"model": 3}'):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match="is no tokenizer"):
            read_tokenizer(tmp_path)


# ---------------------------------------------------------------- windows


@given(st.integers(2, 60), st.integers(1, 20))
def test_windows_cover_every_token_and_tell_the_one_after_each(count, context):
    ids = np.arange(count)
    if count < context + 1:
        with pytest.raises(ShapeError, match=r"fewer than one window(.|\n)*shorter context"):
            Windows(ids, context)
        return
    windows = Windows(ids, context)
    seen = set()
    for index in range(len(windows)):
        inputs, targets = (part.array for part in windows[index])
        assert len(inputs) == len(targets) == context
        assert np.array_equal(targets, inputs + 1)
        seen |= {*inputs.tolist(), *targets.tolist()}
    assert seen == set(range(count))
    with pytest.raises(IndexError):
        windows[len(windows)]


def test_random_windows_begin_everywhere_equally_often():
    drawn = np.array([*RandomWindows(10, 8, 1000, seed=3)]).ravel()
    counts = np.bincount(drawn, minlength=10)
    assert len(counts) == 10
    # Chi squared with 9 degrees of freedom: 40 is passed once in 100,000 runs, and the seed is fixed.
    assert np.sum((counts - 800) ** 2 / 800) < 40
    again, other = RandomWindows(10, 8, 3, seed=3), RandomWindows(10, 8, 3, seed=4)
    first = [*again]
    assert first == [*RandomWindows(10, 8, 3, seed=3)] != [*other]
    assert [*again] != first


@given(st.integers(2, 100), st.integers(1, 30), st.one_of(st.none(), st.integers(1, 5)))
def test_held_out_windows_lie_side_by_side(count, context, most):
    inputs, targets = held_out_windows(np.arange(count), context, most)
    assert np.array_equal(targets, inputs + 1)
    told = targets.ravel()
    assert len(np.unique(told)) == len(told)
    if most is None:
        assert np.array_equal(told, np.arange(1, len(told) + 1))
        assert count - 1 - len(told) < context
    else:
        assert len(inputs) <= most


# ---------------------------------------------------------------- scores


def tiny(vocabulary: int = 11, positions: int = 8, seed: int = 0):
    af.manual_seed(seed)
    config = hub.GPT2Config(
        vocab_size=vocabulary, n_positions=positions, n_embd=8, n_layer=1, n_head=2, initializer_range=0.5,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    return hub.GPT2LMHeadModel(config)


@given(st.integers(2, 60), st.integers(1, 8), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_a_score_tells_every_token_once_from_those_before_it_in_its_window(count, context, batch_size):
    model = tiny()
    ids = np.random.default_rng(count).integers(0, 11, count)
    found = score(model, ids, count, context, batch_size)
    assert model.training
    model.eval()
    total = 0.0
    for place in range(1, count):  # one after the other
        begin = (place - 1) // context * context
        logits = model(af.tensor(ids[None, begin:place])).logits.detach().numpy()[0, -1].astype(np.float64)
        total += np.log(np.exp(logits).sum()) - logits[ids[place]]
    assert found.tokens == count - 1
    assert found.loss == pytest.approx(total / (count - 1), rel=1e-5)
    assert found.perplexity == pytest.approx(math.exp(found.loss))
    assert found.bits_per_character == pytest.approx(total / math.log(2) / count, rel=1e-5)


def test_who_knows_nothing_needs_the_logarithm_of_the_vocabulary():
    model = tiny(16)
    for parameter in model.parameters():
        parameter.data.zero_()
    found = score(model, np.arange(16), 15, 8)
    assert found.loss == pytest.approx(math.log(16), rel=1e-6)
    assert found.perplexity == pytest.approx(16, rel=1e-5)
    assert found.bits_per_character == pytest.approx(4, rel=1e-6)


# ---------------------------------------------------------------- settings


@given(st.integers(1, 500), st.integers(0, 400), st.integers(1, 100))
def test_the_rate_rises_to_its_peak_and_falls_to_a_tenth(steps, warmup, interval):
    made = LanguageSettings(steps=steps, warmup=warmup, interval=interval, lr=1.0)
    assert steps <= made.total < steps + interval
    assert made.total % interval == 0
    rates = [made.rate(step) for step in range(made.total)]
    top = int(np.argmax(rates))
    assert rates[top] == pytest.approx(1.0)
    assert all(np.diff(rates[: top + 1]) > 0)
    assert all(np.diff(rates[top:]) <= 0)
    assert min(rates) > 0
    if made.total > top + 1:
        assert rates[-1] == pytest.approx(0.1)
    assert LanguageSettings.from_dict(json.loads(json.dumps(made.as_dict()))) == made


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"tokenizer": "words"}, "one of bpe, chars"), ({"width": 10, "heads": 3}, "not divisible among 3 heads"),
        ({"text": ()}, "one at least"), ({"text": "hamlet.txt"}, "a tuple"), ({"held_out": 0.0}, "above 0 and below 1"),
        ({"held_out": 1.0}, "above 0 and below 1"), ({"dropout": 1.0}, "a probability below 1"),
        ({"steps": 0}, "positive"), ({"layers": 0}, "positive"), ({"seed": -1}, "cannot be negative"),
        ({"clip": 0.0}, "clip is above 0"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong, words):
    with pytest.raises(ShapeError, match=words):
        LanguageSettings(**wrong)


# ---------------------------------------------------------------- training beside PyTorch


def torch_losses(run: LanguageModelling, state, dtype) -> list[float]:
    """The losses of the same training by PyTorch: a GPT written out, its AdamW, its clipping."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    made, count = run.settings, run.settings.heads
    here = {name: torch.tensor(value, dtype=dtype, requires_grad=True) for name, value in state.items()}
    here["lm_head.weight"] = here["transformer.wte.weight"]

    def affine(x, name):
        return x @ here[f"{name}.weight"] + here[f"{name}.bias"]

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], here[f"{name}.weight"], here[f"{name}.bias"], 1e-5)

    def logits(ids):
        batch, length = ids.shape
        x = F.embedding(ids, here["transformer.wte.weight"]) + here["transformer.wpe.weight"][:length]
        for number in range(made.layers):
            block = f"transformer.h.{number}"
            parts = affine(norm(x, f"{block}.ln_1"), f"{block}.attn.c_attn").chunk(3, -1)
            query, key, value = (part.view(batch, length, count, -1).transpose(1, 2) for part in parts)
            seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
            x = x + affine(seen.transpose(1, 2).reshape(batch, length, -1), f"{block}.attn.c_proj")
            inner = F.gelu(affine(norm(x, f"{block}.ln_2"), f"{block}.mlp.c_fc"), approximate="tanh")
            x = x + affine(inner, f"{block}.mlp.c_proj")
        return norm(x, "transformer.ln_f") @ here["lm_head.weight"].T

    unique = list({id(one): one for one in here.values()}.values())
    groups = [
        {"params": [one for one in unique if one.ndim > 1], "weight_decay": made.weight_decay},
        {"params": [one for one in unique if one.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=made.learning_rate, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: made.rate(step) / made.learning_rate)
    loader = run.batches_of_windows()
    losses = []
    for _ in range(made.intervals):
        for inputs, targets in loader:
            optimizer.zero_grad()
            given = torch.from_numpy(inputs.array.copy()), torch.from_numpy(targets.array.copy())
            loss = F.cross_entropy(logits(given[0]).flatten(0, 1), given[1].flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(unique, made.clip)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    return losses


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 2e-5)])
def test_the_losses_are_pytorchs(text, dtype, tolerance):
    """Both do the same arithmetic in another order, so they differ by rounding that the steps multiply.

    In float64 thirty steps make at most some thousand times 1e-16 of it, so 1e-10 leaves no room for a formula that
    differs anywhere. In float32 the same growth begins at 6e-8. The clipping must be at work, or it is not tested.
    """
    torch = pytest.importorskip("torch")
    before = af.get_default_dtype()
    af.set_default_dtype(getattr(af, dtype))
    try:
        made = small(text, steps=30, interval=15, warmup=10, clip=0.5, lr=3e-3)
        first = weights(LanguageModelling(made))
        run, losses = recorded(made, compile=False)
        theirs = torch_losses(run, first, getattr(torch, dtype))
    finally:
        af.set_default_dtype(before)
    assert len(losses) == len(theirs) == 30
    assert losses[-1] < 0.85 * losses[0]
    assert np.max(np.abs(np.array(losses) / theirs - 1)) < tolerance
    unclipped = recorded(dataclasses.replace(made, clip=1e9), compile=False)[1]
    assert np.max(np.abs(np.array(unclipped) / losses - 1)) > 1e-4


# ---------------------------------------------------------------- compiled and resumed


def test_compiled_equals_eager_bit_for_bit(text):
    made = small(text, dropout=0.1)
    eager, one = recorded(made, compile=False)
    compiled, other = recorded(made)
    assert one == other
    assert same(weights(eager), weights(compiled))
    plain = recorded(small(text))[1]
    assert plain != one, "dropout does nothing"


def interrupting(run, after: int) -> None:
    """Ctrl-C during the step after so many steps."""
    measured, count = run.measured, iter(range(10**6))

    def slow(*arguments):
        if run.model.training and next(count) == after:
            os.kill(os.getpid(), signal.SIGINT)
        return measured(*arguments)

    run.measured = slow


@pytest.mark.parametrize("after", [0, 4, 6, 13])
def test_a_resumed_training_is_the_whole_one_bit_for_bit(text, tmp_path, after):
    made = small(text, dropout=0.2)
    whole, path = LanguageModelling(made), tmp_path / "checkpoint.safetensors"
    samples = Samples(whole.tokenizer, "t", 10, show=False)
    whole.train([samples], verbose=0, checks=False)
    begun = LanguageModelling(made)
    interrupting(begun, after)
    with pytest.raises(KeyboardInterrupt):
        begun.train([Samples(begun.tokenizer, "t", 10, show=False)], verbose=0, checks=False, checkpoint=path)
    af.manual_seed(99)
    run, state = LanguageModelling.of_checkpoint(path)
    assert run.step == after + 1
    further = Samples(run.tokenizer, "t", 10, show=False)
    run.train([further], verbose=0, checks=False, resume=state)
    assert run.finished
    assert same(weights(run), weights(whole))
    assert run.rows() == whole.rows()
    assert further.texts == samples.texts
    assert [step for step, _ in samples.texts] == [5, 10, 15]


def test_a_changed_text_is_noticed_when_a_run_goes_on(text, tmp_path):
    run, path = LanguageModelling(small(text, steps=5)), tmp_path / "checkpoint.safetensors"
    run.train(verbose=0, checks=False, checkpoint=path)
    moved = tmp_path / "moved.txt"
    os.rename(text, moved)
    with pytest.raises(FileNotFoundError, match="there is no such text"):
        LanguageModelling.of_checkpoint(path)
    assert LanguageModelling.of_checkpoint(path, (str(moved),))[0].finished
    moved.write_text("".join(LINES).replace("Rome", "Roma"))
    with pytest.raises(ShapeError, match="is not as it was when the run"):
        LanguageModelling.of_checkpoint(path, (str(moved),))


def go_on(path) -> None:
    run, state = LanguageModelling.of_checkpoint(path)
    run.train(verbose=0, checks=False, resume=state)


def test_what_is_no_checkpoint_of_a_language_model_is_refused(text, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(FileFormatError):
        LanguageModelling.of_checkpoint(path)
    run = LanguageModelling(small(text, steps=5))
    run.train(verbose=0, checks=False, checkpoint=path)
    kept = dict(af.load(path))
    for change in (
        {"settings": {"colour": 1}},
        {"tokenizer": "{}"},
        {"config": "nothing"},
        {"before": 3},
        {"epoch": None},
    ):
        af.save({**kept, **change}, path)
        with pytest.raises(AutogradError):
            go_on(path)
    kept.pop("digest")
    af.save(kept, path)
    with pytest.raises(FileFormatError, match="is no checkpoint of a language model"):
        LanguageModelling.of_checkpoint(path)


# ---------------------------------------------------------------- training further


def left_model(text, tmp_path, **others):
    """The folder of a trained model, and its run."""
    run = LanguageModelling(small(text, **others))
    run.train(verbose=0, checks=False)
    folder = tmp_path / "base"
    run.save_model(folder)
    (folder / "report.json").write_text(json.dumps({"settings": run.settings.as_dict()}))
    return run, folder


def test_the_folder_is_hugging_faces(text, tmp_path):
    run, folder = left_model(text, tmp_path)
    assert sorted(os.listdir(folder)) == [
        "config.json", "model.safetensors", "report.json", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    model = hub.from_pretrained(folder)
    ids = af.tensor(run.ids[None, :12])
    run.model.eval()
    with af.no_grad():
        logits = model(ids).logits.numpy()
        assert np.array_equal(logits, run.model(ids).logits.numpy())
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    theirs = transformers.GPT2LMHeadModel.from_pretrained(folder)
    with torch.no_grad():
        found = theirs(torch.from_numpy(ids.numpy())).logits.numpy()
    assert np.allclose(found, logits, atol=1e-5)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert tokenizer("two men in Rome")["input_ids"] == run.tokenizer.encode("two men in Rome")


def test_a_model_is_trained_further_and_both_texts_are_scored(text, tmp_path):
    first, folder = left_model(text, tmp_path)
    other = tmp_path / "other.txt"
    other.write_text("".join(line.upper() for line in LINES))
    made = LanguageSettings(text=(str(other),), base=str(folder), steps=15, interval=5, batch_size=4, lr=1e-2)
    run = LanguageModelling(made)
    assert (run.settings.layers, run.settings.context, run.settings.tokenizer) == (2, 12, "chars")
    assert run.tokenizer.tokens == first.tokenizer.tokens
    assert same(weights(run), weights(first))
    assert not run.remark
    before = run.score_all()
    assert [*before] == ["other", "verse"]
    assert before["verse"] == first.score_all()["verse"]
    run.train(verbose=0, checks=False)
    after = run.score_all()
    assert after["other"].loss < before["other"].loss - 0.3
    assert after["verse"].loss > before["verse"].loss
    os.remove(text)  # what the base learnt from is gone
    again = LanguageModelling(made)
    assert [*again.held_out] == ["other"]
    assert "cannot be read" in again.remark


def test_dropout_can_be_another_one(text, tmp_path):
    _, folder = left_model(text, tmp_path)
    made = LanguageSettings(text=(text,), base=str(folder), dropout=0.25)
    run = LanguageModelling(made)
    assert {module.p for module in run.model.modules() if isinstance(module, af.nn.Dropout)} == {0.25}
    assert run.model.config.resid_pdrop == 0.25


def test_characters_that_a_model_does_not_have_are_named_or_left_out(text, tmp_path):
    _, folder = left_model(text, tmp_path)
    other = tmp_path / "other.txt"
    other.write_text("".join(LINES) + "Ça coûte 3 €, ça.\n" * 20, encoding="utf-8")
    made = LanguageSettings(text=(str(other),), base=str(folder), steps=5, interval=5)
    with pytest.raises(
        ShapeError, match=r"has 4 characters that are not in the vocabulary.*80 times(.|\n)*--skip-unknown"
    ):
        LanguageModelling(made)
    run = LanguageModelling(dataclasses.replace(made, skip_unknown=True))
    assert run.corpus.skipped == 80
    assert not {"Ç", "û", "€", "ç"} & run.corpus.alphabet
    assert "a cote 3 " in "".join((*run.corpus.train, *run.corpus.held_out))


def test_a_base_that_is_none(text, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder with a model"):
        LanguageModelling(LanguageSettings(text=(text,), base=str(tmp_path / "nothing")))
    with pytest.raises(FileFormatError, match="holds no model"):
        LanguageModelling(LanguageSettings(text=(text,), base=str(tmp_path)))
    _, folder = left_model(text, tmp_path)
    (folder / "report.json").write_text("{}")
    with pytest.raises(FileFormatError, match="is no report"):
        LanguageModelling(LanguageSettings(text=(text,), base=str(folder)))
    (folder / "report.json").unlink()
    assert (
        "does not say what it was trained on"
        in LanguageModelling(LanguageSettings(text=(text,), base=str(folder))).remark
    )


# ---------------------------------------------------------------- hostile texts


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", FileFormatError, "holds no text"), (b" \n\r\n\t", FileFormatError, "holds no text"),
        ("naïve".encode("latin-1") * 100, FileFormatError, r"is not UTF-8: byte 2 is 0xef(.|\n)*iconv -f latin1"),
        (b"a", ShapeError, "too short to hold 10% of it out"), (b"words and", ShapeError, "fewer than one window of 12"),
    ],
)  # fmt: skip
def test_files_that_nothing_can_be_learnt_from(tmp_path, content, error, words):
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    with pytest.raises(error, match=words):
        LanguageModelling(small(str(path)))


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no such text.*by name are known shakespeare"):
        read_corpus([str(tmp_path / "nothing.txt")])
    with pytest.raises(IsADirectoryError):
        read_corpus([str(tmp_path)])


def test_marks_and_line_ends_of_other_systems_are_made_plain(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes("\ufeffone\r\ntwo\rthree\n".encode() * 20)
    assert read_corpus([str(path)]).train[0].startswith("one\ntwo\nthree\n")


def test_several_files_are_several_works(tmp_path):
    paths = []
    for name in ("one", "two"):
        paths.append(str(tmp_path / f"{name}.txt"))
        with open(paths[-1], "w") as file:
            file.write("".join(f"{name} {line}" for line in LINES))
    corpus = read_corpus(paths, 0.2)
    assert corpus.name == "one+two"
    assert [part[:3] for part in (*corpus.train, *corpus.held_out)] == ["one", "two", "one", "two"]


# ---------------------------------------------------------------- writing


class Watched:
    """A model that keeps the scores of each next token."""

    def __init__(self, model) -> None:
        self.model, self.scores = model, []

    def __getattr__(self, name):
        return getattr(self.model, name)

    def __call__(self, *given, **options):
        found = self.model(*given, **options)
        self.scores.append(found.logits.numpy()[0, -1].astype(np.float64))
        return found


LETTERS = CharTokenizer("abcdefghij", special_tokens=(END,), unknown=None)


@given(st.integers(0, 10**6), st.integers(1, 11), st.floats(0.05, 1.0), st.floats(0.1, 3.0))
@settings(max_examples=25, deadline=None)
def test_what_is_written_is_within_top_k_and_top_p(seed, top_k, top_p, temperature):
    model = Watched(tiny(11, 8, seed).eval())
    pieces = [*write(model, LETTERS, "ab", 20, seed=seed, top_k=top_k, top_p=top_p, temperature=temperature)]
    for piece, scores in zip(pieces, model.scores, strict=False):
        token = LETTERS.encode(piece)[0]
        chances = np.exp((scores - scores.max()) / temperature)
        order = np.argsort(-chances, kind="stable")
        assert token in order[:top_k]
        left = np.sort(chances)[::-1][:top_k]
        left /= left.sum()
        before = left[: list(order).index(token)].sum()
        assert before < top_p + 1e-9


def test_greedy_takes_the_likeliest_and_the_same_seed_the_same_text():
    model = Watched(tiny().eval())
    pieces = [*write(model, LETTERS, "ab", 20, greedy=True)]
    assert pieces
    assert [LETTERS.encode(one)[0] for one in pieces] == [int(one.argmax()) for one in model.scores[: len(pieces)]]
    texts = ["".join(write(model, LETTERS, "ab", 30, seed=seed)) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_writing_goes_on_beyond_the_context_and_ends_where_the_text_does():
    model = tiny().eval()
    texts = ["".join(write(model, LETTERS, "ab" * 20, 40, seed=seed)) for seed in range(40)]
    assert max(map(len, texts)) > 8
    assert min(map(len, texts)) < 40, "none ended"
    with pytest.raises(ShapeError, match="the character 'é' is not in the vocabulary"):
        write(model, LETTERS, "bé")


def test_characters_of_several_tokens_come_whole():
    pytest.importorskip("tokenizers")
    tokenizer = make_tokenizer("bpe", Corpus("x", ("abc " * 20,), ("abc",)), 257)
    wanted = "a€é日本b"

    class Says:
        longest = 100

        def __init__(self):
            self.ids = iter(tokenizer.encode(wanted))

        def new_cache(self, batch, length):
            return [type("Cache", (), {"length": 0})()]

        def __call__(self, ids, **options):
            logits = np.zeros((1, 1, 257), np.float32)
            logits[0, 0, next(self.ids, tokenizer.token_to_id(END))] = 9
            return hub.DecoderOutput(af.tensor(logits), af.tensor(logits))

    assert [*write(Says(), tokenizer, "a", 50, greedy=True)] == list(wanted)
