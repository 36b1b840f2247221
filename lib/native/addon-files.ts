import { existsSync, readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

import { compareVersionsDescending, minorOf } from "./libtorch-version.js";
import { currentPlatform } from "./platform.js";

const require = createRequire(import.meta.url);

/** `bindings` as used here: with `path` it only says where the addon is. Its published types lack that option. */
type Bindings = (options: { bindings: string; module_root: string; path: true }) => string;

/** What the build writes beside the addon, so that its libtorch is known before anything is loaded. */
export interface AddonInfo {
  /** Version of the libtorch it was compiled against, such as "2.15.0". */
  readonly libtorch: string;
  /** Digest of the kernels' headers: the same in a librkif_cuda.so that fits. Older builds have none. */
  readonly kernels?: string;
}

/** A built addon with its preloader. */
export interface AddonFiles {
  /** "local build" or "prebuilt", in words for people. */
  readonly origin: string;
  readonly addon: string;
  readonly preload: string;
  readonly info: AddonInfo;
}

/** The local build under build/, where `bindings` finds one. */
export function findLocalBuild(root: string): { files?: AddonFiles; problem?: string } {
  let addon: string;
  try {
    const bindings = require("bindings") as Bindings;
    addon = bindings({ bindings: "rkif", module_root: root, path: true });
  } catch {
    return { problem: `local build: none under ${join(root, "build")}` };
  }
  return describeFiles("local build", addon, join(dirname(addon), "rkif_preload.node"));
}

/** The prebuilt addons in prebuilds/PLATFORM/libtorch-MINOR/, newest libtorch first. */
export function findPrebuilt(root: string): { files: AddonFiles[]; problems: string[] } {
  const folder = join(root, "prebuilds", currentPlatform().name);
  const files: AddonFiles[] = [];
  const problems: string[] = [];
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    if (!name.startsWith("libtorch-")) continue;
    const found = describeFiles(
      "prebuilt",
      join(folder, name, "rkif.node"),
      join(folder, "rkif_preload.node"),
    );
    if (found.files !== undefined) files.push(found.files);
    if (found.problem !== undefined) problems.push(found.problem);
  }
  if (files.length + problems.length === 0) problems.push(`prebuilt: none in ${folder}`);
  files.sort((a, b) => compareVersionsDescending(a.info.libtorch, b.info.libtorch));
  return { files, problems };
}

function describeFiles(
  origin: string,
  addon: string,
  preload: string,
): { files?: AddonFiles; problem?: string } {
  const missing = [addon, preload].find((path) => !existsSync(path));
  if (missing !== undefined) return { problem: `${origin}: ${missing} is missing` };
  const path = join(dirname(addon), "rkif.json");
  try {
    const info = JSON.parse(readFileSync(path, "utf8")) as Partial<AddonInfo>;
    if (typeof info.libtorch !== "string") return { problem: `${origin}: ${path} has no "libtorch"` };
    const { libtorch, kernels } = info;
    return {
      files: { origin, addon, preload, info: kernels === undefined ? { libtorch } : { libtorch, kernels } },
    };
  } catch (error) {
    return { problem: `${origin}: ${path}: ${(error as Error).message}` };
  }
}

/** Every addon that is there, the local build first. */
export function findAddons(root: string): AddonFiles[] {
  const local = findLocalBuild(root).files;
  return [...(local === undefined ? [] : [local]), ...findPrebuilt(root).files];
}

/** The libtorch version to fetch for `root`: what its newest prebuilt addon was built with, where it has one. */
export function prebuiltLibtorch(root: string): string | undefined {
  return findPrebuilt(root).files[0]?.info.libtorch;
}

/** "local build (libtorch 2.15)". */
export function describeAddon(files: AddonFiles): string {
  return `${files.origin} (libtorch ${minorOf(files.info.libtorch)})`;
}
