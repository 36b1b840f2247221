// dist/config.schema.json: the JSON Schema of a run's configuration, from the option tables that also check it.
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { ScriptError, root } from "./process.mjs";

export async function writeSchema() {
  const module = join(root, "dist", "training", "config.js");
  if (!existsSync(module))
    throw new ScriptError(`${module} is missing: lib/training/config.ts makes the JSON Schema`);
  const { configJsonSchema } = await import(pathToFileURL(module).href);
  writeFileSync(join(root, "dist", "config.schema.json"), `${JSON.stringify(configJsonSchema(), null, 2)}\n`);
}
