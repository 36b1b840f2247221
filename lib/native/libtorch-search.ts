import { existsSync, readdirSync, realpathSync, statSync } from "node:fs";
import { join, resolve } from "node:path";

import { RkifError } from "../errors.js";
import { readEnvironment, type Environment } from "./environment.js";
import { failureMessage, libtorchSolutions, packageRoot } from "./failure.js";
import {
  DEFAULT_LIBTORCH,
  SUPPORTED_LIBTORCH,
  compareVersionsDescending,
  minorOf,
  readLibtorchCuda,
  readLibtorchVersion,
  releaseOf,
} from "./libtorch-version.js";
import { currentPlatform } from "./platform.js";
import { findPythonTorch } from "./python.js";

/** A libtorch that can be used. */
export interface Libtorch {
  /** Folder that holds lib/ (and include/): `torch` of a Python wheel, or libtorch's own archive. */
  readonly folder: string;
  /** Its whole version, such as "2.15.0+cu132". */
  readonly version: string;
  /** Where it was found, in words for people. */
  readonly origin: string;
}

/** A place that was looked at: a usable libtorch, or the reason why there is none. */
export interface LibtorchCandidate {
  readonly origin: string;
  /** The user named exactly this one: what is wrong with it is an error, and nothing else is tried. */
  readonly named: boolean;
  readonly folder?: string;
  readonly version?: string;
  readonly problem?: string;
}

export interface SearchOptions {
  /** The explicit option; takes precedence over everything. */
  libtorch?: string | undefined;
  /** Whether headers are needed, as for building. Default false. */
  headers?: boolean;
  environment?: Environment;
}

/** One line for a person: what was looked at and what was found. */
export function describeCandidate(candidate: LibtorchCandidate, problem: string | undefined): string {
  const where = candidate.folder === undefined ? "" : ` (${candidate.folder})`;
  return `${candidate.origin}${where}: ${problem ?? "usable"}`;
}

/** The version in `folder`, or what keeps it from being a usable libtorch. Loads nothing. */
export function inspectLibtorch(folder: string, headers = false): { version?: string; problem?: string } {
  if (!existsSync(folder)) return { problem: "no such folder" };
  const version = readLibtorchVersion(folder);
  const missing = currentPlatform().libraries.filter((name) => !existsSync(join(folder, "lib", name)));
  const found = version === undefined ? {} : { version };
  if (missing.length > 0) return { ...found, problem: `lib/${missing.join(" and lib/")} is missing` };
  if (version === undefined) return { problem: "neither version.py nor build-version tells its version" };
  if (headers && !existsSync(join(folder, "include", "ATen", "core", "Tensor.h"))) {
    return { ...found, problem: "include/ has no ATen headers, which building needs" };
  }
  return found;
}

/** Libraries of libtorch's CUDA half that the loader opens, in this order; they bring NVIDIA's through their own search path. */
export const CUDA_LIBRARIES: readonly string[] = ["libc10_cuda.so", "libtorch_cuda.so"];

/** The CUDA version of the libtorch in `folder`, or what keeps it from being used on a GPU. Loads nothing. */
export function inspectLibtorchCuda(folder: string): { cuda?: string; problem?: string } {
  const cuda = readLibtorchCuda(folder);
  if (cuda === undefined) return { problem: "it is built without CUDA" };
  const missing = CUDA_LIBRARIES.filter((name) => !existsSync(join(folder, "lib", name)));
  return missing.length === 0
    ? { cuda }
    : { cuda, problem: `lib/${missing.join(" and lib/")} is missing: only its CPU half is there` };
}

/** The folder of the cache that holds one folder per fetched libtorch. */
export function libtorchCache(environment: Environment): string {
  return join(environment.cache, "libtorch");
}

/** Name of the cache's folder for a version on this platform. */
export function cacheEntryName(version: string): string {
  return `${releaseOf(version)}-${currentPlatform().name}`;
}

/** What the cache holds for this platform, newest first. */
export function listCache(cache: string): { entry: string; release: string }[] {
  const suffix = `-${currentPlatform().name}`;
  return listFolders(cache)
    .filter((entry) => entry.endsWith(suffix))
    .map((entry) => ({ entry, release: entry.slice(0, -suffix.length) }))
    .sort((a, b) => compareVersionsDescending(a.release, b.release));
}

function* siteFolders(
  origin: string,
  prefix: string | undefined,
): Generator<{ origin: string; folder: string }> {
  if (prefix === undefined) return;
  const lib = join(prefix, "lib");
  const pythons = listFolders(lib).filter((name) => /^python3\.\d+$/.test(name));
  const folders = pythons.map((name) => join(lib, name, "site-packages", "torch"));
  const present = folders.filter((folder) => existsSync(folder));
  if (present.length > 0) for (const folder of present) yield { origin, folder };
  else yield { origin, folder: folders[0] ?? join(lib, "python3", "site-packages", "torch") };
}

