"""``python -m visualize``: see `visualize.cli`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
