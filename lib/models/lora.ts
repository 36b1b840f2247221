import { createContext, runInContext } from "node:vm";
import { RkifError } from "../errors.js";
import type { AdaptedModule } from "../native/contract.js";
import { shown } from "./json-file.js";

/**
 * Which linear layers get a low-rank adapter, and of what shape: PEFT's LoraConfig, as far as it decides that (Hu et al., arXiv
 * 2106.09685; rsLoRA: Kalajdzievski, arXiv 2312.03732). Its patterns are Python's regular expressions, read here as JavaScript's with
 * the "u" flag: what the two write alike they mean alike, and what only Python knows, such as `(?P<name>...)`, does not compile and is
 * refused.
 */
export interface LoraConfig {
  /** Rank: rows of A, columns of B. */
  r: number;
  /** The adapter's output is scaled by alpha / r, or by alpha / sqrt(r) where `rsLora`. */
  alpha: number;
  /** Rate of the dropout on the adapter's input. */
  dropout: number;
  rsLora: boolean;
  /**
   * A list: the modules whose path is an entry or ends in "." and an entry ("q", "SelfAttention.q"). A string: "all-linear", or a
   * pattern of the whole path.
   */
  targetModules: string[] | string;
  /** Other ranks by pattern: it covers the path, or the path behind some dot. The first that matches counts. */
  rankPattern: Record<string, number>;
  /** Other alphas, in the same way. */
  alphaPattern: Record<string, number>;
  /** Modules that get none though they are targets; written as `targetModules`. */
  excludeModules?: string[] | string;
  /** Only in layers of these numbers; with a list of targets. A target given by its whole path is not restricted. */
  layersToTransform?: number[];
  /** Patterns of what stands before a layer's number, where that is not the first number of the path. */
  layersPattern?: string[];
}

/** Where an adapter's options come from. */
export interface AdapterSource {
  /** For messages. */
  name: string;
  /** Targets that match nothing are passed over, as PEFT does, as long as another matches: its weights show what was meant. */
  lenient?: boolean;
}

type NamesOrPattern = string[] | string;

/**
 * The adapted modules of a model, as PEFT 0.21 chooses them.
 * @param modules - paths of the model's linear layers, as the addon's `linearModules` lists them; the result keeps their order
 * @param source - what `lora` comes from, for messages
 * @throws {RkifError} INVALID_ARGUMENT naming a target that matches none of the modules, with what there is, or a pattern that
 * does not compile.
 */
export function resolveAdaptedModules(
  lora: LoraConfig,
  modules: readonly string[],
  source: AdapterSource = { name: "the adapter's options" },
): AdaptedModule[] {
  return adapterShapes(lora, modules, source).map(({ module, r, alpha }) => ({
    module,
    r,
    scale: alpha / (lora.rsLora ? Math.sqrt(r) : r),
  }));
}

/**
 * The same adapter with every module by its whole path. Where a wrapper class put `prefix` before the model's paths, it goes: patterns
 * may have meant it.
 * @param modules - paths with the prefix
 */
export function byWholePaths(lora: LoraConfig, modules: readonly string[], prefix: string): LoraConfig {
  const { r, alpha, dropout, rsLora } = lora;
  const shapes = adapterShapes(lora, modules, { name: "the adapter's options", lenient: true });
  const bare = (module: string): string => module.slice(prefix.length);
  const others = (of: "r" | "alpha"): Record<string, number> =>
    Object.fromEntries(
      shapes
        .filter((shape) => shape[of] !== lora[of])
        .map((shape) => [bare(shape.module).replaceAll(".", "\\."), shape[of]]),
    );
  const targetModules = shapes.map(({ module }) => bare(module));
  return {
    r,
    alpha,
    dropout,
    rsLora,
    targetModules,
    rankPattern: others("r"),
    alphaPattern: others("alpha"),
  };
}

function adapterShapes(
  lora: LoraConfig,
  modules: readonly string[],
  source: AdapterSource,
): { module: string; r: number; alpha: number }[] {
  const ranks = compilePatterns(lora.rankPattern, source.name);
  const alphas = compilePatterns(lora.alphaPattern, source.name);
  return targetedModules(lora, modules, source).map((module) => ({
    module,
    r: firstMatch(ranks, module)?.value ?? lora.r,
    alpha: firstMatch(alphas, module)?.value ?? lora.alpha,
  }));
}

/** Keys of the rank and alpha patterns that decide nothing about the adapted modules: PEFT ignores them without a word. */
export function idlePatterns(lora: LoraConfig, adapted: readonly AdaptedModule[]): string[] {
  const used = [lora.rankPattern, lora.alphaPattern].map((table) => {
    const patterns = compilePatterns(table, "the adapter's options");
    return new Set(adapted.map(({ module }) => firstMatch(patterns, module)?.key));
  });
  return [lora.rankPattern, lora.alphaPattern].flatMap((table, i) =>
    Object.keys(table).filter((key) => !used[i]?.has(key)),
  );
}

/** Targets of a list that match none of the modules. */
export function unmatched({ targetModules }: LoraConfig, modules: readonly string[]): string[] {
  if (typeof targetModules === "string") return [];
  const found = matching(targetModules, modules, "the adapter's options");
  return targetModules.filter((_, i) => found[i]!.length === 0);
}

/** Whether the targets are a name for every linear layer of a model. PEFT takes it in any case. */
export function isAllLinear(targets: NamesOrPattern): boolean {
  return typeof targets === "string" && targets.toLowerCase() === "all-linear";
}