function listFolders(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => statSync(join(folder, name)).isDirectory());
  } catch {
    return [];
  }
}

/**
 * Every place that may hold libtorch, in the order of preference: the explicit option or `RKIF_LIBTORCH` (then nothing else),
 * the active virtual environment, the active conda environment, `python3`'s torch, the cache (newest first). Lazy: python3
 * is started only when nothing before it served.
 */
export function* libtorchCandidates(options: SearchOptions = {}): Generator<LibtorchCandidate> {
  const environment = options.environment ?? readEnvironment();
  const named = options.libtorch ?? environment.libtorch;
  if (named !== undefined) {
    const origin = options.libtorch === undefined ? "RKIF_LIBTORCH" : "option libtorch";
    const folder = resolve(named);
    yield { origin, named: true, folder, ...inspectLibtorch(folder, options.headers) };
    return;
  }
  const seen = new Set<string>();
  const candidate = (origin: string, folder: string): LibtorchCandidate | undefined => {
    const real = existsSync(folder) ? realpathSync(folder) : folder;
    if (seen.has(real)) return undefined;
    seen.add(real);
    return { origin, named: false, folder, ...inspectLibtorch(folder, options.headers) };
  };
  for (const place of [
    ...siteFolders("virtual environment", environment.virtualEnv),
    ...siteFolders("conda environment", environment.condaPrefix),
  ]) {
    const found = candidate(place.origin, place.folder);
    if (found !== undefined) yield found;
  }
  const python = findPythonTorch(environment);
  if ("problem" in python) {
    yield { origin: "python3's torch", named: false, problem: python.problem };
  } else {
    const found = candidate("python3's torch", python.folder);
    if (found !== undefined) yield found;
  }
  const cache = libtorchCache(environment);
  const entries = listCache(cache);
  if (entries.length === 0) yield { origin: "cache", named: false, folder: cache, problem: "empty" };
  for (const { entry } of entries) {
    const found = candidate("cache", join(cache, entry, "torch"));
    if (found !== undefined) yield found;
  }
}

/** What keeps `candidate` from being used with one of the minor versions `minors`; undefined where nothing does. */
export function candidateProblem(
  candidate: LibtorchCandidate,
  minors: readonly string[],
  purpose: string,
): string | undefined {
  if (candidate.version !== undefined && !minors.includes(minorOf(candidate.version))) {
    return `libtorch ${candidate.version}; ${purpose} ${minors.join(", ")}`;
  }
  return candidate.problem;
}

/** The error for a libtorch that the user named and that cannot serve. */
export function namedLibtorchError(candidate: LibtorchCandidate, problem: string): RkifError {
  const unsupported = candidate.version !== undefined && candidate.problem === undefined;
  const solutions =
    candidate.origin === "RKIF_LIBTORCH"
      ? [
          "name another folder in RKIF_LIBTORCH (it holds lib/ and version.py), or unset it: unset RKIF_LIBTORCH",
        ]
      : ["name another folder (it holds lib/ and version.py), or none: then the usual places are searched"];
  return new RkifError(
    unsupported ? "LIBTORCH_UNSUPPORTED" : "LIBTORCH_MISSING",
    failureMessage(
      `cannot use the libtorch named by ${describeCandidate(candidate, problem)}`,
      [],
      solutions,
    ),
  );
}

/**
 * The first libtorch that this package can be built against, and what was tried before it.
 *
 * @throws RkifError `LIBTORCH_UNSUPPORTED` or `LIBTORCH_MISSING` where the one named explicitly cannot serve
 */
export function searchLibtorch(options: SearchOptions = {}): { libtorch?: Libtorch; attempts: string[] } {
  const attempts: string[] = [];
  for (const candidate of libtorchCandidates(options)) {
    const problem = candidateProblem(candidate, SUPPORTED_LIBTORCH, "supported are");
    const { folder, version, origin } = candidate;
    if (problem === undefined && folder !== undefined && version !== undefined) {
      return { libtorch: { folder, version, origin }, attempts };
    }
    if (candidate.named) throw namedLibtorchError(candidate, problem ?? "not usable");
    attempts.push(describeCandidate(candidate, problem));
  }
  return { attempts };
}

/** As {@link searchLibtorch}. @throws RkifError `LIBTORCH_MISSING`, with everything that was tried, where there is none */
export function findLibtorch(options: SearchOptions = {}): Libtorch {
  const { libtorch, attempts } = searchLibtorch(options);
  if (libtorch !== undefined) return libtorch;
  const solutions = libtorchSolutions(packageRoot, DEFAULT_LIBTORCH);
  throw new RkifError("LIBTORCH_MISSING", failureMessage("found no libtorch", attempts, solutions));
}
