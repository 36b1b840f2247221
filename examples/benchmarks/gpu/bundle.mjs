// Packs what the measurements of session.sh need into one archive, for a machine with a GPU that has neither Node nor a network, but a Python
// with torch, transformers and peft: this checkout's sources, what is built of it, Node itself and the packages it runs with.
//     node examples/benchmarks/gpu/bundle.mjs FILE.tar.xz
// Build for that machine's PyTorch before; docs/cuda.md has the commands.
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";

import { ScriptError, main, must, root, say } from "../../../scripts/steps/process.mjs";

const SOURCES = [
  ...[
    "package.json",
    "tsconfig.json",
    ".mocharc.json",
    "lib",
    "examples",
    "models",
    "test/fixtures",
    "test/parity",
  ],
];
const BUILT = [
  ...["rkif.node", "rkif.json", "rkif_preload.node", "librkif_cuda.so", "rkif_cuda.json"].map((name) =>
    join("build", "Release", name),
  ),
  join("build", "cuda", "rkif_cuda_kernels_benchmark"),
  join("build", "cuda", "rkif_cuda_tests"),
];
/** Beside the package's own dependencies: what its sources and tests are run with. */
const TOOLS = ["chai", "mocha", "tsx"];

/** The folders of a package and of all that it depends on, optional ones where they are installed. */
function addPackage(name, from, found) {
  const folder = findPackage(name, from);
  if (folder === undefined || found.has(folder)) return;
  found.add(folder);
  const { dependencies, optionalDependencies } = JSON.parse(
    readFileSync(join(folder, "package.json"), "utf8"),
  );
  for (const each of Object.keys({ ...dependencies, ...optionalDependencies }))
    addPackage(each, folder, found);
}

/** As Node looks for it: in node_modules of the folder and of those above it. */
function findPackage(name, from) {
  const folder = join(from, "node_modules", name);
  if (existsSync(join(folder, "package.json"))) return folder;
  return from === root ? undefined : findPackage(name, dirname(from));
}

function packages() {
  const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const found = new Set();
  for (const name of [...Object.keys(dependencies), ...TOOLS]) {
    if (findPackage(name, root) === undefined)
      throw new ScriptError(`node_modules has no ${name}: run npm ci`);
    addPackage(name, root, found);
  }
  return [...found];
}

/** Neither types nor maps, nor what is for another platform. */
function isWanted(path) {
  if (/\.(map|d\.[cm]?ts)$/.test(path)) return false;
  return (
    !path.endsWith(".node") ||
    (path.includes(`${process.platform}-${process.arch}`) && !path.includes("musl"))
  );
}

await main(async () => {
  const [file, ...others] = process.argv.slice(2);
  if (file === undefined || !file.endsWith(".tar.xz") || others.length > 0) {
    throw new ScriptError("expected one argument, the archive to write: FILE.tar.xz");
  }
  const missing = BUILT.filter((path) => !existsSync(join(root, path)));
  if (missing.length > 0) {
    throw new ScriptError(
      `not built: ${missing.join(", ")}\nPossible solutions:\n` +
        "  - npm run compile && npm run compile:cuda -- --benchmark",
    );
  }
  const stage = mkdtempSync(join(tmpdir(), "rkif-bundle-"));
  try {
    const top = join(stage, "recurrent-kif");
    const copy = (path, filter) => {
      mkdirSync(dirname(join(top, path)), { recursive: true });
      cpSync(join(root, path), join(top, path), { recursive: true, dereference: true, filter });
    };
    for (const path of [...SOURCES, ...BUILT]) copy(path);
    for (const folder of packages()) copy(relative(root, folder), isWanted);
    mkdirSync(join(top, "bin"));
    cpSync(process.execPath, join(top, "bin", "node"), { dereference: true });
    await must("tar", ["-cJf", resolve(file), "-C", stage, ...readdirSync(stage)], {
      env: { ...process.env, XZ_OPT: "-9" },
    });
    say(`${file}: ${(statSync(file).size / 2 ** 20).toFixed(1)} MiB`);
  } finally {
    rmSync(stage, { recursive: true });
  }
});
