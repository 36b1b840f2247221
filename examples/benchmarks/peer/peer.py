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
        self.device = torch.device(request["device"])
        config = AutoConfig.from_pretrained(request["folder"])
        self.t5 = config.model_type == "t5"
        self.pad, self.end = config.pad_token_id, config.eos_token_id
        auto = AutoModelForSeq2SeqLM if self.t5 else AutoModelForCausalLM
        dtype = torch.bfloat16 if way["precision"] in ("bfloat16", "mixed") else torch.float32
        base = auto.from_pretrained(request["folder"], dtype=dtype).to(self.device)
        if request["gradientCheckpointing"]:
            base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        # The adapter is fp32 in every way: peft's default.
        self.model = peft.PeftModel.from_pretrained(base, request["adapter"], is_trainable=True)
        self.autocast = way["precision"] in ("autocast", "mixed")
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        # The Trainer's default. Weight decay 0 as on the other side.
        self.optimizer = torch.optim.AdamW(self.parameters, lr=LEARNING_RATE, weight_decay=0.0, fused=True)
        self.forward = torch.compile(self.model, dynamic=True) if way["compile"] else self.model
        self.finish()
        return {"trainable": sum(p.numel() for p in self.parameters)}

    def finish(self):
        """Returns when the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def precision(self):
        if not self.autocast:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def padded(self, rows, value, left=False):
        """Padded to the longest, as the data collators do; to a GPU as the Trainer's data loader sends it."""
        longest = max(map(len, rows))
        fill = [[value] * (longest - len(row)) for row in rows]
        batch = torch.tensor([pad + row if left else row + pad for row, pad in zip(rows, fill)])
        return batch if self.device.type == "cpu" else batch.pin_memory().to(self.device, non_blocking=True)

    def inputs(self, batch):
        ids = batch["inputIds"]
        return {
            "input_ids": self.padded(ids, self.pad),
            "attention_mask": self.padded([[1] * len(row) for row in ids], 0),
            "labels": self.padded(batch["labels"], -100),
        }

    def loss(self, batch, forward=None):
        with self.precision():
            return (forward or self.forward)(**self.inputs(batch)).loss

    def check(self, request):
        self.model.eval()
        # As it is: compiled anew for a pass without dropout, it would take a minute more.
        loss = self.loss(request["batch"], self.model)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, float("inf"))
        self.optimizer.zero_grad()
        attention = getattr(self.model.config, "_attn_implementation", None) or "unknown"
        return {"loss": loss.item(), "gradNorm": norm.item(), "attention": attention}

    def steps(self, request):
        self.model.train()
        losses = []
        self.finish()
        started = time.perf_counter()
        for batch in request["batches"]:
            loss = self.loss(batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.parameters, MAX_GRAD_NORM)
            self.optimizer.step()
            self.optimizer.zero_grad()
            losses.append(loss.detach())
        losses = [loss.item() for loss in losses]
        self.finish()
        return {"losses": losses, "seconds": time.perf_counter() - started}

    def generate(self, request):
        """In the order of the records, `batch` at once; a decoder's prompts are padded on the left."""
        self.model.eval()
        prompts, batch = request["prompts"], request["batch"]
        answers = []
        self.finish()
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
        peak = 1024 * int(re.search(r"^VmHWM:\s+(\d+) kB$", status, re.M)[1])
        device = None
        if self.device.type == "cuda":
            device = {
                "allocated": torch.cuda.max_memory_allocated(),
                "reserved": torch.cuda.max_memory_reserved(),
            }
        return {"peak": peak, "device": device}


def main():
    peer = Peer()
    handlers = {
        "load": peer.load,
        "check": peer.check,
        "steps": peer.steps,
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
