"""What a hostile or a clumsy user does to a training, and what must come of it."""

import copy
import os
import pickle
import random
import signal
from contextlib import nullcontext

import numpy as np
import pytest

import autograd_ff as af
from autograd_ff import nn, optim
from autograd_ff.data import BatchSampler, DataLoader, Dataset, IterableDataset, RandomSampler, TensorDataset
from autograd_ff.data.transforms import GaussianNoise, MixUp
from autograd_ff.errors import (
    AutogradError,
    DtypeError,
    FileFormatError,
    NonFiniteError,
    OptimizerError,
    ShapeError,
    StateDictError,
)
from autograd_ff.nn import functional as F
from autograd_ff.training import Callback, Trainer
from autograd_ff.training.callbacks import EarlyStopping, ExponentialMovingAverage, ModelCheckpoint, ReduceLROnPlateau
from autograd_ff.training.randomness import generators_in

generator = np.random.default_rng(0)
X = generator.standard_normal((50, 4)).astype(np.float32)
Y = generator.integers(0, 3, 50)


def made(loss=None, metrics=(), model=None, optimizer=optim.SGD, kind=Trainer):
    af.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)) if model is None else model
    model = model if isinstance(model, nn.Module) else model()
    return kind(model, loss or nn.CrossEntropyLoss(), optimizer(model.parameters(), lr=0.1), metrics)


def weights(trainer):
    return [one.array.copy() for one in (*trainer.model.parameters(), *trainer.model.buffers())]


def same(first, second):
    return all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


class Counting(Callback):
    def __init__(self):
        self.count = 0

    def on_train_batch_end(self, batch, logs=None):
        self.count += 1


class Interrupting(Callback):
    """Ctrl-C after a batch."""

    def __init__(self, epoch, batch):
        self.at = epoch, batch

    def on_train_batch_end(self, batch, logs=None):
        if (self.trainer.epoch, batch) == self.at:
            os.kill(os.getpid(), signal.SIGINT)


# ---------------------------------------------------------------- streams lose nothing


def batches(count=5):
    for start in range(0, 10 * count, 10):
        yield X[start : start + 10], Y[start : start + 10]


class Stream(IterableDataset):
    """Each ``iter`` gives the one stream that there is."""

    def __init__(self):
        self.stream = iter(list(zip(X, Y, strict=True)))

    def __iter__(self):
        return self.stream


class Shared:
    """An iterable whose passes are one and the same."""

    def __init__(self):
        self.stream = batches()

    def __iter__(self):
        return self.stream


@pytest.mark.parametrize("checks", [True, False])
@pytest.mark.parametrize(
    "data",
    [
        batches,
        lambda: (lambda one: lambda: one)(batches()),
        Shared,
        lambda: DataLoader(Stream(), 10),
        lambda: [*batches()],
    ],
)
def test_every_batch_of_a_stream_is_trained_on(data, checks):
    counting, hand = Counting(), made()
    trainer = made()
    trainer.fit(data(), callbacks=[counting], checks=checks, verbose=0)
    for inputs, targets in batches():
        hand.train_step(af.tensor(inputs), af.tensor(targets))
    assert counting.count == 5
    assert same(weights(trainer), weights(hand))


def test_a_generator_goes_on_where_an_evaluation_left_it():
    def endless():
        for number in range(100):
            drawn.append(number)
            yield X[:10], Y[:10]

    drawn = []
    stream, trainer = endless(), made()
    assert trainer.evaluate(stream, steps=2) == trainer.evaluate(stream, steps=3)
    assert drawn == [0, 1, 2, 3, 4]
    history = trainer.fit(X, Y, epochs=3, validation_data=stream, validation_steps=2, verbose=0)
    assert len(history["val_loss"]) == 3


# ---------------------------------------------------------------- the hand loop, whoever draws the random numbers


class Noisy(Dataset):
    def __init__(self, draw):
        self.draw = draw

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        return X[index] + np.float32(self.draw()), Y[index]


class Held(Noisy):
    """Its generator is its own."""

    def __init__(self):
        self.generator = np.random.default_rng(3)
        self.old = np.random.RandomState(4)

    def draw(self):
        return self.generator.standard_normal() + self.old.randn()


def seeded():
    one = af.Generator()
    one.manual_seed(4)
    return one


def pairs():
    return TensorDataset(af.tensor(X), af.tensor(Y))


