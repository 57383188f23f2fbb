"""The same parameters make torchvision's pixels, where torchvision is installed beside PyTorch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autograd_ff import transforms as T

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")
from torchvision.transforms import v2  # noqa: E402
from torchvision.transforms.v2 import functional as F  # noqa: E402

pytestmark = pytest.mark.torch
TORCHS = {"nearest": v2.InterpolationMode.NEAREST, "bilinear": v2.InterpolationMode.BILINEAR}


def pixels(seed, shape, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return rng.random(shape).astype(dtype) if dtype != np.uint8 else rng.integers(0, 256, shape, dtype=np.uint8)


def assert_mostly_equal(mine, theirs, interpolation, dtype):
    """Their coordinates are float32: halfway between two pixels they may round to the other one."""
    theirs = theirs.numpy()
    assert mine.shape == theirs.shape
    assert mine.dtype == theirs.dtype
    difference = abs(mine.astype(float) - theirs.astype(float))
    if interpolation == "nearest":
        assert (difference > 0).mean() < 0.04
    else:
        assert difference.max() <= (1 if dtype == np.uint8 else 1e-4)


@pytest.mark.parametrize("interpolation", TORCHS)
@given(
    seed=st.integers(0, 9999), angle=st.floats(-180, 180), dtype=st.sampled_from([np.uint8, np.float32]),
    center=st.sampled_from([None, [4.0, 9.5]]),
)  # fmt: skip
@settings(deadline=None, max_examples=20)
def test_rotations(interpolation, seed, angle, dtype, center):
    image = pixels(seed, (2, 20, 17), dtype)
    angle += 0.1234  # away from round numbers, which read halfway between two pixels
    mine = T.RandomRotation((angle, angle), interpolation, center=center)(image).array
    # Without a fill of its own: with one, they count the weights at the border twice.
    theirs = F.rotate_image(torch.from_numpy(image), angle, TORCHS[interpolation], center=center, fill=None)
    assert_mostly_equal(mine, theirs, interpolation, dtype)


@pytest.mark.parametrize("interpolation", TORCHS)
@given(
    seed=st.integers(0, 9999), angle=st.floats(-180, 180), scale=st.floats(0.5, 2), dtype=st.sampled_from([np.uint8, np.float32]),
    shear=st.tuples(st.floats(-40, 40), st.floats(-40, 40)), translate=st.tuples(st.integers(-5, 5), st.integers(-5, 5)),
    center=st.sampled_from([None, [4.0, 9.5]]),
)  # fmt: skip
@settings(deadline=None, max_examples=20)
def test_affine_maps(interpolation, seed, angle, scale, dtype, shear, translate, center):
    image = pixels(seed, (2, 20, 17), dtype)
    angle, scale = angle + 0.1234, scale * 1.0137  # away from round numbers, which read halfway between two pixels
    params = {
        "angle": np.array([angle]), "translate": np.array([translate], float), "scale": np.array([scale]),
        "shear": np.array([shear]),
    }  # fmt: skip
    mine = T.RandomAffine(0, interpolation=interpolation, center=center).transform(image[None], params)[0]
    theirs = F.affine_image(
        torch.from_numpy(image), angle, list(translate), scale, list(shear), TORCHS[interpolation], None, center
    )
    assert_mostly_equal(mine, theirs, interpolation, dtype)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
@pytest.mark.parametrize("padding", [2, (1, 2), (0, 3, 2, 1)])
def test_crops(mode, padding):
    image = pixels(0, (3, 8, 6))
    mine = T.RandomCrop((5, 4), padding, fill=1, padding_mode=mode, generator=np.random.default_rng(0))
    params = mine.make_params(image[None])
    padded = F.pad(
        torch.from_numpy(image), [padding] if isinstance(padding, int) else list(padding), fill=1, padding_mode=mode
    )
    theirs = F.crop(padded, int(params["top"][0]), int(params["left"][0]), 5, 4)
    np.testing.assert_array_equal(mine.transform(image[None], params)[0], theirs.numpy())


@pytest.mark.parametrize("shape", [(1, 3, 9), (1, 9, 3), (1, 3, 3)])
def test_padding_where_needed(shape):
    mine, theirs = (
        T.RandomCrop(5, pad_if_needed=True, padding=(1, 0)),
        v2.RandomCrop(5, pad_if_needed=True, padding=(1, 0)),
    )
    assert list(mine._margins(*shape[1:])) == theirs.make_params([torch.zeros(shape)])["padding"]


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (T.RandomErasing(1.0), v2.RandomErasing(1.0)),
        (T.RandomErasing(1.0, (0.2, 0.8), (0.5, 3.0)), v2.RandomErasing(1.0, (0.2, 0.8), (0.5, 3.0))),
    ],
)
def test_rectangles_have_the_same_distribution(mine, theirs):
    torch.manual_seed(0)
    mine.generator = np.random.default_rng(0)
    boxes = mine.make_params(np.zeros((2000, 1, 28, 20)))["boxes"]
    drawn = [theirs.make_params([torch.zeros(1, 28, 20)]) for _ in range(2000)]
    others = np.array([[one[key] for key in "ijhw"] if one["v"] is not None else [0, 0, 0, 0] for one in drawn])
    assert abs((boxes[:, 2] == 0).mean() - (others[:, 2] == 0).mean()) < 0.05
    from scipy.stats import ks_2samp

    for mine_column, their_column in zip(boxes.T, others.T, strict=True):
        assert ks_2samp(mine_column, their_column).statistic < 0.06


@pytest.mark.parametrize("soft", [False, True])
def test_mixup_mixes_the_same(soft, monkeypatch):
    images, labels = pixels(0, (6, 1, 4, 4)), np.array([0, 2, 1, 1, 0, 2])
    labels = np.eye(3, dtype=np.float32)[labels] if soft else labels
    mine = T.MixUp(alpha=0.4, num_classes=3, generator=np.random.default_rng(5))
    share = float(np.random.default_rng(5).beta(0.4, 0.4))
    theirs = v2.MixUp(alpha=0.4, num_classes=3)
    monkeypatch.setattr(theirs, "make_params", lambda inputs: {"lam": share})
    expected = theirs(torch.from_numpy(images), torch.from_numpy(labels))
    for one, two in zip(mine(images, labels), expected, strict=True):
        assert str(two.dtype).endswith(str(one.dtype))
        np.testing.assert_allclose(one.array, two.numpy(), rtol=1e-6)


def test_cutmix_has_the_same_distribution_of_shares():
    torch.manual_seed(0)
    mine, theirs = T.CutMix(num_classes=2, generator=np.random.default_rng(0)), v2.CutMix(num_classes=2)
    images = pixels(0, (2, 1, 20, 30))
    shares = [mine(images, np.array([0, 1]))[1].array[0, 0] for _ in range(1500)]
    others = [theirs.make_params([torch.from_numpy(images)])["lam_adjusted"] for _ in range(1500)]
    from scipy.stats import ks_2samp

    assert ks_2samp(shares, others).statistic < 0.06


def test_noise_has_the_same_distribution():
    torch.manual_seed(0)
    for dtype in (np.uint8, np.float32):
        image = np.full((1, 60, 60), 128 if dtype == np.uint8 else 0.5, dtype)
        mine = T.GaussianNoise(0.1, 0.2, generator=np.random.default_rng(0))(image).array.astype(float)
        theirs = v2.GaussianNoise(0.1, 0.2)(torch.from_numpy(image)).numpy().astype(float)
        full = 255 if dtype == np.uint8 else 1
        assert abs(mine.mean() - theirs.mean()) < 0.012 * full
        assert abs(mine.std() - theirs.std()) < 0.012 * full
        assert mine.min() == theirs.min() or dtype == np.float32
        assert mine.max() == theirs.max()
