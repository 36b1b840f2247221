import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect } from "chai";
import { taskOrders, resolveOrder } from "../../lib/data/orders.js";
import { listTasks, readTask } from "../../lib/data/tasks.js";
import { folderWith, rejection, removeFolders } from "./folder.js";

const records = (...outputs: string[]): string =>
  JSON.stringify(outputs.map((output, i) => ({ input: `question ${i}`, output })));

describe("task folders", () => {
  afterEach(removeFolders);

  it("reads the sets of a task; dev may be missing; labels are the distinct outputs of train", async () => {
    const folder = await folderWith({
      "train/sums.json": records("b", "a", "b"),
      "train/README.md": "not a task",
      "dev/sums.jsonl": '{"input": "x", "output": "a"}\n',
      "test/sums.json": records("a", "odd"),
      "train/words.json": records("c"),
      "test/words.json": records("d"),
    });
    const sums = await readTask(folder, "sums");
    expect([sums.train.length, sums.dev.length, sums.test.length]).to.deep.equal([3, 1, 2]);
    expect(sums.labels).to.deep.equal(["a", "b"]);
    expect((await readTask(folder, "words")).dev).to.deep.equal([]);
    expect([...(await listTasks(folder)).keys()]).to.deep.equal(["sums", "words"]);
  });

  it("limits each set to its first records, and labels not at all", async () => {
    const folder = await folderWith({
      "train/t.json": records("a", "b", "c"),
      "dev/t.json": records("a", "b", "c"),
      "test/t.json": records("a", "b", "c"),
    });
    const task = await readTask(folder, "t", { trainLimit: 1, devLimit: 2, testLimit: 50 });
    expect(task.train.map((record) => record.output)).to.deep.equal(["a"]);
    expect(task.dev.map((record) => record.output)).to.deep.equal(["a", "b"]);
    expect(task.test.length).to.equal(3);
    expect(task.labels).to.deep.equal(["a", "b", "c"]);
    expect((await rejection(readTask(folder, "t", { trainLimit: 0 }))).message).to.contain("trainLimit is 0");
  });

  it("refuses an unknown task with the nearest name and the list", async () => {
    const folder = await folderWith({ "train/agnews.json": records("a"), "test/yelp.json": records("a") });
    const near = await rejection(readTask(folder, "agnew"));
    expect(near.code).to.equal("DATA_INVALID");
    expect(near.message).to.equal(
      `${folder}: no task "agnew". Did you mean "agnews"? Tasks there: agnews, yelp`,
    );
    expect((await rejection(readTask(folder, "completely else"))).message).not.to.contain("Did you mean");
    expect((await rejection(readTask(folder, "../train/agnews"))).message).to.contain("no task");
  });

  it("refuses a missing test set, and a missing training set unless told that it may be", async () => {
    const folder = await folderWith({ "train/a.json": records("x"), "test/b.json": records("y", "x", "y") });
    expect((await rejection(readTask(folder, "a"))).message).to.contain('task "a" has no test file');
    expect((await rejection(readTask(folder, "b"))).message).to.contain('task "b" has no train file');
    const tested = await readTask(folder, "b", { trainMayBeMissing: true });
    expect(tested.train).to.deep.equal([]);
    expect(tested.labels).to.deep.equal(["x", "y"]);
  });

  it("refuses a folder without tasks, and two files for one set", async () => {
    const empty = await folderWith({ "train.json": "[]" });
    expect((await rejection(listTasks(empty))).message).to.contain("no task found; expected folders train/");
    expect((await rejection(listTasks(join(empty, "nowhere")))).message).to.contain(
      "there is no such folder",
    );
    const twice = await folderWith({ "train/a.json": "[]", "train/a.jsonl": "[]" });
    expect((await rejection(listTasks(twice))).message).to.contain('both the train set of task "a"');
  });

  it("names the whole path in a record's error", async () => {
    const folder = await folderWith({ "train/a.json": '[{"input": "x"}]', "test/a.json": records("x") });
    const { message } = await rejection(readTask(folder, "a"));
    expect(message).to.contain(`${join(folder, "train", "a.json")}: record 0 has no "output"`);
  });

  const benchmarks = resolve(import.meta.dirname, "../../../shared/benchmarks");
  for (const [benchmark, order] of [
    ["long-sequence", "1"],
    ["superni", "superni-1"],
  ] as const) {
    it(`reads every task of the ${benchmark} benchmark`, async function () {
      if (!existsSync(benchmarks)) return this.skip();
      this.timeout(20_000);
      const folder = join(benchmarks, benchmark);
      const names = [...(await listTasks(folder)).keys()];
      expect(resolveOrder(order, names).sort()).to.deep.equal(names);
      for (const name of names) {
        const task = await readTask(folder, name);
        expect(task.train.length, name).to.be.above(100);
        expect(task.test.length, name).to.be.above(10);
      }
    });
  }
});

describe("task orders", () => {
  it("knows the published orders: 15 tasks or 4, the same ones in each", () => {
    const sorted = (name: string): string[] => [...taskOrders[name]!].sort();
    expect(new Set(taskOrders["1"]).size).to.equal(15);
    expect(sorted("2")).to.deep.equal(sorted("1"));
    expect(sorted("3")).to.deep.equal(sorted("1"));
    expect(sorted("4")).to.deep.equal(["agnews", "amazon", "dbpedia", "yahoo"]);
    expect(sorted("5")).to.deep.equal(sorted("4"));
    expect(sorted("6")).to.deep.equal(sorted("4"));
    expect(new Set(taskOrders["superni-1"]).size).to.equal(15);
    expect(sorted("superni-2")).to.deep.equal(sorted("superni-1"));
    expect(resolveOrder("4")).to.deep.equal(["dbpedia", "amazon", "yahoo", "agnews"]);
  });

  it("takes lists with commas and arrays", () => {
    expect(resolveOrder(" yelp, agnews ,cb")).to.deep.equal(["yelp", "agnews", "cb"]);
    expect(resolveOrder("yelp")).to.deep.equal(["yelp"]);
    expect(resolveOrder(["1", "yelp"])).to.deep.equal(["1", "yelp"]);
  });

  it("refuses unknown, repeated and empty names", () => {
    const known = ["agnews", "yelp"];
    expect(() => resolveOrder("yelp,agnew", known)).to.throw('unknown task "agnew". Did you mean "agnews"?');
    expect(() => resolveOrder("4", known)).to.throw('unknown task "dbpedia"');
    expect(() => resolveOrder("yelp,agnews,yelp")).to.throw('task "yelp" occurs twice');
    expect(() => resolveOrder("yelp,,agnews")).to.throw("has an empty name in it");
    expect(() => resolveOrder([])).to.throw("has no tasks");
  });
});
