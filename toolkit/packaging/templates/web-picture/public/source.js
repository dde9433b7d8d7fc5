// A picture that is chosen, dropped or pasted, resized to the model's input.

import { resized, watchPictures } from "./pictures.js";
import { showPixels } from "./results.js";
import { pictureSize } from "./tensor.js";

/**
 * Make the sheet live.
 *
 * @param {object} input The model's input.
 * @param {() => void} changed Called whenever another picture is there.
 * @returns {{read: () => Uint8Array | null, showSample: (pixels: Uint8Array) => void}}
 */
export function createSource(input, changed) {
  const sheet = document.getElementById("sheet");
  const size = pictureSize(input);
  let pixels = null;

  function show(picture, width, height) {
    [sheet.width, sheet.height] = [width, height];
    sheet.getContext("2d").drawImage(picture, 0, 0);
    sheet.parentElement.classList.remove("empty");
  }

  watchPictures((bitmap) => {
    const { data } = resized(bitmap, size.width, size.height);
    pixels = withChannels(data, size);
    show(bitmap, bitmap.width, bitmap.height);
    changed();
  });
  document.getElementById("clear").addEventListener("click", () => {
    pixels = null;
    sheet.getContext("2d").clearRect(0, 0, sheet.width, sheet.height);
    sheet.parentElement.classList.add("empty");
    changed();
  });

  return {
    read: () => pixels,
    showSample(sample) {
      const canvas = document.createElement("canvas");
      showPixels(canvas, sample, size);
      show(canvas, size.width, size.height);
    },
  };
}

/** From RGBA on white to grey or RGB; grey weighs the colours as Pillow does. */
function withChannels(rgba, { height, width, channels }) {
  const pixels = new Uint8Array(height * width * channels);
  for (let place = 0; place < height * width; place++) {
    const alpha = rgba[4 * place + 3] / 255;
    const color = [0, 1, 2].map((index) => 255 + (rgba[4 * place + index] - 255) * alpha);
    if (channels === 3) pixels.set(color.map(Math.round), 3 * place);
    else pixels[place] = Math.round(0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]);
  }
  return pixels;
}
