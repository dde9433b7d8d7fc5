// Makes a digit of MNIST out of any picture of one: light strokes on black, the digit scaled with
// its aspect into 20 x 20 pixels and placed with its centre of mass in the middle of 28 x 28.

const FIELD = 28;
const BOX = 20;
const FAINT = 0.2; // of the darkest ink: what is fainter is paper

/**
 * How far each pixel is from the paper, 0 to 255.
 *
 * The paper has the median brightness of the picture's border, so dark strokes on light paper and
 * light strokes on dark paper both become ink. Transparent pixels count as white.
 *
 * @param {Uint8ClampedArray} rgba width x height x 4 values.
 */
export function inkOf(rgba, width, height) {
  const light = new Float32Array(width * height);
  for (let place = 0; place < light.length; place++) {
    const [red, green, blue, alpha] = rgba.subarray(4 * place, 4 * place + 4);
    const gray = 0.299 * red + 0.587 * green + 0.114 * blue;
    light[place] = 255 + (gray - 255) * (alpha / 255);
  }
  const border = light.filter((_, place) => {
    const x = place % width;
    const y = (place - x) / width;
    return x === 0 || y === 0 || x === width - 1 || y === height - 1;
  });
  const paper = border.sort()[border.length >> 1];
  const ink = light.map((value) => Math.abs(value - paper));
  // Shadows and the grain of the paper lie below the threshold between the two.
  const threshold = otsu(ink) * 0.6;
  return ink.map((value) => (value > threshold ? value : 0));
}

/**
 * Fit ink into the field of MNIST.
 *
 * @param {Float32Array} ink width x height values, 0 for paper.
 * @returns {Uint8Array | null} 28 x 28 pixels, or null when there is no ink.
 */
export function toMnist(ink, width, height) {
  const darkest = ink.reduce((largest, value) => Math.max(largest, value), 0);
  if (darkest < 8) return null;
  const box = boundingBox(ink, width, height, FAINT * darkest);
  const scale = BOX / Math.max(box.width, box.height);
  const digit = scaled(ink, width, box, scale);

  let mass = 0;
  let massX = 0;
  let massY = 0;
  digit.values.forEach((value, place) => {
    mass += value;
    massX += value * ((place % digit.width) + 0.5);
    massY += value * (Math.floor(place / digit.width) + 0.5);
  });
  const place = (middle, size) =>
    Math.min(Math.max(Math.round(FIELD / 2 - middle), 0), FIELD - size);
  const left = place(massX / mass, digit.width);
  const top = place(massY / mass, digit.height);

  const brightest = digit.values.reduce((largest, value) => Math.max(largest, value), 0);
  const field = new Uint8Array(FIELD * FIELD);
  digit.values.forEach((value, index) => {
    const x = left + (index % digit.width);
    const y = top + Math.floor(index / digit.width);
    field[y * FIELD + x] = Math.round((255 * value) / brightest);
  });
  return field;
}

function boundingBox(ink, width, height, faint) {
  let [left, top, right, bottom] = [width, height, 0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (ink[y * width + x] <= faint) continue;
      left = Math.min(left, x);
      right = Math.max(right, x + 1);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y + 1);
    }
  }
  return { left, top, width: right - left, height: bottom - top };
}

/** Scale a box of the ink; every new pixel is the mean of the area that it covers. */
function scaled(ink, stride, box, scale) {
  const width = Math.max(1, Math.round(box.width * scale));
  const height = Math.max(1, Math.round(box.height * scale));
  const values = new Float32Array(width * height);
  const columns = Array.from({ length: width }, (_, x) => cover(x, box.width / width, box.left));
  for (let y = 0; y < height; y++) {
    const rows = cover(y, box.height / height, box.top);
    for (let x = 0; x < width; x++) {
      let [sum, area] = [0, 0];
      for (const row of rows) {
        for (const column of columns[x]) {
          const part = row.part * column.part;
          sum += part * ink[row.place * stride + column.place];
          area += part;
        }
      }
      values[y * width + x] = sum / area;
    }
  }
  return { values, width, height };
}

/** The source pixels under a target pixel, and the part of each that it covers. */
function cover(index, step, start) {
  const [from, to] = [start + index * step, start + (index + 1) * step];
  const covered = [];
  for (let place = Math.floor(from); place < to - 1e-6; place++) {
    covered.push({ place, part: Math.min(to, place + 1) - Math.max(from, place) });
  }
  return covered;
}

/** The threshold that best splits the values in two (N. Otsu, 1979). */
function otsu(values) {
  const counts = new Array(256).fill(0);
  for (const value of values) counts[Math.min(255, Math.floor(value))]++;
  const moment = counts.reduce((sum, count, value) => sum + count * value, 0);
  let [below, belowMoment, best, threshold] = [0, 0, -1, 0];
  for (let value = 0; value < 255; value++) {
    below += counts[value];
    belowMoment += counts[value] * value;
    const above = values.length - below;
    if (below === 0 || above === 0) continue;
    const gap = belowMoment / below - (moment - belowMoment) / above;
    const between = below * above * gap * gap;
    if (between > best) [best, threshold] = [between, value];
  }
  return threshold;
}
