// `npm run benchmark`: the benchmark programs of examples/benchmarks, one after another, or those named: `npm run benchmark -- kernels`.
//   kernels     the vector kernels as multiples of one memcpy, in C++ (arguments after it: element counts, --json); with --device cuda those
//               of a GPU as shares of its memory's bandwidth, and whether quantiles and masks are exact (element counts, --json FILE)
//   event-loop  delay of Node's event loop while a model trains, beside a control with two busy threads
//   peer        training steps, whole runs and more beside transformers + peft in Python; not without being named: it takes an hour and
//               installs them
import { join } from "node:path";

import { buildCudaExecutable } from "./steps/cuda.mjs";
import { buildExecutable, buildNative, withLibtorch } from "./steps/native.mjs";
import { ScriptError, main, root, run, runNode } from "./steps/process.mjs";
import { compileTypeScript } from "./steps/typescript.mjs";

const onText = (text) => process.stdout.write(text);

const benchmarks = {
  async kernels(libtorch, args) {
    const device = args.indexOf("--device");
    if (device >= 0 && args[device + 1] !== "cpu") {
      if (args[device + 1] !== "cuda") throw new ScriptError("--device: expected cpu or cuda");
      return run(await buildCudaExecutable("rkif_cuda_kernels_benchmark"), args.toSpliced(device, 2), {
        onText,
      });
    }
    if (device >= 0) args = args.toSpliced(device, 2);
    const program = await buildExecutable(libtorch, "rkif_kernels_benchmark");
    // As the addon has it: see native/preload/preload.cc.
    const environment = { OMP_WAIT_POLICY: "active", GOMP_SPINCOUNT: "2000", ...process.env };
    return run(program, args.length > 0 ? args : ["1e8"], {
      env: withLibtorch(libtorch, environment),
      onText,
    });
  },
  "event-loop": (_libtorch, args) =>
    runNode(["--import", "tsx", join(root, "examples", "benchmarks", "event-loop.ts"), ...args], { onText }),
  async peer(_libtorch, args) {
    // Its start-up is measured on what the package ships.
    await compileTypeScript();
    return runNode(["--import", "tsx", join(root, "examples", "benchmarks", "peer.ts"), ...args], { onText });
  },
};
const unnamed = Object.keys(benchmarks).filter((name) => name !== "peer");

await main(async () => {
  const [name, ...args] = process.argv.slice(2);
  const known = Object.keys(benchmarks);
  if (name !== undefined && !known.includes(name)) {
    throw new ScriptError(`${name}: no such benchmark; expected ${known.join(" or ")}`);
  }
  const libtorch = await buildNative();
  let worst = 0;
  for (const each of name === undefined ? unnamed : [name]) {
    process.stdout.write(`== ${each}\n`);
    worst = Math.max(worst, (await benchmarks[each](libtorch, args)).status ?? 1);
  }
  return worst;
});
