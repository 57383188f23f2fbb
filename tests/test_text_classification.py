"""Fine-tuning a classifier of texts: all methods on tiny random encoders; few labels; resuming; files."""

import copy
import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import finetuning, hub
from autograd_ff.errors import FileFormatError, ModuleError, ShapeError, StateDictError
from autograd_ff.text import CharTokenizer
from autograd_ff.training import Callback, FineTuningSettings, TextClassification
from autograd_ff.training.text_classification import METHODS, read_texts
from autograd_ff.training.text_classification.data import TextData, few
from autograd_ff.training.text_classification.methods import plain

CLASSES = ["few a", "many a"]


def encoder(layers=2):
    af.manual_seed(5)
    tokenizer = CharTokenizer("abcd ")
    config = hub.BertConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=8, num_hidden_layers=layers, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=24, initializer_range=0.2,
    )  # fmt: skip
    return hub.SentenceEncoder(hub.BertModel(config), tokenizer)


def texts(count, seed):
    random = np.random.default_rng(seed)
    found, labels = [], []
    for _ in range(count):
        label = int(random.integers(2))
        letters = random.choice(
            list("abcd"), int(random.integers(3, 20)), p=[0.7, 0.1, 0.1, 0.1] if label else [0.05, 0.35, 0.3, 0.3]
        )
        found.append("".join(letters))
        labels.append(label)
    return found, labels


TRAIN, TEST = texts(60, 0), texts(30, 1)


def run_of(method="lora", **options):
    options = {"epochs": 2, "batch_size": 8, "lr": 1e-2, **options}
    return TextClassification(FineTuningSettings(method=method, **options), TRAIN, TEST, CLASSES, encoder())


def parameters(model):
    return {name: one.array.copy() for name, one in model.named_parameters()}


# Each method with other options beside it: all pairs occur somewhere.
WAYS = [
    ("full", {"layer_decay": 0.8, "accumulate": 2, "compiled": True}),
    ("full", {"checkpointing": True}),
    ("feedforward", {"storage": "float16", "checkpointing": True, "compiled": True}),
    ("feedforward", {"accumulate": 3}),
    ("lora", {"checkpointing": True, "storage": "bfloat16", "accumulate": 2, "compiled": True}),
    ("lora", {"layer_decay": 0.5, "probe": True}),
    ("adapters", {"storage": "float16", "accumulate": 2}),
    ("adapters", {"checkpointing": True, "layer_decay": 0.7, "probe": True}),
    ("head", {"storage": "bfloat16", "compiled": True}),
    ("head", {"accumulate": 2}),
]


@pytest.mark.parametrize(("method", "options"), WAYS)
def test_what_is_frozen_stays_bit_for_bit_and_the_rest_is_trained(method, options):
    run = run_of(method, **options)
    stored = {name: one.bits().array.copy() for name, one in run.model.named_modules() if hasattr(one, "bits")}
    assert bool(stored) == ("storage" in options)
    before, trained = parameters(run.model), {name for name, _ in finetuning.trainable_parameters(run.model)}
    run.train(verbose=0)
    after = parameters(run.model)
    assert before.keys() == after.keys()
    assert {name for name in before if not np.array_equal(before[name], after[name])} == trained
    assert any(name.startswith("classifier") for name in trained)
    for name, bits in stored.items():
        assert np.array_equal(bits, run.model.get_submodule(name).bits().array)


@pytest.mark.parametrize(("method", "options"), WAYS)
def test_an_interrupted_training_goes_on_bit_for_bit(method, options, tmp_path):
    class Interrupt(Callback):
        def on_train_batch_end(self, batch, logs=None):
            if (self.trainer.epoch, batch) == (1, 5):
                raise_signal()

    import signal

    def raise_signal():
        signal.raise_signal(signal.SIGINT)

    whole = run_of(method, **options)
    whole.train(verbose=0, checks=False)
    path = tmp_path / "checkpoint.safetensors"
    run = run_of(method, **options)
    with pytest.raises(KeyboardInterrupt):
        run.train([Interrupt()], verbose=0, checkpoint=path, checks=False)
    assert not run.finished
    resumed, state = TextClassification.of_checkpoint(path, TRAIN, TEST, CLASSES, encoder())
    assert resumed.settings == run.settings
    resumed.train(verbose=0, checkpoint=path, resume=state, checks=False)
    assert resumed.finished
    wanted = whole.model.state_dict()
    for name, value in resumed.model.state_dict().items():
        assert np.array_equal(value.array, wanted[name].array), name
    assert resumed.curve == whole.curve
    assert resumed.evaluate() == whole.evaluate()


def eagerly(fit, *given, **options):
    return fit(*given, **{**options, "compile": False})


