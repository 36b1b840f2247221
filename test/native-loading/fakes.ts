import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
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
