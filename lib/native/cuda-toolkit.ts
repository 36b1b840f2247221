import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, realpathSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";

import { RkifError } from "../errors.js";
import { installError, makePartFolder, requireDiskSpace } from "./cache-folder.js";
import { readEnvironment, type Environment } from "./environment.js";
import { currentPlatform } from "./platform.js";
import {
  ALL_FILES,
  downloadWheels,
  requirePip,
  unpackWheels,
  type InstallProgress,
  type WheelWork,
} from "./wheels.js";

/** nvcc with its headers and libraries: what compiles the kernels for GPUs. */
export interface CudaToolkit {
  /** Folder that holds bin/nvcc, include/ and lib/ or lib64/. */
  readonly folder: string;
  /** Such as "13.2". */
  readonly version: string;
  /** Where it was found, in words for people. */
  readonly origin: string;
}

export interface ToolkitOptions {
  /** The CUDA that libtorch is built with, such as "13.2". */
  cuda: string;
  environment?: Environment;
}

/** Peak need of fetching it: the wheels twice, and what they hold. */
const NEEDED_BYTES = 8e8;

const ITEM = { name: "nvcc", offline: "install the CUDA toolkit and export CUDA_HOME=/usr/local/cuda" };

/**
 * The toolkit to compile with, and what was tried before it: `CUDA_HOME` where its major version is that of `cuda`, nvcc on the PATH where
 * its version is `cuda`, the cache.
 */
export function findCudaToolkit(options: ToolkitOptions): { toolkit?: CudaToolkit; attempts: string[] } {
  const environment = options.environment ?? readEnvironment();
  const attempts: string[] = [];
  for (const { origin, folder, fits } of places(options.cuda, environment)) {
    const found = folder === undefined ? "nothing there" : nvccVersion(folder, environment);
    if (folder !== undefined && typeof found !== "string" && fits(found.version)) {
      return { toolkit: { folder, version: found.version, origin }, attempts };
    }
    const problem =
      typeof found === "string" ? found : `CUDA ${found.version}; libtorch has CUDA ${options.cuda}`;
    attempts.push(`${origin}${folder === undefined ? "" : ` (${folder})`}: ${problem}`);
  }
  return { attempts };
}

/**
 * Fetches nvcc and what it needs by pip into the user's cache (110 MB to download, 300 MB to keep); returns at once where a fitting
 * toolkit is at hand.
 *
 * @throws RkifError `LIBTORCH_INSTALL` where pip, the network or the disk fails, `ABORTED` when `signal` fires
 */
export async function installCudaToolkit(
  options: ToolkitOptions & { onProgress?: (progress: InstallProgress) => void; signal?: AbortSignal },
): Promise<CudaToolkit> {
  const environment = options.environment ?? readEnvironment();
  const { toolkit } = findCudaToolkit(options);
  if (toolkit !== undefined) return toolkit;
  await requirePip(environment);
  const cache = toolkitCache(environment);
  const part = await makePartFolder(cache, entryName(options.cuda));
  try {
    await requireDiskSpace(part, NEEDED_BYTES, ITEM.name);
    const work: WheelWork = {
      part,
      environment,
      item: ITEM,
      onProgress: options.onProgress,
      signal: options.signal,
    };
    await downloadWheels(work, [`cuda-toolkit[nvcc,cccl]==${options.cuda}.*`]);
    await unpackWheels(work, ALL_FILES);
    if (folderInWheels(part) === undefined)
      throw new Error("the wheels that pip downloaded hold no bin/nvcc");
    const entry = join(cache, entryName(options.cuda));
    // Another install may have been faster; one that lies there and was not found is incomplete.
    const other = findCudaToolkit(options).toolkit;
    if (other !== undefined) return other;
    await rm(entry, { recursive: true, force: true });
    await rename(part, entry);
  } catch (error) {
    throw installError(error, cache, ITEM.name);
  } finally {
    await rm(part, { recursive: true, force: true });
  }
  const { toolkit: fetched, attempts } = findCudaToolkit(options);
  if (fetched !== undefined) return fetched;
  throw new RkifError("LIBTORCH_INSTALL", `nvcc was fetched and does not work: ${attempts.at(-1)}`);
}

function* places(
  cuda: string,
  environment: Environment,
): Generator<{ origin: string; folder: string | undefined; fits: (version: string) => boolean }> {
  const same = (version: string): boolean => version === cuda;
  const home = environment.variables["CUDA_HOME"];
  if (home) {
    yield {
      origin: "CUDA_HOME",
      folder: home,
      fits: (version) => parseInt(version, 10) === parseInt(cuda, 10),
    };
  }
  const onPath = (environment.variables["PATH"] ?? "")
    .split(delimiter)
    .find((folder) => folder !== "" && existsSync(join(folder, "nvcc")));
  const folder = onPath === undefined ? undefined : dirname(dirname(realpathSync(join(onPath, "nvcc"))));
  yield { origin: "nvcc on the PATH", folder, fits: same };
  const cached = join(toolkitCache(environment), entryName(cuda));
  yield { origin: "cache", folder: folderInWheels(cached), fits: same };
}

function toolkitCache(environment: Environment): string {
  return join(environment.cache, "cuda-toolkit");
}

function entryName(cuda: string): string {
  return `${cuda}-${currentPlatform().name}`;
}

/** The folder below `entry` into which NVIDIA's wheels put nvcc, such as nvidia/cu13. */
function folderInWheels(entry: string): string | undefined {
  const nvidia = join(entry, "nvidia");
  const names = existsSync(nvidia) ? readdirSync(nvidia) : [];
  return names.map((name) => join(nvidia, name)).find((folder) => existsSync(join(folder, "bin", "nvcc")));
}

/** nvcc's version, or why it cannot be told. */
function nvccVersion(folder: string, environment: Environment): { version: string } | string {
  const nvcc = join(folder, "bin", "nvcc");
  if (!existsSync(nvcc)) return "it has no bin/nvcc";
  const { status, stdout, error } = spawnSync(nvcc, ["--version"], {
    env: environment.variables,
    encoding: "utf8",
    timeout: 20_000,
  });
  const version = /release (\d+\.\d+)/.exec(stdout ?? "")?.[1];
  return version === undefined ? `nvcc --version failed: ${error?.message ?? status}` : { version };
}
