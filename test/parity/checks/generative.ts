/** What a T5 or a decoder of models/ computes: logits, loss, greedy generation, option scores. */
import { join } from "node:path";
import type { Model, PackedBatch } from "../../../lib/native/contract.js";
import { endToEnd, labelTokens, packedBatch, paddedLogits, sum, tensorOf, unpadded } from "../batches.js";
import { addressJson, type Values } from "../expected.js";
import type { Family } from "../families.js";
import { readJson, type FixtureSet } from "../fixtures.js";
import { readSafetensors, type Tensor } from "../safetensors.js";

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
    endTokenIds: settings.eos_token_id === null ? [] : [settings.eos_token_id],
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

/** The logits of a batch, padded as the fixtures hold them. */
async function addLogits(
  values: Values,
  model: Model,
  family: Family,
  given: ReadonlyMap<string, Tensor>,
  batch: PackedBatch,
): Promise<void> {
  const logits = await model.logits(batch);
  if (family === "t5") {
    values.set("expected.safetensors#logits", logits);
    values.set("expected.safetensors#decoder_input_ids", shiftedRight(tensorOf(given, "labels")));
    return;
  }
  values.set("expected.safetensors#logits", paddedLogits(logits, given));
  // The same records, read from the rows that are padded on the left.
  const { ids: inputIds, lengths } = endToEnd(unpadded(given, "left_"));
  const left: PackedBatch = {
    inputIds,
    inputLengths: lengths,
    labels: inputIds.slice().fill(-100),
    labelLengths: lengths,
    recordKeys: batch.recordKeys,
  };
  values.set("expected.safetensors#left_logits", paddedLogits(await model.logits(left), given, "left_"));
}

/** All expected values of a set of models/ but its full gradients. */
export async function computeGenerative(model: Model, family: Family, set: FixtureSet): Promise<Values> {
  const given = readSafetensors(join(set.root, set.name, "expected.safetensors"));
  const settings = readJson<Settings>(set.root, `${set.name}/expected.json`);
  const batch = packedBatch(given, family);
  const losses = await model.loss(batch);
  const loss = sum(losses) / labelTokens(batch, family);
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
  values.set("expected.safetensors#loss", [loss]);
  await addLogits(values, model, family, given, batch);
  return values;
}
