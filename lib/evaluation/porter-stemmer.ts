/**
 * Porter's stemmer (Program 14.3, 1980) in the variant that Rouge-L is published with: NLTK's, which adds a list of irregular
 * words and changes some rules. What is NLTK's own is marked so. For lower-case words.
 */

/** NLTK: words whose stem the rules would get wrong. */
const irregular: ReadonlyMap<string, string> = new Map([
  ["sky", "sky"],
  ["skies", "sky"],
  ["dying", "die"],
  ["lying", "lie"],
  ["tying", "tie"],
  ["news", "news"],
  ["innings", "inning"],
  ["inning", "inning"],
  ["outings", "outing"],
  ["outing", "outing"],
  ["cannings", "canning"],
  ["canning", "canning"],
  ["howe", "howe"],
  ["proceed", "proceed"],
  ["exceed", "exceed"],
  ["succeed", "succeed"],
]);

type Rules = readonly (readonly [suffix: string, replacement: string])[];

const step1aRules: Rules = pairs("sses:ss ies:i ss:ss s:");

const step2Rules: Rules = pairs(
  "ational:ate tional:tion enci:ence anci:ance izer:ize bli:ble alli:al entli:ent eli:e ousli:ous ization:ize ation:ate " +
    "ator:ate alism:al iveness:ive fulness:ful ousness:ous aliti:al iviti:ive biliti:ble fulli:ful logi:log",
);

const step3Rules: Rules = pairs("icate:ic ative: alize:al iciti:ic ical:ic ful: ness:");

const step4Rules: Rules = pairs(
  "al: ance: ence: er: ic: able: ible: ant: ement: ment: ent: ion: ou: ism: ate: iti: ous: ive: ize:",
);

export function stem(word: string): string {
  const known = irregular.get(word);
  if (known !== undefined) return known;
  if (word.length <= 2) return word;
  return [step1a, step1b, step1c, step2, step3, step4, step5].reduce((rest, step) => step(rest), word);
}

/** Plurals. */
function step1a(word: string): string {
  // NLTK: "dies" becomes "die", while "flies" becomes "fli".
  if (word.length === 4 && word.endsWith("ies")) return word.slice(0, -1);
  return applyFirst(word, step1aRules, () => true);
}

/** -ed and -ing. */
function step1b(word: string): string {
  // NLTK: "died" becomes "die", while "spied" becomes "spi".
  if (word.endsWith("ied")) return word.slice(0, word.length === 4 ? -1 : -2);
  if (word.endsWith("eed")) return measure(word.slice(0, -3)) > 0 ? word.slice(0, -1) : word;
  const suffix = ["ed", "ing"].find(
    (ending) => word.endsWith(ending) && shape(word.slice(0, -ending.length)).includes("v"),
  );
  if (suffix === undefined) return word;
  const rest = word.slice(0, -suffix.length);
  if (/(at|bl|iz)$/.test(rest)) return rest + "e";
  if (endsInDoubleConsonant(rest)) return /[lsz]$/.test(rest) ? rest : rest.slice(0, -1);
  return measure(rest) === 1 && endsInShortSyllable(rest) ? rest + "e" : rest;
}

/** NLTK: -y to -i after a consonant that is not the whole stem. */
function step1c(word: string): string {
  return /y$/.test(word) && word.length > 2 && shape(word).at(-2) === "c" ? word.slice(0, -1) + "i" : word;
}

function step2(word: string): string {
  // NLTK: -alli first, and its result goes through this step again.
  if (word.endsWith("alli") && measure(word.slice(0, -4)) > 0) return step2(word.slice(0, -2));
  // NLTK: the l of -logi counts to the stem, so that "geologi" becomes "geolog".
  return applyFirst(
    word,
    step2Rules,
    (rest, suffix) => measure(suffix === "logi" ? word.slice(0, -3) : rest) > 0,
  );
}

function step3(word: string): string {
  return applyFirst(word, step3Rules, (rest) => measure(rest) > 0);
}

function step4(word: string): string {
  return applyFirst(
    word,
    step4Rules,
    (rest, suffix) => measure(rest) > 1 && (suffix !== "ion" || /[st]$/.test(rest)),
  );
}

/** A final -e, then -ll. */
function step5(word: string): string {
  let result = word;
  if (word.endsWith("e")) {
    const rest = word.slice(0, -1);
    const m = measure(rest);
    if (m > 1 || (m === 1 && !endsInShortSyllable(rest))) result = rest;
  }
  return result.endsWith("ll") && measure(result.slice(0, -1)) > 1 ? result.slice(0, -1) : result;
}

/** Only the first rule whose suffix fits is tried; where its condition fails, the word stays. */
function applyFirst(
  word: string,
  rules: Rules,
  condition: (rest: string, suffix: string) => boolean,
): string {
  const rule = rules.find(([suffix]) => word.endsWith(suffix));
  if (rule === undefined) return word;
  const [suffix, replacement] = rule;
  const rest = word.slice(0, word.length - suffix.length);
  return condition(rest, suffix) ? rest + replacement : word;
}

/** One letter c or v for each of the word's: y is a vowel after a consonant, a consonant otherwise. */
function shape(word: string): string {
  let letters = "";
  for (const letter of word) {
    const vowel = letter === "y" ? letters.endsWith("c") : "aeiou".includes(letter);
    letters += vowel ? "v" : "c";
  }
  return letters;
}

/** Porter's m: how often a consonant follows a vowel. */
function measure(word: string): number {
  return shape(word).split("vc").length - 1;
}

function endsInDoubleConsonant(word: string): boolean {
  return word.length >= 2 && word.at(-1) === word.at(-2) && shape(word).endsWith("c");
}

/** Porter's *o: consonant, vowel, consonant other than w, x, y. NLTK: a word of a vowel and a consonant as well. */
function endsInShortSyllable(word: string): boolean {
  const form = shape(word);
  return form === "vc" || (form.endsWith("cvc") && !/[wxy]$/.test(word));
}

function pairs(text: string): Rules {
  return text.split(" ").map((pair) => {
    const [suffix, replacement] = pair.split(":");
    return [suffix!, replacement!];
  });
}
