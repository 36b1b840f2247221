import { expect } from "chai";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { packageRoot } from "../../lib/native/failure.js";
import { Scratch } from "./fakes.js";

describe("building without the tools for it", () => {
  let scratch: Scratch;
  beforeEach(() => {
    scratch = new Scratch();
  });
  afterEach(() => scratch.remove());

  /** What the build says about its tools with nothing but the scratch folder on the PATH. */
  function complaint(): string {
    const steps = (name: string): string =>
      JSON.stringify(pathToFileURL(join(packageRoot, "scripts", "steps", name)).href);
    const source = `
      const { requireTools } = await import(${steps("native.mjs")});
      const { main } = await import(${steps("process.mjs")});
      await main(() => requireTools());`;
    const { stderr, status } = spawnSync(process.execPath, ["--input-type=module", "-e", source], {
      encoding: "utf8",
      env: { PATH: scratch.bin, HOME: scratch.home },
    });
    expect(stderr, "people get a message, not a stack").to.not.match(/^\s+at /m);
    return status === 0 ? "" : stderr;
  }

  it("names CMake, then the compiler, and the command that installs them", () => {
    expect(complaint()).to.contain("no cmake on the PATH").and.contain("apt-get install cmake g++");
    scratch.program("cmake", "#!/bin/sh\n");
    expect(complaint()).to.contain("C++20 compiler").and.contain("tried c++, g++, clang++");
    expect(complaint()).to.contain("apt-get install cmake g++");
    scratch.program("g++", "#!/bin/sh\n");
    expect(complaint()).to.equal("");
  });
});
