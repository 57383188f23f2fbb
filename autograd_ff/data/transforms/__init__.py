"""Transforms of samples, under torchvision's names.

from autograd_ff import transforms

train = transforms.Compose([
    transforms.RandomAffine(10, translate=(0.1, 0.1)),
    transforms.ToTensor(),
    transforms.Normalize((0.1307,), (0.3081,)),
    transforms.RandomErasing(),
])

Those with random parameters draw new ones for every image, from their ``generator=`` or from the default generator. They
take images of shape (H, W) or (C, H, W), of any real dtype, and keep shape (`RandomCrop` aside) and dtype. Given
(B, C, H, W) they treat each image by itself, where torchvision treats the batch as one image.
"""

from .composing import Compose, Lambda
from .conversion import ToTensor
from .erasing import RandomErasing
from .geometry import RandomAffine, RandomCrop, RandomHorizontalFlip, RandomRotation
from .images import RandomTransform
from .intensity import GaussianNoise, Normalize
from .mixing import CutMix, MixUp
from .resampling import InterpolationMode

__all__ = [
    "Compose", "CutMix", "GaussianNoise", "InterpolationMode", "Lambda", "MixUp", "Normalize", "RandomAffine", "RandomCrop",
    "RandomErasing", "RandomHorizontalFlip", "RandomRotation", "RandomTransform", "ToTensor",
]  # fmt: skip
