// Holds this machine against the one that made the package: runs the golden samples and compares
// the outputs. Exits with 1 when one is further off than it may be.

import { readFile } from "node:fs/promises";
import { load } from "./model.js";
import { ARRAYS, largestDifference } from "./tensor.js";

const folder = new URL("./golden/", import.meta.url);
const golden = JSON.parse(await readFile(new URL("golden.json", folder), "utf8"));

/** Read a file of tensors, one for each run. */
async function read({ file, dtype }) {
  const bytes = await readFile(new URL(file, folder));
  const values = new ARRAYS[dtype](new Uint8Array(bytes).buffer);
  const size = values.length / golden.runs;
  return Array.from({ length: golden.runs }, (_, run) =>
    values.slice(run * size, (run + 1) * size),
  );
}

const model = await load();
const { outputs } = golden.models[0];
const inputs = await Promise.all(golden.inputs.map(read));
const expected = await Promise.all(outputs.map(read));

let [met, worst] = [0, 0];
for (let run = 0; run < golden.runs; run++) {
  const feeds = Object.fromEntries(golden.inputs.map(({ name }, i) => [name, inputs[i][run]]));
  const results = await model.run(feeds);
  const differences = outputs.map(({ name }, i) =>
    largestDifference(results[name], expected[i][run]),
  );
  if (differences.every((difference, i) => difference <= outputs[i].tolerance)) met++;
  worst = Math.max(worst, ...differences);
}
console.log(
  `${met} of ${golden.runs} golden samples agree; largest difference ` +
    `${worst.toPrecision(3)}, allowed ${outputs[0].tolerance.toPrecision(3)}`,
);
process.exitCode = met === golden.runs ? 0 : 1;
