/** The parts of the benchmark that are runs, at a size of seconds: on the embedded model, where a peer is needed with Python. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { inputTokens } from "../../examples/benchmarks/peer/batches.js";
import { writeAdapter } from "../../examples/benchmarks/peer/checkpoints.js";
import { measureCycles } from "../../examples/benchmarks/peer/cycles.js";
import { madeTask, mostTasks, tasksOfOrder, wordsOf } from "../../examples/benchmarks/peer/made-tasks.js";
import { measureMethod } from "../../examples/benchmarks/peer/method.js";
import { compareVectors } from "../../examples/benchmarks/peer/method-vectors.js";
import { secondsByKind } from "../../examples/benchmarks/peer/profile.js";
import type { RunAnswer, RunEvaluation } from "../../examples/benchmarks/peer/protocol.js";
import { measureRun, type PeerRuns } from "../../examples/benchmarks/peer/run.js";
import type { Setting } from "../../examples/benchmarks/peer/setting.js";
import {
  cyclesTable,
  methodTable,
  profileTable,
  runTable,
  type Measured,
} from "../../examples/benchmarks/peer/tables.js";
import type { OperatorTime } from "../../lib/native/contract.js";
import { Tokenizer } from "../../lib/models/tokenizer.js";
import { embeddedModel } from "../../lib/models/trained-model.js";
import { missingInPython, python } from "../python/python.js";

const way = { precision: "float32", compile: false } as const;
const wanted = { data: null, count: mostTasks, trainRecords: 40, testRecords: 10 };

describe("benchmark against the peer: made tasks", () => {
  it("order 4's tasks and numbers of labels, inputs of 40-200 tokens, every label told apart by its first word", async () => {
    const tasks = await tasksOfOrder(embeddedModel, wanted);
    expect(tasks.map(({ name }) => name)).to.deep.equal(["dbpedia", "amazon", "yahoo", "agnews"]);
    expect(tasks.map(({ labels }) => labels.length)).to.deep.equal([14, 5, 10, 4]);
    const tokenizer = await Tokenizer.open(embeddedModel);
    for (const { train, test, labels } of tasks) {
      expect([train.length, test.length]).to.deep.equal([40, 10]);
      expect(new Set(train.map(({ output }) => output)).size).to.equal(labels.length);
      expect(new Set(labels.map((label) => label.split(" ")[0])).size).to.equal(labels.length);
      const lengths = (await tokenizer.encode([...train, ...test].map(({ input }) => input))).map(
        (ids) => ids.length,
      );
      expect(Math.min(...lengths)).to.be.within(40, 80);
      expect(Math.max(...lengths)).to.be.within(160, 200);
    }
    const texts = tasks.flatMap(({ train, test }) => [...train, ...test].map(({ input }) => input));
    expect(new Set(texts).size, "all records differ").to.equal(200);
  });

  it("of a folder: the first records of the order's tasks that are there", async () => {
    const folder = mkdtempSync(join(tmpdir(), "rkif-benchmark-data-"));
    const words = await wordsOf(embeddedModel);
    for (const name of ["agnews", "amazon", "dbpedia", "yahoo", "other"]) {
      const task = madeTask(name, { number: 7, words, classes: 2, train: 6, test: 4, tokens: [5, 9] });
      for (const set of ["train", "test"] as const) {
        mkdirSync(join(folder, set), { recursive: true });
        writeFileSync(join(folder, set, `${name}.json`), JSON.stringify(task[set]));
      }
    }
    const limits = { data: folder, count: 2, trainRecords: 3, testRecords: 2 };
    const tasks = await tasksOfOrder("not read", limits);
    rmSync(folder, { recursive: true });
    expect(tasks.map(({ name }) => name)).to.deep.equal(["dbpedia", "amazon"]);
    expect(tasks.map(({ train, test }) => [train.length, test.length])).to.deep.equal([
      [3, 2],
      [3, 2],
    ]);
  });
});

describe("benchmark against the peer: the method's numbers", () => {
  const elements = 200_000;
  const vectors = (): Float32Array => new Float32Array(5 * elements).fill(0.5);

  it("importance has to be equal, and fused parameters but for a few at a threshold", () => {
    const here = vectors();
    here[3] = 0.4;
    here[7] = 0.5 * (1 + 5e-7);
    const found = compareVectors(here, vectors(), elements);
    expect(found.atThreshold).to.equal(1);
    expect(found.parameters).to.be.closeTo(5e-7, 1e-7);
    expect(found.averages).to.equal(0);
    here[4] = here[5] = 0.4;
    expect(() => compareVectors(here, vectors(), elements)).to.throw("3 fused parameters");
    const averages = vectors();
    averages[elements + 1] = 0.5 * (1 + 1e-5);
    expect(() => compareVectors(averages, vectors(), elements)).to.throw("importance differs");
    averages[elements + 1] = NaN;
    expect(() => compareVectors(averages, vectors(), elements)).to.throw("importance differs by NaN");
    expect(() => compareVectors(here.subarray(1), vectors(), elements)).to.throw("expected 5 vectors");
  });
});

describe("benchmark against the peer: tables of runs", () => {
  const answer = (total: number, training: number, evaluation: number): RunAnswer => ({
    seconds: { total, training, method: 0.5, evaluation },
    ...{ steps: 20, cycles: 3, memory: [4], answered: 10, firstLoss: 2, finite: true },
  });
  const measured: Measured = { model: "t5-base", type: "float32", batchSize: 8, way, trials: [] };
  const rowOf = (text: string, what: string): string =>
    text.split("\n").find((line) => line.includes(what)) ?? "";

  it("a run's parts, with what is left of the whole", () => {
    const peer = (evaluation: RunEvaluation, seconds: number): PeerRuns => ({
      ...{ evaluation, ratio: { median: 4, min: 4, max: 4 }, answers: [answer(38 + seconds, 35, seconds)] },
    });
    const peers = [peer("published", 12), peer("batched", 2)];
    const run = { ...{ way, peers, lossDifference: 2e-6 }, here: [answer(10, 7, 2)] };
    const text = runTable([{ ...measured, run }]);
    const end = / 10\.00 .* 40\.00 .* 4\.00 .* 20 .* 3 .* 2\.0e-6/;
    expect(rowOf(text, "end to end, peer evaluates in batches")).to.match(end);
    expect(rowOf(text, "end to end, peer evaluates one by one")).to.match(/ 10\.00 .* 50\.00 .* 5\.00 /);
    expect(rowOf(text, "evaluation, peer evaluates one by one")).to.match(/ 2\.00 .* 12\.00 .* 6\.00 /);
    expect(rowOf(text, ", training")).to.match(/ 7\.00 .* 35\.00 .* 5\.00 /);
    expect(rowOf(text, "the rest")).to.match(/ 0\.50 .* 2\.50 .* 5\.00 /);
  });

  it("the method's work as a share of a cycle where the vector is the model's; cycles beside the first", () => {
    const size = {
      ...{ elements: 900_000, here: [0.004], peer: [0.1], ratio: { median: 25, min: 25, max: 25 } },
      agreement: { averages: 0, parameters: 0, atThreshold: 0 },
    };
    const method = { sizes: [size, { ...size, elements: 1e7 }], cycle: { here: 20, peer: 50 } } as const;
    const text = methodTable([{ ...measured, method: { ...method, sizes: [...method.sizes] } }]);
    expect(rowOf(text, "0.90 M")).to.match(/ 4\.00 .* 100\.00 .* 25\.00 .* 0\.020 % .* 0\.200 %/);
    expect(rowOf(text, "10.00 M")).not.to.include("%");
    const cycles = { learned: [2, 15], seconds: [[2], [2.5]], memory: [8, 60], toFirst: [1, 1.25] };
    expect(cyclesTable([{ ...measured, cycles }])).to.match(/ 15 .* 60 .* 2\.500 .* 1\.250/);
  });
});

describe("benchmark against the peer: where a step's time goes", () => {
  it("adds operators up by kind of work; the rest of the clock's time is between them", () => {
    const of = (name: string, seconds: number): OperatorTime => ({ name, seconds, calls: 1 });
    const operators = [
      ...[of("mkldnn::_linear_pointwise", 3), of("aten::mm", 1), of("rkif::attention", 2)],
      ...[of("rkif::activation", 0.5), of("rkif::norm", 0.25), of("aten::index_select", 0.125)],
    ];
    const kinds = secondsByKind(10, operators);
    expect(kinds).to.deep.equal({
      "matrix products": 4,
      attention: 2,
      "norms, activations, rotation": 0.75,
      "other operators": 0.125,
      "between operators": 3.125,
    });
    const profile = { seconds: 10, kinds, operators };
    const text = profileTable([
      { model: "t5-base", type: "float32", batchSize: 8, way, trials: [], profile },
    ]);
    expect(text).to.match(/matrix products .* 4000\.0 .* 40\.0 %/);
  });
});

describe("benchmark against the peer: runs on the embedded model", function () {
  this.timeout(300_000);
  let folder: string;
  let setting: Setting;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "rkif-benchmark-"));
    const adapter = join(folder, "adapter");
    await writeAdapter(embeddedModel, adapter);
    setting = {
      // Only a name in messages.
      model: "t5-small",
      checkpoint: { family: "t5", folder: embeddedModel, adapter },
      ...{ type: "float32", device: "cpu", python, threads: 1, rounds: 2, steps: 1, batchSize: 2 },
      ...{ equalLengths: false, tokens: inputTokens, gradientCheckpointing: false },
      ...{ records: 4, sharedTokens: 0, evaluationBatch: 4, newTokens: 2 },
    };
  });
  after(() => rmSync(folder, { recursive: true }));

  it("cycles after tasks: as many as asked for at each, with the memory of the tasks before", async () => {
    const { seconds, memory, toFirst } = await measureCycles(setting, [1, 3]);
    expect(seconds.map((each) => each.length)).to.deep.equal([2, 2]);
    expect(seconds.flat().every((each) => each > 0)).to.equal(true);
    // Four labels with a record each; of the first timed task's 48 records no more.
    expect(memory).to.deep.equal([4, 12]);
    expect(toFirst[0]).to.equal(1);
  });

  const missing = missingInPython(["torch", "transformers", "peft", "safetensors", "numpy"]);
  if (missing !== null) {
    it(`both sides: ${missing} (RKIF_PYTHON names another Python than ${python})`, function () {
      this.skip();
    });
    return;
  }

  it("a whole run: both do the same, and every second belongs somewhere", async () => {
    const { here, peers, lossDifference } = await measureRun(setting, way, {
      ...{ ...wanted, rounds: 1, epochs: 1, evaluations: ["published", "batched"] },
    });
    const [published, batched] = peers.map(({ answers }) => answers[0]!);
    for (const answer of [here[0]!, published!, batched!]) {
      // 20 inner steps a task; from the second on 2 cycles of 4 outer steps.
      expect([answer.steps, answer.cycles]).to.deep.equal([4 * 20 + 3 * 2 * 4, 6]);
      expect(answer.memory).to.deep.equal([14, 5, 10, 4]);
      expect(answer.answered).to.equal((1 + 2 + 3 + 4) * 10);
      const { total, training, method, evaluation } = answer.seconds;
      for (const part of [training, method, evaluation]) expect(part).to.be.above(0);
      expect(training + method + evaluation).to.be.below(total);
    }
    expect(lossDifference).to.be.below(1e-4);
    expect(peers.map(({ evaluation }) => evaluation)).to.deep.equal(["published", "batched"]);
    for (const { answers, ratio } of peers) {
      expect(ratio.median).to.equal(answers[0]!.seconds.total / here[0]!.seconds.total);
    }
    const withoutEvaluation = ({ seconds }: RunAnswer): number => seconds.total - seconds.evaluation;
    expect(withoutEvaluation(published!)).to.be.closeTo(withoutEvaluation(batched!), 1e-6);
    expect(published!.seconds.evaluation).to.be.above(batched!.seconds.evaluation);
  });

  it("a whole run is refused for a decoder, with a word", async () => {
    const decoder = { ...setting, checkpoint: { ...setting.checkpoint, family: "decoder" as const } };
    const failure = await measureRun(decoder, way, {
      ...{ ...wanted, rounds: 1, epochs: 1, evaluations: ["published"] },
    }).catch((error: Error) => error.message);
    expect(failure).to.include("for T5 only");
  });

  it("the method's own work: the same numbers of both, and some time", async () => {
    const shapes = Array.from({ length: 20 }, () => [
      [8, 128],
      [128, 8],
    ]).flat();
    const { elements, agreement, here, peer } = await measureMethod(setting, shapes);
    expect(elements).to.equal(40960);
    expect(agreement.averages).to.be.within(1e-9, 1e-6);
    expect(agreement.atThreshold).to.equal(0);
    expect(here).to.have.length(2);
    expect(peer.every((seconds) => seconds > 0)).to.equal(true);
  });
});
