import { expect } from "chai";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { openFormat } from "../../lib/data/formats/open-format.js";
import type { EncodedRecord } from "../../lib/data/formats/record-format.js";
import { loadModel, type LoadModelOptions, type TrainedModel } from "../../lib/models/trained-model.js";
import type { StepRequest, StepResult } from "../../lib/methods/run.js";
import type { LearnerEvent } from "../../lib/training/events.js";
import { loadAddon } from "../../lib/native/load.js";
import { Learner } from "../../lib/training/learner.js";
import { TaskRun, type TaskRunParts } from "../../lib/training/task-run.js";
import { newTaskCounters, type TaskCounters } from "../../lib/training/task-state.js";
import {
  differences,
  learnAll,
  results,
  settings,
  smallTasks,
  temporaryFolder,
  writeTinyCheckpoint,
} from "./tiny-run.js";

const lora: LoadModelOptions["trainable"] = {
  ...{ kind: "lora", r: 4, alpha: 8, dropout: 0.1, rsLora: false, targetModules: ["q", "v"] },
  ...{ rankPattern: {}, alphaPattern: {} },
};
const options = {
  ...{ seed: 3, learningRate: 1e-2, warmupSteps: 0, weightDecay: 0, maxGradNorm: 1 },
  ...{ microBatchSize: null, selectBestOnDev: false, devEvery: 2 },
};

