// lib/ -> dist/ by tsc, incrementally; outputs of sources that are gone are removed, since the package ships dist/ whole.
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

import { ScriptError, root, runNode, tool } from "./process.mjs";

const dist = join(root, "dist");

export async function compileTypeScript() {
  removeOrphans();
  const info = join(dist, ".tsbuildinfo");
  const { status } = await runNode([
    ...[tool("typescript/bin/tsc"), "-p", join(root, "tsconfig.json")],
    ...["--incremental", "--tsBuildInfoFile", info],
  ]);
  if (status !== 0) throw new ScriptError("tsc found errors in lib/ (above)");
}

function removeOrphans() {
  if (!existsSync(dist)) return;
  for (const path of readdirSync(dist, { recursive: true })) {
    const source = /^(.*?)\.(d\.ts|js)$/.exec(path)?.[1];
    if (source !== undefined && !existsSync(join(root, "lib", `${source}.ts`))) rmSync(join(dist, path));
  }
}
