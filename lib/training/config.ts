import { z, type ZodType } from "zod";
import { RkifError } from "../errors.js";
import { suggestion } from "../data/suggest.js";
import type { Method } from "../methods/method.js";
import { methods } from "../methods/registry.js";
import {
  dataOptions,
  learnerOptions,
  runtimeOptions,
  type DataOptions,
  type LearnerOptions,
} from "./options.js";

/** Every option of a run, resolved: what config.json of a run folder holds. */
export type ResolvedConfig = LearnerOptions & {
  method: string;
  preset: string | null;
} & Record<string, unknown>;

/** What a user may give: any subset of the options. */
export type ConfigInput = Partial<z.input<typeof learnerOptions>> & {
  method?: string;
  preset?: string | null;
} & Record<string, unknown>;

const choice = z.object({
  method: z.string().default("recurrent-kif").describe("learning method"),
  preset: z
    .string()
    .nullable()
    .default(null)
    .describe("named set of the method's options; what is given besides goes before it"),
});

/** Option names that may differ when a run goes on: tasks are added, their folders move, and a preset's values stand by themselves. */
const free = new Set(["preset", ...Object.keys(runtimeOptions.shape), ...Object.keys(dataOptions.shape)]);

/** Finds a method, or says which there are. */
export function findMethod(name: string): Method {
  const method = methods.get(name);
  if (method) return method;
  const names = [...methods.keys()];
  throw new RkifError(
    "CONFIG_INVALID",
    `method is ${JSON.stringify(name)}; expected one of ${names.join(", ")}.${suggestion(name, names)}`,
  );
}

/**
 * Fills in presets and defaults and checks every option.
 * @param source what messages call the configuration, such as a file name
 * @throws {RkifError} CONFIG_INVALID naming the option, what was found and what was expected.
 */
export function resolveConfig(input: ConfigInput, source: string = "configuration"): ResolvedConfig {
  const method = findMethod(parse(choice.pick({ method: true }), { method: input.method }, source).method);
  const shape = { ...choice.shape, ...learnerOptions.shape, ...method.options.shape };
  refuseUnknown(input, shape, method, source);
  const preset = presetOf(method, input.preset ?? null, source);
  const config = parse(z.object(shape), { ...preset, ...withoutUndefined(input) }, source);
  if (method.needsAdapter && config.trainable !== "lora") {
    throw new RkifError(
      "CONFIG_INVALID",
      `${source}: trainable is ${JSON.stringify(config.trainable)}; method ${method.name} is one of adapters: expected "lora"`,
    );
  }
  return config;
}

/** Takes the options of the data out of a configuration that holds both. */
export function splitConfig(input: Readonly<Record<string, unknown>>): {
  learner: ConfigInput;
  data: Record<string, unknown>;
} {
  const entries = Object.entries(input);
  const isData = ([name]: [string, unknown]): boolean => Object.hasOwn(dataOptions.shape, name);
  return {
    learner: Object.fromEntries(entries.filter((entry) => !isData(entry))),
    data: Object.fromEntries(entries.filter(isData)),
  };
}

/** Fills in and checks the options of the data. @throws {RkifError} as {@link resolveConfig}. */
export function resolveDataOptions(input: Readonly<Record<string, unknown>>, source: string): DataOptions {
  return parse(dataOptions, withoutUndefined(input), source);
}

/** Fills in and checks some of the options; others in `input` are left out. @throws {RkifError} as {@link resolveConfig}. */
export function resolvePart<T extends ZodType>(
  options: T,
  input: Readonly<Record<string, unknown>>,
  source: string,
): z.output<T> {
  return parse(options, withoutUndefined(input), source);
}

/** An option of the command line. */
export interface NamedOption {
  name: string;
  schema: ZodType;
  /** The methods that have it; absent where all do. */
  methods?: string[];
}

/** Every option by name with its schema; those that several methods share once: what the command line is made from. */
export function allOptions(): NamedOption[] {
  const shared = { ...choice.shape, ...learnerOptions.shape, ...dataOptions.shape };
  const own = new Map<string, NamedOption & { methods: string[] }>();
  for (const [name, schema, method] of methodOwnOptions()) {
    const known = own.get(name);
    if (known) known.methods.push(method);
    else own.set(name, { name, schema, methods: [method] });
  }
  return [
    ...Object.entries(shared).map(([name, schema]) => ({ name, schema: schema as ZodType })),
    ...own.values(),
  ];
}

