import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Minor versions that this source tree builds against. libtorch's C++ ABI changes with each. */
export const SUPPORTED_LIBTORCH: readonly string[] = ["2.11", "2.12", "2.13", "2.14", "2.15"];

/** The version that is fetched where none is asked for. */
export const DEFAULT_LIBTORCH: string = "2.15.0";

/** "2.15.0+cu132" -> "2.15". */
export function minorOf(version: string): string {
  return version.split(".").slice(0, 2).join(".");
}

/** "2.15.0+cu132" -> "2.15.0": the build variant changes nothing that the addon sees. */
export function releaseOf(version: string): string {
  return version.split("+")[0] ?? version;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/**
 * The version of the libtorch in `folder`, without loading it: `version.py` of a wheel, `build-version` of libtorch's own
 * archive; undefined where neither is there.
 */
export function readLibtorchVersion(folder: string): string | undefined {
  const python = /^__version__\s*(?::[^=]*)?=\s*['"]([^'"]+)['"]/m.exec(
    readText(join(folder, "version.py")) ?? "",
  );
  const version = python?.[1] ?? readText(join(folder, "build-version"))?.trim();
  return version !== undefined && /^\d+\.\d+/.test(version) ? version : undefined;
}

/**
 * The CUDA version that the libtorch in `folder` was built with, such as "13.2", without loading it: `version.py` of a wheel, else the
 * build variant in its version; undefined for a build without CUDA.
 */
export function readLibtorchCuda(folder: string): string | undefined {
  const named = /^cuda\s*(?::[^=]*)?=\s*['"](\d+\.\d+)['"]/m.exec(readText(join(folder, "version.py")) ?? "");
  if (named?.[1] !== undefined) return named[1];
  const variant = /\+cu(\d+)(\d)$/.exec(readLibtorchVersion(folder) ?? "");
  return variant === null ? undefined : `${variant[1]}.${variant[2]}`;
}

/** Newest first. */
export function compareVersionsDescending(a: string, b: string): number {
  const parts = (version: string): number[] =>
    releaseOf(version)
      .split(".")
      .map((part) => parseInt(part, 10) || 0);
  const [left, right] = [parts(a), parts(b)];
  for (let i = 0; i < Math.max(left.length, right.length); ++i) {
    const difference = (right[i] ?? 0) - (left[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
