import { randomBytes } from "node:crypto";
import { mkdir, readdir, rm, statfs } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";

import { RkifError } from "../errors.js";
import { failureMessage } from "./failure.js";

/** A folder of this install alone; those of processes that died on this machine are removed first. */
export async function makePartFolder(cache: string, entry: string): Promise<string> {
  const host = hostname().replaceAll(/[^A-Za-z0-9-]/g, "-");
  try {
    await mkdir(cache, { recursive: true });
    for (const name of await readdir(cache)) {
      const owner = /\.([^.]+)\.(\d+)\.[0-9a-f]+\.part$/.exec(name);
      if (owner?.[1] === host && !isRunning(Number(owner[2]))) {
        await rm(join(cache, name), { recursive: true, force: true });
      }
    }
    const unique = randomBytes(4).toString("hex");
    const part = join(cache, `${entry}.${host}.${process.pid}.${unique}.part`);
    await mkdir(part);
    return part;
  } catch (error) {
    throw installError(error, cache, entry);
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

/** @throws RkifError `LIBTORCH_INSTALL` where fewer than `bytes` are free for `item` in `folder` */
export async function requireDiskSpace(folder: string, bytes: number, item: string): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  if (free >= bytes) return;
  const found = `${(free / 1e9).toFixed(1)} GB are free there`;
  throw new RkifError(
    "LIBTORCH_INSTALL",
    failureMessage(
      `fetching ${item} into ${folder} takes ${bytes / 1e9} GB; ${found}`,
      [],
      ["free some space, or point the cache elsewhere: export XDG_CACHE_HOME=/path/with/space"],
    ),
  );
}

/** What kept `item` from being put into `cache`. */
export function installError(error: unknown, cache: string, item: string): RkifError {
  if (error instanceof RkifError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const solutions = ["point the cache to a folder you may write to: export XDG_CACHE_HOME=/path"];
  return new RkifError(
    "LIBTORCH_INSTALL",
    failureMessage(`fetching ${item} into ${cache} failed: ${message}`, [], solutions),
    { cause: error },
  );
}
