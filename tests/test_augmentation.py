"""Random transforms: what parameters make of pixels, which parameters are drawn, and a batch beside its images."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import autograd_ff as af
from autograd_ff import transforms as T
from autograd_ff.data import DataLoader, datasets
from autograd_ff.data.batching import batched
from autograd_ff.errors import CaptureError, DtypeError, InplaceError, ShapeError

DTYPES = [np.uint8, np.float16, np.float32, np.float64, np.int16, np.bool_]


def pixels(seed, shape, dtype=np.float32):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.random(shape).astype(dtype)
    return rng.integers(0, 2 if dtype == np.bool_ else 256, shape).astype(dtype)


def seeded(seed):
    return np.random.default_rng(seed)


MAKERS = {
    "crop": lambda g: T.RandomCrop((4, 3), generator=g),
    "padded crop": lambda g: T.RandomCrop(5, padding=(1, 2, 3, 0), fill=1, generator=g),
    "crop with mirrored border": lambda g: T.RandomCrop(6, padding=2, padding_mode="reflect", generator=g),
    "crop padded where needed": lambda g: T.RandomCrop((9, 4), pad_if_needed=True, padding_mode="edge", generator=g),
    "flip": lambda g: T.RandomHorizontalFlip(generator=g),
    "rotation": lambda g: T.RandomRotation(40, generator=g),
    "smooth rotation": lambda g: T.RandomRotation((10, 300), "bilinear", center=(1, 2.5), fill=1, generator=g),
    "affine": lambda g: T.RandomAffine(20, (0.2, 0.4), (0.7, 1.4), 15, generator=g),
    "smooth affine": lambda g: T.RandomAffine(20, (0.2, 0.4), (0.7, 1.4), (5, 20, -9, 3), "bilinear", 1, generator=g),
    "erasing": lambda g: T.RandomErasing(0.7, generator=g),
    "erasing with one": lambda g: T.RandomErasing(0.7, value=1, generator=g),
}
FLOATING = {
    **MAKERS,
    "erasing with noise": lambda g: T.RandomErasing(0.7, value="random", generator=g),
    "noise": lambda g: T.GaussianNoise(0.1, 0.3, generator=g),
    "noise beyond": lambda g: T.GaussianNoise(0.1, 0.3, clip=False, generator=g),
}


# ---------------------------------------------------------------- a batch beside its images


@pytest.mark.parametrize("name", FLOATING)
@given(seed=st.integers(0, 9999), count=st.integers(0, 5), channels=st.sampled_from([None, 1, 3]))
@settings(deadline=None, max_examples=10)
def test_a_batch_draws_and_makes_what_its_images_do_one_by_one(name, seed, count, channels):
    for dtype in DTYPES if name in MAKERS else [np.float16, np.float32, np.float64]:
        images = pixels(seed, (count, 6, 5) if channels is None else (count, channels, 6, 5), dtype)
        before = images.copy()
        single = FLOATING[name](seeded(seed))
        expected = [single(af.from_numpy(image)).array for image in images]
        np.testing.assert_array_equal(images, before)
        whole = batched(FLOATING[name](seeded(seed)), "__call__")(images.copy())
        assert len(whole) == count
        assert whole.dtype == dtype
        for one, two in zip(whole, expected, strict=True):
            assert two.dtype == dtype
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", FLOATING)
def test_the_same_parameters_make_the_same_pixels_in_any_batch(name):
    images = pixels(3, (7, 2, 40, 30), np.float64)
    transform = FLOATING[name](seeded(3))
    params = transform.make_params(images)
    whole = transform.transform(images, params)
    for at in range(7):
        alone = transform.transform(
            images[at : at + 1], {key: None if value is None else value[at : at + 1] for key, value in params.items()}
        )
        np.testing.assert_array_equal(whole[at], alone[0])


@pytest.mark.parametrize("name", FLOATING)
def test_four_dimensions_are_a_batch_whose_images_draw_for_themselves(name):
    images = np.repeat(pixels(1, (1, 2, 6, 5)), 40, axis=0)
    made = FLOATING[name](seeded(0))(af.from_numpy(images)).array
    np.testing.assert_array_equal(made, batched(FLOATING[name](seeded(0)), "__call__")(images.copy()))
    assert len(np.unique(made.reshape(40, -1), axis=0)) > 1


def test_the_default_generator_is_drawn_from():
    image = af.rand(1, 28, 28)
    for make in FLOATING.values():
        made = []
        for seed in (5, 5, 6):
            af.manual_seed(seed)
            made.append(make(None)(af.stack([image] * 8)))
        assert af.equal(made[0], made[1])
        assert not af.equal(made[0], made[2])


def test_a_loader_takes_the_batch_form_and_equals_one_by_one():
    def loaded(chain):
        data = datasets.MNIST(train=False, transform=chain)
        return next(iter(DataLoader(data, batch_size=16)))[0].array

    def chain(*more):
        return T.Compose(
            [
                T.RandomAffine(10, (0.1, 0.1), generator=seeded(0)),
                T.ToTensor(),
                T.RandomErasing(generator=seeded(1)),
                *more,
            ]
        )

    assert batched(chain(), "__call__") is not None
    assert batched(chain(T.Lambda(lambda x: x)), "__call__") is None
    np.testing.assert_array_equal(loaded(chain()), loaded(chain(T.Lambda(lambda x: x))))


def test_a_transform_of_ones_own():
    class Dimmed(T.RandomTransform):
        def make_params(self, images):
            return {"factor": self.generator.random(len(images)).astype(np.float32)}

        def transform(self, images, params):
            return images * params["factor"][:, None, None, None]

    images = pixels(0, (5, 3, 4))
    whole = batched(Dimmed(seeded(0)), "__call__")(images)
    single = Dimmed(seeded(0))
    np.testing.assert_array_equal(whole, [single(image).array for image in images])


def test_transforms_can_be_copied_and_pickled():
    image = af.rand(1, 9, 9)
    for make in FLOATING.values():
        transform = make(seeded(4))
        twins = [copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))]
        expected = transform(image)
        assert all(af.equal(twin(image), expected) for twin in twins)


# ---------------------------------------------------------------- crops and flips


def pad_naively(image, left, top, right, bottom, mode, fill):
    height, width = image.shape
    made = np.empty((height + top + bottom, width + left + right), image.dtype)
    for row in range(made.shape[0]):
        for column in range(made.shape[1]):
            y, x = row - top, column - left
            if mode == "constant":
                made[row, column] = image[y, x] if 0 <= y < height and 0 <= x < width else fill
                continue
            places = []
            for at, size in ((y, height), (x, width)):
                if mode == "edge":
                    places.append(min(max(at, 0), size - 1))
                else:
                    shift = 1 if mode == "symmetric" else 0
                    at = -at - shift if at < 0 else at
                    places.append(2 * (size - 1) - at + shift if at >= size else at)
            made[row, column] = image[places[0], places[1]]
    return made


@given(
    seed=st.integers(0, 9999),
    mode=st.sampled_from(["constant", "edge", "reflect", "symmetric"]),
    padding=st.one_of(
        st.integers(0, 3), st.lists(st.integers(0, 3), min_size=2, max_size=2), st.tuples(*[st.integers(0, 3)] * 4)
    ),
    dtype=st.sampled_from(DTYPES),
)
@settings(deadline=None, max_examples=60)
def test_crops_against_a_naive_loop(seed, mode, padding, dtype):
    image = pixels(seed, (5, 4), dtype)
    left, top, right, bottom = (
        (padding,) * 4 if isinstance(padding, int) else (*padding, *padding) if len(padding) == 2 else padding
    )
    transform = T.RandomCrop((3, 2), padding, fill=1, padding_mode=mode, generator=seeded(seed))
    params = transform.make_params(image[None, None])
    made = transform.transform(image[None, None], params)[0, 0]
    padded = pad_naively(image, left, top, right, bottom, mode, 1)
    y, x = params["top"][0], params["left"][0]
    np.testing.assert_array_equal(made, padded[y : y + 3, x : x + 2])


def test_crops_come_from_every_place_alike():
    transform = T.RandomCrop((3, 2), generator=seeded(0))
    params = transform.make_params(np.zeros((6000, 1, 5, 4)))
    places, counts = np.unique(np.stack([params["top"], params["left"]]), axis=1, return_counts=True)
    assert places.T.tolist() == [[row, column] for row in range(3) for column in range(3)]
    assert np.all(abs(counts - 6000 / 9) < 120)


def test_a_small_image_is_padded_where_needed():
    image = pixels(0, (1, 3, 8))
    made = T.RandomCrop(5, pad_if_needed=True, generator=seeded(0))(image)
    assert made.shape == (1, 5, 5)
    with pytest.raises(ShapeError, match=r"5 × 5 pixels out of images of 3 × 8(.|\n)*pad_if_needed=True"):
        T.RandomCrop(5)(image)
    with pytest.raises(ShapeError, match="which are 4 × 9 with their padding"):
        T.RandomCrop(5, padding=(0, 0, 1, 1))(image)


def test_channels_may_be_filled_by_their_own_values():
    made = T.RandomCrop(3, padding=3, fill=(0.1, 0.2, 0.3), generator=seeded(1))
    images = np.ones((50, 3, 1, 1), np.float32)
    padded = made._pad(images)
    np.testing.assert_array_equal(padded[:, :, 0, 0], np.tile(np.array([0.1, 0.2, 0.3], np.float32), (50, 1)))
    assert np.all(padded[:, :, 3, 3] == 1)
    turned = T.RandomRotation((45, 45), fill=(0.1, 0.2, 0.3))(np.ones((3, 5, 5)))
    assert turned.array[:, 0, 0].tolist() == [0.1, 0.2, 0.3]


@given(st.integers(0, 999), st.sampled_from([0.0, 0.3, 1.0]))
@settings(deadline=None)
def test_flips(seed, p):
    images = pixels(seed, (20, 1, 3, 4))
    transform = T.RandomHorizontalFlip(p, generator=seeded(seed))
    params = transform.make_params(images)
    for one, image, flipped in zip(transform.transform(images, params), images, params["flipped"], strict=True):
        np.testing.assert_array_equal(one, np.flip(image, 2) if flipped else image)
    assert params["flipped"].all() if p == 1 else not params["flipped"].all()


# ---------------------------------------------------------------- rotations and affine maps


def moved(images, angle=0.0, translate=(0.0, 0.0), scale=1.0, shear=(0.0, 0.0), **options):
    """The images under given parameters of RandomAffine."""
    count = len(images)
    params = {
        "angle": np.full(count, angle), "translate": np.tile(translate, (count, 1)).astype(float),
        "scale": np.full(count, scale), "shear": np.tile(shear, (count, 1)).astype(float),
    }  # fmt: skip
    return T.RandomAffine(0, **options).transform(images, params)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@given(seed=st.integers(0, 999), dtype=st.sampled_from(DTYPES), height=st.integers(1, 7), width=st.integers(1, 7))
@settings(deadline=None, max_examples=25)
def test_no_motion_quarter_turns_and_whole_shifts_are_exact(interpolation, seed, dtype, height, width):
    images = pixels(seed, (3, 2, height, width), dtype)
    np.testing.assert_array_equal(T.RandomAffine(0, interpolation=interpolation)(images).array, images)
    half = T.RandomRotation((180, 180), interpolation)(images).array
    np.testing.assert_array_equal(half, np.rot90(images, 2, axes=(2, 3)))
    rng = seeded(seed)
    x, y = int(rng.integers(-width, width + 1)), int(rng.integers(-height, height + 1))
    shifted = moved(images, translate=(x, y), interpolation=interpolation, fill=1)
    expected = np.ones_like(images)
    for row in range(height):
        for column in range(width):
            if 0 <= row - y < height and 0 <= column - x < width:
                expected[..., row, column] = images[..., row - y, column - x]
    np.testing.assert_array_equal(shifted, expected)
    square = pixels(seed, (3, 2, height, height), dtype)
    for turns in (-1, 1, 2, 3):
        made = T.RandomRotation((90 * turns, 90 * turns), interpolation)(square).array
        np.testing.assert_array_equal(made, np.rot90(square, turns, axes=(2, 3)))
        np.testing.assert_array_equal(moved(square, angle=-90 * turns, interpolation=interpolation), made)


def forward_matrix(angle, translate, scale, shear, center):
    """The map from input to output in homogeneous x, y and 1, its parts multiplied one after another."""

    def shift(x, y):
        return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])

    turn, (across, down) = np.radians(angle), np.tan(np.radians(shear))
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    along_x, along_y = np.eye(3), np.eye(3)
    along_x[0, 1], along_y[1, 0] = -across, -down
    size = np.diag([scale, scale, 1])
    return shift(*translate) @ shift(*center) @ rotation @ along_y @ along_x @ size @ shift(-center[0], -center[1])


@pytest.mark.parametrize("order", [0, 1])
@given(
    seed=st.integers(0, 9999), angle=st.floats(-180, 180), scale=st.floats(0.4, 2.5),
    shear=st.tuples(st.floats(-50, 50), st.floats(-50, 50)), translate=st.tuples(st.integers(-3, 3), st.integers(-3, 3)),
    center=st.sampled_from([None, (0.0, 0.0), (3.0, 7.5)]),
)  # fmt: skip
@settings(deadline=None, max_examples=40)
def test_every_affine_map_against_scipys_of_one_image(order, seed, angle, scale, shear, translate, center):
    images = pixels(seed, (2, 1, 9, 8), np.float64)
    made = moved(
        images, angle, translate, scale, shear, interpolation=("nearest", "bilinear")[order], center=center, fill=0.25
    )
    # scipy's rows before columns, about pixel (0, 0); a center is given from the corner half a pixel further out.
    x, y = (3.5, 4.0) if center is None else (center[0] - 0.5, center[1] - 0.5)
    inverse = np.linalg.inv(forward_matrix(angle, translate, scale, shear, (x, y)))
    swapped = inverse[[1, 0, 2]][:, [1, 0, 2]]
    places = np.einsum("ij,jrc->irc", swapped[:2, :2], np.indices((9, 8))) + swapped[:2, 2, None, None]
    for one, image in zip(made[:, 0], images[:, 0], strict=True):
        expected = ndimage.affine_transform(image, swapped, order=order, mode="grid-constant", cval=0.25)
        if order:
            np.testing.assert_allclose(one, expected, atol=1e-6)
        else:  # just between two pixels a rounding decides
            clear = np.all(abs(places - np.floor(places) - 0.5) > 1e-6, axis=0)
            np.testing.assert_array_equal(one[clear], expected[clear])


@given(st.floats(-180, 180), st.floats(0.8, 1.25), st.floats(-20, 20))
@settings(deadline=None, max_examples=30)
def test_the_inverse_motion_leads_back(angle, scale, shear):
    y, x = np.mgrid[-1:1:41j, -1:1:41j]
    image = np.exp(-6 * ((x - 0.1) ** 2 + 1.5 * (y + 0.05) ** 2))[None, None]  # smooth, and almost 0 at its border
    there = moved(image, angle, scale=scale, interpolation="bilinear")
    back = moved(there, -angle, scale=1 / scale, interpolation="bilinear")
    np.testing.assert_allclose(back, image, atol=0.06)
    slanted = moved(image, shear=(shear, 0.0), interpolation="bilinear")
    np.testing.assert_allclose(moved(slanted, shear=(-shear, 0.0), interpolation="bilinear"), image, atol=0.06)


def test_rotations_are_counter_clockwise_and_affine_ones_clockwise():
    image = np.zeros((1, 1, 5, 5))
    image[0, 0, 0, 2] = 1  # twelve o'clock
    assert T.RandomRotation((90, 90))(image).array[0, 0, 2, 0] == 1
    assert T.RandomAffine((90, 90))(image).array[0, 0, 2, 4] == 1


def test_parameters_fill_their_ranges():
    images = np.zeros((4000, 1, 20, 10))
    transform = T.RandomAffine((-10, 40), (0.3, 0.1), (0.5, 2), (-5, 5, 10, 20), generator=seeded(0))
    params = transform.make_params(images)
    (x, y), (along, down) = params["translate"].T, params["shear"].T
    for values, low, high in [
        (params["angle"], -10, 40), (x, -3, 3), (y, -2, 2), (params["scale"], 0.5, 2), (along, -5, 5), (down, 10, 20),
    ]:  # fmt: skip
        assert low <= values.min() <= low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) <= values.max() <= high
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.03 * (high - low))
    assert np.all(params["translate"] == np.rint(params["translate"]))
    together = np.corrcoef([params["angle"], x, y, params["scale"], along, down])
    assert abs(together - np.eye(6)).max() < 0.06
    angles = T.RandomRotation(30, generator=seeded(0)).make_params(images)["angle"]
    assert -30 <= angles.min() < -29.5
    assert 29.5 < angles.max() <= 30


def test_nothing_bleeds_from_one_image_into_the_next():
    images = np.zeros((3, 2, 6, 6), np.float32)
    images[1] = np.nan
    images[2] = np.inf
    made = moved(images, 30, (1, -2), 0.8, interpolation="bilinear")
    assert np.all(made[0] == 0)
    assert np.isnan(made[1]).any()
    assert not np.isnan(made[2][..., 2:4, 2:4]).any()


# ---------------------------------------------------------------- erasing


@given(st.integers(0, 9999), st.sampled_from([0, 1, 0.5, (0.1, 0.2, 0.3)]))
@settings(deadline=None)
def test_rectangles_are_erased_and_nothing_else(seed, value):
    images = pixels(seed, (30, 3, 12, 9)) + np.float32(2)
    transform = T.RandomErasing(0.5, (0.1, 0.4), (0.5, 2.0), value, generator=seeded(seed))
    params = transform.make_params(images)
    made = transform.transform(images, params)
    for image, one, (top, left, height, width) in zip(images, made, params["boxes"], strict=True):
        expected = image.copy()
        for channel in range(3):
            filled = value[channel] if isinstance(value, tuple) else value
            expected[channel, top : top + height, left : left + width] = filled
        np.testing.assert_array_equal(one, expected)
        assert 0 <= top <= 12 - height
        assert 0 <= left <= 9 - width
        if height:  # within the ranges, up to rounding both sides
            assert (height - 0.5) * (width - 0.5) <= 0.4 * 108
            assert (height + 0.5) * (width + 0.5) >= 0.1 * 108
            assert (height - 0.5) / (width + 0.5) <= 2
            assert (height + 0.5) / (width - 0.5) >= 0.5


def test_the_share_the_areas_and_the_ratios_of_erased_images():
    transform = T.RandomErasing(0.3, (0.05, 0.15), (0.25, 4), generator=seeded(0))
    boxes = transform.make_params(np.zeros((5000, 1, 100, 100)))["boxes"]
    erased = boxes[boxes[:, 2] > 0]
    assert len(erased) == pytest.approx(1500, abs=120)
    areas, ratios = erased[:, 2] * erased[:, 3] / 10_000, np.log(erased[:, 2] / erased[:, 3])
    assert areas.mean() == pytest.approx(0.1, abs=0.003)
    assert ratios.mean() == pytest.approx(0, abs=0.08)
    assert ratios.std() == pytest.approx(2 * np.log(4) / np.sqrt(12), abs=0.05)
    places = erased[:, :2] / (100 - erased[:, 2:])
    assert np.all(abs(places.mean(axis=0) - 0.5) < 0.04)
    assert places.min(axis=0).tolist() == [0, 0]
    assert places.max(axis=0).tolist() == [1, 1]
    assert abs(np.corrcoef(places.T)[0, 1]) < 0.1


def test_what_does_not_fit_stays_whole():
    images = pixels(0, (20, 1, 4, 4))
    made = T.RandomErasing(1.0, (1.0, 1.0), (1.0, 1.0), generator=seeded(0))(images)
    np.testing.assert_array_equal(made.array, images)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_erasing_with_noise(dtype):
    images = np.full((40, 1, 40, 40), 7, dtype)
    made = T.RandomErasing(1.0, (0.3, 0.3), value="random", generator=seeded(0))(images).array
    noise = made[made != 7].astype(np.float64)
    assert noise.mean() == pytest.approx(127.5 if dtype == np.uint8 else 0, abs=2 if dtype == np.uint8 else 0.03)
    assert noise.std() == pytest.approx(73.9 if dtype == np.uint8 else 1, rel=0.03)
    with pytest.raises(DtypeError, match=r'value="random".*int16'):
        T.RandomErasing(value="random")(np.zeros((3, 3), np.int16))


def test_erasing_in_place():
    image = af.ones(1, 8, 8)
    version = af.engine.versions.version(image.array)
    made = T.RandomErasing(1.0, inplace=True, generator=seeded(0))(image)
    assert made is image
    assert 0 < (image.array == 0).sum() < 64
    assert af.engine.versions.version(image.array) > version
    array = np.ones((8, 8))
    assert np.shares_memory(T.RandomErasing(1.0, inplace=True)(array).array, array)
    array.flags.writeable = False
    with pytest.raises(InplaceError, match="read-only"):
        T.RandomErasing(1.0, inplace=True)(array)


# ---------------------------------------------------------------- noise


def test_noise_has_its_mean_and_its_deviation():
    images = np.full((100, 1, 30, 30), 0.5, np.float32)
    noise = T.GaussianNoise(0.1, 0.05, generator=seeded(0))(images).array - 0.5
    assert noise.mean() == pytest.approx(0.1, abs=0.001)
    assert noise.std() == pytest.approx(0.05, rel=0.01)
    assert abs(np.corrcoef(noise[:50].ravel(), noise[50:].ravel())[0, 1]) < 0.02
    bytes_ = np.full((100, 30, 30), 100, np.uint8)
    noise = batched(T.GaussianNoise(0.1, 0.05, generator=seeded(0)), "__call__")(bytes_).astype(float) - 100
    assert noise.mean() == pytest.approx(25.5, abs=0.2)
    assert noise.std() == pytest.approx(0.05 * 255, rel=0.02)


def test_noise_stays_within_the_pixels_range_unless_told():
    for image in (np.zeros((20, 20), np.uint8), np.ones((20, 20)), np.full((20, 20), 255, np.uint8)):
        made = T.GaussianNoise(sigma=2.0)(image).array
        top = 255 if image.dtype == np.uint8 else 1
        assert made.min() == 0
        assert made.max() == top
    assert T.GaussianNoise(sigma=2.0, clip=False)(np.ones((20, 20))).array.max() > 1
    with pytest.warns(UserWarning, match=r"-2 … 1 down to 0 … 1; put it before Normalize"):
        T.GaussianNoise()(np.array([[-2.0, 1.0]]))
    with pytest.raises(DtypeError, match=r"needs ToTensor\(\) before it"):
        T.GaussianNoise(clip=False)(np.zeros((2, 2), np.uint8))
    with pytest.raises(DtypeError, match="floating and uint8 images, got int64"):
        T.GaussianNoise()(np.zeros((2, 2), np.int64))


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: T.RandomCrop(0), "at least 1, got 0"),
        (lambda: T.RandomCrop((2, 3, 4)), r"size is a pair of numbers, got \(2, 3, 4\)"),
        (lambda: T.RandomCrop(2.5), r"size is a pair of integers, got \(2.5, 2.5\)"),
        (lambda: T.RandomCrop(2, padding=-1), "padding is one, two or four integers from 0 up, got -1"),
        (lambda: T.RandomCrop(2, padding=(1, 2, 3)), r"padding is one, two or four integers from 0 up, got \(1, 2, 3\)"),
        (lambda: T.RandomCrop(2, padding_mode="wrap"), "constant, edge, reflect, symmetric, got 'wrap'"),
        (lambda: T.RandomHorizontalFlip(1.5), "from 0 to 1, got 1.5"),
        (lambda: T.RandomRotation(-5), "at least 0, got -5"),
        (lambda: T.RandomRotation((5, -5)), r"\(least, most\), got \(5, -5\)"),
        (lambda: T.RandomRotation(float("nan")), "got nan"),
        (lambda: T.RandomRotation(5, expand=True), "expand=True is not offered"),
        (lambda: T.RandomRotation(5, "cubic"), '"nearest" or "bilinear", got \'cubic\''),
        (lambda: T.RandomRotation(5, center=3), "center is a pair of numbers, got 3"),
        (lambda: T.RandomAffine(5, translate=(0.1, 1.5)), "from 0 to 1"),
        (lambda: T.RandomAffine(5, scale=(0, 1)), "above 0"),
        (lambda: T.RandomAffine(5, scale=(2, 1)), "above 0"),
        (lambda: T.RandomAffine(5, shear=90), "less than 90 degrees, got 90"),
        (lambda: T.RandomAffine(5, shear=(1, 2, 3)), "shear is a pair of numbers"),
        (lambda: T.RandomErasing(scale=(0.5, 0.1)), r"from 0 to 1, got \(0.5, 0.1\)"),
        (lambda: T.RandomErasing(ratio=(0, 1)), "above 0"),
        (lambda: T.RandomErasing(value="white"), "got 'white'"),
        (lambda: T.GaussianNoise(sigma=-1), "at least 0, got -1"),
        (lambda: T.RandomCrop(3, padding=1, fill=(1, 2))(np.zeros((3, 4, 4))), "each of the 3 channels"),
        (lambda: T.RandomCrop(3, padding=4, padding_mode="reflect")(np.zeros((4, 4))), "less padding than there are"),
    ],
)  # fmt: skip
def test_arguments_out_of_range(make, message):
    with pytest.raises(ShapeError, match=message) as caught:
        make()
    assert isinstance(caught.value, ValueError)
    assert "test_augmentation.py" in str(caught.value)


@pytest.mark.parametrize("name", FLOATING)
def test_what_is_no_image_is_refused(name):
    transform = FLOATING[name](None)
    for shape in ((), (3,), (1, 1, 1, 3, 3)):
        with pytest.raises(ShapeError, match=r"\(H, W\), \(C, H, W\) or \(B, C, H, W\), got"):
            transform(np.zeros(shape))
    with pytest.raises(ShapeError, match=r"\(H, W\) or \(C, H, W\), got \(3,\)"):
        batched(transform, "__call__")(np.zeros((5, 3)))
    with pytest.raises(ShapeError, match=r"channels last(.|\n)*put ToTensor\(\) before it"):
        transform(np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(DtypeError, match="real numbers, got complex64"):
        transform(np.zeros((3, 3), np.complex64))
    with pytest.raises(DtypeError, match="requires grad is none"):
        transform(af.zeros(9, 9, requires_grad=True))


def test_a_fill_that_is_no_pixel_is_refused():
    for fill in (0.5, 256, -1):
        with pytest.raises(DtypeError, match=r"no value of a pixel of uint8 \(0 … 255\)"):
            T.RandomRotation(5, fill=fill)(np.zeros((4, 4), np.uint8))
    with pytest.raises(DtypeError, match=r"value=0\.5 is no value"):
        T.RandomErasing(1.0, value=0.5)(np.zeros((4, 4), np.uint8))


def test_a_compiled_step_does_not_keep_what_was_drawn():
    transform = T.RandomRotation(30)
    step = af.compile(lambda x: transform(x).sum())
    with pytest.raises(CaptureError, match=r"test_augmentation\.py"):
        step(af.rand(1, 8, 8))


def test_reprs_name_the_options():
    assert repr(T.RandomCrop(28, padding=2)) == (
        "RandomCrop(size=(28, 28), padding=2, pad_if_needed=False, fill=0, padding_mode=constant)"
    )
    assert repr(T.RandomHorizontalFlip()) == "RandomHorizontalFlip(p=0.5)"
    assert (
        repr(T.RandomRotation(10))
        == "RandomRotation(degrees=(-10.0, 10.0), interpolation=nearest, expand=False, fill=0)"
    )
    assert repr(T.RandomAffine(5, scale=(1, 2))) == (
        "RandomAffine(degrees=(-5.0, 5.0), scale=(1.0, 2.0), interpolation=nearest, fill=0)"
    )
    assert (
        repr(T.RandomErasing()) == "RandomErasing(p=0.5, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=0, inplace=False)"
    )
    assert repr(T.GaussianNoise()) == "GaussianNoise(mean=0.0, sigma=0.1, clip=True)"
