import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

import type { AddonFiles } from "./addon-files.js";
import type { CudaProblem } from "./cuda-driver.js";
import { isClone } from "./failure.js";
import { minorOf } from "./libtorch-version.js";

/** librkif_cuda.so with what the build wrote beside it: known before anything is loaded. */
export interface CudaLibrary {
  readonly path: string;
  /** Version of the libtorch it was compiled against. */
  readonly libtorch: string;
  /** Version of the CUDA toolkit that compiled it, such as "13.2". */
  readonly cuda: string;
  /** Architectures with machine code, 80 for 8.0. */
  readonly architectures: readonly number[];
  /** Digest of the kernels' headers. */
  readonly kernels: string;
}

/** The CUDA library beside an addon, or why it cannot be used with it. */
export function inspectCudaLibrary(
  files: AddonFiles,
  root: string,
): { library: CudaLibrary } | { problem: CudaProblem } {
  const path = join(dirname(files.addon), "librkif_cuda.so");
  const problem = (found: string): { problem: CudaProblem } => ({
    problem: { part: "library", found, solutions: librarySolutions(root) },
  });
  if (!existsSync(path)) return problem(`the kernels for GPUs are not built: ${path} is missing`);
  const info = readInfo(join(dirname(path), "rkif_cuda.json"));
  if (typeof info === "string") return problem(info);
  if (minorOf(info.libtorch) !== minorOf(files.info.libtorch)) {
    return problem(
      `${path} is built for libtorch ${minorOf(info.libtorch)}, the addon beside it for ${minorOf(files.info.libtorch)}`,
    );
  }
  if (info.kernels !== files.info.kernels) {
    return problem(`${path} and the addon beside it are built from different sources`);
  }
  return { library: { path, ...info } };
}

function librarySolutions(root: string): string[] {
  return isClone(root)
    ? ["build the addon and the kernels from the same sources: npm run compile && npm run compile:cuda"]
    : [
        "clone the repository and run npm ci && npm run compile:cuda there (needs CMake and a C++20 compiler)",
      ];
}

function readInfo(path: string): Omit<CudaLibrary, "path"> | string {
  try {
    const info = JSON.parse(readFileSync(path, "utf8")) as Partial<CudaLibrary>;
    const { libtorch, cuda, architectures, kernels } = info;
    const whole =
      typeof libtorch === "string" &&
      typeof cuda === "string" &&
      typeof kernels === "string" &&
      Array.isArray(architectures);
    return whole && architectures.length > 0
      ? { libtorch, cuda, architectures, kernels }
      : `${path} is incomplete`;
  } catch (error) {
    return `${path}: ${(error as Error).message}`;
  }
}