SOURCES = {
    "numpy": lambda: DataLoader(Noisy(np.random.randn), 10, shuffle=True),
    "python": lambda: DataLoader(Noisy(random.random), 10, shuffle=True),
    "own": lambda: DataLoader(Held(), 10, shuffle=True),
    "sampler": lambda: DataLoader(
        pairs(), batch_sampler=BatchSampler(RandomSampler(pairs(), generator=seeded()), 10, False)
    ),
    "collate": lambda: DataLoader(pairs(), 10, shuffle=True, collate_fn=MixUp(num_classes=3, generator=seeded())),
}


def seed():
    np.random.seed(0)
    random.seed(0)
    af.manual_seed(5)


@pytest.mark.parametrize("name", SOURCES)
def test_the_checks_draw_no_random_number_of_the_data(name):
    trainer, hand = made(), made()
    seed()
    trainer.fit(SOURCES[name](), epochs=2, verbose=0)
    seed()
    loader = SOURCES[name]()
    for _ in range(2):
        for inputs, targets in loader:
            hand.train_step(inputs, targets)
    assert same(weights(trainer), weights(hand))


def interrupted_and_resumed(make, data, path, **options):
    whole = make()
    seed()
    whole.fit(data(), epochs=3, verbose=0, **options)
    part = make()
    seed()
    with pytest.raises(KeyboardInterrupt):
        part.fit(data(), epochs=3, verbose=0, checkpoint=path, callbacks=[Interrupting(1, 2)], **options)
    rest, source = make(), data()
    np.random.seed(77)
    random.seed(77)
    af.manual_seed(77)
    rest.fit(source, epochs=3, verbose=0, resume=path, **options)
    assert same(weights(whole), weights(rest))
    assert whole.history.history == rest.history.history
    return whole, rest


@pytest.mark.parametrize("name", SOURCES)
def test_a_resumed_training_draws_what_it_would_have(name, tmp_path):
    interrupted_and_resumed(made, SOURCES[name], tmp_path / "state.safetensors")


def test_a_loss_with_parameters_is_part_of_the_state(tmp_path):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(af.ones(3))

        def forward(self, outputs, targets):
            return F.cross_entropy(outputs * self.scale, targets)

    def make():
        trainer = made(loss=Scaled())
        trainer.optimizer = optim.Adam([*trainer.model.parameters(), *trainer.loss.parameters()], 0.01)
        return trainer

    whole, rest = interrupted_and_resumed(make, lambda: DataLoader(pairs(), 10), tmp_path / "state.safetensors")
    assert whole.loss.scale.tolist() == rest.loss.scale.tolist() != [1.0, 1.0, 1.0]


def test_generators_are_found_in_what_data_are_made_of_and_nowhere_else():
    one, other = np.random.default_rng(0), seeded()

    class Around:
        def __init__(self, inner):
            self.inner = inner
            self.itself = self

        def call(self):
            return self.inner

        def __getattr__(self, name):
            raise RuntimeError("asked for what it does not have")

    assert generators_in([Around({"a": one}), Around(other).call]) in ([one, other], [other, one])
    assert generators_in((X, "text", np.random, None, iter([one]))) == []


# ---------------------------------------------------------------- accumulated steps


def test_a_checkpoint_by_batches_waits_for_the_end_of_an_accumulated_step(tmp_path):
    def files(folder):
        return ModelCheckpoint(os.path.join(tmp_path, folder, "{epoch}-{batch}.safetensors"), save_freq=2)

    options = {"batch_size": 8, "accumulate": 3, "epochs": 3, "verbose": 0}
    whole = made()
    whole.fit(X, Y, callbacks=[files("first")], **options)
    names = sorted(os.listdir(tmp_path / "first"))
    assert names[:3] == ["1-3.safetensors", "1-6.safetensors", "2-3.safetensors"]
    for name in names:
        trainer = made()
        trainer.fit(X, Y, callbacks=[files("second")], resume=tmp_path / "first" / name, **options)
        assert same(weights(whole), weights(trainer)), name


