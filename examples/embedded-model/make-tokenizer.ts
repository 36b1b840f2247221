/**
 * Writes models/embedded/tokenizer.json: a byte-level BPE that knows the words of the demo's world and can spell any other text.
 *
 *     npx tsx examples/embedded-model/make-tokenizer.ts
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { pretrainingRecords, sentinel, SENTINELS } from "../../lib/demo/pretraining.js";
import { demoTasks } from "../../lib/demo/tasks.js";
import { byteAlphabet, learnMerges, pieces } from "./bpe.js";

const FOLDER = new URL("../../models/embedded/", import.meta.url);
const RECORDS = 40_000;
const VOCABULARY = 1280;

const PAD = "<pad>";
const END = "</s>";
const sentinels = Array.from({ length: SENTINELS }, (_, n) => sentinel(n));

const counts = new Map<string, number>();
function count(text: string): void {
  for (const part of text.split(/\s?<extra_id_\d+>/)) {
    for (const piece of pieces(part)) {
      counts.set(piece, (counts.get(piece) ?? 0) + 1);
    }
  }
}
for (const { input, output } of pretrainingRecords(1, RECORDS)) {
  count(input);
  count(output);
}
// The questions of the tasks hold a few words that nobody asked before.
for (const { instruction, input, output } of demoTasks().flatMap((task) => task.train)) {
  count(instruction + input);
  count(output);
}

const special = [PAD, END];
const alphabet = byteAlphabet().toSorted();
const merges = learnMerges(counts, VOCABULARY - special.length - alphabet.length - SENTINELS);
const vocabulary: Record<string, number> = {};
// T5 numbers its sentinels downwards from the end of the vocabulary.
for (const token of [
  ...special,
  ...alphabet,
  ...merges.map((pair) => pair.join("")),
  ...sentinels.toReversed(),
]) {
  vocabulary[token] ??= Object.keys(vocabulary).length;
}

const added = (content: string): object => ({
  id: vocabulary[content],
  content,
  single_word: false,
  lstrip: sentinels.includes(content),
  rstrip: false,
  normalized: false,
  special: true,
});
const byteLevel = { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true };
const end = { SpecialToken: { id: END, type_id: 0 } };
const tokenizer = {
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: [...special, ...sentinels.toReversed()].map(added),
  normalizer: null,
  pre_tokenizer: byteLevel,
  post_processor: {
    type: "TemplateProcessing",
    single: [{ Sequence: { id: "A", type_id: 0 } }, end],
    pair: [{ Sequence: { id: "A", type_id: 0 } }, end, { Sequence: { id: "B", type_id: 0 } }, end],
    special_tokens: { [END]: { id: END, ids: [vocabulary[END]], tokens: [END] } },
  },
  // The prefix space that the pre-tokenizer adds is taken off again.
  decoder: { type: "Sequence", decoders: [byteLevel, { type: "Strip", content: " ", start: 1, stop: 0 }] },
  model: {
    type: "BPE",
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    byte_fallback: false,
    ignore_merges: false,
    vocab: vocabulary,
    merges,
  },
};
const settings = {
  tokenizer_class: "PreTrainedTokenizerFast",
  pad_token: PAD,
  eos_token: END,
  additional_special_tokens: sentinels,
  model_max_length: 1024,
  clean_up_tokenization_spaces: false,
};

mkdirSync(FOLDER, { recursive: true });
writeFileSync(new URL("tokenizer.json", FOLDER), JSON.stringify(tokenizer, null, 1) + "\n");
writeFileSync(new URL("tokenizer_config.json", FOLDER), JSON.stringify(settings, null, 2) + "\n");
process.stderr.write(`${Object.keys(vocabulary).length} tokens, ${merges.length} merges\n`);
