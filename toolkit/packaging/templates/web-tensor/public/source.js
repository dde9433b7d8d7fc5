// Numbers that are typed or pasted: the model's input, element by element.

import { ARRAYS, elements } from "./tensor.js";

/**
 * Make the field live.
 *
 * @param {object} input The model's input.
 * @param {() => void} changed Called whenever the numbers change.
 * @returns {{read: () => object | null, showSample: (values: object) => void}}
 */
export function createSource(input, changed) {
  const field = document.getElementById("numbers");
  const note = document.getElementById("numbers-note");
  const count = elements(input);
  note.textContent = `${count} numbers wanted.`;
  field.addEventListener("input", () => changed());
  document.getElementById("clear").addEventListener("click", () => {
    field.value = "";
    changed();
  });

  return {
    read() {
      const words = field.value.split(/[\s,;]+/).filter(Boolean);
      const wrong = words.find((word) => !Number.isFinite(Number(word)));
      if (wrong !== undefined) note.textContent = `“${wrong}” is no number.`;
      else note.textContent = `${words.length} of ${count} numbers.`;
      if (wrong !== undefined || words.length !== count) return null;
      const values = words.map(Number);
      return input.dtype === "int64"
        ? BigInt64Array.from(values, (value) => BigInt(Math.round(value)))
        : ARRAYS[input.dtype].from(values);
    },
    showSample(values) {
      field.value = Array.from(values).join(" ");
    },
  };
}
