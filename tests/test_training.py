"""The classifier of the command line: settings, network, recipe, checkpoints; and Ctrl-C between two steps."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import os
import signal
import threading

import numpy as np
import pytest
from small_mnist import TRAIN, small_mnist

import autograd_ff as af
from autograd_ff import nn
from autograd_ff.data import TensorDataset
from autograd_ff.errors import FileFormatError, NonFiniteError, ShapeError, StateDictError
from autograd_ff.training import Callback, Classification, Interruption, Settings, evaluate, feedforward
from autograd_ff.training.classification.settings import ACTIVATIONS, DATASETS, OPTIMIZERS, RATES, RECIPES

BATCHES = 11  # of 64, in an epoch of the small MNIST
SMALL = Settings(layers=(16,), epochs=2)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setitem(DATASETS, "mnist", small_mnist)


class Watch(Callback):
    """Notes the rate and the labels of each batch, and presses Ctrl-C after so many."""

    def __init__(self, run: Classification, stop: int | None = None) -> None:
        self.rates: list[float] = []
        self.labels: list[list[int]] = []
        self.stop = stop
        measured = run.measured

        def noted(result, batch, metrics):
            if run.model.training:
                self.labels.append(batch.targets.tolist())
            return measured(result, batch, metrics)

        run.measured = noted  # type: ignore[method-assign]

    def on_train_batch_begin(self, batch, logs=None):
        self.rates.append(self.trainer.learning_rate)

    def on_train_batch_end(self, batch, logs=None):
        if len(self.rates) == self.stop:
            interrupt()


def advance(run: Classification, batches: int | None = None, state: object = None) -> Watch:
    """Train to the end, or for so many batches."""
    watch = Watch(run, batches)
    options = {"checks": False, "verbose": 0, "resume": state}
    if batches is None:
        run.train([watch], **options)
        return watch
    with pytest.raises(KeyboardInterrupt):
        run.train([watch], **options)
    return watch


def bits(value):
    """A state as plain data that is equal only where every bit is."""
    if isinstance(value, af.Tensor):
        return str(value.dtype), value.shape, value.detach().numpy().tobytes()
    if isinstance(value, dict):
        return {str(key): bits(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [bits(item) for item in value]
    return repr(value)


def everything(run: Classification):
    return bits({name: value for name, value in run.state_dict().items() if name != "callbacks"})


# ---------------------------------------------------------------- settings


def test_the_defaults_are_the_classic_network_with_the_one_cycle_recipe():
    assert dataclasses.asdict(Settings()) == {
        "dataset": "mnist",
        "root": None,
        "layers": (128, 128),
        "activation": "relu",
        "recipe": "one-cycle",
        "optimizer": "adam",
        "lr": None,
        "batch_size": 64,
        "epochs": 10,
        "seed": 0,
    }
    assert Settings().learning_rate == pytest.approx(3e-3)
    assert Settings(recipe="plain").learning_rate == pytest.approx(1e-3)


def test_each_optimizer_and_recipe_has_its_rate_and_a_given_one_stands():
    assert set(RATES) == set(OPTIMIZERS)
    for optimizer, recipe in itertools.product(OPTIMIZERS, RECIPES):
        assert Settings(optimizer=optimizer, recipe=recipe).learning_rate == RATES[optimizer] * RECIPES[recipe]
        assert Settings(optimizer=optimizer, recipe=recipe, lr=0.5).learning_rate == 0.5


@pytest.mark.parametrize("name", ["dataset", "activation", "recipe", "optimizer"])
def test_an_unknown_name_is_told_the_known_ones(name):
    with pytest.raises(ShapeError, match=rf"{name} is one of .*, not 'none'"):
        Settings(**{name: "none"})


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"seed": -1}])
def test_numbers_out_of_range_are_refused(wrong):
    (name, value) = next(iter(wrong.items()))
    with pytest.raises(ShapeError, match=rf"{name}.*, got {value}$"):
        Settings(**wrong)


def test_the_rate_runs_as_the_recipe_says():
    def rates(recipe: str) -> list[float]:
        return advance(Classification(dataclasses.replace(SMALL, recipe=recipe))).rates

    assert set(rates("plain")) == {1e-3}
    cycle = rates("one-cycle")
    top = int(np.argmax(cycle))
    assert max(cycle) == pytest.approx(3e-3, rel=0.05)
    assert 0.2 < top / len(cycle) < 0.4
    assert cycle == sorted(cycle[: top + 1]) + sorted(cycle[top + 1 :], reverse=True)
    assert cycle[-1] < 1e-5


# ---------------------------------------------------------------- network


@pytest.mark.parametrize("layers", [(), (5,), (7, 5, 3)])
def test_feedforward_has_the_widths_asked_for(layers):
    network = feedforward(12, layers, 4, nn.Tanh)
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    assert [(one.in_features, one.out_features) for one in linear] == list(itertools.pairwise((12, *layers, 4)))
    assert sum(isinstance(layer, nn.Tanh) for layer in network) == len(layers)
    assert isinstance(network[-1], nn.Linear)  # no activation after the outputs: the loss takes logits
    assert network(af.zeros(2, 3, 4)).shape == (2, 4)


def test_a_run_fits_its_data():
    run = Classification(SMALL)
    assert run.widths == (784, 16, 10)
    assert not run.finished


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_learns(activation):
    run = Classification(dataclasses.replace(SMALL, activation=activation, lr=0.02, epochs=3))
    assert isinstance(run.model.get_submodule("act1"), ACTIVATIONS[activation])
    advance(run)
    assert run.history["loss"][-1] < 0.8 * run.history["loss"][0]


def test_evaluate_counts_and_leaves_the_mode_alone():
    class Noted(nn.Module):
        def __init__(self):
            super().__init__()
            self.seen = []

        def forward(self, rows):
            self.seen.append((self.training, rows.requires_grad, af.is_grad_enabled(), len(rows)))
            return rows

    model = Noted()
    scores = np.eye(3)[[0, 1, 2, 2, 1, 0, 0]]
    data = TensorDataset(scores, np.array([0, 1, 2, 0, 1, 0, 1]))
    assert evaluate(model, data, batch_size=3) == 5 / 7
    assert model.seen == [(False, False, False, 3), (False, False, False, 3), (False, False, False, 1)]
    assert model.training
    evaluate(model.eval(), data)
    assert not model.training


# ---------------------------------------------------------------- the loop


def test_the_history_is_what_an_independent_count_gives():
    """With a rate of nothing the network stays as it is, and an epoch's figures are those of one pass over the data."""
    run = Classification(dataclasses.replace(SMALL, recipe="plain", optimizer="sgd", lr=1e-30, epochs=2))
    weights = {name: one.detach().numpy().astype(np.float64) for name, one in run.model.named_parameters()}
    advance(run)

    def figures(data):
        pixels, labels = data.data.numpy().reshape(len(data), -1) / 255, data.targets.numpy()
        hidden = np.maximum(pixels @ weights["fc1.weight"].T + weights["fc1.bias"], 0)
        logits = hidden @ weights["fc2.weight"].T + weights["fc2.bias"]
        chosen = logits[np.arange(len(labels)), labels]
        return np.mean(np.log(np.exp(logits).sum(1)) - chosen), np.mean(logits.argmax(1) == labels)

    loss, accuracy = figures(run.train_data)
    for entry in run.history.rows():
        assert entry["loss"] == pytest.approx(loss, rel=1e-5)
        assert entry["accuracy"] == pytest.approx(accuracy, abs=1 / TRAIN)
        assert entry["val_accuracy"] == pytest.approx(figures(run.test_data)[1], abs=1 / 100)
    assert run.finished


