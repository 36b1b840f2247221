/** kernels/: the method's kernels on plain vectors. */
import { join } from "node:path";
import type { Addon, FusionTable, Mask, Vector } from "../../../lib/native/contract.js";
import type { Check } from "../check.js";
import type { Values } from "../expected.js";
import { filesIn, readJson, type FixtureSet } from "../fixtures.js";
import { addon } from "../runtime.js";
import { readSafetensors, type Tensor } from "../safetensors.js";
import { GIVEN, mask, TOLERANCE } from "../tolerances.js";

type Tensors = ReadonlyMap<string, Tensor>;

function float32(tensors: Tensors, name: string): Float32Array {
  const values = tensors.get(name)?.values;
  if (!(values instanceof Float32Array)) throw new Error(`the fixture has no fp32 tensor ${name}`);
  return values;
}

function vector(native: Addon, values: Float32Array): Vector {
  const created = native.createVector(values.length);
  created.set(values);
  return created;
}

interface QuantileSettings {
  cases: { name: string; quantiles_at: number[]; masks_at: number[] }[];
  per_tensor: { scores: string; split: number[]; quantile: number };
}

const comparisons = [
  ["ge", ">="],
  ["gt", ">"],
] as const;

async function bits(selected: Mask): Promise<Uint8Array> {
  const read = await selected.read();
  selected.dispose();
  return read;
}

async function quantiles(native: Addon, settings: QuantileSettings, given: Tensors): Promise<Values> {
  const values: Values = new Map();
  const file = "quantiles.safetensors";
  for (const { name, quantiles_at: at, masks_at: masksAt } of settings.cases) {
    const scores = vector(native, float32(given, `${name}.scores`));
    values.set(`${file}#${name}.quantiles`, await native.quantiles(scores, at));
    for (const [suffix, compare] of comparisons) {
      const masks: number[] = [];
      for (const q of masksAt) {
        for (const bit of await bits(
          native.select(scores, { keepFraction: 1 - q, by: "quantile", compare }),
        )) {
          masks.push(bit);
        }
      }
      values.set(`${file}#${name}.mask_${suffix}`, masks);
    }
    scores.dispose();
  }
  const { scores: name, split, quantile } = settings.per_tensor;
  const scores = vector(native, float32(given, name));
  for (const [suffix, compare] of comparisons) {
    const selected = native.select(scores, {
      keepFraction: 1 - quantile,
      by: "quantile",
      compare,
      segments: split,
    });
    values.set(`${file}#per_tensor.mask_${suffix}`, await bits(selected));
  }
  scores.dispose();
  return values;
}

interface ImportanceSettings {
  steps: number;
  cases: { name: string; alpha1: number; alpha2: number }[];
}

async function importance(native: Addon, settings: ImportanceSettings, given: Tensors): Promise<Values> {
  const values: Values = new Map();
  const allWeights = float32(given, "w");
  const allGradients = float32(given, "g");
  const length = allWeights.length / settings.steps;
  for (const { name, alpha1, alpha2 } of settings.cases) {
    const averages = { importance: native.createVector(length), uncertainty: native.createVector(length) };
    const results = {
      ibar: new Float32Array(allWeights.length),
      ubar: new Float32Array(allWeights.length),
      score: new Float32Array(allWeights.length),
    };
    for (let start = 0; start < allWeights.length; start += length) {
      const weights = vector(native, allWeights.subarray(start, start + length));
      const gradients = vector(native, allGradients.subarray(start, start + length));
      native.updateImportance(averages, weights, gradients, {
        importanceDecay: alpha1,
        uncertaintyDecay: alpha2,
      });
      const score = native.score(averages);
      results.ibar.set(await averages.importance.read(), start);
      results.ubar.set(await averages.uncertainty.read(), start);
      results.score.set(await score.read(), start);
      for (const handle of [weights, gradients, score]) handle.dispose();
    }
    for (const [key, result] of Object.entries(results)) {
      values.set(`importance.safetensors#${name}.${key}`, result);
    }
    averages.importance.dispose();
    averages.uncertainty.dispose();
  }
  return values;
}

