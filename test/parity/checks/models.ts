/** models/: what a checkpoint computes, and the gradients of all its weights. */
import { join } from "node:path";
import type { TensorLayout } from "../../../lib/native/contract.js";
import { labelTokens, packedBatch } from "../batches.js";
import type { Check } from "../check.js";
import type { Values } from "../expected.js";
import { familyOf, unsupportedModel } from "../families.js";
import { filesIn, foldersIn, type FixtureSet } from "../fixtures.js";
import { loadBase, loadFull } from "../runtime.js";
import { readSafetensors } from "../safetensors.js";
import { EQUAL, GIVEN, TOLERANCE } from "../tolerances.js";
import { computeEncoder } from "./encoder.js";
import { computeGenerative } from "./generative.js";

/** The tensors of a flat vector as a file's values, by their names. */
export function addTensors(
  values: Values,
  file: string,
  layout: readonly TensorLayout[],
  vector: Float32Array,
): void {
  for (const { name, shape, offset } of layout) {
    const length = shape.reduce((product, size) => product * size, 1);
    values.set(`${file}#${name}`, vector.subarray(offset, offset + length));
  }
}

/** Gradients of every weight, by Hugging Face name. */
async function addFullGradients(values: Values, set: FixtureSet): Promise<void> {
  const family = familyOf(set.root, set.name);
  const batch = packedBatch(readSafetensors(join(set.root, set.name, "expected.safetensors")), family);
  const model = await loadFull(set.root, set.name);
  try {
    await model.accumulate(batch, { divisor: labelTokens(batch, family), lossScale: 1, dropout: null });
    addTensors(values, "full_grads.safetensors", model.layout, await model.gradients.read());
  } finally {
    model.dispose();
  }
}

export const models: Check = {
  folder: "models",
  find: (root) =>
    foldersIn(root, "models").map((name) => ({
      root,
      name: `models/${name}`,
      files: filesIn(root, `models/${name}`, /^(expected\.(safetensors|json)|full_grads\.safetensors)$/).map(
        (file) => `models/${name}/${file}`,
      ),
    })),
  unsupported: (set) => unsupportedModel(set.root, set.name),
  rules: [
    {
      at: /^expected\.safetensors#(left_)?(input_ids|attention_mask|position_ids|labels)$/,
      tolerance: GIVEN,
    },
    { at: /^expected\.safetensors#candidate_(ids|mask)$/, tolerance: GIVEN },
    { at: /^expected\.safetensors#(candidate_)?embeddings$/, tolerance: TOLERANCE.embedding },
    { at: /^expected\.safetensors#(left_)?logits$/, tolerance: TOLERANCE.logits },
    { at: /^expected\.(safetensors|json)#loss$/, tolerance: TOLERANCE.loss },
    {
      at: /^full_grads\.safetensors#.*\.attention\.(self\.key|k_lin)\.bias$/,
      tolerance: TOLERANCE.noGradient,
    },
    { at: /^full_grads\.safetensors#/, tolerance: TOLERANCE.gradients },
    { at: /#decoder_input_ids$/, tolerance: EQUAL },
    { at: /#label_tokens$/, tolerance: EQUAL },
    { at: /#generations\/\d+\/new_tokens(\/\d+)?$/, tolerance: EQUAL },
    { at: /#option_scores\/\d+\/(sum|mean)_logprob$/, tolerance: TOLERANCE.optionScores },
    { at: /#option_scores\/\d+\/best$/, tolerance: EQUAL },
    { at: /#option_scores\/\d+\/(prompt|options(\/\d+)?)$/, tolerance: GIVEN },
    { at: /#generations\/\d+\/\w+$/, tolerance: GIVEN },
    {
      at: /#(model|compute_dtype|logits_std|generation_input|smallest_top2_margin|similarity_scale)$/,
      tolerance: GIVEN,
    },
  ],
  async compute(set: FixtureSet): Promise<Values> {
    const family = familyOf(set.root, set.name);
    const model = await loadBase(set.root, set.name);
    let values: Values;
    try {
      values =
        family === "encoder" ? await computeEncoder(model, set) : await computeGenerative(model, family, set);
    } finally {
      model.dispose();
    }
    if (set.files.some((file) => file.endsWith("/full_grads.safetensors")))
      await addFullGradients(values, set);
    return values;
  },
};
