import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { readEnvironment, type Environment } from "../../lib/native/environment.js";
import { currentPlatform } from "../../lib/native/platform.js";

/** A scratch folder with an empty PATH and home of its own: nothing of the machine shows through. */
export class Scratch {
  readonly folder: string = mkdtempSync(join(tmpdir(), "rkif-test-"));
  readonly bin: string = this.mkdir("bin");
  readonly home: string = this.mkdir("home");

  path(...parts: string[]): string {
    return join(this.folder, ...parts);
  }

  mkdir(...parts: string[]): string {
    const path = this.path(...parts);
    mkdirSync(path, { recursive: true });
    return path;
  }

  write(path: string, text: string): string {
    const full = this.path(path);
    mkdirSync(dirname(full), { recursive: true });
    writeFileSync(full, text);
    return full;
  }

  /** An executable on the scratch PATH. */
  program(name: string, script: string): void {
    chmodSync(this.write(join("bin", name), script), 0o755);
  }

  environment(variables: NodeJS.ProcessEnv = {}): Environment {
    return readEnvironment({ PATH: this.bin, HOME: this.home, ...variables });
  }

  /** What looks like a libtorch from the outside. */
  libtorch(
    path: string,
    version: string | undefined,
    options: { headers?: boolean; libraries?: boolean } = {},
  ): string {
    if (version !== undefined)
      this.write(join(path, "version.py"), `__version__ = '${version}'\ndebug = False\n`);
    for (const name of options.libraries === false ? [] : currentPlatform().libraries) {
      this.write(join(path, "lib", name), "not a library");
    }
    if (options.headers !== false) this.write(join(path, "include", "ATen", "core", "Tensor.h"), "");
    return this.path(path);
  }

  cached(version: string): string {
    const entry = `${version}-${currentPlatform().name}`;
    return this.libtorch(join("home", ".cache", "recurrent-kif", "libtorch", entry, "torch"), version);
  }

  /** What looks like a package with an addon built for `libtorch`. */
  addon(folder: string, libtorch: string, contents: string = "not an addon"): void {
    this.write(join(folder, "rkif.node"), contents);
    this.write(join(folder, "rkif.json"), JSON.stringify({ libtorch }));
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Makes a wheel, which is a zip archive; what lies in a bin folder is a program. */
const MAKE_WHEEL = `
import json, sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_DEFLATED) as archive:
    for name, text in json.loads(sys.argv[2]).items():
        item = zipfile.ZipInfo(name)
        item.external_attr = (0o755 if "/bin/" in name else 0o644) << 16
        archive.writestr(item, text)
`;

/** A python3 on the scratch PATH whose `pip download` takes wheels from a folder. */
export class Registry {
  /** The machine's own, which still makes and unpacks wheels. */
  static readonly realPython: string | undefined = (() => {
    const { status, stdout } = spawnSync("python3", ["-c", "import sys; print(sys.executable)"], {
      encoding: "utf8",
    });
    return status === 0 ? stdout.trim() : undefined;
  })();
  readonly #scratch: Scratch;

  constructor(scratch: Scratch) {
    this.#scratch = scratch;
    scratch.mkdir("registry");
  }

  /** `download` is shell: it puts wheels of "$REGISTRY" into "$dest"; $4 is the first requirement. */
  python(download: string = 'cp "$REGISTRY"/torch*.whl "$dest"'): void {
    this.#scratch.program(
      "python3",
      `#!/bin/sh
PATH=/usr/bin:/bin; REGISTRY="${this.#scratch.path("registry")}"
echo "$*" >> "${this.#scratch.path("calls")}"
if [ "$1 $2 $3" = "-m pip --version" ]; then echo "pip 25.0"; exit 0; fi
if [ "$1 $2 $3" = "-m pip download" ]; then
  previous=; for argument in "$@"; do [ "$previous" = --dest ] && dest="$argument"; previous="$argument"; done
  mkdir -p "$dest"
  ${download}
  exit
fi
exec "${Registry.realPython}" "$@"
`,
    );
  }

  wheel(name: string, files: Record<string, string>): void {
    const path = this.#scratch.path("registry", `${name}-py3-none-any.whl`);
    execFileSync(Registry.realPython ?? "python3", ["-c", MAKE_WHEEL, path, JSON.stringify(files)]);
  }

  /** What python3 was called with, a line each. */
  calls(): string[] {
    return readFileSync(this.#scratch.path("calls"), "utf8").trim().split("\n");
  }
}
