import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import {
  appendFile,
  mkdir,
  open,
  readFile,
  rename,
  rm,
  stat,
  truncate,
  unlink,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { RkifError } from "../errors.js";

/**
 * The files of a run. Every file is replaced as a whole (written beside its place, then renamed), but `metrics.jsonl`, which
 * grows and is cut back to the saved length when a run goes on.
 *
 *     config.json                 the resolved configuration
 *     matrix.json                 {tasks, R, OP, BWT, FWT, ...}
 *     metrics.jsonl               one event a line
 *     layout.json                 names and shapes of the trained tensors, which counts in metrics.jsonl follow
 *     predictions/NN-AFTER/NN-TASK.json
 *                                 answers to a task's test records after a task (00-untrained: before any)
 *     adapters/NN-TASK/           the adapter after each task, in PEFT form
 *     adapters/00-start/          the adapter that the run was given to continue from, if it was
 *     adapter/                    the last of them
 *     tasks/NN-TASK/              what later tasks need of this one: memory, dev and test records, labels
 *     state.safetensors           where the run stands: vectors, and counters in the metadata
 */
export class RunFolder {
  readonly path: string;
  #hasLock = false;

  constructor(path: string) {
    this.path = path;
  }

  get config(): string {
    return join(this.path, "config.json");
  }
  get matrix(): string {
    return join(this.path, "matrix.json");
  }
  get metrics(): string {
    return join(this.path, "metrics.jsonl");
  }
  get layout(): string {
    return join(this.path, "layout.json");
  }
  get state(): string {
    return join(this.path, "state.safetensors");
  }
  get #lockFile(): string {
    return join(this.path, "lock");
  }
  get lastAdapter(): string {
    return join(this.path, "adapter");
  }
  get startAdapter(): string {
    return join(this.path, "adapters", "00-start");
  }
  adapter(index: number, task: string): string {
    return join(this.path, "adapters", numbered(index, task));
  }
  task(index: number, task: string): string {
    return join(this.path, "tasks", numbered(index, task));
  }
  /** `after.index` -1: the untrained model. */
  predictions(after: { index: number; name: string | null }, task: { index: number; name: string }): string {
    const folder = numbered(after.index, after.name ?? "untrained");
    return join(this.path, "predictions", folder, `${numbered(task.index, task.name)}.json`);
  }

  /** Whether a run was begun here. */
  get exists(): boolean {
    return existsSync(this.config);
  }

  /**
   * Makes the folder and takes it for this process.
   * @throws {RkifError} RUN_CONFLICT while another process works on it.
   */
  async open(): Promise<void> {
    // At once, so that of two calls in this process only one comes to the lock.
    if (openHere.has(this.path)) throw this.#taken(process.pid);
    openHere.add(this.path);
    try {
      await mkdir(this.path, { recursive: true });
      await this.#takeLock();
    } catch (error) {
      openHere.delete(this.path);
      throw error;
    }
  }

  async #takeLock(): Promise<void> {
    const lock = this.#lockFile;
    for (let attempt = 0; ; attempt++) {
      try {
        const file = await open(lock, "wx");
        await file.writeFile(String(process.pid));
        await file.close();
        this.#hasLock = true;
        return;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
      const text = await readFile(lock, "utf8").catch(() => "");
      const pid = Number(text);
      if (attempt === 3 || (pid > 0 && pid !== process.pid && isAlive(pid))) throw this.#taken(pid);
      // Another process may have made the lock this moment and be about to write its number.
      if (text === "" && attempt === 0) await pause(100);
      // Left behind by a process that died.
      else await unlink(lock).catch(() => undefined);
    }
  }

  #taken(pid: number): RkifError {
    return new RkifError(
      "RUN_CONFLICT",
      `${this.path}: process ${pid || "unknown"} is working on this run; wait for it, stop it, or use another folder. ` +
        `If no such process runs any more, remove ${this.#lockFile}`,
    );
  }

  async close(): Promise<void> {
    if (!this.#hasLock) return;
    this.#hasLock = false;
    openHere.delete(this.path);
    await unlink(this.#lockFile).catch(() => undefined);
  }

  /** Appends one event to metrics.jsonl. */
  async log(event: Readonly<Record<string, unknown>>): Promise<void> {
    await appendFile(this.metrics, `${JSON.stringify(event)}\n`);
  }

  /** Length of metrics.jsonl in bytes, for the state. */
  async metricsLength(): Promise<number> {
    return (await stat(this.metrics).catch(() => undefined))?.size ?? 0;
  }

  /** Drops the events that were logged after the state was saved. */
  async cutMetrics(length: number): Promise<void> {
    if ((await this.metricsLength()) > length) await truncate(this.metrics, length);
  }
}

const openHere = new Set<string>();

function numbered(index: number, task: string): string {
  return `${String(index + 1).padStart(2, "0")}-${task.replace(/[^\w.-]+/g, "_")}`;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Writes a JSON file in one step: a reader sees the old content or the new, never a part. */
export async function writeJson(file: string, value: unknown): Promise<void> {
  await replaceFile(file, `${JSON.stringify(value, null, 1)}\n`);
}

export async function replaceFile(file: string, text: string): Promise<void> {
  const part = `${file}.${randomBytes(4).toString("hex")}.part`;
  try {
    const handle = await open(part, "w");
    await handle.writeFile(text);
    await handle.sync();
    await handle.close();
    await rename(part, file);
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
}

/** Fills a folder beside its place and then puts it there, replacing what stood there before. */
export async function replaceFolder(folder: string, fill: (part: string) => Promise<void>): Promise<void> {
  const part = `${folder}.part`;
  await rm(part, { recursive: true, force: true });
  await mkdir(part, { recursive: true });
  await fill(part);
  await rm(folder, { recursive: true, force: true });
  await rename(part, folder);
}

/** Reads a JSON file of a run. @throws {RkifError} RUN_INVALID naming the file. */
export async function readJson<T>(file: string): Promise<T> {
  try {
    return JSON.parse(await readFile(file, "utf8")) as T;
  } catch (error) {
    throw new RkifError("RUN_INVALID", `${file}: cannot be read as JSON: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** One record a line, as `readRecords` of data/ reads them. */
export async function writeRecords(file: string, records: readonly unknown[]): Promise<void> {
  await writeFile(file, records.map((record) => `${JSON.stringify(record)}\n`).join(""));
}
