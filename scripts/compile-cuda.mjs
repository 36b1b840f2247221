// `npm run compile:cuda`: the kernels for GPUs, build/Release/librkif_cuda.so. nvcc is found (CUDA_HOME, PATH, the user's cache) or fetched by
// pip. Idempotent. See docs/cuda.md.
//   --fetch-only   fetch what compiling needs and compile nothing
import { parseArgs } from "node:util";

import { buildCuda, provideTools } from "./steps/cuda.mjs";
import { ScriptError, main } from "./steps/process.mjs";

await main(async () => {
  const { values } = parseArgs({ options: { "fetch-only": { type: "boolean", default: false } } });
  const tools = values["fetch-only"] ? await provideTools(true) : await buildCuda({ fetch: true });
  if (typeof tools === "string") throw new ScriptError(`the CUDA library cannot be built here: ${tools}`);
});
