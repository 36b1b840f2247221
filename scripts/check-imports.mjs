// The arrows of docs/architecture.md: no folder imports from one to its left, and folders do not import each other in a circle.
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

import { main, root, say } from "./steps/process.mjs";

/** Folders of lib/ from left to right; those of one row may use each other as long as there is no circle. */
const ROWS = [
  ["cli"],
  ["bench"],
  ["demo"],
  ["report", "training"],
  ["methods", "data", "evaluation"],
  ["models"],
  ["native"],
];
/** Of lib/native, only these are for other folders. */
const NATIVE_DOORS = new Set(["contract.ts", "load.ts", "libtorch.ts", "cuda.ts", "environment.ts"]);

/** Which folders of native/ a folder may include from. */
const NATIVE = {
  addon: ["addon", "kernels", "models", "checkpoints"],
  preload: [],
  models: ["models", "kernels"],
  kernels: ["kernels"],
  checkpoints: ["checkpoints"],
};

const row = (folder) => ROWS.findIndex((folders) => folders.includes(folder));

function* sources(folder, extension) {
  for (const path of readdirSync(folder, { recursive: true })) {
    if (extension.test(path)) yield join(folder, path);
  }
}

export function importProblems() {
  return [...typescriptProblems(), ...nativeProblems()];
}

function* typescriptProblems() {
  const lib = join(root, "lib");
  const edges = new Map();
  for (const path of sources(lib, /\.ts$/)) {
    const from = relative(lib, path).split(sep);
    const { importedFiles } = ts.preProcessFile(readFileSync(path, "utf8"), true, true);
    for (const { fileName } of importedFiles) {
      if (!fileName.startsWith(".")) continue;
      const to = relative(lib, resolve(dirname(path), fileName.replace(/\.js$/, ".ts"))).split(sep);
      const where = `${relative(root, path)} imports ${fileName}`;
      if (to[0] === "..") yield `${where}: outside lib/`;
      else if (to[0] === "index.ts") yield `${where}: index.ts is for users of the package`;
      else if (from.length === 1 || to[0] === "errors.ts" || from[0] === to[0]) continue;
      else if (row(from[0]) < 0 || row(to[0]) < 0)
        yield `${where}: scripts/check-imports.mjs does not know this folder`;
      else if (row(to[0]) < row(from[0])) yield `${where}: ${to[0]}/ is to the left of ${from[0]}/`;
      else if (to[0] === "native" && !NATIVE_DOORS.has(to[1]))
        yield `${where}: of native/ take ${[...NATIVE_DOORS].join(", ")}`;
      else edges.set(`${from[0]} ${to[0]}`, where);
    }
  }
  for (const [edge, where] of edges) {
    const back = edges.get(edge.split(" ").reverse().join(" "));
    if (back !== undefined && edge < edge.split(" ").reverse().join(" "))
      yield `circle: ${where}, and ${back}`;
  }
}

function* nativeProblems() {
  const native = join(root, "native");
  for (const path of sources(native, /\.(cc|h|cu)$/)) {
    const from = relative(native, path).split(sep)[0];
    for (const [, header] of readFileSync(path, "utf8").matchAll(/^\s*#include\s+[<"]([^>"]+)[>"]/gm)) {
      const where = `${relative(root, path)} includes ${header}`;
      const to = header.split("/")[0];
      if (header === "napi.h" || header === "node_api.h") {
        if (from !== "addon" && from !== "preload") yield `${where}: only addon/ and preload/ know Node`;
      } else if (
        to in NATIVE &&
        header.includes("/") &&
        from in NATIVE &&
        from !== to &&
        !NATIVE[from].includes(to)
      ) {
        yield `${where}: ${from}/ may include only ${NATIVE[from].join(", ") || "nothing of native/"}`;
      }
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(() => {
    const problems = importProblems();
    for (const problem of problems) say(problem);
    return problems.length === 0 ? 0 : 1;
  });
}
