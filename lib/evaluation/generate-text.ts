import { openFormat } from "../data/formats/open-format.js";
import type { PromptFields } from "../data/prompts/template.js";
import { RkifError } from "../errors.js";
import { createAbortFlag } from "../models/kernels.js";
import type { TrainedModel } from "../models/trained-model.js";
import type { GenerateOptions, Sampling } from "../native/contract.js";
import { generateTokens } from "./generate.js";
import { TextStream } from "./text-stream.js";

export interface GenerateTextOptions {
  /**
   * As for training: "alpaca", "plain", "chat" or a text with {instruction} and {input}. Absent or null: a text is the whole prompt, and a
   * record is written as the family's records are in training.
   */
  promptTemplate?: string | null;
  /** Most new tokens of each answer. Default 128. */
  maxNewTokens?: number;
  /** Draw tokens instead of taking the best one. Absent: greedy. What is left out: temperature 1, topP 1, seed 42. Draws belong to a prompt's place in the list. */
  sampling?: Partial<Omit<Sampling, "keys">>;
  /** Most prompt tokens that the model computes at a time; a larger prompt goes alone. Default 8192. */
  batchTokens?: number;
  /** Told the pieces of every answer as they are written: the prompt's index and the text that comes next. */
  onText?: (prompt: number, piece: string) => void;
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

/**
 * What a model writes to prompts: texts, or records with instruction and input. Nothing is cut: a prompt longer than the model can take is
 * an error.
 * @returns the answers in the order of the prompts, without special tokens
 * @throws {RkifError} CONFIG_UNSUPPORTED for an encoder, CONFIG_INVALID for a template that is none, ABORTED at the signal.
 */
export async function generateText(
  loaded: Pick<TrainedModel, "model" | "config" | "tokenizer" | "folder" | "endTokenIds" | "endTokenId">,
  prompts: readonly (string | PromptFields)[],
  options: GenerateTextOptions = {},
): Promise<string[]> {
  refuseEncoder(loaded);
  const { maxNewTokens = 128, batchTokens = 8192, onText, onProgress, signal } = options;
  const { model, tokenizer, endTokenIds } = loaded;
  const encoded = await encodePrompts(loaded, prompts, options.promptTemplate ?? null);
  const sampling = options.sampling && { temperature: 1, topP: 1, seed: 42, ...options.sampling };
  const streams = onText && encoded.map(() => new TextStream(tokenizer));
  const abort = createAbortFlag();
  const stop = (): void => abort.abort();
  signal?.addEventListener("abort", stop);
  if (signal?.aborted) stop();
  // Pieces are decoded one after the other, in the order in which their tokens came.
  let told = Promise.resolve();
  const tell = (prompt: number, piece: (stream: TextStream) => Promise<string>): void => {
    told = told.then(async () => {
      const text = await piece(streams![prompt]!);
      if (text !== "") onText!(prompt, text);
    });
    told.catch(stop); // thrown where it is awaited
  };
  const listeners: Pick<GenerateOptions, "onTokens" | "onEnded"> = streams
    ? {
        onTokens: (indices, tokens) =>
          indices.forEach((prompt, i) => tell(prompt, (stream) => stream.push(tokens[i]!))),
        onEnded: (indices) => indices.forEach((prompt) => tell(prompt, (stream) => stream.end())),
      }
    : {};
  try {
    const work = generateTokens(
      model,
      encoded,
      { batchTokens, abort, ...(onProgress ? { onProgress } : {}) },
      { maxNewTokens, endTokenIds: [...endTokenIds], ...(sampling ? { sampling } : {}), ...listeners },
    );
    // What the listener threw is the cause of a stop.
    const generated = await work.finally(() => told);
    return await tokenizer.decodeBatch(generated, true);
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

function refuseEncoder({ config, folder }: Pick<TrainedModel, "config" | "folder">): void {
  if (config.family !== "encoder") return;
  throw new RkifError(
    "CONFIG_UNSUPPORTED",
    `${folder} is an encoder ("model_type": ${JSON.stringify(config.modelType)}), which writes no text; use a T5 or a decoder, or ` +
      `let the encoder choose among the labels of tasks (rkif eval)`,
  );
}

/** Texts as they stand and records in the family's form, unless a template is asked for: then both are written with it. */
async function encodePrompts(
  loaded: Parameters<typeof generateText>[0],
  prompts: readonly (string | PromptFields)[],
  asked: string | null,
): Promise<Int32Array[]> {
  const longest = Number.MAX_SAFE_INTEGER;
  const open = (promptTemplate: string | null): ReturnType<typeof openFormat> =>
    openFormat(loaded, { promptTemplate, sourceTokens: longest, cutoffTokens: longest });
  const encoded = new Array<Int32Array>(prompts.length);
  for (const kind of ["string", "object"] as const) {
    const chosen = [...prompts.keys()].filter((i) => typeof prompts[i] === kind);
    if (chosen.length === 0) continue;
    const format = await open(asked ?? (kind === "string" ? "plain" : null));
    const records = chosen.map((i) => asRecord(prompts[i]!, asked));
    const found = await format.encodePrompts(records);
    chosen.forEach((i, at) => (encoded[i] = found.prompts[at]!));
  }
  const { maxTokens } = loaded.config;
  const long = maxTokens === null ? -1 : encoded.findIndex(({ length }) => length > maxTokens);
  if (long === -1) return encoded;
  throw new RkifError(
    "INVALID_ARGUMENT",
    `prompt ${long} has ${encoded[long]!.length} tokens; the model takes at most ${maxTokens}`,
  );
}

/** A text alone is the input, or the instruction where the template has a place for nothing else. */
function asRecord(prompt: string | PromptFields, template: string | null): PromptFields {
  if (typeof prompt !== "string") return prompt;
  const onlyInstruction = template?.includes("{instruction}") && !template.includes("{input}");
  return onlyInstruction ? { instruction: prompt, input: "" } : { input: prompt };
}
