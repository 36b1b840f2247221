import { html, type Markup } from "../html.js";
import { apart, linear, logarithmic, named, picture, px, shortened, textWidth, type Scale } from "../svg.js";

export interface Line {
  name: string;
  points: readonly (readonly [x: number, y: number])[];
  /** Which of the styles, so that a name looks the same in every picture. */
  style: number;
}

export interface LineChartOptions {
  id: string;
  title: string;
  description: string;
  lines: readonly Line[];
  x: {
    label: string;
    /** Positions with names instead of numbers. */
    names?: readonly string[];
    from?: number;
    to?: number;
    /** Where something begins, such as a task. */
    marks?: readonly { at: number; name: string }[];
  };
  y: { label: string; from?: number; to?: number; log?: boolean };
  height?: number;
}

const [width, left, top, below] = [860, 58, 26, 46];
/** Up to so many points each has a mark. */
const marked = 24;

/** Lines over a common axis. They are told apart by dash and mark as well as by colour, and named at their ends. */
export function lineChart({ id, title, description, lines, x, y, height = 300 }: LineChartOptions): Markup {
  const names = lines.map(({ name }) => shortened(name, 30));
  const right = width - Math.max(90, ...names.map((name) => textWidth(name) + 34));
  const bottom = height - below;
  const all = lines.flatMap(({ points }) => points);
  const [xs, ys] = [all.map(([value]) => value), all.map(([, value]) => value)];
  const xScale = x.names
    ? named(x.names, [left + 12, right - 12])
    : linear([x.from ?? least(xs), x.to ?? most(xs)], [left, right], 8);
  const yRange: [number, number] = [y.from ?? Math.min(0, least(ys)), y.to ?? most(ys)];
  const yScale = y.log
    ? logarithmic([least(ys), most(ys)], [bottom, top], 5)
    : linear(yRange, [bottom, top], 5);
  const at = ([a, b]: readonly [number, number]): [number, number] => [xScale(a), yScale(b)];
  const shown = lines.filter(({ points }) => points.length > 0);
  const ends = apart(
    shown.map(({ points }) => at(points.at(-1)!)[1]),
    15,
    [top + 4, bottom],
  );
  return picture({ id, title, description, width, height }, [
    axes({
      xScale,
      yScale,
      right,
      bottom,
      xLabel: x.label,
      yLabel: y.label,
      hasNames: x.names !== undefined,
    }),
    marks(x.marks ?? [], xScale, right, bottom),
    shown.map(({ points, style, name }, i) => {
      const positions = points.map(at);
      const path = positions.map(([a, b]) => `${px(a)} ${px(b)}`).join("L");
      return html`<g class="line l${style % 8} d${style % 4}"
          ><title>${name}</title><path d="M${path}" />${
            points.length <= marked && positions.map(([a, b]) => mark(style, a, b))
          }<path
            class="key"
            d="M${px(right + 6)} ${px(ends[i]!)}h18"
          />${mark(style, right + 15, ends[i]!)}</g
        >
        <text x="${px(right + 29)}" y="${px(ends[i]! + 4)}">${shortened(name, 30)}</text> `;
    }),
  ]);
}

interface AxesOptions {
  xScale: Scale;
  yScale: Scale;
  right: number;
  bottom: number;
  xLabel: string;
  yLabel: string;
  hasNames: boolean;
}

/** Grid, numbers and what they are of. */
export function axes({ xScale, yScale, right, bottom, xLabel, yLabel, hasNames }: AxesOptions): Markup {
  const room = (right - left) / Math.max(1, xScale.ticks.length);
  const longest = Math.max(1, ...xScale.ticks.map(({ text }) => textWidth(text)));
  // Names that do not fit beside each other: every second, every third, ...
  const every = hasNames ? Math.max(1, Math.ceil(Math.min(longest, 90) / room)) : 1;
  const letters = Math.max(3, Math.floor((room * every) / 6.4));
  return html`<g class="axes">
    ${yScale.ticks.map(
      ({ value, text }) =>
        html`<path d="M${left} ${px(yScale(value))}H${px(right)}" /><text
            class="end"
            x="${left - 7}"
            y="${px(yScale(value) + 4)}"
            >${text}</text
          >`,
    )}
    ${xScale.ticks.map(
      ({ value, text }, i) =>
        i % every === 0 &&
        html`<text class="middle" x="${px(xScale(value))}" y="${bottom + 18}"
          >${hasNames ? shortened(text, letters) : text}</text
        >`,
    )}
    <text class="middle label" x="${px((left + right) / 2)}" y="${bottom + 38}">${xLabel}</text>
    <text class="label" x="${left - 50}" y="13">${yLabel}</text>
  </g> `;
}

function marks(
  all: readonly { at: number; name: string }[],
  xScale: Scale,
  right: number,
  bottom: number,
): Markup[] {
  return all.map(({ at, name }, i) => {
    const from = xScale(at);
    const room = (all[i + 1] ? xScale(all[i + 1]!.at) : right) - from;
    const letters = Math.floor(room / 6.6) - 1;
    return html`<path class="mark" d="M${px(from)} ${top - 4}V${bottom}" />${
        letters > 2 &&
        html`<text class="note" x="${px(from + 4)}" y="${top + 6}">${shortened(name, letters)}</text>`
      } `;
  });
}

/** Circle, square, triangle, diamond. */
function mark(style: number, x: number, y: number): Markup {
  const [a, b] = [px(x), px(y)];
  if (style % 4 === 1) return html`<path class="m" d="M${px(x - 3)} ${px(y - 3)}h6v6h-6z" />`;
  if (style % 4 === 2) return html`<path class="m" d="M${a} ${px(y - 4)}l4 7h-8z" />`;
  if (style % 4 === 3) return html`<path class="m" d="M${a} ${px(y - 4.4)}l4.4 4.4-4.4 4.4-4.4-4.4z" />`;
  return html`<circle class="m" cx="${a}" cy="${b}" r="3.2" />`;
}

const least = (values: readonly number[]): number => values.reduce((a, b) => Math.min(a, b), Infinity);
const most = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b), -Infinity);
