import { randomBytes } from "node:crypto";
import { mkdir, readdir, rename, rm, statfs } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";

import { RkifError } from "../errors.js";
import { readEnvironment, type Environment } from "./environment.js";
import { failureMessage } from "./failure.js";
import {
  cacheEntryName,
  inspectLibtorch,
  libtorchCache,
  listCache,
  type Libtorch,
} from "./libtorch-search.js";
import { DEFAULT_LIBTORCH, SUPPORTED_LIBTORCH, minorOf } from "./libtorch-version.js";
import {
  cudaRequirements,
  downloadWheels,
  requirePip,
  unpackWheels,
  type InstallProgress,
  type WheelWork,
} from "./wheels.js";

export interface InstallOptions {
  /** Such as "2.15.0", or "2.13" for its newest release. Default {@link DEFAULT_LIBTORCH}. */
  version?: string;
  onProgress?: (progress: InstallProgress) => void;
  signal?: AbortSignal;
  environment?: Environment;
}

/** Peak need of an install: the wheel in pip's temporary folder, its copy, and what is unpacked of it. */
const NEEDED_BYTES = 2e9;

/**
 * Fetches libtorch by pip into the user's cache and returns it; returns at once where the cache has it. Nothing is left
 * behind by a download that fails or is stopped, and installs that run at the same time do not disturb each other.
 *
 * @throws RkifError `LIBTORCH_UNSUPPORTED` for a version this package does not know, `LIBTORCH_INSTALL` where pip, the network
 *   or the disk fails, `ABORTED` when `signal` fires
 */
export async function installLibtorch(options: InstallOptions = {}): Promise<Libtorch> {
  const version = options.version ?? DEFAULT_LIBTORCH;
  const environment = options.environment ?? readEnvironment();
  if (!/^\d+\.\d+(\.\d+)?$/.test(version) || !SUPPORTED_LIBTORCH.includes(minorOf(version))) {
    throw new RkifError(
      "LIBTORCH_UNSUPPORTED",
      `libtorch ${version} is not supported; supported are ${SUPPORTED_LIBTORCH.join(", ")}`,
    );
  }
  const cache = libtorchCache(environment);
  const present = findInstalled(cache, version);
  if (present !== undefined) return present;
  await requirePip(environment);
  const part = await makePartFolder(cache, version);
  try {
    await requireDiskSpace(part);
    const exact = version.split(".").length === 3 ? `torch==${version}` : `torch==${version}.*`;
    const work: WheelWork = { part, environment, onProgress: options.onProgress, signal: options.signal };
    await downloadWheels(work, [exact, "--no-deps"]);
    await unpackWheels(work);
    const cuda = await cudaRequirements(part);
    if (cuda.length > 0) {
      await downloadWheels(work, cuda);
      await unpackWheels(work);
    }
    return await moveIntoPlace(part, cache);
  } catch (error) {
    throw error instanceof RkifError ? error : installError(error, cache);
  } finally {
    await rm(part, { recursive: true, force: true });
  }
}

/** The libtorch of `version` ("2.15.0", or "2.13" for any of its releases) that the cache has whole. */
function findInstalled(cache: string, version: string): Libtorch | undefined {
  for (const { entry, release } of listCache(cache)) {
    if (release !== version && minorOf(release) !== version) continue;
    const libtorch = inspectEntry(join(cache, entry));
    if (libtorch !== undefined) return libtorch;
  }
  return undefined;
}

function inspectEntry(entry: string): Libtorch | undefined {
  const folder = join(entry, "torch");
  const { version, problem } = inspectLibtorch(folder, true);
  return version === undefined || problem !== undefined ? undefined : { folder, version, origin: "cache" };
}

/** A folder of this install alone; those of processes that died on this machine are removed first. */
async function makePartFolder(cache: string, version: string): Promise<string> {
  const host = hostname().replaceAll(/[^A-Za-z0-9-]/g, "-");
  try {
    await mkdir(cache, { recursive: true });
    for (const name of await readdir(cache)) {
      const owner = /\.([^.]+)\.(\d+)\.[0-9a-f]+\.part$/.exec(name);
      if (owner?.[1] === host && !isRunning(Number(owner[2]))) {
        await rm(join(cache, name), { recursive: true, force: true });
      }
    }
    const unique = randomBytes(4).toString("hex");
    const part = join(cache, `${cacheEntryName(version)}.${host}.${process.pid}.${unique}.part`);
    await mkdir(part);
    return part;
  } catch (error) {
    throw installError(error, cache);
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

async function requireDiskSpace(folder: string): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  if (free >= NEEDED_BYTES) return;
  const found = `${(free / 1e9).toFixed(1)} GB are free there`;
  throw new RkifError(
    "LIBTORCH_INSTALL",
    failureMessage(
      `fetching libtorch into ${folder} takes ${NEEDED_BYTES / 1e9} GB; ${found}`,
      [],
      ["free some space, or point the cache elsewhere: export XDG_CACHE_HOME=/path/with/space"],
    ),
  );
}

async function moveIntoPlace(part: string, cache: string): Promise<Libtorch> {
  const { version, problem } = inspectLibtorch(join(part, "torch"), true);
  if (version === undefined || problem !== undefined) {
    throw new RkifError("LIBTORCH_INSTALL", `the torch wheel that pip downloaded cannot be used: ${problem}`);
  }
  const entry = join(cache, cacheEntryName(version));
  for (let attempt = 1; ; ++attempt) {
    try {
      await rename(part, entry);
      return { folder: join(entry, "torch"), version, origin: "cache" };
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (attempt === 2 || (code !== "ENOTEMPTY" && code !== "EEXIST")) throw error;
      // Another install was faster, or an old folder there is incomplete.
      const other = inspectEntry(entry);
      if (other !== undefined) return other;
      await rm(entry, { recursive: true, force: true });
    }
  }
}

function installError(error: unknown, cache: string): RkifError {
  const message = error instanceof Error ? error.message : String(error);
  const solutions = ["point the cache to a folder you may write to: export XDG_CACHE_HOME=/path"];
  return new RkifError(
    "LIBTORCH_INSTALL",
    failureMessage(`fetching libtorch into ${cache} failed: ${message}`, [], solutions),
    { cause: error },
  );
}
