import { z } from "zod";
import { metricNames } from "../data/metric.js";
import { count, fraction } from "../methods/fields.js";

const rate = z.number().min(0).lt(1);
const limit = count.nullable().default(null);

/** Options of the model and its adapter. */
export const modelOptions = z.object({
  model: z.string().default("embedded").describe('folder of a Hugging Face checkpoint, or "embedded"'),
  baseType: z
    .enum(["float32", "bfloat16", "int8"])
    .default("float32")
    .describe("type of the frozen base weights in memory; int8 is quantised at load"),
  copyWeights: z.boolean().default(false).describe("read the weights at load instead of mapping the files"),
  gradientCheckpointing: z
    .boolean()
    .default(false)
    .describe("compute layers again in the backward pass: less memory for more time"),
  trainable: z.enum(["lora", "full"]).default("lora").describe("what trains: an adapter, or every weight"),
  loraRank: count.default(8).describe("rank of the adapter (r)"),
  loraAlpha: z.number().positive().default(32).describe("the adapter's scale is alpha / rank"),
  loraDropout: rate.default(0.05).describe("dropout on the adapter's input"),
  rsLora: z.boolean().default(false).describe("scale by alpha / sqrt(rank)"),
  targetModules: z
    .union([z.literal("all-linear"), z.array(z.string().min(1)).min(1)], {
      error: 'expected a list of modules\' names, or "all-linear"',
    })
    .nullable()
    .default(null)
    .describe(
      'modules that get an adapter, by name or path suffix, or "all-linear"; null: queries and values',
    ),
  rankPattern: z
    .record(z.string(), count)
    .default({})
    .describe("other ranks for modules, by pattern (JSON object, as PEFT's rank_pattern)"),
  alphaPattern: z
    .record(z.string(), z.number().positive())
    .default({})
    .describe("other alphas for modules, by pattern (JSON object, as PEFT's alpha_pattern)"),
  adapter: z
    .string()
    .nullable()
    .default(null)
    .describe(
      "folder of an adapter in PEFT form that training continues from, its rank, alpha and modules in place of the options above; null: a new one",
    ),
  baseDropout: rate
    .nullable()
    .default(null)
    .describe("the base model's dropout rate in training; null: its config's"),
});

/** Options of the training loop, the same for every method. */
export const loopOptions = z.object({
  seed: z
    .number()
    .int()
    .nonnegative()
    .default(42)
    .describe("what initial values, data order, memory and dropout are a function of"),
  epochs: count.default(10).describe("epochs over each task's records"),
  batchSize: count.default(8).describe("records of an optimizer step"),
  microBatchSize: count
    .nullable()
    .default(null)
    .describe("records computed at once; null: the whole step; any size gives the same step"),
  groupByLength: z
    .number()
    .int()
    .min(2)
    .nullable()
    .default(null)
    .describe(
      "form batches of records of similar length, within this many batches of the shuffled order; null: as shuffled",
    ),
  learningRate: z.number().nonnegative().default(3e-4).describe("learning rate on the task's records"),
  warmupSteps: z.number().int().nonnegative().default(50).describe("steps over which a rate rises from 0"),
  weightDecay: z.number().nonnegative().default(0).describe("decoupled weight decay of AdamW"),
  maxGradNorm: z
    .number()
    .positive()
    .nullable()
    .default(1)
    .describe("gradients are clipped to this norm; null: not at all"),
  memoryFraction: fraction.default(0.02).describe("share of a task's training records kept for later tasks"),
  selectBestOnDev: z
    .boolean()
    .default(false)
    .describe("keep the parameters with the least dev loss over the tasks seen"),
  devEvery: count.default(40).describe("steps between two looks at dev"),
  devRecords: count.default(25).describe("dev records of a task to look at"),
});

