"""Text to numbers: tokenizers, padding and masks, batches of similar lengths.

from autograd_ff.text import Tokenizer

tokenizer = Tokenizer.train_bpe(texts, vocab_size=1000)
batch = tokenizer.encode_batch(["one text", "and another"], max_length=128)
"""

from .batching import LengthBatchSampler
from .characters import CharTokenizer
from .padding import Batch, pad_batch
from .tokenizer import Tokenizer

__all__ = ["Batch", "CharTokenizer", "LengthBatchSampler", "Tokenizer", "pad_batch"]
