import type { TensorShape } from "../../training/tensor-statistics.js";
import { elementCount } from "../../models/element-count.js";
import type { LoggedTask } from "../data/metrics-log.js";
import { placeOf } from "./tensor-name.js";

/** Elements of one kind of matrix in one layer, summed over the cycles looked at. */
export interface PlaceCounts {
  layer: string;
  matrix: string;
  elements: number;
  /** Null where the method made no masks. */
  onlyIn: number | null;
  onlyOut: number | null;
  both: number | null;
  /** Sums of importance; null where one was not finite. */
  importanceIn: number | null;
  importanceOut: number | null;
}

/** Where the masks lie: for every layer and matrix, from the last logged cycle of every task. */
export interface MaskFigures {
  places: PlaceCounts[];
  /** By task, over all tensors. */
  tasks: { task: string; cycle: number; elements: number; onlyIn: number; onlyOut: number; both: number }[];
}

/** Null where nothing was logged by tensor, or the layout is of an earlier version and unknown. */
export function maskFigures(log: readonly LoggedTask[], layout: readonly TensorShape[]): MaskFigures | null {
  const last = log.flatMap(({ task, tensors }) => {
    const event = tensors.at(-1);
    return event?.importanceIn.length === layout.length ? [{ ...event, task }] : [];
  });
  if (last.length === 0) return null;
  const places = new Map<string, PlaceCounts>();
  for (const event of last) {
    for (const [i, tensor] of layout.entries()) {
      const size = elementCount(tensor);
      const total = (mean: number | null | undefined): number | null =>
        mean === null || mean === undefined ? null : mean * size;
      addTo(places, {
        ...placeOf(tensor.name),
        elements: size,
        onlyIn: event.onlyIn?.[i] ?? null,
        onlyOut: event.onlyOut?.[i] ?? null,
        both: event.both?.[i] ?? null,
        importanceIn: total(event.importanceIn[i]),
        importanceOut: total(event.importanceOut[i]),
      });
    }
  }
  const elements = layout.reduce((sum, tensor) => sum + elementCount(tensor), 0);
  return {
    places: [...places.values()],
    tasks: last.flatMap(({ task, cycle, onlyIn, onlyOut, both }) =>
      onlyIn && onlyOut && both
        ? [{ task, cycle, elements, onlyIn: sum(onlyIn), onlyOut: sum(onlyOut), both: sum(both) }]
        : [],
    ),
  };
}

/** The same over several runs of one model. */
export function joinMasks(all: readonly (MaskFigures | null)[]): MaskFigures | null {
  const found = all.filter((figures) => figures !== null);
  if (found.length === 0) return null;
  const places = new Map<string, PlaceCounts>();
  for (const figures of found) for (const place of figures.places) addTo(places, place);
  return { places: [...places.values()], tasks: found[0]!.tasks };
}

function addTo(places: Map<string, PlaceCounts>, more: PlaceCounts): void {
  const key = `${more.layer}\n${more.matrix}`;
  const place = places.get(key);
  if (!place) return void places.set(key, { ...more });
  place.elements += more.elements;
  for (const name of ["onlyIn", "onlyOut", "both", "importanceIn", "importanceOut"] as const) {
    const [a, b] = [place[name], more[name]];
    place[name] = a === null || b === null ? null : a + b;
  }
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
