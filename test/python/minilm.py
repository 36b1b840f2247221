"""Embeds texts as sentence-transformers does with a checkpoint folder of its form, by transformers alone.

    python minilm.py

One JSON request a line on stdin, {"folder": ..., "texts": [...]}; one JSON answer a line on stdout: "ids" of every text, and its
"embeddings" (mean of the last states over real tokens, scaled to length 1), or {"error": ...}.
"""

import json
import sys
from pathlib import Path

import torch
import transformers

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
BATCH = 16


def longest(folder: Path) -> int:
    """Tokens that a text is cut to; also sees that the folder asks for what is computed here."""
    modules = [module["type"].rsplit(".", 1)[-1] for module in json.loads((folder / "modules.json").read_text())]
    pooling = json.loads((folder / "1_Pooling/config.json").read_text())
    modes = [name for name, on in pooling.items() if name.startswith("pooling_mode") and on]
    if modules != ["Transformer", "Pooling", "Normalize"] or modes != ["pooling_mode_mean_tokens"]:
        raise ValueError(f"{folder}: modules {modules}, pooling {modes}; expected the normalised mean of the states")
    return json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"]


@torch.no_grad()
def embed(folder: Path, texts: list[str]) -> dict:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    cut = dict(truncation=True, max_length=longest(folder))
    embeddings = []
    for start in range(0, len(texts), BATCH):
        batch = tokenizer(texts[start : start + BATCH], padding=True, return_tensors="pt", **cut)
        states = model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None].float()
        means = (states * mask).sum(dim=1) / mask.sum(dim=1)
        embeddings += torch.nn.functional.normalize(means, dim=-1).tolist()
    return {"ids": [tokenizer(text, **cut)["input_ids"] for text in texts], "embeddings": embeddings}


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = embed(Path(request["folder"]), request["texts"])
        except Exception as error:  # noqa: BLE001 - the test shows it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
