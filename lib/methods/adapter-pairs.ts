import { RkifError } from "../errors.js";
import type { TensorLayout } from "../native/contract.js";

/** One module's adapter within the flat vector: A is [r, in], B is [out, r]. */
export interface AdapterPair {
  readonly a: TensorLayout;
  readonly b: TensorLayout;
}

/**
 * The A and B of every adapted module.
 * @throws {RkifError} CONFIG_INVALID where the tensors are not those of an adapter.
 */
export function adapterPairs(tensors: readonly TensorLayout[]): AdapterPair[] {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const pairs = tensors.flatMap((a) => {
    const b = byName.get(a.name.replace(/\.lora_A\.(?=(?:\w+\.)?weight$)/, ".lora_B."));
    return b && b !== a ? [{ a, b }] : [];
  });
  if (pairs.length > 0 && 2 * pairs.length === tensors.length) return pairs;
  throw new RkifError(
    "CONFIG_INVALID",
    `of ${tensors.length} trained tensors, ${2 * pairs.length} are an adapter's A and B; expected all of them: use trainable "lora"`,
  );
}
