import { expect } from "chai";
import {
  evaluationPrompts,
  inputTokens,
  realTokens,
  trainingBatch,
} from "../../examples/benchmarks/peer/batches.js";
import { peaksOf } from "../../examples/benchmarks/peer/memory.js";
import { parseOptions, usualBatch } from "../../examples/benchmarks/peer/options.js";
import { median, pairedRatio, relativeDifference } from "../../examples/benchmarks/peer/ratios.js";
import {
  evaluationTable,
  formatRatio,
  memoryTable,
  stepTable,
  type Measured,
} from "../../examples/benchmarks/peer/tables.js";
import { shareOfEqual } from "../../examples/benchmarks/peer/evaluation.js";
import { disagreement } from "../../examples/benchmarks/peer/step.js";
import { describeWay, hasFailed, waysOf } from "../../examples/benchmarks/peer/ways.js";

const mixed = { size: 200, equalLengths: false, tokens: inputTokens };

describe("benchmark against the peer: batches", () => {
  it("T5: sources of 40-200 tokens, targets of 4-12 that end with the end token, none of them padding", () => {
    const { inputIds, labels } = trainingBatch(3, { family: "t5", ...mixed });
    const lengths = inputIds.map((ids) => ids.length);
    expect(Math.min(...lengths)).to.be.within(40, 60);
    expect(Math.max(...lengths)).to.be.within(180, 200);
    for (const target of labels) {
      expect(target.length).to.be.within(4, 12);
      expect(target.at(-1)).to.equal(1);
      expect(target.slice(0, -1).every((id) => id >= 2 && id < 32000)).to.equal(true);
    }
    expect(inputIds.flat().every((id) => id >= 2 && id < 32000)).to.equal(true);
  });

  it("decoder: labels run parallel to the tokens and only the last few are there", () => {
    const { inputIds, labels } = trainingBatch(0, { family: "decoder", ...mixed });
    inputIds.forEach((ids, i) => {
      const label = labels[i]!;
      expect(ids.length).to.be.within(40, 200);
      expect(label.length).to.equal(ids.length);
      const first = label.findIndex((id) => id !== -100);
      expect(label.length - first).to.be.within(4, 12);
      expect(label.slice(first)).to.deep.equal(ids.slice(first));
    });
  });

  it("are the same at every call, and other records in every batch", () => {
    const options = { family: "t5", size: 4, equalLengths: false, tokens: inputTokens } as const;
    expect(trainingBatch(2, options)).to.deep.equal(trainingBatch(2, options));
    const records = [0, 1, 2].flatMap((number) => trainingBatch(number, options).inputIds.map(String));
    expect(new Set(records).size).to.equal(12);
    expect(trainingBatch(2, options).firstKey).to.equal(8);
    // A record is a function of its number, whatever batch it is in.
    expect(trainingBatch(1, options).inputIds[1]).to.deep.equal(
      trainingBatch(0, { ...options, size: 8 }).inputIds[5],
    );
  });

  it("of equal lengths have nothing to pad", () => {
    for (const family of ["t5", "decoder"] as const) {
      const { inputIds, labels } = trainingBatch(1, {
        ...{ family, size: 8, equalLengths: true, tokens: inputTokens },
      });
      expect(new Set(inputIds.map((ids) => ids.length))).to.deep.equal(new Set([120]));
      expect(new Set(labels.map((ids) => ids.length)).size).to.equal(1);
    }
    const lengthsOf = (equalLengths: boolean): Set<number> =>
      new Set(
        evaluationPrompts(9, { equalLengths, tokens: inputTokens, sharedTokens: 0 }).map((ids) => ids.length),
      );
    expect(lengthsOf(true).size).to.equal(1);
    expect(lengthsOf(false).size).to.be.above(1);
  });

  it("to be answered begin with as many shared tokens as are wanted, and are no longer for them", () => {
    const options = { equalLengths: false, tokens: inputTokens };
    const plain = evaluationPrompts(6, { ...options, sharedTokens: 0 });
    const alike = evaluationPrompts(6, { ...options, sharedTokens: 30 });
    expect(new Set(alike.map((ids) => String(ids.slice(0, 30)))).size).to.equal(1);
    expect(new Set(alike.map((ids) => ids[30])).size).to.be.above(1);
    expect(alike.map((ids) => ids.slice(30))).to.deep.equal(plain.map((ids) => ids.slice(30)));
  });

  it("take other bounds, and a mean that is a whole number", () => {
    const options = { family: "decoder", size: 50, equalLengths: false, tokens: [300, 511] } as const;
    const lengths = trainingBatch(0, options).inputIds.map((ids) => ids.length);
    expect(Math.min(...lengths)).to.be.within(300, 320);
    expect(Math.max(...lengths)).to.be.within(490, 511);
    const { inputIds } = trainingBatch(0, { ...options, equalLengths: true });
    expect(new Set(inputIds.map((ids) => ids.length))).to.deep.equal(new Set([405]));
  });

  it("count what is computed without padding: T5's inputs and targets, a decoder's tokens once", () => {
    const batch = { inputIds: [[2, 3, 4], [5]], labels: [[6, 1], [1]], firstKey: 0 };
    expect(realTokens(batch, "t5")).to.equal(7);
    expect(realTokens({ ...batch, labels: [[-100, 3, 4], [-100]] }, "decoder")).to.equal(4);
  });
});

