import { existsSync } from "node:fs";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";

import { RkifError } from "../errors.js";
import { installError, makePartFolder, requireDiskSpace } from "./cache-folder.js";
import { readEnvironment, type Environment } from "./environment.js";
import {
  cacheEntryName,
  inspectLibtorch,
  inspectLibtorchCuda,
  libtorchCache,
  listCache,
  type Libtorch,
} from "./libtorch-search.js";
import { DEFAULT_LIBTORCH, SUPPORTED_LIBTORCH, minorOf } from "./libtorch-version.js";
import { currentPlatform } from "./platform.js";
import {
  CPU_FILES,
  CUDA_FILES,
  cudaRequirements,
  downloadWheels,
  requirePip,
  unpackWheels,
  type InstallProgress,
  type WheelWork,
} from "./wheels.js";

/** How much of libtorch: for the CPU, for compiling the kernels for GPUs as well, or for running them. */
export type LibtorchExtent = "cpu" | "cuda-build" | "cuda";

export interface InstallOptions {
  /** Such as "2.15.0", or "2.13" for its newest release. Default {@link DEFAULT_LIBTORCH}. */
  version?: string;
  /** Default "cpu". A libtorch that the cache has for less is completed where it lies; programs that use it are not disturbed. */
  extent?: LibtorchExtent;
  onProgress?: (progress: InstallProgress) => void;
  signal?: AbortSignal;
  environment?: Environment;
}

/** Peak need of an install: wheels in pip's temporary folder, their copies, and what is unpacked of them. */
const NEEDED_BYTES = { cpu: 2e9, cuda: 6e9 };

/**
 * Fetches libtorch by pip into the user's cache and returns it; returns at once where the cache has it. Nothing is left
 * behind by a download that fails or is stopped, and installs that run at the same time do not disturb each other.
 *
 * @throws RkifError `LIBTORCH_UNSUPPORTED` for a version this package does not know, `LIBTORCH_INSTALL` where pip, the network
 *   or the disk fails, `ABORTED` when `signal` fires
 */
export async function installLibtorch(options: InstallOptions = {}): Promise<Libtorch> {
  const version = options.version ?? DEFAULT_LIBTORCH;
  const extent = options.extent ?? "cpu";
  const environment = options.environment ?? readEnvironment();
  if (!/^\d+\.\d+(\.\d+)?$/.test(version) || !SUPPORTED_LIBTORCH.includes(minorOf(version))) {
    throw new RkifError(
      "LIBTORCH_UNSUPPORTED",
      `libtorch ${version} is not supported; supported are ${SUPPORTED_LIBTORCH.join(", ")}`,
    );
  }
  if (extent !== "cpu" && !currentPlatform().name.startsWith("linux")) {
    throw new RkifError("LIBTORCH_INSTALL", `there is no libtorch with CUDA for ${currentPlatform().name}`);
  }
  const cache = libtorchCache(environment);
  const present = findInstalled(cache, version, extent);
  if (present !== undefined) return present;
  await requirePip(environment);
  const part = await makePartFolder(cache, cacheEntryName(version));
  try {
    await requireDiskSpace(part, NEEDED_BYTES[extent === "cuda" ? "cuda" : "cpu"], "libtorch");
    const exact = version.split(".").length === 3 ? `torch==${version}` : `torch==${version}.*`;
    const work: WheelWork = { part, environment, onProgress: options.onProgress, signal: options.signal };
    const wanted = extent === "cuda" ? CUDA_FILES : CPU_FILES;
    await downloadWheels(work, [exact, "--no-deps"]);
    await unpackWheels(work, wanted);
    const cuda = await cudaRequirements(part, extent === "cuda");
    if (cuda.length > 0) {
      await downloadWheels(work, cuda);
      await unpackWheels(work, wanted);
    }
    return await moveIntoPlace(part, cache, extent);
  } catch (error) {
    throw installError(error, cache, "libtorch");
  } finally {
    await rm(part, { recursive: true, force: true });
  }
}

/** The libtorch of `version` ("2.15.0", or "2.13" for any of its releases) that the cache has whole. */
function findInstalled(cache: string, version: string, extent: LibtorchExtent): Libtorch | undefined {
  for (const { entry, release } of listCache(cache)) {
    if (release !== version && minorOf(release) !== version) continue;
    const { libtorch } = inspectEntry(join(cache, entry), extent);
    if (libtorch !== undefined) return libtorch;
  }
  return undefined;
}

function inspectEntry(entry: string, extent: LibtorchExtent): { libtorch?: Libtorch; problem?: string } {
  const folder = join(entry, "torch");
  const { version, problem } = inspectLibtorch(folder, true);
  if (version === undefined || problem !== undefined) return { problem: problem ?? "it has no version" };
  const lacking =
    extent === "cuda"
      ? inspectLibtorchCuda(folder).problem
      : extent === "cuda-build" && !existsSync(join(folder, "lib", "libc10_cuda.so"))
        ? "lib/libc10_cuda.so is missing"
        : undefined;
  return lacking === undefined ? { libtorch: { folder, version, origin: "cache" } } : { problem: lacking };
}

async function moveIntoPlace(part: string, cache: string, extent: LibtorchExtent): Promise<Libtorch> {
  const { libtorch, problem } = inspectEntry(part, extent);
  if (libtorch === undefined) {
    throw new RkifError("LIBTORCH_INSTALL", `the torch wheel that pip downloaded cannot be used: ${problem}`);
  }
  const { version } = libtorch;
  const entry = join(cache, cacheEntryName(version));
  for (let attempt = 1; ; ++attempt) {
    try {
      await rename(part, entry);
      break;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (attempt === 2 || (code !== "ENOTEMPTY" && code !== "EEXIST")) throw error;
      // Another install was faster, or what lies there has less than is wanted, or is incomplete.
      if (inspectEntry(entry, extent).libtorch !== undefined) break;
      if (inspectEntry(entry, "cpu").libtorch?.version === version) {
        await addMissing(part, entry);
        break;
      }
      await rm(entry, { recursive: true, force: true });
    }
  }
  return { folder: join(entry, "torch"), version, origin: "cache" };
}

/** Moves what `entry` lacks of `part` there, by which its CUDA half is taken as complete last. */
async function addMissing(part: string, entry: string): Promise<void> {
  const last = join("torch", "lib", "libtorch_cuda.so");
  const files = (await readdir(part, { recursive: true, withFileTypes: true }))
    .filter((item) => item.isFile())
    .map((item) => join(item.parentPath, item.name).slice(part.length + 1))
    .sort((a, b) => Number(a === last) - Number(b === last));
  for (const file of files) {
    const target = join(entry, file);
    if (existsSync(target)) continue;
    await mkdir(dirname(target), { recursive: true });
    await rename(join(part, file), target);
  }
}
