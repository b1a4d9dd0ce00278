// Builds the page into dist/: index.html, and the files it names, whose names change with their content.
import { readFile, rm, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { build } from "esbuild";

await rm("dist", { recursive: true, force: true });
const { metafile } = await build({
  entryPoints: ["src/main.ts", "src/style.css", "src/icon.svg"],
  entryNames: "[name]-[hash]",
  outdir: "dist",
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  loader: { ".svg": "copy" },
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
});
let html = await readFile("src/index.html", "utf8");
for (const [path, { entryPoint }] of Object.entries(metafile.outputs)) {
  html = html.replaceAll(basename(entryPoint ?? path), basename(path));
}
// As their licences ask for; the page links to this file.
await writeFile("dist/licences.txt", `TradingView Lightweight Charts(TM), Copyright (c) 2025 TradingView, Inc. https://www.tradingview.com/
fancy-canvas, Copyright (c) TradingView, Inc., MIT licence

${await readFile("node_modules/lightweight-charts/LICENSE", "utf8")}`);
await writeFile("dist/index.html", html);
