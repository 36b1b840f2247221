import { scaled, smoke, type Sizes } from "./plan.js";

/** A results page: a model with its tasks, and what of them is run. */
export interface Study {
  readonly title: string;
  /** What the model is and does, for the page. */
  readonly about: string;
  /** What all methods share beside the sizes. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly sizes: Readonly<Record<"scaled" | "full" | "smoke", Sizes>>;
}

const letters = "guild,cargo,mood,errand";

/** One thread a run and as many runs at once as there are cores: models this small gain little from a second thread. */
const shared = { batchSize: 8, warmupSteps: 5, measureForwardTransfer: false, threads: 1 };

export const studies: Readonly<Record<string, Study>> = {
  minilm: {
    title: "Every method on MiniLM",
    about:
      "The model is all-MiniLM-L6-v2, an encoder of 22 million weights: a text is answered by the label whose embedding is nearest to its own, " +
      "of all labels seen so far. Its frozen weights are bf16, which makes a run 1.8 times as fast and does not change the results: on order 4 with 1,000 " +
      "records a task, Recurrent-KIF reached OP / BWT 57.8 / -10.1 in fp32 and 58.5 / -8.7 in bf16, its form as published in code 58.2 / -16.5 and 58.2 / -16.4.",
    options: { ...shared, baseType: "bfloat16", sourceTokens: 64 },
    sizes: {
      scaled,
      full: {
        ...scaled,
        ...{ trainLimit: 1000, devLimit: 250, testLimit: 2500, searchLimit: 1000, everything: true },
      },
      smoke,
    },
  },
  embedded: {
    title: "Every method on the embedded T5",
    about:
      "The model is the T5 that comes with the package, with the four tasks it has learned to read letters for; answers are generated. " +
      "Nothing is needed beside the package.",
    options: { ...shared, model: "embedded", data: "embedded", maxNewTokens: 8 },
    sizes: {
      scaled: {
        ...{ trainLimit: 320, devLimit: 32, testLimit: 120, searchLimit: 160, epochs: 3, memoryRecords: 16 },
        orders: { all: letters, main: [], long: null },
        ...{ gridPoints: 4, seeds: [1, 2, 3], searchSeed: 100, everything: true },
      },
      full: {
        ...{ trainLimit: 320, devLimit: 32, testLimit: 120, searchLimit: 320, epochs: 3, memoryRecords: 16 },
        orders: { all: letters, main: ["errand,mood,cargo,guild", "mood,guild,errand,cargo"], long: null },
        ...{ gridPoints: 4, seeds: [1, 2, 3, 4, 5], searchSeed: 100, everything: true },
      },
      smoke: { ...smoke, orders: { all: "guild,cargo", main: [], long: null } },
    },
  },
};
