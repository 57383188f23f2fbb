"""The translation example: beside PyTorch, on a language small enough to be learnt in seconds, and on the real verses."""

from __future__ import annotations

import math

import numpy as np
import pytest

import autograd_ff as af
from autograd_ff import datasets
from autograd_ff.errors import MissingDataError
from autograd_ff.examples import translation
from autograd_ff.examples.translation import PAD, START, Pairs, Part, Translator

pytest.importorskip("tokenizers", reason="tokenizers is not installed: pip install tokenizers")

WORDS = {"one": "uno", "two": "dos", "three": "tres", "four": "cuatro", "five": "cinco", "six": "seis", "big": "grande"}


class Toy:
    """Sentences of up to three words, which the other language has in the reverse order; Jonah is for the test."""

    def __init__(self, count=500):
        random = np.random.default_rng(0)
        self.references, self.english, self.spanish = [], [], []
        for number in range(count):
            words = random.choice(list(WORDS), random.integers(1, 4), replace=False)
            book = "Jonah" if number % 20 == 0 else "Genesis"
            self.references.append(f"{book} {number % 10 + 1}:{number // 10 + 1}")
            self.english.append(" ".join(words))
            self.spanish.append(" ".join(WORDS[word] for word in words[::-1]))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    pytest.importorskip("sacrebleu", reason="sacrebleu is not installed: pip install sacrebleu")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install scikit-learn")
    folder = tmp_path_factory.mktemp("examples") / "translation"
    result = translation.run(
        Toy(), epochs=12, vocabulary=300, tokens=256, rate=5e-3, warmup=30, folder=folder, compile=False, looked_at=20,
        width=32, heads=2, layers=1, feedforward=64, dropout=0.0,
    )  # fmt: skip
    return result, folder


def test_a_small_language_is_learnt(small):
    result, _ = small
    assert result.history["val_perplexity"][-1] < 3 < 10 < result.history["val_perplexity"][0]
    scores = {name: one for name, (_, one) in result.scores.items()}  # chrF: BLEU needs four words in a row
    assert scores["the model, 4 beams"] > 85
    assert scores["the model, greedy"] > 85
    assert max(scores["copy of the source"], scores["translation of the nearest verse"]) < 70
    assert len(result.translations) == 12
    right = [sum(map(str.__eq__, one, result.shown.spanish)) for one in result.translations]
    assert right[-1] >= 2 > right[0]


def test_the_saved_model_translates(small, capsys):
    _, folder = small
    assert translation.main(["--translate", "three one two", "--output", str(folder.parent)]) == 0
    assert capsys.readouterr().out == "dos uno tres\n"


def test_without_a_model_there_is_nothing_to_translate_with(tmp_path, capsys):
    assert translation.main(["--translate", "three", "--output", str(tmp_path)]) == 1
    assert "train one" in capsys.readouterr().out


def test_the_picture_and_the_attention_in_it(small, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    result, _ = small
    translation.draw(str(tmp_path / "picture.png"), result)
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    source, target = af.tensor([[5, 6, 7]]), af.tensor([[START, 8]])
    weights = translation.attention(result.model, source, target)
    assert weights.shape == (1, 2, 3)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)


def test_a_broken_off_training_goes_on(tmp_path):
    pytest.importorskip("sacrebleu", reason="sacrebleu is not installed: pip install sacrebleu")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install scikit-learn")
    options = {
        "vocabulary": 300, "tokens": 512, "compile": False, "looked_at": 4, "beams": 1, "width": 16, "heads": 2, "layers": 1,
        "feedforward": 16,
    }  # fmt: skip
    whole = translation.run(Toy(200), epochs=2, **options)
    translation.run(Toy(200), epochs=1, folder=tmp_path, **options)
    rest = translation.run(Toy(200), epochs=2, folder=tmp_path, resume=True, **options)
    assert rest.translations == whole.translations
    assert rest.history["loss"] == whole.history["loss"]
    for name, weight in whole.model.state_dict().items():
        np.testing.assert_array_equal(rest.model.state_dict()[name].numpy(), weight.numpy(), name)


# ---------------------------------------------------------------- batches