describe("a training step", function () {
  this.timeout(30_000);
  const folder = temporaryFolder();
  let model: string;
  before(async () => {
    model = await writeTinyCheckpoint(join(folder.path, "model"));
  });

  async function trained(loaded: TrainedModel, microBatchSize: number | null): Promise<Float32Array> {
    const { parameters } = loaded.model;
    parameters.set(Float32Array.from({ length: parameters.length }, (_, i) => Math.sin(i) / 10));
    const records = await encoded(loaded);
    const run = taskRun(loaded, records, { ...options, microBatchSize });
    for (let step = 0; step < 4; step++) await plainStep(run, records.slice(7 * step, 7 * step + 7), step);
    run.dispose();
    return parameters.read();
  }

  it("is the same for any micro-batch size, with dropout on", async () => {
    const loaded = await loadModel({ model, trainable: lora });
    try {
      const whole = await trained(loaded, null);
      const norm = Math.hypot(...whole);
      for (const size of [1, 3, 7]) {
        const parts = await trained(loaded, size);
        const apart = Math.hypot(...parts.map((value, i) => value - whole[i]!));
        expect(apart / norm, `micro-batches of ${size}`).to.be.below(1e-6);
      }
      const untrained = Float32Array.from(whole, (_, i) => Math.sin(i) / 10);
      expect(Math.hypot(...untrained.map((value, i) => value - whole[i]!)) / norm).to.be.above(1e-3);
    } finally {
      loaded.model.dispose();
    }
  });

  it("changes nothing where the loss is not finite, and gives up after 20 in a row", async () => {
    const loaded = await loadModel({ model, trainable: lora });
    try {
      const records = await encoded(loaded);
      const { parameters } = loaded.model;
      const run = taskRun(loaded, records, options);
      const batch = records.slice(0, 4);
      const good = Float32Array.from({ length: parameters.length }, (_, i) => Math.cos(i) / 10);
      const poisoned = Float32Array.from(good);
      poisoned[5] = NaN;

      parameters.set(good);
      await plainStep(run, batch, 0);
      expect(run.results.at(-1)).to.include({ applied: true });
      const kept = await vectorsOf(run);
      parameters.set(poisoned);
      for (let step = 1; step <= 19; step++) {
        await plainStep(run, batch, step);
        expect(run.results.at(-1)).to.deep.include({ loss: NaN, gradNorm: NaN, applied: false });
      }
      expect(await parameters.read()).to.deep.equal(poisoned);
      expect(await vectorsOf(run)).to.deep.equal(kept);
      expect(run.counters).to.include({ steps: 20, skipped: 19, skippedInARow: 19 });
      expect(run.counters.updates).to.deep.equal({ inner: 1 });

      // A good step in between, and the count begins anew.
      parameters.set(good);
      await plainStep(run, batch, 20);
      expect(run.results.at(-1)).to.include({ applied: true });
      parameters.set(poisoned);
      for (let step = 21; step <= 40; step++) await plainStep(run, batch, step);
      expect(run.results).to.have.length(41);
      const error = await plainStep(run, batch, 41).then(
        () => undefined,
        (thrown: unknown) => thrown as Error & { code: string },
      );
      expect(error?.code).to.equal("NON_FINITE");
      expect(error?.message).to.match(
        /task "task": 20 steps in a row .* \(the last: loss NaN, gradient norm NaN\)/,
      );
      expect(run.results).to.have.length(41);
      run.dispose();
    } finally {
      loaded.model.dispose();
    }
  });

  it("comes to the same however rarely results are read, with two optimizers and steps that are skipped", async () => {
    const loaded = await loadModel({ model, trainable: lora });
    try {
      const records = await encoded(loaded);
      const { parameters } = loaded.model;
      const learn = async (readEvery: number): Promise<object> => {
        parameters.set(Float32Array.from({ length: parameters.length }, (_, i) => Math.cos(i) / 10));
        const run = taskRun(loaded, records, options, { readEvery });
        const told: number[] = [];
        for (let step = 0; step < 10; step++) {
          const good = run.vector("good");
          const spoiled = step === 3 || step === 4 || step === 8;
          if (spoiled) {
            good.copyFrom(parameters);
            parameters.set(Float32Array.of(NaN));
          }
          const optimizer = run.optimizer(step % 3 === 0 ? "outer" : "inner");
          await plainStep(run, records.slice(3 * step, 3 * step + 3), step, 1e-2, {
            optimizer,
            loop: step % 2,
          });
          if (spoiled) parameters.copyFrom(good);
          told.push(run.results.length);
        }
        await run.finish();
        const { results, counters } = run;
        const outcome = {
          results,
          counters,
          vectors: await vectorsOf(run),
          parameters: await parameters.read(),
        };
        expect(told).to.deep.equal(told.map((_, step) => Math.floor((step + 1) / readEvery) * readEvery));
        run.dispose();
        return outcome;
      };
      const each = await learn(1);
      expect(each).to.have.nested.property("counters.skipped", 3);
      expect(each).to.have.deep.nested.property("counters.updates", { outer: 3, inner: 4 });
      expect(await learn(4)).to.deep.equal(each);
      expect(await learn(10)).to.deep.equal(each);
    } finally {
      loaded.model.dispose();
    }
  });

  it("gives up after 20 in a row, too, where a good step was under way already", async () => {
    const loaded = await loadModel({ model, trainable: lora });
    try {
      const records = await encoded(loaded);
      const { parameters } = loaded.model;
      const run = taskRun(loaded, records, options, { readEvery: 30 });
      const good = await parameters.copy().read();
      parameters.set(Float32Array.of(NaN));
      for (let step = 0; step < 20; step++) await plainStep(run, records.slice(0, 2), step);
      parameters.set(good);
      for (let step = 20; step < 30; step++) await plainStep(run, records.slice(0, 2), step);
      expect(run.results).to.have.length(30);
      expect(run.counters).to.include({ steps: 30, skipped: 20, skippedInARow: 0 });
      const error = await plainStep(run, records.slice(0, 2), 30).catch((thrown: unknown) => thrown as Error);
      expect(error).to.have.property("code", "NON_FINITE");
      await plainStep(run, records.slice(0, 2), 30);
      run.dispose();
    } finally {
      loaded.model.dispose();
    }
  });

  it("keeps the parameters with the least dev loss, the first of equals", async () => {
    const loaded = await loadModel({ model, trainable: lora });
    try {
      const records = await encoded(loaded);
      const run = taskRun(loaded, records, { ...options, selectBestOnDev: true, devEvery: 1 });
      const { parameters } = loaded.model;
      // By hand: parameters at every look, with their loss.
      const looks: { values: Float32Array; loss: number }[] = [];
      for (let step = 0; step < 6; step++) {
        // The rate of the later steps ruins the model, so that the best is not the last.
        await plainStep(run, records.slice(4 * step, 4 * step + 4), step, step < 3 ? 1e-2 : 1);
        looks.push({ values: await parameters.read(), loss: await devLoss(loaded, records) });
      }
      await run.finish();
      const best = looks.reduce((a, b) => (b.loss < a.loss ? b : a));
      expect(best).to.not.equal(looks.at(-1));
      expect(await parameters.read()).to.deep.equal(best.values);
      expect(run.counters.bestDevLoss).to.be.closeTo(best.loss, 1e-5);
      run.dispose();
    } finally {
      loaded.model.dispose();
    }
  });
});

