import { readFileSync } from "node:fs";

/** What /proc says about this process, in bytes. Linux only. */
export interface Resident {
  /** Most that was ever resident, mapped pages of files included. */
  peak: number;
  /** Now resident, without pages of files: what the system could not drop. */
  anonymous: number;
}

export function residentMemory(): Resident {
  const status = readFileSync("/proc/self/status", "utf8");
  const field = (name: string): number =>
    1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)?.[1] ?? NaN);
  return { peak: field("VmHWM"), anonymous: field("RssAnon") };
}