def test_in_the_middle_of_an_accumulated_step_there_is_no_state_to_keep(tmp_path):
    class Saving(Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.trainer.save(tmp_path / "state.safetensors")

    trainer = made()
    with pytest.raises(AutogradError, match=r"accumulated step[\s\S]*part\.last"):
        trainer.fit(X, Y, batch_size=10, accumulate=2, callbacks=[Saving()], verbose=0)
    trainer.fit(X, Y, batch_size=10, callbacks=[Saving()], verbose=0)


# ---------------------------------------------------------------- compiled steps see what is exchanged


EXACT = {"fast": False, "threads": False}


class Exchanging(Callback):
    def __init__(self, what):
        self.what = what

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            self.what(self.trainer)


def smoothed(trainer):
    trainer.loss.label_smoothing = 0.3


@pytest.mark.parametrize(
    ("what", "options"),
    [
        (lambda trainer: setattr(trainer, "loss", nn.CrossEntropyLoss(label_smoothing=0.3)), {}),
        (lambda trainer: setattr(trainer, "clip", 0.01), {"clip": 1.0}),
        (lambda trainer: setattr(trainer, "optimizer", optim.SGD(trainer.model.parameters(), 1.0)), {}),
        (lambda trainer: setattr(trainer, "penalty", nn.regularizers.L2(0.1)), {}),
        (smoothed, {}),
        (smoothed, {"sample_weight": np.ones(50)}),
    ],
)
def test_a_compiled_step_follows_what_a_callback_exchanges(what, options):
    runs = []
    for compiled in (False, EXACT):
        trainer = made()
        trainer.fit(
            X, Y, epochs=4, batch_size=10, shuffle=False, compile=compiled, callbacks=[Exchanging(what)], verbose=0,
            **options,
        )  # fmt: skip
        runs.append(weights(trainer))
    plain = made()
    plain.fit(X, Y, epochs=4, batch_size=10, shuffle=False, verbose=0, **options)
    assert same(*runs)
    assert not same(runs[0], weights(plain))


# ---------------------------------------------------------------- within a fit


def test_a_fit_within_a_fit_is_refused():
    class Again(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.trainer.fit(X, Y, verbose=0)

    trainer = made()
    with pytest.raises(AutogradError, match="middle of a fit"):
        trainer.fit(X, Y, callbacks=[Again()], verbose=0)
    assert len(trainer.fit(X, Y, epochs=2, verbose=0)["loss"]) == 2


def test_an_evaluation_within_a_fit_leaves_it_alone():
    class Looking(Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.trainer.evaluate(X, Y)
            self.trainer.predict(X, batch_size=7)
            seen.append((self.trainer.verbose, [module.training for module in self.model.modules()]))

    def make():
        return made(
            model=lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 3)),
            metrics=["accuracy"],
        )

    seen = []
    quiet, looking = make(), make()
    for trainer, callbacks in ((quiet, []), (looking, [Looking()])):
        af.manual_seed(1)
        trainer.fit(X, Y, epochs=2, callbacks=callbacks, verbose=2)
    assert same(weights(quiet), weights(looking))
    assert quiet.history.history == looking.history.history
    assert seen == [(2, [True] * 5)] * 4


def test_modes_are_each_modules_own():
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    model[1].eval()
    trainer = made(model=model)
    trainer.evaluate(X, Y)
    assert [module.training for module in model] == [True, False, True]
    trainer.fit(X, Y, verbose=0)
    assert [module.training for module in model] == [True, False, True]


def test_a_callback_may_freeze_statistics_at_the_beginning_of_an_epoch():
    class Freezing(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model[1].eval()

    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    before = model[1].running_mean.tolist()
    made(model=model).fit(X, Y, epochs=2, callbacks=[Freezing()], validation_split=0.2, verbose=0)
    assert model[1].running_mean.tolist() == before


# ---------------------------------------------------------------- copies


def test_a_trained_trainer_is_copied_and_pickled_without_its_data():
    trainer = made(metrics=["accuracy"])
    trainer.fit(X, Y, epochs=2, verbose=0)
    found = trainer.evaluate(X, Y)
    for other in (copy.deepcopy(trainer), pickle.loads(pickle.dumps(trainer))):
        assert other.evaluate(X, Y) == found
        other.fit(X, Y, verbose=0)
        assert other.evaluate(X, Y) != found
    assert trainer.evaluate(X, Y) == found


def test_a_trainer_is_copied_in_the_middle_of_a_fit():
    class Copying(Callback):
        def on_train_batch_end(self, batch, logs=None):
            copies.append(copy.deepcopy(self.trainer))

    copies = []
    made().fit(X, Y, batch_size=10, accumulate=2, callbacks=[Copying()], verbose=0)
    copies[0].fit(X, Y, verbose=0)
    assert len(copies) == 5


def test_a_copied_average_follows_its_own_model():
    model = nn.Linear(2, 1)
    average = ExponentialMovingAverage(model, decay=0.5)
    average.update()
    other_model, other = copy.deepcopy((model, average))
    with af.no_grad():
        other_model.weight.fill_(100.0)
    other.update()
    with other.applied():
        assert (other_model.weight > 10).all().item()
    with average.applied():
        assert (model.weight.abs() < 1).all().item()
    assert pickle.loads(pickle.dumps(other)).updates == 2


# ---------------------------------------------------------------- weights and classes


@pytest.mark.parametrize("options", [{}, {"class_weight": {0: 2.0}}])
def test_a_column_of_weights_is_a_weight_for_each_sample(options):
    counts = np.linspace(0, 2, 50).astype(np.float32)
    one, other, third = made(), made(), made()
    for trainer, data in (
        (one, (X, Y, counts)),
        (other, (X, Y, counts[:, None])),
        (third, [(X[:32], Y[:32], counts[:32, None]), (X[32:], Y[32:], counts[32:, None])]),
    ):
        trainer.fit(data, shuffle=False, verbose=0, **options)
    assert same(weights(one), weights(other))
    assert same(weights(one), weights(third))


def test_weights_of_another_shape_are_refused():
    with pytest.raises(ShapeError, match="a number for each sample"):
        made().fit(X, Y, sample_weight=np.ones((50, 3)), verbose=0)


def test_lists_of_numbers_are_split():
    one, other = made(), made()
    options = {"validation_split": 0.2, "split": "stratified", "shuffle": False, "verbose": 0}
    first = one.fit(X.tolist(), Y.tolist(), **options)
    second = other.fit(X, Y, **options)
    assert first.history == second.history
    with pytest.raises(ShapeError, match="same number of samples"):
        made().fit(X, Y[:40], validation_split=0.5, verbose=0)


def test_arrays_of_other_bytes_are_numbers_like_any_others():
    swapped = made()
    swapped.fit(X.astype(">f8"), Y.astype(">i4"), shuffle=False, verbose=0)
    plain = made()
    plain.fit(X, Y, shuffle=False, verbose=0)
    assert same(weights(swapped), weights(plain))
    with pytest.raises(DtypeError, match="MaskedArray"):
        made().fit(np.ma.masked_array(X, X > 1), Y, verbose=0)


# ---------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"clip": 0}, ShapeError, "clip is a norm above 0"),
        ({"clip": -1.0}, ShapeError, "clip is a norm above 0"),
        ({"clip": float("nan")}, ShapeError, "clip is a norm above 0"),
        ({"clip": "1"}, ShapeError, "clip is a norm above 0"),
        ({"initial_epoch": -3}, ShapeError, "initial_epoch"),
        ({"initial_epoch": "1"}, ShapeError, "initial_epoch"),
        ({"verbose": None}, ShapeError, "verbose is 0, 1, 2"),
        ({"validation_split": "0.2"}, ShapeError, "fraction"),
        ({"class_weight": "balanced"}, DtypeError, "class_weight maps"),
        ({"class_weight": {0: "x"}}, DtypeError, "class_weight maps"),
        ({"targets": {"a": Y}}, DtypeError, "one array"),
        ({"targets": (Y, Y)}, DtypeError, "one array"),
    ],
)
def test_clumsy_arguments_are_told_in_words(options, error, match):
    with pytest.raises(error, match=match):
        made().fit(X, **{"targets": Y, "verbose": 0, **options})


