// Copies the three files of onnxruntime-web that the page needs into public/runtime/.

import { copyFileSync, mkdirSync, statSync } from "node:fs";

const FILES = ["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"];
const from = new URL("./node_modules/onnxruntime-web/dist/", import.meta.url);
const to = new URL("./public/runtime/", import.meta.url);

mkdirSync(to, { recursive: true });
for (const file of FILES) {
  copyFileSync(new URL(file, from), new URL(file, to));
  console.log(`public/runtime/${file}  ${statSync(new URL(file, to)).size} bytes`);
}
