"""A whole Recurrent-KIF run with transformers + peft: padded batches, AdamW, evaluation of all seen tasks after each by generation."""

import json
import math
import random
import time
from pathlib import Path

import torch
from recurrent_kif import Cycle, Stopwatch
from transformers import AutoTokenizer

MAX_GRAD_NORM = 1.0
COMPARED = 8  # records whose loss is compared
LEAST_RECORDS_PER_CLASS = 2


def run(peer, request):
    """`peer` has no model yet: loading it counts. Answers as protocol.ts has it, for every way of evaluating: the same run but for that."""
    with open(request["tasks"], encoding="utf-8") as file:
        tasks = json.load(file)
    started = time.perf_counter()
    whole = Run(peer, request)
    first = whole.encode(tasks[0]["train"][:COMPARED])
    paused = time.perf_counter()
    first_loss = peer.first_loss({"batch": whole.batch(first)})["loss"]
    paused = time.perf_counter() - paused
    for task in tasks:
        whole.learn(task)
    total = time.perf_counter() - started - paused
    seconds = whole.watch.seconds
    method = seconds.get("method", 0.0)
    evaluating = {way: seconds[way] for way in request["evaluations"]}
    learning = total - sum(evaluating.values())
    parts = {"training": seconds["training"] - method, "method": method}
    did = {
        "steps": len(whole.losses),
        "cycles": whole.cycles,
        "memory": [len(records) for records in whole.memories],
        "firstLoss": first_loss,
        "finite": all(map(math.isfinite, whole.losses)),
    }
    return {
        way: {"seconds": {"total": learning + took, **parts, "evaluation": took}, "answered": whole.answered[way], **did}
        for way, took in evaluating.items()
    }


class Run:
    def __init__(self, peer, request):
        peer.load(request)
        self.peer, self.request, self.method = peer, request, request["method"]
        self.named = {name: p for name, p in peer.model.named_parameters() if p.requires_grad}
        self.tokenizer = AutoTokenizer.from_pretrained(request["folder"])
        self.watch = Stopwatch(peer.finish)
        self.tests, self.memories, self.losses, self.cycles = [], [], [], 0
        # As published: one record at a time.
        self.at_once = {"published": 1, "batched": request["evaluationBatch"]}
        self.answered = dict.fromkeys(request["evaluations"], 0)
        self.random = random.Random(42)

    def encode(self, records):
        """The whole set at once, as a mapped data set is; padded later, in batches."""
        limit = lambda texts, tokens: self.tokenizer(texts, truncation=True, max_length=tokens)["input_ids"]
        sources = limit([prompt(record) for record in records], self.request["sourceTokens"])
        targets = limit([record["output"] for record in records], self.request["targetTokens"])
        return list(zip(sources, targets))

    @staticmethod
    def batch(records):
        return {"inputIds": [source for source, _ in records], "labels": [target for _, target in records]}

    def learn(self, task):
        train = task["train"]
        records = self.encode(train)
        prompts = [source for source, _ in self.encode(task["test"])]
        self.tests.append((prompts, [record["output"] for record in task["test"]]))
        self.watch.time("training", self.train, records)
        kept = memory_of(train, self.request["memoryFraction"], self.random)
        self.memories.append([records[i] for i in kept])
        self.peer.model.save_pretrained(Path(self.request["run"] + "-peer") / task["name"])
        for way in self.answered:
            self.watch.time(way, lambda: [self.evaluate(way, *test) for test in self.tests])

    def train(self, records):
        size, epochs = self.request["batchSize"], self.request["epochs"]
        order = [i for _ in range(epochs) for i in self.shuffled(len(records), size)]
        memory = [record for kept in self.memories for record in kept]
        cycles = len(order) // self.method["innerSteps"] if memory else 0
        inner = Loop(self, self.request["learningRate"], len(order))
        outer = Loop(self, self.method["outerLearningRate"], cycles * self.method["outerSteps"])
        batches = iter([[records[i] for i in batch] for batch in order])
        draw = lambda: self.random.sample(memory, min(size, len(memory)))
        if cycles > 0:
            cycle = Cycle(self.named, self.method, self.watch)
            for _ in range(cycles):
                cycle.run(
                    lambda measure: inner.step(next(batches), measure),
                    lambda measure: outer.step(draw(), measure),
                )
        self.cycles += cycles
        for batch in batches:
            inner.step(batch)

    def shuffled(self, count, size):
        order = self.random.sample(range(count), count)
        return [order[begin : begin + size] for begin in range(0, count, size)]

    def evaluate(self, way, prompts, outputs):
        """Share of answers that are the record's output."""
        asked = {"prompts": prompts, "batch": self.at_once[way], "newTokens": self.request["newTokens"]}
        texts = self.tokenizer.batch_decode(self.peer.generate(asked)["answers"], skip_special_tokens=True)
        right = sum(normal(text) == normal(output) for text, output in zip(texts, outputs))
        self.answered[way] += len(texts)
        return right / len(texts)


class Loop:
    """The steps of one loop: an optimizer and a schedule of its own."""

    def __init__(self, run, learning_rate, total):
        self.run, self.losses, self.peer = run, run.losses, run.peer
        self.parameters = list(run.named.values())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=learning_rate, weight_decay=0.0, fused=True)
        warmup = run.request["warmupSteps"]
        decay = lambda step: max(0.0, (total - step) / max(1, total - warmup))
        rate = lambda step: step / warmup if step < warmup else decay(step)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, rate)

    def step(self, records, measure=None):
        self.peer.model.train()
        loss = self.peer.loss(Run.batch(records))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, MAX_GRAD_NORM)
        if measure:
            measure()
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        self.losses.append(loss.item())


def prompt(record):
    return record.get("instruction", "") + record["input"]


def normal(text):
    return text.replace("</s>", "").strip().lower()


def memory_of(records, fraction, draws):
    """As published: the same number of every label, at least one, and others at random up to the share; free text at random."""
    size = math.floor(fraction * len(records) + 1e-9)
    by_label = {}
    for i, record in enumerate(records):
        by_label.setdefault(record["output"], []).append(i)
    if len(records) < LEAST_RECORDS_PER_CLASS * len(by_label):
        return draws.sample(range(len(records)), max(1, size))
    each = max(1, size // len(by_label))
    chosen = [i for of_label in by_label.values() for i in draws.sample(of_label, min(each, len(of_label)))]
    rest = sorted(set(range(len(records))) - set(chosen))
    return chosen + draws.sample(rest, max(0, size - len(chosen)))
