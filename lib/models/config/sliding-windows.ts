/** Which layers of a decoder attend only to the last tokens: every type of decoder has its own rule. */
import { z } from "zod";
import { checkFields } from "../json-file.js";
import { count, flag, invalid, unsupported } from "./fields.js";

/**
 * By layer, how many of the last positions a token attends to; null: all before it.
 * @throws {RkifError} CONFIG_INVALID or CONFIG_UNSUPPORTED naming file and field.
 */
export type SlidingRule = (config: unknown, file: string, numLayers: number) => (number | null)[];

const full = "full_attention";
const sliding = "sliding_attention";

const defaultWindow = 4096;

const schema = z.looseObject({
  sliding_window: count.nullish(),
  use_sliding_window: flag.nullish(),
  max_window_layers: z.int("a number of layers").min(0, "a number of layers").default(28),
  layer_types: z.array(z.string("a type of layer"), "a list of layer types").nullish(),
});

/** LLaMA: a window would be another model's, unless the file says that it is not used. */
export const noWindow: SlidingRule = (config, file, numLayers) => {
  const { sliding_window, use_sliding_window, layer_types } = read(config, file, numLayers);
  if (typeof sliding_window === "number" && use_sliding_window !== false) {
    throw unsupported(
      file,
      "sliding_window",
      sliding_window,
      "expected null: models of this type have no window",
    );
  }
  return uniform(null, layer_types, file, numLayers);
};

/** Mistral: one window for all layers, 4096 where the field is absent, none where it is null. */
export const everyLayer: SlidingRule = (config, file, numLayers) => {
  const { sliding_window = defaultWindow, layer_types } = read(config, file, numLayers);
  return uniform(sliding_window, layer_types, file, numLayers);
};

/**
 * Qwen: where "use_sliding_window" says so, a window for the layers that "layer_types" names, or, where there is no such list, for
 * those behind the first "max_window_layers".
 */
export const lastLayers: SlidingRule = (config, file, numLayers) => {
  const fields = read(config, file, numLayers);
  const { sliding_window = defaultWindow, layer_types } = fields;
  const window = (fields.use_sliding_window ?? false) ? sliding_window : null;
  if (window === null && layer_types?.includes(sliding)) {
    throw invalid(
      file,
      "layer_types",
      layer_types,
      `"${full}" only, or "use_sliding_window" true with a "sliding_window"`,
    );
  }
  return Array.from({ length: numLayers }, (_, i) =>
    (layer_types ? layer_types[i] === sliding : i >= fields.max_window_layers) ? window : null,
  );
};

function read(config: unknown, file: string, numLayers: number): z.output<typeof schema> {
  const fields = checkFields(schema, config, file, "CONFIG_INVALID");
  const types = fields.layer_types ?? [];
  const other = types.find((type) => type !== full && type !== sliding);
  if (other !== undefined) throw unsupported(file, "layer_types", other, `expected ${full} or ${sliding}`);
  if (fields.layer_types && types.length !== numLayers) {
    throw invalid(file, "layer_types", types, `one for each of "num_hidden_layers", ${numLayers}`);
  }
  return fields;
}

/** Models of these types slide on all layers or on none; a list that says otherwise was made for other code. */
function uniform(
  window: number | null,
  layerTypes: readonly string[] | null | undefined,
  file: string,
  numLayers: number,
): (number | null)[] {
  const expected = window === null ? full : sliding;
  if (layerTypes?.some((type) => type !== expected)) {
    throw unsupported(
      file,
      "layer_types",
      layerTypes,
      `expected ${expected} for every layer of this type of model`,
    );
  }
  return Array.from({ length: numLayers }, () => window);
}
