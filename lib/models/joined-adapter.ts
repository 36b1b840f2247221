import type { Model, TensorLayout, TensorToWrite } from "../native/contract.js";
import type { LoraConfig } from "./lora.js";

/** A matrix of the joined adapter, row by row. */
type Joined = Pick<TensorToWrite, "name" | "shape" | "type"> & { from: Float32Array };

/**
 * The one adapter that computes what a model's frozen adapters and the one that trains do together: every A is theirs one below the
 * other, every B theirs side by side, the frozen ones first.
 */
export async function joinedTensors(
  model: Pick<Model, "layout" | "parameters" | "copyFrozen">,
): Promise<Joined[]> {
  const frozen = model.copyFrozen();
  try {
    const [past, now] = await Promise.all([frozen.read(), model.parameters.read()]);
    const adapters: Float32Array[] = [];
    for (let start = 0; start < past.length; start += now.length)
      adapters.push(past.subarray(start, start + now.length));
    adapters.push(now);
    return model.layout.map((tensor) => joined(tensor, adapters));
  } finally {
    frozen.dispose();
  }
}

/** The shape of an adapter that stands for `adapters` of the given one: its scale, alpha / r or alpha / sqrt(r), is the same. */
export function joinedConfig(lora: LoraConfig, adapters: number): LoraConfig {
  const stretch = lora.rsLora ? Math.sqrt(adapters) : adapters;
  const times = (table: Record<string, number>, factor: number): Record<string, number> =>
    Object.fromEntries(Object.entries(table).map(([pattern, value]) => [pattern, factor * value]));
  return {
    ...lora,
    r: adapters * lora.r,
    alpha: stretch * lora.alpha,
    rankPattern: times(lora.rankPattern, adapters),
    alphaPattern: times(lora.alphaPattern, stretch),
  };
}

function joined({ name, shape, offset }: TensorLayout, adapters: readonly Float32Array[]): Joined {
  const [rows, columns] = shape as [number, number];
  const values = new Float32Array(adapters.length * rows * columns);
  const isA = name.endsWith(".lora_A.weight");
  adapters.forEach((adapter, i) => {
    const matrix = adapter.subarray(offset, offset + rows * columns);
    if (isA) return values.set(matrix, i * rows * columns);
    for (let row = 0; row < rows; row++) {
      const part = matrix.subarray(row * columns, (row + 1) * columns);
      values.set(part, (row * adapters.length + i) * columns);
    }
  });
  const many = adapters.length;
  return { name, shape: isA ? [many * rows, columns] : [rows, many * columns], type: "F32", from: values };
}
