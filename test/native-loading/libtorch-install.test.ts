import { expect } from "chai";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";

import { RkifError } from "../../lib/errors.js";
import { requireDiskSpace } from "../../lib/native/cache-folder.js";
import { installLibtorch, type InstallOptions } from "../../lib/native/libtorch-install.js";
import { inspectLibtorchCuda } from "../../lib/native/libtorch-search.js";
import { currentPlatform } from "../../lib/native/platform.js";
import { Registry, Scratch } from "./fakes.js";

const extension = process.platform === "darwin" ? "dylib" : "so";

function torchWheel(version: string, requires: string): Record<string, string> {
  return {
    "torch/version.py": `__version__ = '${version}'\n`,
    [`torch/lib/libtorch_cpu.${extension}`]: "cpu",
    [`torch/lib/libc10.${extension}`]: "c10",
    "torch/lib/libgomp.so.1": "gomp",
    [`torch/lib/libtorch_cuda.${extension}`]: "large",
    [`torch/lib/libc10_cuda.${extension}`]: "small",
    [`torch/lib/libtorch_nvshmem.${extension}`]: "large",
    [`torch/lib/libcaffe2_nvrtc.${extension}`]: "small",
    [`torch/lib/libtorch_python.${extension}`]: "large",
    [`torch/lib/libtorch.${extension}`]: "depends on libtorch_cuda",
    "torch/include/ATen/core/Tensor.h": "// header",
    "torch/nn/modules.py": "",
    "torch-2.15.0.dist-info/METADATA": `Name: torch\nRequires-Dist: filelock\n${requires}`,
    "torch-2.15.0.dist-info/licenses/LICENSE": "terms",
  };
}

