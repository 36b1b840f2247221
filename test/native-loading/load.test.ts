import { expect } from "chai";
import { spawnSync } from "node:child_process";
import { cpSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { RkifError } from "../../lib/errors.js";
import { findLocalBuild } from "../../lib/native/addon-files.js";
import { packageRoot } from "../../lib/native/failure.js";
import { searchLibtorch } from "../../lib/native/libtorch-search.js";
import { minorOf } from "../../lib/native/libtorch-version.js";
import { openAddon } from "../../lib/native/load.js";
import { currentPlatform } from "../../lib/native/platform.js";
import { Scratch } from "./fakes.js";

const prebuilds = join("package", "prebuilds", currentPlatform().name);

describe("loading the addon", () => {
  let scratch: Scratch;
  beforeEach(() => {
    scratch = new Scratch();
    scratch.mkdir("package");
  });
  afterEach(() => scratch.remove());

  function failure(libtorch?: string): RkifError {
    try {
      openAddon({ root: scratch.path("package"), environment: scratch.environment(), libtorch });
    } catch (error) {
      expect(error).to.be.instanceOf(RkifError);
      return error as RkifError;
    }
    throw new Error("nothing was thrown");
  }

  function localBuild(libtorch: string): void {
    scratch.addon("package/build/Release", libtorch);
    scratch.write("package/build/Release/rkif_preload.node", "not an addon");
  }

  function prebuilt(libtorch: string): void {
    scratch.addon(join(prebuilds, `libtorch-${minorOf(libtorch)}`), libtorch);
    scratch.write(join(prebuilds, "rkif_preload.node"), "not an addon");
  }

  it("without any addon names both places and the command, which differs between a clone and an installation", () => {
    const installed = failure();
    expect(installed.code).to.equal("ADDON_MISSING");
    expect(installed.message)
      .to.contain(scratch.path("package", "build"))
      .and.contain(scratch.path(prebuilds));
    expect(installed.message).to.contain("npm install recurrent-kif");
    scratch.write("package/CMakeLists.txt", "");
    expect(failure().message).to.contain("npm run compile").and.not.contain("npm install recurrent-kif");
  });

  it("without libtorch names the version it needs, what was tried and how to get one", () => {
    prebuilt("2.13.0");
    const error = failure();
    expect(error.code).to.equal("LIBTORCH_MISSING");
    expect(error.message).to.contain("found no libtorch 2.13").and.contain("python3 is not on the PATH");
    expect(error.message).to.contain("npx rkif libtorch install").and.contain("torch==2.13.0");
  });

  it("skips a libtorch of another minor version, and refuses it where it was named", () => {
    prebuilt("2.13.0");
    scratch.cached("2.15.0");
    const skipped = failure();
    expect(skipped.code).to.equal("LIBTORCH_MISSING");
    expect(skipped.message).to.contain("libtorch 2.15.0; the addon is built for 2.13");
    const named = failure(scratch.libtorch("named", "2.15.0"));
    expect(named.code).to.equal("LIBTORCH_UNSUPPORTED");
    expect(named.message).to.contain("option libtorch").and.contain("built for 2.13");
  });

  it("takes the local build first, and a prebuilt one where the local build fits no libtorch", () => {
    prebuilt("2.15.0");
    localBuild("2.13.0");
    scratch.cached("2.15.0");
    expect(failure().message).to.contain(scratch.path(prebuilds, "rkif_preload.node"));
    scratch.cached("2.13.0");
    expect(failure().message).to.contain(scratch.path("package/build/Release/rkif_preload.node"));
  });

  it("tells the dynamic linker's reason where the addon's files are damaged", () => {
    prebuilt("2.15.0");
    scratch.cached("2.15.0");
    const error = failure();
    expect(error.code).to.equal("ADDON_FAILED");
    expect(error.message).to.match(
      /rkif_preload\.node: .*(file too short|invalid ELF header|not a mach-o|slice)/,
    );
    expect(error.cause).to.be.instanceOf(Error);
  });

  it("names what is missing beside an addon", () => {
    scratch.addon(join(prebuilds, "libtorch-2.15"), "2.15.0");
    expect(failure().message).to.contain("rkif_preload.node is missing");
    scratch.write(join(prebuilds, "rkif_preload.node"), "");
    scratch.write(join(prebuilds, "libtorch-2.15", "rkif.json"), "{}");
    expect(failure().message).to.match(/rkif\.json has no "libtorch"/);
  });

  describe("that was really built", () => {
    /** Runs `script` in a process of its own with `openAddon`, `root` and `libtorch` at hand. */
    function inProcess(root: string, libtorch: string, script: string): string {
      const load = pathToFileURL(join(packageRoot, "lib/native/load.ts")).href;
      const environment = pathToFileURL(join(packageRoot, "lib/native/environment.ts")).href;
      const source = `
        const { openAddon } = await import(${JSON.stringify(load)});
        const { readEnvironment } = await import(${JSON.stringify(environment)});
        const [root, libtorch] = ${JSON.stringify([root, libtorch])};
        const open = (folder) => openAddon({ root, environment: readEnvironment(), libtorch: folder });
        ${script}`;
      const { stdout, stderr, status, signal } = spawnSync(
        process.execPath,
        ["--import", "tsx", "--input-type=module", "-e", source],
        { cwd: packageRoot, encoding: "utf8", timeout: 60_000 },
      );
      expect(signal, stderr).to.equal(null);
      expect(status, stderr).to.equal(0);
      return stdout.trim();
    }

    let libtorch: string;
    before(function () {
      const local = findLocalBuild(packageRoot).files;
      const found = searchLibtorch().libtorch;
      if (
        local === undefined ||
        found === undefined ||
        minorOf(found.version) !== minorOf(local.info.libtorch)
      ) {
        this.skip();
      }
      libtorch = found.folder;
    });

    it("runs from a prebuilt folder alone, without a search path or anything in the environment", function () {
      this.timeout(60_000);
      const release = join(packageRoot, "build", "Release");
      const folder = scratch.path(prebuilds);
      cpSync(join(release, "rkif_preload.node"), join(folder, "rkif_preload.node"));
      for (const name of ["rkif.node", "rkif.json"])
        cpSync(join(release, name), join(folder, "libtorch-x", name));
      const script = `
        const { addon, files } = open(libtorch);
        console.log(JSON.stringify({ build: addon.build, origin: files.origin }));`;
      const { build, origin } = JSON.parse(inProcess(scratch.path("package"), libtorch, script)) as {
        build: { libtorch: string; openmp: boolean };
        origin: string;
      };
      expect(origin).to.equal("prebuilt");
      expect(minorOf(build.libtorch)).to.equal(minorOf(searchLibtorch().libtorch?.version ?? ""));
      expect(build.openmp, "at::parallel_for is silently serial without -fopenmp").to.equal(true);
    });

    it("refuses a second libtorch in one process", function () {
      this.timeout(60_000);
      const other = scratch.libtorch("other", searchLibtorch().libtorch?.version);
      const script = `
        open(libtorch);
        try { open(${JSON.stringify(other)}); } catch (error) { console.log(error.code, error.message); }`;
      expect(inProcess(packageRoot, libtorch, script))
        .to.contain("ADDON_FAILED")
        .and.contain("already uses");
    });

    it("goes on to the next libtorch where one cannot be opened", function () {
      this.timeout(60_000);
      scratch.libtorch("venv/lib/python3.12/site-packages/torch", searchLibtorch().libtorch?.version);
      const script = `
        process.env.VIRTUAL_ENV = ${JSON.stringify(scratch.path("venv"))};
        delete process.env.RKIF_LIBTORCH;
        process.env.CONDA_PREFIX = ${JSON.stringify(scratch.path("conda"))};
        console.log(open(undefined).libtorch.folder);`;
      scratch.mkdir("conda/lib/python3.12/site-packages");
      symlinkSync(libtorch, scratch.path("conda/lib/python3.12/site-packages/torch"));
      expect(inProcess(packageRoot, libtorch, script)).to.equal(
        scratch.path("conda/lib/python3.12/site-packages/torch"),
      );
    });
  });
});
