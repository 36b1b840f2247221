import { expect } from "chai";
import { appendFile, mkdtemp, readFile, rm, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, type DefaultTreeAdapterTypes } from "parse5";
import { createReport } from "../../lib/report/report.js";
import { RunFolder } from "../../lib/training/run-folder.js";
import { makeRun } from "./made-run.js";
import { makeBench } from "./made-bench.js";

type Element = DefaultTreeAdapterTypes.Element;

/** All elements of a page, and what a strict parser says against it. */
function parsed(page: string): { elements: Element[]; errors: string[] } {
  const errors: string[] = [];
  const document = parse(page, {
    onParseError: ({ code, startLine }) => errors.push(`${code}, line ${startLine}`),
  });
  const elements: Element[] = [];
  const visit = (node: DefaultTreeAdapterTypes.Node): void => {
    if ("tagName" in node) elements.push(node);
    if ("childNodes" in node) node.childNodes.forEach(visit);
  };
  visit(document);
  return { elements, errors };
}

const attribute = ({ attrs }: Element, name: string): string | undefined =>
  attrs.find((each) => each.name === name)?.value;
const textOf = (node: DefaultTreeAdapterTypes.Node): string =>
  "value" in node ? node.value : "childNodes" in node ? node.childNodes.map(textOf).join("") : "";

function isInside(element: Element, around: Element): boolean {
  for (let each = element.parentNode; each; each = "parentNode" in each ? each.parentNode : null)
    if (each === around) return true;
  return false;
}

async function errorOf(promise: Promise<unknown>): Promise<{ code?: string; message: string }> {
  return promise.then(
    () => ({ message: "no error" }),
    (error: unknown) => error as { code?: string; message: string },
  );
}