describe("fetching libtorch", () => {
  let scratch: Scratch;
  let registry: Registry;

  before(function () {
    if (Registry.realPython === undefined) this.skip();
  });
  beforeEach(() => {
    scratch = new Scratch();
    registry = new Registry(scratch);
  });
  afterEach(() => scratch.remove());

  const python = (download?: string): void => registry.python(download);
  const wheel = (name: string, files: Record<string, string>): void => registry.wheel(name, files);
  const calls = (): string[] => registry.calls();
  const cache = (): string => scratch.path("home", ".cache", "recurrent-kif", "libtorch");
  const install = (options: InstallOptions = {}): ReturnType<typeof installLibtorch> =>
    installLibtorch({ environment: scratch.environment(), ...options });

  async function failure(options: InstallOptions = {}): Promise<RkifError> {
    try {
      await install(options);
    } catch (error) {
      expect(error).to.be.instanceOf(RkifError);
      return error as RkifError;
    }
    throw new Error("nothing was thrown");
  }

  it("unpacks what libtorch_cpu needs and nothing else, with CUDA's two libraries as the wheel pins them", async () => {
    python(
      'case "$4" in torch*) cp "$REGISTRY"/torch*.whl "$dest";; *) cp "$REGISTRY"/nvidia*.whl "$dest";; esac',
    );
    wheel(
      "torch-2.15.0",
      torchWheel(
        "2.15.0+cu132",
        'Requires-Dist: cuda-toolkit[cublas,cudart,cupti]==13.2.2; platform_system == "Linux"',
      ),
    );
    wheel("nvidia_cuda-13.2", {
      "nvidia/cu13/lib/libcudart.so.13": "cudart",
      "nvidia/cu13/lib/libcupti.so.13": "cupti",
      "nvidia/cu13/lib/libnvperf_host.so": "large",
      "nvidia/cu13/include/cuda.h": "",
    });
    const stages = new Set<string>();
    const libtorch = await install({ onProgress: ({ stage }) => stages.add(stage) });
    const entry = join(cache(), `2.15.0-${currentPlatform().name}`);
    expect(libtorch).to.deep.equal({
      folder: join(entry, "torch"),
      version: "2.15.0+cu132",
      origin: "cache",
    });
    const files = readdirSync(entry, { recursive: true, withFileTypes: true });
    expect(files.filter((file) => file.isFile()).map(({ name }) => name)).to.have.members([
      ...[`libtorch_cpu.${extension}`, `libc10.${extension}`, `libc10_cuda.${extension}`, "libgomp.so.1"],
      ...["Tensor.h", "version.py"],
      ...["METADATA", "LICENSE", "libcudart.so.13", "libcupti.so.13"],
    ]);
    expect(calls().filter((call) => call.includes("pip download"))[1]).to.contain(
      "cuda-toolkit[cudart,cupti]==13.2.2",
    );
    expect(readdirSync(cache()), "no .part folder stays").to.deep.equal([`2.15.0-${currentPlatform().name}`]);
    expect([...stages]).to.contain("unpack");
  });

  describe("with CUDA", () => {
    const torch =
      'case "$4" in torch*) cp "$REGISTRY"/torch*.whl "$dest";; *) cp "$REGISTRY"/nvidia*.whl "$dest";; esac';
    const entry = (): string => join(cache(), `2.15.0-${currentPlatform().name}`);

    beforeEach(function () {
      if (process.platform !== "linux") this.skip();
      python(torch);
      const requires = [
        'cuda-toolkit[cublas,cudart,cupti]==13.2.2; platform_system == "Linux"',
        'cuda-bindings<14,>=13.0.3; platform_system == "Linux"',
        'nvidia-cudnn-cu13==9.26.0.51; platform_system == "Linux"',
        'triton~=3.9.0; platform_system == "Linux"',
      ];
      const metadata = requires.map((line) => `Requires-Dist: ${line}\n`).join("");
      const files = torchWheel("2.15.0+cu132", metadata);
      files["torch/version.py"] += "cuda: Optional[str] = '13.2'\n";
      wheel("torch-2.15.0", files);
      wheel("nvidia_cuda-13.2", {
        "nvidia/cu13/lib/libcublas.so.13": "cublas",
        "nvidia/cu13/lib/libcudart.so.13": "cudart",
        "nvidia/cu13/lib/libcupti.so.13": "cupti",
        "nvidia/cu13/lib/libnvperf_host.so": "for profilers",
        "nvidia/cu13/lib/libcublas_static.a": "large",
        "nvidia/cudnn/lib/libcudnn_engines_precompiled.so.9": "cudnn",
        "nvidia/nvshmem/lib/nvshmem_bootstrap_mpi.so.3": "for MPI",
        "nvidia/cu13/include/cublas.h": "",
      });
    });

    const cudaFiles = [
      ...["torch/lib/libtorch_cuda.so", "torch/lib/libtorch_nvshmem.so", "torch/lib/libcaffe2_nvrtc.so"],
      ...["nvidia/cu13/lib/libcublas.so.13", "nvidia/cudnn/lib/libcudnn_engines_precompiled.so.9"],
    ];

    it("fetches all that the wheel pins of NVIDIA's, and keeps the libraries that libtorch opens", async () => {
      const { folder } = await install({ extent: "cuda" });
      expect(inspectLibtorchCuda(folder)).to.deep.equal({ cuda: "13.2" });
      for (const file of cudaFiles) expect(existsSync(join(entry(), file)), file).to.equal(true);
      const files = readdirSync(entry(), { recursive: true }).map(String);
      expect(
        files.filter((file) => /nvperf|static|bootstrap|cublas\.h|python|libtorch\.so/.test(file)),
      ).to.deep.equal([]);
      const download = calls().filter((call) => call.includes("pip download"))[1];
      expect(download).to.contain("cuda-toolkit[cublas,cudart,cupti]==13.2.2 nvidia-cudnn-cu13==9.26.0.51");
      expect(download).to.not.match(/triton|bindings/);
      const before = calls().length;
      await install({ extent: "cuda" });
      await install({ extent: "cuda-build" });
      await install();
      expect(calls(), "it is there, for every extent").to.have.length(before);
    });

    it("completes a libtorch that was fetched for the CPU where it lies, and its CUDA half last", async () => {
      await install();
      expect(inspectLibtorchCuda(join(entry(), "torch")).problem).to.contain("libtorch_cuda.so is missing");
      const library = join(entry(), "torch", "lib", "libtorch_cpu.so");
      const { ino } = statSync(library);
      await install({ extent: "cuda" });
      expect(statSync(library).ino, "what programs may have open stays").to.equal(ino);
      for (const file of cudaFiles) expect(existsSync(join(entry(), file)), file).to.equal(true);
      expect(readdirSync(cache()), "no .part folder stays").to.have.length(1);
    });

    it("fetches again for compiling where libc10_cuda.so is missing", async () => {
      await install();
      rmSync(join(entry(), "torch", "lib", "libc10_cuda.so"));
      await install({ extent: "cuda-build" });
      expect(existsSync(join(entry(), "torch", "lib", "libc10_cuda.so"))).to.equal(true);
      expect(existsSync(join(entry(), "torch", "lib", "libtorch_cuda.so"))).to.equal(false);
    });

    it("refuses a wheel without CUDA", async () => {
      wheel("torch-2.15.0", torchWheel("2.15.0+cpu", ""));
      const error = await failure({ extent: "cuda" });
      expect(error.code).to.equal("LIBTORCH_INSTALL");
      expect(error.message).to.contain("built without CUDA");
      expect(readdirSync(cache())).to.deep.equal([]);
    });
  });

  it("looks for the space that it needs first", async () => {
    const folder = scratch.mkdir("small");
    await requireDiskSpace(folder, 1, "libtorch");
    try {
      await requireDiskSpace(folder, 1e18, "libtorch");
    } catch (error) {
      expect((error as RkifError).code).to.equal("LIBTORCH_INSTALL");
      expect((error as RkifError).message).to.match(/takes 1000000000 GB; [\d.]+ GB are free there/);
      expect((error as RkifError).message).to.contain("XDG_CACHE_HOME");
      return;
    }
    throw new Error("nothing was thrown");
  });

  it("asks for nothing of CUDA where the wheel is a CPU build, and never fetches what the cache has", async () => {
    python();
    wheel("torch-2.15.0", torchWheel("2.15.0+cpu", ""));
    await install();
    const before = calls().length;
    await install();
    await install({ version: "2.15" });
    expect(calls()).to.have.length(before);
    expect(calls().filter((call) => call.includes("pip download"))).to.have.length(1);
  });

  it("asks pip for this platform's wheels, whatever Python runs it", async () => {
    python();
    wheel("torch-2.15.0", torchWheel("2.15.0", ""));
    await install();
    const call = calls().find((line) => line.includes("pip download"));
    expect(call).to.contain("--only-binary=:all:").and.contain("--python-version 3.12");
    for (const tag of currentPlatform().pipPlatforms) expect(call).to.contain(`--platform ${tag}`);
  });

  it("leaves nothing behind when pip fails, and tells what pip said", async () => {
    python('echo half > "$dest"/torch.whl; echo "ERROR: No matching distribution found for $4"; exit 1');
    const error = await failure();
    expect(error.code).to.equal("LIBTORCH_INSTALL");
    expect(error.message).to.contain("No matching distribution found for torch==2.15.0");
    expect(error.message).to.contain("HTTPS_PROXY").and.contain("RKIF_LIBTORCH");
    expect(readdirSync(cache())).to.deep.equal([]);
  });

  it("leaves nothing behind when a wheel is broken or lacks a library", async () => {
    python('echo "no zip archive" > "$dest"/torch-2.15.0.whl');
    expect((await failure()).message).to.contain("File is not a zip file");
    expect(readdirSync(cache())).to.deep.equal([]);
    python();
    wheel("torch-2.15.0", {
      "torch/version.py": "__version__ = '2.15.0'",
      "torch-2.15.0.dist-info/METADATA": "",
    });
    expect((await failure()).message).to.contain("is missing");
    expect(readdirSync(cache())).to.deep.equal([]);
  });

  it("stops when told to and leaves nothing behind", async () => {
    python("exec sleep 30");
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 300);
    const started = Date.now();
    expect((await failure({ signal: stop.signal })).code).to.equal("ABORTED");
    expect(Date.now() - started).to.be.below(10_000);
    expect(readdirSync(cache())).to.deep.equal([]);
  });

  it("lets two installs run at once", async () => {
    python('sleep 0.2; cp "$REGISTRY"/torch*.whl "$dest"');
    wheel("torch-2.15.0", torchWheel("2.15.0", ""));
    const [first, second] = await Promise.all([install(), install()]);
    expect(first).to.deep.equal(second);
    expect(readdirSync(cache())).to.have.length(1);
    expect(existsSync(first.folder)).to.equal(true);
  });

  it("replaces an incomplete entry, and removes what a dead process left", async () => {
    python();
    wheel("torch-2.15.0", torchWheel("2.15.0", ""));
    const entry = `2.15.0-${currentPlatform().name}`;
    const dead = spawnSync("true").pid;
    const host = hostname().replaceAll(/[^A-Za-z0-9-]/g, "-");
    const ours = `${entry}.${host}.${process.pid}.0a.part`;
    scratch.mkdir("home/.cache/recurrent-kif/libtorch", `${entry}.${host}.${dead}.0a.part`, "wheels");
    scratch.mkdir("home/.cache/recurrent-kif/libtorch", ours);
    scratch.write(join("home/.cache/recurrent-kif/libtorch", entry, "torch", "version.py"), "");
    await install();
    expect(readdirSync(cache())).to.have.members([entry, ours]);
  });

  it("without python3 or pip says so and names the command", async () => {
    const noPython = await failure();
    expect(noPython.code).to.equal("LIBTORCH_INSTALL");
    expect(noPython.message).to.contain("python3 is not on the PATH").and.contain("apt-get install python3");
    scratch.program("python3", "#!/bin/sh\necho '/usr/bin/python3: No module named pip' >&2\nexit 1\n");
    const noPip = await failure();
    expect(noPip.message).to.contain("No module named pip").and.contain("apt-get install python3-pip");
    expect(existsSync(cache()), "nothing is made before it is known that it can work").to.equal(false);
  });

  it("refuses versions it does not know", async () => {
    for (const version of ["2.10.0", "1.13", "latest", "2.15.0; rm -rf"]) {
      expect((await failure({ version })).code).to.equal("LIBTORCH_UNSUPPORTED");
    }
  });
});
