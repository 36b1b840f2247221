import { html, type Markup } from "../html.js";
import { apart, linear, picture, px, textWidth } from "../svg.js";
import { axes } from "./line-chart.js";

export interface AreaChartOptions {
  id: string;
  title: string;
  description: string;
  /** From bottom to top. */
  areas: readonly { name: string; values: readonly number[] }[];
  /** A position for every value. */
  steps: readonly number[];
  x: { label: string; to: number };
  yLabel: string;
}

const [width, height, left, top, below] = [860, 280, 58, 26, 46];

/** Shares, one on top of the other, up to 100 %. Hatched as well as coloured, and named at their right ends. */
export function areaChart({ id, title, description, areas, steps, x, yLabel }: AreaChartOptions): Markup {
  const right = width - Math.max(90, ...areas.map(({ name }) => textWidth(name) + 34));
  const bottom = height - below;
  const xScale = linear([0, x.to], [left, right], 8);
  const yScale = linear([0, 100], [bottom, top], 5);
  const floors = [steps.map(() => 0)];
  for (const { values } of areas) floors.push(floors.at(-1)!.map((floor, i) => floor + 100 * values[i]!));
  const last = steps.length - 1;
  const ends = apart(
    areas.map((_, i) => yScale((floors[i]![last]! + floors[i + 1]![last]!) / 2)),
    16,
    [top + 4, bottom - 4],
  );
  return picture({ id, title, description, width, height }, [
    patterns(id, areas.length),
    areas.map(({ name }, i) => {
      // The last value holds until the end of its bin; a single one would have no width.
      const at = [...steps, Math.max(x.to, steps[last]! + 1)];
      const side = (floor: readonly number[]): string[] =>
        at.map((step, k) => `${px(Math.min(right, xScale(step)))} ${px(yScale(floor[Math.min(k, last)]!))}`);
      const outline = [...side(floors[i]!), ...side(floors[i + 1]!).reverse()].join("L");
      return html`<g class="area" fill="url(#${id}-p${i})"
          ><title>${name}</title><path d="M${outline}Z" /><path
            d="M${px(right + 7)} ${px(ends[i]! - 6)}h16v12h-16z"
        /></g>
        <text x="${px(right + 29)}" y="${px(ends[i]! + 4)}">${name}</text> `;
    }),
    axes({ xScale, yScale, right, bottom, xLabel: x.label, yLabel, hasNames: false }),
  ]);
}

/** Colours of the areas with hatchings: none, rising, falling, dots. */
function patterns(id: string, count: number): Markup {
  const shapes = [
    html``,
    html`<path d="M0 8L8 0M-2 2L2 -2M6 10L10 6" />`,
    html`<path d="M0 0L8 8M-2 6L2 10M6 -2L10 2" />`,
    html`<circle cx="4" cy="4" r="1.2" />`,
  ];
  return html`<defs
    >${shapes
      .slice(0, count)
      .map(
        (shape, i) =>
          html`<pattern
            id="${id}-p${i}"
            class="hatch a${i}"
            width="8"
            height="8"
            patternUnits="userSpaceOnUse"
            ><rect width="8" height="8" />${shape}</pattern
          >`,
      )}</defs
  > `;
}
