import { expect } from "chai";
import { existsSync, symlinkSync } from "node:fs";
import { join } from "node:path";

import { RkifError } from "../../lib/errors.js";
import { findLibtorch, libtorchCandidates, searchLibtorch } from "../../lib/native/libtorch-search.js";
import { compareVersionsDescending, readLibtorchVersion } from "../../lib/native/libtorch-version.js";
import { Scratch } from "./fakes.js";

describe("finding libtorch", () => {
  let scratch: Scratch;
  beforeEach(() => {
    scratch = new Scratch();
  });
  afterEach(() => scratch.remove());

  /** A python3 that says torch is in `folder`, and leaves a mark that it was started. */
  function python(folder: string): void {
    scratch.program("python3", `#!/bin/sh\n: > "${scratch.path("started")}"\necho "${folder}"\n`);
  }

  const error = (action: () => unknown): RkifError => {
    try {
      action();
    } catch (thrown) {
      expect(thrown).to.be.instanceOf(RkifError);
      return thrown as RkifError;
    }
    throw new Error("nothing was thrown");
  };

  it("takes option, RKIF_LIBTORCH, virtual environment, conda, python3, cache in this order", () => {
    const option = scratch.libtorch("option", "2.11.0");
    const named = scratch.libtorch("named", "2.12.0");
    const venv = scratch.libtorch("venv/lib/python3.12/site-packages/torch", "2.13.0");
    const conda = scratch.libtorch("conda/lib/python3.11/site-packages/torch", "2.14.1");
    const ofPython = scratch.libtorch("site/torch", "2.15.0");
    python(ofPython);
    const cached = scratch.cached("2.15.0");
    const variables: NodeJS.ProcessEnv = {
      RKIF_LIBTORCH: named,
      VIRTUAL_ENV: scratch.path("venv"),
      CONDA_PREFIX: scratch.path("conda"),
    };
    const found = (libtorch?: string): string | undefined =>
      searchLibtorch({ libtorch, environment: scratch.environment(variables) }).libtorch?.folder;
    expect(found(option)).to.equal(option);
    expect(found()).to.equal(named);
    delete variables["RKIF_LIBTORCH"];
    expect(found()).to.equal(venv);
    delete variables["VIRTUAL_ENV"];
    expect(found()).to.equal(conda);
    delete variables["CONDA_PREFIX"];
    expect(existsSync(scratch.path("started")), "python3 is started only when it is needed").to.equal(false);
    expect(found()).to.equal(ofPython);
    scratch.program("python3", "#!/bin/sh\necho\n");
    expect(found()).to.equal(cached);
  });

  it("skips what it cannot use and lists it with the reason", () => {
    scratch.libtorch("venv/lib/python3.12/site-packages/torch", "2.4.1");
    scratch.libtorch("conda/lib/python3.12/site-packages/torch", "2.15.0", { libraries: false });
    python(scratch.libtorch("site/torch", "2.14.0", { headers: false }));
    scratch.cached("2.13.0");
    const environment = scratch.environment({
      VIRTUAL_ENV: scratch.path("venv"),
      CONDA_PREFIX: scratch.path("conda"),
    });
    const { libtorch, attempts } = searchLibtorch({ headers: true, environment });
    expect(libtorch?.version).to.equal("2.13.0");
    expect(attempts).to.have.length(3);
    expect(attempts[0]).to.match(/virtual environment.*2\.4\.1; supported are 2\.11/);
    expect(attempts[1]).to.match(/conda environment.*lib\/libtorch_cpu\.\w+ and lib\/libc10\.\w+ is missing/);
    expect(attempts[2]).to.match(/python3.*no ATen headers/);
    expect(searchLibtorch({ environment }).libtorch?.version, "headers are for building only").to.equal(
      "2.14.0",
    );
  });

  it("takes the newest of the cache, by number", () => {
    scratch.cached("2.11.0");
    scratch.cached("2.15.0");
    scratch.cached("2.9.0");
    expect(searchLibtorch({ environment: scratch.environment() }).libtorch?.version).to.equal("2.15.0");
    expect(["2.9.0", "2.15.0", "2.13.1", "2.13.10"].sort(compareVersionsDescending)).to.deep.equal([
      "2.15.0",
      "2.13.10",
      "2.13.1",
      "2.9.0",
    ]);
  });

  it("does not look at one folder twice", () => {
    const venv = scratch.libtorch("venv/lib/python3.12/site-packages/torch", "2.3.0");
    symlinkSync(venv, scratch.path("alias"));
    python(scratch.path("alias"));
    const environment = scratch.environment({ VIRTUAL_ENV: scratch.path("venv") });
    expect([...libtorchCandidates({ environment })].map(({ origin }) => origin)).to.deep.equal([
      "virtual environment",
      "cache",
    ]);
  });

  it("refuses a named libtorch that cannot serve, whatever else there is", () => {
    scratch.cached("2.15.0");
    const old = scratch.libtorch("old", "1.13.1+cpu");
    const unsupported = error(() => findLibtorch({ libtorch: old, environment: scratch.environment() }));
    expect(unsupported.code).to.equal("LIBTORCH_UNSUPPORTED");
    expect(unsupported.message).to.contain("1.13.1+cpu").and.contain(old).and.contain("Possible solutions:");
    const missing = scratch.path("nowhere");
    const absent = error(() =>
      findLibtorch({ environment: scratch.environment({ RKIF_LIBTORCH: missing }) }),
    );
    expect(absent.code).to.equal("LIBTORCH_MISSING");
    expect(absent.message).to.contain("RKIF_LIBTORCH").and.contain(missing).and.contain("no such folder");
  });

  it("with no python, no environment and an empty cache says what was tried and which commands help", () => {
    const none = error(() => findLibtorch({ environment: scratch.environment() }));
    expect(none.code).to.equal("LIBTORCH_MISSING");
    expect(none.message)
      .to.contain("python3 is not on the PATH")
      .and.match(/cache .*: empty/);
    expect(none.message).to.contain("export RKIF_LIBTORCH=").and.contain("npm run compile");
  });

  it("survives a python3 that fails", () => {
    scratch.program("python3", "#!/bin/sh\necho 'Fatal Python error: no encodings' >&2\nexit 1\n");
    const { attempts } = searchLibtorch({ environment: scratch.environment() });
    expect(attempts[0]).to.contain("python3 ended with 1: Fatal Python error: no encodings");
  });

  it("reads versions without loading anything", () => {
    const read = (file: string, text: string): string | undefined => {
      const folder = scratch.path("v", String(Math.random()));
      scratch.write(join(folder.slice(scratch.folder.length + 1), file), text);
      return readLibtorchVersion(folder);
    };
    expect(read("version.py", "from typing import Optional\n__version__ = '2.15.0+cu132'\n")).to.equal(
      "2.15.0+cu132",
    );
    expect(read("version.py", '__version__: str = "2.11.0a0+git1"\n')).to.equal("2.11.0a0+git1");
    expect(read("build-version", "2.13.0+cpu\n")).to.equal("2.13.0+cpu");
    expect(read("version.py", "debug = False\n")).to.equal(undefined);
    expect(read("build-version", "unknown\n")).to.equal(undefined);
  });
});
