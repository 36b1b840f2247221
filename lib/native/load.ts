import { createRequire } from "node:module";
import { join, resolve } from "node:path";

import { RkifError } from "../errors.js";
import { describeAddon, findLocalBuild, findPrebuilt, type AddonFiles } from "./addon-files.js";
import type { Addon } from "./contract.js";
import type { DriverProbe } from "./cuda-driver.js";
import { readEnvironment, type Environment } from "./environment.js";
import { addonSolutions, failureMessage, libtorchSolutions, packageRoot } from "./failure.js";
import {
  candidateProblem,
  describeCandidate,
  libtorchCandidates,
  namedLibtorchError,
  type Libtorch,
  type LibtorchCandidate,
} from "./libtorch-search.js";
import { DEFAULT_LIBTORCH, minorOf } from "./libtorch-version.js";
import { currentPlatform } from "./platform.js";

const require = createRequire(import.meta.url);

export interface LoadOptions {
  /** Folder of libtorch (holds lib/); nothing else is tried then. Default: `RKIF_LIBTORCH`, then the usual places. */
  libtorch?: string | undefined;
}

export interface LoadedAddon {
  readonly addon: Addon;
  readonly files: AddonFiles;
  readonly libtorch: Libtorch;
}

/** The preloader's surface: native/preload/preload.cc. */
export interface Preload {
  dlopenLibraries(paths: string[]): void;
  dlopenCudaLibraries(paths: string[]): void;
  probeCudaDriver(): DriverProbe;
}

let loaded: LoadedAddon | undefined;

/**
 * The native addon, loaded at the first call together with a libtorch that fits it, and the same at every later one. A local
 * build is taken first where there is one, else the prebuilt binary that fits the libtorch found.
 *
 * @throws RkifError `LIBTORCH_MISSING`, `LIBTORCH_UNSUPPORTED`, `ADDON_MISSING` or `ADDON_FAILED`, with everything that was tried
 *   and the commands that help; `INVALID_ARGUMENT` where another libtorch is asked for than the one in use
 */
export function loadAddon(options: LoadOptions = {}): Addon {
  loaded ??= openAddon({ ...options, root: packageRoot, environment: readEnvironment() });
  if (options.libtorch !== undefined && resolve(options.libtorch) !== loaded.libtorch.folder) {
    throw new RkifError(
      "INVALID_ARGUMENT",
      `this process already uses the libtorch in ${loaded.libtorch.folder}; ${options.libtorch} needs a process of its own`,
    );
  }
  return loaded.addon;
}

/** What {@link loadAddon} loaded; undefined before its first call. */
export function loadedAddon(): LoadedAddon | undefined {
  return loaded;
}

/** The preloader of `files`, which needs no libtorch. @throws RkifError `ADDON_FAILED` */
export function loadPreload(files: AddonFiles, root: string): Preload {
  return loadNode<Preload>(files.preload, [], root);
}

/** As {@link loadAddon}, for a package at `root`, without remembering the result. */
export function openAddon(options: LoadOptions & { root: string; environment: Environment }): LoadedAddon {
  const { root } = options;
  const attempts: string[] = [];
  const local = findLocalBuild(root);
  const prebuilt = findPrebuilt(root);
  for (const problem of [local.problem, ...prebuilt.problems])
    if (problem !== undefined) attempts.push(problem);
  const groups = [local.files === undefined ? [] : [local.files], prebuilt.files].filter(
    (group) => group.length > 0,
  );
  if (groups.length === 0) {
    const headline = `found no addon for ${currentPlatform().name}`;
    throw new RkifError("ADDON_MISSING", failureMessage(headline, attempts, addonSolutions(root)));
  }
  const candidates = remembered(libtorchCandidates(options));
  let failure: Error | undefined;
  for (const group of groups) {
    for (const candidate of candidates()) {
      const files = fitting(group, candidate);
      const { folder, version, origin } = candidate;
      if (files === undefined || folder === undefined || version === undefined) {
        attempts.push(rejection(group, candidate));
        continue;
      }
      const preload = loadNode<Preload>(files.preload, attempts, root);
      try {
        preload.dlopenLibraries(currentPlatform().libraries.map((name) => join(folder, "lib", name)));
      } catch (error) {
        failure = error as Error;
        attempts.push(`${describeAddon(files)} with ${describeCandidate(candidate, failure.message)}`);
        continue;
      }
      // From here on this libtorch stays in the process: an addon that fails now is an error, not a reason to try another.
      const addon = loadNode<Addon>(files.addon, attempts, root);
      return { addon, files, libtorch: { folder, version, origin } };
    }
  }
  throw failedToOpen(root, groups.flat(), [...candidates()], attempts, failure);
}

function loadNode<T>(path: string, attempts: readonly string[], root: string): T {
  try {
    return require(path) as T;
  } catch (error) {
    const reason = (error as Error).message;
    const tried = [...attempts, reason.startsWith(path) ? reason : `${path}: ${reason}`];
    const message = failureMessage(
      "the addon was found but could not be loaded",
      tried,
      addonSolutions(root),
    );
    throw new RkifError("ADDON_FAILED", message, { cause: error });
  }
}

/** The addon of `group` that was built with the minor version of `candidate`. */
function fitting(group: readonly AddonFiles[], candidate: LibtorchCandidate): AddonFiles | undefined {
  return group.find((files) => candidateProblem(candidate, minors([files]), "") === undefined);
}

function rejection(group: readonly AddonFiles[], candidate: LibtorchCandidate): string {
  const problem = candidateProblem(candidate, minors(group), "the addon is built for");
  return `${group[0]?.origin}: ${describeCandidate(candidate, problem)}`;
}

function minors(group: readonly AddonFiles[]): string[] {
  return group.map((files) => minorOf(files.info.libtorch));
}

/** Runs `source` once, as far as it is read, however often its values are iterated. */
function remembered<T>(source: Iterator<T>): () => Generator<T> {
  const known: T[] = [];
  return function* () {
    for (let i = 0; ; ++i) {
      if (i === known.length) {
        const next = source.next();
        if (next.done === true) return;
        known.push(next.value);
      }
      yield known[i] as T;
    }
  };
}

function failedToOpen(
  root: string,
  addons: readonly AddonFiles[],
  candidates: readonly LibtorchCandidate[],
  attempts: readonly string[],
  failure: Error | undefined,
): RkifError {
  const named = candidates.find((candidate) => candidate.named);
  const problem = named && candidateProblem(named, minors(addons), "the addon is built for");
  if (named !== undefined && problem !== undefined) return namedLibtorchError(named, problem);
  const version = addons[0]?.info.libtorch ?? DEFAULT_LIBTORCH;
  const solutions = libtorchSolutions(root, version);
  if (failure !== undefined) {
    const message = failureMessage("libtorch was found but could not be loaded", attempts, solutions);
    return new RkifError("ADDON_FAILED", message, { cause: failure });
  }
  const headline = `found no libtorch ${[...new Set(minors(addons))].join(" or ")}, which the addon is built for`;
  return new RkifError("LIBTORCH_MISSING", failureMessage(headline, attempts, solutions));
}
