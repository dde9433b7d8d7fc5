// The model in the browser: onnxruntime's WebAssembly build, on one thread.

import * as ort from "./runtime/ort.wasm.min.mjs";
import { ARRAYS, fixedShape, largestDifference } from "./tensor.js";

ort.env.wasm.wasmPaths = new URL("./runtime/", import.meta.url).href;
// More threads need two headers from the server, and are no faster for small models.
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

const REMEMBERED = 40; // runs in the mean time

/** One model file, loaded. */
export class Model {
  #session;
  #contract;
  #times = [];

  constructor({ name, file, size_bytes }, contract, session) {
    this.name = name;
    this.file = file;
    this.sizeBytes = size_bytes;
    this.#contract = contract;
    this.#session = session;
  }

  /** Load one variant of app.json. */
  static async load(variant, contract) {
    const session = await ort.InferenceSession.create(`./${variant.file}`, {
      executionProviders: ["wasm"],
      graphOptimizationLevel: "all",
      extra: { optimization: { disable_specified_optimizers: variant.disabled_optimizers } },
    });
    return new Model(variant, contract, session);
  }

  /** Run the graph on a ready input, and return the first output's values. */
  async run(data) {
    const [input] = this.#contract.inputs;
    const tensor = new ort.Tensor(input.dtype, data, fixedShape(input));
    const start = performance.now();
    const results = await this.#session.run({ [input.name]: tensor });
    this.#times.push(performance.now() - start);
    if (this.#times.length > REMEMBERED) this.#times.shift();
    return results[this.#contract.outputs[0].name].data;
  }

  /** The mean of the last runs, in milliseconds. */
  get meanTime() {
    return this.#times.reduce((sum, time) => sum + time, 0) / this.#times.length;
  }

  /** Forget the times, which hold those of a cold start. */
  forgetTimes() {
    this.#times = [];
  }
}

/** The samples that the package carries, with the answers of the machine that made it. */
export class GoldenSamples {
  static async load() {
    const samples = new GoldenSamples();
    samples.document = await (await fetch("./golden/golden.json")).json();
    [samples.input] = samples.document.inputs;
    samples.inputs = await read(samples.input, samples.document.runs);
    return samples;
  }

  get count() {
    return this.document.runs;
  }

  /** Run a model on all samples; returns how many meet their tolerance, and the worst difference. */
  async check(model) {
    const { outputs } = this.document.models.find(({ file }) => file === model.file);
    const expected = await read(outputs[0], this.count);
    let [met, worst] = [0, 0];
    for (let number = 0; number < this.count; number++) {
      const difference = largestDifference(await model.run(this.inputs[number]), expected[number]);
      if (difference <= outputs[0].tolerance) met++;
      worst = Math.max(worst, difference);
    }
    return { met, worst, count: this.count, tolerance: outputs[0].tolerance };
  }
}

/** Read a file of tensors, one for each run. */
async function read({ file, dtype }, runs) {
  const bytes = await (await fetch(`./golden/${file}`)).arrayBuffer();
  const values = new ARRAYS[dtype](bytes);
  const size = values.length / runs;
  return Array.from({ length: runs }, (_, run) => values.subarray(run * size, (run + 1) * size));
}