describe("benchmark against the peer: ratios", () => {
  it("are of every round by itself", () => {
    // The medians' own ratio would be 2.
    expect(pairedRatio([2, 6, 40], [1, 2, 20])).to.deep.equal({ median: 2, min: 2, max: 3 });
    expect(pairedRatio([3, 8], [1, 2])).to.deep.equal({ median: 3.5, min: 3, max: 4 });
  });

  it("need as many rounds of both, and at least one", () => {
    expect(() => pairedRatio([1, 2], [1])).to.throw("2 rounds of the peer and 1 here");
    expect(() => median([])).to.throw();
  });

  it("differences are shares of the second", () => {
    expect(relativeDifference(1.5, -2)).to.equal(1.75);
    expect(relativeDifference(2.5, 2)).to.equal(0.25);
  });
});

describe("benchmark against the peer: tables", () => {
  const agreement = {
    ...{ loss: 10, peerLoss: 10, gradNorm: 1, peerGradNorm: 1 },
    ...{ lossDifference: 3e-5, gradNormDifference: 0.01, within: true },
  };

  it("a row for every model and type that was measured, with medians and the ratio's spread", () => {
    const way = { precision: "autocast", compile: false } as const;
    const ratio = pairedRatio([4, 6, 8], [2, 2, 2]);
    const text = stepTable([
      {
        ...{ model: "t5-base", type: "bfloat16", batchSize: 8, way, trials: [] },
        step: {
          ...{ agreement, attention: "sdpa", here: [2, 2, 2], peer: [4, 6, 8], ratio, memory: null },
          tokens: [900, 1000, 1200],
        },
      },
      { model: "t5-small", type: "float32", batchSize: 8, way, trials: [] },
    ]);
    expect(formatRatio(ratio)).to.equal("3.00 (2.00-4.00)");
    expect(text).to.match(
      /t5-base bfloat16, batch 8 .* 2\.000 .* 6\.000 .* 3\.00 \(2\.00-4\.00\) .* 500 .* 167 .* autocast, sdpa attention .* 3\.0e-5/,
    );
    expect(text).not.to.include("t5-small");
  });

  it("say where the two do not compute the same, and what this side takes where the peer does not work", () => {
    const way = { precision: "bfloat16", compile: false } as const;
    const ratio = { median: 2, min: 2, max: 2 };
    const wrong = { ...agreement, peerLoss: 12, within: false };
    const error = "out of memory";
    const text = stepTable([
      {
        ...{ model: "t5-large", type: "bfloat16", batchSize: 64, way, trials: [] },
        step: {
          ...{ agreement: wrong, attention: "sdpa", here: [1], peer: [2], ratio, memory: null, tokens: [9] },
        },
      },
      {
        ...{ model: "llama-2-7b", type: "bfloat16", batchSize: 16, way: null },
        trials: [{ way, seconds: null, error }],
        alone: { here: [2], tokens: [1000], memory: null },
      },
    ]);
    expect(text).to.match(/t5-large .* 3\.0e-5, THEY DISAGREE/);
    expect(text).to.match(/llama-2-7b bfloat16, batch 16 .* 2\.000 .* - .* - .* 500 .* does not work/);
    expect(disagreement("bfloat16", wrong)).to.include("are 10 and 1 here, 12 and 1 of the peer");
    expect(hasFailed([{ way, seconds: null, error }])).to.equal(true);
    expect(hasFailed([{ way: { ...way, compile: true }, seconds: null, error }])).to.equal(false);
  });

  it("evaluation: milliseconds of a record, three ways of comparing; memory: this side's share of the peer's", () => {
    const way = { precision: "float32", compile: false } as const;
    const ratio = { median: 12, min: 11, max: 13 };
    const evaluation = {
      ...{ way, records: 10, sharedTokens: 0, newTokens: 4, equal: 0.9 },
      ...{ here: [0.5], scored: [0.2], oneByOne: [6], batched: [2] },
      ...{ toOneByOne: ratio, toBatched: ratio, scoredToOneByOne: ratio },
    };
    const GiB = 2 ** 30;
    const memory = {
      steps: { here: 3 * GiB, peer: 6 * GiB },
      evaluation: { here: GiB, peer: 4 * GiB },
    };
    const measured: Measured = {
      ...{ model: "qwen-0.5b", type: "float32", batchSize: 8, way, trials: [], evaluation, memory },
    };
    const text = evaluationTable([measured]).split("\n");
    const row = (what: string): string => text.find((line) => line.includes(what)) ?? "";
    expect(row("one by one")).to.match(/ 50\.0 .* 600\.0 .* 12\.00 \(11\.00-13\.00\) .* 90 %/);
    expect(row("in batches")).to.match(/ 50\.0 .* 200\.0 /);
    expect(row("scored")).to.match(/ 20\.0 .* 600\.0 /);
    const alike = { ...measured, evaluation: { ...evaluation, sharedTokens: 40 } };
    expect(evaluationTable([alike])).to.include("qwen-0.5b float32 (40 tokens shared), generated");
    const memoryText = memoryTable([measured]);
    expect(memoryText).to.match(/training .* 3\.00 .* 6\.00 .* 0\.50/);
    expect(memoryText).to.match(/evaluation .* 1\.00 .* 4\.00 .* 0\.25/);
  });

  it("memory on a GPU: what is in tensors and what was taken from the card, where both sides were on one", () => {
    const GiB = 2 ** 30;
    const onCard = (allocated: number): Parameters<typeof peaksOf>[0] => ({
      ...{ peak: 9 * GiB, device: { allocated: allocated * GiB, reserved: (allocated + 1) * GiB } },
    });
    expect(peaksOf({ peak: 1, device: null }, { peak: 2, device: null })).to.deep.equal({ here: 1, peer: 2 });
    const memory = peaksOf(onCard(3), onCard(6));
    const way = { precision: "mixed", compile: true } as const;
    const step = {
      agreement,
      ...{
        attention: "sdpa",
        here: [1],
        peer: [1],
        tokens: [1],
        ratio: { median: 1, min: 1, max: 1 },
        memory,
      },
    };
    const text = memoryTable([
      { model: "llama-2-7b", type: "bfloat16", batchSize: 16, way, trials: [], step },
    ]);
    expect(text).to.match(/batch 16, the steps above, in tensors .* 3\.00 .* 6\.00 .* 0\.50/);
    expect(text).to.match(/taken from the card .* 4\.00 .* 7\.00 .* 0\.57/);
  });

  it("count an answer as equal only token for token", () => {
    expect(shareOfEqual([[1], [2, 3], [4]], [[1], [2, 3, 1], [5]])).to.be.closeTo(1 / 3, 1e-12);
  });

  it("name every way that is tried: two in bfloat16, and twice as many with compilation", () => {
    const cpu = { torchCompile: false, device: "cpu" } as const;
    expect(waysOf("float32", cpu).map(describeWay)).to.deep.equal(["fp32"]);
    expect(waysOf("bfloat16", { torchCompile: false, device: "cuda" }).map(describeWay)).to.deep.equal([
      "bf16 base",
      "bf16 base, autocast",
    ]);
    expect(waysOf("bfloat16", { ...cpu, torchCompile: true }).map(describeWay)).to.deep.equal([
      "autocast",
      "autocast, compiled",
      "bf16 base",
      "bf16 base, compiled",
    ]);
  });
});

