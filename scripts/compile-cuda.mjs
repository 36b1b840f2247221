// `npm run compile:cuda`: the kernels for GPUs, build/Release/librkif_cuda.so. nvcc is found (CUDA_HOME, PATH, the user's cache) or fetched by
// pip. Idempotent. See docs/cuda.md.
//   --fetch-only   fetch what compiling needs and compile nothing
//   --benchmark    build the programs that measure and test the kernels on a GPU as well
import { parseArgs } from "node:util";

import { buildCuda, buildCudaExecutable, provideTools } from "./steps/cuda.mjs";
import { ScriptError, main } from "./steps/process.mjs";

await main(async () => {
  const { values } = parseArgs({
    options: {
      "fetch-only": { type: "boolean", default: false },
      benchmark: { type: "boolean", default: false },
    },
  });
  const tools = values["fetch-only"] ? await provideTools(true) : await buildCuda({ fetch: true });
  if (typeof tools === "string") throw new ScriptError(`the CUDA library cannot be built here: ${tools}`);
  if (!values.benchmark) return;
  for (const program of ["rkif_cuda_kernels_benchmark", "rkif_cuda_tests"])
    await buildCudaExecutable(program);
});
