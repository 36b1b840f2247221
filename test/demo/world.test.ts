import { expect } from "chai";
import { pretrainingRecord, pretrainingRecords, SENTINELS } from "../../lib/demo/pretraining.js";
import { demoTasks, DEMO_SIZES } from "../../lib/demo/tasks.js";
import { ERRANDS, GOODS, MOODS, TRADES } from "../../lib/demo/world-words.js";

const THEMES = [GOODS, TRADES, MOODS, ERRANDS];
const records = pretrainingRecords(1, 20_000);

describe("the pre-training text", () => {
  it("is a function of seed and number alone", () => {
    expect(pretrainingRecord(1, 4321)).to.deep.equal(records[4321]);
    expect(pretrainingRecords(1, 3, 500)).to.deep.equal(records.slice(500, 503));
    expect(pretrainingRecords(2, 50)).to.not.deep.equal(records.slice(0, 50));
  });

  it("fills in every name in braces", () => {
    for (const { input, output } of records) {
      expect(input + output).to.not.match(/[{}]|undefined/);
      expect(output).to.not.equal("");
    }
  });

  it("hides spans so that input and output together are the whole text again", () => {
    const hidden = records.filter(({ output }) => output.startsWith("<extra_id_0>"));
    expect(hidden.length).to.be.within(0.1 * records.length, 0.25 * records.length);
    for (const { input, output } of hidden) {
      const named = [...output.matchAll(/<extra_id_(\d+)>/g)].map((match) => Number(match[1]));
      expect(named).to.deep.equal(named.map((_, n) => n));
      expect(named.length).to.be.at.most(SENTINELS);
      const spans = output.split(/ ?<extra_id_\d+> /).slice(1);
      const whole = input.replace(/<extra_id_(\d+)>/g, (_, n: string) => spans[Number(n)] ?? "?");
      expect(whole)
        .to.match(/^[A-Z].*\.$/)
        .and.not.include("<");
    }
  });

  it("answers a question for a stated fact with words of the letter", () => {
    const asked = records.filter(({ input }) => input.startsWith("What is the cargo?\n"));
    expect(asked.length).to.be.greaterThan(50);
    for (const { input, output } of asked) {
      expect(input.split("\nLetter: ")[1]).to.include(output);
    }
  });

  it("answers a question for a custom with that of the word's class", () => {
    for (const theme of [GOODS, TRADES, MOODS]) {
      theme.questions.forEach((questions, custom) => {
        const asked = records.filter(({ input }) => questions.includes(input.split("\n")[0] ?? ""));
        expect(asked.length).to.be.greaterThan(100);
        for (const { input, output } of asked) {
          const letter = (input.split("\nLetter: ")[1] ?? "").split(/[^a-zA-Z]+/);
          const classes = theme.classes.filter(({ words }) => words.some((word) => letter.includes(word)));
          expect(
            classes.map(({ customs }) => customs[custom]),
            input,
          ).to.deep.equal([output]);
        }
      });
    }
  });
});

describe("the words of the world", () => {
  it("belong to one class each", () => {
    const words = THEMES.flatMap(({ classes }) => classes.flatMap((one) => one.words));
    expect(new Set(words).size).to.equal(words.length);
  });

  it("name every custom once, so that an answer tells its class", () => {
    const customs = THEMES.flatMap(({ classes }) => classes.flatMap((one) => one.customs));
    expect(new Set(customs).size).to.equal(customs.length);
  });
});

describe("the demo's tasks", () => {
  const tasks = demoTasks();

  it("are the same at every call", () => {
    expect(demoTasks()).to.deep.equal(tasks);
  });

  it("hold the promised number of records, as many of each label", () => {
    for (const task of tasks) {
      for (const part of ["train", "dev", "test"] as const) {
        expect(task[part].length, task.name).to.equal(DEMO_SIZES[part]);
        for (const label of task.labels) {
          const count = task[part].filter(({ output }) => output === label).length;
          expect(count, `${task.name} ${part} ${label}`).to.equal(DEMO_SIZES[part] / task.labels.length);
        }
      }
    }
  });

  it("share no letter between train, dev and test", () => {
    for (const { train, dev, test } of tasks) {
      const inputs = [...train, ...dev, ...test].map(({ input }) => input);
      expect(new Set(inputs).size).to.equal(inputs.length);
    }
  });

  it("ask what was never asked in pre-training, and answer with labels that answered nothing there", () => {
    const questions = new Set(records.map(({ input }) => input.split("\n")[0]));
    const answers = new Set(records.map(({ output }) => output));
    for (const { train, labels } of tasks) {
      expect(questions).to.not.include((train[0]?.instruction ?? "").trim());
      for (const label of labels) {
        expect(answers).to.not.include(label);
      }
    }
  });
});
