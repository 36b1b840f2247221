// What a built binary asks of the system's C and C++ libraries: the prebuilt addon must load where libtorch itself loads.
import { must, which } from "./process.mjs";

/** glibc 2.28 and the libstdc++ of GCC 8: RHEL 8, Debian 10, Ubuntu 18.10 and newer; what libtorch's wheels are built for. */
export const OLDEST = { GLIBC: "2.28", GLIBCXX: "3.4.25", CXXABI: "1.3.11" };

/** Symbols of `file` that are newer than {@link OLDEST}, as "name@version"; undefined where objdump is not there. */
export async function tooNewSymbols(file) {
  if (process.platform !== "linux" || which("objdump") === undefined) return undefined;
  const table = await must("objdump", ["-T", file], { quiet: true });
  const found = [];
  for (const [, library, version, name] of table.matchAll(/\((GLIBC|GLIBCXX|CXXABI)_([\d.]+)\)\s+(\S+)/g)) {
    if (newer(version, OLDEST[library])) found.push(`${name}@${library}_${version}`);
  }
  return found;
}

function newer(version, limit) {
  const [a, b] = [version, limit].map((text) => text.split(".").map(Number));
  for (let i = 0; i < Math.max(a.length, b.length); ++i) {
    if ((a[i] ?? 0) !== (b[i] ?? 0)) return (a[i] ?? 0) > (b[i] ?? 0);
  }
  return false;
}
