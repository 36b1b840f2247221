// Finding libtorch, or fetching it: the library's own TypeScript, run as it stands, so that build and loader agree.
import { tsImport } from "tsx/esm/api";

import { ScriptError, say } from "./process.mjs";

export const native = () => tsImport("../../lib/native/libtorch.ts", import.meta.url);

/** The libtorch to build against; fetched into the user's cache where there is none. */
export async function provideLibtorch() {
  const { DEFAULT_LIBTORCH, installLibtorch, searchLibtorch } = await native();
  const { libtorch, attempts } = searchLibtorch({ headers: true });
  if (libtorch !== undefined) return libtorch;
  say(`libtorch: none found\n${attempts.map((line) => `  - ${line}`).join("\n")}`);
  say(
    `fetching libtorch ${DEFAULT_LIBTORCH} by pip into the user's cache (some 550 MB to download, 510 MB to keep)`,
  );
  return fetching((options) => installLibtorch({ version: DEFAULT_LIBTORCH, ...options }));
}

/** Runs a fetch with progress on stderr; an interrupt stops it and leaves nothing behind. */
export async function fetching(fetch) {
  const stop = new AbortController();
  const onSignal = () => stop.abort();
  process.once("SIGINT", onSignal).once("SIGTERM", onSignal);
  try {
    return await fetch({ signal: stop.signal, onProgress: progressPrinter() });
  } finally {
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
  }
}

/** The libtorch to build against, or undefined: never fetched. */
export async function findLibtorch() {
  const { searchLibtorch } = await native();
  return searchLibtorch({ headers: true }).libtorch;
}

export async function releaseOf(version) {
  return (await native()).releaseOf(version);
}

/** The version of the libtorch in `folder`. */
export async function versionIn(folder) {
  const { version, problem } = (await native()).inspectLibtorch(folder);
  if (version === undefined) throw new ScriptError(`${folder}: ${problem}`);
  return version;
}

/** One line that is rewritten on a terminal; elsewhere a line for each quarter. */
function progressPrinter() {
  const terminal = process.stderr.isTTY;
  let label = "";
  let quarter = -1;
  return ({ stage, item, bytes, total }) => {
    const share = total > 0 ? Math.min(1, bytes / total) : 0;
    const now = Math.floor(share * 4);
    const changed = label !== `${stage} ${item}`;
    const text = `  ${stage} ${item}: ${(bytes / 1e6).toFixed(0)} of ${(total / 1e6).toFixed(0)} MB`;
    if (terminal) process.stderr.write(`${changed && label !== "" ? "\n" : "\r"}${text}\x1b[K`);
    else if (changed || now > quarter) say(text);
    [label, quarter] = [`${stage} ${item}`, now];
  };
}
