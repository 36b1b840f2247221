/** Text that is HTML (or SVG) already. Only {@link html} makes it, so everything else is escaped. */
export class Markup {
  constructor(readonly text: string) {}
}

export type Content = Markup | string | number | null | undefined | false | readonly Content[];

/**
 * Writes HTML or SVG. What is put in is escaped, for text and for attributes in double quotes alike, unless it is Markup; null,
 * undefined and false become nothing; lists are joined.
 */
export function html(strings: TemplateStringsArray, ...values: readonly Content[]): Markup {
  const parts = strings.map((text, i) => withoutIndents(text) + (i < values.length ? write(values[i]) : ""));
  return new Markup(parts.join(""));
}

/** The indents of the source would be a third of a report. */
const withoutIndents = (text: string): string => text.replace(/\s*\n\s*/g, "\n");

function write(value: Content): string {
  if (value === null || value === undefined || value === false) return "";
  if (value instanceof Markup) return value.text;
  if (typeof value === "string") return escape(value);
  return typeof value === "number" ? String(value) : value.map(write).join("");
}

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

// HTML has no place for control characters and half surrogate pairs, escaped or not.
const impossible = /[\0-\x08\v\f\x0e-\x1f\x7f-\x9f\p{Cs}\ufffe\uffff]/gu; // eslint-disable-line no-control-regex

function escape(text: string): string {
  return text.replace(impossible, "\ufffd").replace(/[&<>"']/g, (character) => entities[character]!);
}
