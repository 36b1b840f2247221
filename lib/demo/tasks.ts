import type { TaskRecord } from "../data/records.js";
import type { TaskData } from "../data/tasks.js";
import { Draws } from "./draws.js";
import { asPrompt, QUESTION_END } from "./pretraining.js";
import { writeLetter, type ThemeName } from "./world.js";

/** Records of each split, spread evenly over the labels. */
export interface DemoSizes {
  readonly train: number;
  readonly dev: number;
  readonly test: number;
}

export const DEMO_SIZES: DemoSizes = { train: 320, dev: 32, test: 120 };

interface Definition {
  readonly name: string;
  readonly theme: ThemeName;
  readonly question: string;
  /** Label of each class of the theme. */
  readonly labels: readonly string[];
}

const DEFINITIONS: readonly Definition[] = [
  { name: "guild", theme: "trade", question: "To which guild does the writer belong?", labels: ["sea", "craft", "field", "book"] },
  { name: "cargo", theme: "goods", question: "What kind of cargo does the letter name?", labels: ["food", "cloth", "metal", "timber"] },
  { name: "mood", theme: "mood", question: "In what mood is the letter?", labels: ["joy", "grief", "anger", "fear"] },
  { name: "errand", theme: "errand", question: "What is the purpose of the letter?", labels: ["warning", "invitation", "offer", "request"] },
]; // prettier-ignore

export function demoTasks(seed = 1, sizes: DemoSizes = DEMO_SIZES): TaskData[] {
  return DEFINITIONS.map((definition, number) => {
    const seen = new Set<string>();
    const split = (part: "train" | "dev" | "test", stream: number): TaskRecord[] => {
      const records: TaskRecord[] = [];
      for (let index = 0; records.length < sizes[part]; index++) {
        const draws = new Draws(seed, 100 + 10 * number + stream, index);
        const chosen = records.length % definition.labels.length;
        const letter = writeLetter(draws, {
          themes: [definition.theme],
          classes: { [definition.theme]: chosen },
          sentences: 3,
          talk: false,
        });
        // No letter is in two splits.
        if (seen.has(letter.text)) {
          continue;
        }
        seen.add(letter.text);
        records.push({
          id: `${definition.name}-${part}-${records.length}`,
          instruction: definition.question + QUESTION_END,
          input: asPrompt(letter.text),
          output: definition.labels[chosen] ?? "",
        });
      }
      return records;
    };
    const labels = definition.labels.toSorted();
    return {
      name: definition.name,
      labels,
      train: split("train", 0),
      dev: split("dev", 1),
      test: split("test", 2),
    };
  });
}
