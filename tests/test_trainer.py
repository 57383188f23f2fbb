"""The trainer: equal to the loop written by hand, on all kinds of data, through interruptions, NaN and wrong input."""

from __future__ import annotations

import gc
import os
import signal
import warnings
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import nn, optim
from autograd_ff.data import DataLoader, Dataset, IterableDataset, TensorDataset
from autograd_ff.errors import (
    AutogradError,
    DtypeError,
    FileFormatError,
    NonFiniteError,
    OptimizerError,
    ShapeError,
)
from autograd_ff.training import Callback, History, Trainer

SAMPLES, FEATURES, CLASSES = 70, 6, 3
EXACT = {"fast": False, "threads": False}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(SAMPLES, FEATURES)).astype(np.float32)
Y = RNG.integers(0, CLASSES, SAMPLES)

OPTIMIZERS = {
    "sgd": lambda parameters: optim.SGD(parameters, lr=0.1, momentum=0.9),
    "adam": lambda parameters: optim.Adam(parameters, lr=0.01),
    "rmsprop": lambda parameters: optim.RMSprop(parameters, lr=0.01),
}


def network(seed: int = 0, normalized: bool = True, dropout: float = 0.3) -> nn.Sequential:
    af.manual_seed(seed)
    layers = [nn.Linear(FEATURES, 8), nn.BatchNorm1d(8) if normalized else nn.Identity(), nn.ReLU()]
    return nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(8, CLASSES))


def bits(state):
    """A state as plain data that is equal only where every bit is."""
    if isinstance(state, dict):
        return {key: bits(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [bits(value) for value in state]
    return state.detach().numpy().tobytes() if isinstance(state, af.Tensor) else repr(state)


def by_hand(model, optimizer, loader, epochs, clip=None):
    """The loop that everybody writes; returns the mean loss of each epoch."""
    criterion, means = nn.CrossEntropyLoss(), []
    for _ in range(epochs):
        total = samples = 0
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            total, samples = total + loss.item() * len(targets), samples + len(targets)
        means.append(total / samples)
    return means


def trainer_of(model, make=OPTIMIZERS["adam"], **options) -> Trainer:
    return Trainer(model, nn.CrossEntropyLoss(), make(model.parameters()), **options)


def quietly(trainer, *data, **options) -> History:
    options = {"checks": False, "verbose": 0, **options}
    return trainer.fit(*data, **options)


# ---------------------------------------------------------------- equal to the loop by hand


@given(
    seed=st.integers(0, 5),
    epochs=st.integers(1, 3),
    batch_size=st.sampled_from([1, 7, 32, 70, 100]),
    optimizer=st.sampled_from(list(OPTIMIZERS)),
    dropout=st.sampled_from([0.0, 0.4]),
    clip=st.sampled_from([None, 0.5]),
    compiled=st.booleans(),
    metrics=st.sampled_from([[], ["accuracy"]]),
)
@settings(max_examples=25)
def test_a_fit_equals_the_loop_by_hand_bit_for_bit(
    seed, epochs, batch_size, optimizer, dropout, clip, compiled, metrics
):
    normalized = batch_size != 1 and SAMPLES % batch_size != 1
    expected = network(seed, normalized, dropout)
    loader = DataLoader(TensorDataset(X, Y), batch_size, shuffle=True)
    losses = by_hand(expected, OPTIMIZERS[optimizer](expected.parameters()), loader, epochs, clip)
    drawn = af.get_rng_state()

    model = network(seed, normalized, dropout)
    trainer = trainer_of(model, OPTIMIZERS[optimizer], metrics=metrics)
    history = quietly(
        trainer, X, Y, epochs=epochs, batch_size=batch_size, clip=clip, compile=EXACT if compiled else False
    )
    assert bits(model.state_dict()) == bits(expected.state_dict())
    assert history["loss"] == losses
    assert af.equal(af.get_rng_state(), drawn)


def test_the_check_before_the_first_epoch_leaves_no_trace():
    models = []
    for checks in (False, True):
        model = network()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quietly(trainer_of(model, metrics=["accuracy"]), X, Y, epochs=2, checks=checks)
        models.append(bits(model.state_dict()))
    assert models[0] == models[1]


def test_a_fused_step_equals_it_to_rounding():
    models = []
    for compile in (False, True):
        models.append(network(dropout=0.0))
        quietly(trainer_of(models[-1], OPTIMIZERS["sgd"]), X, Y, epochs=3, batch_size=16, compile=compile)
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=1e-3, atol=1e-5)


class Rows(Dataset):
    def __len__(self):
        return SAMPLES

    def __getitem__(self, index):
        return X[index], int(Y[index])


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y, strict=True))


