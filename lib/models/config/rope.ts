import { z } from "zod";
import type { RopeConfig } from "../../native/contract.js";
import { checkFields } from "../json-file.js";
import { count, invalid, positive, text, unsupported } from "./fields.js";

const parameters = z.record(z.string(), z.unknown(), "an object or null").nullish();
const topLevel = z.looseObject(
  {
    rope_theta: positive.default(10_000),
    rope_scaling: parameters,
    rope_parameters: parameters,
    original_max_position_embeddings: count.nullish(),
  },
  "an object",
);

const general = z.looseObject({
  rope_type: text.nullish(),
  type: text.nullish(),
  rope_theta: positive.optional(),
});
const factorOnly = z.looseObject({ factor: positive });
const llama3 = z.looseObject({
  factor: positive,
  low_freq_factor: positive,
  high_freq_factor: positive,
  original_max_position_embeddings: count.nullish(),
});

/** Where the parameters of the rotation were found. */
interface Source {
  file: string;
  field: "rope_scaling" | "rope_parameters";
  given: Record<string, unknown>;
}

/** What else of config.json a scaling may refer to. */
interface Positions {
  maxPositions: number;
  originalMaxPositions: number | null;
}

/** The types of scaling by their names in config.json. */
const scalings: Readonly<Record<string, (source: Source, positions: Positions) => RopeConfig["scaling"]>> = {
  default: () => null,
  linear: (source) => ({ type: "linear", factor: read(factorOnly, source).factor }),
  dynamic: (source, { maxPositions }) => ({
    type: "dynamic",
    factor: read(factorOnly, source).factor,
    maxPositions,
  }),
  llama3: resolveLlama3,
};

/**
 * Rotary positions from the parsed content of a config.json, in the classic form ("rope_theta" and "rope_scaling") or as
 * transformers 5 writes them ("rope_parameters"). As there, a "rope_scaling" that holds anything takes the place of
 * "rope_parameters", and a "rope_theta" inside wins over the one at the top, which is 10000 where it is absent.
 *
 * @param maxPositions - "max_position_embeddings", where dynamic scaling begins
 * @throws {RkifError} CONFIG_INVALID naming file and field; CONFIG_UNSUPPORTED for another type of scaling, parameters by layer type,
 * positions of several dimensions, or heads rotated in part.
 */
export function resolveRope(config: unknown, file: string, maxPositions: number): RopeConfig {
  const top = checkFields(topLevel, config, file, "CONFIG_INVALID");
  const field = Object.keys(top.rope_scaling ?? {}).length > 0 ? "rope_scaling" : "rope_parameters";
  const source: Source = { file, field, given: top[field] ?? {} };
  refuseOtherRotations(source, top);
  const { rope_type, type, rope_theta } = read(general, source);
  const name = rope_type ?? type;
  if (typeof name !== "string" && "factor" in source.given) {
    throw invalid(file, `${field}.rope_type`, rope_type, `the type of scaling that "${field}.factor" is for`);
  }
  const scaling = Object.hasOwn(scalings, name ?? "default") ? scalings[name ?? "default"] : undefined;
  if (scaling === undefined) {
    const named = typeof rope_type === "string" ? "rope_type" : "type";
    throw unsupported(file, `${field}.${named}`, name, `expected one of ${Object.keys(scalings).join(", ")}`);
  }
  const originalMaxPositions = top.original_max_position_embeddings ?? null;
  return {
    theta: rope_theta ?? top.rope_theta,
    scaling: scaling(source, { maxPositions, originalMaxPositions }),
  };
}

function resolveLlama3(
  source: Source,
  { maxPositions, originalMaxPositions }: Positions,
): RopeConfig["scaling"] {
  const { file, field } = source;
  const fields = read(llama3, source);
  const { low_freq_factor: low, high_freq_factor: high } = fields;
  if (high <= low) {
    throw invalid(file, `${field}.high_freq_factor`, high, `more than "${field}.low_freq_factor", ${low}`);
  }
  const inside = fields.original_max_position_embeddings ?? null;
  // Releases of transformers differ in which of the two they believe.
  if (inside !== null && originalMaxPositions !== null && inside !== originalMaxPositions) {
    throw invalid(
      file,
      `${field}.original_max_position_embeddings`,
      inside,
      `the same as "original_max_position_embeddings", ${originalMaxPositions}; remove the wrong one`,
    );
  }
  return {
    type: "llama3",
    factor: fields.factor,
    lowFreqFactor: low,
    highFreqFactor: high,
    originalMaxPositions: inside ?? originalMaxPositions ?? maxPositions,
  };
}

function refuseOtherRotations({ file, field, given }: Source, top: Record<string, unknown>): void {
  for (const [name, partial] of [
    ["partial_rotary_factor", top.partial_rotary_factor],
    [`${field}.partial_rotary_factor`, given.partial_rotary_factor],
  ] as const) {
    if ((partial ?? 1) !== 1)
      throw unsupported(file, name, partial, "expected heads that are rotated as a whole, 1");
  }
  for (const [key, value] of Object.entries(given)) {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      throw unsupported(file, `${field}.${key}`, value, "expected one set of parameters for all layers");
    }
  }
  if ((given.mrope_section ?? null) !== null) {
    throw unsupported(
      file,
      `${field}.mrope_section`,
      given.mrope_section,
      "expected positions of one dimension",
    );
  }
}

/** The parameters as `schema` reads them; messages name the field they are in. */
function read<T>(schema: z.ZodType<T>, { file, field, given }: Source): T {
  return checkFields(z.record(z.literal(field), schema), { [field]: given }, file, "CONFIG_INVALID")[field];
}
