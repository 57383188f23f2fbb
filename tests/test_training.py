"""Training runs: settings, network, the loop, checkpoints, and Ctrl-C between two steps."""

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
from autograd_ff import nn, optim
from autograd_ff.data import TensorDataset
from autograd_ff.errors import AutogradError, FileFormatError, ShapeError, StateDictError
from autograd_ff.training import Classification, Interruption, Settings, evaluate, feedforward
from autograd_ff.training.settings import ACTIVATIONS, DATASETS, OPTIMIZERS, RATES, RECIPES

BATCHES = 11  # of 64, in an epoch of the small MNIST
SMALL = Settings(layers=(16,), epochs=2)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setitem(DATASETS, "mnist", small_mnist)


def advance(run: Classification, batches: int | None = None) -> list[float]:
    """Train for so many batches, or to the end; the losses."""
    losses: list[float] = []
    while not run.finished and (batches is None or len(losses) < batches):
        wanted = None if batches is None else batches - len(losses)
        losses += itertools.islice(run.train_epoch(), wanted)
    return losses


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
    scheduler = None if run.scheduler is None else bits(run.scheduler.state_dict())
    return bits(run.model.state_dict()), bits(run.optimizer.state_dict()), scheduler, bits(run.history)


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
        run = Classification(dataclasses.replace(SMALL, recipe=recipe))
        group = run.optimizer.param_groups[0]
        found = [group["lr"]]
        while not run.finished:
            found.extend(group["lr"] for _ in run.train_epoch())
        return found[:-1]  # the rate after the last step is used by none

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
    assert run.batches == BATCHES


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_learns(activation):
    run = Classification(dataclasses.replace(SMALL, activation=activation, lr=0.02, epochs=3))
    assert isinstance(run.model.get_submodule("act1"), ACTIVATIONS[activation])
    losses = advance(run)
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


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
    assert [entry["epoch"] for entry in run.history] == [1, 2]
    for entry in run.history:
        assert entry["loss"] == pytest.approx(loss, rel=1e-5)
        assert entry["train_accuracy"] == pytest.approx(accuracy, abs=1 / TRAIN)
        assert entry["test_accuracy"] == pytest.approx(figures(run.test_data)[1], abs=1 / 100)


def seen_labels(run: Classification) -> list[list[int]]:
    """The labels of each batch that is trained on, as the training goes on."""
    batches: list[list[int]] = []
    step = run._step

    def noted(images, labels):
        batches.append(labels.tolist())
        return step(images, labels)

    run._step = noted  # type: ignore[method-assign]
    return batches


