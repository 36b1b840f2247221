import { PassThrough } from "node:stream";
import { expect } from "chai";
import { createProgress } from "../../lib/report/progress.js";

function recorder(isTTY: boolean): { stream: PassThrough & { isTTY: boolean }; text: () => string } {
  const stream = Object.assign(new PassThrough(), { isTTY, columns: 120 });
  let written = "";
  stream.on("data", (chunk: Buffer) => (written += chunk.toString()));
  return { stream, text: () => written };
}

describe("progress", () => {
  it("writes plain lines where there is no terminal, at most one an interval", () => {
    const { stream, text } = recorder(false);
    let seconds = 100;
    const progress = createProgress(stream, { intervalSeconds: 5, now: () => seconds * 1000 });
    progress.start("agnews: inner loop", 300);
    for (let step = 1; step <= 200; step++) {
      seconds += 0.1;
      progress.update(step, `loss ${step}`);
    }
    progress.start("yelp", 10);
    progress.stop();
    progress.stop();
    const lines = text().split("\n");
    expect(lines[0]).to.equal("agnews: inner loop: 0/300 (0 %)");
    expect(lines[1]).to.match(/^agnews: inner loop: 5[01]\/300 \(1[67] %\), loss 5[01]$/);
    // 20 seconds at 5 seconds a line, and the first one.
    expect(lines.filter((line) => line !== "").length).to.be.within(4, 5);
    expect(text()).to.match(/^[\x20-\x7e\n]*$/);
  });

  it("draws a bar on a terminal, takes it away at the end, and leaves interrupts to others", () => {
    const { stream, text } = recorder(true);
    const listeners = process.listenerCount("SIGINT");
    const progress = createProgress(stream);
    progress.start("agnews", 4);
    progress.update(3, "loss 0.5");
    expect(process.listenerCount("SIGINT")).to.equal(listeners);
    progress.stop();
    progress.update(4);
    expect(text()).to.contain("agnews [").and.to.contain("3/4").and.to.contain("loss 0.5");
    // The line is cleared and the cursor shown again.
    expect(text()).to.match(/\x1b\[\?25h[^]*\x1b\[2K$/); // eslint-disable-line no-control-regex
  });

  it("ends the piece of work before when a new one starts", () => {
    const { stream, text } = recorder(true);
    const progress = createProgress(stream);
    progress.start("first", 2);
    progress.start("second", 5);
    progress.stop();
    expect(text().indexOf("second")).to.be.above(text().indexOf("first"));
    expect(text().split("\x1b[?25h").length - 1).to.equal(2);
  });
});