@pytest.mark.parametrize("method", METHODS)
def test_compiled_is_eager_bit_for_bit(method):
    found = []
    for compiled in (True, False):
        run = run_of(method, compiled=True, epochs=4)  # padded as for compiling: sums over more zeros round otherwise
        if not compiled:
            run.fit = functools.partial(eagerly, run.fit)
        run.train(verbose=0)
        found.append(parameters(run.model))
    first, second = found
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_learns(method):
    run = run_of(method, epochs=None if method == "head" else 15, lr=3e-2 if method == "head" else 1e-2)
    before = run.evaluate()
    run.train(verbose=0)
    after = run.evaluate()
    assert after["loss"] < before["loss"]
    assert after["accuracy"] > max(run.data.majority, 0.75)
    assert run.curve[-1]["test_accuracy"] == after["accuracy"]
    assert run.evaluate(*TEST)["accuracy"] == pytest.approx(after["accuracy"])


class Look(Callback):
    """Keeps the gradients of the last step."""

    def on_train_batch_end(self, batch, logs=None):
        named = self.trainer.model.named_parameters()
        self.gradients = {name: one.grad.numpy().copy() for name, one in named if one.grad is not None}


def test_accumulated_gradients_are_those_of_the_large_batch():
    # Without dropout, clipping and a warm-up, batches of the same texts in two ways.
    found = []
    for accumulate in (1, 2):
        model = encoder()
        for module in model.modules():
            if isinstance(module, af.nn.Dropout):
                module.p = 0.0
            if hasattr(module, "dropout") and isinstance(module.dropout, float):
                module.dropout = 0.0
        settings = FineTuningSettings(
            method="full", epochs=1, batch_size=8 // accumulate, accumulate=accumulate, dropout=0.0, warmup=0.0, clip=None,
            compiled=False, layer_decay=1.0,
        )  # fmt: skip
        eight = (TRAIN[0][:8], TRAIN[1][:8])
        run = TextClassification(settings, eight, eight, CLASSES, model)
        look = Look()
        run.train([look], verbose=0, validate=False)
        found.append(look.gradients)
    assert found[0].keys() == found[1].keys()
    assert len(found[0]) > 30
    for name in found[0]:
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-3, atol=1e-6, err_msg=name)


def test_head_only_runs_the_encoder_once_over_each_text():
    run = run_of("head", epochs=5)
    calls = []
    features = run.model.features
    object.__setattr__(run.model, "features", lambda *given: calls.append(len(given[0])) or features(*given))
    run.train(verbose=0)
    run.evaluate()
    assert sum(calls) == len(TRAIN[0]) + len(TEST[0])
    del run.model.__dict__["features"]
    assert run.evaluate()["accuracy"] == pytest.approx((run.model.predict(TEST[0]) == TEST[1]).mean())


@given(st.lists(st.integers(0, 3), min_size=8, max_size=80), st.integers(0, 5), st.data())
@settings(max_examples=50, deadline=None)
def test_few_labels_keep_the_shares_of_the_classes(labels, seed, data):
    labels = np.array(labels)
    kinds, counts = np.unique(labels, return_counts=True)
    count = data.draw(st.integers(len(kinds), len(labels)))
    names = [f"text {index}" for index in range(len(labels))]
    chosen, those = few(names, labels, count, seed)
    assert len(chosen) == len(set(chosen)) == count
    assert [labels[names.index(text)] for text in chosen] == those.tolist()
    share = np.array([(those == kind).sum() for kind in kinds])
    assert (share >= 1).all()
    assert (np.abs(share - counts * count / len(labels)) <= len(kinds)).all()
    again = few(names, labels, count, seed)
    assert again[0] == chosen
    with pytest.raises(ShapeError, match="labels="):
        few(names, labels, len(labels) + 1, seed)


def test_seeds_draw_other_texts():
    labels = np.arange(100) % 2
    names = [str(index) for index in range(100)]
    assert few(names, labels, 10, 0)[0] != few(names, labels, 10, 1)[0]


@pytest.mark.parametrize(("method", "options"), WAYS)
def test_the_files_hold_what_was_trained(method, options, tmp_path):
    run = run_of(method, **options)
    run.train(verbose=0)
    used = plain(run.model)
    wanted = run.model.predict_proba(TEST[0])
    np.testing.assert_allclose(used.predict_proba(TEST[0]), wanted, atol=1e-5)
    assert not any(isinstance(one, (finetuning.LoRA, finetuning.StoredLinear)) for one in used.modules())
    # The tokenizer of these tests has no file; the weights do.
    own = run.model.encoder.tokenizer
    own.__class__ = type("Saved", (type(own),), {"save_pretrained": lambda self, folder: None})
    run.save_pretrained(tmp_path)
    body = hub.BertModel.from_pretrained(tmp_path)
    assert set(body.state_dict()) == set(encoder().model.state_dict())
    rebuilt = hub.SentenceClassifier(hub.SentenceEncoder(body, own, 24), CLASSES)
    rebuilt.classifier.load_state_dict(af.load(str(tmp_path / "classifier.safetensors")))
    if method == "adapters":
        with pytest.raises(FileFormatError, match="load_adapters"):
            hub.SentenceClassifier.from_pretrained(tmp_path)
        finetuning.load_adapters(rebuilt, tmp_path / "adapters.safetensors")
    np.testing.assert_allclose(rebuilt.predict_proba(TEST[0]), wanted, atol=1e-5)
    run.train(verbose=0)  # saving left the trainer's own model as it was


