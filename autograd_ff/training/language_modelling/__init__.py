"""The language model that the command line trains: its texts, its tokens, its recipe, and what it writes.

Read in this order: `settings`; `corpus` (texts and what is held out of them), `tokens` (text to numbers), `windows` (numbers
to batches); `modelling` (the trainer, complete); `scoring` (what a model is worth on a text), `writing` (what it writes).
"""

from .corpus import TEXTS, Corpus, read_corpus
from .modelling import LanguageModelling
from .scoring import Score, score
from .settings import LanguageSettings
from .tokens import read_tokenizer, save_tokenizer
from .windows import RandomWindows, Windows, held_out_windows
from .writing import Samples, write

__all__ = [
    "Corpus", "LanguageModelling", "LanguageSettings", "RandomWindows", "Samples", "Score", "TEXTS", "Windows",
    "held_out_windows", "read_corpus", "read_tokenizer", "save_tokenizer", "score", "write",
]  # fmt: skip
