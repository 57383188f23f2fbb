"""The look at the first batch: planted faults are found and named, usual programs raise no alarm, and no trace is left."""

from __future__ import annotations

import functools
import itertools
import random
import warnings

import numpy as np
import pytest

import autograd_ff as af
from autograd_ff import nn, optim
from autograd_ff.data import DataLoader, Dataset, TensorDataset, transforms
from autograd_ff.errors import ShapeError, TrainingWarning
from autograd_ff.nn import functional as F
from autograd_ff.training import Trainer
from autograd_ff.training.checks import NAMES, Finding, announce, examine


@pytest.fixture(autouse=True)
def _seeded():
    af.manual_seed(0)


def network(*widths: int, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers[:-1])


def trainer_of(model, loss, optimizer=None, **options) -> Trainer:
    return Trainer(model, loss, optimizer or optim.SGD(model.parameters(), lr=0.1), **options)


def found(model, loss, inputs, targets=None, weights=None, which=True, optimizer=None, **options) -> list[Finding]:
    """Findings that are more than worth knowing."""
    findings = examine(trainer_of(model, loss, optimizer, **options), inputs, targets, weights, which)
    return [one for one in findings if one.severity != "info"]


def only(findings: list[Finding], kind: str) -> Finding:
    assert [one.kind for one in findings] == [kind], "\n".join(map(str, findings))
    return findings[0]


IMAGES = np.random.default_rng(0).random((32, 784), np.float32)
LABELS = np.random.default_rng(1).integers(0, 10, 32)
LABELS[:2] = 0, 9


def images() -> af.Tensor:
    return af.tensor(IMAGES)


def labels() -> af.Tensor:
    return af.tensor(LABELS)


class Square(af.autograd.Function):
    """A square whose derivative lacks a factor of 2."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * x


class Within(nn.Module):
    """Two layers with a function between them."""

    def __init__(self, between, inputs: int = 784, hidden: int = 8, outputs: int = 10):
        super().__init__()
        self.first = nn.Linear(inputs, hidden)
        self.second = nn.Linear(hidden, outputs)
        self.between = between

    def forward(self, x):
        return self.second(self.between(self.first(x)))


# ---------------------------------------------------------------- usual programs


class Pictures(Dataset):
    """uint8 pictures, as a file holds them."""

    def __init__(self, *steps):
        self.pixels = np.random.default_rng(0).integers(0, 256, (64, 28, 28), np.uint8)
        self.transform = transforms.Compose([transforms.ToTensor(), *steps])

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index):
        return self.transform(self.pixels[index]), index % 10


class Lookup(nn.Module):
    """Words to vectors by indexing, as an embedding does."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(af.randn(1000, 8))
        self.out = nn.Linear(8, 3)

    def forward(self, words):
        return self.out(self.table[words].mean(1))


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(3, 4), nn.Linear(5, 4)
        self.out = nn.Linear(4, 1)

    def forward(self, a, b, mask=None):
        hidden = (self.left(a) + self.right(b)).tanh()
        return self.out(hidden if mask is None else hidden * mask)


class Rescaled(nn.Module):
    """Takes bytes and scales them itself."""

    def __init__(self):
        super().__init__()
        self.inner = network(784, 16, 10)

    def forward(self, x):
        return self.inner(x.float() / 255)


class Frozen(nn.Module):
    """A trained body that is not to be trained, and a new head."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(784, 16), nn.Linear(16, 10)
        self.body.requires_grad_(False)

    def forward(self, x):
        return self.head(self.body(x).relu())


class LowRank(nn.Module):
    """An addition to a frozen layer that starts at 0."""

    def __init__(self):
        super().__init__()
        self.frozen = nn.Linear(784, 10).requires_grad_(False)
        self.down = nn.Parameter(0.01 * af.randn(4, 784))
        self.up = nn.Parameter(af.zeros(10, 4))

    def forward(self, x):
        return self.frozen(x) + x @ self.down.T @ self.up.T


class NoisyLayer(nn.Module):
    """A layer with random numbers of its own, and a count of its calls."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(784, 10)
        self.generator = np.random.default_rng(5)
        self.calls, self.seen = 0, []

    def forward(self, x):
        self.calls += 1
        self.seen.append(x)
        self.last = x
        noise = self.generator.standard_normal(x.shape).astype(np.float32) + np.float32(
            np.random.random() * random.random()
        )
        return self.layer(x + 0.1 * af.tensor(noise) * af.rand(1))


