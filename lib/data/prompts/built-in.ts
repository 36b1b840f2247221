import { RkifError } from "../../errors.js";
import { promptOf } from "../records.js";
import { anyTail, plainText, type PromptFields, type PromptTemplate } from "./template.js";

/** Instruction and input one after the other, as they stand. */
export const plain: PromptTemplate = {
  ...plainText,
  name: "plain",
  frame: "",
  tail: anyTail,
  writer: () => promptOf,
};

const response = "### Response:\n";

const withInput = ({ instruction = "", input }: PromptFields): string =>
  "Below is an instruction that describes a task, paired with an input that provides further context. " +
  "Write a response that appropriately completes the request.\n\n" +
  `### Instruction:\n${instruction}\n\n### Input:\n${input}\n\n${response}`;

const withoutInput = (fields: PromptFields): string =>
  "Below is an instruction that describes a task. " +
  "Write a response that appropriately completes the request.\n\n" +
  `### Instruction:\n${promptOf(fields)}\n\n${response}`;

/**
 * The prompt that Stanford Alpaca was trained with (Taori et al., 2023), in its two forms. Where a record has only one text, instruction or
 * input, that is the instruction of the form without input.
 */
export const alpaca: PromptTemplate = {
  ...plainText,
  name: "alpaca",
  frame: withInput({ input: "" }),
  tail: response,
  writer: (record) => (record.instruction && record.input ? withInput : withoutInput),
};

const place = /\{(instruction|input)\}/g;

/** Whether a text has a place for a record's texts. */
export function hasPlaces(text: string): boolean {
  return text.search(place) !== -1;
}

/** A template of the user's own: `{instruction}` and `{input}` stand for the record's texts; other braces are text. */
export function ownTemplate(text: string): PromptTemplate {
  const places = [...text.matchAll(place)];
  const last = places.at(-1);
  if (last === undefined) {
    throw new RkifError(
      "CONFIG_INVALID",
      `promptTemplate is ${JSON.stringify(text)}; expected {input} or {instruction} in it, where the record's texts go`,
    );
  }
  const named = new Set(places.map(([, name]) => name));
  return {
    ...plainText,
    name: JSON.stringify(text),
    frame: text.replace(place, ""),
    tail: text.slice(last.index + last[0].length) || anyTail,
    writer: (record, where) => {
      for (const name of ["instruction", "input"] as const) {
        if (!record[name] || named.has(name)) continue;
        throw new RkifError(
          "CONFIG_INVALID",
          `promptTemplate ${JSON.stringify(text)} has no {${name}}, and ${where} has an ${name}, which would be lost; ` +
            `put {${name}} where it belongs`,
        );
      }
      return (fields: PromptFields) =>
        text.replace(place, (_, name: keyof PromptFields) => fields[name] ?? "");
    },
  };
}