/** Last components of the modules' paths, each once, sorted: the shortest targets that match all of them. */
export function lastComponents(modules: readonly string[]): string[] {
  return [...new Set(modules.map((module) => module.slice(module.lastIndexOf(".") + 1)))].sort();
}

function targetedModules(lora: LoraConfig, modules: readonly string[], from: AdapterSource): string[] {
  const { targetModules: targets, excludeModules = [] } = lora;
  const source = from.name;
  const candidates = isAllLinear(targets) ? [...modules] : matched(targets, modules, from);
  const excluded = new Set(matching(excludeModules, modules, source).flat());
  const inLayers = layerFilter(lora, source);
  const kept = candidates.filter((module) => !excluded.has(module) && inLayers(module));
  if (kept.length === 0) {
    const limits = "excludeModules and layersToTransform leave nothing of them";
    throw invalid(
      source,
      `targetModules ${shown(targets)} match ${candidates.length} linear layers; ${limits}`,
    );
  }
  return kept;
}

/** The modules that any target matches. A target that matches none is most likely misspelt. */
function matched(targets: NamesOrPattern, modules: readonly string[], from: AdapterSource): string[] {
  const source = from.name;
  if (targets.length === 0) throw invalid(source, "targetModules is empty; expected at least one module");
  const found = matching(targets, modules, source);
  const missing = found.findIndex((of) => of.length === 0);
  const passedOver = from.lenient === true && found.some((of) => of.length > 0);
  if (missing !== -1 && !passedOver) {
    const target = typeof targets === "string" ? targets : targets[missing];
    throw invalid(
      source,
      `target module ${shown(target)} matches no linear layer of the model below its head; candidates: ` +
        `${lastComponents(modules).join(", ")}, or a module's path such as ${shown(modules[0])}`,
    );
  }
  const all = new Set(found.flat());
  return modules.filter((module) => all.has(module));
}

/** The modules that each entry of the list matches, or that the pattern does. */
function matching(targets: NamesOrPattern, modules: readonly string[], source: string): string[][] {
  if (typeof targets === "string") {
    if (targets === "") return [[]];
    const whole = compile(targets, (pattern) => `^(?:${pattern})$`, source);
    return [modules.filter((module) => whole(module) !== null)];
  }
  return targets.map((target) =>
    modules.filter((module) => module === target || module.endsWith(`.${target}`)),
  );
}

/** PEFT's `layers_to_transform`: the layer's number is the first in the path, or the one behind a pattern. */
function layerFilter(lora: LoraConfig, source: string): (module: string) => boolean {
  const { targetModules: targets, layersToTransform: layers, layersPattern = [] } = lora;
  if (layers === undefined || layers.length === 0) return () => true;
  if (typeof targets === "string") {
    throw invalid(source, "layersToTransform restricts a list of target modules; targetModules is a pattern");
  }
  const numbered =
    layersPattern.length === 0
      ? [(module: string) => /^.*?\.[^.]*\.(?<layer>\d+)\./u.exec(module)]
      : layersPattern.map((pattern) =>
          compile(pattern, (text) => `^(?:^|.*?\\.)${text}\\.(?<layer>\\d+)\\.`, source),
        );
  return (module) => {
    if (targets.includes(module)) return true;
    const layer = numbered.map((pattern) => pattern(module)?.groups?.["layer"]).find((n) => n !== undefined);
    return layer !== undefined && layers.includes(Number(layer));
  };
}

interface CompiledPattern {
  key: string;
  match: Matcher;
  value: number;
}

function compilePatterns(table: Record<string, number>, source: string): CompiledPattern[] {
  return Object.entries(table).map(([key, value]) => ({
    key,
    match: compile(key, (pattern) => `^(.*\\.)?(${pattern})$`, source),
    value,
  }));
}

function firstMatch(patterns: readonly CompiledPattern[], module: string): CompiledPattern | undefined {
  return patterns.find(({ match }) => match(module) !== null);
}

/** A compiled pattern, applied to a path. */
type Matcher = (path: string) => RegExpExecArray | null;

/** A pattern may come from a file of anybody's: one that backtracks for ever must not stop the process. */
const patternMilliseconds = 200;

function compile(pattern: string, around: (pattern: string) => string, source: string): Matcher {
  let regex: RegExp;
  try {
    // By itself first: "a)|(b" compiles between parentheses, and means something else there.
    new RegExp(pattern, "u");
    regex = new RegExp(around(pattern), "u");
  } catch (cause) {
    throw new RkifError(
      "INVALID_ARGUMENT",
      `${source}: the pattern ${shown(pattern)} is no regular expression of JavaScript (${(cause as Error).message}); ` +
        "write it without what only Python knows, or list the modules",
      { cause },
    );
  }
  // Names and dots alone cannot run away.
  if (/^[\w.\\^$-]*$/u.test(pattern)) return (path) => regex.exec(path);
  const context = createContext({ regex, path: "" });
  return (path) => {
    context["path"] = path;
    try {
      return runInContext("regex.exec(path)", context, {
        timeout: patternMilliseconds,
      }) as ReturnType<Matcher>;
    } catch (cause) {
      throw new RkifError(
        "INVALID_ARGUMENT",
        `${source}: the pattern ${shown(pattern)} takes too long on ${shown(path)}; list the modules instead`,
        { cause },
      );
    }
  };
}

function invalid(source: string, message: string): RkifError {
  return new RkifError("INVALID_ARGUMENT", `${source}: ${message}`);
}
