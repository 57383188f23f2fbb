"""MiniLM with a head of two classes, in autograd_ff and in PyTorch, from the same file of weights.

PyTorch's is written here, of its own layers and `scaled_dot_product_attention`, with the fused AdamW: no library between.
Both sides pool by the mean over the tokens and, while they are tuned, drop what the model's config says.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = 2
RANK = 8  # of LoRA
RATE = 2e-5


@dataclass(frozen=True)
class Task:
    """Whole texts of random tokens: the shortest half as long as the longest, the rest padding."""

    kind: str  # "inference", "full", "lora" or "feedforward"
    texts: int
    tokens: int
    dropout: bool = True  # in tuning

    def batch(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens, the mask, and labels."""
        generator = np.random.default_rng(0)
        shape = (self.texts, self.tokens)
        tokens = 1000 + np.minimum(generator.zipf(1.2, shape), 29_000)
        lengths = np.linspace(self.tokens / 2, self.tokens, self.texts).astype(int)
        mask = (np.arange(self.tokens) < lengths[:, None]).astype(np.int64)
        return (tokens * mask).astype(np.int64), mask, generator.integers(0, CLASSES, self.texts)


def folder() -> str:
    from autograd_ff import data

    return str(data.locate("minilm"))


def head(hidden: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    return (0.02 * generator.standard_normal((CLASSES, hidden))).astype(np.float32), np.zeros(CLASSES, np.float32)


@dataclass(frozen=True)
class Program:
    """A model, and what is measured of it."""

    run: Callable[[], Any]  # inference or a step of tuning; the result has numbers under .numpy() or .item()
    logits: Callable[[], np.ndarray]  # without dropout


def prepare(key: str) -> None:
    """Load what a framework's compiler needs: its memory is not that of a step."""
    if key == "compiled":
        import autograd_ff as af

        x, step = af.ones(100), af.compile(lambda x: (x * x + x).exp().sum())
        for _ in range(3):
            step(x)
    elif key == "pytorch_compiled":
        import torch

        torch.compile(lambda x: (x * x + x).exp().sum())(torch.ones(100, requires_grad=True)).backward()


def version(key: str) -> str:
    name = "torch" if key.startswith("pytorch") else "autograd_ff"
    return str(getattr(importlib.import_module(name), "__version__", ""))


# ---------------------------------------------------------------- autograd_ff


def autograd_ff(task: Task, compiled: bool = False) -> Program:
    import autograd_ff as af
    from autograd_ff import finetuning, hub, nn
    from autograd_ff.nn import functional as F

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = hub.BertModel.from_pretrained(folder(), add_pooling_layer=False)
            self.classifier = nn.Linear(self.bert.config.hidden_size, CLASSES)
            with af.no_grad():
                for parameter, value in zip(
                    self.classifier.parameters(), head(self.bert.config.hidden_size), strict=True
                ):
                    parameter.copy_(af.from_numpy(value))

        def forward(self, tokens: Any, mask: Any) -> Any:
            states = self.bert(tokens, mask).last_hidden_state
            return self.classifier(hub.mean_pooling(states, mask, normalize=False))

    model = Classifier()
    tokens, mask, labels = (af.from_numpy(one) for one in task.batch())

    def infer(tokens: Any, mask: Any) -> Any:
        with af.no_grad():
            return model(tokens, mask)

    if task.kind == "inference":
        model.eval()
        chosen = af.compile(infer) if compiled else infer
        return Program(lambda: chosen(tokens, mask), lambda: infer(tokens, mask).numpy())
    if task.kind == "lora":
        finetuning.add_lora(model, ["*.query", "*.value"], RANK, train_also="classifier")
    elif task.kind == "feedforward":
        finetuning.train_only(model, [*finetuning.feedforward(model), "classifier"])
    model.train(task.dropout)
    optimizer = af.optim.AdamW(finetuning.trainable_parameters(model), lr=RATE)

    def step(tokens: Any, mask: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(tokens, mask), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    chosen_step = af.compile(step) if compiled else step

    def logits() -> np.ndarray:
        model.eval()
        found: np.ndarray = infer(tokens, mask).numpy()
        model.train(task.dropout)
        return found

    return Program(lambda: chosen_step(tokens, mask, labels), logits)


def compiled(task: Task) -> Program:
    return autograd_ff(task, True)


# ---------------------------------------------------------------- PyTorch


def pytorch(task: Task, compiled: bool = False) -> Program:
    import torch
    from safetensors.torch import load_file
    from torch import nn
    from torch.nn import functional as F

    config = json.loads((Path(folder()) / "config.json").read_text())
    hidden, heads, inner = config["hidden_size"], config["num_attention_heads"], config["intermediate_size"]
    eps, drop = config["layer_norm_eps"], config["hidden_dropout_prob"]

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.value = (nn.Linear(hidden, hidden) for _ in range(3))

        def forward(self, x: Any, mask: Any) -> Any:
            parts = [
                layer(x).unflatten(-1, (heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
            ]
            dropped = config["attention_probs_dropout_prob"] if self.training else 0.0
            return F.scaled_dot_product_attention(*parts, mask, dropped).transpose(1, 2).flatten(-2)

    class Output(nn.Module):
        def __init__(self, side: int) -> None:
            super().__init__()
            self.dense = nn.Linear(side, hidden)
            self.LayerNorm = nn.LayerNorm(hidden, eps)
            self.dropout = nn.Dropout(drop)

        def forward(self, x: Any, residual: Any) -> Any:
            return self.LayerNorm(self.dropout(self.dense(x)) + residual)

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.ModuleDict({"self": Attention(), "output": Output(hidden)})
            self.intermediate = nn.ModuleDict({"dense": nn.Linear(hidden, inner)})
            self.output = Output(inner)

        def forward(self, x: Any, mask: Any) -> Any:
            x = self.attention["output"](self.attention["self"](x, mask), x)
            return self.output(F.gelu(self.intermediate["dense"](x)), x)

    class Embeddings(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.word_embeddings = nn.Embedding(config["vocab_size"], hidden, padding_idx=config["pad_token_id"])
            self.position_embeddings = nn.Embedding(config["max_position_embeddings"], hidden)
            self.token_type_embeddings = nn.Embedding(config["type_vocab_size"], hidden)
            self.LayerNorm = nn.LayerNorm(hidden, eps)
            self.dropout = nn.Dropout(drop)

        def forward(self, tokens: Any) -> Any:
            added = self.position_embeddings.weight[: tokens.shape[1]] + self.token_type_embeddings.weight[0]
            return self.dropout(self.LayerNorm(self.word_embeddings(tokens) + added))

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embeddings = Embeddings()
            self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer() for _ in range(config["num_hidden_layers"]))})
            self.classifier = nn.Linear(hidden, CLASSES)

        def forward(self, tokens: Any, mask: Any) -> Any:
            x = self.embeddings(tokens)
            seen = (mask != 0)[:, None, None, :]
            for layer in self.encoder["layer"]:
                x = layer(x, seen)
            weight = mask.to(x.dtype)
            return self.classifier((weight[:, None, :] @ x).squeeze(1) / weight.sum(1, keepdim=True))

    class LoRA(nn.Module):
        def __init__(self, base: Any) -> None:
            super().__init__()
            self.base = base
            self.A = nn.Parameter(torch.empty(RANK, base.in_features))
            self.B = nn.Parameter(torch.zeros(base.out_features, RANK))
            nn.init.kaiming_uniform_(self.A, a=5**0.5)

        def forward(self, x: Any) -> Any:
            return self.base(x) + F.linear(F.linear(x, self.A), self.B)

    with torch.device("meta"):
        model = Classifier()
    state = load_file(Path(folder()) / "model.safetensors")
    state = {
        name: value for name, value in state.items() if not name.startswith("pooler.") and "position_ids" not in name
    }
    weight, bias = map(torch.from_numpy, head(hidden))
    model.load_state_dict({**state, "classifier.weight": weight, "classifier.bias": bias}, assign=True)
    tokens, mask, labels = (torch.from_numpy(one) for one in task.batch())

    def infer(tokens: Any, mask: Any) -> Any:
        with torch.inference_mode():
            return model(tokens, mask)

    if task.kind == "inference":
        model.eval()
        if compiled:
            model.compile()
        return Program(lambda: infer(tokens, mask), lambda: infer(tokens, mask).numpy())
    for parameter in model.parameters():
        parameter.requires_grad = task.kind == "full"
    if task.kind == "lora":
        for layer in model.encoder["layer"]:
            attention = layer.attention["self"]
            attention.query, attention.value = LoRA(attention.query), LoRA(attention.value)
    elif task.kind == "feedforward":
        for layer in model.encoder["layer"]:
            for parameter in (*layer.intermediate.parameters(), *layer.output.dense.parameters()):
                parameter.requires_grad = True
    for parameter in model.classifier.parameters():
        parameter.requires_grad = True
    model.train(task.dropout)
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=RATE, fused=True)

    def loss_of(tokens: Any, mask: Any, labels: Any) -> Any:
        return F.cross_entropy(model(tokens, mask), labels)

    chosen: Callable[..., Any] = torch.compile(loss_of) if compiled else loss_of

    def step() -> Any:
        optimizer.zero_grad()
        loss = chosen(tokens, mask, labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    def logits() -> np.ndarray:
        model.eval()
        found: np.ndarray = infer(tokens, mask).numpy()
        model.train(task.dropout)
        return found

    return Program(step, logits)


def pytorch_compiled(task: Task) -> Program:
    return pytorch(task, True)