def test_lora_must_be_merged_to_be_saved(tmp_path):
    run = run_of("lora")
    with pytest.raises(ModuleError, match="remove_lora"):
        run.model.save_pretrained(tmp_path)


def test_another_seed_is_another_run_and_the_same_the_same():
    found = []
    for seed in (0, 0, 1):
        run = run_of("lora", seed=seed, labels=20, epochs=1)
        run.train(verbose=0)
        found.append(parameters(run.model)["classifier.weight"])
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_other_texts_are_not_resumed_on(tmp_path):
    run = run_of("feedforward", epochs=1)
    run.train(verbose=0, checkpoint=tmp_path / "c.safetensors")
    changed = ([*TRAIN[0][:-1], "abcd"], TRAIN[1])
    other, state = TextClassification.of_checkpoint(tmp_path / "c.safetensors", changed, TEST, CLASSES, encoder())
    with pytest.raises(StateDictError, match="other texts"):
        other.train(verbose=0, resume=state)
    af.save({"format": "autograd_ff training"}, str(tmp_path / "d.safetensors"))
    with pytest.raises(FileFormatError, match="fine-tuning"):
        TextClassification.of_checkpoint(tmp_path / "d.safetensors", TRAIN, TEST, CLASSES, encoder())


@pytest.mark.parametrize(
    "options",
    [{"method": "half"}, {"storage": "int8"}, {"method": "full", "storage": "float16"}, {"labels": 0}, {"lr": -1.0},
     {"layer_decay": 0.0}, {"warmup": 1.0}, {"batch_size": 0}, {"seed": -1}, {"max_length": 2}],
)  # fmt: skip
def test_settings_that_make_no_sense(options):
    with pytest.raises(ShapeError, match=next(reversed(options))):
        FineTuningSettings(**options)


@pytest.mark.parametrize(
    ("train", "says"),
    [(([], []), "at least one"), ((["a", "b"], [0]), "label for each"), ((["a", "b"], [0, 0]), "no text to train on"),
     ((["a", "b"], [0, 5]), "labels run to 5"), ((["a", 3], [0, 1]), "strings"), ((["a", "b"], [-1, 1]), "from 0 on")],
)  # fmt: skip
def test_labels_that_make_no_sense(train, says):
    with pytest.raises(ShapeError, match=says):
        TextData(train, (["c"], [0]), ["x", "y"])


# ---------------------------------------------------------------- files of one's own


def test_a_table_is_read_and_split(tmp_path):
    path = tmp_path / "own.csv"
    rows = [f'"said, {number}",{"yes" if number % 3 else "no"}' for number in range(30)]
    path.write_text("text,label\n" + "\n".join(rows) + "\n\n" + rows[0] + "\n", encoding="utf-8")
    data = read_texts(path)
    assert data.classes == ("no", "yes")
    assert len(data.train[0]) == 24
    assert len(data.test[0]) == 6
    assert not set(data.train[0]) & set(data.test[0])
    assert "said, 0" in data.train[0] + data.test[0]
    for part in (data.train, data.test):
        assert all((int(text.split()[1]) % 3 > 0) == label for text, label in zip(*part, strict=True))
    tabs = tmp_path / "own.tsv"  # the label first, quotes as they stand
    tabs.write_text("label\tid\ttext\n" + "".join(f'{i % 2}\t{i}\tsay "{i}\n' for i in range(10)), encoding="utf-8")
    found = read_texts(tabs)
    assert found.classes == ("0", "1")
    assert 'say "3' in found.train[0] + found.test[0]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.txt", b"a,b\n", "neither .csv nor .tsv"),
        ("a.csv", b"", "no labelled text"),
        ("a.csv", b"text,label\n", "no labelled text"),
        ("a.csv", b"text,label\nfine\n", "line 2: 1 column"),
        ("a.csv", b"text,label\nfine,\n", "line 2: no label"),
        ("a.csv", b"text,label\n,good\n", "line 2: no text"),
        ("a.csv", b"text,label\na,x\nb,x\n", "one class alone"),
        ("a.csv", b"text,label\na,x\na,y\n", "line 3: the text was labelled 'x' before"),
        ("a.csv", b"text,label\na,x\nb,x\nc,y\n", "a single text of the class 'y'"),
        ("a.csv", "text,label\nschön,x\n".encode("latin-1"), "not UTF-8"),
        ("a.csv", b"text,label\n" + b"".join(b"x,text %d\n" % i + b"y%d,text %d\n" % (i, i + 100) for i in range(90)), "labelled"),
        ("a.csv", b"".join(b"t%d,l%d\n" % (i, i) for i in range(90)), "the column of the labels"),
    ],
)  # fmt: skip
def test_bad_tables_say_the_line(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileFormatError, match=says):
        read_texts(tmp_path / name)


def test_a_copy_to_be_used_leaves_the_trainer_alone():
    run = run_of("lora", checkpointing=True, storage="float16")
    before = copy.deepcopy(run.model.state_dict())
    plain(run.model)
    after = run.model.state_dict()
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name].array, after[name].array) for name in before)
