"""The peer: transformers + peft as people run them. Answers requests (protocol.ts) on stdin, one JSON document a line."""

import contextlib
import json
import sys
import time
import traceback

import peft
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

LEARNING_RATE, MAX_GRAD_NORM = 3e-4, 1.0


class Peer:
    def load(self, request):
        torch.set_num_threads(request["threads"])
        way = request["way"]
        config = AutoConfig.from_pretrained(request["folder"])
        self.t5 = config.model_type == "t5"
        self.pad = config.pad_token_id
        auto = AutoModelForSeq2SeqLM if self.t5 else AutoModelForCausalLM
        dtype = torch.bfloat16 if way["precision"] == "bfloat16" else torch.float32
        base = auto.from_pretrained(request["folder"], dtype=dtype)
        self.model = peft.PeftModel.from_pretrained(base, request["adapter"], is_trainable=True)
        self.autocast = way["precision"] == "autocast"
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        # The Trainer's default. Weight decay 0 as on the other side.
        self.optimizer = torch.optim.AdamW(self.parameters, lr=LEARNING_RATE, weight_decay=0.0, fused=True)
        self.forward = torch.compile(self.model, dynamic=True) if way["compile"] else self.model
        return {"trainable": sum(p.numel() for p in self.parameters)}

    def precision(self):
        return torch.autocast("cpu", dtype=torch.bfloat16) if self.autocast else contextlib.nullcontext()

    def padded(self, rows, value, left=False):
        """Padded to the longest, as the data collators do."""
        longest = max(map(len, rows))
        fill = [[value] * (longest - len(row)) for row in rows]
        return torch.tensor([pad + row if left else row + pad for row, pad in zip(rows, fill)])

    def inputs(self, batch):
        ids = batch["inputIds"]
        return {
            "input_ids": self.padded(ids, self.pad),
            "attention_mask": self.padded([[1] * len(row) for row in ids], 0),
            "labels": self.padded(batch["labels"], -100),
        }

    def loss(self, batch):
        with self.precision():
            return self.forward(**self.inputs(batch)).loss

    def check(self, request):
        self.model.eval()
        loss = self.loss(request["batch"])
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, float("inf"))
        self.optimizer.zero_grad()
        return {"loss": loss.item(), "gradNorm": norm.item()}

    def step(self, request):
        self.model.train()
        started = time.perf_counter()
        loss = self.loss(request["batch"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, MAX_GRAD_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad()
        value = loss.item()
        return {"loss": value, "seconds": time.perf_counter() - started}


def main():
    peer = Peer()
    handlers = {"load": peer.load, "check": peer.check, "step": peer.step}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = handlers[request["do"]](request)
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
