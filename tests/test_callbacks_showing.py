"""Callbacks that show a training: the progress bar, the live curve, TensorBoard; and where their output goes."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import types

import numpy as np
import pytest

import autograd_ff as af
from autograd_ff import nn, optim
from autograd_ff.errors import ShapeError
from autograd_ff.training.callback import Callback
from autograd_ff.training.callbacks import EarlyStopping, LambdaCallback, LiveCurve, ProgressBar, TensorBoard
from autograd_ff.training.callbacks.surroundings import announce, in_notebook, on_terminal
from autograd_ff.training.trainer import Trainer

X = np.linspace(-1, 1, 12, dtype=np.float32)[:, None]
Y = 2 * X


def new_trainer():
    af.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1))
    return Trainer(model, nn.MSELoss(), optim.Adam(model.parameters(), lr=0.05))


def fit(trainer, epochs, *callbacks, **options):
    options = {"batch_size": 4, "checks": False, "verbose": 0, "callbacks": callbacks, **options}
    return trainer.fit(X, Y, epochs=epochs, **options)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def on_a_terminal(do):
    """What ``do`` writes to standard output where that is a terminal."""
    stream = Terminal()
    with contextlib.redirect_stdout(stream):
        do()
    return stream.getvalue()


@pytest.fixture
def notebook(monkeypatch):
    """IPython as far as callbacks see it, in a kernel; what was displayed, and updated."""
    shown = []

    class Handle:
        def update(self, picture):
            shown.append(("update", picture))

    def display(picture, display_id=None):
        shown.append(("display", picture))
        return Handle()

    ipython, part = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    shell = types.SimpleNamespace(kernel=object())
    ipython.get_ipython = lambda: shell
    ipython.display = part
    part.display, part.Image = display, lambda data: data
    ipython.shell, ipython.shown = shell, shown
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", part)
    return ipython


# ---------------------------------------------------------------- where


def test_a_kernel_is_a_notebook_and_a_shell_is_none(notebook):
    assert in_notebook()
    del notebook.shell.kernel
    assert not in_notebook()
    notebook.get_ipython = lambda: None
    assert not in_notebook()


def test_where_a_terminal_is(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert on_terminal()
    for stream in (io.StringIO(), object(), None):
        monkeypatch.setattr(sys, "stdout", stream)
        assert not on_terminal()
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    assert not on_terminal()


# ---------------------------------------------------------------- progress


LINE = r"Epoch {0}/3 - \d+s - \d+(us|ms|s)/step - loss: \d+\.\d{{4}}(e-\d+)?{1}"


@pytest.mark.parametrize("verbose", [1, 2])
def test_a_line_for_each_epoch_where_there_is_no_terminal(capsys, verbose):
    fit(new_trainer(), 3, verbose=verbose, validation_data=(X, Y))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    for number, line in enumerate(lines, 1):
        assert re.fullmatch(LINE.format(number, r" - val_loss: \d+\.\d{4}(e-\d+)?"), line)


def test_the_numbers_are_those_of_the_history(capsys):
    history = fit(new_trainer(), 2, verbose=2)
    shown = re.findall(r"loss: ([\d.e+-]+)", capsys.readouterr().out)
    assert [float(one) for one in shown] == pytest.approx(history["loss"], abs=1e-4)


def test_silence(capsys):
    trainer = new_trainer()
    fit(trainer, 2)
    trainer.evaluate(X, Y)
    trainer.predict(X)
    out = capsys.readouterr()
    assert out.out == out.err == ""


def test_a_bar_on_a_terminal_and_a_line_that_stays():
    text = on_a_terminal(lambda: fit(new_trainer(), 3, ProgressBar(interval=0), verbose=1, validation_data=(X, Y)))
    assert "Epoch 2/3:  67%" in text
    assert re.search(r"2/3 \[[^\]]*loss \d", text)
    assert "validating" in text
    kept = [line.rsplit("\r", 1)[-1] for line in text.split("\n")]
    assert [bool(re.fullmatch(LINE.format(n, ".*"), line)) for n, line in enumerate(kept[:3], 1)] == [True] * 3
    assert kept[3:] == [""]


def test_two_is_no_bar():
    text = on_a_terminal(lambda: fit(new_trainer(), 2, verbose=2))
    assert "%" not in text
    assert text.count("\n") == 2


def test_numbers_are_looked_up_only_when_shown():
    looked = []

    class Logs(dict):
        def items(self):
            looked.append(1)
            return super().items()

    def run(interval):
        bar = ProgressBar(1, interval=interval)
        bar.trainer = types.SimpleNamespace(verbose=1, batch=0, batches=50, epochs=1, epoch=0)
        bar.on_train_begin()
        bar.on_epoch_begin(0)
        for batch in range(50):
            bar.on_train_batch_end(batch, Logs(loss=1.0))
        bar.on_train_end()

    on_a_terminal(lambda: run(3600))
    assert looked == []
    on_a_terminal(lambda: run(0))
    assert len(looked) == 50


def test_evaluate_and_predict_show_themselves():
    trainer = new_trainer()
    said = on_a_terminal(lambda: trainer.evaluate(X, Y, batch_size=4, verbose=1))
    assert re.search(r"\rEvaluating - 0s - \d+(us|ms|s)/step - loss: \d", said)
    said = on_a_terminal(lambda: trainer.predict(X, batch_size=4, verbose=1))
    assert "Predicting:" in said
    assert "\n" not in said


def test_what_others_say_stands_above_the_bar():
    say = LambdaCallback(on_train_batch_end=lambda batch, logs: batch == 1 and announce("between"))
    text = on_a_terminal(lambda: fit(new_trainer(), 1, ProgressBar(interval=0), say, verbose=1))
    assert "\rbetween\n" in text


def test_the_bar_is_gone_after_an_exception():
    def fail(batch, logs):
        raise ZeroDivisionError

    def run():
        with pytest.raises(ZeroDivisionError):
            fit(new_trainer(), 1, ProgressBar(interval=0), LambdaCallback(on_train_batch_end=fail), verbose=1)

    assert on_a_terminal(run).rsplit("\r", 2)[-1] == ""
    from tqdm import tqdm

    assert not getattr(tqdm, "_instances", ())


def test_early_stopping_says_what_it_does(capsys):
    class Say(Callback):
        order = -1

        def on_epoch_end(self, epoch, logs=None):
            logs["val_loss"] = [1.0, 2.0, 3.0][epoch]

    fit(new_trainer(), 3, Say(), EarlyStopping(patience=1, verbose=1))
    assert capsys.readouterr().out == "Epoch 2: early stopping\nRestored the weights of epoch 1, the best: val_loss 1\n"


def test_a_notebook_without_widgets_has_lines(notebook, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    fit(new_trainer(), 2, verbose=1)
    assert len(capsys.readouterr().out.splitlines()) == 2


# ---------------------------------------------------------------- live curve


def png_size(data):
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def test_a_file_is_drawn_anew_after_each_epoch(tmp_path):
    pytest.importorskip("matplotlib")
    path, seen = tmp_path / "curve.png", []

    class Look(Callback):
        order = 1000

        def on_epoch_end(self, epoch, logs=None):
            seen.append(path.read_bytes())

    fit(new_trainer(), 3, LiveCurve(path, share=1e9), Look(), validation_data=(X, Y))
    assert len(set(seen)) == 3
    assert all(min(png_size(data)) > 100 for data in seen)
    assert os.listdir(tmp_path) == ["curve.png"]


def test_short_epochs_are_drawn_seldom_and_at_last(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    curve = LiveCurve(tmp_path / "curve.png", share=0.0)
    drawn = []
    ordinary = curve._draw
    monkeypatch.setattr(curve, "_draw", lambda: (drawn.append(len(curve.trainer.history.epoch)), ordinary()))
    fit(new_trainer(), 5, curve)
    assert drawn[-1] == 5
    assert len(drawn) < 5


def test_one_picture_in_a_notebook_is_updated(notebook):
    pytest.importorskip("matplotlib")
    fit(new_trainer(), 3, LiveCurve(share=1e9))
    assert [how for how, _ in notebook.shown] == ["display", "update", "update"]
    assert len({data for _, data in notebook.shown}) == 3
    assert all(png_size(data) for _, data in notebook.shown)


def test_a_curve_that_can_be_shown_nowhere(tmp_path):
    with pytest.raises(ShapeError, match=r"LiveCurve\(path='curve.png'\)"):
        fit(new_trainer(), 1, LiveCurve())
    with pytest.raises(ShapeError, match="should end in"):
        LiveCurve(tmp_path / "curve.gif")


def test_a_picture_that_cannot_be_written_ends_no_training(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.warns(UserWarning, match="LiveCurve could not write"):
        history = fit(new_trainer(), 1, LiveCurve(tmp_path / "nowhere" / "curve.png"))
    assert len(history["loss"]) == 1


def test_without_matplotlib_the_curve_names_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "autograd_ff\[plot\]"'):
        fit(new_trainer(), 1, LiveCurve("curve.png"))


def test_a_resumed_curve_has_the_epochs_before(tmp_path):
    pytest.importorskip("matplotlib")
    fit(new_trainer(), 2, LiveCurve(tmp_path / "a.png"), checkpoint=tmp_path / "state")
    curve = LiveCurve(tmp_path / "b.png")
    fit(new_trainer(), 4, curve, resume=tmp_path / "state")
    assert curve.trainer.history.epoch == [0, 1, 2, 3]


# ---------------------------------------------------------------- TensorBoard


def test_without_tensorboardx_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "autograd_ff\[tensorboard\]"'):
        TensorBoard()


def events(folder):
    """(tag, step) -> value of the scalars, and the tags of all else, as TensorBoard reads them."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0})
    reader.Reload()
    tags = reader.Tags()
    scalars = {(tag, event.step): event.value for tag in tags["scalars"] for event in reader.Scalars(tag)}
    return scalars, {(tag, event.step) for tag in tags["histograms"] for event in reader.Histograms(tag)}, tags