@pytest.mark.usefixtures("_keyboard", "_elsewhere")
def test_an_epoch_sees_every_sample_once_in_an_order_of_its_own():
    run = Classification(SMALL)
    batches = advance(run, 2 * BATCHES).labels
    first, second = (list(itertools.chain(*batches[part])) for part in (slice(BATCHES), slice(BATCHES, None)))
    for epoch in (first, second):
        assert sorted(epoch) == sorted(run.train_data.targets.tolist())
    assert first != second
    other = advance(Classification(dataclasses.replace(SMALL, seed=1)), BATCHES).labels
    assert list(itertools.chain(*other)) != first


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    def weights(seed: int, before: int):
        af.manual_seed(before)  # what ran before a run does not matter
        run = Classification(dataclasses.replace(SMALL, seed=seed))
        advance(run)
        return everything(run)

    first, again, other = weights(3, 10), weights(3, 11), weights(4, 10)
    assert first == again
    assert all(first["model"][name] != other["model"][name] for name in first["model"])


def test_a_loss_that_is_not_finite_stops_before_it_does_harm():
    run = Classification(dataclasses.replace(SMALL, optimizer="sgd", recipe="plain", lr=1e30))
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match=r"learning rate of 1e\+30"):
        run.train(checks=False, verbose=0)
    assert all(np.isfinite(one.detach().numpy()).all() for one in run.model.parameters())


# ---------------------------------------------------------------- checkpoints


@pytest.mark.usefixtures("_keyboard", "_elsewhere")
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_resumed_run_equals_one_that_was_never_interrupted(optimizer, recipe):
    settings = dataclasses.replace(SMALL, optimizer=optimizer, recipe=recipe, seed=7)
    whole = Classification(settings)
    rates = advance(whole).rates
    # In an epoch, after its last batch, and in the next epoch.
    for stop in (3, BATCHES, BATCHES + 4):
        part = Classification(settings)
        before = advance(part, stop)
        af.manual_seed(99)
        resumed, state = Classification.of_checkpoint("interrupted.safetensors")
        assert resumed.settings == settings
        assert (resumed.epoch, resumed.batch) == (part.epoch, part.batch)
        assert before.rates + advance(resumed, state=state).rates == rates
        assert everything(resumed) == everything(whole), stop