/** Options of how records become tokens; each family reads what concerns it. */
export const formatOptions = z.object({
  promptTemplate: z
    .string()
    .nullable()
    .default(null)
    .describe(
      '"alpaca", "plain", "chat" (the checkpoint\'s own), or a text with {instruction} and {input}; null: alpaca for decoders, else plain',
    ),
  sourceTokens: limit.describe("T5, encoders: most tokens of a prompt; null: 1024, for encoders 256"),
  targetTokens: count.default(128).describe("T5: most tokens of an output"),
  cutoffTokens: count.default(512).describe("decoders: most tokens of prompt, answer and end token"),
  encoderText: z
    .enum(["input", "prompt"])
    .default("input")
    .describe("encoders: what is compared with the labels, a record's input or its whole prompt"),
});

/** Options of the evaluation after each task. */
export const evaluationOptions = z.object({
  evaluateBy: z
    .enum(["generate", "score"])
    .nullable()
    .default(null)
    .describe("generate and compare, or score all labels seen so far; null: generate, with an encoder score"),
  metric: z
    .enum(metricNames)
    .nullable()
    .default(null)
    .describe("what answers are measured by; null: as the task's benchmark has it, else exact-match"),
  maxNewTokens: count.default(128).describe("most tokens of a generated answer"),
  evaluationTokens: count.default(8192).describe("prompt tokens of an evaluation batch"),
  measureForwardTransfer: z
    .boolean()
    .default(true)
    .describe("evaluate a task before it is learned, with and without the adapter (FWT)"),
});

/** Options of the data. */
export const dataOptions = z.object({
  data: z.string().describe("folder with train/, dev/ and test/, a file per task"),
  benchmark: z
    .string()
    .nullable()
    .default(null)
    .describe(
      "whose orders and metrics the folder has: standard-cl, long-sequence, superni, or the name in its benchmark.json; null: what it is found to be",
    ),
  order: z
    .union([z.string(), z.array(z.string())])
    .nullable()
    .default(null)
    .describe(
      "an order of the benchmark by name (1-6), or task names with commas between; null: all, by name",
    ),
  trainLimit: limit.describe("use the first n training records of each task"),
  devLimit: limit.describe("use the first n dev records of each task"),
  testLimit: limit.describe("use the first n test records of each task"),
});

/** Options of how a run is kept and computed; results do not depend on them, but for rounding with `device` and `threads`. */
export const runtimeOptions = z.object({
  device: z
    .enum(["cpu", "cuda", "auto"])
    .default("cpu")
    .describe(
      "where the model computes; cuda: the first GPU that can be used; auto: that where everything for it is there, else the CPU",
    ),
  deviceMemoryLimit: z
    .string()
    .nullable()
    .default(null)
    .describe(
      "most that this process' models may take of the GPU's memory, such as 40GB, where others share the card; null: all of it",
    ),
  threads: count
    .nullable()
    .default(null)
    .describe("threads of one operation; null: one for a small model, else libtorch's choice"),
  memory: z
    .string()
    .nullable()
    .default(null)
    .describe(
      "refuse a model whose weights take more memory than this, such as 16GB; layers are laid out for faster products as well only where that fits too; null: no limit, and for that half of the machine's memory",
    ),
  tokenCache: z
    .string()
    .nullable()
    .default("1GB")
    .describe(
      "most that tokens of texts may take in the user's cache, where later runs find them; null: they are not kept, nor made ahead for the next task",
    ),
  logMasksEvery: count
    .nullable()
    .default(20)
    .describe(
      "cycles between two logs of masks and importance by tensor, beside a task's first and last; null: none",
    ),
  saveEvery: count.default(200).describe("optimizer steps between two saves of the run"),
});

/** What a learner is made from: everything but the data. */
export const learnerOptions = z.object({
  ...modelOptions.shape,
  ...loopOptions.shape,
  ...formatOptions.shape,
  ...evaluationOptions.shape,
  ...runtimeOptions.shape,
});
export type LearnerOptions = z.output<typeof learnerOptions>;
export type DataOptions = z.output<typeof dataOptions>;
