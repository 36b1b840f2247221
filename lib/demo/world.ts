import type { Draws } from "./draws.js";
import {
  CONTAINERS,
  DAYS,
  ERRANDS,
  FEASTS,
  GOODS,
  MOODS,
  NAMES,
  NUMBERS,
  PLACES,
  SHIPS,
  SPOTS,
  TALK,
  TOOLS,
  TRADES,
  WEATHERS,
  type Theme,
} from "./world-words.js";

/** What varies by class in a letter. */
export type ThemeName = "goods" | "trade" | "mood" | "errand";

export const THEMES: Readonly<Record<ThemeName, Theme>> = {
  goods: GOODS,
  trade: TRADES,
  mood: MOODS,
  errand: ERRANDS,
};

export const THEME_NAMES: readonly ThemeName[] = ["trade", "goods", "mood", "errand"];

/** A letter: what it says and the facts it was written from. */
export interface Letter {
  readonly text: string;
  /** Facts that the text states word by word, by name; a letter states only some. */
  readonly facts: ReadonlyMap<Fact, string>;
  /** Class of each theme that the text speaks of. */
  readonly classes: ReadonlyMap<ThemeName, number>;
}

export type Fact =
  | "writer"
  | "trade"
  | "place"
  | "ship"
  | "goods"
  | "number"
  | "container"
  | "mood"
  | "weather"
  | "day"
  | "talk";

/** What a letter must hold; everything else is drawn. */
export interface LetterWish {
  /** The themes the letter speaks of, at least. */
  readonly themes?: readonly ThemeName[];
  /** Class of a theme, where it is not to be drawn. */
  readonly classes?: Partial<Record<ThemeName, number>>;
  /** Number of sentences, 1..6. Default: 1 to 3. */
  readonly sentences?: number;
  /** Whether talk may be quoted. Default true. */
  readonly talk?: boolean;
}

type SentenceKind = ThemeName | "weather" | "talk";

const TRADE_SENTENCES = [
  "{writer} the {trade} writes from {place}.",
  "Word from {place}, by {writer} the {trade}.",
  "I am {writer}, {trade} of {place}.",
  "{writer} sends this, a {trade} in {place}.",
];
const GOODS_SENTENCES = [
  "The {ship} brought {number} {container} of {goods}.",
  "{number} {container} of {goods} came on the {ship}.",
  "The {ship} lies here with {goods}, {number} {container}.",
  "We wait for the {ship} and its {container} of {goods}.",
];
const MOOD_SENTENCES = [
  "I am {mood} today.",
  "All of us are {mood} here.",
  "The whole house is {mood} since {day}.",
  "My sister is {mood} and so am I.",
  "Never was I so {mood}.",
];
const WEATHER_SENTENCES = [
  "We have had {weather} since {day}.",
  "On {day} there was {weather}.",
  "No end of {weather} here.",
];
const TALK_SENTENCES = [
  "At the inn they talk of {talk}.",
  "Old songs tell of {talk}.",
  "My aunt dreamt of {talk}.",
];

/** Writes a letter. */
export function writeLetter(draws: Draws, wish: LetterWish = {}): Letter {
  const facts = new Map<Fact, string>();
  const classes = new Map<ThemeName, number>();
  const count = wish.sentences ?? 1 + draws.below(3);
  const wanted: SentenceKind[] = [...(wish.themes ?? [])];
  const others: SentenceKind[] = [
    ...THEME_NAMES,
    "weather",
    ...(wish.talk === false ? [] : (["talk"] as const)),
  ];
  for (const kind of draws.shuffle(others)) {
    if (wanted.length < count && !wanted.includes(kind)) {
      wanted.push(kind);
    }
  }
  const say = (pattern: string): string => fill(draws, pattern, facts);
  const word = (theme: ThemeName): string => {
    const chosen = wish.classes?.[theme] ?? draws.below(4);
    classes.set(theme, chosen);
    return draws.pick(THEMES[theme].classes[chosen]?.words ?? []);
  };
  const sentences = draws.shuffle(wanted).map((kind) => {
    switch (kind) {
      case "trade":
        facts.set("trade", word("trade"));
        return say(draws.pick(TRADE_SENTENCES));
      case "goods":
        facts.set("goods", word("goods"));
        return say(draws.pick(GOODS_SENTENCES));
      case "mood":
        facts.set("mood", word("mood"));
        return say(draws.pick(MOOD_SENTENCES));
      case "errand":
        // Its days and numbers are not facts of the letter: a question about them would have two answers.
        return fill(draws, word("errand"), new Map());
      case "weather":
        return say(draws.pick(WEATHER_SENTENCES));
      case "talk":
        return say(draws.pick(TALK_SENTENCES));
    }
  });
  return { text: sentences.join(" "), facts, classes };
}

/** Puts words for the names in braces, those in `facts` where they are there, and notes the facts that were drawn. */
function fill(draws: Draws, pattern: string, facts: Map<Fact, string>): string {
  const text = pattern.replace(/\{(\w+)\}/g, (_, name: string) => {
    const known = facts.get(name as Fact);
    if (known !== undefined) {
      return known;
    }
    const drawn = draw(draws, name);
    facts.set(name as Fact, drawn);
    return drawn;
  });
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const LISTS: Readonly<Record<string, readonly string[]>> = {
  writer: NAMES,
  place: PLACES,
  ship: SHIPS,
  number: NUMBERS,
  container: CONTAINERS,
  day: DAYS,
  weather: WEATHERS,
  spot: SPOTS,
  feast: FEASTS,
  tool: TOOLS,
};

function draw(draws: Draws, name: string): string {
  if (name === "talk") {
    const [first, second] = draws.shuffle(TALK);
    return `${first} and ${second}`;
  }
  return draws.pick(LISTS[name] ?? []);
}
