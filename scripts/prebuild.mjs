// `npm run prebuild`: builds the addon and puts it with its preloader under prebuilds/PLATFORM/, where `npm pack` takes it from:
//   rkif_preload.node, and per minor version of libtorch libtorch-2.15/{rkif.node,rkif.json}, with librkif_cuda.so and rkif_cuda.json where
//   `npm run compile:cuda` has built them from the present sources.
// Run it once per libtorch to ship (RKIF_LIBTORCH=DIR npm run prebuild); builds of other sources than the present ones are removed.
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { isCudaFresh } from "./steps/cuda.mjs";
import { releaseOf } from "./steps/libtorch.mjs";
import { buildNative, release, sourcesHash } from "./steps/native.mjs";
import { ScriptError, main, root, say } from "./steps/process.mjs";
import { OLDEST, tooNewSymbols } from "./steps/symbols.mjs";

export const prebuilds = join(root, "prebuilds", `${process.platform}-${process.arch}`);

export async function prebuild() {
  const libtorch = await buildNative();
  const version = await releaseOf(libtorch.version);
  const sources = sourcesHash();
  removeStale(sources);
  const folder = join(prebuilds, `libtorch-${version.split(".").slice(0, 2).join(".")}`);
  mkdirSync(folder, { recursive: true });
  copyFileSync(join(release, "rkif_preload.node"), join(prebuilds, "rkif_preload.node"));
  copyFileSync(join(release, "rkif.node"), join(folder, "rkif.node"));
  const { kernels } = JSON.parse(readFileSync(join(release, "rkif.json"), "utf8"));
  writeFileSync(join(folder, "rkif.json"), `${JSON.stringify({ libtorch: version, kernels, sources })}\n`);
  const cuda = copyCuda(folder, version) ? [join(folder, "librkif_cuda.so")] : [];
  say(`prebuilt: ${folder}${cuda.length > 0 ? " with the CUDA library" : ""}`);
  return [join(folder, "rkif.node"), join(prebuilds, "rkif_preload.node"), ...cuda];
}

/** Whether the CUDA library belongs to what is prebuilt; one of an earlier build never stays. */
function copyCuda(folder, version) {
  const names = ["librkif_cuda.so", "rkif_cuda.json"];
  for (const name of names) rmSync(join(folder, name), { force: true });
  if (!isCudaFresh()) return false;
  if (JSON.parse(readFileSync(join(release, "rkif_cuda.json"), "utf8")).libtorch !== version) return false;
  for (const name of names) copyFileSync(join(release, name), join(folder, name));
  return true;
}

/** What keeps `files` from loading on the oldest system that is supported; "" where nothing does. */
export async function portabilityProblem(files) {
  const problems = [];
  for (const file of files) {
    const symbols = await tooNewSymbols(file);
    if (symbols?.length > 0) problems.push(`${file} needs\n    ${symbols.join("\n    ")}`);
  }
  const oldest = `glibc ${OLDEST.GLIBC} and libstdc++ ${OLDEST.GLIBCXX}`;
  return problems.length === 0 ? "" : `more than ${oldest} offer:\n  ${problems.join("\n  ")}`;
}

function removeStale(sources) {
  for (const name of existsSync(prebuilds) ? readdirSync(prebuilds) : []) {
    if (!name.startsWith("libtorch-")) continue;
    const info = join(prebuilds, name, "rkif.json");
    const fresh = existsSync(info) && JSON.parse(readFileSync(info, "utf8")).sources === sources;
    if (!fresh) rmSync(join(prebuilds, name), { recursive: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(async () => {
    const problem = await portabilityProblem(await prebuild());
    if (problem !== "") throw new ScriptError(`not fit to be published: it needs ${problem}`);
  });
}
