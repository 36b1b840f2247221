/** Where a tensor sits in its model: the layer, and what it is within every layer. */
export interface TensorPlace {
  /** Such as "encoder 3" or "layer 0"; "" for what belongs to no layer. */
  layer: string;
  /** Such as "SelfAttention.q A". */
  matrix: string;
}

/** Splits the name of a trained tensor, an adapter's in PEFT form or a checkpoint's own. */
export function placeOf(name: string): TensorPlace {
  const path = name.replace(/^base_model\.model\./, "").replace(/\.(default\.)?(weight|bias)$/, "");
  const kind = name.endsWith(".bias") ? " bias" : "";
  const adapter = /\.lora_(?:embedding_)?([AB])$/.exec(path);
  const parts = path.slice(0, adapter?.index ?? path.length).split(".");
  const matrix = (from: number): string => {
    // Numbers behind the layer's own ("layer.0.SelfAttention") count parts of it, which names tell apart.
    const rest = parts.slice(from).filter((part, i, all) => !isNumber(part) && !isNumber(all[i + 1]));
    return `${rest.join(".")}${adapter ? ` ${adapter[1]}` : kind}`;
  };
  const at = parts.findIndex(isNumber);
  if (at < 0) return { layer: "", matrix: matrix(0) };
  const stack = parts.find((part) => part === "encoder" || part === "decoder") ?? "layer";
  return { layer: `${stack} ${parts[at]}`, matrix: matrix(at + 1) };
}

function isNumber(part: string | undefined): boolean {
  return part !== undefined && /^\d+$/.test(part);
}