def test_scalars_of_both_parts_and_histograms(tmp_path):
    pytest.importorskip("tensorboardX")
    board = TensorBoard(tmp_path, histogram_freq=2, write_steps_per_second=True, write_images=True)
    history = fit(new_trainer(), 3, board, validation_data=(X, Y))
    scalars, histograms, tags = events(tmp_path / "train")
    for epoch in range(3):
        assert scalars["epoch_loss", epoch] == pytest.approx(history["loss"][epoch])
        assert scalars["epoch_learning_rate", epoch] == pytest.approx(0.05)
        assert scalars["epoch_steps_per_second", epoch] > 0
    assert histograms == {
        (f"{layer}/{name}/histogram", epoch) for layer in (0, 2) for name in ("weight", "bias") for epoch in (0, 2)
    }
    assert set(tags["images"]) == {"0/weight/image", "2/weight/image"}
    assert "model/text_summary" in tags["tensors"]
    scalars, _, _ = events(tmp_path / "validation")
    assert scalars == pytest.approx({("epoch_loss", epoch): history["val_loss"][epoch] for epoch in range(3)})


def test_scalars_after_batches(tmp_path):
    pytest.importorskip("tensorboardX")
    fit(new_trainer(), 2, TensorBoard(tmp_path, update_freq=2, write_graph=False))
    scalars, _, _ = events(tmp_path / "train")
    assert [step for tag, step in scalars if tag == "batch_loss"] == [2, 4, 6]


