"""What transformers takes from the call of from_pretrained to the first logits, on the tokens that measure.ts takes.

    python peer.py FOLDER float32|bfloat16

Prints a JSON document: seconds, peak (most bytes ever resident), anonymous (resident bytes that are not pages of files) and a sample of
the last token's logits.
"""

import json
import re
import sys
import time
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

TOKENS, LABELS, VOCABULARY = 64, 8, 900
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def resident() -> dict[str, int]:
    status = Path("/proc/self/status").read_text()
    fields = {"peak": "VmHWM", "anonymous": "RssAnon"}
    return {key: 1024 * int(re.search(rf"^{name}:\s+(\d+) kB$", status, re.M)[1]) for key, name in fields.items()}


@torch.no_grad()
def main() -> None:
    folder, dtype = sys.argv[1], getattr(torch, sys.argv[2])
    t5 = AutoConfig.from_pretrained(folder).model_type == "t5"
    # Importing a model's code is part of `import transformers`, done lazily: before the clock starts, like the addon's loading.
    auto = AutoModelForSeq2SeqLM if t5 else AutoModelForCausalLM
    auto._model_mapping[type(AutoConfig.from_pretrained(folder))]
    ids = torch.tensor([[2 + (position * 7919) % VOCABULARY for position in range(TOKENS)]])
    started = time.perf_counter()
    model = auto.from_pretrained(folder, dtype=dtype).eval()
    logits = model(input_ids=ids, **({"labels": ids[:, :LABELS]} if t5 else {})).logits.float()
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "sample": logits[0, -1, ::100].tolist(), **resident()}))


if __name__ == "__main__":
    main()
