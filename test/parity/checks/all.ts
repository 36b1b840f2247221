/** Every kind of set that there is. A new kind is a file here and a line below. */
import type { Check } from "../check.js";
import { runByMethod } from "../recurrent-method.js";
import { kernels } from "./kernels.js";
import { lora } from "./lora.js";
import { metrics } from "./metrics.js";
import { models } from "./models.js";
import { recurrentCheck } from "./recurrent.js";
import { tokenizers } from "./tokenizers.js";
import { train } from "./train.js";

export const allChecks: readonly Check[] = [
  models,
  lora,
  train,
  recurrentCheck(runByMethod),
  kernels,
  metrics,
  tokenizers,
];
