/** lora/: a PEFT adapter on a checkpoint: logits, loss, gradients, and the same after merging. */
import { join } from "node:path";
import type { Check } from "../check.js";
import { addressJson, type Values } from "../expected.js";
import { foldersIn, type FixtureSet } from "../fixtures.js";
import { adapterBase, labelTokens, loadWithAdapter, packedBatch, sum, unsupportedModel } from "../runtime.js";
import { readSafetensors } from "../safetensors.js";
import { EQUAL, GIVEN, TOLERANCE } from "../tolerances.js";

export const lora: Check = {
  folder: "lora",
  find: (root) =>
    foldersIn(root, "lora").map((name) => ({
      root,
      name: `lora/${name}`,
      files: ["expected.safetensors", "expected.json", "grads.safetensors"].map(
        (file) => `lora/${name}/${file}`,
      ),
    })),
  unsupported: (set) => unsupportedModel(set.root, adapterBase(set.root, set.name)),
  rules: [
    { at: /^expected\.safetensors#(input_ids|attention_mask|labels)$/, tolerance: GIVEN },
    { at: /#(merged_)?logits$/, tolerance: TOLERANCE.logits },
    { at: /#(merged_)?loss$/, tolerance: TOLERANCE.loss },
    { at: /^grads\.safetensors#/, tolerance: TOLERANCE.gradients },
    { at: /^expected\.json#parameters\//, tolerance: EQUAL },
    { at: /#(adapter|base|largest_change_of_a_logit_by_the_adapter)$/, tolerance: GIVEN },
  ],
  async compute(set: FixtureSet): Promise<Values> {
    const batch = packedBatch(readSafetensors(join(set.root, set.name, "expected.safetensors")));
    const divisor = labelTokens(batch);
    const model = await loadWithAdapter(set.root, set.name);
    try {
      const { lossSum } = await model.accumulate(batch, { divisor, lossScale: 1, dropout: null });
      const gradients = await model.gradients.read();
      const logits = await model.logits(batch);
      model.mergeAdapter();
      const mergedLoss = sum(await model.loss(batch)) / divisor;
      const mergedLogits = await model.logits(batch);

      const loss = lossSum / divisor;
      const values = addressJson("expected.json", {
        loss,
        merged_loss: mergedLoss,
        parameters: Object.fromEntries(model.layout.map(({ name, shape }) => [name, shape])),
      });
      values.set("expected.safetensors#logits", logits);
      values.set("expected.safetensors#loss", [loss]);
      values.set("expected.safetensors#merged_logits", mergedLogits);
      for (const { name, shape, offset } of model.layout) {
        const length = shape.reduce((product, size) => product * size, 1);
        values.set(`grads.safetensors#${name}`, gradients.subarray(offset, offset + length));
      }
      return values;
    } finally {
      model.dispose();
    }
  },
};
