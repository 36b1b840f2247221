/** A Python program that answers requests, one JSON document a line: importing torch and transformers takes many seconds, once. */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from "node:child_process";
import { createInterface } from "node:readline";

export const python: string = process.env["RKIF_PYTHON"] ?? "python3";

/** Why `python` cannot run a program that needs `modules`; null where it can. They are looked for, not imported. */
export function missingInPython(modules: readonly string[]): string | null {
  const look = `import importlib.util as u; print(*[n for n in ${JSON.stringify(modules)} if u.find_spec(n) is None])`;
  const { status, stdout, error } = spawnSync(python, ["-c", look], { encoding: "utf8", timeout: 20_000 });
  if (error !== undefined || status !== 0) return `${python} does not run`;
  return stdout.trim() === "" ? null : `${python} has no ${stdout.trim().replaceAll(" ", ", ")}`;
}

export class PythonProgram {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string>;
  #stderr = "";

  constructor(program: string) {
    this.#child = spawn(python, [program], { env: { ...process.env, HF_HUB_OFFLINE: "1" } });
    this.#child.stderr.setEncoding("utf8").on("data", (text: string) => (this.#stderr += text));
    this.#child.stdin.on("error", () => undefined); // it ended: request() says so with what it wrote last
    this.#answers = createInterface(this.#child.stdout)[Symbol.asyncIterator]();
  }

  /** One request at a time. */
  async request<T>(request: object): Promise<T> {
    this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    const line = await this.#answers.next();
    if (line.done) throw new Error(`the Python program ended:\n${this.#stderr}`);
    const answer = JSON.parse(line.value) as T & { error?: string };
    if (answer.error !== undefined) throw new Error(`${answer.error}\n${this.#stderr}`);
    return answer;
  }

  close(): void {
    this.#child.stdin.end();
  }
}
