/** models/: what a checkpoint computes: logits, loss, greedy generation, option scores. */
import { join } from "node:path";
import type { Model, PackedBatch } from "../../../lib/native/contract.js";
import type { Check } from "../check.js";
import { addressJson, type Values } from "../expected.js";
import { filesIn, foldersIn, readJson, type FixtureSet } from "../fixtures.js";
import {
  endToEnd,
  labelTokens,
  loadBase,
  loadFull,
  packedBatch,
  sum,
  unpadded,
  unsupportedModel,
} from "../runtime.js";
import { readSafetensors, type Tensor } from "../safetensors.js";
import { EQUAL, GIVEN, TOLERANCE } from "../tolerances.js";

interface Generation {
  pad_token_id: number;
  max_new_tokens: number;
  min_new_tokens?: number;
  eos_token_id: number | null;
}

interface OptionScores {
  prompt: number[];
  options: number[][];
}

interface Settings {
  generation_input: string;
  generations: Generation[];
  option_scores: OptionScores[];
}

/** Greedy search on all rows; ended rows are filled up with padding as in a batch of transformers. */
async function generate(model: Model, inputs: number[][], settings: Generation): Promise<number[][]> {
  const { ids: inputIds, lengths: inputLengths } = endToEnd(inputs);
  const rows = await model.generate({
    inputIds,
    inputLengths,
    maxNewTokens: settings.max_new_tokens,
    minNewTokens: settings.min_new_tokens ?? 0,
    eosTokenId: settings.eos_token_id,
  });
  const longest = Math.max(...rows.map((row) => row.length));
  return rows.map((row) => [...row, ...new Array<number>(longest - row.length).fill(settings.pad_token_id)]);
}

interface Scored {
  sum_logprob: number[];
  mean_logprob: number[];
  best: number;
}

/** Sums, means and the best option by mean of every prompt; all prompts and options in one call. */
async function scoreOptions(model: Model, prompts: readonly OptionScores[]): Promise<Scored[]> {
  const options = prompts.flatMap((prompt) => prompt.options);
  const packedPrompts = endToEnd(prompts.map(({ prompt }) => prompt));
  const packedOptions = endToEnd(options);
  const sums = await model.scoreOptions({
    inputIds: packedPrompts.ids,
    inputLengths: packedPrompts.lengths,
    optionIds: packedOptions.ids,
    optionLengths: packedOptions.lengths,
    optionPrompts: Int32Array.from(prompts.flatMap((prompt, index) => prompt.options.map(() => index))),
  });
  let first = 0;
  return prompts.map((prompt) => {
    const ofPrompt = Array.from(sums.subarray(first, first + prompt.options.length));
    first += prompt.options.length;
    const means = ofPrompt.map((value, option) => value / (prompt.options[option]?.length ?? NaN));
    return { sum_logprob: ofPrompt, mean_logprob: means, best: means.indexOf(Math.max(...means)) };
  });
}

/** Decoder inputs of T5: the labels one to the right behind the start token (id 0 in every set), -100 replaced by padding. */
function shiftedRight(labels: Tensor): number[] {
  const [, length = 0] = labels.shape;
  return Array.from(labels.values, (_, index) => {
    const before = index % length === 0 ? 0 : labels.values[index - 1];
    return before === undefined || before === -100 ? 0 : before;
  });
}

/** Gradients of every weight, by Hugging Face name. */
async function addFullGradients(values: Values, set: FixtureSet, batch: PackedBatch): Promise<void> {
  const model = await loadFull(set.root, set.name);
  try {
    await model.accumulate(batch, { divisor: labelTokens(batch), lossScale: 1, dropout: null });
    const gradients = await model.gradients.read();
    for (const { name, shape, offset } of model.layout) {
      const length = shape.reduce((product, size) => product * size, 1);
      values.set(`full_grads.safetensors#${name}`, gradients.subarray(offset, offset + length));
    }
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
    { at: /^expected\.safetensors#(left_)?logits$/, tolerance: TOLERANCE.logits },
    { at: /^expected\.(safetensors|json)#loss$/, tolerance: TOLERANCE.loss },
    { at: /^full_grads\.safetensors#/, tolerance: TOLERANCE.gradients },
    { at: /#decoder_input_ids$/, tolerance: EQUAL },
    { at: /#label_tokens$/, tolerance: EQUAL },
    { at: /#generations\/\d+\/new_tokens(\/\d+)?$/, tolerance: EQUAL },
    { at: /#option_scores\/\d+\/(sum|mean)_logprob$/, tolerance: TOLERANCE.optionScores },
    { at: /#option_scores\/\d+\/best$/, tolerance: EQUAL },
    { at: /#option_scores\/\d+\/(prompt|options(\/\d+)?)$/, tolerance: GIVEN },
    { at: /#generations\/\d+\/\w+$/, tolerance: GIVEN },
    { at: /#(model|compute_dtype|logits_std|generation_input|smallest_top2_margin)$/, tolerance: GIVEN },
  ],
  async compute(set: FixtureSet): Promise<Values> {
    const given = readSafetensors(join(set.root, set.name, "expected.safetensors"));
    const settings = readJson<Settings>(set.root, `${set.name}/expected.json`);
    const batch = packedBatch(given);
    const model = await loadBase(set.root, set.name);
    try {
      const loss = sum(await model.loss(batch)) / labelTokens(batch);
      const { labelTokens: counted } = await model.accumulate(batch, {
        divisor: 1,
        lossScale: 1,
        dropout: null,
      });
      const inputs = unpadded(given, settings.generation_input.replace(/input_ids$/, ""));
      const generations = [];
      for (const generation of settings.generations) {
        generations.push({ new_tokens: await generate(model, inputs, generation) });
      }
      const values = addressJson("expected.json", {
        loss,
        label_tokens: counted,
        generations,
        option_scores: await scoreOptions(model, settings.option_scores),
      });
      values.set("expected.safetensors#logits", await model.logits(batch));
      values.set("expected.safetensors#loss", [loss]);
      const labels = given.get("labels");
      if (set.files.some((file) => file.endsWith("/full_grads.safetensors"))) {
        await addFullGradients(values, set, batch);
      }
      if (labels !== undefined) values.set("expected.safetensors#decoder_input_ids", shiftedRight(labels));
      return values;
    } finally {
      model.dispose();
    }
  },
};
