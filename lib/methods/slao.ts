import { z } from "zod";
import { elementCount } from "../models/element-count.js";
import { adapterPairs } from "./adapter-pairs.js";
import { defineMethod, type Method } from "./method.js";
import { orthonormalRows } from "./orthonormal-rows.js";
import { trainPlainly } from "./sequential.js";

/**
 * SLAO (arXiv 2512.23017): one adapter, merged after every task. A task's A starts as the orthonormal basis of the last one's (Q^T of
 * the QR decomposition of A^T, R's diagonal positive), its B as the last one's trained B. When it is trained, A stays as it is and B
 * moves the merged B by 1 / sqrt(t) of their difference, t the number of tasks.
 */
export const slao: Method = defineMethod({
  name: "slao",
  summary: "each task trains from an orthonormal basis of the last one's A; its B is averaged in (SLAO)",
  options: z.object({}),
  usesMemory: false,
  needsAdapter: true,
  async learn(run) {
    const pairs = adapterPairs(run.tensors);
    if (run.task.index > 0 && run.state({ step: 0 }).step === 0) {
      const trained = run.keptVector("trained");
      const bases = await Promise.all(
        pairs.map(async ({ a }) => {
          const values = await trained.read(a.offset, elementCount(a));
          return { offset: a.offset, rows: orthonormalRows(values, a.shape[0]!, a.shape[1]!) };
        }),
      );
      run.parameters.copyFrom(trained);
      for (const { offset, rows } of bases) run.parameters.set(rows, offset);
    }
    await trainPlainly(run, run.taskBatches());
  },
  async consolidate(run) {
    const trained = run.keptVector("trained");
    const merged = run.keptVector("merged");
    const share = 1 / Math.sqrt(run.task.index + 1);
    const mergedB = await Promise.all(
      adapterPairs(run.tensors).map(async ({ b }) => {
        const old = await merged.read(b.offset, elementCount(b));
        const fresh = await run.parameters.read(b.offset, elementCount(b));
        return { offset: b.offset, values: old.map((value, i) => value + share * (fresh[i]! - value)) };
      }),
    );
    trained.copyFrom(run.parameters);
    for (const { offset, values } of mergedB) {
      merged.set(values, offset);
      run.parameters.set(values, offset);
    }
  },
});