def test_what_is_no_optimizer_is_told_at_once():
    model = nn.Linear(4, 3)
    for wrong in ("adam", model.parameters()):
        with pytest.raises(OptimizerError, match=r"optim\.Adam"):
            Trainer(model, nn.CrossEntropyLoss(), wrong)


def test_one_callback_one_metric_or_none_of_them():
    counting = Counting()
    trainer = made(metrics=None)
    trainer.fit(X, Y, batch_size=10, callbacks=counting, verbose=0)
    trainer.fit(X, Y, callbacks=None, metrics="accuracy", verbose=0)
    assert counting.count == 5
    assert "accuracy" in trainer.history


@pytest.mark.parametrize(
    ("given", "match"),
    [(None, "'loss' is None"), ({"loss": "x"}, "'loss' is 'x'"), ({"loss": af.ones(3)}, "'loss' is tensor")],
)
def test_a_step_that_returns_no_numbers_is_told_so(given, match):
    class Odd(Trainer):
        def train_step(self, inputs, targets, weights=None):
            return given

    with pytest.raises(DtypeError, match=match):
        made(kind=Odd).fit(X, Y, verbose=0)


@pytest.mark.filterwarnings("ignore::autograd_ff.errors.TrainingWarning")
def test_a_loss_that_is_no_tensor_is_told_so():
    with pytest.raises(DtypeError, match="the loss is a Tensor"):
        made(loss=lambda outputs, targets: F.cross_entropy(outputs, targets).item()).fit(X, Y, verbose=0)


