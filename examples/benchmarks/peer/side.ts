/** One side of the comparison: a process that answers requests. Measuring happens in it, by its own clock. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";

export class Side {
  readonly #name: string;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string>;
  #stderr = "";

  private constructor(name: string, command: string, args: readonly string[], threads: number) {
    this.#name = name;
    this.#child = spawn(command, args, {
      env: { ...process.env, OMP_NUM_THREADS: String(threads), HF_HUB_OFFLINE: "1", PYTHONUNBUFFERED: "1" },
    });
    this.#child.stderr.setEncoding("utf8").on("data", (text: string) => (this.#stderr += text));
    // It ended: request() says so with what it wrote last.
    this.#child.stdin.on("error", () => undefined);
    this.#child.on("error", (error) => (this.#stderr += error.message));
    this.#answers = createInterface(this.#child.stdout)[Symbol.asyncIterator]();
  }

  /** Node, with the loader that this process runs with. */
  static here(threads: number): Side {
    const program = join(import.meta.dirname, "here.ts");
    return new Side("this side", process.execPath, [...process.execArgv, program], threads);
  }

  /** Node without a loader, on the compiled package: only for the first loss. */
  static start(threads: number): Side {
    return new Side("this side", process.execPath, [join(import.meta.dirname, "start.mjs")], threads);
  }

  static peer(python: string, threads: number): Side {
    return new Side("the peer", python, [join(import.meta.dirname, "peer.py")], threads);
  }

  /** Ends the process at once: a request that waits for it fails. */
  kill(): void {
    this.#child.kill("SIGKILL");
  }

  /** One request at a time. */
  async request<T>(request: object): Promise<T> {
    this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    const line = await this.#answers.next();
    if (line.done) throw new Error(`${this.#name} ended:\n${this.#stderr.trim()}`);
    const answer = JSON.parse(line.value) as T & { error?: string };
    if (answer.error !== undefined) throw new Error(`${this.#name}: ${answer.error}`);
    return answer;
  }

  /** Settles when the process is gone and its memory free. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = new Promise((resolve) => this.#child.once("close", resolve));
    this.#child.stdin.end();
    await gone;
  }
}