function methodOwnOptions(): [name: string, schema: ZodType, method: string][] {
  return [...methods.values()].flatMap(({ name: method, options }) =>
    Object.entries(options.shape).map(([name, schema]): [string, ZodType, string] => [
      name,
      schema as ZodType,
      method,
    ]),
  );
}

/** A method's own part of a resolved configuration. */
export function methodOptions(config: ResolvedConfig): Record<string, unknown> {
  const { options } = findMethod(config.method);
  return options.parse(Object.fromEntries(Object.keys(options.shape).map((key) => [key, config[key]])));
}

/** What runs hold that were begun earlier, for options that since leave their values to the family or the benchmark. */
const meantByNull: Readonly<Record<string, unknown>> = {
  targetModules: ["q", "v"],
  sourceTokens: 1024,
  evaluateBy: "generate",
  metric: "exact-match",
};

/** Names of the options in which a run's configuration and a given one differ, of those that may not. */
export function configDifferences(kept: ResolvedConfig, given: ResolvedConfig): string[] {
  const names = new Set([...Object.keys(kept), ...Object.keys(given)]);
  const same = (name: string): boolean =>
    JSON.stringify(kept[name]) === JSON.stringify(given[name]) || leftOpen(name, kept, given);
  return [...names].filter((name) => !free.has(name) && !same(name)).sort();
}

/** The configuration a run goes on with, where nothing {@link configDifferences} names differs. */
export function mergedConfig(kept: ResolvedConfig, given: ResolvedConfig): ResolvedConfig {
  const entries = Object.entries(given).filter(([name]) => !leftOpen(name, kept, given));
  return { ...kept, ...Object.fromEntries(entries) };
}

function leftOpen(name: string, kept: ResolvedConfig, given: ResolvedConfig): boolean {
  const meant = meantByNull[name];
  return meant !== undefined && given[name] === null && JSON.stringify(kept[name]) === JSON.stringify(meant);
}

/** The published JSON Schema: every option of every method. */
export function configJsonSchema(): Record<string, unknown> {
  const shape: Record<string, ZodType> = {
    $schema: z.string().optional().describe("this schema, for editors"),
    ...choice.shape,
    ...learnerOptions.shape,
    ...dataOptions.partial().shape,
  };
  for (const { name, schema, methods: owners } of allOptions()) {
    if (owners) shape[name] = schema.describe(`${owners.join(", ")}: ${schema.description ?? ""}`);
  }
  return z.toJSONSchema(z.strictObject(shape), { io: "input" });
}

function presetOf(method: Method, name: string | null, source: string): Readonly<Record<string, unknown>> {
  if (name === null) return {};
  const names = Object.keys(method.presets ?? {});
  const preset = names.includes(name) ? method.presets?.[name] : undefined;
  if (preset) return preset;
  const known = names.length > 0 ? `expected one of ${names.join(", ")}` : `method ${method.name} has none`;
  throw new RkifError(
    "CONFIG_INVALID",
    `${source}: preset is ${JSON.stringify(name)}; ${known}.${suggestion(name, names)}`,
  );
}

function refuseUnknown(
  input: Readonly<Record<string, unknown>>,
  shape: Readonly<Record<string, unknown>>,
  method: Method,
  source: string,
): void {
  const names = Object.keys(shape);
  for (const key of Object.keys(input)) {
    if (names.includes(key)) continue;
    if (Object.hasOwn(dataOptions.shape, key)) {
      throw new RkifError(
        "CONFIG_INVALID",
        `${source}: "${key}" is an option of \`rkif train\`; here tasks are read with readTask() and given to learn()`,
      );
    }
    const owners = allOptions().find(({ name }) => name === key)?.methods;
    const why = owners
      ? `it is an option of method ${owners.join(", ")}, not of ${method.name}`
      : "there is no such option";
    const candidates = [...names, ...Object.keys(dataOptions.shape)];
    throw new RkifError("CONFIG_INVALID", `${source}: "${key}": ${why}.${suggestion(key, candidates)}`);
  }
}

function parse<T extends ZodType>(schema: T, value: unknown, source: string): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const lines = result.error.issues.map((issue) => {
    const at = issue.path.join(".");
    const found = issue.path.reduce<unknown>(
      (part, key) => (part as Record<PropertyKey, unknown>)?.[key],
      value,
    );
    return `${source}: ${at} is ${found === undefined ? "missing" : JSON.stringify(found)}; ${issue.message}`;
  });
  throw new RkifError("CONFIG_INVALID", lines.join("\n"));
}

function withoutUndefined(input: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined));
}
