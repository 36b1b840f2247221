import { RkifError } from "../errors.js";

/** What differs between the platforms: names of files and of pip's wheels. */
export interface Platform {
  /** Node's `process.platform`-`process.arch`: the folder's name under prebuilds/ and in the cache. */
  readonly name: string;
  /** Libraries that the loader opens, in this order; the first one brings the others in through its own search path. */
  readonly libraries: readonly string[];
  /** Platform tags that pip may choose wheels of, the preferred first. */
  readonly pipPlatforms: readonly string[];
}

/** The manylinux tags of glibc 2.28 and older: pip takes only the tags it is told when it downloads for another Python. */
function manylinux(architecture: string): string[] {
  const tags: string[] = [];
  for (let minor = 28; minor >= 17; --minor) tags.push(`manylinux_2_${minor}_${architecture}`);
  return [...tags, `manylinux2014_${architecture}`];
}

const linuxLibraries = ["libtorch_cpu.so", "libc10.so"];
const darwinLibraries = ["libtorch_cpu.dylib", "libc10.dylib"];

const PLATFORMS: readonly Platform[] = [
  { name: "linux-x64", libraries: linuxLibraries, pipPlatforms: manylinux("x86_64") },
  { name: "linux-arm64", libraries: linuxLibraries, pipPlatforms: manylinux("aarch64") },
  {
    name: "darwin-arm64",
    libraries: darwinLibraries,
    pipPlatforms: ["macosx_15_0_arm64", "macosx_14_0_arm64", "macosx_13_0_arm64", "macosx_11_0_arm64"],
  },
];

/** Facts of this machine's platform. @throws RkifError `ADDON_MISSING` on a platform nobody builds for. */
export function currentPlatform(name: string = `${process.platform}-${process.arch}`): Platform {
  const platform = PLATFORMS.find((entry) => entry.name === name);
  if (platform === undefined) {
    const known = PLATFORMS.map((entry) => entry.name).join(", ");
    throw new RkifError("ADDON_MISSING", `recurrent-kif does not run on ${name}; it knows ${known}`);
  }
  return platform;
}
