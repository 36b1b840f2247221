/** What an encoder of models/ computes: embeddings of texts and candidates, the logits of their cosines, the loss. */
import { join } from "node:path";
import type { Model } from "../../../lib/native/contract.js";
import { candidates, endToEnd, packedBatch, sum, unpadded } from "../batches.js";
import { addressJson, type Values } from "../expected.js";
import type { FixtureSet } from "../fixtures.js";
import { readSafetensors, type Tensor } from "../safetensors.js";

const embed = (model: Model, texts: number[][]): Promise<Float32Array> => {
  const { ids: inputIds, lengths: inputLengths } = endToEnd(texts);
  return model.embed({ inputIds, inputLengths });
};

/** The embeddings of a batch's texts and candidates, which sets of models/ and lora/ both hold. */
export async function addEmbeddings(
  values: Values,
  model: Model,
  given: ReadonlyMap<string, Tensor>,
): Promise<void> {
  values.set("expected.safetensors#embeddings", await embed(model, unpadded(given)));
  values.set("expected.safetensors#candidate_embeddings", await embed(model, candidates(given)));
}

/** All expected values of a set of models/ but its full gradients. */
export async function computeEncoder(model: Model, set: FixtureSet): Promise<Values> {
  const given = readSafetensors(join(set.root, set.name, "expected.safetensors"));
  const batch = packedBatch(given, "encoder");
  const losses = await model.loss(batch);
  const { labelTokens: counted } = await model.accumulate(batch, {
    divisor: 1,
    lossScale: 1,
    dropout: null,
  });
  const loss = sum(losses) / batch.labels.length;
  const values = addressJson("expected.json", { loss, label_tokens: counted });
  values.set("expected.safetensors#loss", [loss]);
  values.set("expected.safetensors#logits", await model.logits(batch));
  await addEmbeddings(values, model, given);
  return values;
}
