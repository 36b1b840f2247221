/** Elements of a tensor. */
export function elementCount({ shape }: { readonly shape: readonly number[] }): number {
  return shape.reduce((a, b) => a * b, 1);
}