def test_a_loss_of_shape_1_trains_and_is_checked():
    one, other = made(loss=lambda outputs, targets: F.cross_entropy(outputs, targets).reshape(1)), made()
    one.fit(X, Y, shuffle=False, verbose=0)
    other.fit(X, Y, shuffle=False, verbose=0)
    assert same(weights(one), weights(other))


def test_a_step_of_ones_own_is_not_judged_by_a_loss_that_it_leaves_aside(recwarn):
    class Reconstructing(Trainer):
        def train_step(self, inputs, targets, weights=None):
            loss = F.mse_loss(self(inputs), inputs)
            self.backward(loss)
            self.update()
            return {"loss": loss}

    trainer = made(model=nn.Linear(4, 4), loss=nn.MSELoss(), kind=Reconstructing)
    trainer.fit(X, Y, verbose=0)
    assert trainer.check(X, Y) == []
    assert not recwarn.list

    class Extended(Trainer):
        def train_step(self, inputs, targets, weights=None):
            return {**super().train_step(inputs, targets, weights), "rate": self.learning_rate}

    assert [one.kind for one in made(kind=Extended).check(X, Y + 1)] == ["labels"]


def test_outputs_in_any_structure_are_joined():
    class Nested(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, inputs):
            scores = self.layer(inputs)
            return {"scores": scores, "both": (scores, scores * 2)}

    trainer = made(model=Nested, loss=lambda outputs, targets: F.cross_entropy(outputs["scores"], targets))
    trainer.fit(X, Y, verbose=0)
    found = trainer.predict(X, batch_size=7)
    assert found["scores"].shape == found["both"][1].shape == (50, 3)
    with pytest.raises(DtypeError, match="y_pred is a dict"):
        trainer.fit(X, Y, metrics=["accuracy"], verbose=0)


def test_inputs_may_be_nested_in_batches():
    class Three(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, pair, third):
            return self.layer(pair[0] + pair[1] + third)

    history = made(model=Three).fit([(((X, X), X), Y)] * 2, verbose=0)
    assert np.isfinite(history["loss"]).all()


# ---------------------------------------------------------------- checkpoints


def test_hostile_states_are_refused_and_change_nothing(tmp_path):
    trainer = made(metrics=["accuracy"])
    path = tmp_path / "state.safetensors"
    trainer.fit(X, Y, epochs=2, checkpoint=path, verbose=0)
    good = af.load(path)
    for key in sorted(good.keys() - {"format"}):
        for value in ("missing", None, -1, "x", [1]):
            state = {name: one for name, one in good.items() if name != key}
            if value != "missing":
                state[key] = value
            other = made(metrics=["accuracy"])
            before = weights(other)
            if key == "callbacks" and value in ("x", [1]):
                continue  # names no callback that there is here
            with pytest.raises((FileFormatError, StateDictError)):
                pytest.fail(f"{key}={value!r} ran: {other.fit(X, Y, epochs=3, resume=state, verbose=0)}")
            assert same(before, weights(other)), (key, value)
    made(metrics=["accuracy"]).fit(X, Y, epochs=3, resume=good, verbose=0)


def test_other_metrics_than_those_of_the_checkpoint_are_told(tmp_path):
    path = tmp_path / "state.safetensors"
    made(metrics=["accuracy"]).fit(X, Y, checkpoint=path, verbose=0)
    with pytest.raises(StateDictError, match="1 metrics, this one 0"):
        made().fit(X, Y, epochs=2, resume=path, verbose=0)


