/**
 * Q^T of the QR decomposition of A^T whose R has a positive diagonal: orthonormal rows that span, one after another, what A's rows
 * span. By Gram-Schmidt in double precision, each row projected twice, which keeps them orthogonal to rounding ("twice is enough":
 * Giraud, Langou, Rozloznik, 2005). A row that depends on those before it, for which Q is any completion, becomes the first unit vector that
 * does not; beyond the number of columns, rows are zero.
 * @param a [rows, columns], row by row
 */
export function orthonormalRows(a: Float32Array, rows: number, columns: number): Float32Array {
  const done: Float64Array[] = [];
  for (let k = 0; k < rows; k++) {
    const row = Float64Array.from(a.subarray(k * columns, (k + 1) * columns));
    let unit = k < columns ? direction(row, done) : undefined;
    for (let i = 0; i < columns && k < columns && !unit; i++) {
      unit = direction(
        Float64Array.from(row, (_, j) => (i === j ? 1 : 0)),
        done,
      );
    }
    done.push(unit ?? new Float64Array(columns));
  }
  const q = new Float32Array(rows * columns);
  done.forEach((row, k) => q.set(row, k * columns));
  return q;
}

/** What is left of a row outside the span of orthonormal ones, at length 1; undefined where that is only rounding. */
function direction(row: Float64Array, basis: readonly Float64Array[]): Float64Array | undefined {
  const before = Math.sqrt(dot(row, row));
  for (let pass = 0; pass < 2; pass++) {
    for (const unit of basis) {
      const along = dot(row, unit);
      for (let i = 0; i < row.length; i++) row[i]! -= along * unit[i]!;
    }
  }
  const left = Math.sqrt(dot(row, row));
  // fp32 values: what remains of a dependent row is below their own rounding.
  return left > 1e-7 * before ? row.map((value) => value / left) : undefined;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
