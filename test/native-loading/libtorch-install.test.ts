import { expect } from "chai";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";

import { RkifError } from "../../lib/errors.js";
import { installLibtorch, type InstallOptions } from "../../lib/native/libtorch-install.js";
import { currentPlatform } from "../../lib/native/platform.js";
import { Scratch } from "./fakes.js";

const extension = process.platform === "darwin" ? "dylib" : "so";

/** Makes a wheel, which is a zip archive. */
const MAKE_WHEEL = `
import json, sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_DEFLATED) as archive:
    for name, text in json.loads(sys.argv[2]).items():
        archive.writestr(name, text)
`;

function torchWheel(version: string, requires: string): Record<string, string> {
  return {
    "torch/version.py": `__version__ = '${version}'\n`,
    [`torch/lib/libtorch_cpu.${extension}`]: "cpu",
    [`torch/lib/libc10.${extension}`]: "c10",
    "torch/lib/libgomp.so.1": "gomp",
    [`torch/lib/libtorch_cuda.${extension}`]: "large",
    [`torch/lib/libtorch_python.${extension}`]: "large",
    [`torch/lib/libtorch.${extension}`]: "depends on libtorch_cuda",
    "torch/include/ATen/core/Tensor.h": "// header",
    "torch/nn/modules.py": "",
    "torch-2.15.0.dist-info/METADATA": `Name: torch\nRequires-Dist: filelock\n${requires}`,
    "torch-2.15.0.dist-info/licenses/LICENSE": "terms",
  };
}

describe("fetching libtorch", () => {
  const realPython = spawnSync("python3", ["-c", "import sys; print(sys.executable)"], { encoding: "utf8" });
  let scratch: Scratch;

  before(function () {
    if (realPython.status !== 0) this.skip();
  });
  beforeEach(() => {
    scratch = new Scratch();
    scratch.mkdir("registry");
  });
  afterEach(() => scratch.remove());

  /** A python3 whose `pip download` copies the torch wheel of the scratch registry; every call is written down. */
  function python(download: string = 'cp "$REGISTRY"/torch*.whl "$dest"'): void {
    const system = "PATH=/usr/bin:/bin";
    scratch.program(
      "python3",
      `#!/bin/sh
${system}; REGISTRY="${scratch.path("registry")}"
echo "$*" >> "${scratch.path("calls")}"
if [ "$1 $2 $3" = "-m pip --version" ]; then echo "pip 25.0"; exit 0; fi
if [ "$1 $2 $3" = "-m pip download" ]; then
  previous=; for argument in "$@"; do [ "$previous" = --dest ] && dest="$argument"; previous="$argument"; done
  mkdir -p "$dest"
  ${download}
  exit
fi
exec "${realPython.stdout.trim()}" "$@"
`,
    );
  }

  function wheel(name: string, files: Record<string, string>): void {
    const path = scratch.path("registry", `${name}-py3-none-any.whl`);
    execFileSync(realPython.stdout.trim(), ["-c", MAKE_WHEEL, path, JSON.stringify(files)]);
  }

  const cache = (): string => scratch.path("home", ".cache", "recurrent-kif", "libtorch");
  const calls = (): string[] => readFileSync(scratch.path("calls"), "utf8").trim().split("\n");
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
      ...[`libtorch_cpu.${extension}`, `libc10.${extension}`, "libgomp.so.1", "Tensor.h", "version.py"],
      ...["METADATA", "LICENSE", "libcudart.so.13", "libcupti.so.13"],
    ]);
    expect(calls().filter((call) => call.includes("pip download"))[1]).to.contain(
      "cuda-toolkit[cudart,cupti]==13.2.2",
    );
    expect(readdirSync(cache()), "no .part folder stays").to.deep.equal([`2.15.0-${currentPlatform().name}`]);
    expect([...stages]).to.contain("unpack");
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
