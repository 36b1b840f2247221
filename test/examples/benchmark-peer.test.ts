import { expect } from "chai";
import { evaluationPrompts, trainingBatch } from "../../examples/benchmarks/peer/batches.js";
import { median, pairedRatio, relativeDifference } from "../../examples/benchmarks/peer/ratios.js";
import {
  evaluationTable,
  formatRatio,
  memoryTable,
  stepTable,
} from "../../examples/benchmarks/peer/tables.js";
import { shareOfEqual } from "../../examples/benchmarks/peer/evaluation.js";
import { describeWay, waysOf } from "../../examples/benchmarks/peer/ways.js";

const mixed = { size: 200, equalLengths: false };

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
    const options = { family: "t5", size: 4, equalLengths: false } as const;
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
      const { inputIds, labels } = trainingBatch(1, { family, size: 8, equalLengths: true });
      expect(new Set(inputIds.map((ids) => ids.length))).to.deep.equal(new Set([120]));
      expect(new Set(labels.map((ids) => ids.length)).size).to.equal(1);
    }
    expect(new Set(evaluationPrompts(9, { equalLengths: true }).map((ids) => ids.length)).size).to.equal(1);
    expect(new Set(evaluationPrompts(9, { equalLengths: false }).map((ids) => ids.length)).size).to.be.above(
      1,
    );
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
  it("a row for every model and type that was measured, with medians and the ratio's spread", () => {
    const way = { precision: "autocast", compile: false } as const;
    const ratio = pairedRatio([4, 6, 8], [2, 2, 2]);
    const agreement = { loss: 10, lossDifference: 3e-5, gradNormDifference: 0.01 };
    const text = stepTable([
      {
        ...{ model: "t5-base", type: "bfloat16", way, trials: [] },
        step: { agreement, here: [2, 2, 2], peer: [4, 6, 8], ratio },
      },
      { model: "t5-small", type: "float32", way, trials: [] },
    ]);
    expect(formatRatio(ratio)).to.equal("3.00 (2.00-4.00)");
    expect(text).to.match(
      /t5-base bfloat16 .* 2\.000 .* 6\.000 .* 3\.00 \(2\.00-4\.00\) .* autocast .* 3\.0e-5/,
    );
    expect(text).not.to.include("t5-small");
  });

  it("evaluation: milliseconds of a record, three ways of comparing; memory: this side's share of the peer's", () => {
    const way = { precision: "float32", compile: false } as const;
    const ratio = { median: 12, min: 11, max: 13 };
    const evaluation = {
      ...{ way, records: 10, newTokens: 4, equal: 0.9 },
      ...{ here: [0.5], scored: [0.2], oneByOne: [6], batched: [2] },
      ...{ toOneByOne: ratio, toBatched: ratio, scoredToOneByOne: ratio },
    };
    const GiB = 2 ** 30;
    const memory = {
      steps: { here: 3 * GiB, peer: 6 * GiB },
      evaluation: { here: GiB, peer: 4 * GiB },
    };
    const measured = { model: "qwen-0.5b", type: "float32", way, trials: [], evaluation, memory } as const;
    const text = evaluationTable([{ ...measured, trials: [] }]).split("\n");
    const row = (what: string): string => text.find((line) => line.includes(what)) ?? "";
    expect(row("one by one")).to.match(/ 50\.0 .* 600\.0 .* 12\.00 \(11\.00-13\.00\) .* 90 %/);
    expect(row("in batches")).to.match(/ 50\.0 .* 200\.0 /);
    expect(row("scored")).to.match(/ 20\.0 .* 600\.0 /);
    const memoryText = memoryTable([{ ...measured, trials: [] }]);
    expect(memoryText).to.match(/training .* 3\.00 .* 6\.00 .* 0\.50/);
    expect(memoryText).to.match(/evaluation .* 1\.00 .* 4\.00 .* 0\.25/);
  });

  it("count an answer as equal only token for token", () => {
    expect(shareOfEqual([[1], [2, 3], [4]], [[1], [2, 3, 1], [5]])).to.be.closeTo(1 / 3, 1e-12);
  });

  it("name every way that is tried: two in bfloat16, and twice as many with compilation", () => {
    expect(waysOf("float32", false).map(describeWay)).to.deep.equal(["fp32"]);
    expect(waysOf("bfloat16", true).map(describeWay)).to.deep.equal([
      "autocast",
      "autocast, compiled",
      "bf16 base",
      "bf16 base, compiled",
    ]);
  });
});
