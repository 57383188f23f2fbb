"""Callbacks that steer a training: stopping, learning rates, files. Against naive references, over sequences of values."""

from __future__ import annotations

import csv
import itertools
import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import nn, optim
from autograd_ff.errors import DtypeError, NonFiniteError, OptimizerError, ShapeError, StateDictError
from autograd_ff.training.callback import Callback
from autograd_ff.training.callbacks import (
    CSVLogger,
    EarlyStopping,
    ExponentialMovingAverage,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TerminateOnNaN,
)
from autograd_ff.training.sharing import Sharing
from autograd_ff.training.trainer import Trainer


class Net(nn.Module):
    """One weight, and a running statistic that each training batch moves."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1, 1)
        self.register_buffer("seen", af.zeros(1))

    def forward(self, x):
        if self.training:
            self.seen = self.seen + 1
        return self.linear(x)


def new_trainer(lr=0.1, seed=0, model=None, optimizer=optim.Adam):
    af.manual_seed(seed)
    model = Net() if model is None else model
    return Trainer(model, nn.MSELoss(), optimizer(model.parameters(), lr=lr))


DATA = np.linspace(-1, 1, 8, dtype=np.float32)[:, None], np.linspace(1, 2, 8, dtype=np.float32)[:, None]


def fit(trainer, epochs, *callbacks, **options):
    options = {"batch_size": 4, "checks": False, "verbose": 0, "callbacks": callbacks, **options}
    return trainer.fit(*DATA, epochs=epochs, **options)


class Say(Callback):
    """Gives out a number for each epoch under a name, before all others look."""

    order = -1000

    def __init__(self, values, name="val_loss"):
        self.values, self.name = values, name

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.values[epoch]


class Record(Callback):
    """What the model holds at the end of each epoch."""

    order = 1000

    def __init__(self):
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(everything(self.model))


def everything(model):
    return {name: one.array.copy() for name, one in [*model.named_parameters(), *model.named_buffers()]}


def equal(left, right):
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


VALUES = st.lists(st.sampled_from([0.0, 0.5, 0.9, 1.0, 1.1, 1.5, 2.0, math.nan, math.inf]), min_size=1, max_size=12)


def naive_stop(values, min_delta, patience, mode, baseline, start):
    """(epochs run, best epoch or None) of early stopping, as its documentation says it."""
    sign = 1 if mode == "max" else -1

    def beats(value, other):
        return not math.isnan(value) and (other is None or sign * (value - other) > min_delta)

    best = best_epoch = None
    wait = 0
    for epoch, value in enumerate(values):
        if epoch < start:
            continue
        wait += 1
        if beats(value, best):
            best, best_epoch = value, epoch
            if baseline is None or beats(value, baseline):
                wait = 0
        elif wait >= patience and epoch > 0:
            return epoch + 1, best_epoch
    return len(values), best_epoch


class Stub:
    """As much of a trainer as a callback needs that sees values alone."""

    def __init__(self, epochs=0, lr=1.0):
        self.model = nn.Linear(1, 1)
        self.metrics, self.has_validation = [], True
        self.learning_rate, self.stop_reason = lr, None
        self.epoch, self.epochs, self.verbose = 0, epochs, 0
        self.sharing = Sharing(self)

    def stop(self, reason):
        self.stop_reason = reason


def drive(callback, values, begin=0, name="val_loss", trainer=None):
    """Show values to a callback; the weight is the number of the epoch. Returns the number of epochs run, and the trainer."""
    callback.trainer = trainer = Stub(len(values)) if trainer is None else trainer
    callback.on_train_begin({})
    epoch = begin
    while epoch < len(values) and trainer.stop_reason is None:
        with af.no_grad():
            trainer.model.weight.copy_(np.float32(epoch))
        callback.on_epoch_begin(epoch, {})
        logs = {name: values[epoch]}
        epoch += 1
        trainer.epoch = epoch
        callback.on_epoch_end(epoch - 1, logs)
    return epoch, trainer


# ---------------------------------------------------------------- early stopping


STOPPING = {
    "min_delta": st.sampled_from([0.0, 0.1, 0.45]),
    "patience": st.integers(0, 4),
    "mode": st.sampled_from(["min", "max"]),
    "baseline": st.sampled_from([None, 0.95]),
    "start_from_epoch": st.integers(0, 3),
}


def check_stopping(cls, values, options):
    callback = cls(**options)
    run, trainer = drive(callback, values)
    expected, best = naive_stop(
        values, options["min_delta"], options["patience"], options["mode"], options["baseline"],
        options["start_from_epoch"],
    )  # fmt: skip
    assert run == expected
    last = trainer.model.weight.item()
    callback.on_train_end({})
    assert trainer.model.weight.item() == (last if best is None else best)


@settings(max_examples=200)
@given(VALUES, st.fixed_dictionaries(STOPPING))
def test_early_stopping_is_the_naive_one(values, options):
    # min_delta of the drawn values is exact in neither way at the borders of binary fractions: keep away from ties
    if options["min_delta"]:
        gaps = {abs(a - b) for a, b in itertools.product([*values, options["baseline"] or 0.0], repeat=2)}
        options["min_delta"] += 1e-3 if any(abs(gap - options["min_delta"]) < 1e-9 for gap in gaps) else 0
    check_stopping(EarlyStopping, values, options)


def planted_stopping():
    class IgnoresMode(EarlyStopping):
        def direction(self):
            return -1

    class KeepsLast(EarlyStopping):
        def on_train_end(self, logs=None):
            pass

    class OneEpochMore(EarlyStopping):
        def __init__(self, **options):
            super().__init__(**options)
            self.patience += 1

    class TakesNaN(EarlyStopping):
        def is_improvement(self, value, reference):
            return reference is None or super().is_improvement(value, reference)

    class NoBaseline(EarlyStopping):
        def __init__(self, **options):
            super().__init__(**{**options, "baseline": None})

    return [IgnoresMode, KeepsLast, OneEpochMore, TakesNaN, NoBaseline]


@pytest.mark.parametrize("cls", planted_stopping(), ids=lambda cls: cls.__name__)
def test_planted_faults_of_early_stopping_are_caught(cls):
    base = {"min_delta": 0.0, "patience": 1, "mode": "min", "baseline": None, "start_from_epoch": 0}
    caught = 0
    for values, change in [
        ([1.0, 2.0, 0.5, 3.0], {}),
        ([1.0, 2.0, 3.0, 1.0], {"mode": "max"}),
        ([math.nan, math.nan, math.nan], {"patience": 2}),
        ([1.5, 1.1, 1.0, 2.0, 0.5], {"baseline": 0.95, "patience": 2}),
    ]:
        try:
            check_stopping(cls, values, {**base, **change})
        except AssertionError:
            caught += 1
    assert caught


@given(VALUES, st.fixed_dictionaries(STOPPING), st.integers(1, 11))
def test_early_stopping_resumes(values, options, cut):
    whole = EarlyStopping(**options)
    run, trainer = drive(whole, values)
    whole.on_train_end({})
    first = EarlyStopping(**options)
    part, before = drive(first, values[:cut])
    again = EarlyStopping(**options)
    again.load_state_dict(reloaded(first.state_dict()))
    other = Stub()
    other.model = before.model
    resumed, _ = drive(again, values, part, trainer=other)
    again.on_train_end({})
    assert (resumed, again.best_epoch, again.wait) == (run, whole.best_epoch, whole.wait)
    assert other.model.weight.item() == trainer.model.weight.item()


def reloaded(state):
    """A state as a file gives it back."""
    import io

    file = io.BytesIO()
    af.save(state, file)
    file.seek(0)
    return af.load(file)


def test_the_same_callback_serves_two_trainings():
    callback = EarlyStopping(patience=1)
    assert drive(callback, [1.0, 2.0, 3.0])[0] == 2
    callback.on_train_end({})
    assert drive(callback, [5.0, 4.0, 3.0])[0] == 3


def ways_out():
    def patience(trainer, stopping, values):
        fit(trainer, 6, Say(values), stopping)

    def last_epoch(trainer, stopping, values):
        stopping.patience = 100
        fit(trainer, len(values), Say(values), stopping)

    def interrupt(trainer, stopping, values):
        press = LambdaCallback(
            on_train_batch_end=lambda batch, logs: trainer.epoch == 2 and os.kill(os.getpid(), signal.SIGINT)
        )
        with pytest.raises(KeyboardInterrupt):
            fit(trainer, 6, Say(values), stopping, press)

    def exception(trainer, stopping, values):
        def fail(batch, logs):
            if trainer.epoch == 2:
                raise ZeroDivisionError("in the middle")

        with pytest.raises(ZeroDivisionError):
            fit(trainer, 6, Say(values), stopping, LambdaCallback(on_train_batch_begin=fail))

    def not_finite(trainer, stopping, values):
        class Break(Callback):
            def on_epoch_begin(self, epoch, logs=None):
                if epoch == 2:
                    with af.no_grad():
                        self.model.linear.weight.copy_(np.float32(np.nan))

        with pytest.raises(NonFiniteError, match=r"not finite|became"):
            fit(trainer, 6, Say(values), stopping, Break())

    return [patience, last_epoch, interrupt, exception, not_finite]


@pytest.mark.parametrize("leave", ways_out(), ids=lambda way: way.__name__)
def test_the_best_weights_come_back_on_every_way_out(leave, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainer, record = new_trainer(), Record()
    fit(trainer, 2, record)  # what the same training has after its first two epochs
    again = new_trainer()
    leave(again, EarlyStopping(patience=2), [1.0, 0.5, 0.7, 0.8, 0.9, 1.0])
    assert equal(everything(again.model), record.weights[1])
    assert record.weights[1]["seen"].item() == 4  # a running statistic of two epochs


def test_restoring_can_be_switched_off():
    trainer, record = new_trainer(), Record()
    fit(trainer, 6, Say([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), EarlyStopping(patience=2, restore_best_weights=False), record)
    assert len(record.weights) == 3
    assert equal(everything(trainer.model), record.weights[-1])


def test_without_an_epoch_nothing_is_restored():
    trainer = new_trainer()
    before = everything(trainer.model)

    def fail(logs):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fit(trainer, 2, EarlyStopping("loss"), LambdaCallback(on_train_begin=fail))
    assert equal(everything(trainer.model), before)


def test_restored_weights_stay_in_the_optimizers_memory():
    trainer = new_trainer()
    arrays = [parameter.array for parameter in trainer.model.parameters()]
    fit(trainer, 3, Say([1.0, 2.0, 3.0]), EarlyStopping(patience=1))
    assert all(one is parameter.array for one, parameter in zip(arrays, trainer.model.parameters(), strict=True))


def test_weights_of_another_model_are_refused():
    trainer, stopping = new_trainer(), EarlyStopping("loss")
    fit(trainer, 1, stopping)
    other = Stub()
    stopping.trainer = other
    with pytest.raises(StateDictError, match="are not those of this Linear"):
        stopping.on_train_end({})


# ---------------------------------------------------------------- what is watched


@pytest.mark.parametrize(
    ("name", "sign"),
    [
        ("val_loss", -1), ("loss", -1), ("val_accuracy", 1), ("acc", 1), ("auc_1", 1), ("mean_squared_error", -1), ("mae", -1),
        ("sparse_categorical_crossentropy", -1), ("top_k_categorical_accuracy", 1), ("val_precision", 1), ("f1_score", 1),
        ("false_positives", -1), ("cosine_similarity", 1), ("binary_accuracy", 1), ("perplexity", -1),
    ],
)  # fmt: skip
def test_the_better_way_is_told_by_the_name(name, sign):
    assert EarlyStopping(name).direction() == sign


def test_a_name_that_says_nothing_is_refused_before_the_first_epoch():
    begun = []
    with pytest.raises(ShapeError, match=r"smaller 'height' is better[\s\S]*mode='max'"):
        fit(new_trainer(), 1, LambdaCallback(on_epoch_begin=lambda *_: begun.append(1)), EarlyStopping("height"))
    assert not begun
    fit(new_trainer(), 1, Say([1.0], "height"), EarlyStopping("height", mode="max"))


def test_a_metric_may_say_its_direction():
    class Height:
        name, direction = "height", "up"

    callback = EarlyStopping("val_height")
    callback.trainer = Stub()
    callback.trainer.metrics = [Height()]
    assert callback.direction() == 1


def test_a_missing_number_is_named_once_with_what_there_is():
    with pytest.warns(UserWarning, match="watches") as caught:
        fit(new_trainer(), 3, Say([1.0] * 3, "val_accuracy"), EarlyStopping("accuracy"))
    assert len(caught) == 1
    assert "'accuracy', which is not among the logged 'loss', 'val_accuracy'" in str(caught[0].message)
    assert "monitor='val_accuracy'" in str(caught[0].message)
    assert caught[0].filename == __file__


def test_no_validation_is_said_once():
    with pytest.warns(UserWarning, match="watches") as caught:
        fit(new_trainer(), 3, EarlyStopping())
    assert len(caught) == 1
    assert "There is no validation: pass validation_data or validation_split, or monitor='loss'" in str(
        caught[0].message
    )


def test_epochs_without_validation_are_passed_over():
    stopping = EarlyStopping(patience=5)
    fit(new_trainer(), 4, stopping, validation_data=DATA, validation_freq=2)
    assert stopping.best_epoch in (1, 3)


def test_an_unknown_mode():
    with pytest.raises(ShapeError, match="'auto', 'min' or 'max'"):
        EarlyStopping(mode="up")


# ---------------------------------------------------------------- learning rates


def naive_plateau(values, factor, patience, mode, min_delta, cooldown, min_lr):
    sign = 1 if mode == "max" else -1
    rate, best, wait, rest, rates = 1.0, None, 0, 0, []
    for value in values:
        if rest > 0:
            rest -= 1
            wait = 0
        if not math.isnan(value) and (best is None or sign * (value - best) > min_delta):
            best, wait = value, 0
        elif rest == 0:
            wait += 1
            if wait >= patience and rate > min_lr:
                rate, rest, wait = max(rate * factor, min_lr), cooldown, 0
        rates.append(rate)
    return rates


PLATEAU = {
    "factor": st.sampled_from([0.1, 0.5]),
    "patience": st.integers(0, 3),
    "mode": st.sampled_from(["min", "max"]),
    "min_delta": st.sampled_from([0.0, 0.07]),
    "cooldown": st.integers(0, 3),
    "min_lr": st.sampled_from([0.0, 0.3]),
}


@settings(max_examples=200)
@given(VALUES, st.fixed_dictionaries(PLATEAU), st.integers(0, 12))
def test_the_plateau_is_the_naive_one_and_resumes(values, options, cut):
    rates = []

    class Watched(ReduceLROnPlateau):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            rates.append(self.trainer.learning_rate)

    first = Watched(**options)
    done, trainer = drive(first, values[:cut])
    again = Watched(**options)
    again.load_state_dict(reloaded(first.state_dict()))
    drive(again, values, done, trainer=trainer)
    assert rates == naive_plateau(values, **options)


def test_the_rate_is_logged_as_it_was_in_the_epoch():
    plateau = ReduceLROnPlateau(patience=1, factor=0.5)
    history = fit(new_trainer(lr=0.8), 4, Say([1.0, 1.0, 1.0, 1.0]), plateau)
    assert history["learning_rate"] == pytest.approx([0.8, 0.8, 0.4, 0.2])


@pytest.mark.parametrize("factor", [1.0, 2.0, -0.1])
def test_a_factor_that_does_not_reduce(factor):
    with pytest.raises(ShapeError, match="factor"):
        ReduceLROnPlateau(factor=factor)


def test_schedules_of_one_and_of_two_arguments():
    one = fit(new_trainer(lr=1.0), 3, LearningRateScheduler(lambda epoch: 0.1 * (epoch + 1)))
    two = fit(new_trainer(lr=1.0), 3, LearningRateScheduler(lambda epoch, lr: lr / 2))
    assert one["learning_rate"] == pytest.approx([0.1, 0.2, 0.3])
    assert two["learning_rate"] == [0.5, 0.25, 0.125]


def test_an_error_inside_a_schedule_comes_through():
    def schedule(epoch, lr):
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        fit(new_trainer(), 1, LearningRateScheduler(schedule))


@pytest.mark.parametrize("value", [None, "fast", math.nan, math.inf, -0.1])
def test_what_is_no_rate(value):
    with pytest.raises(OptimizerError, match=r"a learning rate is a finite number"):
        fit(new_trainer(), 1, LearningRateScheduler(lambda epoch: value))


@pytest.mark.parametrize("every", ["epoch", "batch"])
def test_a_scheduler_moves_as_in_the_hand_written_loop(every):
    def schedule(optimizer):
        return optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.5, total_steps=9)

    seen = []
    trainer = new_trainer(optimizer=optim.SGD, lr=0.1)
    trainer.optimizer = optim.SGD(trainer.model.parameters(), lr=0.1, momentum=0.9)
    look = LambdaCallback(on_train_batch_begin=lambda batch, logs: seen.append(trainer.learning_rate))
    fit(trainer, 3, LearningRateScheduler(schedule(trainer.optimizer), every=every), look)
    reference = optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1, momentum=0.9)
    scheduler = schedule(reference)
    expected = []
    for _ in range(3):
        for _ in range(2):
            expected.append(scheduler.get_last_lr()[0])
            reference.step()
            if every == "batch":
                scheduler.step()
        if every == "epoch":
            scheduler.step()
    assert seen == expected


def test_a_function_asked_before_each_batch():
    seen = []
    fit(new_trainer(), 2, LearningRateScheduler(lambda step: seen.append(step) or 0.1, every="batch"))
    assert seen == [0, 1, 2, 3]


def test_torchs_plateau_scheduler_is_told_the_number():
    trainer = new_trainer(lr=1.0)
    scheduler = optim.lr_scheduler.ReduceLROnPlateau(trainer.optimizer, factor=0.5, patience=0)
    history = fit(trainer, 4, Say([1.0, 2.0, 3.0, 0.5]), LearningRateScheduler(scheduler))
    assert history["learning_rate"] == [1.0, 1.0, 0.5, 0.25]


def test_misused_schedules():
    trainer, other = new_trainer(), new_trainer()
    with pytest.raises(OptimizerError, match="another optimizer"):
        fit(trainer, 1, LearningRateScheduler(optim.lr_scheduler.StepLR(other.optimizer, 1)))
    with pytest.raises(OptimizerError, match="a schedule is a function"):
        LearningRateScheduler(0.1)
    with pytest.raises(OptimizerError, match="a schedule is a function"):
        LearningRateScheduler(optim.lr_scheduler.StepLR)
    with pytest.raises(OptimizerError, match="every"):
        LearningRateScheduler(lambda epoch: 0.1, every="step")


# ---------------------------------------------------------------- files


def naive_keep(values, keep, sign):
    """The epochs whose files are left, if each is written and then the worst are deleted."""
    left = []
    for epoch, value in enumerate(values):
        left.append((math.isnan(value), 0 if math.isnan(value) else -sign * value, epoch))
        left = sorted(left)[:keep]
    return {epoch for _, _, epoch in left}


@settings(max_examples=60)
@given(VALUES, st.integers(1, 4), st.sampled_from(["min", "max"]), st.booleans(), st.integers(0, 12))
def test_the_best_files_are_kept(tmp_path_factory, values, keep, mode, best_only, cut):
    folder = tmp_path_factory.mktemp("files")
    written = []

    class Files(ModelCheckpoint):
        def write(self, path):
            written.append(path)
            super().write(path)

    def make():
        return Files(
            folder / "{epoch}.safetensors", mode=mode, keep=keep, save_best_only=best_only, save_weights_only=True
        )

    first = make()
    done, trainer = drive(first, values[:cut])
    again = make()
    again.load_state_dict(reloaded(first.state_dict()))
    drive(again, values, done, trainer=trainer)
    sign = 1 if mode == "max" else -1
    improving, best = [], None
    for epoch, value in enumerate(values):
        if not math.isnan(value) and (best is None or sign * (value - best) > 0):
            improving.append(epoch)
            best = value
    left = set(improving[-keep:]) if best_only else naive_keep(values, keep, sign)
    assert {int(path.stem) - 1 for path in folder.iterdir()} == left
    assert {int(os.path.basename(path).split(".")[0]) - 1 for path, _ in again.kept} == left
    if best_only:
        assert len(written) == len(improving)
    for epoch in left:
        assert af.load(folder / f"{epoch + 1}.safetensors")["weight"].item() == epoch


def test_names_are_filled_in(tmp_path):
    fit(new_trainer(), 2, Say([0.123, 1.5]), ModelCheckpoint(tmp_path / "{epoch:02d}-{val_loss:.2f}.safetensors"))
    assert sorted(os.listdir(tmp_path)) == ["01-0.12.safetensors", "02-1.50.safetensors"]


def test_a_name_that_is_not_logged(tmp_path):
    with pytest.raises(ShapeError, match=r"'val_acc'[\s\S]*There are 'loss', 'epoch'"):
        fit(new_trainer(), 1, ModelCheckpoint(tmp_path / "{val_acc}.safetensors"))


@pytest.mark.parametrize("options", [{"save_freq": 0}, {"save_freq": "batch"}, {"keep": 0}, {"keep": 1.5}])
def test_numbers_that_are_none(options):
    with pytest.raises(ShapeError, match=next(iter(options))):
        ModelCheckpoint("x", **options)


def test_files_after_batches_keep_the_latest(tmp_path):
    fit(new_trainer(), 3, ModelCheckpoint(tmp_path / "{epoch}-{batch}", "loss", save_freq=3, save_weights_only=True))
    assert sorted(os.listdir(tmp_path)) == ["2-1", "3-2"]
    with pytest.warns(UserWarning, match="is not among"):
        fit(new_trainer(), 3, ModelCheckpoint(tmp_path / "b{epoch}-{batch}", "accuracy", save_freq=2, keep=1))
    assert [name for name in os.listdir(tmp_path) if name.startswith("b")] == ["b3-2"]


def test_the_same_name_is_one_file(tmp_path):
    files = ModelCheckpoint(tmp_path / "best.safetensors", save_best_only=True, save_weights_only=True, keep=1)
    record = Record()
    trainer = new_trainer()
    fit(trainer, 3, Say([1.0, 0.5, 0.7]), files, record)
    assert os.listdir(tmp_path) == ["best.safetensors"]
    loaded = af.load(tmp_path / "best.safetensors")
    assert np.array_equal(loaded["linear.weight"].array, record.weights[1]["linear.weight"])
    assert files.best == 0.5


def test_a_threshold_to_beat(tmp_path):
    files = ModelCheckpoint(
        tmp_path / "{epoch}", save_best_only=True, save_weights_only=True, initial_value_threshold=0.6
    )
    fit(new_trainer(), 3, Say([1.0, 0.5, 0.7]), files)
    assert os.listdir(tmp_path) == ["2"]


def test_best_without_the_number_writes_each_and_says_so(tmp_path):
    with pytest.warns(UserWarning, match="writes each"):
        fit(new_trainer(), 2, ModelCheckpoint(tmp_path / "{epoch}", save_best_only=True, save_weights_only=True))
    assert sorted(os.listdir(tmp_path)) == ["1", "2"]


def test_a_full_disk_is_a_warning_and_nothing_is_lost(tmp_path, monkeypatch):
    files = ModelCheckpoint(tmp_path / "{epoch}", keep=1, save_weights_only=True)
    ordinary = files.write

    def write(path):
        if path.endswith("2"):
            raise OSError(28, "No space left on device")
        ordinary(path)

    monkeypatch.setattr(files, "write", write)
    with pytest.warns(UserWarning, match="could not") as caught:
        fit(new_trainer(), 3, Say([1.0, 0.5, 2.0]), files)
    assert "No space left on device" in str(caught[0].message)
    assert "1 of its files could not be written" in str(caught[-1].message)
    assert os.listdir(tmp_path) == ["1"]
    assert files.best == 1.0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_device_that_is_full():
    with pytest.warns(UserWarning, match="could not") as caught:
        history = fit(new_trainer(), 2, ModelCheckpoint("/dev/full"))
    assert ["could not write /dev/full" in str(one.message) for one in caught] == [True, True, False]
    assert len(history["loss"]) == 2


@pytest.mark.parametrize("make", [ModelCheckpoint, CSVLogger])
def test_a_folder_that_cannot_be_is_told_before_the_first_epoch(make, tmp_path):
    (tmp_path / "file").write_text("")
    begun = []
    with pytest.raises(OSError, match="file"):
        fit(new_trainer(), 1, LambdaCallback(on_epoch_begin=lambda *_: begun.append(1)), make(tmp_path / "file" / "x"))
    assert not begun


def test_a_checkpoint_of_the_last_epoch_goes_on_as_if_nothing_had_happened(tmp_path):
    """Of all callbacks that keep a state, from a file that one of them wrote."""
    values = [1.0, 0.9, 0.95, 0.7, 0.8, 0.75, 0.9, 0.8, 0.9]

    def callbacks(name):
        return [
            Say(values), ReduceLROnPlateau(patience=1, factor=0.5, cooldown=1), EarlyStopping(patience=3),
            ExponentialMovingAverage(decay=0.7), CSVLogger(tmp_path / f"{name}.csv"),
            ModelCheckpoint(tmp_path / (name + "-{epoch}"), keep=8),
        ]  # fmt: skip

    whole = new_trainer()
    history = fit(whole, 9, *callbacks("whole"), validation_data=DATA)
    assert len(history["loss"]) == 7
    for cut in (1, 3, 4):
        part = new_trainer()
        fit(part, cut, *callbacks("part"), validation_data=DATA)
        resumed = new_trainer(seed=5)
        again = fit(resumed, 9, *callbacks("part"), validation_data=DATA, resume=tmp_path / f"part-{cut}")
        assert equal(everything(resumed.model), everything(whole.model))
        assert again.history == history.history
        assert (tmp_path / "part.csv").read_text() == (tmp_path / "whole.csv").read_text()
        assert {name for name in os.listdir(tmp_path) if name.startswith("part-")} == {
            name.replace("whole", "part") for name in os.listdir(tmp_path) if name.startswith("whole-")
        }
        for name in os.listdir(tmp_path):
            if name.startswith("part"):
                os.unlink(tmp_path / name)


def test_a_training_that_was_over_stays_over(tmp_path):
    trainer = new_trainer()
    fit(trainer, 9, Say([1.0, 2.0, 3.0] * 3), EarlyStopping(patience=1), checkpoint=tmp_path / "state")
    again = new_trainer(seed=3)
    fit(again, 9, Say([1.0, 2.0, 3.0] * 3), EarlyStopping(patience=1), resume=tmp_path / "state")
    assert equal(everything(again.model), everything(trainer.model))
    assert again.stop_reason == "patience"
    assert again.epoch == 2
    longer = new_trainer(seed=3)
    fit(longer, 9, Say([1.0, 2.0, 3.0] * 3), EarlyStopping(patience=3), resume=tmp_path / "state")
    assert longer.epoch == 4


# ---------------------------------------------------------------- CSV


def rows_of(path, **options):
    with open(path, newline="") as file:
        return list(csv.DictReader(file, **options))


def test_a_line_for_each_epoch(tmp_path):
    history = fit(new_trainer(), 3, CSVLogger(tmp_path / "runs" / "log.csv", separator=";"))
    rows = rows_of(tmp_path / "runs" / "log.csv", delimiter=";")
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2]
    assert [float(row["loss"]) for row in rows] == history["loss"]


def test_a_name_that_comes_later_gets_a_column(tmp_path):
    fit(new_trainer(), 4, CSVLogger(tmp_path / "log.csv"), validation_data=DATA, validation_freq=2)
    rows = rows_of(tmp_path / "log.csv")
    assert list(rows[0]) == ["epoch", "loss", "val_loss"]
    assert [row["val_loss"] == "NA" for row in rows] == [True, False, True, False]


@pytest.mark.parametrize("append", [False, True])
def test_a_second_training_begins_anew_or_is_added(tmp_path, append):
    logger = CSVLogger(tmp_path / "log.csv", append=append)
    fit(new_trainer(), 2, logger)
    fit(new_trainer(), 1, logger)
    assert [row["epoch"] for row in rows_of(tmp_path / "log.csv")] == (["0", "1", "0"] if append else ["0"])


# ---------------------------------------------------------------- functions


def test_every_hook_takes_a_function():
    called = []
    hooks = sorted(name for name in vars(Callback) if name.startswith("on_"))
    callback = LambdaCallback(**{name: lambda *args, name=name: called.append(name) for name in hooks})
    trainer = new_trainer()
    fit(trainer, 1, callback, validation_data=DATA)
    trainer.predict(DATA[0], callbacks=[callback])
    assert sorted(set(called)) == hooks


def test_a_misspelt_hook_and_what_cannot_be_called():
    with pytest.raises(DtypeError, match="is 'on_epoch_end' meant"):
        LambdaCallback(on_epoch_ends=print)
    with pytest.raises(DtypeError, match="takes a function, got 3"):
        LambdaCallback(on_epoch_end=3)


def test_keras_name_for_what_the_trainer_does():
    assert len(fit(new_trainer(), 1, TerminateOnNaN())["loss"]) == 1


@pytest.mark.parametrize("stop_at", [1, 4])
def test_a_training_interrupted_in_an_epoch_goes_on_as_if_nothing_had_happened(tmp_path, stop_at):
    def callbacks(name):
        return [
            ExponentialMovingAverage(decay=0.7, every=2), LearningRateScheduler(lambda step, lr: lr * 0.9, every="batch"),
            ModelCheckpoint(tmp_path / (name + "-{epoch}-{batch}"), "loss", save_freq=2, save_weights_only=True, keep=2),
            CSVLogger(tmp_path / f"{name}.csv"), EarlyStopping("loss", patience=2),
        ]  # fmt: skip

    options = {"batch_size": 3, "validation_data": DATA}
    whole = new_trainer()
    history = fit(whole, 3, *callbacks("whole"), **options)
    part, steps = new_trainer(), []

    def press(batch, logs):
        steps.append(batch)
        if len(steps) == stop_at:
            os.kill(os.getpid(), signal.SIGINT)

    state = tmp_path / "state"
    with pytest.raises(KeyboardInterrupt):
        fit(part, 3, *callbacks("part"), LambdaCallback(on_train_batch_end=press), checkpoint=state, **options)
    assert len(steps) == stop_at
    resumed = new_trainer(seed=7)
    again = fit(resumed, 3, *callbacks("part"), resume=state, **options)
    assert equal(everything(resumed.model), everything(whole.model))
    assert again.history == history.history
    assert (tmp_path / "part.csv").read_text() == (tmp_path / "whole.csv").read_text()
    left = {name: af.load(tmp_path / name) for name in os.listdir(tmp_path) if "-" in name}
    assert len(left) == 4
    for name, loaded in left.items():
        other = left[name.replace("whole", "part")]
        assert all(np.array_equal(loaded[key].array, other[key].array) for key in loaded)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_does_not_end_a_training_for_its_log():
    with pytest.warns(UserWarning, match=r"could not write epoch 0 to /dev/full: .*No space") as caught:
        history = fit(new_trainer(), 1, CSVLogger("/dev/full"))
    assert len(caught) == 1
    assert history.epoch == [0]
