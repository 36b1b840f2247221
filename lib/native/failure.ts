import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Root of this package: two levels above both lib/native and dist/native. */
export const packageRoot: string = fileURLToPath(new URL("../..", import.meta.url));

/** Whether `root` is a clone, which can build the addon, rather than an installed package, which cannot. */
export function isClone(root: string): boolean {
  return existsSync(join(root, "CMakeLists.txt"));
}

/** Commands that help when no libtorch was found, for a clone or for an installed package. */
export function libtorchSolutions(root: string, version: string): string[] {
  const install = isClone(root)
    ? "fetch libtorch and build against it: npm run compile"
    : "fetch libtorch into the cache: npx rkif libtorch install";
  return [
    install,
    `install it for python3: python3 -m pip install torch==${version}`,
    "name a libtorch that is already there: export RKIF_LIBTORCH=/path/to/site-packages/torch",
  ];
}

/** Commands that help when no addon was found or the one found does not load. */
export function addonSolutions(root: string): string[] {
  return isClone(root)
    ? ["build the addon again: npm run compile"]
    : [
        "install the package again: npm install recurrent-kif",
        "build it yourself: clone the repository and run npm ci there (needs CMake and a C++20 compiler)",
      ];
}

/** One message: what failed, what was tried, and the commands that help. */
export function failureMessage(
  headline: string,
  attempts: readonly string[],
  solutions: readonly string[],
): string {
  const list = (title: string, lines: readonly string[]): string =>
    lines.length === 0
      ? ""
      : `\n${title}\n${lines.map((line) => `  - ${line.trimEnd().replaceAll("\n", "\n    ")}`).join("\n")}`;
  return headline + list("Tried:", attempts) + list("Possible solutions:", solutions);
}
