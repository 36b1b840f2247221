// `npm test`: lint, the CUDA library's build, the C++ tests, the TypeScript tests, the packed package; fast first. All run even where one
// fails. The very last line is the sum over all of them. --emulated adds the C++ tests once more, with the GPU's kernels on
// an emulated grid in place of the CPU's; --gpu adds those of the kernels, and of models with them, on a card. `npm run test:parity` (--parity) runs the parity tests alone.
import { parseArgs } from "node:util";

import { checkPackage } from "./check-package.mjs";
import { lint } from "./lint.mjs";
import { buildCuda, buildCudaExecutable } from "./steps/cuda.mjs";
import { buildExecutable, buildNative, withLibtorch } from "./steps/native.mjs";
import { ScriptError, main, run, runNode, say, tool } from "./steps/process.mjs";
import { writeSchema } from "./steps/schema.mjs";
import { compileTypeScript } from "./steps/typescript.mjs";

const PARITY = "test/parity/**/*.test.ts";

/** Compiles it where nvcc is at hand, and fetches nothing: .ci/run and `npm run compile:cuda` do. */
async function cudaLibrary() {
  const missing = await buildCuda({ fetch: false });
  if (missing === undefined) return { passed: 1, failed: 0, skipped: 0 };
  say(`  not compiled: ${missing}`);
  return { passed: 0, failed: 0, skipped: 1 };
}

async function nativeTests(libtorch, args = []) {
  return runnerTests(libtorch, await buildExecutable(libtorch, "rkif_tests"), args);
}

async function gpuTests(libtorch, args) {
  return runnerTests(libtorch, await buildCudaExecutable("rkif_cuda_tests"), args);
}

async function runnerTests(libtorch, runner, args) {
  const { status, output } = await run(runner, args, {
    env: withLibtorch(libtorch),
    onText: (text) => process.stdout.write(text),
  });
  const [, passed, failed] = /^(\d+) passed, (\d+) failed$/m.exec(output) ?? [];
  return withStatus({ passed: Number(passed ?? 0), failed: Number(failed ?? 0), skipped: 0 }, status);
}

async function mochaTests(libtorch, specs) {
  const { status, output } = await runNode([tool("mocha/bin/mocha.js"), ...specs], {
    env: { ...process.env, RKIF_LIBTORCH: libtorch.folder },
    onText: (text) => process.stdout.write(text),
  });
  const count = (word) => Number(new RegExp(`^\\s+(\\d+) ${word}`, "m").exec(output)?.[1] ?? 0);
  return withStatus(
    { passed: count("passing"), failed: count("failing"), skipped: count("pending") },
    status,
  );
}

/** A runner that ended badly without counting a failure (a crash, no test at all) is one. */
function withStatus(counts, status) {
  const silent = status !== 0 && counts.failed === 0;
  return silent || counts.passed + counts.failed === 0 ? { ...counts, failed: counts.failed + 1 } : counts;
}

await main(async () => {
  const flag = { type: "boolean", default: false };
  const { values } = parseArgs({ options: { parity: flag, emulated: flag, gpu: flag } });
  await compileTypeScript();
  await writeSchema();
  const libtorch = await buildNative();
  const parts = values.parity
    ? { "parity tests": () => mochaTests(libtorch, [PARITY]) }
    : {
        lint,
        "CUDA library": cudaLibrary,
        "C++ tests": () => nativeTests(libtorch),
        ...(values.emulated
          ? { "C++ tests on an emulated GPU": () => nativeTests(libtorch, ["--kernels-of-gpu"]) }
          : {}),
        ...(values.gpu
          ? {
              "kernels on a GPU": () => gpuTests(libtorch, ["cuda"]),
              "models with a GPU's kernels": () => gpuTests(libtorch, ["--kernels-of-gpu"]),
            }
          : {}),
        "TypeScript tests": () => mochaTests(libtorch, ["test/**/*.test.ts"]),
        "packed package": checkPackage,
      };
  const total = { passed: 0, failed: 0, skipped: 0 };
  const summary = [];
  for (const [name, part] of Object.entries(parts)) {
    say(`\n== ${name}`);
    const started = Date.now();
    let counts;
    try {
      counts = await part();
    } catch (error) {
      say(error instanceof ScriptError ? error.message : error.stack);
      counts = { passed: 0, failed: 1, skipped: 0 };
    }
    for (const key of Object.keys(total)) total[key] += counts[key];
    summary.push(`  ${name}: ${line(counts)} (${((Date.now() - started) / 1000).toFixed(0)} s)`);
  }
  process.stdout.write(`\n${summary.join("\n")}\n${line(total)}\n`);
  return total.failed === 0 && total.passed > 0 ? 0 : 1;
});

function line({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}