describe("a run", function () {
  this.timeout(30_000);
  const folder = temporaryFolder();
  const at = (name: string): string => join(folder.path, name);
  let model: string;
  before(async () => {
    model = await writeTinyCheckpoint(at("model"));
  });

  it("gives the same bits twice, and others for another seed", async () => {
    const input = settings(model, { innerSteps: 3, outerSteps: 2 });
    const runs = [];
    for (const [name, seed] of [
      ["a", 1],
      ["b", 1],
      ["c", 2],
    ] as const) {
      // prettier-ignore
      await learnAll(at(name), { ...input, seed }, smallTasks(2));
      runs.push(await results(at(name)));
    }
    expect(differences(runs[0]!, runs[1]!)).to.deep.equal([]);
    expect(differences(runs[0]!, runs[2]!)).to.include.members([
      "adapter/adapter_model.safetensors",
      "metrics.jsonl",
      "tasks/01-guild/memory.jsonl",
    ]);
  });

  it("starts every task with new moments and averages", async () => {
    // The state saved just before a task's first step must hold no vector of the task before.
    const run = at("fresh");
    let controller = new AbortController();
    const learner = await Learner.create(
      { ...settings(model, { innerSteps: 3, outerSteps: 2 }), run },
      {
        onEvent: (event) => {
          if (event.event === "step" && event.task === "cargo" && event.step === 0) controller.abort();
        },
      },
    );
    const [guild, cargo] = smallTasks(2);
    await learner.learn(guild!);
    controller = new AbortController();
    await learner.learn(cargo!, { signal: controller.signal }).catch(() => undefined);
    await learner.dispose();
    const state = await loadAddon().openSafetensors(join(run, "state.safetensors"));
    const { current } = JSON.parse(state.metadata.counters!) as { current: { training: TaskCounters } };
    expect(current.training).to.deep.include({ updates: { inner: 1 }, steps: 1 });
    // After one update from zeros, m = 0.1 g and v = 0.001 g^2, and the averages are 0.45 I and 0.45 |I - 0.45 I|.
    const ratios = async (above: string, below: string, power: number): Promise<number[]> => {
      const denominator = await state.readFloat32(`task/${below}`);
      const numerator = await state.readFloat32(`task/${above}`);
      return [...numerator].flatMap((x, i) =>
        denominator[i]! > 1e-12 ? [x ** power / denominator[i]!] : [],
      );
    };
    const moments = await ratios("inner.m", "inner.v", 2);
    expect(moments.length).to.be.above(100);
    for (const ratio of moments) expect(ratio).to.be.closeTo(10, 1e-3);
    const averages = await ratios("in.uncertainty", "in.importance", 1);
    expect(averages.length).to.be.above(100);
    for (const ratio of averages) expect(ratio).to.be.closeTo(0.55, 1e-5);
    state.dispose();
  });

  it("counts steps that are not finite, ends after 20 in a row and stays usable", async () => {
    const broken = await writeTinyCheckpoint(at("broken"), NaN);
    const run = at("non-finite");
    const events: LearnerEvent[] = [];
    const input = {
      ...settings(broken, { method: "sequential", epochs: 10, measureForwardTransfer: false }),
      run,
    };
    const learner = await Learner.create(input, { onEvent: (event) => events.push(event) });
    const before = await learner.model.model.parameters.read();
    const [guild] = smallTasks(1);
    const error = await learner.learn(guild!).catch((thrown: unknown) => thrown as { code: string });
    expect(error).to.have.property("code", "NON_FINITE");
    const steps = events.filter((event) => event.event === "step");
    expect(steps).to.have.length(20);
    expect(steps.every(({ applied, loss }) => !applied && loss === null)).to.equal(true);
    expect(await learner.model.model.parameters.read()).to.deep.equal(before);
    await learner.dispose();

    const lines = (await readFile(join(run, "metrics.jsonl"), "utf8")).trimEnd().split("\n");
    expect(lines.filter((line) => (JSON.parse(line) as LearnerEvent).event === "step")).to.have.length(20);
    const again = await Learner.open(run);
    expect(again.unfinished).to.equal("guild");
    expect(await again.model.model.parameters.read()).to.deep.equal(before);
    await again.dispose();
  });

  it("stops within one step of an abort", async () => {
    for (const method of ["sequential", "recurrent-kif"]) {
      let controller = new AbortController();
      let after = 0;
      const cycles = method === "sequential" ? {} : { innerSteps: 3, outerSteps: 2 };
      const learner = await Learner.create(
        { ...settings(model, { method, ...cycles }), run: at(`abort-${method}`) },
        {
          onEvent: (event) => {
            if (event.event !== "step") return;
            if (controller.signal.aborted) after++;
          },
        },
      );
      const [guild] = smallTasks(1);
      // From outside the loop, at times that know nothing of steps.
      for (const milliseconds of [5, 20, 40, 60]) {
        controller = new AbortController();
        after = 0;
        setTimeout(() => controller.abort(), milliseconds);
        await learner.learn(guild!, { signal: controller.signal }).catch(() => undefined);
        expect(after, `${method}, after ${milliseconds} ms`).to.be.at.most(1);
        if (learner.tasks.length > 0) break;
      }
      await learner.dispose();
    }
  });

  it("goes back to what was saved where an error that is no abort strikes", async () => {
    const undisturbed = at("undisturbed");
    const input = settings(model, { method: "sequential", saveEvery: 4 });
    await learnAll(undisturbed, input, smallTasks(1));
    let fail = true;
    const run = at("struck");
    const learner = await Learner.create(
      { ...input, run },
      {
        onEvent: (event) => {
          if (fail && event.event === "step" && event.step === 10) {
            fail = false;
            throw new Error("the listener failed");
          }
        },
      },
    );
    const [guild] = smallTasks(1);
    const error = await learner.learn(guild!).catch((thrown: unknown) => thrown as Error);
    expect(error).to.have.property("message", "the listener failed");
    await learner.learn(guild!);
    await learner.dispose();
    expect(differences(await results(run), await results(undisturbed))).to.deep.equal([]);
  });
});

