// `npm run format`: prettier and clang-format, in place.
import { clangFormat, cppFiles } from "./lint.mjs";
import { ScriptError, main, runNode, tool } from "./steps/process.mjs";

await main(async () => {
  const { status } = await runNode([
    tool("prettier/bin/prettier.cjs"),
    "--write",
    "--log-level",
    "warn",
    ".",
  ]);
  const cpp = await clangFormat(["-i", ...cppFiles()]);
  if (status !== 0 || cpp.status !== 0) throw new ScriptError(`formatting failed\n${cpp.output}`);
});
