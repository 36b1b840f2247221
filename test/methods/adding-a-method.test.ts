import { expect } from "chai";
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Method } from "../../lib/methods/method.js";
import { methods } from "../../lib/methods/registry.js";
import { learnAll, results, settings, smallTasks, temporaryFolder, writeTinyCheckpoint } from "../training/tiny-run.js"; // prettier-ignore
import { beginning, Descent, farthest, gradientAt, learnToys, rateAt, taskKeys } from "./toy-run.js";

const root = fileURLToPath(new URL("../..", import.meta.url));

describe("the guide to adding a method", function () {
  this.timeout(20_000);
  const folder = temporaryFolder();
  let guide: string;
  let anchored: Method;

  before(async () => {
    guide = await readFile(join(root, "docs", "adding-a-method.md"), "utf8");
    const [, code] = /```ts\n([\s\S]*?)```/.exec(guide)!;
    // As if the file lay in lib/methods.
    const placed = code!.replace(/from "(\.\/[\w-]+\.js|zod)"/g, (_, name: string) => {
      const path =
        name === "zod"
          ? pathToFileURL(createRequire(import.meta.url).resolve("zod")).href
          : pathToFileURL(join(root, "lib/methods", name)).href;
      return `from ${JSON.stringify(path)}`;
    });
    const file = join(folder.path, "anchored.mts");
    await writeFile(file, placed);
    ({ anchored } = (await import(pathToFileURL(file).href)) as { anchored: Method });
  });

  it("has an example that does what it says", async () => {
    const [steps, pull] = [20, 0.7];
    let theta = beginning();
    const expected = [0, 1, 2].map((task) => {
      const [anchor, descent] = [theta, new Descent()];
      for (let step = 0; step < steps; step++) {
        const free = gradientAt(theta, taskKeys(task, step));
        const held = free.map((g, i) => g + (task === 0 ? 0 : pull * (theta[i]! - anchor[i]!)));
        theta = descent.step(theta, held, rateAt(step, steps));
      }
      return theta;
    });
    expect(farthest(await learnToys(anchored, { anchorPull: pull }, { steps }), expected)).to.be.below(1e-5);
  });

  it("has an example that trains a model by its name, options and preset", async () => {
    const registry = methods as Map<string, Method>;
    registry.set(anchored.name, anchored);
    try {
      const model = await writeTinyCheckpoint(join(folder.path, "model"));
      const adapters: Buffer[] = [];
      for (const options of [{}, { anchorPull: 10 }, { preset: "firm" }]) {
        const run = join(folder.path, `run-${adapters.length}`);
        await learnAll(run, settings(model, { method: "anchored", ...options }), smallTasks(2));
        adapters.push((await results(run)).get("adapter/adapter_model.safetensors")!);
      }
      expect(adapters[1]!.equals(adapters[2]!)).to.equal(true);
      expect(adapters[0]!.equals(adapters[1]!)).to.equal(false);
    } finally {
      registry.delete(anchored.name);
    }
  });

  it("names files and members that there are", async () => {
    const sources = await Promise.all(
      ["lib/methods/run.ts", "lib/methods/method.ts"].map((file) => readFile(join(root, file), "utf8")),
    );
    const members = [...guide.matchAll(/`run\.(\w+)/g)].map(([, name]) => name!);
    expect(members).to.include.members(["step", "keptVector", "gradientOf"]);
    for (const name of members) expect(sources[0], `run.${name}`).to.match(new RegExp(`\\b${name}[(<:]`));
    for (const name of ["consolidate", "needsAdapter", "evaluatesWith", "learnsTogether", "usesMemory"]) {
      expect(guide).to.include(`\`${name}`);
      expect(sources[1], name).to.match(new RegExp(`\\b${name}[?(:]`));
    }
    for (const [, file] of guide.matchAll(/`((?:lib|test|docs)\/[\w./-]+\.\w+)`/g))
      await readFile(join(root, file!));
  });
});