def joined(batches: list[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(batches))


def test_an_epoch_sees_every_sample_once_in_an_order_of_its_own(tmp_path):
    run = Classification(SMALL)
    batches = seen_labels(run)
    advance(run)
    first, second = batches[:BATCHES], batches[BATCHES:]
    for epoch in (first, second):
        assert sorted(joined(epoch)) == sorted(run.train_data.targets.tolist())
    assert joined(first) != joined(second)

    other = Classification(dataclasses.replace(SMALL, seed=1))
    elsewhere = seen_labels(other)
    advance(other, BATCHES)
    assert joined(elsewhere) != joined(first)

    half = Classification(SMALL)
    advance(half, 4)
    half.save(str(tmp_path / "half"))
    rest = Classification.resume(str(tmp_path / "half"))
    left = seen_labels(rest)
    advance(rest)
    assert left == batches[4:]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    def weights(seed: int, before: int):
        af.manual_seed(before)  # what ran before a run does not matter
        run = Classification(dataclasses.replace(SMALL, seed=seed))
        losses = advance(run)
        return losses, everything(run)

    first, again, other = weights(3, 10), weights(3, 11), weights(4, 10)
    assert first == again
    assert first[0] != other[0]
    assert all(first[1][0][name] != other[1][0][name] for name in first[1][0])


def test_a_loss_that_is_not_finite_stops_before_it_does_harm():
    run = Classification(dataclasses.replace(SMALL, optimizer="sgd", recipe="plain", lr=1e30))
    before = []

    def train():
        for _ in run.train_epoch():
            before.append(bits(run.model.state_dict()))

    with np.errstate(all="ignore"), pytest.raises(AutogradError) as caught:
        train()
    message = str(caught.value)
    assert f"epoch 1, batch {run.batch + 1}, with a learning rate of 1e+30" in message
    assert "smaller learning rate" in message
    assert "detect_anomaly" in message
    assert bits(run.model.state_dict()) == before[-1]
    assert np.isfinite(run.loss_sum)


# ---------------------------------------------------------------- checkpoints


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_resumed_run_equals_one_that_was_never_interrupted(optimizer, recipe, tmp_path):
    settings = dataclasses.replace(SMALL, optimizer=optimizer, recipe=recipe, seed=7)
    whole = Classification(settings)
    losses = advance(whole)
    assert len(losses) == 2 * BATCHES
    path = str(tmp_path / "checkpoint.safetensors")
    # Before the first batch, in an epoch, after its last batch but before its evaluation, and in the next epoch.
    for stop in (0, 3, BATCHES, BATCHES + 4):
        part = Classification(settings)
        before = advance(part, stop)
        part.save(path)
        af.manual_seed(99)
        resumed = Classification.resume(path)
        assert resumed.settings == settings
        assert everything(resumed) == everything(part)
        assert before + advance(resumed) == losses, stop
        assert everything(resumed) == everything(whole), stop


def test_interruptions_may_follow_one_another(tmp_path):
    whole = Classification(SMALL)
    advance(whole)
    run, path = Classification(SMALL), str(tmp_path / "checkpoint.safetensors")
    while not run.finished:
        advance(run, 5)
        run.save(path)
        run = Classification.resume(path)
    assert everything(run) == everything(whole)
    assert run.finished
    assert advance(run) == []


def test_saving_does_not_disturb_the_run(tmp_path):
    undisturbed, saved = Classification(SMALL), Classification(SMALL)
    expected = advance(undisturbed)
    losses = []
    while not saved.finished:
        for loss in saved.train_epoch():
            losses.append(loss)
            saved.save(str(tmp_path / "checkpoint.safetensors"))
    assert losses == expected
    assert everything(saved) == everything(undisturbed)


def test_settings_of_a_checkpoint_come_back_whole(tmp_path):
    settings = Settings(
        root=str(tmp_path), layers=(), activation="mish", recipe="plain", lr=0.1 + 0.2, batch_size=7, seed=5
    )
    run = Classification(settings)
    run.save(str(tmp_path / "checkpoint"))
    assert Classification.resume(str(tmp_path / "checkpoint")).settings == settings
    moved = Classification.resume(str(tmp_path / "checkpoint"), root="elsewhere")
    assert moved.settings == dataclasses.replace(settings, root="elsewhere")


def test_a_truncated_checkpoint_is_refused_by_name(tmp_path):
    run = Classification(SMALL)
    advance(run, 2)
    path = tmp_path / "checkpoint.safetensors"
    run.save(str(path))
    data = path.read_bytes()
    for length in (0, 7, 8, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(FileFormatError, match=r"checkpoint\.safetensors"):
            Classification.resume(str(path))


def test_what_is_no_checkpoint_is_refused(tmp_path):
    run = Classification(SMALL)
    path = str(tmp_path / "checkpoint.safetensors")
    run.save(path)
    good = af.load(path)

    def changed(change):
        checkpoint = copy.deepcopy(good)
        change(checkpoint)
        af.save(checkpoint, path)
        return path

    af.save(run.model.state_dict(), path)
    with pytest.raises(FileFormatError, match="no checkpoint of a training run"):
        Classification.resume(path)
    af.save([1, 2], path)
    with pytest.raises(FileFormatError, match="no checkpoint of a training run"):
        Classification.resume(path)
    for name in good:
        with pytest.raises(FileFormatError, match=f"no checkpoint of a training run: .*{name}"):
            Classification.resume(changed(lambda checkpoint, name=name: checkpoint.pop(name)))
    with pytest.raises(FileFormatError, match="no checkpoint of a training run"):
        Classification.resume(changed(lambda checkpoint: checkpoint["settings"].update(colour="red")))
    with pytest.raises(ShapeError, match="optimizer is one of"):
        Classification.resume(changed(lambda checkpoint: checkpoint["settings"].update(optimizer="os.system")))
    with pytest.raises(StateDictError, match=r"fc1\.weight"):
        Classification.resume(changed(lambda checkpoint: checkpoint["settings"].update(layers=[17])))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Classification.resume(str(tmp_path / "nowhere"))


def test_the_weights_alone_make_the_same_network(tmp_path):
    run = Classification(SMALL)
    advance(run)
    af.save(run.model.state_dict(), str(tmp_path / "model.safetensors"))
    fresh = feedforward(784, (16,), 10, nn.ReLU)
    assert evaluate(fresh, run.test_data) != run.history[-1]["test_accuracy"]
    fresh.load_state_dict(af.load(str(tmp_path / "model.safetensors")))
    assert evaluate(fresh, run.test_data) == run.history[-1]["test_accuracy"]


def test_a_cycle_of_a_single_step_runs():
    run = Classification(dataclasses.replace(SMALL, batch_size=TRAIN, epochs=1))
    assert isinstance(run.scheduler, optim.lr_scheduler.OneCycleLR)
    assert len(advance(run)) == 1


# ---------------------------------------------------------------- Ctrl-C


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def _keyboard():
    """Python's own handler of Ctrl-C, whatever the tests were started with."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures("_keyboard")
def test_the_first_interruption_waits_and_the_second_does_not():
    with Interruption() as interruption:
        assert not interruption.requested
        interrupt()
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            interrupt()
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
