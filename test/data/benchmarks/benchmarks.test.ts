import { expect } from "chai";
import { builtInBenchmarks } from "../../../lib/data/benchmarks/built-in.js";
import { findBenchmark } from "../../../lib/data/benchmarks/find.js";
import { resolveOrderIn, taskOrders } from "../../../lib/data/orders.js";
import { listTasks, readTask } from "../../../lib/data/tasks.js";
import { folderWith, rejection, removeFolders } from "../folder.js";

const record = JSON.stringify([{ input: "a", output: "b" }]);

/** A data folder with all three sets of the tasks. */
function data(tasks: readonly string[], more: Record<string, string> = {}): Promise<string> {
  const files = tasks.flatMap((task) =>
    ["train", "dev", "test"].map((set) => [`${set}/${task}.json`, record] as const),
  );
  return folderWith({ ...Object.fromEntries(files), ...more });
}

const manifest = {
  name: "support-mail",
  tasks: { topic: { metric: "exact-match" }, summary: { metric: "rouge-l" } },
  orders: { a: ["topic", "summary"], "1": ["summary", "topic"] },
  source: "ask the support team",
};

describe("benchmarks", () => {
  afterEach(removeFolders);

  it("built in have the published orders and metrics", () => {
    expect([...builtInBenchmarks.keys()]).to.deep.equal(["standard-cl", "long-sequence", "superni"]);
    const [standard, long, superni] = [...builtInBenchmarks.values()];
    expect([...standard!.orders.keys()]).to.deep.equal(["4", "5", "6"]);
    expect([...standard!.tasks.keys()].sort()).to.deep.equal(["agnews", "amazon", "dbpedia", "yahoo"]);
    expect([...long!.orders.keys()]).to.deep.equal(["1", "2", "3"]);
    expect(long!.tasks.size).to.equal(15);
    for (const { tasks, orders } of [standard!, long!]) {
      expect(new Set([...tasks.values()].map(({ metric }) => metric))).to.deep.equal(
        new Set(["exact-match"]),
      );
      for (const order of orders.values()) expect([...order].sort()).to.deep.equal([...tasks.keys()].sort());
    }
    const exact = [...superni!.tasks]
      .filter(([, { metric }]) => metric === "exact-match")
      .map(([name]) => name);
    expect(exact.sort()).to.deep.equal(["task1687", "task363", "task875"]);
    expect(superni!.tasks.size).to.equal(15);
  });

  it("are known by the tasks of a folder, the smallest that has them all", async () => {
    const named = async (tasks: string[]): Promise<string | undefined> =>
      (await findBenchmark(await data(tasks)))?.name;
    expect(await named(["agnews", "yahoo"])).to.equal("standard-cl");
    expect(await named(["agnews", "mnli"])).to.equal("long-sequence");
    expect(await named(["task363"])).to.equal("superni");
    expect(await named(["agnews", "topic"])).to.equal(undefined);
    expect(await findBenchmark("/no/such/folder")).to.equal(null);
  });

  it("of a user's own are described by benchmark.json", async () => {
    const folder = await data(["topic", "summary"], { "benchmark.json": JSON.stringify(manifest) });
    const found = await findBenchmark(folder);
    expect(found?.name).to.equal("support-mail");
    expect(found).to.deep.equal(await findBenchmark(folder, "support-mail"));
    expect((await findBenchmark(folder, "superni"))?.name).to.equal("superni");
    expect((await readTask(folder, "summary", { benchmark: found })).metric).to.equal("rouge-l");
    expect(await readTask(folder, "summary")).not.to.have.property("metric");
    // An order's name means the benchmark's own before the published one.
    expect(resolveOrderIn(found, "1")).to.deep.equal(["summary", "topic"]);
    expect(resolveOrderIn(found, "4")).to.deep.equal(taskOrders["4"]);
    expect(resolveOrderIn(found, "topic")).to.deep.equal(["topic"]);
    expect(resolveOrderIn(builtInBenchmarks.get("superni")!, "2")).to.deep.equal(taskOrders["superni-2"]);
  });

  it("say where people get the data that are missing", async () => {
    const long = builtInBenchmarks.get("long-sequence")!;
    const folder = await data(["agnews"]);
    for (const failing of [
      () => listTasks("/no/such/folder", long),
      () => readTask("/no/such/folder", "mnli", { benchmark: long }),
      () => readTask(folder, "mnli", { benchmark: long }),
    ]) {
      const error = await rejection(failing());
      expect(error.code).to.equal("DATA_INVALID");
      expect(error.message).to.match(
        /data of long-sequence: .*github\.com\/cmnfriend\/O-LoRA.*circle-hit\/SAPT/,
      );
    }
    const own = await data(["topic"], { "benchmark.json": JSON.stringify(manifest) });
    const error = await rejection(readTask(own, "summary", { benchmark: await findBenchmark(own) }));
    expect(error.message).to.match(/no task "summary".*data of support-mail: ask the support team/s);
    // A task that is none of the benchmark's would not be there either.
    expect((await rejection(readTask(folder, "mmli", { benchmark: long }))).message).not.to.contain("github");
  });

  for (const [what, change, message] of [
    [
      "an unknown metric",
      { tasks: { topic: { metric: "bleu" } } },
      /"tasks\.topic\.metric" is "bleu"; expected "exact-match" or "rouge-l"/,
    ],
    [
      "an order with another task",
      { orders: { a: ["topic", "subject"] } },
      /benchmark\.json: order "a": .*unknown task "subject"/,
    ],
    [
      "an order with a task twice",
      { orders: { a: ["topic", "topic"] } },
      /benchmark\.json: order "a": task "topic" occurs twice/,
    ],
    [
      "an unknown field",
      { metric: "rouge-l" },
      /expected an object with the fields name, tasks, orders and source/,
    ],
    ["no name", { name: undefined }, /"name" is missing; expected a string/],
  ] as const) {
    it(`refuse a benchmark.json with ${what}`, async () => {
      const folder = await data(["topic"], { "benchmark.json": JSON.stringify({ ...manifest, ...change }) });
      const error = await rejection(findBenchmark(folder));
      expect(error.code).to.equal("DATA_INVALID");
      expect(error.message).to.match(message);
    });
  }

  it("refuse a name that there is not", async () => {
    const folder = await data(["topic"], { "benchmark.json": JSON.stringify(manifest) });
    const error = await rejection(findBenchmark(folder, "superny"));
    expect(error.message).to.match(/"superny"; expected one of .*support-mail.*Did you mean "superni"/);
  });
});
