// What `npm pack` would ship: packed for real, unpacked elsewhere, read and run without a compiler or anything of this checkout.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { portabilityProblem, prebuild } from "./prebuild.mjs";
import { findLibtorch } from "./steps/libtorch.mjs";
import { main, must, root, run, say } from "./steps/process.mjs";

const MAX_BYTES = 30e6;
/** Nothing of these may be in the package: npm would start a build where it finds binding.gyp. */
const UNWANTED =
  /^(binding\.gyp|CMakeLists\.txt|native\/|lib\/|test\/|scripts\/|build\/|examples\/|\.ci\/|node_modules\/)|\.tsbuildinfo$/;

async function pack(folder) {
  const npm = process.env.npm_execpath;
  const args = ["pack", "--ignore-scripts", "--silent", "--pack-destination", folder];
  if (npm === undefined) await must("npm", args, { quiet: true });
  else await must(process.execPath, [npm, ...args], { quiet: true });
  const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz"));
  execFileSync("tar", ["xzf", join(folder, tarball), "-C", folder]);
  return join(folder, "package");
}

/** Each a name and a function that returns what is wrong, or nothing. */
const CHECKS = {
  "nothing of the sources is packed": ({ files }) => files.filter((path) => UNWANTED.test(path)).join(", "),
  "README, LICENSE, CHANGELOG and the embedded model are packed": ({ files }) =>
    ["README.md", "LICENSE", "CHANGELOG.md", "models/"]
      .filter((wanted) => !files.some((path) => path.startsWith(wanted)))
      .join(", "),
  "every entry point exists": ({ folder, manifest }) =>
    [...entries(manifest.exports), ...entries(manifest.bin), manifest.types]
      .filter((path) => !existsSync(join(folder, path)))
      .join(", "),
  "no script runs at installation and npm sees no gyp file": ({ manifest }) => {
    const scripts = ["preinstall", "install", "postinstall"].filter(
      (name) => name in (manifest.scripts ?? {}),
    );
    return [...scripts, ...(manifest.gypfile === false ? [] : ["gypfile is not false"])].join(", ");
  },
  "what the code imports is a dependency": ({ folder, files, manifest }) => {
    const known = new Set([...Object.keys(manifest.dependencies ?? {}), manifest.name]);
    const missing = files
      .filter((path) => path.startsWith("dist/") && path.endsWith(".js"))
      .flatMap((path) => {
        const imports = readFileSync(join(folder, path), "utf8").matchAll(
          /(?:from|import|require\()\s*"([^."][^"]*)"/g,
        );
        const packages = [...imports].map(([, name]) =>
          name
            .split("/")
            .slice(0, name.startsWith("@") ? 2 : 1)
            .join("/"),
        );
        return packages
          .filter((name) => !name.startsWith("node:") && !known.has(name))
          .map((name) => `${path}: ${name}`);
      });
    return missing.join(", ");
  },
  "the packed size is modest": ({ folder, files }) => {
    const bytes = files.reduce((sum, path) => sum + readFileSync(join(folder, path)).length, 0);
    return bytes > MAX_BYTES ? `${(bytes / 1e6).toFixed(1)} MB, at most ${MAX_BYTES / 1e6} expected` : "";
  },
  "the prebuilt addon loads where there is no local build and no compiler": async ({ folder, libtorch }) => {
    // As installed: the package under node_modules beside its dependencies, and a PATH with nothing on it.
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
    const script = `
      const { loadAddon } = await import("./dist/native/load.js");
      process.stdout.write(loadAddon().build.libtorch);`;
    const empty = join(folder, "empty");
    mkdirSync(empty);
    const { status, output } = await run(process.execPath, ["--input-type=module", "-e", script], {
      quiet: true,
      cwd: folder,
      env: { PATH: empty, HOME: empty, RKIF_LIBTORCH: libtorch },
    });
    rmSync(join(folder, "node_modules"));
    return status === 0 ? "" : output;
  },
};

/** The README's API example, run from the package in a folder of its own. */
CHECKS["the README's API example runs"] = async ({ folder, libtorch }) => {
  const [, example] = /```js\n(.*?)```/s.exec(readFileSync(join(folder, "README.md"), "utf8")) ?? [];
  if (example === undefined) return "README.md has no ```js block";
  const place = join(folder, "..", "user");
  mkdirSync(join(place, "node_modules"), { recursive: true });
  symlinkSync(folder, join(place, "node_modules", "recurrent-kif"));
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  const empty = join(place, "empty");
  mkdirSync(empty);
  const { status, output } = await run(process.execPath, ["--input-type=module", "-e", example], {
    quiet: true,
    cwd: place,
    env: { PATH: empty, HOME: empty, RKIF_LIBTORCH: libtorch },
  });
  rmSync(join(folder, "node_modules"));
  return status === 0 && /after errand.*OP \d/s.test(output) ? "" : output || `exit status ${status}`;
};

function entries(value) {
  return typeof value === "object" ? Object.values(value).flatMap(entries) : [value];
}

/** Packs and runs every check. */
export async function checkPackage() {
  const binaries = await prebuild();
  const scratch = mkdtempSync(join(tmpdir(), "rkif-pack-"));
  const counts = { passed: 0, failed: 0, skipped: 0 };
  try {
    const folder = await pack(scratch);
    const files = readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
    const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const libtorch = (await findLibtorch())?.folder;
    for (const [name, check] of Object.entries(CHECKS)) {
      const problem = await check({ folder, files, manifest, libtorch });
      ++counts[problem ? "failed" : "passed"];
      say(`  ${problem ? "FAIL " : "ok   "} ${name}${problem ? `: ${problem}` : ""}`);
    }
    // Depends on the compiler's libraries: for whoever builds here it is no failure, for whoever publishes `npm run prebuild` makes it one.
    const portability = await portabilityProblem(binaries);
    ++counts[portability === "" ? "passed" : "skipped"];
    say(
      `  ${portability === "" ? "ok   " : "SKIP "} the prebuilt addon needs no ${portability || "newer system than libtorch"}`,
    );
  } finally {
    rmSync(scratch, { recursive: true });
  }
  return counts;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(async () => ((await checkPackage()).failed === 0 ? 0 : 1));
}
