"""Makes golden/minilm.json: MiniLM's sentence vectors by PyTorch and transformers, which the tests hold ours to.

pip install torch==2.13.0 transformers==5.23.0
python tests/make_golden_minilm.py
"""

from __future__ import annotations

import json
from pathlib import Path

from autograd_ff.data import fetch

SENTENCES = [
    "A single sentence.",
    "",
    "Short",
    "How do I return a parcel that arrived damaged?",
    "You can send damaged goods back within thirty days, free of charge, with the label in the box.",
    "The film was neither good nor bad; it was long, and in its second hour nothing happened that the first had not promised.",
    "El gato duerme; Müller trinkt Café; 数学很有趣。",
    "3.14159, 2.71828 and 1.41421 are written with digits!?",
    "the the the the the the the the the the the the the the the the the the the the the the the the the the the the",
    "Antidisestablishmentarianism, pneumonoultramicroscopicsilicovolcanoconiosis and flibbertigibbets.",
    "Ships sail.\tTabs\nand lines\r\nare white space.",
    " ".join(f"word number {number} of a text that is long enough to be cut somewhere" for number in range(12)),
]
PAIRS = [["Is it late?", "It is a quarter past ten in the evening."], ["A longer first part of the pair.", "Yes."]]
MAX_LENGTH = 96


def main() -> None:
    import torch  # here, so that tests may read the sentences without it
    import transformers
    from tokenizers import Tokenizer

    torch.manual_seed(0)
    path = fetch("minilm")
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_LENGTH)
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
    encoded = tokenizer.encode_batch(SENTENCES)
    ids = torch.tensor([one.ids for one in encoded])
    mask = torch.tensor([one.attention_mask for one in encoded])
    model = transformers.BertModel.from_pretrained(path, attn_implementation="eager").eval().double()
    with torch.no_grad():
        output = model(input_ids=ids, attention_mask=mask)
        states = output.last_hidden_state
        tokens = mask.unsqueeze(-1).double()
        vectors = torch.nn.functional.normalize((states * tokens).sum(1) / tokens.sum(1).clamp(min=1e-9))
        paired = tokenizer.encode_batch(PAIRS)
        pair_states = model(
            input_ids=torch.tensor([one.ids for one in paired]),
            attention_mask=torch.tensor([one.attention_mask for one in paired]),
            token_type_ids=torch.tensor([one.type_ids for one in paired]),
        ).last_hidden_state
    golden = {
        "made_with": {"torch": torch.__version__, "transformers": transformers.__version__, "computed_in": "float64"},
        "max_length": MAX_LENGTH,
        "sentences": SENTENCES,
        "input_ids": [one.ids[: sum(one.attention_mask)] for one in encoded],
        "vectors": [[round(value, 8) for value in row] for row in vectors.tolist()],
        "first_tokens": [[round(value, 8) for value in row[:16]] for row in states[:, 0].tolist()],
        "pairs": PAIRS,
        "pair_input_ids": [one.ids[: sum(one.attention_mask)] for one in paired],
        "pair_first_tokens": [[round(value, 8) for value in row] for row in pair_states[:, 0].tolist()],
    }
    text = json.dumps(golden, ensure_ascii=False, separators=(",", ":")).replace("],[", "],\n[") + "\n"
    (Path(__file__).parent / "golden" / "minilm.json").write_text(text)


if __name__ == "__main__":
    main()
