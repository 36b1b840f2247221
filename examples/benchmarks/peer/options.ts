/** The benchmark's command line: what is measured, of which models, on which device, and how often. */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { inputTokens, type Bounds } from "./batches.js";
import { modelNames, type ModelName } from "./checkpoints.js";
import { mostTasks } from "./made-tasks.js";
import type { Device, RunEvaluation, Type } from "./protocol.js";
import type { RunOptions } from "./run.js";
import type { Setting } from "./setting.js";

const devices: readonly Device[] = ["cpu", "cuda"];
const types: readonly Type[] = ["float32", "bfloat16"];
const parts = ["step", "evaluation", "memory", "startup", "run", "method", "cycles"] as const;
export type Part = (typeof parts)[number];

/** What a device does where nothing is said. */
interface Usual {
  parts: readonly Part[];
  models: readonly ModelName[];
  types: readonly Type[];
  /** Training steps of a round: a GPU's are short, and waited for once a round. */
  steps: number;
}

const usual: Record<Device, Usual> = {
  cpu: {
    ...{ parts: ["step", "evaluation", "memory", "startup"], models: ["t5-small", "t5-base", "qwen-0.5b"] },
    ...{ types, steps: 1 },
  },
  // Memory comes with the steps.
  cuda: {
    ...{ parts: ["step", "method", "evaluation"], models: ["t5-large", "llama-2-7b"] },
    ...{ types: ["bfloat16"], steps: 8 },
  },
};

/** Records of a batch where nothing is said. On a GPU both sides lie on the card at once, the peer with padding. */
export function usualBatch(device: Device, model: ModelName): number {
  if (device === "cpu") return 8;
  return model === "llama-2-7b" ? 16 : model === "llama-2-13b" ? 8 : 64;
}

export interface Options extends Pick<
  Setting,
  | "device"
  | "rounds"
  | "steps"
  | "threads"
  | "equalLengths"
  | "tokens"
  | "gradientCheckpointing"
  | "records"
  | "evaluationBatch"
  | "sharedTokens"
  | "newTokens"
> {
  parts: ReadonlySet<Part>;
  models: readonly ModelName[];
  types: readonly Type[];
  /** Of every model; null: {@link usualBatch}. */
  batchSize: number | null;
  profile: boolean;
  torchCompile: boolean;
  compileLimit: number;
  run: RunOptions;
  json: string | null;
}

/** @throws an error that names the argument and what was expected */
export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      device: { type: "string", default: "cpu" },
      models: { type: "string" },
      types: { type: "string" },
      rounds: { type: "string", default: "5" },
      steps: { type: "string" },
      only: { type: "string" },
      batch: { type: "string" },
      tokens: { type: "string", default: inputTokens.join("-") },
      records: { type: "string", default: "48" },
      "evaluation-batch": { type: "string", default: "16" },
      "shared-tokens": { type: "string", default: "0" },
      "new-tokens": { type: "string", default: "4" },
      threads: { type: "string", default: String(availableParallelism()) },
      "equal-lengths": { type: "boolean", default: false },
      "gradient-checkpointing": { type: "boolean", default: false },
      profile: { type: "boolean", default: false },
      "torch-compile": { type: "boolean", default: false },
      "compile-limit": { type: "string", default: "600" },
      data: { type: "string" },
      tasks: { type: "string", default: String(mostTasks) },
      "train-records": { type: "string", default: "200" },
      "test-records": { type: "string", default: "100" },
      epochs: { type: "string", default: "1" },
      "run-rounds": { type: "string", default: "1" },
      "run-evaluation": { type: "string", default: "published" },
      json: { type: "string" },
    },
  });
  const number = (option: keyof typeof values): number => wholeNumber(option, String(values[option]));
  const [device, ...further] = oneOf("device", values.device, devices);
  if (device === undefined || further.length > 0)
    throw new Error(`--device ${values.device}: expected one of ${devices.join(", ")}`);
  const defaults = usual[device];
  return {
    device,
    parts: new Set(chosen("only", values.only, parts, defaults.parts)),
    models: chosen("models", values.models, modelNames, defaults.models),
    types: chosen("types", values.types, types, defaults.types),
    rounds: number("rounds"),
    steps: values.steps === undefined ? defaults.steps : number("steps"),
    batchSize: values.batch === undefined ? null : number("batch"),
    tokens: bounds("tokens", values.tokens),
    threads: number("threads"),
    records: number("records"),
    evaluationBatch: number("evaluation-batch"),
    sharedTokens: sharedTokens(values["shared-tokens"], values.tokens),
    newTokens: number("new-tokens"),
    equalLengths: values["equal-lengths"],
    gradientCheckpointing: values["gradient-checkpointing"],
    profile: values.profile,
    torchCompile: values["torch-compile"],
    compileLimit: number("compile-limit"),
    run: {
      data: values.data ?? null,
      count: tasksWanted(number("tasks")),
      trainRecords: number("train-records"),
      testRecords: number("test-records"),
      epochs: number("epochs"),
      rounds: number("run-rounds"),
      evaluations: evaluationsWanted(values["run-evaluation"]),
    },
    json: values.json ?? null,
  };
}

function chosen<T extends string>(
  option: string,
  given: string | undefined,
  known: readonly T[],
  otherwise: readonly T[],
): readonly T[] {
  return given === undefined ? otherwise : oneOf(option, given, known);
}

function oneOf<T extends string>(option: string, given: string, known: readonly T[]): T[] {
  const names = given.split(",");
  const unknown = names.find((name) => !known.includes(name as T));
  if (unknown === undefined) return names as T[];
  throw new Error(`--${option} ${unknown}: expected ${known.join(", ")}, with commas between`);
}

function wholeNumber(option: string, given: string): number {
  const number = Number(given);
  if (Number.isSafeInteger(number) && number >= 1) return number;
  throw new Error(`--${option} ${given}: expected a whole number of at least 1`);
}

/** Answers have up to 12 tokens, which a decoder's record holds beside a prompt. */
const leastTokens = 16;

function bounds(option: string, given: string): Bounds {
  const [, least, most] = /^(\d+)-(\d+)$/.exec(given) ?? [];
  const found: Bounds = [Number(least), Number(most)];
  if (found[0] >= leastTokens && found[1] >= found[0]) return found;
  throw new Error(`--${option} ${given}: expected LEAST-MOST, such as 40-200, of at least ${leastTokens}`);
}

function sharedTokens(given: string, tokens: string): number {
  const [least] = bounds("tokens", tokens);
  if (/^\d+$/.test(given) && Number(given) <= least) return Number(given);
  throw new Error(
    `--shared-tokens ${given}: expected a whole number of at most ${least}, the shortest record's tokens`,
  );
}

function tasksWanted(count: number): number {
  if (count <= mostTasks) return count;
  throw new Error(`--tasks ${count}: order 4 has ${mostTasks} tasks`);
}

function evaluationsWanted(given: string): readonly RunEvaluation[] {
  const known = new Map<string, readonly RunEvaluation[]>([
    ["published", ["published"]],
    ["batched", ["batched"]],
    ["both", ["published", "batched"]],
  ]);
  const wanted = known.get(given);
  if (wanted !== undefined) return wanted;
  throw new Error(`--run-evaluation ${given}: expected ${[...known.keys()].join(", ")}`);
}
