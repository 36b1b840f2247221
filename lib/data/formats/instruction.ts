import { RkifError } from "../../errors.js";
import type { Tokenizer } from "../../models/tokenizer.js";
import type { PackedBatch } from "../../native/contract.js";
import { concatenate, pack } from "../pack.js";
import type { PromptFields, PromptTemplate } from "../prompts/template.js";
import type { TaskRecord } from "../records.js";
import type { EncodedPrompts, EncodedRecord, EncodedRecords, RecordFormat } from "./record-format.js";
import { shorten, type Shortenable } from "./shorten.js";

export interface InstructionOptions {
  template: PromptTemplate;
  /** Most tokens of a prompt, its answer and the end token together. */
  cutoffTokens: number;
  /** Put behind an answer where the template does not say how one ends. */
  endTokenId: number | null;
}

/** A prompt ready to be coded. */
interface Prepared extends Shortenable {
  fields: PromptFields;
}

/**
 * Decoders: prompt, answer and end token are one text, coded as one, and the loss is on the answer and what ends it. The prompt is what
 * its own coding and the whole text's have in common at the beginning: where a tokenizer joins the last letters of the prompt with the
 * answer's first, that token is the answer's.
 */
export class Instruction implements RecordFormat {
  readonly family = "decoder";
  readonly #tokenizer: Pick<Tokenizer, "encode" | "prefix" | "file">;
  readonly #template: PromptTemplate;
  readonly #cutoff: number;
  /** What ends an answer; null where nothing says it: then the model can be asked, not trained. */
  readonly #end: Int32Array | null;

  private constructor(
    tokenizer: Pick<Tokenizer, "encode" | "prefix" | "file">,
    { template, cutoffTokens }: InstructionOptions,
    end: Int32Array | null,
  ) {
    this.#tokenizer = tokenizer;
    this.#template = template;
    this.#cutoff = cutoffTokens;
    this.#end = end;
  }

  /** @throws {RkifError} CONFIG_INVALID where the cutoff leaves no room for an answer. */
  static async open(
    tokenizer: Pick<Tokenizer, "encode" | "prefix" | "file">,
    options: InstructionOptions,
  ): Promise<Instruction> {
    const { template, cutoffTokens, endTokenId } = options;
    const end = await endOfAnswer(tokenizer, template, endTokenId);
    const format = new Instruction(tokenizer, options, end);
    const [frame] = await format.#code([template.frame + template.answerLead]);
    const least = frame!.length + 1 + (end?.length ?? 1);
    if (!Number.isSafeInteger(cutoffTokens) || cutoffTokens < least) {
      throw new RkifError(
        "CONFIG_INVALID",
        `cutoffTokens is ${cutoffTokens}; expected a whole number of at least ${least}: the tokens of the ${template.name} template, ` +
          `one of an answer and the end token`,
      );
    }
    return format;
  }

  async addLabels(): Promise<void> {}

  async encode(records: readonly TaskRecord[]): Promise<EncodedRecords> {
    const prepared = this.#prepare(records, (i) => this.#template.answerLead + records[i]!.output);
    const end = this.#required();
    const room = this.#cutoff - end.length;
    const { coded: wholes, cut: cutSources } = await this.#fit(prepared, room);
    const prompts = await this.#code(prepared.map(({ fields, write }) => write(fields)));
    return {
      records: wholes.map((whole, key) => {
        const inputIds = concatenate([whole.subarray(0, room), end]).ids;
        // Nothing comes before the first token to predict it from.
        const first = Math.max(1, commonLength(prompts[key]!, whole));
        return { inputIds, labels: inputIds.slice().fill(-100, 0, first), key };
      }),
      cutSources,
      cutTargets: wholes.filter(({ length }) => length > room).length,
    };
  }