def contrastive(outputs, targets):
    """Pairwise distances, which broadcast on purpose."""
    distance = ((outputs[:, None] - outputs[None, :]) ** 2).sum(2)
    same = (targets[:, None] == targets[None, :]).float()
    return (distance * same).mean() + ((1 - distance).clamp_min(0) * (1 - same)).mean()


def zero_head() -> nn.Module:
    model = network(784, 16, 10)
    nn.init.zeros_(model[2].weight)
    nn.init.zeros_(model[2].bias)
    return model


def pictures(*steps) -> tuple[af.Tensor, af.Tensor]:
    return next(iter(DataLoader(Pictures(*steps), 64)))


def standardised(rows: int, columns: int) -> af.Tensor:
    numbers = np.random.default_rng(3).exponential(1, (rows, columns)) ** 3  # heavy tails
    return af.tensor(((numbers - numbers.mean(0)) / numbers.std(0)).astype(np.float32))


def border_pixels() -> af.Tensor:
    """Standardised by column over a whole data set: pixels that are almost always 0 are rare and very large."""
    numbers = np.random.default_rng(3).standard_normal((64, 784)).astype(np.float32)
    numbers[:, :100] = -0.005
    numbers[7, 3], numbers[9, 50] = 180.0, 90.0
    return af.tensor(numbers)


def sparse_pixels() -> af.Tensor:
    numbers = np.random.default_rng(3).random((64, 784)).astype(np.float32)
    numbers[:, :100] = 0
    numbers[3, 5] = 1e-5
    return af.tensor(numbers)