class Full(Callback):
    """From the second epoch on nothing can be written."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self.trainer.save = self.refuse

    def refuse(self, path):
        raise OSError(28, "No space left on device")


def test_a_full_disk_does_not_end_a_training(tmp_path):
    path = tmp_path / "state.safetensors"
    trainer = made()
    with pytest.warns(UserWarning, match=r"could not be written: .*No space"):
        history = trainer.fit(X, Y, epochs=3, checkpoint=path, callbacks=[Full()], verbose=0)
    assert len(history["loss"]) == 3
    assert af.load(path)["epoch"] == 1


def test_ctrl_c_on_a_full_disk_is_still_a_ctrl_c(tmp_path):
    with pytest.raises(KeyboardInterrupt, match="could not be written"):
        made().fit(
            X, Y, batch_size=10, epochs=3, checkpoint=tmp_path / "state.safetensors",
            callbacks=[Full(), Interrupting(1, 1)], verbose=0,
        )  # fmt: skip


def test_who_ignores_ctrl_c_goes_on():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        history = made().fit(X, Y, batch_size=10, callbacks=[Interrupting(0, 1)], verbose=0)
    finally:
        signal.signal(signal.SIGINT, before)
    assert history.stop_reason is None


# ---------------------------------------------------------------- not finite


def test_a_buffer_that_is_set_anew_is_put_back_too():
    class Centred(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)
            self.register_buffer("mean", af.zeros(4))

        def forward(self, inputs):
            self.mean = 0.9 * self.mean + 0.1 * inputs.detach().mean(0)
            return self.layer(inputs - self.mean)

    spoiled = X.copy()
    spoiled[33] = np.nan
    trainer, clean = made(model=Centred), made(model=Centred)
    with pytest.raises(NonFiniteError, match="batch 4"):
        trainer.fit(spoiled, Y, batch_size=10, shuffle=False, checks=False, verbose=0)
    clean.fit(X[:30], Y[:30], batch_size=10, shuffle=False, checks=False, verbose=0)
    assert same(weights(trainer), weights(clean))


@pytest.mark.parametrize("compiled", [False, EXACT])
@pytest.mark.parametrize("way", ["end", "nan", "error", "ctrl-c", "stop"])
def test_all_callbacks_together_leave_the_best_weights_on_every_way_out(way, compiled, tmp_path):
    class Leaving(Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if (self.trainer.epoch, batch) != (3, 2):
                return
            if way == "nan":
                self.trainer.learning_rate = 1e30
            elif way == "error":
                raise LookupError("of a callback")
            elif way == "ctrl-c":
                os.kill(os.getpid(), signal.SIGINT)
            elif way == "stop":
                self.trainer.stop("enough")

    trainer = made(
        model=lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 3)),
        metrics=["accuracy"],
    )
    best = EarlyStopping(patience=10)
    callbacks = [
        best, ExponentialMovingAverage(decay=0.5), ReduceLROnPlateau(patience=1), Leaving(),
        ModelCheckpoint(tmp_path / "best.safetensors", save_best_only=True, save_weights_only=True),
    ]  # fmt: skip
    ends = {"nan": NonFiniteError, "error": LookupError, "ctrl-c": KeyboardInterrupt}
    with pytest.raises(ends[way]) if way in ends else nullcontext():
        trainer.fit(
            X, Y, batch_size=9, epochs=6, validation_split=0.3, split="shuffled", callbacks=callbacks, compile=compiled,
            checkpoint=tmp_path / "state.safetensors", verbose=0,
        )  # fmt: skip
    reasons = {"end": None, "nan": "not finite", "error": None, "ctrl-c": "interrupted", "stop": "enough"}
    assert trainer.stop_reason == reasons[way]
    written = af.load(tmp_path / "best.safetensors")
    for name, parameter in trainer.model.named_parameters():
        assert np.array_equal(parameter.array, best.best_weights[name])
        assert np.array_equal(parameter.array, written[name].array)


# ---------------------------------------------------------------- the history


def test_odd_logs_are_written_all_the_same():
    class Odd(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs.update(number=np.float32(1), tensor=af.tensor(2.0), text="a", nothing=None, several=np.ones(2))

    history = made().fit(X, Y, callbacks=[Odd()], verbose=0)
    assert '"number": 1.0' in history.to_json()
    assert '"tensor": 2.0' in history.to_json()
    assert "several" in history.to_csv()


@pytest.mark.parametrize("sigma", [-1, float("nan"), float("inf"), "x", None])
def test_noise_of_no_number_is_refused(sigma):
    with pytest.raises(ShapeError, match="sigma is a standard deviation"):
        GaussianNoise(sigma=sigma)


@pytest.mark.parametrize("alpha", [0, float("nan"), "x", None])
def test_mixing_by_no_number_is_refused(alpha):
    with pytest.raises(ShapeError, match="alpha is a finite number"):
        MixUp(alpha=alpha, num_classes=3)


def test_a_metric_of_several_numbers_is_told():
    from autograd_ff.training import metrics

    with pytest.raises(ShapeError, match="logs numbers, and the metric 'f1_score' has 3"):
        made(metrics=[metrics.F1Score(average=None)]).fit(X, np.eye(3, dtype=np.float32)[Y], verbose=0)
