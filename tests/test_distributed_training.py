"""The trainer with several processes: what they train together is what one trains alone, and any number may go on from it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mpi_jobs import passes, run_job

TRAIN = """
import json, sys
import numpy as np
import autograd_ff as af
from autograd_ff import distributed as dist, nn, optim
from autograd_ff.training import Callback, CSVLogger, EarlyStopping, ModelCheckpoint, Trainer

dist.init_process_group(timeout=60)
everyones = [None] * dist.get_world_size()
settings = json.loads(sys.argv[1])
random = np.random.default_rng(0)
inputs = random.normal(size=(101, 20)).astype(np.float32)
labels = (inputs @ random.normal(size=(20, 5))).argmax(1)
weights = random.uniform(0.5, 2, 101).astype(np.float32)


class Keep(Callback):
    # Leaves a checkpoint in the middle of an epoch, as a crash would find it.
    def on_train_batch_end(self, batch, logs=None):
        if (self.trainer.epoch, batch) == (1, 2):  # the end of a step, accumulated or not
            self.trainer.save("middle.safetensors")
            if settings.get("stop"):
                self.trainer.stop()


af.manual_seed(settings.get("seed", 0))
model = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 5))
if settings.get("sharded"):
    optimizer = dist.ZeroRedundancyOptimizer(model.parameters(), optim.AdamW, lr=1e-2)
else:
    optimizer = optim.AdamW(model.parameters(), lr=1e-2)
trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer, ["accuracy", "sparse_top_k_categorical_accuracy"])
history = trainer.fit(
    inputs, labels, epochs=4, batch_size=settings.get("batch_size", 16), validation_split=0.2, sample_weight=weights,
    accumulate=settings.get("accumulate", 1), clip=1.0, resume=settings.get("resume"), verbose=2,
    compile={"fast": False, "threads": False} if settings.get("compile") else False,
    callbacks=[Keep(), EarlyStopping(monitor="loss", patience=2), CSVLogger("log.csv"),
               ModelCheckpoint("best.safetensors", monitor="val_loss", save_best_only=True)],
)
scores = trainer.evaluate(inputs, labels)
predicted = trainer.predict(inputs, batch_size=30).numpy()
dist.all_gather_object(everyones, [one.detach().numpy().tobytes() for one in model.parameters()])
assert all(one == everyones[0] for one in everyones), "the processes have different weights"
if dist.get_rank() == 0:
    state = {f"p.{name}": one.numpy() for name, one in model.state_dict().items()}
    curves = {f"h.{name}": np.array(values) for name, values in history.items()}
    np.savez(settings["out"], predicted=predicted, scores=np.array([*scores.values()]), **state, **curves)
"""


def trained(folder, ranks, **settings):
    name = f"out{ranks}-{len(list(folder.iterdir()))}.npz"
    printed = passes(ranks, TRAIN, json.dumps({**settings, "out": name}), folder=folder)
    return dict(np.load(folder / name)), printed


def assert_close(found, wanted):
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-4, atol=2e-5, err_msg=name)


@pytest.mark.parametrize(
    "settings",
    [{}, {"accumulate": 3, "compile": True}, {"batch_size": 3}, {"sharded": True, "compile": True}],
    ids=["plain", "accumulated", "small batches", "sharded"],
)
def test_several_processes_train_what_one_does(tmp_path, settings):
    alone, _ = trained(tmp_path, 1, **settings)
    for ranks in (2, 4) if "batch_size" in settings else (2,):  # batches of 3 leave the fourth process without samples
        together, printed = trained(tmp_path, ranks, **settings)
        assert_close(together, alone)
        assert printed.count("Epoch 4/4") == 1, "one process alone prints"
        assert (tmp_path / "log.csv").read_text().count("\n") == 5


@pytest.mark.parametrize(("before", "after", "sharded"), [(2, 1, False), (1, 2, False), (2, 3, True)])
def test_another_number_of_processes_goes_on_in_the_middle_of_an_epoch(tmp_path, before, after, sharded):
    alone, _ = trained(tmp_path, 1)
    trained(tmp_path, before, stop=True, sharded=sharded)
    resumed, _ = trained(tmp_path, after, resume="middle.safetensors", seed=9, sharded=sharded)
    assert_close(resumed, alone)


def test_what_a_user_may_train(tmp_path):
    """Losses that are no plain mean, loaders that shuffle, layers that communicate, several modules, and what is refused."""
    job = (Path(__file__).parent / "distributed_training_job.py").read_text(encoding="utf-8")
    found = []
    for ranks in (1, 2, 3):
        passes(ranks, job, f"{ranks}.npz", folder=tmp_path)
        found.append(dict(np.load(tmp_path / f"{ranks}.npz")))
    for together in found[1:]:
        assert set(together) == set(found[0])
        for name, value in found[0].items():
            np.testing.assert_allclose(together[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


INTERRUPTED = TRAIN.replace("class Keep", """import os, signal, time
from autograd_ff.training import trainer as module

class End(Callback):
    def on_train_batch_end(self, batch, logs=None):
        if (self.trainer.epoch, batch) == (2, 1):
            END

