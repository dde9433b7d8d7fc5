// Between pixels or numbers and the tensors of the model, as its contract says.

/** Typed arrays by the element types of a contract. */
export const ARRAYS = {
  uint8: Uint8Array,
  int8: Int8Array,
  int32: Int32Array,
  int64: BigInt64Array,
  float32: Float32Array,
  float64: Float64Array,
};

/** The sizes of one run: an open batch is 1. */
export function fixedShape(spec) {
  return spec.shape.map((size) => (typeof size === "number" ? size : 1));
}

/** The number of elements of one run. */
export function elements(spec) {
  return fixedShape(spec).reduce((product, size) => product * size, 1);
}

/** Height, width and channels of an image input. */
export function pictureSize(spec) {
  const shape = fixedShape(spec);
  switch (spec.image.layout) {
    case "NCHW":
      return { height: shape[2], width: shape[3], channels: shape[1] };
    case "NHW":
      return { height: shape[1], width: shape[2], channels: 1 };
    default:
      return { height: shape[1], width: shape[2], channels: shape[3] };
  }
}

/**
 * Turn the pixels of one picture into the model's input.
 *
 * @param {Uint8Array} pixels height x width x channels, row by row.
 * @param {object} spec The input in the contract.
 * @returns A typed array; the graph does `in_graph`, `by_caller` is done here.
 */
export function fromPixels(pixels, spec) {
  const { height, width, channels } = pictureSize(spec);
  if (pixels.length !== height * width * channels) {
    throw new RangeError(
      `The model takes ${height} x ${width} pixels of ${channels} (${height * width * channels} ` +
        `bytes), not ${pixels.length} bytes.`,
    );
  }
  const data = new ARRAYS[spec.dtype](elements(spec));
  eachPixel(spec, (from, to, scale, offset) => {
    data[to] = scale === undefined ? pixels[from] : pixels[from] * scale + offset;
  });
  return data;
}

/** The way back, from the first picture of an input tensor to its pixels. */
export function toPixels(data, spec) {
  const { height, width, channels } = pictureSize(spec);
  const pixels = new Uint8ClampedArray(height * width * channels);
  eachPixel(spec, (to, from, scale, offset) => {
    pixels[to] = scale === undefined ? data[from] : (data[from] - offset) / scale;
  });
  return new Uint8Array(pixels);
}

function eachPixel(spec, visit) {
  const { height, width, channels } = pictureSize(spec);
  const planes = spec.image.layout === "NCHW";
  const pick = (values, channel) =>
    values && Math.fround(values.length === 1 ? values[0] : values[channel]);
  for (let channel = 0; channel < channels; channel++) {
    const scale = pick(spec.by_caller?.scale, channel);
    const offset = pick(spec.by_caller?.offset, channel);
    for (let place = 0; place < height * width; place++) {
      const interleaved = place * channels + channel;
      visit(interleaved, planes ? channel * height * width + place : interleaved, scale, offset);
    }
  }
}

/**
 * Class probabilities from the scores of the first sample.
 *
 * Logits go through softmax. One column is the output of a binary classifier, whose two classes
 * get [1 - p, p].
 */
export function probabilities(scores, spec) {
  const batch = fixedShape(spec)[0] ?? 1;
  let row = Array.from(scores.subarray(0, scores.length / batch), Number);
  if (spec.kind === "probabilities") return row.length === 1 ? [1 - row[0], row[0]] : row;
  if (row.length === 1) row = [0, row[0]];
  const largest = Math.max(...row);
  const powers = row.map((score) => Math.exp(score - largest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/** The classes in words: the contract's labels, or numbers from 0. */
export function labels(spec, count) {
  return spec.labels ?? Array.from({ length: count }, (_, index) => String(index));
}

/** The largest difference between two tensors; infinite when they have other sizes. */
export function largestDifference(one, other) {
  if (one.length !== other.length) return Infinity;
  let largest = 0;
  for (let place = 0; place < one.length; place++) {
    const difference = Math.abs(Number(one[place]) - Number(other[place]));
    // Not a number differs from everything.
    if (!(difference <= largest)) largest = Number.isNaN(difference) ? Infinity : difference;
  }
  return largest;
}