describe("benchmark against the peer: the command line", () => {
  it("measures small models on the CPU, and large ones in bfloat16 on a GPU", () => {
    const cpu = parseOptions([]);
    expect([...cpu.parts]).to.deep.equal(["step", "evaluation", "memory", "startup"]);
    expect(cpu.models).to.deep.equal(["t5-small", "t5-base", "qwen-0.5b"]);
    expect(cpu.types).to.deep.equal(["float32", "bfloat16"]);
    expect([cpu.device, cpu.steps, cpu.batchSize, cpu.tokens]).to.deep.equal(["cpu", 1, null, [40, 200]]);
    const cuda = parseOptions(["--device", "cuda"]);
    expect([...cuda.parts]).to.deep.equal(["step", "method", "evaluation"]);
    expect(cuda.models).to.deep.equal(["t5-large", "llama-2-7b"]);
    expect([cuda.types, cuda.steps]).to.deep.equal([["bfloat16"], 8]);
    expect(usualBatch("cpu", "t5-base")).to.equal(8);
    expect(usualBatch("cuda", "t5-large")).to.equal(64);
    expect(usualBatch("cuda", "llama-2-7b")).to.equal(16);
  });

  it("takes what is said in place of what is usual", () => {
    const found = parseOptions([
      ...["--device", "cuda", "--models", "llama-2-13b", "--only", "memory", "--batch", "2", "--steps", "3"],
      ...["--tokens", "100-300", "--gradient-checkpointing", "--torch-compile", "--compile-limit", "90"],
    ]);
    expect([...found.parts]).to.deep.equal(["memory"]);
    expect([found.models, found.batchSize, found.steps]).to.deep.equal([["llama-2-13b"], 2, 3]);
    expect([found.tokens, found.gradientCheckpointing]).to.deep.equal([[100, 300], true]);
    expect([found.torchCompile, found.compileLimit]).to.deep.equal([true, 90]);
  });

  it("says what was expected of every argument", () => {
    const refused: [string[], string][] = [
      [["--device", "gpu"], "--device gpu: expected cpu, cuda"],
      [["--device", "cpu,cuda"], "expected one of cpu, cuda"],
      [["--models", "t5-huge"], "--models t5-huge: expected t5-small"],
      [["--only", "step,speed"], "--only speed: expected step"],
      [["--rounds", "0"], "--rounds 0: expected a whole number of at least 1"],
      [["--steps", "1.5"], "--steps 1.5: expected a whole number"],
      [["--tokens", "200-40"], "--tokens 200-40: expected LEAST-MOST"],
      [["--tokens", "4-40"], "of at least 16"],
      [["--shared-tokens", "50"], "--shared-tokens 50: expected a whole number of at most 40"],
      [["--tasks", "5"], "--tasks 5: order 4 has 4 tasks"],
      [["--run-evaluation", "none"], "--run-evaluation none: expected published, batched, both"],
    ];
    for (const [args, message] of refused) expect(() => parseOptions(args)).to.throw(message);
  });
});
