"""What `tests/test_distributed_training.py` runs in one process and in several: every case is a training of another kind.

Leaves what each came to in a file, for comparison. All in float64, so that rounding is far below what is compared.
"""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

import autograd_ff as af
from autograd_ff import distributed as dist
from autograd_ff import nn, optim
from autograd_ff.data import DataLoader, TensorDataset
from autograd_ff.errors import AutogradError, DistributedError, NonFiniteError
from autograd_ff.training import Callback, Trainer

RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.normal(size=(53, 6))
LABELS = (INPUTS @ RANDOM.normal(size=(6, 3))).argmax(1)
QUIET = {"verbose": 0, "checks": False}


def network(*more: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), *more, nn.Tanh(), nn.Linear(8, 3))


def fitted(loss, model=None, kind=Trainer, data=(INPUTS, LABELS), validation=None, **options):
    """What a training came to: weights, history, scores and predictions."""
    model = network() if model is None else model
    parameters = [*model.parameters(), *(loss.parameters() if isinstance(loss, nn.Module) else ())]
    trainer = kind(model, loss, optim.SGD(parameters, lr=0.05, momentum=0.5), metrics=["accuracy"])
    arrays = isinstance(data, tuple)
    options = {**QUIET, "epochs": 3, **({"batch_size": 7} if arrays else {}), **options}
    history = trainer.fit(*(data if arrays else (data,)), validation_data=validation, **options)
    found = {name: one.numpy() for name, one in model.state_dict().items()}
    found |= {f"history of {name}": np.array(values) for name, values in history.items()}
    scores = trainer.evaluate(INPUTS, LABELS, batch_size=20)
    found |= {f"score {name}": np.array(value) for name, value in scores.items()}
    return found


def case_sum():
    return fitted(nn.CrossEntropyLoss(reduction="sum"))


def case_class_weights():
    return fitted(nn.CrossEntropyLoss(weight=af.tensor([0.2, 1.0, 5.0])), accumulate=2)


def case_ignored_labels():
    return fitted(nn.CrossEntropyLoss(ignore_index=1))


def case_class_weight_of_fit():
    return fitted(nn.CrossEntropyLoss(), class_weight={0: 0.2, 2: 3.0})


def case_shuffled_loaders():
    data = TensorDataset(INPUTS, LABELS)
    loaders = [DataLoader(data, batch_size=7, shuffle=True) for _ in range(2)]
    return fitted(nn.CrossEntropyLoss(), data=loaders[0], validation=loaders[1])


def case_a_function_that_shuffles():
    def batches():
        order = af.randperm(len(INPUTS)).numpy()
        for first in range(0, len(order), 7):
            rows = order[first : first + 7]
            yield af.tensor(INPUTS[rows]), af.tensor(LABELS[rows])

    return fitted(nn.CrossEntropyLoss(), data=batches, checks=True)


class Scaled(nn.Module):
    """A loss with a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(af.tensor(2.0))

    def forward(self, outputs, targets):
        return nn.functional.cross_entropy(outputs * self.scale, targets) + 0.1 * self.scale**2


def case_a_loss_with_parameters():
    loss = Scaled()
    return {**fitted(loss), "scale": loss.scale.detach().numpy()}


def case_synchronized_batch_norm():
    """The look at the first batch runs layers that communicate, too."""
    return fitted(
        nn.CrossEntropyLoss(), dist.SyncBatchNorm.convert_sync_batchnorm(network(nn.BatchNorm1d(8))), checks=True,
        drop_last=True,
    )  # fmt: skip


def case_unused_parameters():
    class Partly(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = network(), nn.Linear(2, 2)

        def forward(self, x):
            return self.used(x)

    return fitted(nn.CrossEntropyLoss(), Partly())


class Unfreeze(Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self.model[0].requires_grad_(True)


def case_layers_that_thaw():
    model = network()
    model[0].requires_grad_(False)
    return fitted(nn.CrossEntropyLoss(), model, callbacks=[Unfreeze()])


def case_a_step_of_ones_own():
    class Own(Trainer):
        def train_step(self, inputs, targets, weights=None):
            outputs = self(inputs)
            loss = self.loss(outputs, targets)
            self.backward(loss)
            self.optimizer.step()
            return {"loss": loss, "largest": outputs.max(), "outputs": outputs}

    found = fitted(nn.CrossEntropyLoss(), kind=Own)
    return {name: value for name, value in found.items() if "largest" not in name}  # a maximum is no mean


def case_a_model_that_is_wrapped():
    model = dist.DistributedDataParallel(network())
    found = fitted(nn.CrossEntropyLoss(), model, compile={"fast": False, "threads": False})
    assert model.synchronizes
    return found


def case_outputs_in_a_dict():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network()

        def forward(self, x):
            scores = self.inner(x)
            return {"scores": scores, "rest": (scores.sum(1), [x[:, :1]])}

    trainer = Trainer(Two())
    found = trainer.predict(INPUTS, batch_size=7)
    return {"scores": found["scores"].numpy(), "sums": found["rest"][0].numpy(), "first": found["rest"][1][0].numpy()}


def case_errors():
    """Each on every process, with what to do."""

    class Own(Trainer):
        def train_step(self, inputs, targets, weights=None):
            loss = self.loss(self(inputs), targets)
            loss.backward()
            self.optimizer.step()
            return {"loss": loss}

    data = TensorDataset(INPUTS, LABELS)
    size = dist.get_world_size()
    loader = DataLoader(data, batch_size=7, sampler=dist.DistributedSampler(data, max(size, 2), dist.get_rank()))
    poisoned = INPUTS.copy()
    poisoned[40] = np.inf
    for error, wanted, run in (
        (DistributedError, "part of every batch by itself", lambda: fitted(nn.CrossEntropyLoss(), data=loader)),
        (DistributedError, "part of every batch by itself", lambda: Trainer(network()).predict(loader)),
        (
            NonFiniteError,
            "inputs holds inf at index [5, 0]",
            lambda: fitted(nn.CrossEntropyLoss(), data=(poisoned, LABELS), shuffle=False),
        ),
        (AutogradError, "self.backward()", lambda: fitted(nn.CrossEntropyLoss(), kind=Own)),
    ):
        if size == 1 and run.__code__.co_names[:1] == ("fitted",) and "Own" in run.__code__.co_freevars:
            continue  # a process alone needs no trainer's backward
        with pytest.raises(error, match=re.escape(wanted)):
            run()
    if size > 1:
        loose = af.ones(3, requires_grad=True)
        trainer = Trainer(network(), lambda o, y: (o * loose).mean(), optim.SGD([loose], lr=0.1))
        with pytest.raises(DistributedError, match=r"of no module that the trainer holds, of shapes \(3,\)"):
            trainer.fit(INPUTS, LABELS, **QUIET)
        with pytest.raises(DistributedError, match="the ranks differ in the first batch of a pass over the data"):
            trainer.predict([(np.ones((4, 6)) * (1 + dist.get_rank()), None)])
    return {}


def main() -> None:
    af.set_default_dtype(af.float64)
    dist.init_process_group(timeout=60)
    found = {}
    for name, case in list(globals().items()):
        if name.startswith("case_"):
            af.manual_seed(3)
            found |= {f"{name.removeprefix('case_')}: {key}": value for key, value in case().items()}
    for key, value in found.items():
        dist.all_gather_object(everyones := [None] * dist.get_world_size(), value.tobytes())
        assert all(one == everyones[0] for one in everyones), f"the processes differ in {key}"
    if dist.get_rank() == 0:
        np.savez(sys.argv[1], **found)


if __name__ == "__main__":
    main()
