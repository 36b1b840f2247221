import type { Method } from "./method.js";
import { recurrentKif } from "./recurrent-kif.js";
import { replay } from "./replay.js";
import { sequential } from "./sequential.js";

/** Every method by name. A new method is a file beside this one and a line here. */
export const methods: ReadonlyMap<string, Method> = new Map(
  ([recurrentKif, sequential, replay] as unknown as Method[]).map((method) => [method.name, method]),
);