interface FusionSettings {
  cases: { name: string; quantile: number; adaptive_tau: number[] }[];
}

const onlyOne = { onlyIn: [1, 0], onlyOut: [0, 1] } as const;
const forms: readonly { name: string; compare: ">=" | ">"; table: FusionTable }[] = [
  { name: "paper", compare: ">=", table: { ...onlyOne, both: [1, 1], neither: [0, 0] } },
  { name: "reference", compare: ">", table: { ...onlyOne, both: [0.4, 0.6], neither: [0.5, 0.5] } },
];

/** As Python prints a float: the fixtures' names hold "1.0". */
const pythonFloat = (value: number): string => (Number.isInteger(value) ? value.toFixed(1) : String(value));

async function fusion(native: Addon, settings: FusionSettings, given: Tensors): Promise<Values> {
  const values: Values = new Map();
  for (const { name, quantile, adaptive_tau: temperatures } of settings.cases) {
    const input = (key: string): Vector => vector(native, float32(given, `${name}.${key}`));
    const [start, tauIn, tauOut] = [input("theta"), input("tau_in"), input("tau_out")];
    const scores = { in: input("score_in"), out: input("score_out") };
    const parameters = native.createVector(start.length);
    const vectors = { parameters, start, tauIn, tauOut };
    for (const form of forms) {
      const select = { keepFraction: 1 - quantile, by: "quantile", compare: form.compare } as const;
      const masks = { in: native.select(scores.in, select), out: native.select(scores.out, select) };
      await native.fuse(vectors, masks, form.table);
      values.set(`fusion.safetensors#${name}.${form.name}`, await parameters.read());
      masks.in.dispose();
      masks.out.dispose();
    }
    for (const temperature of temperatures) {
      await native.fuseAdaptive(vectors, scores, temperature);
      values.set(`fusion.safetensors#${name}.adaptive_${pythonFloat(temperature)}`, await parameters.read());
    }
    for (const handle of [start, tauIn, tauOut, scores.in, scores.out, parameters]) handle.dispose();
  }
  return values;
}

const computations: Record<string, (native: Addon, settings: never, given: Tensors) => Promise<Values>> = {
  quantiles,
  importance,
  fusion,
};

export const kernels: Check = {
  folder: "kernels",
  find: (root) =>
    filesIn(root, "kernels", /\.json$/).map((file) => {
      const name = `kernels/${file.replace(/\.json$/, "")}`;
      return { root, name, files: [`${name}.json`, `${name}.safetensors`] };
    }),
  unsupported: (set) =>
    set.name.slice("kernels/".length) in computations ? null : "no check for this kernel yet",
  rules: [
    { at: /\.json#/, tolerance: GIVEN },
    { at: /\.(scores|score_in|score_out|theta|tau_in|tau_out)$/, tolerance: GIVEN },
    { at: /^importance\.safetensors#[wg]$/, tolerance: GIVEN },
    { at: /\.quantiles$/, tolerance: TOLERANCE.quantile },
    // Subnormal scores: the quantum of fp32 is as coarse as the distance between neighbours.
    { at: /#tiny\.mask_(ge|gt)$/, tolerance: mask({ allowed: 2 }) },
    { at: /\.mask_(ge|gt)$/, tolerance: mask() },
    { at: /\.(ibar|ubar|score|paper|reference|adaptive_[\d.]+)$/, tolerance: TOLERANCE.kernel },
  ],
  async compute(set: FixtureSet): Promise<Values> {
    const kind = set.name.slice("kernels/".length);
    const computation = computations[kind];
    if (computation === undefined) throw new Error(`no check for ${set.name}`);
    return computation(
      await addon(),
      readJson<never>(set.root, `${set.name}.json`),
      readSafetensors(join(set.root, `${set.name}.safetensors`)),
    );
  },
};
