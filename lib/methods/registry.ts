import { aimMerging } from "./aim-merging.js";
import { ella } from "./ella.js";
import { ewc } from "./ewc.js";
import { forever } from "./forever.js";
import type { Method } from "./method.js";
import { migu } from "./migu.js";
import { multiTask } from "./multi-task.js";
import { oLora } from "./o-lora.js";
import { perTask } from "./per-task.js";
import { recurrentKif } from "./recurrent-kif.js";
import { replay } from "./replay.js";
import { sequential } from "./sequential.js";
import { slao } from "./slao.js";
import { tasl } from "./tasl.js";

const all = [
  recurrentKif,
  sequential,
  replay,
  perTask,
  multiTask,
  ewc,
  oLora,
  tasl,
  migu,
  ella,
  aimMerging,
  forever,
  slao,
] as unknown as Method[];

/** Every method by name. A new method is a file beside this one and a line here. */
export const methods: ReadonlyMap<string, Method> = new Map(all.map((method) => [method.name, method]));
