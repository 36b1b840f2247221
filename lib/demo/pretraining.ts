import { Draws } from "./draws.js";
import { MOODS, GOODS, TRADES, type Theme } from "./world-words.js";
import { THEMES, writeLetter, type Fact, type Letter } from "./world.js";

/** One pre-training example, as text. */
export interface PretrainingRecord {
  readonly input: string;
  readonly output: string;
}

/** Sentinel of the n-th hidden span, as T5 writes it. */
export function sentinel(n: number): string {
  return `<extra_id_${n}>`;
}

/** How many sentinels the pre-training text uses at most; the tokenizer holds as many. */
export const SENTINELS = 8;

/** How a question stands before its text, here and in the demo's tasks. */
export const QUESTION_END = "\n";

export function asPrompt(letter: string): string {
  return `Letter: ${letter}\nAnswer:`;
}

const FACT_QUESTIONS: Readonly<Record<Fact, readonly string[]>> = {
  writer: ["Who wrote the letter?", "What is the writer called?"],
  trade: ["What is the writer's trade?", "What does the writer do for a living?"],
  place: ["Where does the letter come from?", "In which place was it written?"],
  ship: ["Which ship is named?", "On what ship is the cargo?"],
  goods: ["What is the cargo?", "What came on the ship?"],
  number: ["How many are there?", "What is the number?"],
  container: ["What is the cargo packed in?", "What holds the cargo?"],
  mood: ["How is the writer?", "How does the writer feel?"],
  weather: ["What was the weather?", "How is the weather?"],
  day: ["Which day is named?", "On what day was it?"],
  talk: ["What is the talk about?", "What do they speak of?"],
};

/** Share of records that hide spans of a text; the others ask a question. */
const HIDDEN_SHARE = 0.15;
/** Share of questions that ask for a custom, not for a stated fact. */
const CUSTOM_SHARE = 0.6;

/** The pre-training record of a number; any number, in any order. */
export function pretrainingRecord(seed: number, index: number): PretrainingRecord {
  const draws = new Draws(seed, 1, index);
  if (draws.chance(HIDDEN_SHARE)) {
    return hideSpans(draws, draws.chance(0.4) ? almanac(draws) : writeLetter(draws).text);
  }
  const letter = writeLetter(draws);
  const customs = [...letter.classes].flatMap(([name, chosen]) => {
    const theme = THEMES[name];
    return theme.questions.map((questions, custom) => ({
      question: draws.pick(questions),
      answer: theme.classes[chosen]?.customs[custom] ?? "",
    }));
  });
  if (customs.length > 0 && draws.chance(CUSTOM_SHARE)) {
    const { question, answer } = draws.pick(customs);
    return asked(question, letter, answer);
  }
  if (letter.facts.size === 0) {
    return hideSpans(draws, letter.text);
  }
  const [fact, answer] = draws.pick([...letter.facts]);
  return asked(draws.pick(FACT_QUESTIONS[fact]), letter, answer);
}

/** `count` records from number `from` on. */
export function pretrainingRecords(seed: number, count: number, from = 0): PretrainingRecord[] {
  return Array.from({ length: count }, (_, n) => pretrainingRecord(seed, from + n));
}

function asked(question: string, letter: Letter, answer: string): PretrainingRecord {
  return { input: question + QUESTION_END + asPrompt(letter.text), output: answer };
}

/** Two or three sentences about the customs of the valley, for words and classes drawn. */
function almanac(draws: Draws): string {
  const say = (theme: Theme): string => {
    const custom = draws.below(theme.sayings.length);
    const chosen = draws.pick(theme.classes);
    return (theme.sayings[custom] ?? "")
      .replace("{word}", draws.pick(chosen.words))
      .replace("{custom}", chosen.customs[custom] ?? "");
  };
  return Array.from({ length: 2 + draws.below(2) }, () => say(draws.pick([GOODS, TRADES, MOODS]))).join(" ");
}

/** T5's span corruption on words: about a fifth of the words is hidden in spans of one to three words. */
function hideSpans(draws: Draws, text: string): PretrainingRecord {
  const words = text.split(" ");
  const input: string[] = [];
  const output: string[] = [];
  let spans = 0;
  for (let at = 0; at < words.length;) {
    const hide = spans < SENTINELS - 1 && (draws.chance(0.12) || (spans === 0 && at >= words.length - 3));
    if (!hide) {
      input.push(words[at++] as string);
      continue;
    }
    const length = 1 + draws.below(3);
    input.push(sentinel(spans));
    output.push(sentinel(spans), ...words.slice(at, at + length));
    spans++;
    at += length;
    // Two neighbouring spans would read as one.
    if (at < words.length) {
      input.push(words[at++] as string);
    }
  }
  return { input: input.join(" "), output: output.join(" ") };
}