def batches_by_hand():
    for start in range(0, SAMPLES, 32):
        yield X[start : start + 32], Y[start : start + 32]


SOURCES = {
    "arrays": lambda: (X, Y),
    "one argument": lambda: ((X, Y),),
    "tensors": lambda: (af.tensor(X), af.tensor(Y)),
    "float64": lambda: (X.astype(np.float64), Y),
    "lists": lambda: (X.tolist(), Y.tolist()),
    "tensor dataset": lambda: (TensorDataset(X, Y),),
    "dataset": lambda: (Rows(),),
    "loader": lambda: (DataLoader(TensorDataset(X, Y), 32),),
    "iterable dataset": lambda: (DataLoader(Stream(), 32),),
    "function": lambda: (batches_by_hand,),
    "list of batches": lambda: ([(a, b) for a, b in batches_by_hand()],),
    "generator": lambda: ((batch for _ in range(2) for batch in batches_by_hand()),),
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_kind_of_data_gives_the_same(source):
    expected = network()
    by_hand(expected, OPTIMIZERS["adam"](expected.parameters()), DataLoader(TensorDataset(X, Y), 32), 2)
    model = network()
    options = {"steps_per_epoch": 3} if source == "generator" else {}
    trainer = trainer_of(model, metrics=["accuracy"])
    quietly(trainer, *SOURCES[source](), epochs=2, shuffle=False, **options)
    assert bits(model.state_dict()) == bits(expected.state_dict())
    if source != "generator":
        figures = trainer.evaluate(*SOURCES[source]())
        model.eval()
        logits = model(af.tensor(X)).detach().numpy()
        assert figures["accuracy"] == pytest.approx(np.mean(logits.argmax(1) == Y))
        assert figures["loss"] == pytest.approx(nn.CrossEntropyLoss()(af.tensor(logits), af.tensor(Y)).item(), rel=1e-5)


def test_several_inputs_come_as_a_tuple_or_by_name():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(FEATURES, 4), nn.Linear(FEATURES, 4)

        def forward(self, a, b):
            return self.first(a) - self.second(b)

    found = []
    for inputs in ((X, 2 * X), {"b": 2 * X, "a": X}):
        af.manual_seed(0)
        model = Two()
        trainer = trainer_of(model)
        quietly(trainer, inputs, Y, epochs=2, validation_split=0.2)
        assert trainer.predict(inputs).shape == (SAMPLES, 4)
        found.append(bits(model.state_dict()))
    assert found[0] == found[1]


# ---------------------------------------------------------------- accumulation, weights, penalties


@pytest.mark.parametrize("compile", [False, EXACT])
def test_accumulated_batches_make_the_step_of_one_large_batch(compile):
    large = network(normalized=False, dropout=0.0)
    whole = quietly(trainer_of(large, OPTIMIZERS["sgd"]), X, Y, epochs=3, batch_size=28)
    small = network(normalized=False, dropout=0.0)
    # 70 samples in batches of 7, four at a time: the last group has two, as the last batch of 28 has 14 samples.
    parts = quietly(trainer_of(small, OPTIMIZERS["sgd"]), X, Y, epochs=3, batch_size=7, accumulate=4, compile=compile)
    for one, other in zip(large.parameters(), small.parameters(), strict=True):
        np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(whole["loss"], parts["loss"], rtol=1e-4)


@given(weights=st.lists(st.floats(0, 3, width=32), min_size=SAMPLES, max_size=SAMPLES))
@settings(max_examples=10)
def test_sample_weights_count_each_sample(weights):
    model = network(normalized=False, dropout=0.0)
    trainer = trainer_of(model)
    array = np.array(weights, np.float32)
    found = trainer.evaluate(X, Y, sample_weight=array)["loss"]
    each = nn.functional.cross_entropy(model(af.tensor(X)), af.tensor(Y), reduction="none").detach().numpy()
    assert found == pytest.approx(float((each * array).mean()), rel=1e-4, abs=1e-6)


def test_with_weights_too_the_loss_is_what_it_is_now():
    trainer = trainer_of(network(normalized=False, dropout=0.0))
    trainer.evaluate(X, Y, sample_weight=np.ones(SAMPLES, np.float32))
    trainer.loss.label_smoothing = 0.5
    plain, weighted = (
        trainer.evaluate(X, Y, sample_weight=one)["loss"] for one in (None, np.ones(SAMPLES, np.float32))
    )
    assert weighted == pytest.approx(plain, rel=1e-5)


def test_a_class_weight_is_the_weight_of_its_samples():
    table = {0: 0.5, 1: 2.0, 2: 1.0}
    by_class = network()
    quietly(trainer_of(by_class), X, Y, epochs=2, class_weight=table)
    by_sample = network()
    quietly(trainer_of(by_sample), X, Y, epochs=2, sample_weight=np.array([table[one] for one in Y], np.float32))
    assert bits(by_class.state_dict()) == bits(by_sample.state_dict())
    one_hot = network()
    quietly(trainer_of(one_hot), X, np.eye(CLASSES, dtype=np.float32)[Y], epochs=2, class_weight=table)
    np.testing.assert_allclose(one_hot[0].weight.tolist(), by_class[0].weight.tolist(), rtol=1e-3, atol=1e-5)


def test_a_penalty_is_part_of_the_loss():
    model = network()
    penalty = nn.regularizers.L2(0.1)
    plain = trainer_of(model).evaluate(X, Y)["loss"]
    added = trainer_of(model, penalty=penalty).evaluate(X, Y)["loss"]
    weights = [one.detach().numpy() for one in model.parameters() if one.ndim > 1]
    assert added - plain == pytest.approx(0.1 * sum((one**2).sum() for one in weights), rel=1e-4)


# ---------------------------------------------------------------- what a subclass may change


def test_a_step_of_ones_own():
    class Smoothed(Trainer):
        def compute_loss(self, inputs, targets, weights=None):
            outputs = self.model(inputs)
            return nn.functional.cross_entropy(outputs, targets, label_smoothing=0.1), outputs

    class Two(Trainer):
        """Takes two steps on each batch, and logs a number of its own."""

        def train_step(self, inputs, targets, weights=None):
            for _ in range(2):
                loss, outputs = self.compute_loss(inputs, targets, weights)
                self.backward(loss)
                self.update()
            return {"loss": loss, "outputs": outputs, "largest": outputs.max()}

    model = network()
    trainer = Smoothed(model, None, OPTIMIZERS["adam"](model.parameters()), ["accuracy"])
    history = quietly(trainer, X, Y, epochs=3)
    assert history["loss"][-1] < history["loss"][0]

    model = network(dropout=0.0)
    trainer = Two(model, nn.CrossEntropyLoss(), OPTIMIZERS["sgd"](model.parameters()), ["accuracy"])
    history = quietly(trainer, X, Y, epochs=2, batch_size=70, shuffle=False)
    assert set(history) == {"loss", "accuracy", "largest"}
    twin = network(dropout=0.0)
    by_hand(twin, OPTIMIZERS["sgd"](twin.parameters()), DataLoader(TensorDataset(X, Y), 70), 4)
    assert bits(model.state_dict()) == bits(twin.state_dict())


def test_a_step_that_cannot_be_compiled_goes_on_with_a_warning_and_the_same_result():
    class Reads(Trainer):
        def compute_loss(self, inputs, targets, weights=None):
            loss, outputs = super().compute_loss(inputs, targets, weights)
            self.seen = loss.item()
            return loss, outputs

    found = []
    for compile in (False, EXACT):
        model = network()
        trainer = Reads(model, nn.CrossEntropyLoss(), OPTIMIZERS["adam"](model.parameters()))
        if compile:
            with pytest.warns(UserWarning, match=r"goes on without compiling .*item") as caught:
                history = quietly(trainer, X, Y, epochs=2, compile=compile)
            assert len(caught) == 1
        else:
            history = quietly(trainer, X, Y, epochs=2)
        found.append((bits(model.state_dict()), history["loss"]))
    assert found[0] == found[1]


# ---------------------------------------------------------------- validation


def test_validation_is_an_evaluation_after_each_epoch():
    model = network()
    trainer = trainer_of(model, metrics=["accuracy"])
    history = quietly(trainer, X[:50], Y[:50], epochs=2, validation_data=(X[50:], Y[50:]))
    last = trainer.evaluate(X[50:], Y[50:])
    assert {name: history["val_" + name][-1] for name in last} == last
    assert model.training
    every_other = quietly(trainer, X, Y, epochs=4, validation_data=(X, Y), validation_freq=2)
    assert [value is None for value in every_other["val_loss"]] == [True, False, True, False]


def test_a_split_holds_back_the_last_rows():
    split = network()
    one = quietly(trainer_of(split), X, Y, epochs=2, validation_split=0.3)
    given_ = network()
    other = quietly(trainer_of(given_), X[:49], Y[:49], epochs=2, validation_data=(X[49:], Y[49:]))
    assert bits(split.state_dict()) == bits(given_.state_dict())
    assert one.history == other.history


@pytest.mark.parametrize("source", ["arrays", "tensor dataset"])
@pytest.mark.parametrize("how", ["shuffled", "stratified"])
def test_a_split_at_random_disturbs_no_other_random_number(how, source):
    seen: list[int] = []

    class Seen(Trainer):
        def compute_loss(self, inputs, targets, weights=None):
            seen.extend(targets.tolist() if self.model.training else [])
            return super().compute_loss(inputs, targets, weights)

    labels = np.sort(Y)
    data = (X, labels) if source == "arrays" else (TensorDataset(X, labels),)
    model = network()
    trainer = Seen(model, nn.CrossEntropyLoss(), OPTIMIZERS["adam"](model.parameters()))
    before = af.get_rng_state()
    quietly(trainer, *data, validation_split=0.2, split=how, shuffle=False)
    drawn = af.get_rng_state()
    af.set_rng_state(before)
    af.dropout(af.ones(2), 0.5, True)
    assert len(seen) == 56
    assert set(seen) == {0, 1, 2}
    assert drawn is not None
    if how == "stratified":
        counts, whole = np.bincount(seen), np.bincount(labels)
        assert np.all(np.abs(counts - 0.8 * whole) <= 1)


def test_a_class_that_is_missing_on_one_side_is_warned_of():
    labels = np.sort(Y)
    with pytest.warns(
        UserWarning, match=r"no sample of class (2 in the training|0 in the validation) part.*stratified"
    ):
        quietly(trainer_of(network()), X, labels, validation_split=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quietly(trainer_of(network()), X, labels, validation_split=0.5, split="stratified")


# ---------------------------------------------------------------- interruption and resuming


class StopAt(Callback):
    """Presses Ctrl-C after so many batches."""

    def __init__(self, batches: int) -> None:
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def _keyboard():
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


def loaders(seed: int):
    return DataLoader(TensorDataset(X, Y), 16, shuffle=True, generator=np.random.default_rng(seed))


@pytest.mark.usefixtures("_keyboard")
@pytest.mark.parametrize("stop", [1, 3, 5, 7, 10])
@pytest.mark.parametrize("source", ["arrays", "loader with a generator", "endless"])
@pytest.mark.parametrize("compile", [False, EXACT])
def test_a_resumed_training_equals_one_that_was_never_interrupted(stop, source, compile, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(callbacks=(), **options):
        model = network()
        trainer = trainer_of(model, metrics=["accuracy"])
        data = {"arrays": (X, Y), "loader with a generator": (loaders(5),), "endless": (loaders(5),)}[source]
        if source == "arrays":
            options["batch_size"] = 16
        if source == "endless":
            options["steps_per_epoch"] = 4  # of the five batches of a pass
        try:
            quietly(trainer, *data, epochs=3, validation_data=(X, Y), callbacks=callbacks, compile=compile, **options)
        finally:
            state = bits(trainer.state_dict())
        return state, trainer

    whole, reference = run()
    with pytest.raises(KeyboardInterrupt, match=r"resume='interrupted\.safetensors'"):
        run([StopAt(stop)])
    af.manual_seed(99)
    resumed, trainer = run(resume="interrupted.safetensors")
    assert trainer.history.history == reference.history.history
    assert resumed["model"] == whole["model"]
    assert resumed["optimizer"] == whole["optimizer"]
    assert resumed["position"] == whole["position"]


@pytest.mark.usefixtures("_keyboard")
def test_ctrl_c_ends_between_two_steps_and_tells_the_callbacks(tmp_path):
    ended = []

    class Ended(Callback):
        def on_train_end(self, logs=None):
            ended.append((self.trainer.stop_reason, self.trainer.batch))

    trainer = trainer_of(network())
    path = tmp_path / "mine.safetensors"
    with pytest.raises(KeyboardInterrupt, match=r"mine\.safetensors"):
        quietly(trainer, X, Y, epochs=3, batch_size=10, callbacks=[StopAt(9), Ended()], checkpoint=path)
    assert ended == [("interrupted", 2)]
    assert trainer.epoch == 1
    assert trainer.history.stop_reason == "interrupted"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not trainer.fitting
    assert path.exists()
    quietly(trainer, X, Y)  # and it can go on training


def test_a_checkpoint_is_written_after_each_epoch(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    whole = network()
    quietly(trainer_of(whole), X, Y, epochs=4)
    quietly(trainer_of(network()), X, Y, epochs=2, checkpoint=path)
    rest = network(seed=8)
    history = quietly(trainer_of(rest), X, Y, epochs=4, resume=path)
    assert bits(rest.state_dict()) == bits(whole.state_dict())
    assert history.epoch == [0, 1, 2, 3]


@pytest.mark.parametrize("damage", ["truncated", "another file", "empty", "weights"])
def test_what_is_no_checkpoint_is_refused(damage, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    quietly(trainer_of(network()), X, Y, checkpoint=path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:200])
    elif damage == "weights":
        af.save(network().state_dict(), path)
    else:
        path.write_bytes(b"" if damage == "empty" else b"hello, this is a text" * 10)
    with pytest.raises(FileFormatError, match=r"checkpoint\.safetensors"):
        quietly(trainer_of(network()), X, Y, resume=path)


def test_a_folder_that_cannot_be_written_to_is_told_before_the_training(tmp_path):
    model = network()
    before = bits(model.state_dict())
    with pytest.raises(FileNotFoundError, match="no such folder"):
        quietly(trainer_of(model), X, Y, checkpoint=tmp_path / "nowhere" / "checkpoint.safetensors")
    assert bits(model.state_dict()) == before


# ---------------------------------------------------------------- NaN


class Breaks(nn.Module):
    """Takes the logarithm of what may be negative."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(FEATURES, CLASSES)
        self.normalized = nn.BatchNorm1d(FEATURES)

    def forward(self, x):
        return self.linear(self.normalized(x)) + af.log(x[:, :1])


@pytest.mark.parametrize("compile", [False, EXACT, True])
def test_a_nan_stops_before_it_does_harm_and_is_named(compile):
    af.manual_seed(0)
    model = Breaks()
    x = np.abs(X) + 1
    x[65] = -1  # in the fifth batch of 16
    states = []

    class Note(Callback):
        def on_train_batch_end(self, batch, logs=None):
            states.append(bits(model.state_dict()))

    optimizer = optim.Adam(model.parameters())
    trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer)
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError) as caught:
        quietly(trainer, x, Y, epochs=2, batch_size=16, shuffle=False, callbacks=[Note()], compile=compile)
    message = str(caught.value)
    assert "epoch 1, batch 5" in message
    assert "log" in message
    assert "af.log(x[:, :1])" in message
    assert len(states) == 4
    assert bits(model.state_dict()) == states[-1]
    assert trainer.stop_reason == trainer.history.stop_reason == "not finite"


@pytest.mark.parametrize("compile", [False, EXACT, True])
def test_a_gradient_that_is_not_finite_is_stopped_too(compile):
    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(af.ones(FEATURES))

        def forward(self, x):
            return af.sqrt((x * self.weight).abs().sum(1))  # at 0 its derivative is infinite

    x = np.abs(X) + 1
    x[40] = 0
    model = Root()
    trainer = Trainer(
        model, lambda outputs, targets: ((outputs - targets) ** 2).mean(), optim.SGD(model.parameters(), lr=0.01)
    )
    with (
        np.errstate(all="ignore"),
        pytest.raises(NonFiniteError, match=r"a gradient is not finite in epoch 1, batch 6"),
    ):
        quietly(trainer, x, np.ones(SAMPLES), batch_size=8, shuffle=False, compile=compile)
    assert np.isfinite(model.weight.detach().numpy()).all()


def test_the_look_for_nan_can_be_switched_off():
    x = np.abs(X) + 1
    x[65] = -1
    model = Breaks()
    trainer = Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters()))
    with np.errstate(all="ignore"):
        history = quietly(trainer, x, Y, batch_size=16, shuffle=False, check_finite=False)
    assert np.isnan(history["loss"][0])


# ---------------------------------------------------------------- callbacks' hooks


def test_hooks_are_called_in_keras_order():
    called = []

    class All(Callback):
        def __getattribute__(self, name):
            if name.startswith("on_"):
                return lambda *arguments: called.append((name, *arguments[:-1]))
            return super().__getattribute__(name)

    trainer = trainer_of(network(), metrics=["accuracy"])
    quietly(trainer, X, Y, batch_size=40, validation_data=(X, Y), callbacks=[All()])
    names = [name for name, *_ in called]
    batch = ["on_train_batch_begin", "on_train_batch_end"]
    test = ["on_test_begin", *["on_test_batch_begin", "on_test_batch_end"] * 2, "on_test_end"]
    assert names == ["on_train_begin", "on_epoch_begin", *batch * 2, *test, "on_epoch_end", "on_train_end"]
    assert ("on_train_batch_end", 1) in called


@pytest.mark.parametrize(
    "hook", ["on_train_begin", "on_epoch_begin", "on_train_batch_end", "on_epoch_end", "on_train_end"]
)
def test_every_callback_hears_of_the_end_whatever_another_one_does(hook):
    ended = []

    class Fails(Callback):
        def on_train_end(self, logs=None):
            ended.append("fails")

    def fail(self, *arguments):
        raise RuntimeError("mine")

    setattr(Fails, hook, fail)

    class Hears(Callback):
        def on_train_end(self, logs=None):
            ended.append("hears")

    trainer = trainer_of(network())
    with pytest.raises(RuntimeError, match="mine"):
        quietly(trainer, X, Y, callbacks=[Fails(), Hears()])
    assert ended == {"on_train_begin": ["fails"], "on_train_end": ["hears"]}.get(hook, ["fails", "hears"])
    assert not trainer.fitting


def test_a_callback_may_stop_the_training_in_an_epoch_and_add_to_its_logs():
    class Steers(Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                self.trainer.stop("enough")

        def on_epoch_end(self, epoch, logs=None):
            logs["extra"] = 7.0

    trainer = trainer_of(network())
    history = quietly(trainer, X, Y, epochs=3, batch_size=10, validation_data=(X, Y), callbacks=[Steers()])
    assert history.epoch == [0]
    assert history["extra"] == [7.0]
    assert history.stop_reason == "enough"


def test_setting_the_rate_keeps_the_groups_in_proportion():
    model = network()
    groups = [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[4].parameters(), "lr": 0.02}]
    trainer = Trainer(model, nn.CrossEntropyLoss(), optim.SGD(groups, lr=1.0))
    trainer.learning_rate = 0.05
    assert [group["lr"] for group in trainer.optimizer.param_groups] == pytest.approx([0.05, 0.01])
    trainer.learning_rate = 0.0
    trainer.learning_rate = 0.2
    assert [group["lr"] for group in trainer.optimizer.param_groups] == pytest.approx([0.2, 0.04])


# ---------------------------------------------------------------- history


def test_a_history_goes_to_tables_and_pictures(tmp_path):
    history = quietly(trainer_of(network(), metrics=["accuracy"]), X, Y, epochs=2, validation_data=(X, Y))
    assert dict(history) == history.history
    assert len(history) == 4
    lines = history.to_csv(tmp_path / "history.csv").splitlines()
    assert lines[0] == "epoch,loss,accuracy,val_loss,val_accuracy"
    assert [float(one) for one in lines[2].split(",")] == [1, *(history[name][1] for name in history)]
    assert (tmp_path / "history.csv").read_text() == "\n".join(lines) + "\n"
    assert '"epoch": 1' in history.to_json()
    assert "2 epochs" in repr(history)
    pytest.importorskip("matplotlib")
    figure = history.plot()
    assert [axes.get_title() for axes in figure.axes] == ["loss", "accuracy"]
    pandas = pytest.importorskip("pandas")
    frame = history.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["val_loss"].tolist() == history["val_loss"]


# ---------------------------------------------------------------- wrong input


def fits(*data, **options):
    return lambda: quietly(trainer_of(network()), *data, **options)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (fits(X, Y[:-1]), ShapeError, r"same number of samples, got inputs \(70, 6\), targets \(69,\)"),
        (fits(X[:0], Y[:0]), ShapeError, r"no samples: .*\(0, 6\)"),
        (fits(X, Y, epochs=0), ShapeError, "epochs has to be a positive integer, got 0"),
        (fits(X, Y, epochs=1.5), ShapeError, "epochs"),
        (fits(X, Y, batch_size=0), ShapeError, "batch_size"),
        (fits(X, Y, accumulate=0), ShapeError, "accumulate"),
        (fits(X, Y, validation_split=1.5), ShapeError, "between 0 and 1, got 1.5"),
        (fits(X, Y, validation_split=0.999), ShapeError, "leaves 0 to train on and 70"),
        (fits(X, Y, validation_split=0.2, split="first"), ShapeError, "'first'"),
        (fits(DataLoader(Rows(), 8), validation_split=0.2), DtypeError, "random_split"),
        (fits(DataLoader(Rows(), 8), batch_size=8), ShapeError, "decides the batches itself"),
        (fits(DataLoader(Rows(), 8), Y), DtypeError, "brings its own targets"),
        (fits(3), DtypeError, "got int"),
        (fits(np.array(["a", "b"]), Y[:2]), DtypeError, "only numbers"),
        (fits((batch for batch in batches_by_hand()), epochs=2), AutogradError, "ended in epoch 2 after 0 batches"),
        (fits([(X, Y, Y, Y)]), DtypeError, "length 4"),
        (fits(X, Y, callbacks=[Callback]), DtypeError, "parentheses"),
        (fits(X, Y, callbacks=[print]), DtypeError, "derived from"),
        (lambda: Trainer(print), DtypeError, "nn.Module"),
        (lambda: Trainer(network(), nn.CrossEntropyLoss), DtypeError, "parentheses"),
        (lambda: Trainer(network(), 3), DtypeError, "loss"),
        (lambda: Trainer(network(), nn.CrossEntropyLoss()).fit(X, Y), OptimizerError, "no optimizer"),
        (lambda: trainer_of(network()).state_dict(), AutogradError, "call fit first"),
        (lambda: quietly(Trainer(network(), lambda a, b: a.sum(), optim.SGD(network().parameters())), X, Y, sample_weight=Y),
         DtypeError, "no argument reduction"),
    ],
)  # fmt: skip
def test_wrong_input_is_told_what_is_wrong(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.usefixtures("no_collector")
def test_a_training_leaves_nothing_behind():
    model = network()
    trainer = trainer_of(model, metrics=["accuracy"])
    quietly(trainer, X, Y, epochs=2, validation_data=(X, Y))
    gone = weakref.ref(model[0].weight)
    del model, trainer
    gc.collect()
    assert gone() is None


# ---------------------------------------------------------------- trainers of one's own


class Annealed(Trainer):
    """Has a number that callbacks change, and a second module with an optimizer of its own."""

    def __init__(self, model, optimizer):
        super().__init__(model, nn.CrossEntropyLoss(), optimizer)
        self.beta = 1.0
        self.second = nn.Linear(CLASSES, CLASSES)
        self.second_optimizer = optim.SGD(self.second.parameters(), lr=0.1, momentum=0.9)

    def train_step(self, inputs, targets, weights=None):
        outputs = self.second(self.model(inputs))
        loss = self.loss(outputs, targets) * self.beta
        self.second_optimizer.zero_grad()
        self.backward(loss)
        self.second_optimizer.step()
        self.update()
        return {"loss": loss}


class Anneals(Callback):
    def __init__(self, every: str) -> None:
        self.every = every

    def on_epoch_begin(self, epoch, logs=None):
        self.trainer.beta *= 0.5

    def on_train_batch_end(self, batch, logs=None):
        if self.every == "batch":
            self.trainer.beta *= 0.9


@pytest.mark.parametrize("every", ["epoch", "batch"])
def test_a_compiled_step_follows_the_attributes_of_a_trainer_of_ones_own(every):
    found = []
    for compile in (False, EXACT):
        model = network()
        trainer = Annealed(model, OPTIMIZERS["adam"](model.parameters()))
        options = {"epochs": 4, "batch_size": 10, "compile": compile, "callbacks": [Anneals(every)]}
        if compile and every == "batch":
            with pytest.warns(UserWarning, match=r"attribute 'beta' was changed 17 times"):
                quietly(trainer, X, Y, **options)
        else:
            quietly(trainer, X, Y, **options)
        found.append((bits(model.state_dict()), bits(trainer.second.state_dict()), trainer.history["loss"]))
    assert found[0] == found[1]


@pytest.mark.usefixtures("_keyboard")
def test_a_checkpoint_holds_every_module_and_optimizer_of_a_trainer(tmp_path):
    path = tmp_path / "checkpoint.safetensors"

    def run(**options):
        model = network()
        trainer = Annealed(model, OPTIMIZERS["adam"](model.parameters()))
        quietly(trainer, X, Y, batch_size=16, checkpoint=path, **options)
        return bits(trainer.state_dict())

    whole = run(epochs=4)
    run(epochs=2)
    af.manual_seed(77)
    assert run(epochs=4, resume=path) == whole


def test_the_last_batch_can_be_left_out():
    sizes = []

    class Sizes(Trainer):
        def compute_loss(self, inputs, targets, weights=None):
            sizes.append(len(targets))
            return super().compute_loss(inputs, targets, weights)

    model = network()
    trainer = Sizes(model, nn.CrossEntropyLoss(), OPTIMIZERS["sgd"](model.parameters()))
    quietly(trainer, X[:65], Y[:65], batch_size=16, drop_last=True)  # one that BatchNorm could not take
    quietly(trainer, TensorDataset(X[:65], Y[:65]), batch_size=16, drop_last=True)
    assert sizes == [16] * 8


def test_what_a_step_of_ones_own_makes_no_use_of_is_refused():
    class Plain(Trainer):
        def train_step(self, inputs, targets, weights=None):
            loss = self.loss(self.model(inputs), targets)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            return {"loss": loss}

    for options, words in (({"clip": 1.0}, "clip cannot work"), ({"accumulate": 2}, "accumulate cannot work")):
        model = network()
        trainer = Plain(model, nn.CrossEntropyLoss(), OPTIMIZERS["adam"](model.parameters()))
        with pytest.raises(
            AutogradError, match=rf"{words}: Plain.train_step calls self.backward\(\) and self.update\(\) nowhere"
        ):
            quietly(trainer, X, Y, **options)
    quietly(trainer, X, Y)

    class Alone(Trainer):
        def compute_loss(self, inputs, targets, weights=None):
            return self.loss(self.model(inputs), targets)

    trainer = Alone(model, nn.CrossEntropyLoss(), OPTIMIZERS["adam"](model.parameters()))
    with pytest.raises(DtypeError, match=r"returns \(loss, outputs\), and Alone's returned Tensor"):
        quietly(trainer, X, Y)


@pytest.mark.usefixtures("_keyboard")
def test_the_middle_of_an_epoch_belongs_to_its_data(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        quietly(trainer_of(network()), X, Y, batch_size=10, callbacks=[StopAt(3)], checkpoint=path)
    with pytest.raises(AutogradError, match="an epoch of 7 batches, and the data given have 14"):
        quietly(trainer_of(network()), X, Y, batch_size=5, resume=path)
    quietly(trainer_of(network()), X, Y, batch_size=10, resume=path)
