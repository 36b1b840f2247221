import { html, type Content, type Markup } from "./html.js";
import { threeDigits } from "./numbers.js";

export interface PictureOptions {
  /** Of the figure it belongs to. */
  id: string;
  title: string;
  /** What somebody who does not see it is told. */
  description: string;
  width: number;
  height: number;
}

/** An SVG picture with title and description. */
export function picture({ id, title, description, width, height }: PictureOptions, content: Content): Markup {
  return html`<svg
    role="img"
    aria-labelledby="${id}-name ${id}-text"
    viewBox="0 0 ${width} ${height}"
    style="min-width:${Math.round(width * 0.7)}px;max-width:${width}px"
  >
    <title id="${id}-name">${title}</title>
    <desc id="${id}-text">${description}</desc>
    ${content}
  </svg> `;
}

/** Tenths of a pixel are enough, and keep the file small. */
export const px = (value: number): string => String(Math.round(value * 10) / 10);

/** From figures to pixels. */
export interface Scale {
  (value: number): number;
  readonly ticks: readonly { value: number; text: string }[];
}

/** @param count ticks, about */
export function linear([from, to]: [number, number], [low, high]: [number, number], count: number): Scale {
  const span = to - from || 1;
  const rough = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough * 0.999)!;
  const ticks = [];
  for (let i = Math.ceil(from / step - 1e-9); i * step <= to + 1e-9 * span; i++) {
    const value = Number((i * step).toPrecision(12));
    ticks.push({ value, text: tickText(value) });
  }
  return Object.assign((value: number) => low + ((value - from) / span) * (high - low), { ticks });
}

/** Powers of ten. Both ends are positive. */
export function logarithmic(
  [from, to]: [number, number],
  [low, high]: [number, number],
  count: number,
): Scale {
  const [first, last] = [Math.floor(Math.log10(from)), Math.ceil(Math.log10(to))];
  const range: [number, number] = [first, Math.max(last, first + 1)];
  const inner = linear(range, [low, high], Math.min(count, range[1] - range[0]));
  const ticks = inner.ticks
    .filter(({ value }) => Number.isInteger(value))
    .map(({ value }) => ({ value: 10 ** value, text: threeDigits(10 ** value).replace(".0e", "e") }));
  return Object.assign((value: number) => inner(Math.log10(value)), { ticks });
}

/** Positions 0, 1, ..., each with a name where there is room for it. */
export function named(names: readonly string[], [low, high]: [number, number]): Scale {
  const step = (high - low) / Math.max(1, names.length - 1);
  const ticks = names.map((text, value) => ({ value, text }));
  return Object.assign((value: number) => low + value * step, { ticks });
}

function tickText(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e6) return `${value / 1e6}M`;
  if (size >= 1e4) return `${value / 1e3}k`;
  return size > 0 && size < 1e-3
    ? value.toExponential().replace("e-", "e−")
    : String(value).replace("-", "−");
}

/** Where texts stand that belong at `wanted`, one below the other without covering each other. */
export function apart(wanted: readonly number[], gap: number, [top, bottom]: [number, number]): number[] {
  const order = [...wanted.keys()].sort((a, b) => wanted[a]! - wanted[b]! || a - b);
  const at = [...wanted];
  order.forEach((each, i) => (at[each] = Math.max(at[each]!, i === 0 ? top : at[order[i - 1]!]! + gap)));
  let limit = bottom;
  for (const each of order.reverse()) {
    at[each] = Math.min(at[each]!, limit);
    limit = at[each] - gap;
  }
  return at;
}

/** About how wide a text is at the pictures' size. */
export const textWidth = (text: string): number => text.length * 7.2;

export function shortened(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
