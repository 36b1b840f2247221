/** lora/: a PEFT adapter on a checkpoint: logits, loss, gradients, and the same after merging. */
import { join } from "node:path";
import { labelTokens, packedBatch, paddedLogits, sum } from "../batches.js";
import type { Check } from "../check.js";
import { addressJson, type Values } from "../expected.js";
import { adapterBase, familyOf, unsupportedModel } from "../families.js";
import { foldersIn, type FixtureSet } from "../fixtures.js";
import { loadWithAdapter } from "../runtime.js";
import { readSafetensors } from "../safetensors.js";
import { EQUAL, GIVEN, TOLERANCE } from "../tolerances.js";
import { addEmbeddings } from "./encoder.js";
import { addTensors } from "./models.js";

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
    { at: /^expected\.safetensors#candidate_(ids|mask)$/, tolerance: GIVEN },
    { at: /^expected\.safetensors#(candidate_)?embeddings$/, tolerance: TOLERANCE.embedding },
    { at: /#(merged_)?logits$/, tolerance: TOLERANCE.logits },
    { at: /#(merged_)?loss$/, tolerance: TOLERANCE.loss },
    { at: /^grads\.safetensors#/, tolerance: TOLERANCE.gradients },
    { at: /^expected\.json#parameters\//, tolerance: EQUAL },
    { at: /#(adapter|base|largest_change_of_a_logit_by_the_adapter)$/, tolerance: GIVEN },
  ],
  async compute(set: FixtureSet): Promise<Values> {
    const given = readSafetensors(join(set.root, set.name, "expected.safetensors"));
    const family = familyOf(set.root, adapterBase(set.root, set.name));
    const batch = packedBatch(given, family);
    const divisor = labelTokens(batch, family);
    const model = await loadWithAdapter(set.root, set.name);
    try {
      const { lossSum } = await model.accumulate(batch, { divisor, lossScale: 1, dropout: null });
      const gradients = await model.gradients.read();
      const logits = async (): Promise<Float32Array> => {
        const found = await model.logits(batch);
        return family === "decoder" ? paddedLogits(found, given) : found;
      };
      const loss = lossSum / divisor;
      const values: Values = new Map();
      if (family === "encoder") await addEmbeddings(values, model, given);
      values.set("expected.safetensors#loss", [loss]);
      values.set("expected.safetensors#logits", await logits());
      addTensors(values, "grads.safetensors", model.layout, gradients);
      model.mergeAdapter();
      const mergedLoss = sum(await model.loss(batch)) / divisor;
      values.set("expected.safetensors#merged_logits", await logits());
      const parameters = Object.fromEntries(model.layout.map(({ name, shape }) => [name, shape]));
      addressJson("expected.json", { loss, merged_loss: mergedLoss, parameters }, values);
      return values;
    } finally {
      model.dispose();
    }
  },
};
