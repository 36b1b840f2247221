import cliProgress from "cli-progress";

/** How far a piece of work is. One piece at a time: a new `start` ends the one before. */
export interface Progress {
  start(label: string, total: number): void;
  /** `done` of the total so far; the note stays until the next one. */
  update(done: number, note?: string): void;
  stop(): void;
}

export interface ProgressOptions {
  /** Where there is no terminal: at most one line in this many seconds. Default 10. */
  intervalSeconds?: number;
  /** Clock in milliseconds, for tests. */
  now?: () => number;
}

/** A bar where the stream is a terminal, plain lines otherwise. Nothing is written to any other stream. */
export function createProgress(
  stream: NodeJS.WritableStream & { isTTY?: boolean },
  options: ProgressOptions = {},
): Progress {
  return stream.isTTY ? new BarProgress(stream) : new LineProgress(stream, options);
}

/** A progress bar that redraws itself in place and goes away when the work is done. */
class BarProgress implements Progress {
  readonly #stream: NodeJS.WritableStream;
  #bar: cliProgress.SingleBar | undefined;
  #note = "";

  constructor(stream: NodeJS.WritableStream) {
    this.#stream = stream;
  }

  start(label: string, total: number): void {
    this.stop();
    this.#note = "";
    this.#bar = new cliProgress.SingleBar({
      stream: this.#stream,
      format: "{label} [{bar}] {value}/{total}  {eta_formatted} left  {note}",
      barsize: 24,
      hideCursor: true,
      clearOnComplete: true,
      // By default the bar listens for SIGINT itself; interrupts belong to the run, which saves first.
      gracefulExit: false,
    });
    this.#bar.start(total, 0, { label, note: "" });
  }

  update(done: number, note?: string): void {
    this.#note = note ?? this.#note;
    this.#bar?.update(done, { note: this.#note });
  }

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}

/** `label: 120/900 (13 %), note` now and then, for log files. Short work may leave no line. */
class LineProgress implements Progress {
  readonly #stream: NodeJS.WritableStream;
  readonly #interval: number;
  readonly #now: () => number;
  #last = -Infinity;
  #label = "";
  #total = 0;
  #note = "";

  constructor(stream: NodeJS.WritableStream, { intervalSeconds = 10, now = Date.now }: ProgressOptions) {
    this.#stream = stream;
    this.#interval = intervalSeconds * 1000;
    this.#now = now;
  }

  start(label: string, total: number): void {
    this.#label = label;
    this.#total = total;
    this.#note = "";
    this.update(0);
  }

  update(done: number, note?: string): void {
    this.#note = note ?? this.#note;
    const now = this.#now();
    if (now - this.#last < this.#interval) return;
    this.#last = now;
    const percent = this.#total > 0 ? Math.floor((100 * done) / this.#total) : 100;
    const end = this.#note === "" ? "" : `, ${this.#note}`;
    this.#stream.write(`${this.#label}: ${done}/${this.#total} (${percent} %)${end}\n`);
  }

  stop(): void {}
}
