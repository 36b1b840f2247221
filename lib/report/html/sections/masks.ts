import type { VariantFigures } from "../../figures/figures.js";
import type { MaskFigures, PlaceCounts } from "../../figures/masks.js";
import { layerMap } from "../charts/layer-map.js";
import { html, type Content } from "../html.js";
import { count, missing, share, threeDigits } from "../numbers.js";
import { details, table, figure } from "../parts.js";
import type { Context } from "./context.js";

/** Where in the model the two masks lie, and where they meet. */
export function masksSection({ figures, nameOf }: Context): Content {
  const all = figures.variants.flatMap((each) => (each.masks ? [{ each, masks: each.masks }] : []));
  // The picture is large, and tells much the same for every order.
  const logged = all.filter(
    ({ each }, i) => all.findIndex((other) => other.each.variant === each.variant) === i,
  );
  if (logged.length === 0) return null;
  return html`<p>
      How the weights that count as important lie over the model, at the last logged cycle of every task with
      a memory before it. <b>Overlap</b> is the share of the weights in either mask that are in both: 0 where
      the new task and the memory need different weights, 100 where they need the same. A and B are the two
      matrices of an adapter.
      ${all.length > logged.length && "Of several orders the first is shown; JSON and CSV have all."}
    </p>
    ${logged.map(({ each, masks }, i) => variantMasks(each, masks, `masks-${i}`, nameOf(each)))}`;
}

/** A figure of a place: what is drawn (0 to 1) and what is written. */
interface Reading {
  name: string;
  legend: string;
  of(place: PlaceCounts): { value: number | null; text: string };
}

function variantMasks(variant: VariantFigures, masks: MaskFigures, id: string, name: string): Content {
  const layers = [...new Set(masks.places.map(({ layer }) => layer))];
  const matrices = [...new Set(masks.places.map(({ matrix }) => matrix))];
  const readings = readingsOf(masks.places);
  const at = (layer: string, matrix: string): PlaceCounts | undefined =>
    masks.places.find((place) => place.layer === layer && place.matrix === matrix);
  const grid = matrices.map((matrix) => layers.map((layer) => at(layer, matrix)));
  const overall = (reading: Reading): string => reading.of(sumOf(masks.places)).text;
  return [
    html`<h3>${name}</h3>`,
    figure({
      id,
      caption: `${name}: ${readings.map((reading) => reading.name.toLowerCase()).join(", ")}, by layer (to the right) and matrix (downwards)${variant.seeds.length > 1 ? `, over seeds ${variant.seeds.join(", ")}` : ""}.`,
      picture: layerMap({
        id,
        title: `Masks by layer and matrix, ${name}`,
        description: `Over the whole model: ${readings.map((reading) => `${reading.name.toLowerCase()} ${overall(reading)}`).join("; ")}. The table has every layer.`,
        layers,
        matrices,
        maps: readings.map((reading) => ({
          name: reading.name,
          legend: reading.legend,
          values: grid.map((row) => row.map((place) => (place ? reading.of(place).value : null))),
          texts: grid.map((row) => row.map((place) => (place ? reading.of(place).text : ""))),
        })),
      }),
      table: {
        caption: `${name}, by layer and matrix`,
        head: ["layer", "matrix", "weights", ...readings.map((reading) => reading.name)],
        rows: masks.places.map((place) => [
          place.layer || "other",
          place.matrix,
          count(place.elements),
          ...readings.map((reading) => reading.of(place).text),
        ]),
        textColumns: [1],
      },
    }),
    masks.tasks.length > 0 && details("By task", byTask(masks, name)),
  ];
}

function readingsOf(places: readonly PlaceCounts[]): Reading[] {
  const inAny = (place: PlaceCounts): number => place.onlyIn! + place.onlyOut! + place.both!;
  const shareOf = (part: number, whole: number): { value: number | null; text: string } =>
    whole === 0
      ? { value: null, text: missing }
      : { value: part / whole, text: (100 * (part / whole)).toFixed(0) };
  if (places.every(({ both }) => both !== null)) {
    return [
      { name: "Inner mask", legend: "% of the weights, important to the new task", of: (place) => shareOf(place.onlyIn! + place.both!, place.elements) }, // prettier-ignore
      { name: "Outer mask", legend: "% of the weights, important to the memory", of: (place) => shareOf(place.onlyOut! + place.both!, place.elements) }, // prettier-ignore
      { name: "Overlap", legend: "% of the weights in either mask that are in both", of: (place) => shareOf(place.both!, inAny(place)) }, // prettier-ignore
    ];
  }
  // Without masks there is importance itself, beside the place that has most of it.
  return (["importanceIn", "importanceOut"] as const).map((name) => {
    const meanOf = (place: PlaceCounts): number => (place[name] ?? 0) / place.elements;
    const most = Math.max(...places.map(meanOf));
    return {
      name: name === "importanceIn" ? "Inner importance" : "Outer importance",
      legend: `% of the highest mean, ${threeDigits(most)}`,
      of: (place) => shareOf(meanOf(place), most),
    };
  });
}

function sumOf(places: readonly PlaceCounts[]): PlaceCounts {
  const sum = (of: (place: PlaceCounts) => number | null): number =>
    places.reduce((total, place) => total + (of(place) ?? 0), 0);
  return {
    ...{ layer: "", matrix: "", elements: sum(({ elements }) => elements) },
    ...{ onlyIn: sum(({ onlyIn }) => onlyIn), onlyOut: sum(({ onlyOut }) => onlyOut) },
    both: sum(({ both }) => both),
    importanceIn: sum(({ importanceIn }) => importanceIn),
    importanceOut: sum(({ importanceOut }) => importanceOut),
  };
}

function byTask({ tasks }: MaskFigures, name: string): Content {
  return table({
    caption: `Over all weights at the last logged cycle of each task, in percent; ${name}`,
    head: ["task", "cycle", "inner mask", "outer mask", "overlap"],
    rows: tasks.map(({ task, cycle, elements, onlyIn, onlyOut, both }) => [
      task,
      count(cycle + 1),
      share((onlyIn + both) / elements),
      share((onlyOut + both) / elements),
      onlyIn + onlyOut + both === 0 ? missing : share(both / (onlyIn + onlyOut + both)),
    ]),
  });
}
