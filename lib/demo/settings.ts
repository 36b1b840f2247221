import type { ConfigInput } from "../training/config.js";

/** What every method of the demo shares: model, adapter, optimizer, epochs, memory, evaluation. */
export const DEMO_SETTINGS: ConfigInput = {
  model: "embedded",
  loraRank: 8,
  loraAlpha: 32,
  loraDropout: 0.05,
  targetModules: ["q", "v"],
  epochs: 3,
  batchSize: 8,
  learningRate: 3e-3,
  warmupSteps: 5,
  memoryFraction: 0.05,
  maxNewTokens: 8,
  measureForwardTransfer: false,
  // A model this small gains nothing from a second thread: waking it takes as long as the work.
  threads: 1,
};

/**
 * The methods compared. Replay makes as many optimizer steps as Recurrent-KIF does, which adds outerSteps (4) steps on memory
 * to every innerSteps (8) steps on the task: one and a half times the steps of sequential training.
 */
export const DEMO_METHODS: readonly { method: string; options: ConfigInput }[] = [
  { method: "sequential", options: {} },
  { method: "replay", options: { stepRatio: 1.5 } },
  { method: "recurrent-kif", options: {} },
];
