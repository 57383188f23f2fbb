"""The look at the first batch before the first epoch: `examination` runs it, the other files hold what each check looks at."""

from .examination import NAMES, examine
from .finding import Finding, announce

__all__ = ["NAMES", "Finding", "announce", "examine"]
