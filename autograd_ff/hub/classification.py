"""Classes of texts: `SentenceClassifier` over sentence vectors, `BertForSequenceClassification` with Hugging Face's files."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..engine import here, wrap
from ..errors import FileFormatError, ModuleError, ShapeError
from ..functions.tensor import Tensor
from ..nn import Dropout, Module
from ..nn import functional as F
from ..serialization import load, save, write_atomically
from .bert import BertModel
from .config import BertConfig, read_json
from .layers import Linear, without_values
from .pretrained import PretrainedModel
from .sentences import SentenceEncoder, by_length, mean_pooling

__all__ = ["BertForSequenceClassification", "ClassifierOutput", "SentenceClassifier"]

SETTINGS, HEAD = "classifier.json", "classifier.safetensors"
MAX_SETTINGS = 1_000_000  # bytes


class SentenceClassifier(Module):
    """Texts to classes: the mean of an encoder's vectors over the tokens, dropout, an affine layer.

    The mean is not divided by its length, whatever the encoder does for its sentence vectors: an affine layer does not
    need it, and learns faster from entries that are not small.

    Args:
        encoder: with its tokenizer. The classifier owns it: training the one trains the other.
        classes: their names, or how many there are.
        dropout: of the mean, in training.

    Attributes:
        classes: their names, a tuple.

    Raises:
        ShapeError: fewer than two classes, or two of one name.

    >>> import autograd_ff as af
    >>> from autograd_ff import hub
    >>> from autograd_ff.text import CharTokenizer
    >>> tokenizer = CharTokenizer("abc ")
    >>> config = hub.BertConfig(vocab_size=tokenizer.vocab_size, hidden_size=8, num_hidden_layers=1,
    ...                         num_attention_heads=2, intermediate_size=16, max_position_embeddings=10)
    >>> encoder = hub.SentenceEncoder(hub.BertModel(config), tokenizer)
    >>> model = hub.SentenceClassifier(encoder, ["cabs", "others"])
    >>> model.predict_proba(["a cab", "b"]).shape
    (2, 2)
    >>> [model.classes[index] for index in model.predict(["a cab"])][0] in model.classes
    True
    """

    def __init__(self, encoder: SentenceEncoder, classes: Sequence[str] | int, dropout: float = 0.1) -> None:
        super().__init__()
        names = tuple(map(str, range(classes) if isinstance(classes, (int, np.integer)) else classes))
        if len(names) < 2 or len(set(names)) < len(names):
            raise ShapeError(
                f"a classifier has two classes or more, each with a name of its own, not {names!r}{here()}"
            )
        self.encoder = encoder
        self.classes = names
        self.dropout = Dropout(dropout)
        self.classifier = Linear(encoder.model.config.hidden_size, len(names))
        self.training = encoder.training

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Tokens (batch, length) to scores (batch, classes)."""
        return self.classifier(self.dropout(self.features(input_ids, attention_mask, token_type_ids)))

    def features(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Tokens (batch, length) to the means over them, (batch, hidden)."""
        states = self.encoder.model(input_ids, attention_mask, token_type_ids).last_hidden_state
        return mean_pooling(states, attention_mask, normalize=False)

    # ---------------------------------------------------------------- texts

    def scores(self, texts: Sequence[str], batch_size: int = 32) -> Tensor:
        """The scores of any number of texts, (texts, classes), in evaluation mode and without a graph.

        They are taken in order of length, so that little is padded; the result is in theirs.

        Args:
            texts: a list of them.
            batch_size: how many at once.
        """
        if isinstance(texts, str):
            raise ShapeError(f"classified is a list of texts; a single one is [text].{here()}")
        encoder = self.encoder
        tokens = encoder.tokenizer.encode_many(texts, max_length=encoder.max_length)
        scores = by_length(self, self, tokens, encoder.tokenizer.pad, batch_size)
        return wrap(np.zeros((0, len(self.classes)), np.float32) if scores is None else scores)

    def predict_proba(self, texts: Sequence[str], batch_size: int = 32) -> np.ndarray:
        """The probability of each class, (texts, classes).

        Args:
            texts: a list of them.
            batch_size: how many at once.
        """
        return np.asarray(F.softmax(self.scores(texts, batch_size), -1).array)

    def predict(self, texts: Sequence[str], batch_size: int = 32) -> np.ndarray:
        """The number of the likeliest class of each text, int64; ``model.classes`` has its name.

        Args:
            texts: a list of them.
            batch_size: how many at once.
        """
        return np.asarray(self.scores(texts, batch_size).array.argmax(-1).astype(np.int64))

    # ---------------------------------------------------------------- files

    def save_pretrained(self, folder: Any, *, adapters: str | None = None) -> None:
        """Write encoder, tokenizer and classifier into one folder.

        The encoder and the tokenizer are written as Hugging Face's libraries read them (``config.json``,
        ``model.safetensors``, ``tokenizer.json``), and with the settings of sentence-transformers; the affine layer and the
        names of the classes beside them (``classifier.safetensors``, ``classifier.json``).

        Args:
            folder: made where it is not there.
            adapters: the name of a file in it with what `finetuning.load_adapters` is to put in, without which the
                classifier is not what was trained.

        Raises:
            ModuleError: the encoder has LoRA, adapters or weights in half precision, which these files do not know.
        """
        encoder, own = self.encoder, self.encoder.model
        with without_values():
            plain = type(own)(
                own.config, **({"add_pooling_layer": own.pooler is not None} if isinstance(own, BertModel) else {})
            )
        strange = set(own.state_dict()) ^ set(plain.state_dict())
        if strange:
            raise ModuleError(
                f"the encoder is not as its class builds it, so nobody could load it: {min(strange)!r}.{here()}\n"
                "  Merge LoRA for good, finetuning.remove_lora(model); widen what is stored in half precision, "
                "finetuning.widen_frozen(model); adapters are saved by finetuning.save_adapters(model, path)."
            )
        own.save_pretrained(folder)
        encoder.tokenizer.save_pretrained(folder)
        _write(folder, "sentence_bert_config.json", {"max_seq_length": encoder.max_length})
        kinds = ["Transformer", "Pooling", *(["Normalize"] if encoder.normalize else [])]
        places = ["", *(f"{number}_{kind}" for number, kind in enumerate(kinds[1:], 1))]
        _write(folder, "modules.json", [
            {"idx": number, "name": str(number), "path": place, "type": f"sentence_transformers.models.{kind}"}
            for number, (kind, place) in enumerate(zip(kinds, places, strict=True))
        ])  # fmt: skip
        hidden = {"word_embedding_dimension": own.config.hidden_size, "pooling_mode_mean_tokens": True}
        os.makedirs(os.path.join(folder, places[1]), exist_ok=True)
        _write(folder, os.path.join(places[1], "config.json"), hidden)
        settings: dict[str, Any] = {"classes": list(self.classes), "dropout": self.dropout.p}
        _write(folder, SETTINGS, settings if adapters is None else {**settings, "adapters": adapters})
        save(self.classifier.state_dict(), os.path.join(folder, HEAD))

    @classmethod
    def from_pretrained(cls, folder: Any, *, adapters: bool = True, **options: Any) -> SentenceClassifier:
        """The classifier that `save_pretrained` left in a folder, in evaluation mode.

        Args:
            folder: with the files.
            adapters: False leaves adapters out, which lie beside it.
            options: see `SentenceEncoder.from_pretrained`.

        Raises:
            FileFormatError: a file is damaged; or adapters belong to it.
            FileNotFoundError: one is missing; a folder that only holds an encoder has no ``classifier.json``.
            StateDictError: the affine layer is of another shape than the classes and the encoder say.
        """
        path = os.path.join(folder, SETTINGS)
        try:
            settings = read_json(path, MAX_SETTINGS)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                error.errno, "no classifier was saved here (a new one: SentenceClassifier(encoder, classes))", path
            ) from None
        names, dropout = settings.get("classes"), settings.get("dropout", 0.0)
        if not isinstance(names, list) or not isinstance(dropout, (int, float)):
            raise FileFormatError(f"{path} is no classifier's: it wants a list of classes and a dropout{here()}")
        if adapters and settings.get("adapters") is not None:
            raise FileFormatError(
                f"adapters belong to the classifier in {folder}.{here()}\n  Put them in:\n"
                f"    model = SentenceClassifier.from_pretrained({str(folder)!r}, adapters=False)\n"
                f"    finetuning.load_adapters(model, {os.path.join(folder, str(settings['adapters']))!r})"
            )
        state = load(os.path.join(folder, HEAD))
        encoder = SentenceEncoder.from_pretrained(folder, **options)
        try:
            model = cls(encoder, names, dropout)
        except ShapeError as error:
            raise FileFormatError(f"{path}: {error}") from None
        model.classifier.load_state_dict(state)
        return model.eval()


def _write(folder: Any, name: str, content: Any) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomically(os.path.join(folder, name), text.encode())


# ---------------------------------------------------------------- Hugging Face's


class ClassifierOutput(NamedTuple):
    """What `BertForSequenceClassification` gives.

    Attributes:
        logits: (batch, classes).
        hidden_states: the embeddings and the output of each layer, where they were asked for.

    >>> import autograd_ff as af
    >>> from autograd_ff.hub import ClassifierOutput
    >>> ClassifierOutput(af.ones(2, 3)).logits.shape
    (2, 3)
    """

    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None


class BertForSequenceClassification(PretrainedModel):
    """A `BertModel` with an affine layer over its pooler: classes of texts. State dicts are Hugging Face's.

    logits = classifier(dropout(tanh(dense(first token)))). The number of classes is that of ``id2label`` in the config
    (two without it), and the dropout is ``classifier_dropout``, or that of the hidden layers. Source: Devlin et al. 2019.

    Args:
        config: what it is built of.
        classes: their names, or how many there are; goes into the config.

    >>> import autograd_ff as af
    >>> from autograd_ff import hub
    >>> config = hub.BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
    ...                         intermediate_size=16, max_position_embeddings=10)
    >>> model = hub.BertForSequenceClassification(config, ["bad", "fair", "good"]).eval()
    >>> model(af.tensor([[2, 7, 3]])).logits.shape
    (1, 3)
    >>> model.classes
    ('bad', 'fair', 'good')
    """

    config: BertConfig
    config_class = BertConfig
    base_prefix = "bert"
    has_head = True
    not_weights = r"^bert\.embeddings\.position_ids$"

    def __init__(self, config: BertConfig, classes: Sequence[str] | int | None = None) -> None:
        super().__init__(config)
        if classes is not None:
            names = tuple(map(str, range(classes) if isinstance(classes, (int, np.integer)) else classes))
            config.extra["id2label"] = {str(number): name for number, name in enumerate(names)}
            config.extra["label2id"] = {name: number for number, name in enumerate(names)}
        self.bert = BertModel(config)
        dropout = config.extra.get("classifier_dropout")
        self.dropout = Dropout(config.hidden_dropout_prob if dropout is None else dropout)
        self.classifier = Linear(config.hidden_size, len(self.classes), std=config.initializer_range)

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names, as the config has them."""
        found = self.config.extra.get("id2label")
        if found is None:
            return ("LABEL_0", "LABEL_1")
        try:
            names = {int(number): str(name) for number, name in found.items()}
            return tuple(names[number] for number in range(len(names)))
        except (AttributeError, LookupError, TypeError, ValueError):
            raise FileFormatError(
                f"id2label in the config maps 0, 1, 2 … to names, and is {found!r:.200}{here()}"
            ) from None

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> ClassifierOutput:
        """Scores of the classes, see `BertModel.forward` for the arguments."""
        found = self.bert(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, output_hidden_states)
        return ClassifierOutput(self.classifier(self.dropout(found.pooler_output)), found.hidden_states)
