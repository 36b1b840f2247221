// What binding.gyp asks for while node-gyp reads it:
//   libtorch              folder of the libtorch to build against
//   node-addon-api        folder of its headers
//   sources KEY...        source files of native/sources.json
//   info LIBTORCH FILE    writes rkif.json, as CMakeLists.txt does
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { provideLibtorch, releaseOf, versionIn } from "./steps/libtorch.mjs";
import { ScriptError, main, root, tool } from "./steps/process.mjs";

const COMMANDS = {
  libtorch: async () => (await provideLibtorch()).folder,
  "node-addon-api": () => tool("node-addon-api"),
  sources: (...keys) => {
    const lists = JSON.parse(readFileSync(join(root, "native", "sources.json"), "utf8"));
    return keys.flatMap((key) => lists[key]).join(" ");
  },
  info: async (libtorch, file) => {
    writeFileSync(file, `${JSON.stringify({ libtorch: await releaseOf(await versionIn(libtorch)) })}\n`);
    return file;
  },
};

await main(async () => {
  const [command, ...args] = process.argv.slice(2);
  if (!Object.hasOwn(COMMANDS, command))
    throw new ScriptError(`expected one of ${Object.keys(COMMANDS).join(", ")}`);
  process.stdout.write(`${await COMMANDS[command](...args)}\n`);
});
