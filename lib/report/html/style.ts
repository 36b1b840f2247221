/** Shades of the heat maps from 0 to 10: a background, and the text that can be read on it. */
function shades(backgrounds: readonly string[], darkTextTo: number, dark: string, light: string): string {
  return backgrounds
    .map((color, i) => `--h${i}:${color};--t${i}:${i <= darkTextTo ? dark : light};`)
    .join("");
}

const lightShades = shades(
  ["#f7f9fc", "#e9f0f8", "#d9e6f3", "#c5d9ec", "#aecbe4", "#94badb", "#78a7d0", "#4479ad", "#2f659b", "#1e5186", "#123f6e"], // prettier-ignore
  6,
  "#10161d",
  "#ffffff",
);
const darkShades = shades(
  ["#1a2029", "#1c2836", "#1d3145", "#1d3b56", "#1c4668", "#1a527c", "#1b5f92", "#6fa9d8", "#8bbde4", "#a8d0ef", "#c8e3f8"], // prettier-ignore
  6,
  "#f2f6fa",
  "#0b1118",
);

const light = `--bg:#fff;--fg:#1a2027;--soft:#56616d;--rule:#d5dbe1;--panel:#f5f7f9;--link:#0b5cad;--focus:#c24a00;
--l0:#0064a8;--l1:#c24a00;--l2:#00785a;--l3:#a23b7c;--l4:#7d5d00;--l5:#5a4fcf;--l6:#b3123f;--l7:#4a5560;
--a0:#4d93c7;--a1:#8fd0b8;--a2:#f2b27a;--a3:#e6eaee;--hatch:#1a202766;${lightShades}`;
const dark = `--bg:#12161b;--fg:#e6ebf0;--soft:#a3afba;--rule:#38424d;--panel:#1a2027;--link:#7cbcff;--focus:#ffb066;
--l0:#5fb0ff;--l1:#ff9552;--l2:#3fcfa5;--l3:#f08cc8;--l4:#e3c04a;--l5:#b0a4ff;--l6:#ff7d95;--l7:#b4bec9;
--a0:#2f74a8;--a1:#2f7d64;--a2:#a0622c;--a3:#262d35;--hatch:#e6ebf066;${darkShades}`;

const each = (count: number, rule: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => rule(i)).join("");

/** The report's own style sheet: by the reader's light or dark setting, and always light on paper. */
export const style: string = `
:root{color-scheme:light dark;${light}}
@media (prefers-color-scheme:dark){:root{${dark}}}
@media print{:root{color-scheme:light;${light}}}
*{box-sizing:border-box}
body{margin:0 auto;padding:0 1.25rem 3rem;max-width:72rem;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
h1{font-size:1.7rem;margin:1.5rem 0 0;overflow-wrap:anywhere}
h2{font-size:1.3rem;margin:2.6rem 0 .5rem;padding-top:.6rem;border-top:2px solid var(--rule)}
h3{font-size:1.05rem;margin:1.8rem 0 .4rem;overflow-wrap:anywhere}
p{max-width:48rem;margin:.4rem 0 .8rem}
header p,footer{color:var(--soft)}
a{color:var(--link)}
:focus-visible{outline:3px solid var(--focus);outline-offset:2px}
main:focus{outline:none}
.skip{position:absolute;left:-99rem}
.skip:focus{left:1rem;top:.5rem;background:var(--bg);padding:.4rem .8rem}
nav ul{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;padding:0;margin:1rem 0;list-style:none}
aside{margin:1.5rem 0;padding:.2rem 1rem .6rem;background:var(--panel);border-left:4px solid var(--focus)}
aside h2{border:0;margin:.4rem 0 0;padding:0;font-size:1.05rem}
aside ul{margin:.3rem 0;padding-left:1.2rem;overflow-wrap:anywhere}
.scroll{overflow-x:auto;margin:.6rem 0 1rem;padding:2px}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--soft);padding:.2rem 0 .4rem;max-width:48rem}
th,td{padding:.28rem .7rem;border-bottom:1px solid var(--rule);vertical-align:top}
thead th{vertical-align:bottom;border-bottom:2px solid var(--rule);font-weight:600}
th.number,td.number{text-align:right;white-space:nowrap}
th.text,td.text,tbody th{text-align:left}
tbody th{font-weight:600;white-space:nowrap}
.heat td{text-align:center;min-width:3.1rem;padding:.3rem .35rem;border:1px solid var(--bg)}
.heat thead th{text-align:center;font-size:.85rem}
.heat thead th:first-child{text-align:left}
.heat td{color:var(--soft);-webkit-print-color-adjust:exact;print-color-adjust:exact}
.example{white-space:pre-wrap;overflow-wrap:anywhere;display:block;min-width:6rem;max-width:26rem}
code{font-size:.9em;overflow-wrap:anywhere}
figure{margin:.8rem 0 1.6rem;break-inside:avoid}
figcaption{color:var(--soft);max-width:48rem}
.matrices{display:flex;flex-wrap:wrap;gap:0 2rem}
.matrices .scroll{max-width:100%}
.pair{display:flex;flex-wrap:wrap;gap:0 1.5rem}
.pair .scroll{flex:1 1 22rem}
.pair figcaption{flex:1 1 100%}
details{margin:.4rem 0}
summary{cursor:pointer;color:var(--link);width:fit-content}
svg{display:block;width:100%;height:auto;font:12px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;-webkit-print-color-adjust:exact;print-color-adjust:exact}
svg.spark{display:inline-block;width:auto;max-width:none}
text{fill:var(--fg)}
.label,.note,.tick,.axes text{fill:var(--soft)}
.label{fill:var(--fg)}
.middle{text-anchor:middle}
.end{text-anchor:end}
.axes path{stroke:var(--rule)}
.mark{stroke:var(--soft);stroke-dasharray:3 3;fill:none}
.note{font-size:11px}
.line path{fill:none;stroke:currentColor;stroke-width:1.8;stroke-linejoin:round}
.line .m{fill:currentColor;stroke:none}
.d1 path{stroke-dasharray:7 3}.d2 path{stroke-dasharray:2 3}.d3 path{stroke-dasharray:9 3 2 3}
.area path{stroke:var(--bg);stroke-width:.7}
.hatch path{stroke:var(--hatch)}.hatch circle{fill:var(--hatch)}
.spark path{fill:none;stroke:var(--l0);stroke-width:1.6}
.spark .frame{stroke:var(--rule);stroke-width:1}
.spark circle{fill:var(--l0)}
${each(8, (i) => `.l${i}{color:var(--l${i})}`)}
${each(4, (i) => `.a${i} rect{fill:var(--a${i})}`)}
${each(11, (i) => `.heat .h${i}{background:var(--h${i});color:var(--t${i})}.cell.h${i} path{fill:var(--h${i})}.cell.h${i} text{fill:var(--t${i})}`)}
.cell text{font-size:10px;text-anchor:middle}
@media print{
body{max-width:none;padding:0;font-size:10.5pt}
nav,.skip,summary{display:none}
h2,h3{break-after:avoid}
tr{break-inside:avoid}
thead{display:table-header-group}
.scroll{overflow:visible}
svg{min-width:0!important}
.heat{font-size:7.5pt}
.heat caption{font-size:9.5pt}
.heat td{min-width:0;padding:.15rem .2rem}
#configuration details::details-content{content-visibility:visible;block-size:auto}
}
`;
