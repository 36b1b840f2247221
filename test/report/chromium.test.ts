import { expect } from "chai";
import { existsSync } from "node:fs";
import { readFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium, type Browser, type Page } from "playwright-core";
import type { AxeResults } from "axe-core";
import { createReport } from "../../lib/report/report.js";
import { makeBench } from "./made-bench.js";

const names = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/** A Chromium on the path: none is downloaded. */
function findChromium(): string | undefined {
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  return folders
    .flatMap((folder) => names.map((name) => join(folder, name)))
    .find((file) => existsSync(file));
}

const executable = findChromium();
const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const skipped = executable === undefined ? " (skipped: no Chromium on the PATH)" : "";

(executable === undefined ? describe.skip : describe)(
  `the report of a bench of 15 tasks in Chromium${skipped}`,
  function () {
    this.timeout(120_000);
    let root: string, address: string, browser: Browser;
    before(async () => {
      root = await mkdtemp(join(tmpdir(), "rkif-chromium-"));
      const tasks = Array.from({ length: 15 }, (_, i) => `task-${i + 1}`);
      const variants = ["recurrent-kif", "a variant, with a long name of options"];
      const bench = await makeBench(join(root, "bench"), {
        tasks,
        variants,
        orders: 1,
        seeds: [1, 2],
        layers: 3,
      });
      const file = join(root, "report.html");
      await writeFile(file, (await createReport(bench)).html());
      address = pathToFileURL(file).href;
      // The tests may run as root in a container, where Chromium's own sandbox does not start.
      browser = await chromium.launch({ executablePath: executable!, args: ["--no-sandbox"] });
    });
    after(async () => {
      await browser?.close();
      await rm(root, { recursive: true, force: true });
    });

    /** A page with what it complained of and asked for. */
    async function opened(
      options: Parameters<Browser["newContext"]>[0] = {},
    ): Promise<{ page: Page; said: string[]; asked: string[] }> {
      const page = await (await browser.newContext(options)).newPage();
      const [said, asked]: string[][] = [[], []];
      page.on("console", (message) => said!.push(message.text()));
      page.on("pageerror", (error) => said!.push(error.message));
      page.on("request", (request) => asked!.push(request.url()));
      await page.goto(address);
      return { page, said: said!, asked: asked! };
    }

    for (const colorScheme of ["light", "dark"] as const) {
      it(`says nothing on the console, asks for nothing and shows every picture, ${colorScheme}`, async () => {
        const { page, said, asked } = await opened({ colorScheme });
        expect(said).to.deep.equal([]);
        expect(asked).to.deep.equal([address]);
        const pictures = page.getByRole("img");
        // Dot plots, comparison over time, 15 tasks * 2 variants; and loss, importance, masks and cases of both.
        expect(await pictures.count()).to.equal(2 + 1 + 30 + 4 * 2);
        for (const picture of await pictures.all()) {
          const box = await picture.boundingBox();
          expect(box!.width, "width").to.be.above(90);
          expect(box!.height, "height").to.be.above(30);
        }
        const unnamed = await page.evaluate(
          "[...document.querySelectorAll('svg')].filter((svg) => !svg.ariaLabel && !svg.querySelector('title')?.textContent).length",
        );
        expect(unnamed).to.equal(0);
      });

      it(`passes axe with everything unfolded, ${colorScheme}`, async () => {
        // The page's own policy lets no script in, and so not this one.
        const { page } = await opened({ colorScheme, bypassCSP: true });
        await page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))");
        await page.addScriptTag({ content: await readFile(axe, "utf8") });
        const found = await page.evaluate<AxeResults>("axe.run()");
        expect(found.violations.map(({ id, nodes }) => `${id}: ${nodes[0]!.html}`)).to.deep.equal([]);
        expect(found.passes.map(({ id }) => id)).to.include.members([
          "color-contrast",
          "svg-img-alt",
          "heading-order",
        ]);
      });
    }

    it("is walked through with the keyboard, every stop visible", async () => {
      const { page } = await opened();
      await page.keyboard.press("Tab");
      expect(await page.evaluate("document.activeElement.className")).to.equal("skip");
      await page.keyboard.press("Enter");
      expect(await page.evaluate("document.activeElement.id")).to.equal("main");
      const stops = new Set<string>();
      for (let i = 0; i < 12; i++) {
        await page.keyboard.press("Tab");
        const style = await page.evaluate<string>("getComputedStyle(document.activeElement).outlineStyle");
        expect(style, "no outline on what has the focus").to.equal("solid");
        stops.add(await page.evaluate<string>("document.activeElement.tagName"));
      }
      expect([...stops]).to.include("DIV");
    });

    for (const width of [360, 1280]) {
      it(`fits a window of ${width} pixels: what is wider scrolls within itself`, async () => {
        const { page } = await opened({ viewport: { width, height: 800 } });
        const wider = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
        expect(wider).to.be.at.most(0);
      });
    }
  },
);
