/** train/: AdamW on an adapter, step by step. */
import { dirname, join } from "node:path";
import { packedBatch } from "../batches.js";
import type { Check } from "../check.js";
import { addressJson, type Values } from "../expected.js";
import { adapterBase, familyOf, unsupportedModel } from "../families.js";
import { filesIn, foldersIn, readJson, type FixtureSet } from "../fixtures.js";
import { addon, loadWithAdapter } from "../runtime.js";
import { readSafetensors } from "../safetensors.js";
import { createOptimizer, gradient, learningRate, update, type Schedule } from "../steps.js";
import { EQUAL, GIVEN, TOLERANCE } from "../tolerances.js";
import { addTensors } from "./models.js";

interface Run {
  adapter: string;
  betas: [number, number];
  eps: number;
  weight_decay: number;
  max_grad_norm: number;
  schedule: { base_lr: number; warmup_steps: number; decay: Schedule["decay"]; total_steps: number };
  steps: { batch: number }[];
}

const readRun = (set: FixtureSet): Run => readJson(set.root, `${set.name}.json`);

export const train: Check = {
  folder: "train",
  find: (root) =>
    foldersIn(root, "train").flatMap((folder) =>
      filesIn(root, `train/${folder}`, /\.json$/).map((file) => {
        const name = `train/${folder}/${file.replace(/\.json$/, "")}`;
        return { root, name, files: [`${name}.json`, `${name}.safetensors`] };
      }),
    ),
  unsupported: (set) => unsupportedModel(set.root, adapterBase(set.root, readRun(set).adapter)),
  rules: [
    { at: /\.json#steps\/\d+\/(step|batch)$/, tolerance: EQUAL },
    { at: /\.json#steps\/\d+\/lr$/, tolerance: TOLERANCE.learningRate },
    { at: /\.json#steps\/\d+\/loss$/, tolerance: TOLERANCE.trainingLoss },
    { at: /\.json#steps\/\d+\/grad_norm$/, tolerance: TOLERANCE.gradNorm },
    { at: /\.safetensors#/, tolerance: TOLERANCE.adapter },
    { at: /\.json#/, tolerance: GIVEN },
  ],
  async compute(set: FixtureSet): Promise<Values> {
    const run = readRun(set);
    const batches = readSafetensors(join(set.root, dirname(set.name), "batches.safetensors"));
    const { base_lr: base, warmup_steps: warmup, decay, total_steps: total } = run.schedule;
    const batchCount = [...batches.keys()].filter((name) => name.endsWith(".labels")).length;
    const family = familyOf(set.root, adapterBase(set.root, run.adapter));
    const native = await addon();
    const model = await loadWithAdapter(set.root, run.adapter);
    const optimizer = createOptimizer(native, model.parameters);
    try {
      const steps = [];
      for (let step = 0; step < run.steps.length; step++) {
        const batch = step % batchCount;
        const lr = learningRate({ base, warmup, decay, total }, step);
        const { loss } = await gradient(model, packedBatch(batches, family, `batch${batch}.`), family);
        const { gradNorm } = await update(native, model, optimizer, {
          learningRate: lr,
          betas: run.betas,
          epsilon: run.eps,
          weightDecay: run.weight_decay,
          maxGradNorm: run.max_grad_norm,
        });
        steps.push({ step, batch, lr, loss, grad_norm: gradNorm });
      }
      const name = set.name.slice(set.name.lastIndexOf("/") + 1);
      const values = addressJson(`${name}.json`, { steps });
      addTensors(values, `${name}.safetensors`, model.layout, await model.parameters.read());
      return values;
    } finally {
      optimizer.m.dispose();
      optimizer.v.dispose();
      model.dispose();
    }
  },
};