def test_each_pair_comes_once_in_few_shapes():
    toy = Toy(300)
    part = Part(toy.references, toy.english, toy.spanish)
    tokenizer = translation.Tokenizer.train_bpe(part.english + part.spanish, 270, special_tokens=translation.SPECIAL)
    pairs = Pairs(tokenizer, part)
    assert len({*pairs.widths()}) > 1
    af.manual_seed(0)
    batches = list(translation.loader(pairs, 256))
    assert len(batches) == len(translation.loader(pairs, 256))
    shapes = {tuple(wanted.shape) for _, wanted in batches}
    assert shapes == {(256 // width, width) for width in pairs.widths()}
    found = []
    for (source, given), wanted in batches:
        for row in range(source.shape[0]):
            english, spanish = (
                translation.decode(tokenizer, [one for one in ids[row].tolist() if one != PAD])
                for ids in (source, wanted)
            )
            if english:
                found.append((english, spanish))
                assert given[row, 0].item() == START
                np.testing.assert_array_equal(given[row, 1:].numpy() > 2, wanted[row, :-1].numpy() > 2)
    kept = [(one, two) for one, two in zip(pairs.texts.english, pairs.texts.spanish, strict=True)]
    assert sorted(found) == sorted(kept)


def test_padding_changes_nothing():
    af.manual_seed(0)
    model = Translator(20, width=8, heads=2, layers=1, feedforward=8).eval()
    source, target, wanted = af.tensor([[3, 4, 2]]), af.tensor([[1, 5]]), af.tensor([[5, 2]])
    wide = [af.cat([one, af.zeros(1, 4, dtype=af.int64)], 1) for one in (source, target, wanted)]
    found = model(wide[0], wide[1])
    np.testing.assert_allclose(
        found[:, :2].detach().numpy(), model(source, target).detach().numpy(), rtol=1e-4, atol=1e-5
    )
    losses = [translation.smoothed(model(*ids[:2]), ids[2]).item() for ids in ((source, target, wanted), wide)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


# ---------------------------------------------------------------- beside PyTorch


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:.*enable_nested_tensor:UserWarning")
def test_loss_and_gradients_are_pytorchs():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
    af.manual_seed(0)
    vocabulary, width = 50, 16
    ours = Translator(vocabulary, width=width, heads=2, layers=2, feedforward=24, dropout=0.0)

    class Theirs(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(vocabulary, width, padding_idx=PAD)
            self.transformer = torch.nn.Transformer(width, 2, 2, 2, 24, 0.0, batch_first=True, norm_first=True)
            self.register_buffer("table", torch.tensor(ours.positions.table.numpy()), persistent=False)

        def forward(self, source, target):
            padding = source == PAD
            later = torch.triu(torch.ones(target.shape[1], target.shape[1], dtype=torch.bool), 1)
            embedded = [self.embedding(ids) * math.sqrt(width) + self.table[: ids.shape[1]] for ids in (source, target)]
            decoded = self.transformer(
                *embedded, tgt_mask=later, src_key_padding_mask=padding, memory_key_padding_mask=padding
            )
            return decoded @ self.embedding.weight.T

    theirs = Theirs()
    theirs.load_state_dict({name: torch.tensor(one.numpy()) for name, one in ours.state_dict().items()})
    random = np.random.default_rng(0)
    source, target, wanted = (random.integers(3, vocabulary, (4, 9)) for _ in range(3))
    for row, length in enumerate((9, 7, 4, 2)):
        source[row, length:] = target[row, 9 - row :] = wanted[row, 9 - row :] = PAD
    loss = translation.smoothed(ours(af.tensor(source), af.tensor(target)), af.tensor(wanted))
    loss.backward()
    logits = theirs(torch.tensor(source), torch.tensor(target))
    expected = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), torch.tensor(wanted).flatten(), ignore_index=PAD, label_smoothing=0.1
    )
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    gradients = {name: one.grad.numpy() for name, one in theirs.named_parameters()}
    assert set(gradients) == {name for name, _ in ours.named_parameters()}
    for name, parameter in ours.named_parameters():
        scale = np.abs(gradients[name]).max()
        np.testing.assert_allclose(parameter.grad.numpy(), gradients[name], rtol=1e-3, atol=2e-5 * scale, err_msg=name)


# ---------------------------------------------------------------- the verses


@pytest.fixture(scope="module")
def verses():
    try:
        return datasets.Verses()
    except MissingDataError as error:
        pytest.skip(f"the verses are not here: {str(error).splitlines()[-1].strip()}")


def test_no_held_out_verse_is_trained_on(verses):
    train, validation, test = translation.split(verses)
    books = {reference.rpartition(" ")[0] for reference in test.references}
    assert books == set(translation.TESTED)
    assert len(train) > 27000
    assert len(validation) > 300
    assert len(test) > 800
    chapters = [{reference.rpartition(":")[0] for reference in part.references} for part in (train, validation, test)]
    assert not chapters[0] & (chapters[1] | chapters[2])
    assert not chapters[1] & chapters[2]
    known = {translation.plain(text) for text in train.english + train.spanish}
    assert not known & {translation.plain(text) for part in (validation, test) for text in part.english + part.spanish}
