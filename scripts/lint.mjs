// `npm run lint`: layout, rules, types, import arrows. Each is one check; all run, so that one run shows everything.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { importProblems } from "./check-imports.mjs";
import { main, root, runNode, say, tool } from "./steps/process.mjs";

const cache = (name) => join(root, "node_modules", ".cache", name);

export const cppFiles = () =>
  ["native", join("test", "native"), "examples"]
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true }).map((path) => join(folder, path)),
    )
    .filter((path) => /\.(cc|cu|h)$/.test(path))
    .sort();

export const clangFormat = (args) =>
  runNode([tool("@wasm-fmt/clang-format/clang-format-cli.cjs"), ...args], { quiet: true });

const tsc = (config) => {
  const cached = ["--incremental", "--tsBuildInfoFile", cache(config)];
  return runNode([tool("typescript/bin/tsc"), "--noEmit", "-p", config, ...cached], { quiet: true });
};

const CHECKS = {
  prettier: () =>
    runNode(
      [
        tool("prettier/bin/prettier.cjs"),
        "--check",
        "--cache",
        "--cache-location",
        cache("prettier.json"),
        ".",
      ],
      { quiet: true },
    ),
  eslint: () =>
    runNode(
      [
        tool("eslint/bin/eslint.js"),
        "--max-warnings",
        "0",
        "--cache",
        "--cache-location",
        cache("eslint/"),
        ".",
      ],
      {
        quiet: true,
      },
    ),
  "types of lib": () => tsc("tsconfig.json"),
  "types of tests and examples": () => tsc("tsconfig.test.json"),
  "clang-format": async () => {
    const { status, output } = await clangFormat(["--dry-run", "--Werror", ...cppFiles()]);
    const files = new Set([...output.matchAll(/([\w./-]+\.(?:cc|cu|h)):\d+:\d+:/g)].map(([, file]) => file));
    return { status, output: files.size > 0 ? `npm run format changes\n${[...files].join("\n")}` : output };
  },
  "import arrows": async () => {
    const problems = importProblems();
    return { status: problems.length === 0 ? 0 : 1, output: problems.join("\n") };
  },
};

/** Runs every check and says what failed. */
export async function lint() {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  // All at once: the longest takes a third of their time on one core.
  const running = Object.entries(CHECKS).map(([name, check]) => ({ name, result: check() }));
  await Promise.allSettled(running.map(({ result }) => result));
  for (const { name, result } of running) {
    const { status, output } = await result;
    ++counts[status === 0 ? "passed" : "failed"];
    say(`  ${status === 0 ? "ok   " : "FAIL "} ${name}`);
    if (status !== 0) say(output.trimEnd());
  }
  return counts;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(async () => ((await lint()).failed === 0 ? 0 : 1));
}
