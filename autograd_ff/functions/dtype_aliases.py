"""PyTorch's other names of dtypes, apart from `dtypes` because some are names of builtins too."""

from .dtypes import bool_ as bool
from .dtypes import float16 as half
from .dtypes import float32 as float
from .dtypes import float64 as double
from .dtypes import int16 as short
from .dtypes import int32 as int
from .dtypes import int64 as long

__all__ = ["bool", "double", "float", "half", "int", "long", "short"]
