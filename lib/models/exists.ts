import { stat } from "node:fs/promises";

/** False only where there is nothing of that name: whatever else is there shall be opened, and refused by its own name. */
export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code !== "ENOENT",
  );
}