/** With what was told of its steps. */
type TestRun = TaskRun & { counters: ReturnType<typeof newTaskCounters>; results: StepResult[] };

function taskRun(
  loaded: TrainedModel,
  devRecords: EncodedRecord[],
  given: TaskRunParts["options"],
  others: Pick<TaskRunParts, "readEvery"> = {},
): TestRun {
  const counters = newTaskCounters();
  const results: StepResult[] = [];
  const run = new TaskRun({
    task: { index: 0, name: "task" },
    options: given,
    model: loaded.model,
    memorySize: 0,
    taskBatches: () => ({ steps: 0, at: () => [] }),
    memoryBatches: () => ({ steps: 0, at: () => [] }),
    devRecords,
    counters,
    onStep: (_, result) => void results.push(result),
    ...others,
  });
  return Object.assign(run, { counters, results });
}

async function encoded(loaded: TrainedModel): Promise<EncodedRecord[]> {
  return (await (await openFormat(loaded)).encode(smallTasks(1)[0]!.train)).records;
}

function plainStep(
  run: TaskRun,
  batch: EncodedRecord[],
  step: number,
  rate = 1e-2,
  others: Partial<StepRequest> = {},
): Promise<void> {
  return run.step({
    batch,
    loop: 0,
    step,
    optimizer: run.optimizer("inner"),
    learningRate: rate,
    mayKeep: true,
    ...others,
  });
}

async function vectorsOf(run: TaskRun): Promise<Record<string, Float32Array>> {
  const entries = [...run.vectors].map(async ([name, vector]) => [name, await vector.read()] as const);
  return Object.fromEntries(await Promise.all(entries));
}

/** Mean loss over label tokens, one record at a time. */
async function devLoss({ model }: TrainedModel, records: readonly EncodedRecord[]): Promise<number> {
  let [sum, tokens] = [0, 0];
  for (const { inputIds, labels, key } of records) {
    const [loss] = await model.loss({
      inputIds,
      inputLengths: Int32Array.of(inputIds.length),
      labels,
      labelLengths: Int32Array.of(labels.length),
      recordKeys: Uint32Array.of(key),
    });
    sum += loss!;
    tokens += labels.length;
  }
  return sum / tokens;
}
