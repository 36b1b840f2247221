/** How often training waits for a device, counted on the CPU: every read of what a device computed, and libtorch's own. */
import { expect } from "chai";
import { join } from "node:path";
import { openFormat } from "../../lib/data/formats/open-format.js";
import { recurrentKif } from "../../lib/methods/recurrent-kif.js";
import { loadModel } from "../../lib/models/trained-model.js";
import { loadAddon } from "../../lib/native/load.js";
import { TaskRun } from "../../lib/training/task-run.js";
import { newTaskCounters } from "../../lib/training/task-state.js";
import { waitingOperators } from "../native/addon.js";
import { smallTasks, temporaryFolder, writeTinyCheckpoint } from "./tiny-run.js";

async function waitsOf(work: () => Promise<void>): Promise<number> {
  const addon = loadAddon();
  addon.startProfile();
  await work();
  const operators = await addon.endProfile();
  expect(operators.map(({ name }) => name)).to.include("rkif::adamw");
  return operators
    .filter(({ name }) => name === "rkif::wait" || waitingOperators.includes(name))
    .reduce((total, { calls }) => total + calls, 0);
}

describe("waits for a device", function () {
  this.timeout(30_000);
  const folder = temporaryFolder();

  it("a cycle of Recurrent-KIF waits at its end only: for its fusion, and for all its steps together", async () => {
    const loaded = await loadModel({
      model: await writeTinyCheckpoint(join(folder.path, "model")),
      trainable: {
        ...{ kind: "lora", r: 4, alpha: 8, dropout: 0.1, rsLora: false, targetModules: ["q", "v"] },
        ...{ rankPattern: {}, alphaPattern: {} },
      },
    });
    try {
      const format = await openFormat(loaded);
      const { records } = await format.encode(smallTasks(1)[0]!.train);
      const batches = (steps: number) => () => ({
        steps,
        at: (step: number) => [0, 1, 2].map((i) => records[(3 * step + i) % records.length]!),
      });
      const steps: number[] = [];
      const run = new TaskRun({
        task: { index: 1, name: "task" },
        options: {
          ...{ seed: 3, learningRate: 1e-2, warmupSteps: 0, weightDecay: 0, maxGradNorm: 1 },
          ...{ microBatchSize: 2, selectBestOnDev: false, devEvery: 2 },
        },
        model: loaded.model,
        memorySize: 5,
        taskBatches: batches(6),
        memoryBatches: batches(4),
        devRecords: [],
        counters: newTaskCounters(),
        // As on a GPU.
        readEvery: 32,
        onStep: ({ step }) => void steps.push(step),
      });
      const options = recurrentKif.options.parse({ innerSteps: 3, outerSteps: 2 });
      expect(await waitsOf(() => recurrentKif.learn(run, options))).to.equal(2 * 2);
      expect(steps).to.deep.equal([0, 1, 2, 0, 1, 3, 4, 5, 2, 3]);
      run.dispose();
    } finally {
      loaded.model.dispose();
    }
  });
});
