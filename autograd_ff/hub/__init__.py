"""Pretrained models with Hugging Face's files: config, weights, names.

from autograd_ff import hub
from autograd_ff.text import Tokenizer

model, tokenizer = hub.from_pretrained(folder), Tokenizer.from_pretrained(folder)
batch = tokenizer.encode_batch(["A sentence.", "Another one, which is longer."])
vectors = hub.mean_pooling(model(*batch).last_hidden_state, batch.attention_mask)
"""

from .beam_search import beam_search
from .bert import BertModel, EncoderOutput
from .classification import BertForSequenceClassification, ClassifierOutput, SentenceClassifier
from .config import BertConfig, Config, GPT2Config, read_config
from .generation import generate, stream
from .gpt2 import DecoderOutput, GPT2LMHeadModel, GPT2Model
from .pretrained import PretrainedModel, from_pretrained
from .sentences import SentenceEncoder, mean_pooling
from .weights import load_weights, save_weights

__all__ = [
    "BertConfig", "BertForSequenceClassification", "BertModel", "ClassifierOutput", "Config", "DecoderOutput", "EncoderOutput",
    "GPT2Config", "GPT2LMHeadModel", "GPT2Model", "PretrainedModel", "SentenceClassifier", "SentenceEncoder", "beam_search", "from_pretrained",
    "generate", "load_weights", "mean_pooling", "read_config", "save_weights", "stream",
]  # fmt: skip
