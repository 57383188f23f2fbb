"""The public functions, under PyTorch's names and arguments, and the public Tensor."""

from .. import kernels, rules  # noqa: F401  (fills the op table)
from . import comparison, creation, dtypes, indexing, linalg, pointwise, random, reductions, shaping, sorting
from .activations import celu, log_softmax, relu, selu, sigmoid, softmax, threshold
from .comparison import *  # noqa: F403
from .creation import *  # noqa: F403
from .dtypes import *  # noqa: F403
from .indexing import *  # noqa: F403
from .linalg import *  # noqa: F403
from .pointwise import *  # noqa: F403
from .random import *  # noqa: F403
from .reductions import *  # noqa: F403
from .shaping import *  # noqa: F403
from .sorting import *  # noqa: F403
from .tensor import Tensor

__all__ = ["Tensor", "celu", "log_softmax", "relu", "selu", "sigmoid", "softmax", "threshold"]
__all__ += comparison.__all__
__all__ += creation.__all__
__all__ += dtypes.__all__
__all__ += indexing.__all__
__all__ += linalg.__all__
__all__ += pointwise.__all__
__all__ += random.__all__
__all__ += reductions.__all__
__all__ += shaping.__all__
__all__ += sorting.__all__

tensor = creation.tensor  # the function; the submodule of the same name has taken its place
