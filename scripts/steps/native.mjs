// The addon, by cmake-js. Nothing is done where sources and libtorch are those of the last build.
import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import { delimiter, join } from "node:path";

import { provideLibtorch, releaseOf } from "./libtorch.mjs";
import { ScriptError, must, root, runNode, say, succeeds, tool, which } from "./process.mjs";

export const release = join(root, "build", "Release");
const stamp = join(root, "build", "rkif.stamp.json");
/** One compiler on ATen's headers takes up to this much memory. */
const BYTES_PER_COMPILER = 1.5e9;

/** Hash of everything the addon is compiled from, except libtorch. */
export function sourcesHash() {
  // The kernels for GPUs are a library of their own: see cuda.mjs.
  const cuda = join("native", "kernels", "cuda");
  const hash = hashOf(["CMakeLists.txt", ...nativeFiles().filter((path) => !path.startsWith(cuda))]);
  for (const name of ["node-addon-api", "node-api-headers"]) {
    hash.update(JSON.parse(readFileSync(tool(`${name}/package.json`), "utf8")).version);
  }
  return hash.digest("hex").slice(0, 16);
}

/** The sources below native/, relative to the checkout. */
export const nativeFiles = () =>
  readdirSync(join(root, "native"), { recursive: true })
    .filter((path) => /\.(cc|cu|h|json)$/.test(path))
    .map((path) => join("native", path));

/** A hash of names and contents, to which more can be added. */
export function hashOf(files) {
  const hash = createHash("sha256");
  for (const path of [...files].sort()) {
    hash
      .update(`${path}\0`)
      .update(readFileSync(join(root, path)))
      .update("\0");
  }
  return hash;
}

/** Builds the addon where it is stale. Returns the libtorch it is built against. */
export async function buildNative() {
  const libtorch = await provideLibtorch();
  const wanted = { libtorch: await releaseOf(libtorch.version), sources: sourcesHash() };
  if (isBuilt(wanted)) {
    say(`addon: up to date (libtorch ${libtorch.version})`);
    return libtorch;
  }
  requireTools();
  say(`addon: building against libtorch ${libtorch.version} (${libtorch.origin}: ${libtorch.folder})`);
  rmSync(stamp, { force: true });
  await configure(libtorch);
  await must(which("cmake"), [
    "--build",
    join(root, "build"),
    "--config",
    "Release",
    "--parallel",
    compilers(),
  ]);
  await requireLoads(libtorch);
  writeFileSync(stamp, `${JSON.stringify(wanted)}\n`);
  return libtorch;
}

/** Loads what was built in a process of its own: a library that crashes or lacks symbols ends the build, not a later run. */
async function requireLoads(libtorch) {
  const load = new URL("../../lib/native/load.ts", import.meta.url).href;
  const script = `const { loadAddon } = await import(${JSON.stringify(load)}); loadAddon().build;`;
  const { status, signal, output } = await runNode(["--import", "tsx", "--input-type=module", "-e", script], {
    quiet: true,
    env: { ...process.env, RKIF_LIBTORCH: libtorch.folder },
  });
  if (status !== 0) {
    throw new ScriptError(
      `the addon was built but does not load${signal ? ` (${signal})` : ""}:\n${output.trimEnd()}`,
    );
  }
}

/** Builds an executable of the same tree (the C++ tests, a benchmark) and returns its path. */
export async function buildExecutable(libtorch, name) {
  if (!existsSync(join(root, "build", "CMakeCache.txt"))) {
    requireTools();
    await configure(libtorch);
  }
  const target = ["--target", name, "--parallel", compilers()];
  await must(which("cmake") ?? "cmake", ["--build", join(root, "build"), ...target], { quiet: true });
  return join(root, "build", name);
}

/** The environment of such an executable: it finds libtorch as the addon does not, by the linker's search path. */
export function withLibtorch(libtorch, environment = process.env) {
  const variable = process.platform === "darwin" ? "DYLD_LIBRARY_PATH" : "LD_LIBRARY_PATH";
  const folders = [join(libtorch.folder, "lib"), environment[variable]].filter(Boolean).join(delimiter);
  return { ...environment, [variable]: folders };
}

function isBuilt(wanted) {
  if (!["rkif.node", "rkif_preload.node", "rkif.json"].every((name) => existsSync(join(release, name))))
    return false;
  try {
    const built = JSON.parse(readFileSync(stamp, "utf8"));
    return built.libtorch === wanted.libtorch && built.sources === wanted.sources;
  } catch {
    return false;
  }
}

/** How many compilers run at once. */
export function compilers() {
  return String(Math.max(1, Math.min(availableParallelism(), Math.floor(totalmem() / BYTES_PER_COMPILER))));
}

/** cmake-js adds Node's headers (from node-api-headers, nothing is downloaded) and picks Ninja where it is there. */
async function configure(libtorch) {
  const args = [
    tool("cmake-js/bin/cmake-js"),
    "configure",
    "--log-level",
    "error",
    `--CDRKIF_LIBTORCH=${libtorch.folder}`,
  ];
  const cached = existsSync(join(root, "build", "CMakeCache.txt"));
  const first = await runNode(args, { quiet: true });
  if (first.status === 0) return;
  if (!cached) throw new ScriptError(`CMake could not configure the build:\n${first.output.trimEnd()}`);
  // An older tree of another generator, compiler or place: its cache is of no use.
  rmSync(join(root, "build"), { recursive: true });
  const second = await runNode(args, { quiet: true });
  if (second.status !== 0)
    throw new ScriptError(`CMake could not configure the build:\n${second.output.trimEnd()}`);
}

/** @throws ScriptError naming what is missing and how to get it */
export function requireTools() {
  const install = [
    "Possible solutions:",
    "  - Debian, Ubuntu: apt-get install cmake g++",
    "  - Fedora, RHEL: dnf install cmake gcc-c++",
    "  - macOS: xcode-select --install && brew install cmake",
  ].join("\n");
  if (which("cmake") === undefined) {
    throw new ScriptError(
      `building the addon needs CMake 3.19 or newer; there is no cmake on the PATH\n${install}`,
    );
  }
  const compilerNames = process.env.CXX ? [process.env.CXX] : ["c++", "g++", "clang++"];
  if (!compilerNames.some((name) => succeeds(name, ["--version"]))) {
    const tried = `tried ${compilerNames.join(", ")}`;
    throw new ScriptError(
      `building the addon needs a C++20 compiler such as g++ 10 or newer; ${tried}\n${install}`,
    );
  }
}
