"""The peer: transformers + peft as people run them. Answers requests (protocol.ts) on stdin, one JSON document a line."""

import contextlib
import json
import re
import sys
import time
import traceback
from pathlib import Path

import method_cycles
import peer_run
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
        self.pad, self.end = config.pad_token_id, config.eos_token_id
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

    def generate(self, request):
        """In the order of the records, `batch` at once; a decoder's prompts are padded on the left."""
        self.model.eval()
        prompts, batch = request["prompts"], request["batch"]
        answers = []
        started = time.perf_counter()
        for begin in range(0, len(prompts), batch):
            rows = prompts[begin : begin + batch]
            ids = self.padded(rows, self.pad, left=not self.t5)
            mask = self.padded([[1] * len(row) for row in rows], 0, left=not self.t5)
            with self.precision():
                found = self.model.generate(
                    input_ids=ids, attention_mask=mask, max_new_tokens=request["newTokens"], do_sample=False
                )
            answers += found[:, 1 if self.t5 else ids.shape[1] :].tolist()
        seconds = time.perf_counter() - started
        return {"answers": [self.until_end(answer) for answer in answers], "seconds": seconds}

    def until_end(self, answer):
        return answer[: answer.index(self.end) + 1] if self.end in answer else answer

    @torch.no_grad()
    def first_loss(self, request):
        self.model.eval()
        return {"loss": self.loss(request["batch"]).item()}

    def memory(self, request):
        status = Path("/proc/self/status").read_text()
        return {"peak": 1024 * int(re.search(r"^VmHWM:\s+(\d+) kB$", status, re.M)[1])}


def main():
    peer = Peer()
    handlers = {
        "load": peer.load,
        "check": peer.check,
        "step": peer.step,
        "generate": peer.generate,
        "loss": peer.first_loss,
        "memory": peer.memory,
        "run": lambda request: peer_run.run(peer, request),
        "method": method_cycles.measure,
    }
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = handlers[request["do"]](request)
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
