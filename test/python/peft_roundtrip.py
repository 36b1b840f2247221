"""Loads adapter folders with PEFT and compares the logits with those that this package computed.

    python peft_roundtrip.py CASE...

Each CASE is a folder: base/ (a checkpoint), adapter/ (an adapter folder as this package writes it) and case.safetensors:
`input_ids`, `attention_mask` [B,S], `labels` [B,T] (ids as fp32) and `logits` [B,T,V]. Prints one JSON line per case: how far the logits are off, relative to
the largest, and how much the adapter changes them; ends with status 1 where that is more than 1e-5, or where the adapter changes nothing.
"""

import json
import sys
import warnings
from pathlib import Path

TOLERANCE = 1e-5


def compare(case: Path) -> dict:
    import torch
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import T5ForConditionalGeneration

    given = load_file(case / "case.safetensors")
    batch = {name: given[name].long() for name in ("input_ids", "attention_mask", "labels")}
    with torch.no_grad():
        base = T5ForConditionalGeneration.from_pretrained(case / "base", dtype=torch.float32).eval()
        plain = base(**batch).logits
        with warnings.catch_warnings():
            # PEFT warns about keys it misses or does not know; either means that the folder is not what PEFT writes.
            warnings.filterwarnings("error", message=".*(missing|unexpected) (adapter )?keys.*")
            adapted = PeftModel.from_pretrained(base, case / "adapter").eval()(**batch).logits
    largest = adapted.abs().max()
    return {
        "case": case.name,
        "off": ((given["logits"] - adapted).abs().max() / largest).item(),
        "changed": ((adapted - plain).abs().max() / largest).item(),
    }


def main() -> None:
    results = [compare(Path(case)) for case in sys.argv[1:]]
    for result in results:
        print(json.dumps(result))
    # "not <=" also catches NaN.
    if not results or any(not result["off"] <= TOLERANCE or not result["changed"] > TOLERANCE for result in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
