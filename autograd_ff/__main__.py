"""``python -m autograd_ff``."""

import sys

from .cli import main

sys.exit(main())
