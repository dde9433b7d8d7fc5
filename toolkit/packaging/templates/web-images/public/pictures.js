// Pictures that are chosen, taken by a phone's camera, dropped anywhere on the page, or pasted.

/**
 * Call back with every picture that comes in.
 *
 * @param {(bitmap: ImageBitmap) => void} take
 */
export function watchPictures(take) {
  const open = async (file) => {
    if (!file) return;
    try {
      take(await createImageBitmap(file));
    } catch {
      document.getElementById("spoken").textContent = "This file is no picture.";
      document.getElementById("answer").textContent = "?";
      document.getElementById("sure").textContent = "That file is no picture.";
    }
  };
  const field = document.getElementById("file");
  field.addEventListener("change", () => {
    open(field.files[0]);
    field.value = ""; // the same file may be chosen again
  });
  addEventListener("paste", (event) => open(event.clipboardData.files[0]));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", () => document.body.classList.remove("dropping"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    open(event.dataTransfer.files[0]);
  });
}

/** Reduce a picture to a longer side of at most `side`, and read its RGBA values. */
export function pixelsOf(bitmap, side) {
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  return resized(
    bitmap,
    Math.max(1, Math.round(bitmap.width * scale)),
    Math.max(1, Math.round(bitmap.height * scale)),
  );
}

/** Resize a picture, and read its RGBA values. */
export function resized(bitmap, width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return { canvas, data: context.getImageData(0, 0, width, height).data, width, height };
}
