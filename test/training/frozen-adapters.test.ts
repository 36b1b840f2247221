/** Runs of methods that freeze an adapter after every task: what is written, and what is measured. */
import { expect } from "chai";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { openFormat } from "../../lib/data/formats/open-format.js";
import { loadModel, type LoadModelOptions, type TrainedModel } from "../../lib/models/trained-model.js";
import type { ConfigInput } from "../../lib/training/config.js";
import { Learner } from "../../lib/training/learner.js";
import { settings, smallTasks, temporaryFolder, writeTinyCheckpoint } from "./tiny-run.js";

const tasks = smallTasks(3);
/** In place of an adapter's own shape: what is read from its folder counts. */
const any: LoadModelOptions["trainable"] = {
  ...{ kind: "lora", r: 1, alpha: 1, dropout: 0, rsLora: false, targetModules: null },
  ...{ rankPattern: {}, alphaPattern: {} },
};

const cases: { name: string; options: ConfigInput }[] = [
  { name: "o-lora", options: { method: "o-lora", orthogonalWeights: [0.5], loraRank: 3 } },
  {
    name: "ella, rsLoRA, ranks and alphas by pattern",
    options: {
      ...{ method: "ella", overlapWeight: 1e4, rsLora: true, loraRank: 4, loraAlpha: 6 },
      ...{ rankPattern: { "SelfAttention.q": 2 }, alphaPattern: { "EncDecAttention.v": 9 } },
    },
  },
];

describe("runs with frozen adapters", function () {
  this.timeout(60_000);
  const folder = temporaryFolder();
  let model: string;
  before(async () => {
    model = await writeTinyCheckpoint(join(folder.path, "model"));
  });

  for (const [number, { name, options }] of cases.entries()) {
    it(`${name}: the adapter written after every task computes what the run's model does`, async () => {
      const run = join(folder.path, `written-${number}`);
      const learner = await Learner.create({ ...settings(model, { ...options, epochs: 1 }), run });
      try {
        const format = await openFormat(learner.model, learner.config);
        const { records } = await format.encode(tasks[0]!.test.slice(0, 6));
        const logitsOf = (of: TrainedModel): Promise<Float32Array> => of.model.logits(format.pack(records));
        for (const [index, task] of tasks.entries()) {
          await learner.learn(task);
          expect(learner.model.model.frozenAdapters).to.equal(index);
          const written = await loadModel({ model, trainable: any, adapter: join(run, "adapter") });
          try {
            const [found, expected] = [await logitsOf(written), await logitsOf(learner.model)];
            const largest = Math.max(...expected.map(Math.abs));
            found.forEach((value, i) => expect(value).to.be.closeTo(expected[i]!, 1e-5 * largest));
          } finally {
            written.model.dispose();
          }
        }
        const { r, lora_alpha: alpha } = JSON.parse(
          await readFile(join(run, "adapter", "adapter_config.json"), "utf8"),
        ) as { r: number; lora_alpha: number };
        const { loraRank, loraAlpha, rsLora } = learner.config;
        expect(r).to.equal(3 * loraRank);
        expect(alpha).to.be.closeTo((rsLora ? Math.sqrt(3) : 3) * loraAlpha, 1e-12);
      } finally {
        await learner.dispose();
      }
    });
  }

  it("the untrained model that transfer is measured against has none of them", async () => {
    const baselines: unknown[] = [];
    for (const method of ["sequential", "o-lora"]) {
      const run = join(folder.path, `baseline-${method}`);
      const input = settings("embedded", { method });
      const learner = await Learner.create({ ...input, run });
      try {
        // The same task again and again: what is learned of it, and frozen, would show in its accuracy.
        for (const name of ["first", "second", "third"]) await learner.learn({ ...tasks[0]!, name });
      } finally {
        await learner.dispose();
      }
      const { baseline } = JSON.parse(await readFile(join(run, "matrix.json"), "utf8")) as {
        baseline: unknown;
      };
      baselines.push(baseline);
    }
    expect(baselines[0]).to.have.length(3);
    expect(baselines[1]).to.deep.equal(baselines[0]);
  });
});
