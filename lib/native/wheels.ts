import { mkdir, readFile, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";

import { RkifError } from "../errors.js";
import type { Environment } from "./environment.js";
import { failureMessage } from "./failure.js";
import { currentPlatform } from "./platform.js";
import { runPython } from "./python.js";

export interface InstallProgress {
  readonly stage: "download" | "unpack";
  /** What is being fetched or unpacked. */
  readonly item: string;
  readonly bytes: number;
  readonly total: number;
}

/** Where wheels are fetched and unpacked: everything happens below `part`. */
export interface WheelWork {
  readonly part: string;
  readonly environment: Environment;
  readonly onProgress?: ((progress: InstallProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** What the wheels are parts of, for people, and how to do without a network. Default: libtorch. */
  readonly item?: { readonly name: string; readonly offline: string };
}

/** The Python that wheels are asked for; libtorch is the same in all of them. */
const WHEEL_PYTHON = "3.12";
/** CUDA's parts that libtorch_cpu of a CUDA build is linked with; everything else serves libtorch_cuda alone. */
const CPU_REQUIREMENTS = /^nvidia-cuda-(runtime|cupti)(-cu\d+)?$/;
const LIBTORCH = {
  name: "libtorch",
  offline: "copy a torch wheel's torch/ folder here and export RKIF_LIBTORCH=/path/to/torch",
};
const UNITS: Record<string, number> = { "": 1, k: 1e3, M: 1e6, G: 1e9 };

/** What is unpacked of wheels: Python expressions that a whole path must match, for torch's own files and for those of the others. */
export interface WantedFiles {
  readonly torch: string;
  readonly others: string;
}

const TORCH_FILES =
  "torch/include/.*|torch/version\\.py|torch\\.libs/.*|torch-[^/]+\\.dist-info/(METADATA|licenses/.*)";
const LICENCES = ".*\\.dist-info/(METADATA|licenses/.*|L.*)";

/** libtorch_cpu and what it is linked with, headers, version, licences; of CUDA's half only the small part that kernels link with. */
export const CPU_FILES: WantedFiles = {
  torch: `torch/lib/(?!lib(torch_cuda|caffe2_nvrtc|torch_nvshmem|torch_python|shm|torch\\.))[^/]+|${TORCH_FILES}`,
  others: `.*/lib/lib(cudart|cupti)\\.so[^/]*|${LICENCES}`,
};

/** CUDA's half as well, with all that it is linked with or opens by itself; not what only programs of other kinds need. */
export const CUDA_FILES: WantedFiles = {
  torch: `torch/lib/(?!lib(torch_python|shm|torch\\.))[^/]+|${TORCH_FILES}`,
  others: `.*/lib/lib(?!checkpoint|cufftw|cufile_rdma|cusolverMg|nvblas|nvperf|nvtx|pcsampling)[^/]+\\.so[.0-9]*|${LICENCES}`,
};

/** Everything: a toolkit is used whole. */
export const ALL_FILES: WantedFiles = { torch: ".*", others: ".*" };

/**
 * Unpacks the wheels in argv[1] into argv[2] and prints "bytes total" as it goes: of torch's files those that argv[3] matches, of the
 * others' those of argv[4]. Each wheel is removed when it is unpacked. Programs stay programs.
 */
const UNPACK = `
import glob, os, re, shutil, sys, zipfile
source, target, torch_files, other_files = sys.argv[1:5]
work, total = [], 0
for path in sorted(glob.glob(os.path.join(source, "*.whl"))):
    wanted = re.compile(torch_files if os.path.basename(path).startswith("torch-") else other_files)
    with zipfile.ZipFile(path) as archive:
        items = [item for item in archive.infolist() if not item.is_dir() and wanted.fullmatch(item.filename)]
    work.append((path, items))
    total += sum(item.file_size for item in items)
done = 0
for path, items in work:
    with zipfile.ZipFile(path) as archive:
        for item in items:
            out = os.path.normpath(os.path.join(target, item.filename))
            if not out.startswith(os.path.normpath(target) + os.sep):
                sys.exit("refusing to unpack " + item.filename)
            os.makedirs(os.path.dirname(out), exist_ok=True)
            with archive.open(item) as reader, open(out, "wb") as writer:
                shutil.copyfileobj(reader, writer, 1 << 20)
            if item.external_attr >> 16 & 0o100:
                os.chmod(out, 0o755)
            done += item.file_size
            print(done, total, flush=True)
    os.remove(path)
`;

/** @throws RkifError `LIBTORCH_INSTALL` where python3 or its pip is missing */
export async function requirePip(environment: Environment): Promise<void> {
  const alternative =
    "or name a libtorch that is already there: export RKIF_LIBTORCH=/path/to/site-packages/torch";
  let result;
  try {
    result = await runPython({ args: ["-m", "pip", "--version"], environment });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    throw new RkifError(
      "LIBTORCH_INSTALL",
      failureMessage(
        "fetching libtorch needs python3 with pip; python3 is not on the PATH",
        [],
        ["install Python 3: apt-get install python3 python3-pip (or your system's way)", alternative],
      ),
    );
  }
  if (result.status !== 0) {
    throw new RkifError(
      "LIBTORCH_INSTALL",
      failureMessage(
        "fetching libtorch needs pip",
        [`python3 -m pip --version: ${result.output.trim()}`],
        ["install pip: apt-get install python3-pip, or python3 -m ensurepip --user", alternative],
      ),
    );
  }
}

/**
 * Runs `pip download` into part/wheels. pip's temporary folder lies below `part` too: its growth is the progress, and nothing
 * of a stopped download stays elsewhere.
 */
export async function downloadWheels(work: WheelWork, requirements: readonly string[]): Promise<void> {
  const { part, environment, onProgress, signal } = work;
  const temporary = join(part, "tmp");
  await mkdir(temporary, { recursive: true });
  let current: { item: string; total: number } | undefined;
  const timer = setInterval(() => {
    if (current === undefined || onProgress === undefined) return;
    const { item, total } = current;
    void fileBytes(temporary, item).then((bytes) => {
      if (bytes !== undefined) onProgress({ stage: "download", item, bytes, total });
    });
  }, 500);
  const platforms = currentPlatform().pipPlatforms.flatMap((tag) => ["--platform", tag]);
  try {
    const { status, output } = await runPython({
      args: [
        ...["-m", "pip", "download", ...requirements, "--dest", join(part, "wheels")],
        ...["--python-version", WHEEL_PYTHON, "--implementation", "cp", "--only-binary=:all:", ...platforms],
        ...["--no-cache-dir", "--progress-bar", "off", "--disable-pip-version-check", "--no-input"],
      ],
      environment,
      variables: { TMPDIR: temporary, PYTHONUNBUFFERED: "1" },
      signal,
      onLine: (line) => {
        const [, item, size, unit] =
          /Downloading (?:\S*\/)?(\S+\.whl) \(([\d.]+) ([kMG]?)B\)/.exec(line) ?? [];
        if (item !== undefined) current = { item, total: Number(size) * (UNITS[unit ?? ""] ?? 1) };
      },
    });
    if (status !== 0) throw downloadError(work.item ?? LIBTORCH, requirements, output);
  } finally {
    clearInterval(timer);
  }
}

function downloadError(
  item: { name: string; offline: string },
  requirements: readonly string[],
  output: string,
): RkifError {
  const tail = output.trim().split("\n").slice(-3).join("\n");
  return new RkifError(
    "LIBTORCH_INSTALL",
    failureMessage(
      `pip could not download ${item.name}`,
      [`python3 -m pip download ${requirements.join(" ")}\n${tail}`],
      [
        "check the network; pip takes a proxy from HTTPS_PROXY and a mirror from PIP_INDEX_URL",
        `without network: ${item.offline}`,
      ],
    ),
  );
}

/** Bytes of the file `name` somewhere below `folder`; undefined where it is not, or no longer, there. */
async function fileBytes(folder: string, name: string): Promise<number | undefined> {
  try {
    const path = (await readdir(folder, { recursive: true })).find((entry) => entry.endsWith(name));
    return path === undefined ? undefined : (await stat(join(folder, path))).size;
  } catch {
    return undefined; // pip removes its folders while they are being read
  }
}

/** Unpacks what is `wanted` of the wheels downloaded so far and removes them. */
export async function unpackWheels(work: WheelWork, wanted: WantedFiles): Promise<void> {
  const { part, environment, onProgress, signal } = work;
  const wheels = join(part, "wheels");
  await rm(join(part, "tmp"), { recursive: true, force: true });
  const { status, output } = await runPython({
    args: ["-c", UNPACK, wheels, part, wanted.torch, wanted.others],
    environment,
    signal,
    onLine: (line) => {
      const [bytes, total] = line.split(" ").map(Number);
      if (bytes !== undefined && total !== undefined && !Number.isNaN(bytes + total)) {
        onProgress?.({ stage: "unpack", item: (work.item ?? LIBTORCH).name, bytes, total });
      }
    },
  });
  if (status !== 0) throw new Error(output.trim().split("\n").at(-1) ?? "unpacking failed");
  await rm(wheels, { recursive: true, force: true });
}

/** Requirements for CUDA as the torch wheel pins them, all or only what its CPU half is linked with; empty for a build without CUDA. */
export async function cudaRequirements(part: string, all: boolean): Promise<string[]> {
  const info = (await readdir(part)).find((name) => name.startsWith("torch-") && name.endsWith(".dist-info"));
  const metadata = await readFile(join(part, info ?? "", "METADATA"), "utf8");
  const requirements: string[] = [];
  for (const [, requirement = ""] of metadata.matchAll(/^Requires-Dist: ([^;\n]+)/gm)) {
    const toolkit = /^cuda-toolkit\[([^\]]*)\]\s*(.*)$/.exec(requirement.trim());
    const name = requirement.split(/[\s=<>!~[(]/)[0] ?? "";
    if (toolkit !== null) {
      requirements.push(`cuda-toolkit[${all ? toolkit[1] : "cudart,cupti"}]${toolkit[2]}`);
    } else if (all ? name.startsWith("nvidia-") : CPU_REQUIREMENTS.test(name)) {
      requirements.push(requirement.trim().replaceAll(/[\s()]/g, ""));
    }
  }
  return requirements;
}
