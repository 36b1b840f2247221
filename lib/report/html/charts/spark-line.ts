import { html, type Markup } from "../html.js";
import { px } from "../svg.js";

/**
 * A small line from 0 to 100 without axes, for a cell of a table.
 * @param values from the first position on; null where nothing was measured
 */
export function sparkLine(values: readonly (number | null)[], label: string, width: number): Markup {
  const height = 34;
  const [left, right, top, bottom] = [4, width - 5, 4, height - 4];
  const step = (right - left) / Math.max(1, values.length - 1);
  const points = values.flatMap((value, i) =>
    value === null ? [] : [[left + i * step, bottom - (value / 100) * (bottom - top)] as const],
  );
  const [first, last] = [points[0], points.at(-1)];
  const path = points.map(([x, y]) => `${px(x)} ${px(y)}`).join("L");
  return html`<svg
    class="spark"
    role="img"
    aria-label="${label}"
    width="${width}"
    height="${height}"
    viewBox="0 0 ${width} ${height}"
  >
    <path class="frame" d="M${left} ${top}H${px(right)}M${left} ${bottom}H${px(right)}" />
    ${
      first &&
      last &&
      html`<path d="M${path}" /><circle cx="${px(first[0])}" cy="${px(first[1])}" r="2" /><circle
          class="last"
          cx="${px(last[0])}"
          cy="${px(last[1])}"
          r="3"
        />`
    }
  </svg>`;
}
