"""MixUp and CutMix: images and labels mixed in one proportion, in every place that takes them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autograd_ff as af
from autograd_ff import nn, optim
from autograd_ff import transforms as T
from autograd_ff.data import DataLoader, TensorDataset, datasets, default_collate
from autograd_ff.errors import DimensionError, DtypeError, ShapeError


def seeded(seed):
    return np.random.default_rng(seed)


def batch(seed, count, classes=4, dtype=np.float32):
    rng = seeded(seed)
    return rng.random((count, 2, 6, 5)).astype(dtype), rng.integers(0, classes, count)


@given(st.integers(0, 9999), st.integers(1, 6), st.sampled_from([0.2, 1.0, 5.0]))
@settings(deadline=None)
def test_mixup_against_a_naive_loop(seed, count, alpha):
    images, labels = batch(seed, count, dtype=np.float64)
    before = images.copy()
    share = seeded(seed).beta(alpha, alpha)
    mixed, soft = T.MixUp(alpha=alpha, num_classes=4, generator=seeded(seed))(images, af.from_numpy(labels))
    np.testing.assert_array_equal(images, before)
    assert soft.array.dtype == np.float32
    for at in range(count):
        np.testing.assert_allclose(mixed.array[at], share * images[at] + (1 - share) * images[at - 1], rtol=1e-14)
        expected = np.zeros(4)
        expected[labels[at]] += share
        expected[labels[at - 1]] += 1 - share
        np.testing.assert_allclose(soft.array[at], expected, rtol=1e-6)


@given(st.integers(0, 9999), st.integers(1, 6), st.sampled_from([np.uint8, np.float32]))
@settings(deadline=None)
def test_cutmix_takes_a_rectangle_and_labels_by_its_area(seed, count, dtype):
    labels = np.arange(count) % 4
    images = np.broadcast_to(np.arange(1, count + 1, dtype=dtype)[:, None, None, None], (count, 2, 6, 5))
    mixed, soft = T.CutMix(num_classes=4, generator=seeded(seed))(images, labels)
    assert mixed.array.dtype == dtype
    foreign = mixed.array != images
    own = 1 - foreign[0, 0].mean()
    for at in range(count):
        rows, columns = np.flatnonzero(foreign[at, 0].any(1)), np.flatnonzero(foreign[at, 0].any(0))
        if rows.size:
            assert foreign[at, :, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
            assert np.all(mixed.array[at][foreign[at]] == images[at - 1, 0, 0, 0])
        if count > 1:
            expected = np.zeros(4)
            expected[labels[at]] += own
            expected[labels[at - 1]] += 1 - own
            np.testing.assert_allclose(soft.array[at], expected, atol=1e-6)


def test_the_shares_of_cutmix_are_betas_in_the_middle_of_the_image():
    mix = T.CutMix(num_classes=2, generator=seeded(0))
    images = np.stack([np.zeros((40, 40)), np.ones((40, 40))])
    shares = np.array([mix(images, np.array([0, 1]))[1].array[0, 0] for _ in range(600)])
    assert shares.min() >= 0
    assert 0.55 < shares.mean() < 0.75  # above 1/2: rectangles are cut off at the border
    assert shares.std() > 0.15


def test_soft_labels_are_mixed_as_they_are():
    images, _ = batch(0, 3)
    soft = af.tensor([[0.5, 0.5], [1.0, 0.0], [0.25, 0.75]], dtype=af.float64)
    share = seeded(1).beta(1.0, 1.0)
    _, mixed = T.MixUp(generator=seeded(1))(images, soft)
    assert mixed.dtype == af.float64
    np.testing.assert_allclose(mixed.array, share * soft.array + (1 - share) * soft.array[[2, 0, 1]], rtol=1e-14)


@pytest.mark.parametrize("kind", [T.MixUp, T.CutMix])
def test_as_collate_function_read_at_once_or_one_by_one(kind, monkeypatch):
    def loaded(collate):
        data = datasets.MNIST(train=False, transform=T.ToTensor())
        af.manual_seed(3)
        return next(iter(DataLoader(data, batch_size=8, shuffle=True, collate_fn=collate)))

    mix = kind(num_classes=10, generator=seeded(0))
    fast = loaded(mix)
    assert isinstance(fast, list)
    mix = kind(num_classes=10, generator=seeded(0))
    slow = loaded(lambda samples: mix(samples))
    mix = kind(num_classes=10, generator=seeded(0))
    torchs = loaded(lambda samples: mix(*default_collate(samples)))
    for one, two, three in zip(fast, slow, torchs, strict=True):
        assert af.equal(one, two)
        assert af.equal(one, three)
    monkeypatch.setattr(datasets.images.LabelledImages, "__getitem__", None)
    loaded(kind(num_classes=10))  # no sample is asked for by itself


def test_a_subclass_that_changes_the_call_is_called():
    class Marked(T.MixUp):
        def __call__(self, *inputs):
            return "mine"

    data = TensorDataset(np.ones((4, 1, 2, 2), np.float32), np.arange(4))
    assert list(DataLoader(data, batch_size=2, collate_fn=Marked(num_classes=4))) == ["mine", "mine"]


def test_on_what_a_loader_gives_in_training():
    af.manual_seed(0)
    images, labels = batch(0, 64)
    images[np.arange(64), 0, 0, labels] += 3
    model = nn.Sequential(nn.Flatten(), nn.Linear(60, 4))
    optimizer, mix = optim.Adagrad(model.parameters(), lr=0.1), T.MixUp(alpha=0.2, num_classes=4)
    losses = []
    for _ in range(60):
        for pair in DataLoader(TensorDataset(images, labels), batch_size=32, shuffle=True):
            mixed, soft = mix(pair)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(mixed), soft)
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert (model(af.from_numpy(images)).argmax(1) == af.from_numpy(labels)).float().mean().item() > 0.8


def test_what_keeps_its_form():
    images, labels = batch(0, 4)
    mix = T.MixUp(num_classes=4)
    assert isinstance(mix(images, labels), tuple)
    assert isinstance(mix((images, labels)), tuple)
    assert isinstance(mix([images, labels]), list)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, y: T.MixUp(alpha=0), ShapeError, "above 0, got 0"),
        (lambda x, y: T.MixUp(num_classes=0), ShapeError, "from 1 up, got 0"),
        (lambda x, y: T.MixUp()(x, y), ShapeError, "need MixUp"),
        (lambda x, y: T.MixUp(num_classes=3)(x, np.array([0, 1, 3, 0])), DimensionError, "0 … 3, and num_classes=3 allows 0 … 2"),
        (lambda x, y: T.MixUp(num_classes=3)(x, y[:2]), ShapeError, r"\(4, 2, 6, 5\) and labels of shape \(2,\)"),
        (lambda x, y: T.MixUp(num_classes=3)(x, np.ones((4, 2))), ShapeError, r"num_classes=3, and labels have shape \(4, 2\)"),
        (lambda x, y: T.MixUp(num_classes=3)(x, y.astype(float)), ShapeError, "float64 of shape"),
        (lambda x, y: T.MixUp(num_classes=4)((x * 255).astype(np.uint8), y), DtypeError, r"got uint8; put ToTensor\(\) before"),
        (lambda x, y: T.MixUp(num_classes=4)(x, y, y), ShapeError, r"\(images, labels\), got 3 parts"),
        (lambda x, y: T.MixUp(num_classes=4)({"x": x}), ShapeError, r"\(images, labels\), got a dict"),
        (lambda x, y: T.CutMix(num_classes=4)(x[:, 0, 0], y), ShapeError, r"\(B, …, H, W\), got \(4, 5\)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call(*batch(0, 4, 3))
    assert "test_mixing.py" in str(caught.value)


def test_reprs():
    assert repr(T.MixUp(alpha=0.2, num_classes=10)) == "MixUp(alpha=0.2, num_classes=10)"
    assert repr(T.CutMix()) == "CutMix(alpha=1.0, num_classes=None)"
