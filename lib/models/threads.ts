import type { DecoderConfig, EncoderConfig, ModelFamily, T5Config } from "../native/contract.js";
import { loadAddon } from "../native/load.js";

/** Below this many weights, waking a second thread for an operation takes about as long as the operation (measured on 2 cores). */
export const fewWeights = 8e6;

let libtorchsChoice: Promise<number> | undefined;

/** Sets the threads of one operation: as asked, or one for a small model and libtorch's own choice for others. */
export async function setThreadsFor(model: ModelFamily, threads: number | null): Promise<void> {
  const addon = loadAddon();
  libtorchsChoice ??= addon.getThreads();
  const choice = await libtorchsChoice;
  addon.setThreads(threads ?? (layerWeights(model) < fewWeights ? 1 : choice));
}

/** Weights of all layers' matrices, without embedding and head. */
export function layerWeights(model: ModelFamily): number {
  switch (model.family) {
    case "t5":
      return t5Weights(model.config);
    case "decoder":
      return decoderWeights(model.config);
    case "encoder":
      return encoderWeights(model.config);
  }
}

function t5Weights({ dModel, dKv, dFf, numHeads, numLayers, numDecoderLayers, gated }: T5Config): number {
  const attention = 4 * dModel * dKv * numHeads;
  const feedForward = (gated ? 3 : 2) * dModel * dFf;
  return numLayers * (attention + feedForward) + numDecoderLayers * (2 * attention + feedForward);
}

function decoderWeights(config: DecoderConfig): number {
  const { hiddenSize, intermediateSize, numLayers, numHeads, numKeyValueHeads, headSize } = config;
  const attention = 2 * hiddenSize * headSize * (numHeads + numKeyValueHeads);
  return numLayers * (attention + 3 * hiddenSize * intermediateSize);
}

function encoderWeights({ hiddenSize, intermediateSize, numLayers }: EncoderConfig): number {
  return numLayers * (4 * hiddenSize * hiddenSize + 2 * hiddenSize * intermediateSize);
}
