import { homedir } from "node:os";
import { join } from "node:path";

/** Every environment variable that is read; no other file of lib/ touches `process.env`. */
export interface Environment {
  /** `RKIF_LIBTORCH`: folder of libtorch (holds lib/), named by the user. */
  readonly libtorch: string | undefined;
  /** `VIRTUAL_ENV` of an active Python virtual environment. */
  readonly virtualEnv: string | undefined;
  /** `CONDA_PREFIX` of an active conda environment. */
  readonly condaPrefix: string | undefined;
  /** This package's folder in the user's cache: `XDG_CACHE_HOME` or the platform's usual place. */
  readonly cache: string;
  /** All variables, handed on to child processes (`PATH`, proxies, pip's own). */
  readonly variables: NodeJS.ProcessEnv;
}

/** Reads the environment anew at each call, so that a program may set a variable before it loads the addon. */
export function readEnvironment(variables: NodeJS.ProcessEnv = process.env): Environment {
  const home = variables["HOME"] || homedir();
  const usual = process.platform === "darwin" ? join(home, "Library", "Caches") : join(home, ".cache");
  return {
    libtorch: variables["RKIF_LIBTORCH"] || undefined,
    virtualEnv: variables["VIRTUAL_ENV"] || undefined,
    condaPrefix: variables["CONDA_PREFIX"] || undefined,
    cache: join(variables["XDG_CACHE_HOME"] || usual, "recurrent-kif"),
    variables,
  };
}