@pytest.mark.usefixtures("_keyboard", "_elsewhere")
def test_interruptions_may_follow_one_another():
    whole = Classification(SMALL)
    advance(whole)
    run = Classification(SMALL)
    advance(run, 5)
    while not run.finished:
        run, state = Classification.of_checkpoint("interrupted.safetensors")
        left = 2 * BATCHES - (run.epoch * BATCHES + run.batch)
        advance(run, 5 if left > 5 else None, state)
    assert everything(run) == everything(whole)


def test_settings_of_a_checkpoint_come_back_whole(tmp_path):
    settings = Settings(
        root=str(tmp_path), layers=(), activation="mish", recipe="plain", lr=0.1 + 0.2, batch_size=700, seed=5, epochs=1
    )
    path = tmp_path / "checkpoint"
    Classification(settings).train(checks=False, verbose=0, checkpoint=path)
    assert Classification.of_checkpoint(str(path))[0].settings == settings
    moved, _ = Classification.of_checkpoint(str(path), root="elsewhere")
    assert moved.settings == dataclasses.replace(settings, root="elsewhere")


def test_what_is_no_checkpoint_is_refused(tmp_path):
    path = str(tmp_path / "checkpoint.safetensors")
    run = Classification(dataclasses.replace(SMALL, epochs=1))
    run.train(checks=False, verbose=0, checkpoint=path)
    good = af.load(path)

    def changed(change):
        checkpoint = copy.deepcopy(good)
        change(checkpoint)
        af.save(checkpoint, path)
        return path

    for wrong in (run.model.state_dict(), [1, 2]):
        af.save(wrong, path)
        with pytest.raises(FileFormatError, match=r"checkpoint\.safetensors is no checkpoint of a training"):
            Classification.of_checkpoint(path)
    for name in ("settings", "epoch", "batch"):
        with pytest.raises(FileFormatError, match=f"no checkpoint of a training run: .*{name}"):
            Classification.of_checkpoint(changed(lambda checkpoint, name=name: checkpoint.pop(name)))
    with pytest.raises(FileFormatError, match="no checkpoint of a training run"):
        Classification.of_checkpoint(changed(lambda checkpoint: checkpoint["settings"].update(colour="red")))
    with pytest.raises(ShapeError, match="optimizer is one of"):
        Classification.of_checkpoint(changed(lambda checkpoint: checkpoint["settings"].update(optimizer="os.system")))
    other, state = Classification.of_checkpoint(changed(lambda checkpoint: checkpoint["settings"].update(layers=[17])))
    with pytest.raises(StateDictError, match=r"fc1\.weight"):
        other.train(resume=state)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Classification.of_checkpoint(str(tmp_path / "nowhere"))


def test_the_weights_alone_make_the_same_network(tmp_path):
    run = Classification(SMALL)
    advance(run)
    af.save(run.model.state_dict(), str(tmp_path / "model.safetensors"))
    fresh = feedforward(784, (16,), 10, nn.ReLU)
    accuracy = run.history["val_accuracy"][-1]
    assert evaluate(fresh, run.test_data) != accuracy
    fresh.load_state_dict(af.load(str(tmp_path / "model.safetensors")))
    assert evaluate(fresh, run.test_data) == accuracy


def test_a_cycle_of_a_single_step_runs():
    run = Classification(dataclasses.replace(SMALL, batch_size=TRAIN, epochs=1))
    assert len(advance(run).rates) == 1


# ---------------------------------------------------------------- Ctrl-C


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def _elsewhere(tmp_path, monkeypatch):
    """Checkpoints of interrupted runs are left in the working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def _keyboard():
    """Python's own handler of Ctrl-C, whatever the tests were started with."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures("_keyboard")
def test_the_first_interruption_waits_and_a_later_one_does_not(monkeypatch, capfd):
    with Interruption() as interruption:
        assert not interruption.requested
        interrupt()
        assert interruption.requested
        interrupt()  # the same key, pressed twice
        monkeypatch.setattr("autograd_ff.training.interrupt.TOGETHER", 0.0)
        with pytest.raises(KeyboardInterrupt):
            interrupt()
    assert capfd.readouterr().err.count("stops after this step") == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        interrupt()


@pytest.mark.usefixtures("_keyboard")
def test_an_error_restores_the_handler_too():
    with pytest.raises(ValueError, match="mine"), Interruption():
        raise ValueError("mine")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("_keyboard")
def test_other_threads_train_without_handlers():
    found = []

    def work():
        with Interruption() as interruption:
            found.append((interruption.requested, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(False, signal.default_int_handler)]
