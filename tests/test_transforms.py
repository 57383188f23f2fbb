"""Transforms: torchvision's values, and a batch at once equal to sample by sample, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autograd_ff import engine
from autograd_ff.data.batching import batched, has_batch_form
from autograd_ff.data.transforms import Compose, Lambda, Normalize, ToTensor
from autograd_ff.engine import wrap
from autograd_ff.errors import DtypeError, ShapeError


def pixels(seed, shape):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# ---------------------------------------------------------------- ToTensor


def test_every_pixel_value_is_the_correctly_rounded_quotient():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    exact = (values.astype(np.float64) / 255).astype(np.float32)
    np.testing.assert_array_equal(ToTensor()(values).array[0], exact)


def test_every_pixel_value_is_torchs():
    torch = pytest.importorskip("torch")
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    theirs = torch.from_numpy(values)[None].to(torch.float32).div(255)  # torchvision's formula
    np.testing.assert_array_equal(ToTensor()(values).array, theirs.numpy())


@given(st.integers(0, 99), st.integers(1, 5), st.integers(1, 5), st.sampled_from([None, 1, 3, 4]))
@settings(deadline=None)
def test_channels_come_first(seed, height, width, channels):
    image = pixels(seed, (height, width) if channels is None else (height, width, channels))
    made = ToTensor()(wrap(image)).array
    assert made.shape == (channels or 1, height, width)
    assert made.dtype == np.float32
    assert made.flags.c_contiguous
    for row in range(height):
        for column in range(width):
            np.testing.assert_array_equal(made[:, row, column], np.atleast_1d(image[row, column]) / np.float32(255))


def test_it_reads_pil_images():
    image_class = pytest.importorskip("PIL.Image")
    array = pixels(0, (5, 7, 3))
    np.testing.assert_array_equal(ToTensor()(image_class.fromarray(array)).array, ToTensor()(array).array)
    assert ToTensor()(image_class.new("1", (3, 2), 1)).tolist() == [[[1.0] * 3] * 2]


def test_values_that_are_no_bytes_keep_their_value():
    image = np.random.default_rng(0).normal(size=(3, 4))
    made = ToTensor()(image)
    np.testing.assert_array_equal(made.array[0], image)
    assert not np.shares_memory(made.array, image)
    assert ToTensor()(np.array([[True, False]])).tolist() == [[[1.0, 0.0]]]


def test_the_default_dtype_is_used():
    image = pixels(0, (2, 2))
    engine.set_default_dtype(np.float64)
    try:
        np.testing.assert_array_equal(ToTensor()(image).array[0], image / 255)
    finally:
        engine.set_default_dtype(np.float32)


@pytest.mark.parametrize("shape", [(), (3,), (1, 2, 3, 4)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ShapeError, match=r"\(H, W\) or \(H, W, C\), got"):
        ToTensor()(np.zeros(shape, dtype=np.uint8))


def test_text_is_refused():
    with pytest.raises(DtypeError, match="images of numbers"):
        ToTensor()(np.array([["a"]]))


# ---------------------------------------------------------------- Normalize


@given(st.integers(0, 99), st.sampled_from([1, 3]), st.sampled_from([np.float32, np.float64]), st.booleans())
@settings(deadline=None)
def test_normalize_standardises_each_channel(seed, channels, dtype, batch):
    rng = np.random.default_rng(seed)
    images = rng.random(((2,) if batch else ()) + (channels, 4, 3)).astype(dtype)
    mean, std = rng.random(channels), rng.random(channels) + 0.1
    made = Normalize(tuple(mean), tuple(std))(wrap(images)).array
    assert made.dtype == dtype
    for channel in range(channels):
        part = images[..., channel, :, :]
        np.testing.assert_array_equal(made[..., channel, :, :], (part - dtype(mean[channel])) / dtype(std[channel]))


def test_normalize_leaves_its_input_alone_unless_asked():
    image = wrap(np.ones((1, 2, 2), dtype=np.float32))
    Normalize(0.5, 0.5)(image)
    assert image.array.min() == 1
    assert Normalize(0.0, 0.5, inplace=True)(image) is image
    assert image.array.min() == 2


def test_normalize_differentiates():
    image = wrap(np.ones((1, 2, 2), dtype=np.float32))
    image.requires_grad = True
    made = Normalize(0.5, 0.25)(image)
    made.backward(wrap(np.ones((1, 2, 2), dtype=np.float32)))
    np.testing.assert_array_equal(image.grad.array, np.full((1, 2, 2), 4.0))


def test_normalize_says_what_does_not_fit():
    with pytest.raises(ShapeError, match="divide by zero"):
        Normalize(0.5, (1.0, 0.0))
    with pytest.raises(ShapeError, match="3 numbers in mean for the 1 channels"):
        Normalize((0.1, 0.2, 0.3), (1.0, 1.0, 1.0))(np.zeros((1, 2, 2)))
    with pytest.raises(DtypeError, match=r"put ToTensor\(\) before it"):
        Normalize(0.5, 0.5)(pixels(0, (1, 2, 2)))
    with pytest.raises(ShapeError, match="zero in float16"):
        Normalize(0.5, 1e-9)(np.zeros((1, 2, 2), dtype=np.float16))


# ---------------------------------------------------------------- a batch at once

CHAINS = [
    ToTensor(),
    Compose([ToTensor()]),
    Compose([ToTensor(), Normalize((0.1307,), (0.3081,))]),
    Compose([Compose([ToTensor(), Normalize(0.5, 0.5)]), Normalize(0.1, 3.0)]),
    Compose([]),
]


@given(st.integers(0, 999), st.sampled_from(CHAINS), st.integers(0, 4), st.sampled_from([None, 1, 3]))
@settings(deadline=None)
def test_a_batch_equals_its_samples_bit_for_bit(seed, chain, count, channels):
    images = pixels(seed, (count, 5, 4) if channels is None else (count, 5, 4, channels))
    run = batched(chain, "__call__")
    assert run is not None
    whole = run(images.copy())
    assert len(whole) == count
    for one, image in zip(whole, images, strict=True):
        expected = chain(wrap(image)).array
        assert one.dtype == expected.dtype
        np.testing.assert_array_equal(one, expected)


def test_a_function_of_ones_own_has_no_batch_form():
    assert batched(Compose([ToTensor(), Lambda(lambda x: x)]), "__call__") is None
    assert batched(Lambda(lambda x: x), "__call__") is None
    assert batched(lambda x: x, "__call__") is None


def test_a_subclass_that_changes_the_sample_loses_the_batch_form():
    class Inverted(ToTensor):
        def __call__(self, pic):
            return 1 - super().__call__(pic)

    class Renamed(ToTensor):
        pass

    assert not has_batch_form(Inverted(), "__call__")
    assert has_batch_form(Renamed(), "__call__")
    assert batched(Compose([Inverted()]), "__call__") is None


# ---------------------------------------------------------------- the rest


def test_lambda_and_compose_call_in_order():
    assert Compose([Lambda(lambda x: x + 1), lambda x: x * 10])(1) == 20
    with pytest.raises(DtypeError, match="takes a function, got int"):
        Lambda(3)


def test_reprs_are_torchvisions():
    chain = Compose([ToTensor(), Normalize((0.1307,), (0.3081,)), Lambda(abs)])
    assert repr(chain) == ("Compose(\n    ToTensor()\n    Normalize(mean=(0.1307,), std=(0.3081,))\n    Lambda()\n)")