class Keep""").replace("callbacks=[Keep(),", "checkpoint='kept.safetensors', callbacks=[Keep(), End(),")  # fmt: skip


def test_a_killed_process_ends_the_job_and_the_last_checkpoint_goes_on(tmp_path):
    alone, _ = trained(tmp_path, 1)
    program = INTERRUPTED.replace("END", "dist.get_rank() and os.kill(os.getpid(), signal.SIGKILL)")
    done = run_job(2, program, json.dumps({"out": "x.npz"}), folder=tmp_path)
    assert done.returncode != 0
    resumed, _ = trained(tmp_path, 2, resume="kept.safetensors", seed=9)
    assert_close(resumed, alone)


@pytest.mark.parametrize("signal", ["SIGINT", "SIGTERM"])
def test_no_process_ends_before_the_state_is_written(tmp_path, signal):
    alone, _ = trained(tmp_path, 1)
    slowly = """os.kill(os.getpid(), signal.NAME)
            write = module.save
            module.save = lambda state, path: (time.sleep(2.5), write(state, path))""".replace("NAME", signal)
    done = run_job(2, INTERRUPTED.replace("END", slowly), json.dumps({"out": "x.npz"}), folder=tmp_path)
    assert done.returncode != 0
    assert "its state is in kept.safetensors" in done.stderr
    assert done.stderr.count("Ctrl-C: the training stops") == (signal == "SIGINT"), "one process speaks"
    resumed, _ = trained(tmp_path, 3, resume="kept.safetensors", seed=9)
    assert_close(resumed, alone)


KERAS = """
import sys
import numpy as np
from autograd_ff import distributed as dist, keras

dist.init_process_group(timeout=60)
random = np.random.default_rng(0)
x = random.normal(size=(60, 4)).astype(np.float32)
y = (x @ random.normal(size=(4, 3))).argmax(1)
keras.utils.set_random_seed(1)
model = keras.Sequential([keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(3, activation="softmax")])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x, y, epochs=4, batch_size=16, verbose=0, validation_split=0.2, callbacks=[
    keras.callbacks.ModelCheckpoint("best.keras", monitor="val_loss", save_best_only=True),
    keras.callbacks.BackupAndRestore("backup"), keras.callbacks.EarlyStopping(monitor="val_loss", patience=2)])
predicted = keras.models.load_model("best.keras").predict(x, verbose=0)  # by all processes
if dist.get_rank() == 0:
    np.save(sys.argv[1], predicted)
"""


def test_the_keras_face_under_several_processes(tmp_path):
    for ranks in (1, 2):
        passes(ranks, KERAS, f"{ranks}.npy", folder=tmp_path)
        assert not list((tmp_path / "backup").iterdir())
    np.testing.assert_allclose(np.load(tmp_path / "2.npy"), np.load(tmp_path / "1.npy"), rtol=1e-4, atol=1e-6)


def test_who_asks_for_something_else_is_told(tmp_path):
    program = TRAIN.replace("epochs=4", "epochs=4 + dist.get_rank()")
    done = run_job(2, program, json.dumps({"out": "x.npz"}), folder=tmp_path)
    assert done.returncode != 0
    assert "rank 0 has 4 epochs, rank 1 has 5 epochs" in done.stderr
    program = TRAIN.replace("callbacks=[", "callbacks=[] if dist.get_rank() else [")
    done = run_job(2, program, json.dumps({"out": "x.npz"}), folder=tmp_path)
    assert done.returncode != 0
    assert "rank 1 has the callbacks none (rank 0 alone writes, but all ranks have them)" in done.stderr
    program = TRAIN.replace("scores =", "if dist.get_rank() == 0: scores =")
    done = run_job(2, program, json.dumps({"out": "x.npz"}), folder=tmp_path)
    assert done.returncode != 0
    assert "an evaluation, the order of the data" in done.stderr


def test_a_file_that_cannot_be_written_is_so_for_all(tmp_path):
    """Processes that took different files for written would part ways at the next."""
    program = TRAIN.replace('ModelCheckpoint("best', 'ModelCheckpoint("nowhere/best').replace(
        "class Keep", """import autograd_ff.training.trainer as module
write = module.save
def save(state, path):
    if str(path).startswith("nowhere") and len(failures) < 1:
        failures.append(path)
        raise OSError("disk full")
    write(state, path)
failures = []
module.save = save

class Keep""")  # fmt: skip
    done = run_job(2, program, json.dumps({"out": "x.npz", "sharded": True}), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("could not write nowhere/best.safetensors: disk full") == 1
    assert (tmp_path / "nowhere" / "best.safetensors").exists()


def test_a_nan_on_one_process_ends_all_with_its_operation(tmp_path):
    program = TRAIN.replace("labels = (inputs", "inputs[40] = np.inf\nlabels = (inputs")
    done = run_job(2, program, json.dumps({"out": "x.npz"}), folder=tmp_path)
    assert done.returncode != 0
    assert "NonFiniteError" in done.stderr


def test_the_command_line_trains_with_several_processes(tmp_path):
    program = "import sys; from autograd_ff.cli import main; sys.exit(main(sys.argv[1:]))"
    settings = [
        "train",
        "mnist",
        "--layers",
        "16",
        "--epochs",
        "1",
        "--batch-size",
        "500",
        "--output",
        tmp_path / "run",
    ]
    printed = passes(2, program, *settings, folder=tmp_path)
    assert printed.count("epoch 1/1") == 1
    assert printed.count("Accuracy of the network on the test images") == 1
    assert {"model.safetensors", "checkpoint.safetensors", "graph.png"} <= {
        path.name for path in (tmp_path / "run").iterdir()
    }
    (tmp_path / "poem.txt").write_text(
        "".join(f"the {one} of {two} is late\n" for one in "abcdef" for two in "xyzuvw" * 3)
    )
    sizes = ["--layers", 1, "--width", 16, "--heads", 2, "--context", 12, "--batch-size", 4, "--steps", 6]
    printed = passes(2, program, "train", "lm", "--text", "poem.txt", *sizes, "--output", "lm", folder=tmp_path)
    assert printed.count("written to") == 1
    assert (tmp_path / "lm" / "model.safetensors").exists()
    done = run_job(2, program, "train", "mnist", "--resume", "--output", tmp_path / "nothing", folder=tmp_path)
    assert done.returncode == 1
    assert "there is no run to resume" in done.stderr
