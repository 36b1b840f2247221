import type { T5Config } from "../native/contract.js";
import { loadAddon } from "../native/load.js";

/** Below this many weights, waking a second thread for an operation takes about as long as the operation (measured on 2 cores). */
const fewWeights = 8e6;

let libtorchsChoice: Promise<number> | undefined;

/** Sets the threads of one operation: as asked, or one for a small model and libtorch's own choice for others. */
export async function setThreadsFor(config: T5Config, threads: number | null): Promise<void> {
  const addon = loadAddon();
  libtorchsChoice ??= addon.getThreads();
  const choice = await libtorchsChoice;
  addon.setThreads(threads ?? (layerWeights(config) < fewWeights ? 1 : choice));
}

/** Weights of all layers, without embedding and head. */
function layerWeights({ dModel, dKv, dFf, numHeads, numLayers, numDecoderLayers, gated }: T5Config): number {
  const attention = 4 * dModel * dKv * numHeads;
  const feedForward = (gated ? 3 : 2) * dModel * dFf;
  return numLayers * (attention + feedForward) + numDecoderLayers * (2 * attention + feedForward);
}
