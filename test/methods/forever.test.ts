import { expect } from "chai";
import { forever } from "../../lib/methods/forever.js";
import {
  beginning,
  Descent,
  farthest,
  gradientAt,
  learnToys,
  memoryKeys,
  rateAt,
  taskKeys,
} from "./toy-run.js";

const steps = 60;

interface Settings {
  daySteps: number;
  replayDays: number[];
  replayRoundSteps: number;
  anchorWeight: number;
  paceDecay: number;
  paceRange: [number, number];
}

const length = (a: number[], b: number[]): number => Math.hypot(...a.map((value, i) => value - b[i]!));

/** By the formulas, a task's steps and the rounds that fall due behind them; which steps rounds followed. */
function slowly(o: Settings): { results: number[][]; rounds: number[][]; paces: number[] } {
  let theta = beginning();
  const rounds: number[][] = [];
  const paces: number[] = [];
  const results = [0, 1, 2].map((task) => {
    const anchor = theta;
    const descent = new Descent();
    const lengths: number[] = [];
    const due = [...o.replayDays];
    while (due.length < 20) due.push(2 * due.at(-1)!);
    const followed: number[] = [];
    let replayed = 0;
    for (let step = 0; step < steps; step++) {
      const next = descent.step(theta, gradientAt(theta, taskKeys(task, step)), rateAt(step, steps));
      lengths.push(length(next, theta));
      theta = next;
      if (task === 0 || lengths.length < o.daySteps) continue;
      const day = lengths.slice(0, o.daySteps).reduce((a, b) => a + b, 0);
      const usual = day / o.daySteps;
      const recent = lengths
        .slice(o.daySteps)
        .reduce((average, now) => (1 - o.paceDecay) * average + o.paceDecay * now, usual);
      const time = lengths.reduce((a, b) => a + b, 0);
      while (time / day >= due[0]!) {
        due.shift();
        followed.push(step);
        const pace = Math.min(o.paceRange[1], Math.max(o.paceRange[0], recent / usual));
        paces.push(pace);
        for (let k = 0; k < o.replayRoundSteps; k++, replayed++) {
          const gradient = gradientAt(theta, memoryKeys(task, 1, replayed)).map(
            (g, i) => g + 2 * o.anchorWeight * pace * (theta[i]! - anchor[i]!),
          );
          theta = descent.step(theta, gradient, rateAt(step, steps));
        }
      }
    }
    rounds.push(followed);
    return theta;
  });
  return { results, rounds, paces };
}

describe("forever", () => {
  const base: Settings = {
    daySteps: 5,
    replayDays: [1, 1.5, 2],
    replayRoundSteps: 4,
    anchorWeight: 0.5,
    paceDecay: 0.3,
    paceRange: [0.5, 3],
  };

  for (const [name, settings] of [
    ["with days and paces as they come", base],
    ["with the pace held within its range", { ...base, paceRange: [0.9, 1.1] }],
    ["where two days pass in one step", { ...base, replayDays: [1, 1.01, 1.02, 3] }],
  ] as const) {
    it(`replays when its days have passed, ${name}`, async () => {
      const { results, rounds, paces } = slowly(settings as Settings);
      const found = await learnToys(forever, { ...settings }, { steps });
      expect(farthest(found, results)).to.be.below(1e-5);
      // The days of the list and those beyond it, by doubling; the first falls due with the day itself.
      expect(rounds[0]).to.deep.equal([]);
      expect(rounds[1]![0]).to.equal(4);
      expect(rounds[1]!.length).to.be.above(settings.replayDays.length);
      expect(new Set(paces).size).to.be.above(1);
    });
  }

  it("never replays where a task is shorter than a day", async () => {
    const settings = { ...base, daySteps: steps + 1 };
    expect(slowly(settings).rounds).to.deep.equal([[], [], []]);
    const found = await learnToys(forever, { ...settings }, { steps });
    expect(farthest(found, slowly(settings).results)).to.be.below(1e-5);
  });
});
