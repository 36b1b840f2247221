import { hash } from "../data/random.js";
import { elementCount } from "../models/element-count.js";
import type { TensorLayout } from "../native/contract.js";

/** Separates initial values from the other uses of a seed; see data/random.ts. */
const stream = 100;

/**
 * An adapter's first values, as PEFT's default: A uniform in [-1/sqrt(in), 1/sqrt(in)] (Kaiming with a = sqrt(5)), B zero, so
 * that the adapter begins without effect. A pure function of seed, task, tensor and element.
 * @param layout the adapter's tensors; A is [r, in], B is [out, r]
 * @param task index of the task that a further adapter is for; the run's first adapter is that of task 0
 */
export function initialAdapter(
  layout: readonly TensorLayout[],
  seed: number,
  task: number = 0,
): Float32Array {
  // So that the first adapter is the one that runs always began with.
  const key = task === 0 ? seed : hash(seed, stream, task);
  const last = layout.at(-1);
  const values = new Float32Array(last ? last.offset + elementCount(last) : 0);
  layout.forEach((tensor, number) => {
    if (!/\.lora_A\.(?:\w+\.)?weight$/.test(tensor.name)) return;
    const bound = 1 / Math.sqrt(tensor.shape[1]!);
    for (let i = 0; i < elementCount(tensor); i++) {
      values[tensor.offset + i] = (2 * ((hash(key, stream, number, i) + 0.5) / 2 ** 32) - 1) * bound;
    }
  });
  return values;
}
