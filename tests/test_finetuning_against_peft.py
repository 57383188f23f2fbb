"""LoRA beside the PEFT library, on the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

import autograd_ff as af
from autograd_ff import finetuning, hub

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")


@pytest.mark.filterwarnings("ignore")
def test_lora_in_gpt2_is_that_of_peft():
    """Logits, gradients of A and B, and the merged weights."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=20, n_positions=8, n_embd=8, n_layer=2, n_head=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0
    )
    theirs = transformers.GPT2LMHeadModel(config)
    ours = hub.GPT2LMHeadModel(hub.GPT2Config(
        vocab_size=20, n_positions=8, n_embd=8, n_layer=2, n_head=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0
    ))  # fmt: skip
    ours.load_state_dict({name: one.numpy() for name, one in theirs.state_dict().items()}, strict=False)
    settings = peft.LoraConfig(
        r=3, lora_alpha=5, target_modules=["c_attn", "c_fc"], lora_dropout=0.0, fan_in_fan_out=True
    )
    theirs = peft.get_peft_model(theirs, settings)
    names = finetuning.add_lora(ours, ["*.c_attn", "*.c_fc"], rank=3, alpha=5)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for name, one in theirs.named_parameters():
            if "lora_" in name:
                one.copy_(torch.from_numpy(rng.normal(size=tuple(one.shape)).astype(np.float32)) * 0.3)
    values = {
        name.removeprefix("base_model.model.").replace(".default.weight", ""): one
        for name, one in theirs.named_parameters()
        if "lora_" in name
    }
    assert sorted(values) == sorted(finetuning.adapter_state_dict(ours))
    ours.load_state_dict({name: one.detach().numpy() for name, one in values.items()}, strict=False)
    ids = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    expected = theirs(torch.from_numpy(ids)).logits
    found = ours(af.tensor(ids)).logits
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-4, atol=1e-5)
    expected.square().sum().backward()
    found.square().sum().backward()
    for name in names:
        for one in "AB":
            np.testing.assert_allclose(
                ours.get_parameter(f"{name}.lora_{one}").grad.numpy(), values[f"{name}.lora_{one}"].grad.numpy(),
                rtol=1e-3, atol=1e-4,
            )  # fmt: skip
    merged = theirs.merge_and_unload().state_dict()
    finetuning.remove_lora(ours)
    for name, one in ours.state_dict().items():
        np.testing.assert_allclose(one.numpy(), merged[name].numpy(), rtol=1e-5, atol=1e-6)
