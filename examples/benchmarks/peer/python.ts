/** The Python with transformers and peft: one that the user names, or a virtual environment of this benchmark's own in the cache. */
import { execFile } from "node:child_process";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { readEnvironment } from "../../../lib/native/environment.js";

const run = promisify(execFile);

/** The same libtorch as on this side; the others as of its release. */
const requirements = ["torch==2.15.0", "transformers==5.23.0", "peft==0.21.2", "safetensors==0.8.0"];
const modules = requirements.map((requirement) => requirement.split("==")[0]!);

export interface Python {
  program: string;
  /** Versions found, by module. */
  versions: Record<string, string>;
}

/**
 * `RKIF_PYTHON` where that is set, and then nothing is installed; else the cached environment, made by pip at the first call (torch
 * brings some gigabytes where pip finds it only with CUDA's libraries; pip's variables, such as PIP_EXTRA_INDEX_URL, are heeded).
 * @throws an error that names what is missing
 */
export async function findPython(say: (line: string) => void): Promise<Python> {
  const named = process.env["RKIF_PYTHON"];
  if (named) return { program: named, versions: await versionsIn(named, "RKIF_PYTHON") };
  const folder = join(readEnvironment().cache, "peer", "python");
  const program = join(folder, "bin", "python");
  const marker = join(folder, "installed.json");
  const wanted = JSON.stringify(requirements);
  if ((await readFile(marker, "utf8").catch(() => "")) !== wanted) {
    say(`installing ${requirements.join(" ")} into ${folder}; RKIF_PYTHON names a Python that has them`);
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    await must("python3", ["-m", "venv", folder], "python3 with venv makes the peer's environment");
    const install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", ...requirements];
    await must(program, install, "pip fetches the peer's packages");
    // Last: an install that was interrupted is made anew.
    await writeFile(marker, wanted);
  }
  return { program, versions: await versionsIn(program, folder) };
}

async function must(command: string, args: readonly string[], what: string): Promise<void> {
  try {
    await run(command, args, { maxBuffer: 2 ** 26 });
  } catch (error) {
    const { message, stderr } = error as Error & { stderr?: string };
    const said = stderr?.trim() === "" || stderr === undefined ? message : stderr.trim();
    throw new Error(
      `${what}, and failed:\n${said}\nRKIF_PYTHON names another Python that has ${modules.join(", ")}`,
      { cause: error },
    );
  }
}

async function versionsIn(program: string, source: string): Promise<Record<string, string>> {
  const look = `
import importlib.metadata, json
found = {}
for name in ${JSON.stringify(modules)}:
    try: found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError: pass
print(json.dumps(found))`;
  const { stdout } = await run(program, ["-c", look]).catch((error: Error) => {
    throw new Error(`${source}: ${program} does not run: ${error.message}`);
  });
  const versions = JSON.parse(stdout) as Record<string, string>;
  const missing = modules.filter((name) => versions[name] === undefined);
  if (missing.length === 0) return versions;
  throw new Error(`${source}: ${program} has no ${missing.join(", ")}; expected ${requirements.join(" ")}`);
}
