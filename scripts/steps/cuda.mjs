// librkif_cuda.so beside the addon, by CMake and nvcc. No GPU and no driver are needed. Nothing is done where sources, libtorch and nvcc are
// those of the last build.
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tsImport } from "tsx/esm/api";

import { fetching, native, provideLibtorch } from "./libtorch.mjs";
import { compilers, hashOf, nativeFiles, release, requireTools } from "./native.mjs";
import { ScriptError, must, root, say, which } from "./process.mjs";

const tree = join(root, "build", "cuda");
const stamp = join(root, "build", "rkif_cuda.stamp.json");
export const cudaLibrary = join(release, "librkif_cuda.so");

const toolkits = () => tsImport("../../lib/native/cuda-toolkit.ts", import.meta.url);

/** The kernels and the addon are told apart by the headers they share; everything else is the kernels' own. */
const sources = () =>
  hashOf([
    ...["CMakeLists.txt", join("cmake", "cuda.cmake")],
    ...nativeFiles().filter((path) => !/^native.(addon|checkpoints|models|preload)./.test(path)),
  ])
    .digest("hex")
    .slice(0, 16);

/**
 * Builds the library where it is stale. Without `fetch` nothing is downloaded. Returns why it cannot be built here, or undefined where it
 * is built. A failure to compile is an error.
 */
export async function buildCuda({ fetch }) {
  if (process.platform !== "linux") return `there is no CUDA for ${process.platform}`;
  const tools = await provideTools(fetch);
  if (typeof tools === "string") return tools;
  const { libtorch, toolkit } = tools;
  const wanted = {
    libtorch: libtorch.version,
    folder: libtorch.folder,
    cuda: toolkit.version,
    sources: sources(),
  };
  if (isBuilt(wanted)) {
    say(`CUDA library: up to date (libtorch ${libtorch.version}, nvcc ${toolkit.version})`);
    return undefined;
  }
  requireTools();
  say(
    `CUDA library: building with nvcc ${toolkit.version} (${toolkit.origin}: ${toolkit.folder}) against libtorch ${libtorch.version}`,
  );
  rmSync(stamp, { force: true });
  await configure(libtorch, toolkit);
  await must(which("cmake"), ["--build", tree, "--target", "rkif_cuda", "--parallel", compilers()]);
  writeFileSync(stamp, `${JSON.stringify(wanted)}\n`);
  return undefined;
}

/** Builds an executable that runs kernels on a GPU, fetching what that takes. Returns its path. */
export async function buildCudaExecutable(name) {
  const tools = await provideTools(true);
  if (typeof tools === "string") throw new ScriptError(`${name} cannot be built here: ${tools}`);
  requireTools();
  await configure(tools.libtorch, tools.toolkit);
  await must(which("cmake"), ["--build", tree, "--target", name, "--parallel", compilers()], { quiet: true });
  return join(tree, name);
}

/** Fetches what {@link buildCuda} needs; returns why it cannot be had, or undefined. */
export async function provideTools(fetch) {
  const { inspectLibtorchCuda, searchLibtorch } = await native();
  const { findCudaToolkit, installCudaToolkit } = await toolkits();
  const libtorch = fetch ? await provideLibtorch() : searchLibtorch({ headers: true }).libtorch;
  if (libtorch === undefined) return "there is no libtorch";
  const { cuda } = inspectLibtorchCuda(libtorch.folder);
  if (cuda === undefined) return `libtorch ${libtorch.version} (${libtorch.folder}) is built without CUDA`;
  try {
    const unlinked = fetch ? await completeLibtorch(libtorch) : lacking(libtorch);
    if (unlinked !== undefined) return fetch ? unlinked : `${unlinked} (npm run compile:cuda fetches it)`;
    const { toolkit, attempts } = findCudaToolkit({ cuda });
    if (toolkit !== undefined) return { libtorch, toolkit };
    if (!fetch)
      return `no nvcc ${cuda} is at hand (npm run compile:cuda fetches it):\n  ${attempts.join("\n  ")}`;
    say(`fetching nvcc ${cuda} by pip into the user's cache (some 110 MB to download, 300 MB to keep)`);
    return { libtorch, toolkit: await fetching((options) => installCudaToolkit({ cuda, ...options })) };
  } catch (error) {
    if (error.code === "LIBTORCH_INSTALL") return error.message;
    throw error;
  }
}

function lacking(libtorch) {
  if (existsSync(join(libtorch.folder, "lib", "libc10_cuda.so"))) return undefined;
  return `${libtorch.folder} has no lib/libc10_cuda.so, which the kernels are linked with`;
}

/** A libtorch that an earlier version fetched has no libc10_cuda.so. */
async function completeLibtorch(libtorch) {
  const problem = lacking(libtorch);
  if (problem === undefined || libtorch.origin !== "cache") return problem;
  const { installLibtorch, releaseOf } = await native();
  say(`libtorch: ${libtorch.folder} has no lib/libc10_cuda.so; fetching the wheel again (some 550 MB)`);
  const version = releaseOf(libtorch.version);
  await fetching((options) => installLibtorch({ version, extent: "cuda-build", ...options }));
  return lacking(libtorch);
}

/** Whether the library in build/Release is that of the present sources. */
export function isCudaFresh() {
  const stamped = readStamp();
  return stamped !== undefined && existsSync(cudaLibrary) && stamped.sources === sources();
}

function isBuilt(wanted) {
  const built = readStamp();
  const files = [cudaLibrary, join(release, "rkif_cuda.json")];
  return (
    files.every((file) => existsSync(file)) &&
    Object.keys(wanted).every((key) => built?.[key] === wanted[key])
  );
}

function readStamp() {
  try {
    return JSON.parse(readFileSync(stamp, "utf8"));
  } catch {
    return undefined;
  }
}

/** A tree of its own: the addon's never depends on nvcc. */
async function configure(libtorch, toolkit) {
  const args = [
    ...["-S", root, "-B", tree, "-DRKIF_CUDA=ON"],
    ...[`-DRKIF_LIBTORCH=${libtorch.folder}`, `-DRKIF_CUDA_TOOLKIT=${toolkit.folder}`],
    `-DCMAKE_LIBRARY_OUTPUT_DIRECTORY=${release}`,
  ];
  if (existsSync(join(tree, "CMakeCache.txt"))) {
    try {
      await must(which("cmake"), args, { quiet: true });
      return;
    } catch {
      // An older tree of another generator, compiler or place: its cache is of no use.
      rmSync(tree, { recursive: true });
    }
  }
  await must(which("cmake"), [...args, ...(which("ninja") === undefined ? [] : ["-G", "Ninja"])], {
    quiet: true,
  });
}