describe("a report", () => {
  let root: string;
  before(async () => void (root = await mkdtemp(join(tmpdir(), "rkif-report-"))));
  after(() => rm(root, { recursive: true, force: true }));
  const at = (name: string): string => join(root, name);

  it("is sound HTML: one main, every picture named and described, every table with caption and headers", async () => {
    await makeRun(at("whole/a"), { method: "recurrent-kif" });
    await makeRun(at("whole/b"), { method: "sequential" });
    const page = (await createReport(at("whole"))).html();
    const { elements, errors } = parsed(page);
    expect(errors).to.deep.equal([]);
    const all = (...names: string[]): Element[] => elements.filter(({ tagName }) => names.includes(tagName));
    for (const name of ["html", "main", "nav", "h1", "header", "footer"])
      expect(all(name), name).to.have.length(1);
    expect(attribute(all("html")[0]!, "lang")).to.equal("en");

    const ids = elements.flatMap((element) => attribute(element, "id") ?? []);
    expect(new Set(ids).size, "an id twice").to.equal(ids.length);
    const byId = (id: string): Element | undefined =>
      elements.find((element) => attribute(element, "id") === id);
    const pictures = all("svg");
    // Two dot plots, one comparison over time, 3 tasks * 2 methods, 2 losses, importance, masks, cases.
    expect(pictures).to.have.length(2 + 1 + 6 + 2 + 3);
    for (const picture of pictures) {
      expect(attribute(picture, "role")).to.equal("img");
      const names = attribute(picture, "aria-labelledby")?.split(" ");
      const text = names ? names.map((id) => textOf(byId(id)!)).join(" ") : attribute(picture, "aria-label")!;
      expect(text.trim()).to.match(/\d/, "a description without a figure");
    }
    for (const table of all("table")) {
      const inside = table.childNodes.filter((node): node is Element => "tagName" in node);
      expect(inside.map(({ tagName }) => tagName)).to.deep.equal(["caption", "thead", "tbody"]);
      expect(textOf(inside[0]!).trim()).to.not.equal("");
    }
    for (const header of all("th")) expect(attribute(header, "scope")).to.be.oneOf(["col", "row"]);
    for (const link of all("a"))
      expect(byId(attribute(link, "href")!.slice(1)), attribute(link, "href")).to.exist;
    const levels = all("h1", "h2", "h3").map(({ tagName }) => Number(tagName[1]));
    levels.forEach((level, i) =>
      expect(level - (levels[i - 1] ?? 0), "a heading level left out").to.be.at.most(1),
    );
  });

  it("needs nothing but itself: no script, no address, and a policy that allows neither", async () => {
    await makeRun(at("alone"));
    const page = (await createReport(at("alone"))).html();
    const { elements } = parsed(page);
    const found = elements.filter(({ tagName }) =>
      ["script", "link", "img", "iframe", "object"].includes(tagName),
    );
    expect(found).to.deep.equal([]);
    expect(page).to.not.match(/https?:|@import|url\((?!#)/);
    const policy = elements.find(
      (element) => attribute(element, "http-equiv") === "Content-Security-Policy",
    )!;
    expect(attribute(policy, "content")).to.match(/^default-src 'none'; style-src 'unsafe-inline';/);
  });

  it("escapes every text of the data", async () => {
    const bad = `<script>alert(1)</script>"'&</style></svg><b onclick="x">`;
    await makeRun(at("bad/run"), {
      tasks: [bad, "plain"],
      input: `${bad}\u0000\u202e`,
      options: { preset: bad, model: bad },
    });
    const page = (await createReport(at("bad"))).html();
    const { elements, errors } = parsed(page);
    expect(errors).to.deep.equal([]);
    expect(elements.filter((element) => attribute(element, "onclick") !== undefined)).to.deep.equal([]);
    const allowed = new Set(["b", "bdi", "i", "br", "code"]);
    const bolds = elements.filter(({ tagName }) => tagName === "b").map(textOf);
    expect(
      bolds.every((text) => /^[\w ]+$/.test(text)),
      bolds.join(),
    ).to.equal(true);
    expect(elements.some(({ tagName }) => tagName === "script")).to.equal(false);
    expect(allowed.has("b")).to.equal(true);
    const examples = elements.filter((element) => attribute(element, "class") === "example").map(textOf);
    expect(examples.some((text) => text.startsWith(bad) && text.includes("\ufffd"))).to.equal(true);
  });

  it("has the run's figures", async () => {
    await makeRun(at("figures"));
    const { figures } = await createReport(at("figures"));
    const [line] = figures.comparisons[0]!.lines;
    expect(line).to.deep.include({ variant: "recurrent-kif", runs: 1, learned: 3, tokens: 7200 });
    expect([line!.OP.mean, line!.BWT.mean, line!.learnedInTurn.mean]).to.deep.equal([90, -15, 100]);
    const [variant] = figures.variants;
    expect(variant!.accuracy).to.deep.equal([[100, null, null], [90, 100, null], [80, 90, 100]]); // prettier-ignore
    expect(variant!.seenMean).to.deep.equal([100, 95, 90]);
    expect(variant!.forgetting).to.deep.equal([20, 10, 0]);
    // 24 steps on each task, and 3 cycles of 4 outer steps on the second and the third.
    expect(variant!.training.steps).to.equal(24 + 36 + 36);
    expect(variant!.training.tasks.map(({ from, to, cycles }) => [from, to, cycles])).to.deep.equal([[0, 24, 0], [24, 60, 3], [60, 96, 3]]); // prettier-ignore
    expect(variant!.training.cases[0]).to.deep.equal({ step: 36, onlyIn: 0.1, onlyOut: 0.15, both: 0.25, neither: 0.5 }); // prettier-ignore
    expect(
      variant!.masks!.places.map(({ layer, matrix }) => `${layer}: ${matrix}`).slice(0, 3),
    ).to.deep.equal(
      ["encoder 0: SelfAttention.q A", "encoder 0: SelfAttention.q B", "encoder 0: SelfAttention.v A"], // prettier-ignore
    );
    // Of two tasks' last cycles.
    expect(variant!.masks!.places[0]).to.deep.include({ elements: 40, onlyIn: 4, onlyOut: 6, both: 10 });
    const [first] = variant!.answers;
    expect(first).to.deep.include({ task: "north", records: 10, kept: 8, lost: 2, gained: 0 });
    expect(first!.belongs).to.deep.equal({ right: 8, own: 0, others: [0, 0, 2], none: 0 });
    expect(first!.examples.lost[0]).to.deep.equal({ prompt: "text 8", reference: "north yes", inTurn: "north yes", now: "west yes" }); // prettier-ignore
  });

  it("shows every merge of a method that weighs task vectors as a whole", async () => {
    const run = await makeRun(at("merges"), { method: "aim-merging" });
    const report = await createReport(run);
    const { training, masks } = report.figures.variants[0]!;
    expect(masks).to.equal(null);
    expect([training.cases, training.importance]).to.deep.equal([[], { inner: [], outer: [] }]);
    // 24 steps on the first task; on the second a merge after every 8, with 4 steps on the memory before it.
    expect(training.merges).to.have.length(6);
    expect(training.merges.slice(0, 2)).to.deep.equal([
      { task: "south", step: 24 + 12, taskStep: 8, weightIn: 0.6, weightOut: 0.4, interval: 8 },
      { task: "south", step: 24 + 24, taskStep: 16, weightIn: 0.5, weightOut: 0.5, interval: 7 },
    ]);
    const { elements, errors } = parsed(report.html());
    expect(errors).to.deep.equal([]);
    const section = elements.find((element) => attribute(element, "id") === "merges")!;
    const parts = elements.filter((element) => isInside(element, section));
    const named = (name: string): Element[] => parts.filter(({ tagName }) => tagName === name);
    expect(named("svg")).to.have.length(2);
    const [intervals, weights, every] = named("table").map((table) =>
      parts.filter((part) => part.tagName === "tr" && isInside(part, table)).map((row) =>
        row.childNodes.filter((cell) => "tagName" in cell).map(textOf),
      ),
    ); // prettier-ignore
    expect(intervals!.slice(1)).to.deep.equal([["south", "3", "8", "6", "6", "8"], ["west", "3", "8", "6", "6", "8"]]); // prettier-ignore
    expect(weights![1]).to.deep.equal(["south", "3", "0.567", "0.433"]);
    expect(every).to.have.length(1 + 6);
    expect(every![2]).to.deep.equal(["south", "16", "0.5", "0.5", "7"]);
    expect(report.csv().get("merges.csv")).to.include("south,36,8,0.6,0.4,8\r\n");
  });

  it("lists merges in CSV alone where there are hundreds", async () => {
    const run = await makeRun(at("many-merges"), { method: "aim-merging", steps: 8 * 400 });
    const report = await createReport(run);
    const page = report.html();
    expect(parsed(page).errors).to.deep.equal([]);
    expect(page).to.include("JSON and CSV list all 800 merges").and.to.include("one of 3 is drawn");
    expect(report.csv().get("merges.csv")!.split("\r\n")).to.have.length(1 + 800 + 1);
  });

  it("groups seeds, tells variants apart by what differs, and gives deviations", async () => {
    for (const seed of [1, 2]) await makeRun(at(`group/a-${seed}`), { seed });
    await makeRun(at("group/b"), { options: { keepFraction: 0.1 } });
    const { figures } = await createReport(at("group"));
    expect(figures.variants.map(({ variant, seeds }) => [variant, seeds])).to.deep.equal([
      ["recurrent-kif, keepFraction 0.2", [1, 2]],
      ["recurrent-kif, keepFraction 0.1", [1]],
    ]);
    const [twice, once] = figures.comparisons[0]!.lines;
    expect([twice!.OP, once!.OP]).to.deep.equal([{ mean: 90, deviation: 0 }, { mean: 90, deviation: null }]); // prettier-ignore
    expect(figures.configuration.runs.map(({ options }) => options)).to.deep.equal([
      { seed: 1, keepFraction: 0.2 },
      { seed: 2, keepFraction: 0.2 },
      { seed: 1, keepFraction: 0.1 },
    ]);
    expect(figures.configuration.shared).to.include({ method: "recurrent-kif", batchSize: 8 });
  });

  it("shows a run under way as far as it is, at any moment", async () => {
    const run = await makeRun(at("under-way"), { learned: 1 });
    const { metrics, matrix, layout } = new RunFolder(run);
    // A line that is being written.
    await appendFile(metrics, '{"event":"step","task":"so');
    const report = await createReport(run);
    const { figures } = report;
    expect(figures.notes).to.deep.equal(["under-way is under way: 1 of 2 tasks learned."]);
    expect(figures.variants[0]).to.deep.include({ learned: 1, accuracy: [[100, null]] });
    expect(figures.variants[0]!.training.tasks.map(({ task }) => task)).to.deep.equal(["north", "south"]);
    expect(parsed(report.html()).errors).to.deep.equal([]);
    // Before the first evaluation there is no matrix; runs of earlier versions have no layout.
    for (const file of [matrix, layout]) await unlink(file);
    await rm(join(run, "predictions"), { recursive: true });
    const early = await createReport(run);
    expect(early.figures.variants[0]).to.deep.include({ learned: 0, accuracy: [], answers: [] });
    expect(parsed(early.html()).errors).to.deep.equal([]);
    await unlink(metrics);
    expect(parsed((await createReport(run)).html()).errors).to.deep.equal([]);
  });

  it("shows tasks that were learned together, which have a last row alone", async () => {
    const run = await makeRun(at("together"), { method: "multi-task" });
    const folder = new RunFolder(run);
    const nothing = [null, null, null];
    const matrix = {
      tasks: ["north", "south", "west"],
      R: [nothing, nothing, [80, 90, 100]],
      baseline: nothing,
    };
    await writeFile(folder.matrix, JSON.stringify(matrix));
    await writeFile(
      folder.metrics,
      `${JSON.stringify({ event: "task-start", task: "3 tasks together", index: 0 })}\n`,
    );
    for (const name of ["01-north", "02-south"])
      await rm(join(run, "predictions", name), { recursive: true });
    const report = await createReport(run);
    const { notes, variants, comparisons } = report.figures;
    expect(notes).to.deep.equal([]);
    expect(comparisons[0]!.lines[0]).to.deep.include({ learned: 3, BWT: { mean: null, deviation: null } });
    expect(comparisons[0]!.lines[0]!.OP.mean).to.equal(90);
    expect(variants[0]!.answers[0]).to.deep.include({ kept: null, lost: null, belongs: { right: 8, own: 0, others: [0, 0, 2], none: 0 } }); // prettier-ignore
    expect(report.html()).to.include("after west").and.not.include("after south");
  });

  it("compares runs that are as far, and says which are behind", async () => {
    await makeRun(at("behind/a-1"), { seed: 1 });
    await makeRun(at("behind/a-2"), { seed: 2, learned: 1 });
    await makeRun(at("behind/b"), { method: "sequential", learned: 2 });
    const { figures } = await createReport(at("behind"));
    expect(figures.comparisons).to.have.length(1);
    expect(figures.comparisons[0]!.lines.map(({ runs, learned }) => [runs, learned])).to.deep.equal([[1, 3], [1, 2]]); // prettier-ignore
    expect(figures.notes).to.deep.equal([
      "a-2 is under way: 1 of 3 tasks learned.",
      "b is under way: 2 of 3 tasks learned.",
    ]);
  });

  it("names a file that is broken, and leaves the run out where there are others", async () => {
    const run = await makeRun(at("broken/a"));
    const { metrics } = new RunFolder(run);
    await writeFile(metrics, `{"event":\n${await readFile(metrics, "utf8")}`);
    const alone = await errorOf(createReport(run));
    expect(alone.code).to.equal("RUN_INVALID");
    expect(alone.message).to.match(/metrics\.jsonl, line 1: is not JSON/);
    await makeRun(at("broken/b"));
    const { figures } = await createReport(at("broken"));
    expect(figures.variants).to.have.length(1);
    expect(figures.notes[0]).to.match(/^a is left out: .*line 1/);
  });

  it("refuses a folder without runs", async () => {
    await writeFile(at("file"), "");
    for (const path of [at("nowhere"), at("file")])
      expect(await errorOf(createReport(path))).to.include({ code: "RUN_INVALID" });
    const { message } = await errorOf(createReport(await mkdtemp(at("empty-"))));
    expect(message).to.match(/holds no run \(no config\.json .*\) and no bench \(no bench\.json\)/);
  });

  it("is the same for the same content", async () => {
    await makeRun(at("same"));
    const page = (await createReport(at("same"))).html();
    expect((await createReport(at("same"))).html()).to.equal(page);
  });

  it("exports CSV that spreadsheets do not run", async () => {
    await makeRun(at("csv/run"), { tasks: ["=1+1", 'a "quoted", one'] });
    const csv = (await createReport(at("csv"))).csv();
    expect([...csv.keys()].sort()).to.deep.equal(["accuracy", "answers", "cases", "comparison", "confusion", "forgetting", "importance", "loss", "masks", "seen-mean"].map((name) => `${name}.csv`)); // prettier-ignore
    const order = '"=1+1, a ""quoted"", one"'.replace("=", "'=");
    expect(csv.get("forgetting.csv")).to.equal(
      `method,order,task,forgetting\r\nrecurrent-kif,${order},'=1+1,10\r\nrecurrent-kif,${order},"a ""quoted"", one",0\r\n`,
    );
  });

  it("shows a bench by its plan: failed cells and those that wait are told", async () => {
    const bench = await makeBench(at("bench"), {
      tasks: ["north", "south", "west"],
      variants: ["plain", "other"],
      orders: 2,
      seeds: [1, 2],
      failed: "runs/other/order-2/seed-1",
      waiting: "runs/other/order-2/seed-2",
    });
    const report = await createReport(bench);
    const { figures } = report;
    expect(figures.notes.slice(0, 2)).to.deep.equal([
      "runs/other/order-2/seed-1 failed: it broke",
      "1 of 8 cells have not been run yet.",
    ]);
    expect(figures.comparisons).to.have.length(1);
    const [plain, other] = figures.comparisons[0]!.lines;
    expect(plain).to.deep.include({ variant: "plain", runs: 4, seconds: 12 });
    expect(plain!.orders.map(({ order, runs }) => [order, runs])).to.deep.equal([["order 1", 2], ["order 2", 2]]); // prettier-ignore
    expect(other).to.deep.include({ variant: "other", runs: 2 });
    expect(parsed(report.html()).errors).to.deep.equal([]);
  });

  it("stays below 3 MB for a bench of 15 tasks and 12 methods with 3 orders", async function () {
    this.timeout(60_000);
    const tasks = Array.from({ length: 15 }, (_, i) => `task-${i + 1}`);
    const variants = Array.from({ length: 12 }, (_, i) => `method-${i + 1}`);
    const bench = await makeBench(at("large"), { tasks, variants, orders: 3, seeds: [1], layers: 24, records: 40, steps: 200 }); // prettier-ignore
    const page = (await createReport(bench)).html();
    expect(Buffer.byteLength(page)).to.be.below(3e6).and.above(5e5);
    expect(parsed(page).errors).to.deep.equal([]);
  });
});
