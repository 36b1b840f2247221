import { z } from "zod";
import { RkifError } from "../errors.js";
import { text } from "../data/benchmarks/manifest.js";
import { checkFields } from "../models/json-file.js";

/** One of the things a bench compares: a method with its options. */
export interface Variant {
  readonly name: string;
  readonly method: string;
  readonly preset: string | null;
  /** Go before the options that all variants share. */
  readonly options: Readonly<Record<string, unknown>>;
}

const options = z.record(z.string(), z.unknown(), { error: "an object of options" });

const variant = z.union(
  [
    text,
    z.strictObject({
      name: text.optional(),
      method: text,
      preset: text.nullable().optional(),
      options: options.optional(),
      sweep: z.record(z.string(), z.array(z.unknown()).min(1)).optional(),
    }),
  ],
  { error: '"METHOD", "METHOD:PRESET" or {name?, method, preset?, options?, sweep?}' },
);

const list = { error: "a list with at least one entry" };

const schema = z.strictObject(
  {
    $schema: z.string().optional(),
    name: text.nullable().default(null),
    variants: z.array(variant, list).min(1, list),
    orders: z
      .array(z.union([text, z.array(text).min(1)], { error: "a name, or a list of tasks" }), list)
      .min(1, list)
      .nullable()
      .default(null),
    seeds: z
      .array(z.number().int().nonnegative(), { error: "a list of whole numbers" })
      .min(1, list)
      .default([1, 2, 3]),
    evaluateOn: z.enum(["test", "dev"], { error: '"test" or "dev"' }).default("test"),
    options: options.default({}),
  },
  { error: "an object with the fields name, variants, orders, seeds, evaluateOn and options, and no others" },
);

/**
 * What a bench is made from: the content of a bench file.
 *
 *     {
 *       "name": "keep-fraction",
 *       "variants": ["sequential", "recurrent-kif:published-code",
 *                    { "method": "recurrent-kif", "options": { "outerSteps": 8 }, "sweep": { "keepFraction": [0.1, 0.2] } }],
 *       "orders": ["4", ["agnews", "yahoo"]],
 *       "seeds": [1, 2, 3],
 *       "evaluateOn": "test",
 *       "options": { "model": "checkpoints/t5-large", "data": "data/long-sequence", "epochs": 1 }
 *     }
 *
 * `sweep` stands for one variant for each combination of its values. `orders` null: all of the benchmark's. `evaluateOn` "dev": the
 * dev records take the place of the test records, for searches. `options` are those of training, data included, shared by all variants; an
 * option of one method only counts for the variants that have it.
 */
export type BenchInput = z.input<typeof schema>;

export interface BenchSpec extends Omit<z.output<typeof schema>, "variants" | "$schema"> {
  readonly variants: readonly Variant[];
}

/** @throws {RkifError} CONFIG_INVALID naming the field, or the name that two variants have. */
export function parseBench(input: unknown, source: string): BenchSpec {
  const { $schema: _, variants, ...rest } = checkFields(schema, input, source, "CONFIG_INVALID");
  const all = variants.flatMap((entry) =>
    typeof entry === "string" ? [parseVariant(entry)] : expand(entry),
  );
  const names = all.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice === undefined) return { ...rest, variants: all };
  throw new RkifError(
    "CONFIG_INVALID",
    `${source}: two variants are called "${twice}"; give them a "name" each`,
  );
}

/** `METHOD` or `METHOD:PRESET`. */
export function parseVariant(name: string): Variant {
  const [method = "", preset = null] = name.split(/:(.*)/s);
  return { name, method, preset, options: {} };
}

function expand(entry: Exclude<z.output<typeof variant>, string>): Variant[] {
  const { method, preset = null, options: given = {}, sweep = {} } = entry;
  const name = entry.name ?? (preset === null ? method : `${method}:${preset}`);
  let combinations: { label: string; options: Record<string, unknown> }[] = [{ label: name, options: given }];
  for (const [option, values] of Object.entries(sweep)) {
    combinations = combinations.flatMap((before) =>
      values.map((value) => ({
        label: `${before.label} ${option}=${typeof value === "string" ? value : JSON.stringify(value)}`,
        options: { ...before.options, [option]: value },
      })),
    );
  }
  return combinations.map((made) => ({ name: made.label, method, preset, options: made.options }));
}
