// What binding.gyp asks for while node-gyp reads it:
//   libtorch              folder of the libtorch to build against
//   node-addon-api        folder of its headers
//   sources KEY...        source files of native/sources.json
//   kernels               digest of the kernels' headers, as CMakeLists.txt computes it
//   info LIBTORCH FILE    writes rkif.json, as CMakeLists.txt does
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { provideLibtorch, releaseOf, versionIn } from "./steps/libtorch.mjs";
import { ScriptError, main, root, tool } from "./steps/process.mjs";

const sha256 = (data) => createHash("sha256").update(data).digest("hex");

function kernelsDigest() {
  const folder = join(root, "native", "kernels");
  const headers = readdirSync(folder).filter((name) => name.endsWith(".h"));
  const digests = headers.sort().map((name) => `${sha256(readFileSync(join(folder, name)))}\n`);
  return sha256(digests.join("")).slice(0, 16);
}

const COMMANDS = {
  libtorch: async () => (await provideLibtorch()).folder,
  "node-addon-api": () => tool("node-addon-api"),
  sources: (...keys) => {
    const lists = JSON.parse(readFileSync(join(root, "native", "sources.json"), "utf8"));
    return keys.flatMap((key) => lists[key]).join(" ");
  },
  kernels: () => kernelsDigest(),
  info: async (libtorch, file) => {
    const version = await releaseOf(await versionIn(libtorch));
    writeFileSync(file, `${JSON.stringify({ libtorch: version, kernels: kernelsDigest() })}\n`);
    return file;
  },
};

await main(async () => {
  const [command, ...args] = process.argv.slice(2);
  if (!Object.hasOwn(COMMANDS, command))
    throw new ScriptError(`expected one of ${Object.keys(COMMANDS).join(", ")}`);
  process.stdout.write(`${await COMMANDS[command](...args)}\n`);
});
