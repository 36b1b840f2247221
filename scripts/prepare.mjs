// `npm ci` and `npm install` in a clone end here, and so does `npm run compile`: lib/ by tsc, libtorch found or fetched, the addon by
// CMake. Idempotent: what is up to date is left alone. npm does not run it for an installed package.
//   --only typescript | native
import { parseArgs } from "node:util";

import { buildNative } from "./steps/native.mjs";
import { ScriptError, main } from "./steps/process.mjs";
import { writeSchema } from "./steps/schema.mjs";
import { compileTypeScript } from "./steps/typescript.mjs";

await main(async () => {
  const { values } = parseArgs({ options: { only: { type: "string" } } });
  if (values.only !== undefined && !["typescript", "native"].includes(values.only)) {
    throw new ScriptError(`--only ${values.only}: expected typescript or native`);
  }
  if (values.only !== "native") {
    await compileTypeScript();
    await writeSchema();
  }
  if (values.only !== "typescript") await buildNative();
});