  async encodePrompts(records: readonly PromptFields[]): Promise<EncodedPrompts> {
    const prepared = this.#prepare(records, () => "");
    const { coded: prompts, cut } = await this.#fit(prepared, this.#cutoff);
    const empty = prompts.findIndex(({ length }) => length === 0);
    if (empty !== -1) {
      throw new RkifError(
        "DATA_INVALID",
        `the prompt of record ${empty} has no tokens in ${this.#tokenizer.file}; expected some text`,
      );
    }
    return { prompts, cut };
  }

  /** Behind the template's tail, as they stand behind a prompt in training. */
  async encodeCandidates(texts: readonly string[], withEnd: boolean): Promise<Int32Array[]> {
    const { tail, answerLead } = this.#template;
    const coded = await codeBehind(this.#tokenizer, tail, texts.map((text) => answerLead + text)); // prettier-ignore
    if (!withEnd) return coded;
    const end = this.#required();
    return coded.map((ids) => concatenate([ids, end]).ids);
  }

  pack(records: readonly EncodedRecord[]): PackedBatch {
    return pack(records);
  }

  /** @throws {RkifError} CONFIG_INVALID where nothing says how an answer ends. */
  #required(): Int32Array {
    if (this.#end !== null) return this.#end;
    throw new RkifError(
      "CONFIG_INVALID",
      `${this.#tokenizer.file}: no end token is known, and an answer must end; expected "eos_token_id" in config.json or generation_config.json beside it`,
    );
  }

  #prepare(records: readonly PromptFields[], behind: (index: number) => string): Prepared[] {
    return records.map((fields, i) => ({
      fields,
      write: this.#template.writer(fields, `record ${i}`),
      behind: behind(i),
    }));
  }

  /** Prompts with what is behind them as tokens, after the texts of those longer than `room` are shortened; how many were. */
  async #fit(prepared: readonly Prepared[], room: number): Promise<{ coded: Int32Array[]; cut: number }> {
    const code = (some: readonly Prepared[]): Promise<Int32Array[]> =>
      this.#code(some.map(({ fields, write, behind }) => write(fields) + behind));
    const fits = (ids: Int32Array): boolean => ids.length <= room;
    const coded = await code(prepared);
    const tooLong = [...coded.keys()].filter((i) => !fits(coded[i]!));
    if (tooLong.length === 0) return { coded, cut: 0 };
    const some = tooLong.map((i) => prepared[i]!);
    const shortened = await shorten(some, async (texts) => (await this.#code(texts)).map(fits));
    some.forEach((prompt, i) => (prompt.fields = shortened[i]!));
    const again = await code(some);
    tooLong.forEach((i, at) => (coded[i] = again[at]!));
    return { coded, cut: tooLong.length };
  }

  /** With the tokens that the tokenizer puts before a text (BOS), where the template has none of its own. */
  async #code(texts: readonly string[]): Promise<Int32Array[]> {
    const coded = await this.#tokenizer.encode(texts, { specialTokens: false });
    const prefix = Int32Array.from(this.#tokenizer.prefix);
    if (this.#template.hasSpecialTokens || prefix.length === 0) return coded;
    return coded.map((ids) => concatenate([prefix, ids]).ids);
  }
}

async function endOfAnswer(
  tokenizer: Pick<Tokenizer, "encode">,
  { answerEnd }: PromptTemplate,
  endTokenId: number | null,
): Promise<Int32Array | null> {
  if (answerEnd !== null) return (await codeBehind(tokenizer, "a", [answerEnd]))[0]!;
  return endTokenId === null ? null : Int32Array.of(endTokenId);
}

/** Tokens of texts as they are behind another text. */
async function codeBehind(
  tokenizer: Pick<Tokenizer, "encode">,
  head: string,
  texts: readonly string[],
): Promise<Int32Array[]> {
  const [before, ...wholes] = await tokenizer.encode([head, ...texts.map((text) => head + text)], {
    specialTokens: false,
  });
  return wholes.map((whole) => whole.slice(commonLength(before!, whole)));
}

function commonLength(a: Int32Array, b: Int32Array): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}