USUAL = {
    "mnist": lambda: (network(784, 32, 16, 10), nn.CrossEntropyLoss(), images(), labels()),
    "to-tensor": lambda: (nn.Sequential(nn.Flatten(), *network(784, 16, 10)), nn.CrossEntropyLoss(), *pictures()),
    "normalised": lambda: (
        nn.Sequential(nn.Flatten(), *network(784, 16, 10)),
        nn.CrossEntropyLoss(),
        *pictures(transforms.Normalize((0.1307,), (0.3081,))),
    ),
    "batch norm and dropout": lambda: (
        nn.Sequential(
            nn.Linear(784, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 16), nn.LayerNorm(16),
            nn.GELU(), nn.Linear(16, 10),
        ),
        nn.CrossEntropyLoss(label_smoothing=0.1),
        images(),
        labels(),
    ),
    "batch norm of raw numbers": lambda: (
        nn.Sequential(nn.BatchNorm1d(784), nn.Linear(784, 10)), nn.CrossEntropyLoss(), images() * 255, labels(),
    ),
    "regression": lambda: (network(6, 16, 1, activation=nn.Tanh), nn.MSELoss(), standardised(64, 6), af.randn(64, 1)),
    "regression on large targets": lambda: (network(6, 16, 1), nn.HuberLoss(), standardised(64, 6), 300 * af.randn(64, 1)),
    "regression, squeezed": lambda: (
        nn.Sequential(nn.Linear(6, 1), nn.Flatten(0)), F.mse_loss, standardised(64, 6), af.randn(64),
    ),
    "border pixels": lambda: (network(784, 16, 10), nn.CrossEntropyLoss(), border_pixels(), af.arange(64) % 10),
    "sparse pixels": lambda: (network(784, 16, 10), nn.CrossEntropyLoss(), sparse_pixels(), af.arange(64) % 10),
    "words": lambda: (Lookup(), nn.CrossEntropyLoss(), af.arange(64).reshape(8, 8) * 15, af.arange(8) % 3),
    "several inputs": lambda: (Two(), nn.MSELoss(), (af.randn(8, 3), af.randn(8, 5)), af.randn(8, 1)),
    "inputs by name": lambda: (
        Two(), nn.MSELoss(), {"a": af.randn(8, 3), "b": af.randn(8, 5), "mask": af.ones(8, 4)}, af.randn(8, 1),
    ),
    "scales bytes itself": lambda: (
        Rescaled(), nn.CrossEntropyLoss(), af.tensor((IMAGES * 255).astype(np.uint8)), labels(),
    ),
    "frozen body": lambda: (Frozen(), nn.CrossEntropyLoss(), images(), labels()),
    "low rank": lambda: (LowRank(), nn.CrossEntropyLoss(), images(), labels()),
    "head of zeros": lambda: (zero_head(), nn.CrossEntropyLoss(), images(), labels()),
    "noise": lambda: (NoisyLayer(), nn.CrossEntropyLoss(), images(), labels()),
    "log softmax": lambda: (nn.Sequential(nn.Linear(784, 10), nn.LogSoftmax(1)), nn.NLLLoss(), images(), labels()),
    "sigmoid": lambda: (
        nn.Sequential(nn.Linear(784, 1), nn.Sigmoid()), nn.BCELoss(), images(), (labels() > 4).float().unsqueeze(1),
    ),
    "logits": lambda: (nn.Linear(784, 3), nn.BCEWithLogitsLoss(), images(), (af.rand(32, 3) > 0.5).float()),
    "soft labels": lambda: (nn.Linear(784, 10), nn.CrossEntropyLoss(), images(), af.rand(32, 10).softmax(1)),
    "ignored labels": lambda: (
        nn.Linear(784, 10), nn.CrossEntropyLoss(), images(), af.where(labels() == 3, af.tensor(-100), labels()),
    ),
    "ignored by number": lambda: (
        nn.Linear(784, 10), nn.CrossEntropyLoss(ignore_index=-1), images(), af.where(labels() == 3, af.tensor(-1), labels()),
    ),
    "no class 0 in the batch": lambda: (
        nn.Linear(784, 10), nn.CrossEntropyLoss(), images(), af.where(labels() == 0, af.tensor(1), labels()),
    ),
    "pairs": lambda: (network(784, 16, 4), contrastive, images(), labels()),
    "autoencoder": lambda: (network(784, 16, 784), lambda outputs, _: ((outputs - images()) ** 2).mean(), images(), None),
    "held target": lambda: (
        network(784, 16, 10), lambda out, y: F.cross_entropy(out, y) + (out - out.detach().mean(0)).square().mean(),
        images(), labels(),
    ),
    "float64 throughout": lambda: (network(6, 8, 1).double(), nn.MSELoss(), standardised(64, 6).double(), af.randn(64, 1).double()),
    "one sample": lambda: (network(6, 8, 1), nn.MSELoss(), standardised(64, 6)[:1], af.randn(1, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", USUAL)
def test_usual_programs_raise_no_alarm(name):
    model, loss, inputs, targets = USUAL[name]()
    assert found(model, loss, inputs, targets) == []


def test_a_penalty_belongs_to_the_step():
    model = network(784, 8, 10)
    assert found(model, nn.CrossEntropyLoss(), images(), labels(), penalty=lambda m: m[0].weight.square().sum()) == []
    wrong = found(model, nn.CrossEntropyLoss(), images(), labels(), penalty=lambda m: Square.apply(m[2].weight).sum())
    assert only(wrong, "gradients").names == ("2.weight",)


def test_weights_of_samples():
    assert found(network(784, 8, 10), nn.CrossEntropyLoss(), images(), labels(), af.rand(32)) == []


def test_parameters_of_a_loss():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.log_scale = nn.Parameter(af.zeros(1))

        def forward(self, outputs, targets):
            return ((outputs - targets).square() * (-self.log_scale).exp() + self.log_scale).mean()

    model, loss = network(6, 4, 1), Scaled()
    both = optim.SGD([*model.parameters(), *loss.parameters()], lr=0.1)
    assert found(model, loss, standardised(16, 6), af.randn(16, 1), optimizer=both) == []
    (one,) = found(model, loss, standardised(16, 6), af.randn(16, 1))
    assert one.kind == "parameters"
    assert one.names == ("loss.log_scale",)


# ---------------------------------------------------------------- planted faults


def test_a_pair_that_would_broadcast():
    model = network(6, 4, 1)
    one = only(found(model, nn.MSELoss(), standardised(8, 6), af.randn(8)), "shapes")
    assert "(8, 1)" in one.message
    assert "(8,)" in one.message
    assert "targets.unsqueeze(1)" in one.advice
    one = only(found(nn.Sequential(model, nn.Flatten(0)), F.l1_loss, standardised(8, 6), af.randn(8, 1)), "shapes")
    assert "targets.squeeze(1)" in one.advice
    own = found(model, lambda outputs, targets: ((outputs - targets) ** 2).mean(), standardised(8, 6), af.randn(8))
    one = only(own, "shapes")
    assert "every row meets every target" in one.message
    assert "test_training_checks.py" in one.site


@pytest.mark.parametrize(
    ("outputs", "targets", "said"),
    [
        ((8, 10), af.ones(8, 1).long(), "targets.squeeze(1)"),
        ((8, 10), af.eye(10)[:8].long(), "argmax(1)"),
        ((8, 10), af.ones(8, 10).long(), "BCEWithLogitsLoss"),
        ((8,), af.zeros(8).long(), "nn.BCEWithLogitsLoss"),
        ((16, 10), af.zeros(8).long(), "mixes the samples"),
    ],
)
def test_classes_of_another_shape(outputs, targets, said):
    model = nn.Sequential(nn.Linear(4, 2 * int(np.prod(outputs)) // 16), nn.Unflatten(1, (-1,)))
    model.forward = lambda x: model[0](x).reshape(outputs)
    inputs = af.randn(16 * int(np.prod(outputs)) // (2 * int(np.prod(outputs)) // 16) // 16, 4)
    findings = found(model, nn.CrossEntropyLoss(), inputs, targets, which=["shapes"])
    assert said in only(findings, "shapes").advice


@pytest.mark.parametrize(
    "loss", [nn.CrossEntropyLoss(), F.cross_entropy, functools.partial(F.cross_entropy, reduction="sum")]
)
def test_labels_that_start_at_1(loss):
    one = only(found(network(784, 8, 10), loss, images(), labels() + 1), "labels")
    assert "the labels run from 1 to 10" in one.message
    assert "10 outputs" in one.message
    assert "Subtract 1" in one.advice
    assert one.severity == "error"


@pytest.mark.parametrize(
    ("change", "message", "advice"),
    [
        (lambda y: af.where(y == 9, af.tensor(12), y), "from 0 to 12", "13 outputs"),
        (lambda y: af.where(y == 9, af.tensor(-1), y), "from -1 to 8", "ignore_index=-1"),
        (lambda y: y.float(), "whole numbers, and the targets are float32", "y.long()"),
        (lambda y: y + 0.25, "whole numbers, and the targets are float32", "nn.MSELoss"),
        (lambda y: y * 0 - 100, "ignore_index = -100", "right labels"),
    ],
)
def test_labels_that_are_no_classes(change, message, advice):
    one = found(network(784, 8, 10), nn.CrossEntropyLoss(), images(), change(labels()), which=["labels"])
    assert message in only(one, "labels").message
    assert advice in one[0].advice


def test_one_output_for_classes():
    one = only(found(network(784, 8, 1), nn.CrossEntropyLoss(), images(), labels() % 2), "labels")
    assert "BCEWithLogitsLoss" in one.advice


@pytest.mark.parametrize(
    ("values", "advice"), [([-1.0, 1.0], "(y + 1) / 2"), ([1.0, 2.0], "y - 1"), ([0.0, 7.0], "map the targets")]
)
def test_targets_outside_of_0_to_1(values, advice):
    targets = af.tensor(values * 4).unsqueeze(1)
    one = only(found(nn.Linear(4, 1), nn.BCEWithLogitsLoss(), af.randn(8, 4), targets), "labels")
    assert advice in one.advice
    assert f"from {values[0]:g} to {values[1]:g}" in one.message


def test_probabilities_that_do_not_add_up():
    one = only(found(nn.Linear(4, 3), nn.CrossEntropyLoss(), af.randn(8, 4), af.full((8, 3), 0.5)), "labels")
    assert "add up to 1.5" in one.message


def test_targets_that_are_no_numbers():
    targets = af.randn(8, 1)
    targets[5, 0] = float("nan")
    one = only(found(nn.Linear(4, 1), nn.MSELoss(), af.randn(8, 4), targets), "labels")
    assert "[5, 0]" in one.message


def test_inputs_that_are_no_numbers():
    inputs = af.randn(8, 4)
    inputs[2, 3] = float("inf")
    one = only(found(nn.Linear(4, 1), nn.MSELoss(), inputs, af.randn(8, 1)), "inputs")
    assert "inf at index [2, 3]" in one.message

    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 1)

        def forward(self, x):
            return self.layer(af.nan_to_num(x, 0.0, 0.0, 0.0))

    assert found(Masked(), nn.MSELoss(), inputs, af.randn(8, 1)) == []


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int64])
def test_bytes_of_images(dtype):
    one = only(
        found(network(784, 8, 10), nn.CrossEntropyLoss(), af.tensor(np.rint(IMAGES * 255).astype(dtype)), labels()),
        "inputs",
    )
    assert "x / 255" in one.advice
    assert "from 0 to 25" in one.message
    assert (np.dtype(dtype).name in one.message) == (dtype is not np.float32)


def test_unscaled_columns():
    numbers = np.random.default_rng(0).standard_normal((64, 3)).astype(np.float32)
    one = only(found(network(3, 8, 1), nn.MSELoss(), af.tensor(numbers * 1000), af.randn(64, 1)), "inputs")
    assert "standard deviation" in one.message
    assert "x.mean(0)" in one.advice
    year = af.tensor(np.concatenate([numbers, numbers[:, :1] + 45], 1))
    one = only(found(network(4, 8, 1), nn.MSELoss(), year, af.randn(64, 1)), "inputs")
    assert "column 3" in one.message
    uneven = af.tensor(numbers * np.array([1e-5, 1, 1], np.float32))
    one = only(found(network(3, 8, 1), nn.MSELoss(), uneven, af.randn(64, 1)), "inputs")
    assert "very different scales" in one.message
    assert "column 0" in one.message
    zero_but_for_rounding = af.tensor(numbers * np.array([1e-33, 1, 1], np.float32))
    assert not found(network(3, 8, 1), nn.MSELoss(), zero_but_for_rounding, af.randn(64, 1), which=["inputs"])
    second = found(Two(), nn.MSELoss(), (af.randn(64, 3), 100 * af.randn(64, 5)), af.randn(64, 1))
    assert only(second, "inputs").message.startswith("inputs[1] enters linear")


def test_samples_that_are_all_the_same():
    one = only(found(nn.Linear(4, 1), nn.MSELoss(), af.zeros(8, 4), af.randn(8, 1), which=["inputs"]), "inputs")
    assert "every number is 0" in one.message


def test_float64_that_creeps_in():
    wide = found(nn.Linear(4, 1), nn.MSELoss(), af.randn(8, 4).double(), af.randn(8, 1))
    assert only(wide, "float64").message.startswith("inputs is float64, so linear computes in float64")
    scale = np.linspace(1, 2, 8)  # float64, as NumPy makes it
    inside = found(Within(lambda hidden: hidden * scale), nn.CrossEntropyLoss(), images(), labels())
    assert "multiply computes in float64" in only(inside, "float64").message
    assert "hidden * scale" in inside[0].site
    targets = found(nn.Linear(4, 1), nn.MSELoss(), af.randn(8, 4), af.randn(8, 1).double())
    assert "targets is float64" in only(targets, "float64").message


def test_a_path_that_is_cut():
    one = only(found(Within(lambda hidden: hidden.detach()), nn.CrossEntropyLoss(), images(), labels()), "parameters")
    assert one.names == ("first.weight", "first.bias")
    assert "detach()" in one.message
    assert "hidden.detach()" in one.site


def test_a_layer_that_is_not_used():
    model = network(784, 8, 10)
    model[0].spare = nn.Linear(2, 2)
    one = only(found(model, nn.CrossEntropyLoss(), images(), labels()), "parameters")
    assert one.names == ("0.spare.weight", "0.spare.bias")


def test_everything_frozen():
    model = network(784, 8, 10)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    model.requires_grad_(False)
    assert (
        "frozen"
        in only(found(model, nn.CrossEntropyLoss(), images(), labels(), optimizer=optimizer), "parameters").message
    )


def test_what_the_optimizer_holds():
    model, other = network(784, 8, 10), network(784, 8, 10)
    arguments = model, nn.CrossEntropyLoss(), images(), labels()
    part = only(found(*arguments, optimizer=optim.SGD(model[2].parameters(), lr=0.1)), "parameters")
    assert part.names == ("0.weight", "0.bias")
    assert "does not hold" in part.message
    none = only(found(*arguments, optimizer=optim.SGD(other.parameters(), lr=0.1)), "parameters")
    assert "none of the model's 4" in none.message
    both = optim.SGD([*model.parameters(), *other.parameters()], lr=0.1)
    assert "4 parameters that are not the model's" in only(found(*arguments, optimizer=both), "parameters").message


def test_parameters_that_are_dead():
    model = network(784, 8, 10)
    nn.init.constant_(model[0].bias, -100.0)
    one = only(found(model, nn.CrossEntropyLoss(), images(), labels()), "parameters")
    assert one.names == ("0.weight", "0.bias", "2.weight")
    assert "ReLU" in one.advice
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    one = only(found(model, nn.CrossEntropyLoss(), images(), labels()), "parameters")
    assert "start at 0" in one.advice
    no_slope = found(nn.Linear(4, 1), lambda out, y: (out * 0).sum(), af.randn(8, 4), af.randn(8, 1))
    assert "every parameter is exactly 0" in only(no_slope, "parameters").message


def test_a_gradient_that_is_wrong():
    one = only(found(Within(Square.apply), nn.CrossEntropyLoss(), images(), labels()), "gradients")
    assert set(one.names) == {"first.weight", "first.bias"}
    assert "the derivative of Square" in one.message
    assert "1/2 of what it should be" in one.advice
    assert "test_training_checks.py" in one.site


class Slightly(af.autograd.Function):
    """The identity, with a derivative of 0.999."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 0.999


def test_a_gradient_that_is_slightly_wrong():
    model = nn.Sequential(
        nn.Linear(784, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), Within(Slightly.apply, 16)
    )
    one = only(found(model, nn.CrossEntropyLoss(), images(), labels()), "gradients")
    assert "Slightly" in one.message


def test_kinks_and_noise_are_no_finding():
    at_kinks = Within(lambda hidden: (hidden * 0).relu() + hidden.round().detach() + hidden)
    assert found(at_kinks, nn.CrossEntropyLoss(), images(), labels()) == []
    model = network(784, 8, 10)
    generator = af.Generator()
    noisy = trainer_of(model, lambda out, y: F.cross_entropy(out + af.randn(32, 10, generator=generator)[: len(y)], y))
    notes = examine(noisy, images(), labels())
    assert [(one.kind, one.severity) for one in notes] == [("gradients", "info")]
    assert "two runs" in notes[0].message


def test_a_model_that_needs_float32_is_noted():
    def narrow(hidden):
        assert hidden.dtype == af.float32
        return hidden

    notes = examine(trainer_of(Within(narrow), nn.CrossEntropyLoss()), images(), labels())
    assert [(one.kind, one.severity) for one in notes] == [("gradients", "info")]
    assert "float64" in notes[0].message


@pytest.mark.parametrize(
    ("last", "loss", "said"),
    [
        (nn.Softmax(1), nn.CrossEntropyLoss(), "softmax comes before cross_entropy"),
        (nn.Sigmoid(), nn.CrossEntropyLoss(), "sigmoid comes before cross_entropy"),
        (nn.Softmax(1), nn.NLLLoss(), "softmax gives probabilities"),
        (nn.Identity(), nn.NLLLoss(), "takes log-probabilities"),
        (nn.Identity(), nn.BCELoss(), "takes probabilities, and the outputs run from"),
    ],
)
def test_outputs_that_the_loss_does_not_expect(last, loss, said):
    targets = af.rand(32, 10) if isinstance(loss, nn.BCELoss) else labels()
    one = only(found(nn.Sequential(nn.Linear(784, 10), last), loss, 3 * images(), targets), "output")
    assert said in one.message


# ---------------------------------------------------------------- choosing, telling, no trace


def test_checks_are_chosen_by_name():
    faults = nn.Sequential(nn.Linear(784, 10), nn.Softmax(1)), nn.CrossEntropyLoss(), 255 * images(), labels() + 1
    assert {one.kind for one in found(*faults)} == {"labels", "inputs"}
    assert only(found(*faults, which=["inputs"]), "inputs")
    assert only(found(*faults, which="labels"), "labels")
    assert found(*faults, which=False) == found(*faults, which=()) == []
    with pytest.raises(ShapeError, match=r"no check 'label'; did you mean 'labels'\?"):
        found(*faults, which=["label"])
    assert len(NAMES) == 7


def test_a_finding_is_a_warning_at_the_users_line():
    with pytest.warns(TrainingWarning, match="Subtract 1") as caught:
        announce(
            [Finding("labels", "the labels run from 1", "Subtract 1."), Finding("labels", "silent", severity="info")]
        )
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert "checks=False" in str(caught[0].message)
    assert "'labels'" in str(caught[0].message)


def test_a_step_that_raises_is_no_concern_of_the_checks():
    notes = examine(trainer_of(nn.Linear(3, 1), nn.MSELoss()), af.randn(8, 4), af.randn(8, 1))
    assert [one.severity for one in notes] == ["info"]
    assert "raises" in notes[0].message


def photograph(trainer: Trainer) -> dict[str, object]:
    """All that the checks may not change, to the last bit."""
    model, state = trainer.model, {}
    for name, one in [*model.named_parameters(), *model.named_buffers()]:
        gradient = one.grad
        state[name] = id(one), id(one.array), one.array.tobytes(), one.requires_grad
        state[f"{name}.grad"] = None if gradient is None else (id(gradient), gradient.array.tobytes())
    for name, module in model.named_modules():
        state[f"{name} mode"] = module.training
        state[f"{name} attributes"] = {
            key: list(value) if isinstance(value, list) else value
            for key, value in vars(module).items()
            if isinstance(value, (bool, int, str, list)) or key == "last"
        }
        if isinstance(getattr(module, "generator", None), np.random.Generator):
            state[f"{name} generator"] = module.generator.bit_generator.state
    state["random"] = af.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tobytes()
    state["numpy"] = np.random.get_state()[2:]
    state["optimizer"] = repr(trainer.optimizer.state_dict())
    state["grad mode"] = af.is_grad_enabled()
    return state


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fault", ["none", "dead", "wrong", "labels", "raises"])
def test_no_trace_is_left(training, fault):
    between = {"wrong": Square.apply}.get(fault, nn.ReLU())
    model = nn.Sequential(NoisyLayer(), nn.BatchNorm1d(10), nn.Dropout(0.5), Within(between, 10))
    if fault == "dead":
        nn.init.constant_(model[3].first.bias, -100.0)
    trainer = trainer_of(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.01))
    loss, _ = trainer.compute_loss(images(), labels())
    loss.backward()
    trainer.optimizer.step()
    model[3].second.weight.grad = None
    model.train(training)
    before = photograph(trainer)
    inputs = images()[:, :100] if fault == "raises" else images()
    findings = examine(trainer, inputs, labels() + 5 if fault == "labels" else labels())
    assert photograph(trainer) == before
    assert bool([one for one in findings if one.severity != "info"]) == (fault in ("dead", "wrong", "labels"))


def test_a_training_is_the_same_with_and_without_checks():
    def weights(checks):
        af.manual_seed(3)
        model = nn.Sequential(nn.Linear(784, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 10))
        trainer = trainer_of(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.01))
        trainer.fit(IMAGES, LABELS, epochs=2, batch_size=8, checks=checks, verbose=0)
        return [one.array.tobytes() for one in model.state_dict().values()]

    assert weights(True) == weights(False)


def test_layers_made_at_the_first_call_are_made_again():
    class Lazy(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = None
            self.head = nn.Linear(8, 10)

        def forward(self, x):
            if self.layer is None:
                self.layer = nn.Linear(x.shape[1], 8)
            return self.head(self.layer(x))

    model = Lazy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        examine(trainer_of(model, nn.CrossEntropyLoss()), images(), labels())
    assert model.layer is None
    assert [name for name, _ in model.named_parameters()] == ["head.weight", "head.bias"]


def test_a_loader_and_fit_together():
    data = DataLoader(TensorDataset(images(), labels() + 1), 16)
    trainer = trainer_of(network(784, 8, 10), nn.CrossEntropyLoss())
    with pytest.warns(UserWarning, match="Subtract 1"), pytest.raises(ShapeError):
        trainer.fit(data, verbose=0)
    assert [one.kind for one in trainer.check(data)] == ["labels"]


def test_losses_by_keras_names():
    """Keras's sparse losses take class numbers as floating numbers too, and with a last side of 1."""

    class Sparse:
        name = "sparse_categorical_crossentropy"
        ignore_class = None

        def __call__(self, outputs, targets):
            return F.cross_entropy(outputs.log(), targets.reshape(-1).long())

    model = nn.Sequential(nn.Linear(784, 10), nn.Softmax(1))
    for targets in (labels(), labels().unsqueeze(1), labels().float()):
        assert found(model, Sparse(), images(), targets) == []
        assert "Subtract 1" in only(found(model, Sparse(), images(), targets + 1), "labels").advice