def test_a_resumed_training_goes_on_in_its_folder(tmp_path):
    pytest.importorskip("tensorboardX")
    fit(new_trainer(), 2, TensorBoard(tmp_path / "board", update_freq=1), checkpoint=tmp_path / "state")
    fit(new_trainer(), 4, TensorBoard(tmp_path / "board", update_freq=1), resume=tmp_path / "state")
    scalars, _, _ = events(tmp_path / "board" / "train")
    assert [step for tag, step in scalars if tag == "epoch_loss"] == [0, 1, 2, 3]
    assert [step for tag, step in scalars if tag == "batch_loss"] == list(range(1, 13))


def test_epochs_that_are_run_again_are_shown_once(tmp_path):
    pytest.importorskip("tensorboardX")
    fit(new_trainer(), 2, TensorBoard(tmp_path / "board"), checkpoint=tmp_path / "state")
    fit(new_trainer(), 3, TensorBoard(tmp_path / "board"), resume=tmp_path / "state")
    history = fit(new_trainer(), 4, TensorBoard(tmp_path / "board"), resume=tmp_path / "state")
    scalars, _, _ = events(tmp_path / "board" / "train")
    assert [scalars["epoch_loss", epoch] for epoch in range(4)] == pytest.approx(history["loss"])
    assert len([tag for tag, _ in scalars if tag == "epoch_loss"]) == 4


@pytest.mark.parametrize("frequency", [0, "never", -1])
def test_an_update_frequency_that_is_none(frequency):
    pytest.importorskip("tensorboardX")
    with pytest.raises(ShapeError, match="update_freq"):
        TensorBoard(update_freq=frequency)
