import { expect } from "chai";
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

import type { CudaReport } from "../../lib/native/cuda.js";
import { findLocalBuild } from "../../lib/native/addon-files.js";
import { packageRoot } from "../../lib/native/failure.js";
import { searchLibtorch } from "../../lib/native/libtorch-search.js";
import { minorOf } from "../../lib/native/libtorch-version.js";
import { currentPlatform } from "../../lib/native/platform.js";
import { Scratch } from "./fakes.js";

const H200 = "NVIDIA H200:9.0:150754820096";
const T4 = "Tesla T4:7.5:15828320256";
const module = (name: string): string =>
  JSON.stringify(pathToFileURL(join(packageRoot, "lib/native", name)).href);

/** Compiles `source` to a shared library; false where there is no compiler. */
function compile(source: string, library: string, ...flags: string[]): boolean {
  mkdirSync(dirname(library), { recursive: true });
  const args = ["-x", "c", "-shared", "-fPIC", ...flags, source, "-o", library];
  return ["cc", "gcc", "c++"].some((compiler) => spawnSync(compiler, args).status === 0);
}

// Nothing of these tests needs a GPU or asks a real driver: where there is one, the fake stands before it.
describe("loading the CUDA half", function () {
  this.timeout(60_000);
  let scratch: Scratch;
  let root: string;
  let drivers: string;
  const all = new Scratch();
  const local = findLocalBuild(packageRoot).files;

  before(function () {
    if (process.platform !== "linux" || local === undefined) this.skip();
    drivers = all.mkdir("drivers");
    const source = fileURLToPath(new URL("fake-driver.c", import.meta.url));
    if (!compile(source, join(drivers, "whole", "libcuda.so.1"))) this.skip();
    compile(source, join(drivers, "partial", "libcuda.so.1"), "-DWITHOUT_MEMORY");
    all.write("drivers/broken/libcuda.so.1", "not a library");
  });
  after(() => all.remove());
  beforeEach(() => {
    scratch = new Scratch();
    root = scratch.mkdir("package");
  });
  afterEach(() => scratch.remove());

  const prebuilds = join("package", "prebuilds", currentPlatform().name);

  /** A package with the real preloader, an addon built for libtorch 2.15, and kernels for it. */
  function prebuilt(kernels: object | "none" = {}): void {
    const addon = { libtorch: "2.15.0", kernels: "digest" };
    const folder = join(prebuilds, "libtorch-2.15");
    cpSync(local!.preload, join(scratch.mkdir(prebuilds), "rkif_preload.node"));
    scratch.write(join(folder, "rkif.node"), "");
    scratch.write(join(folder, "rkif.json"), JSON.stringify(addon));
    if (kernels === "none") return;
    const info = { ...addon, cuda: "13.2", architectures: [80, 86, 89, 90], ...kernels };
    scratch.write(join(folder, "librkif_cuda.so"), "not a library");
    scratch.write(join(folder, "rkif_cuda.json"), JSON.stringify(info));
  }

  function libtorch(version = "2.15.0+cu132"): string {
    for (const name of ["libc10_cuda.so", "libtorch_cuda.so"]) scratch.write(`site/torch/lib/${name}`, "");
    return scratch.libtorch("site/torch", version);
  }

  /** Runs `script` in a process of its own, where libcuda.so.1 is the fake of that name. */
  function run(script: string, variables: NodeJS.ProcessEnv = {}, driver: string = "whole"): string {
    const source = `
      const { chooseDevice, inspectCudaAt, openCuda } = await import(${module("cuda.ts")});
      const { openAddon } = await import(${module("load.ts")});
      const { readEnvironment } = await import(${module("environment.ts")});
      const place = { root: ${JSON.stringify(root)}, environment: readEnvironment() };
      const show = (value) => console.log(JSON.stringify(value));
      const failing = (action) => {
        try { action(); } catch ({ code, message }) { show({ code, message }); return; }
        show({});
      };
      ${script}`;
    const { stdout, stderr, status, signal } = spawnSync(
      process.execPath,
      ["--import", "tsx", "--input-type=module", "-e", source],
      {
        cwd: packageRoot,
        encoding: "utf8",
        timeout: 60_000,
        env: { PATH: scratch.bin, HOME: scratch.home, LD_LIBRARY_PATH: join(drivers, driver), ...variables },
      },
    );
    expect(signal, stderr).to.equal(null);
    expect(status, stderr).to.equal(0);
    return stdout.trim();
  }

  const inspect = (variables?: NodeJS.ProcessEnv, driver?: string): CudaReport =>
    JSON.parse(run("show(inspectCudaAt(place));", variables, driver)) as CudaReport;

  /** The parts that are missing, and the whole error that asking for a GPU ends with. */
  function failure(variables?: NodeJS.ProcessEnv, driver?: string): { parts: string[]; message: string } {
    const script = `
      const report = inspectCudaAt(place);
      show(report.problems.map(({ part }) => part));
      failing(() => openCuda(report, () => { throw new Error("nothing may be loaded"); }));`;
    const [parts = "", error = ""] = run(script, variables, driver).split("\n");
    const { code, message } = JSON.parse(error) as { code: string; message: string };
    expect(code).to.equal("CUDA_UNAVAILABLE");
    expect(message).to.contain("Possible solutions:");
    return { parts: JSON.parse(parts) as string[], message };
  }

  it("finds everything where everything is there", () => {
    prebuilt();
    const folder = libtorch();
    const { driver, library, device, problems, ...rest } = inspect({
      RKIF_LIBTORCH: folder,
      FAKE_CUDA_DEVICES: H200,
    });
    expect(problems).to.deep.equal([]);
    expect(driver.version).to.equal("13.2");
    expect(device).to.deep.equal({
      index: 0,
      name: "NVIDIA H200",
      architecture: "9.0",
      memory: 150754820096,
    });
    expect(library?.path).to.equal(scratch.path(prebuilds, "libtorch-2.15", "librkif_cuda.so"));
    expect(rest.libtorch).to.include({ folder, version: "2.15.0+cu132", cuda: "13.2" });
  });

  describe("without a driver that serves", () => {
    beforeEach(() => prebuilt());
    const ready = (variables: NodeJS.ProcessEnv): NodeJS.ProcessEnv => ({
      RKIF_LIBTORCH: libtorch(),
      ...variables,
    });

    it("tells why libcuda.so.1 cannot be opened, and what brings it", () => {
      const { parts, message } = failure(ready({}), "broken");
      expect(parts).to.deep.equal(["driver"]);
      expect(message)
        .to.contain("no usable NVIDIA driver: ")
        .and.match(/libcuda\.so\.1: (file too short|invalid ELF)/);
      expect(message).to.contain("nvidia-smi").and.contain("docker run --gpus all");
      expect(failure(ready({}), "partial").message).to.contain("libcuda.so.1 has no cuDeviceTotalMem_v2");
    });

    it("tells the driver's own words where it does not work", () => {
      const { parts, message } = failure(ready({ FAKE_CUDA_INIT: "803", FAKE_CUDA_DEVICES: H200 }));
      expect(parts).to.deep.equal(["driver"]);
      expect(message).to.contain("cuInit failed with 803 (system has unsupported display driver");
      expect(failure(ready({ FAKE_CUDA_INIT: "999" })).message).to.contain("failed with 999 (unknown error)");
    });

    it("says that there is no GPU, and what hides it", () => {
      expect(failure(ready({ FAKE_CUDA_INIT: "100" })).message).to.contain("driver sees no GPU\n");
      const hidden = failure(ready({ CUDA_VISIBLE_DEVICES: "" }));
      expect(hidden.parts).to.deep.equal(["driver"]);
      expect(hidden.message).to.contain('CUDA_VISIBLE_DEVICES=""').and.contain("unset CUDA_VISIBLE_DEVICES");
    });

    it("says that the driver is too old for CUDA's major version, and takes every minor one", () => {
      const old = failure(ready({ FAKE_CUDA_VERSION: "12040", FAKE_CUDA_DEVICES: H200 }));
      expect(old.parts).to.deep.equal(["driver"]);
      expect(old.message)
        .to.contain("supports CUDA up to 12.4, and CUDA 13.2 is needed")
        .and.contain("580 or newer");
      expect(inspect(ready({ FAKE_CUDA_VERSION: "13000", FAKE_CUDA_DEVICES: H200 })).problems).to.deep.equal(
        [],
      );
    });
  });

  describe("without kernels that fit", () => {
    const ready = (): NodeJS.ProcessEnv => ({ RKIF_LIBTORCH: libtorch(), FAKE_CUDA_DEVICES: H200 });

    it("says that they are not built, with the command for a clone or for an installed package", () => {
      prebuilt("none");
      const { parts, message } = failure(ready());
      expect(parts).to.deep.equal(["library"]);
      expect(message).to.contain("librkif_cuda.so is missing").and.contain("clone the repository");
      scratch.write("package/CMakeLists.txt", "");
      expect(failure(ready()).message).to.contain("npm run compile && npm run compile:cuda");
    });

    it("refuses those of another libtorch or of other sources, and a damaged description", () => {
      prebuilt({ libtorch: "2.11.0" });
      expect(failure(ready()).message).to.contain("is built for libtorch 2.11, the addon beside it for 2.15");
      prebuilt({ kernels: "other" });
      expect(failure(ready()).message).to.contain("built from different sources");
      prebuilt({ architectures: [] });
      expect(failure(ready()).message).to.contain("rkif_cuda.json is incomplete");
    });
  });

  describe("without a libtorch that fits", () => {
    beforeEach(() => prebuilt());
    const device = { FAKE_CUDA_DEVICES: H200 };

    it("says which were passed over, and how to get one", () => {
      scratch.cached("2.15.0+cu132");
      const { parts, message } = failure({ ...device, VIRTUAL_ENV: scratch.path("none") });
      expect(parts).to.deep.equal(["libtorch"]);
      expect(message)
        .to.contain("found no libtorch 2.15 with CUDA")
        .and.contain("only its CPU half is there");
      expect(message).to.contain("npx rkif libtorch install --cuda 2.15.0").and.contain("torch==2.15.0");
    });

    it("tells a build without CUDA, and one with CUDA of another major version", () => {
      const RKIF_LIBTORCH = scratch.libtorch("cpu", "2.15.0+cpu");
      expect(failure({ ...device, RKIF_LIBTORCH }).message).to.contain("it is built without CUDA");
      const other = failure({ ...device, RKIF_LIBTORCH: libtorch("2.15.0+cu128") });
      expect(other.message).to.contain("it is built with CUDA 12.8, the kernels with 13.2");
    });

    it("passes over a libtorch for the CPU where another one has CUDA", () => {
      const cpu = "venv/lib/python3.12/site-packages/torch";
      scratch.libtorch(cpu, "2.15.0+cpu");
      const gpu = dirname(libtorch());
      mkdirSync(scratch.path("conda/lib/python3.12"), { recursive: true });
      symlinkSync(gpu, scratch.path("conda/lib/python3.12/site-packages"));
      const variables = { VIRTUAL_ENV: scratch.path("venv"), CONDA_PREFIX: scratch.path("conda") };
      expect(inspect({ ...device, ...variables }).libtorch?.origin).to.equal("conda environment");
    });
  });

  it("names all that is missing at once, in the order in which it is needed", () => {
    prebuilt("none");
    const { parts, message } = failure({
      FAKE_CUDA_INIT: "100",
      RKIF_LIBTORCH: scratch.libtorch("cpu", "2.15.0+cpu"),
    });
    expect(parts).to.deep.equal(["driver", "library", "libtorch"]);
    expect(message.indexOf("no GPU")).to.be.below(message.indexOf("not built"));
  });

  describe("on a card that the kernels are not compiled for", () => {
    beforeEach(() => prebuilt());
    const card = (devices: string, version = "13020"): NodeJS.ProcessEnv => ({
      RKIF_LIBTORCH: libtorch(),
      FAKE_CUDA_DEVICES: devices,
      FAKE_CUDA_VERSION: version,
    });

    it("refuses an older architecture, and takes another card where there is one", () => {
      const { parts, message } = failure(card(T4));
      expect(parts).to.deep.equal(["architecture"]);
      expect(message).to.contain("Tesla T4 has architecture 7.5; the kernels need 8.0 (Ampere) or newer");
      expect(inspect(card(`${T4};${H200}`)).device).to.include({ index: 1, name: "NVIDIA H200" });
    });

    it("needs a driver as new as the kernels for a newer architecture, and none for a relative", () => {
      const blackwell = "NVIDIA B200:10.0:192000000000";
      expect(failure(card(blackwell, "13000")).message).to.contain(
        "supports CUDA up to 13.0, and they were made with 13.2",
      );
      expect(inspect(card(blackwell)).problems).to.deep.equal([]);
      expect(inspect(card("Orin:8.7:32000000000", "13000")).problems).to.deep.equal([]);
    });
  });

  describe("for real", () => {
    /** A copy of the local build with kernels, and the libtorch in use with a CUDA half: both compiled from nothing. */
    function realPackage(kernels: string | undefined): string {
      const found = searchLibtorch().libtorch?.folder ?? "";
      const folder = scratch.path(prebuilds, "libtorch-x");
      cpSync(local!.preload, join(scratch.mkdir(prebuilds), "rkif_preload.node"));
      cpSync(local!.addon, join(folder, "rkif.node"));
      cpSync(join(dirname(local!.addon), "rkif.json"), join(folder, "rkif.json"));
      const info = { cuda: "13.2", architectures: [80, 90], ...local!.info };
      scratch.write(join(prebuilds, "libtorch-x", "rkif_cuda.json"), JSON.stringify(info));
      const empty = scratch.write(
        "empty.c",
        "const void* rkif_cuda_kernels(void) { return 0; }\nconst void* rkif_cuda_memory(void) { return 0; }\n",
      );
      if (kernels === undefined) compile(empty, join(folder, "librkif_cuda.so"));
      else scratch.write(join(prebuilds, "libtorch-x", "librkif_cuda.so"), kernels);
      const libraries = scratch.mkdir("site", "torch", "lib");
      const cuda = ["libc10_cuda.so", "libtorch_cuda.so"];
      for (const name of readdirSync(join(found, "lib"))) {
        if (!cuda.includes(name)) symlinkSync(join(found, "lib", name), join(libraries, name));
      }
      for (const name of cuda) compile(empty, join(libraries, name));
      scratch.write(
        "site/torch/version.py",
        `${readFileSync(join(found, "version.py"), "utf8")}\ncuda = '13.2'\n`,
      );
      for (const name of ["nvidia", "torch.libs"]) {
        const beside = join(dirname(found), name);
        if (existsSync(beside)) symlinkSync(beside, scratch.path("site", name));
      }
      return scratch.path("site", "torch");
    }

    const open = `
      const load = (libtorch) => openAddon({ ...place, libtorch });
      const { readFileSync } = await import("node:fs");
      failing(() => show(openCuda(inspectCudaAt(place), load).device));
      const maps = readFileSync("/proc/self/maps", "utf8");
      show(["libc10_cuda.so", "libtorch_cuda.so", "librkif_cuda.so"].filter((name) => maps.includes(name)));`;

    before(function () {
      const found = searchLibtorch().libtorch;
      const fits = found !== undefined && minorOf(found.version) === minorOf(local?.info.libtorch ?? "");
      if (!fits || local?.info.kernels === undefined || !existsSync(join(found.folder, "version.py")))
        this.skip();
    });

    it("opens CUDA's half and the kernels with the addon", () => {
      const RKIF_LIBTORCH = realPackage(undefined);
      const [device, error, libraries] = run(open, { RKIF_LIBTORCH, FAKE_CUDA_DEVICES: H200 }).split("\n");
      expect(JSON.parse(device ?? "")).to.include({ name: "NVIDIA H200" });
      expect(error).to.equal("{}");
      expect(JSON.parse(libraries ?? "")).to.have.length(3);
    });

    it("tells what to do where libtorch's CUDA half is not in use, and the CPU goes on", () => {
      const late = `
        const load = (libtorch) => openAddon({ ...place, libtorch });
        const { library, libtorch } = openCuda(inspectCudaAt(place), load);
        const { addon } = load(libtorch.folder);
        try { await addon.openCuda(library.path, "cuda:0"); } catch ({ code, message }) { show({ code, message }); }
        const vector = addon.createVector(3);
        vector.fill(2);
        show([...(await vector.read())]);`;
      const RKIF_LIBTORCH = realPackage(undefined);
      const [text = "", values] = run(late, { RKIF_LIBTORCH, FAKE_CUDA_DEVICES: H200 }).split("\n");
      const { code, message } = JSON.parse(text) as { code: string; message: string };
      expect(code, message).to.equal("CUDA_UNAVAILABLE");
      expect(message).to.match(/^no GPU can be used: this process has computed without libtorch's CUDA half/);
      expect(message).to.contain("Possible solutions:");
      expect(values).to.equal("[2,2,2]");
    });

    it("tells the dynamic linker's words where a library is damaged", () => {
      const RKIF_LIBTORCH = realPackage("not a library");
      const [text = ""] = run(open, { RKIF_LIBTORCH, FAKE_CUDA_DEVICES: H200 }).split("\n");
      const { code, message } = JSON.parse(text) as { code: string; message: string };
      expect(code).to.equal("CUDA_UNAVAILABLE");
      expect(message).to.match(/librkif_cuda\.so: (file too short|invalid ELF header)/);
    });
  });

  describe("by the device option", () => {
    const choose = (device: string): string =>
      run(`failing(() => show(chooseDevice("${device}")));`, { HOME: process.env["HOME"] });

    it("opens nothing for the CPU", () => {
      const [chosen] = choose("cpu").split("\n");
      expect(JSON.parse(chosen ?? "")).to.deep.equal({ device: "cpu" });
    });

    it("takes the CPU for auto where there is no GPU, and says why", () => {
      const [text = ""] = choose("auto").split("\n");
      const { device, reason } = JSON.parse(text) as { device: string; reason: string };
      expect(device).to.equal("cpu");
      expect(reason).to.equal("device auto: the CPU, since the NVIDIA driver sees no GPU");
    });

    it("is an error for cuda where there is no GPU", () => {
      const { code, message } = JSON.parse(choose("cuda")) as { code: string; message: string };
      expect(code).to.equal("CUDA_UNAVAILABLE");
      expect(message).to.match(/^no GPU can be used: the NVIDIA driver sees no GPU/);
    });
  });
});
