// The model in Node: load it once, run it often.

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import * as ort from "onnxruntime-node";
import { ARRAYS, elements, fixedShape, fromPixels, labels, probabilities } from "./tensor.js";

/** Load the model and its contract. */
export async function load(file = new URL("./model.onnx", import.meta.url)) {
  const contract = JSON.parse(await readFile(new URL("./contract.json", import.meta.url), "utf8"));
  const { disabled_optimizers: disabled = [], threads } = contract.session ?? {};
  const session = await ort.InferenceSession.create(file instanceof URL ? fileURLToPath(file) : file, {
    executionProviders: ["cpu"],
    intraOpNumThreads: threads ?? 1, // small models are fastest with one
    extra: {
      session: { x64quantprecision: "1" }, // int8 is exact on every CPU
      optimization: { disable_specified_optimizers: disabled.join(";") },
    },
  });
  return new Model(session, contract);
}

export class Model {
  #session;

  constructor(session, contract) {
    this.#session = session;
    this.contract = contract;
  }

  /** Run the graph on ready tensors, by input name; returns typed arrays by output name. */
  async run(feeds) {
    const tensors = {};
    for (const spec of this.contract.inputs) {
      const data = feeds[spec.name];
      const array = ARRAYS[spec.dtype];
      if (!(data instanceof array) || data.length !== elements(spec)) {
        throw new TypeError(
          `The input "${spec.name}" takes ${array.name} of ${elements(spec)} values.`,
        );
      }
      tensors[spec.name] = new ort.Tensor(spec.dtype, data, fixedShape(spec));
    }
    const results = await this.#session.run(tensors);
    return Object.fromEntries(
      this.contract.outputs.map(({ name }) => [name, results[name].data]),
    );
  }

  /**
   * Classify one sample.
   *
   * An image model takes its pixels, row by row, as bytes; any other model takes the values of
   * its input.
   */
  async predict(sample) {
    const [input] = this.contract.inputs;
    const [output] = this.contract.outputs;
    if (this.contract.inputs.length !== 1 || !["probabilities", "logits"].includes(output.kind)) {
      throw new TypeError("This model has several inputs or no classes; use run().");
    }
    const data = input.image ? fromPixels(sample, input) : sample;
    const scores = (await this.run({ [input.name]: data }))[output.name];
    const classes = probabilities(scores, output);
    const index = classes.indexOf(Math.max(...classes));
    const label = labels(output, classes.length)[index];
    return { label, index, confidence: classes[index], probabilities: classes };
  }
}
