/** What the configurations of all families share: kinds of fields, activations, and refusals by name. */
import { z } from "zod";
import { RkifError } from "../../errors.js";
import type { Activation } from "../../native/contract.js";
import { checkFields, shown } from "../json-file.js";

const largest = 2 ** 31 - 1;
export const count = z
  .int("a positive integer")
  .min(1, "a positive integer")
  .max(largest, `at most ${largest}`);
/** Layers are listed one by one, so their number has a bound that a broken file cannot pass. */
export const layerCount = count.max(10_000, "at most 10000 layers");
export const tokenId = z.int("a token id").min(0, "a token id").max(largest, "a token id");
export const flag = z.boolean("true or false");
export const text = z.string("a string");
export const rate = z.number("a rate from 0 to less than 1").min(0, "at least 0").lt(1, "less than 1");
export const positive = z.number("a positive number").gt(0, "a positive number");

/** transformers' names of activation functions, and the contract's. Its tanh forms of GELU differ by rounding only. */
const activations: ReadonlyMap<string, Activation> = new Map([
  ["relu", "relu"],
  ["gelu", "gelu"],
  ["gelu_python", "gelu"],
  ["gelu_new", "gelu_new"],
  ["gelu_fast", "gelu_new"],
  ["gelu_accurate", "gelu_new"],
  ["gelu_pytorch_tanh", "gelu_new"],
  ["gelu_python_tanh", "gelu_new"],
  ["silu", "silu"],
  ["swish", "silu"],
]);

/**
 * The activation that transformers calls `name`.
 * @param found - the field's whole value, for the message
 * @throws {RkifError} CONFIG_UNSUPPORTED naming file and field.
 */
export function activationNamed(
  name: string,
  file: string,
  field: string,
  found: unknown = name,
): Activation {
  const activation = activations.get(name);
  if (activation === undefined) {
    throw unsupported(file, field, found, `expected one of ${[...activations.keys()].join(", ")}`);
  }
  return activation;
}

const common = z.looseObject(
  { model_type: z.string("a model type"), quantization_config: z.unknown().optional() },
  "an object",
);

/**
 * `model_type`, which must be one of `types`; quantized weights are refused here, for every family.
 * @throws {RkifError} CONFIG_INVALID, CONFIG_UNSUPPORTED naming file and field.
 */
export function modelTypeOf<T extends string>(config: unknown, file: string, types: readonly T[]): T {
  const { model_type, quantization_config } = checkFields(common, config, file, "CONFIG_INVALID");
  const known = types.find((type) => type === model_type);
  if (known === undefined)
    throw unsupported(file, "model_type", model_type, `expected one of ${types.join(", ")}`);
  if (quantization_config !== undefined && quantization_config !== null) {
    throw unsupported(
      file,
      "quantization_config",
      quantization_config,
      "expected weights stored as F32, F16 or BF16",
    );
  }
  return known;
}

/**
 * Refuses fields that would change the result and that nothing here honours.
 * @param harmless - by field, the values with which it changes nothing, besides null and absence
 * @throws {RkifError} CONFIG_UNSUPPORTED naming file and field.
 */
export function refuseEffective(
  config: unknown,
  file: string,
  harmless: Readonly<Record<string, readonly unknown[]>>,
): void {
  for (const [field, values] of Object.entries(harmless)) {
    const found = (config as Record<string, unknown>)[field] ?? null;
    const allowed = [null, ...values].map((value) => JSON.stringify(value));
    if (!allowed.includes(JSON.stringify(found))) {
      throw unsupported(
        file,
        field,
        found,
        `expected it to be absent${values.length > 0 ? ` or ${shown(values[0])}` : ""}`,
      );
    }
  }
}

/**
 * Channels of a head, where a layer's are shared evenly.
 * @throws {RkifError} CONFIG_INVALID naming file and both fields.
 */
export function evenShare(
  file: string,
  whole: [field: string, value: number],
  heads: [field: string, value: number],
): number {
  const share = whole[1] / heads[1];
  if (Number.isInteger(share)) return share;
  throw invalid(file, whole[0], whole[1], `a multiple of "${heads[0]}", ${heads[1]}`);
}

export function unsupported(file: string, field: string, found: unknown, expected: string): RkifError {
  return new RkifError("CONFIG_UNSUPPORTED", `${file}: "${field}" is ${shown(found)}; ${expected}`);
}

export function invalid(file: string, field: string, found: unknown, expected: string): RkifError {
  return new RkifError("CONFIG_INVALID", `${file}: "${field}" is ${shown(found)}; expected ${expected}`);
}
