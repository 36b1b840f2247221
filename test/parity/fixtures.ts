/** Where parity fixtures lie, and what a set of them is. The format is the one that test/fixtures/README.md describes. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { delimiter, join, relative, resolve } from "node:path";

const repository: string = resolve(import.meta.dirname, "../..");

/** One thing to compute and compare: a model, an adapter, a training run, a form of the recurrent trace, ... */
export interface FixtureSet {
  /** Folder of fixtures that this set belongs to; other sets are named relative to it ("models/t5"). */
  readonly root: string;
  /** Path below the root that names the set, such as "train/t5/mixed-clip". */
  readonly name: string;
  /** Files below the root that hold the set's expected values, `.json` or `.safetensors`. */
  readonly files: readonly string[];
}

export interface FixtureRoot {
  readonly path: string;
  /** For titles: relative to the repository. */
  readonly label: string;
}

/**
 * The committed fixtures, then every folder that RKIF_FIXTURES names (separated as PATH is), or, where it is unset, the folder
 * shared/fixtures beside the repository if there is one. A named folder that does not exist is an error, not a skip.
 */
export function fixtureRoots(environment: NodeJS.ProcessEnv = process.env): FixtureRoot[] {
  const named = environment["RKIF_FIXTURES"];
  const fallback = resolve(repository, "../shared/fixtures");
  let further: string[];
  if (named !== undefined) {
    further = named
      .split(delimiter)
      .filter((path) => path !== "")
      .map((path) => resolve(path));
    for (const path of further) {
      if (!existsSync(path)) throw new Error(`RKIF_FIXTURES names ${path}, which does not exist`);
    }
  } else {
    further = existsSync(fallback) ? [fallback] : [];
  }
  const paths = [join(repository, "test/fixtures/data"), ...further];
  return [...new Set(paths)].map((path) => ({ path, label: relative(repository, path) }));
}

/** True where only the committed fixtures are at hand. */
export function onlyCommittedFixtures(): boolean {
  return fixtureRoots().length === 1;
}

/** Names of the folders in `root/below`; none where it does not exist. */
export function foldersIn(root: string, below: string): string[] {
  const path = join(root, below);
  if (!existsSync(path)) return [];
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}

/** Names of the files in `root/below` that `pattern` matches, in natural order; none where it does not exist. */
export function filesIn(root: string, below: string, pattern: RegExp): string[] {
  const path = join(root, below);
  if (!existsSync(path)) return [];
  return readdirSync(path)
    .filter((name) => pattern.test(name))
    .sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
}

export function readJson<T>(root: string, file: string): T {
  return JSON.parse(readFileSync(join(root, file), "utf8")) as T;
}
