// The sheet to draw on: with finger, pen, mouse or keyboard; or a picture of a digit.

import { inkOf, toMnist } from "./mnist.js";
import { pixelsOf, watchPictures } from "./pictures.js";
import { showPixels } from "./results.js";

const PEN = 0.085; // width of the pen, of the sheet's side
const GRAIN = 280; // side of the drawing that the model gets, in pixels
const STEP = 0.025; // one press of an arrow key

/**
 * Make the sheet live.
 *
 * @param {object} _input The model's input.
 * @param {() => void} changed Called whenever the drawing changes.
 * @returns {{read: () => Uint8Array | null, showSample: (pixels: Uint8Array) => void}}
 */
export function createSource(_input, changed) {
  const sheet = document.getElementById("sheet");
  const say = (text) => (document.getElementById("spoken").textContent = text);
  let strokes = []; // each a list of points, in parts of the sheet's side
  let picture = null; // what lies on the sheet instead: {canvas, pixels}
  let stroke = null; // the one that is being drawn
  const cursor = { x: 0.5, y: 0.5, shown: false };

  function update() {
    sheet.parentElement.classList.toggle("empty", strokes.length === 0 && !picture);
    redraw();
    changed();
  }

  function begin(point) {
    picture = null;
    stroke = [point];
    strokes.push(stroke);
    update();
  }

  function clear() {
    [strokes, stroke, picture] = [[], null, null];
    update();
  }

  function undo() {
    [stroke, picture] = [null, null];
    strokes.pop();
    update();
  }

  // Finger, pen and mouse.
  const place = (event) => {
    const box = sheet.getBoundingClientRect();
    return {
      x: (event.clientX - box.left) / box.width,
      y: (event.clientY - box.top) / box.height,
    };
  };
  sheet.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !event.isPrimary) return;
    sheet.setPointerCapture(event.pointerId);
    cursor.shown = false;
    begin(place(event));
  });
  sheet.addEventListener("pointermove", (event) => {
    if (!stroke || !sheet.hasPointerCapture(event.pointerId)) return;
    // A fast hand moves further between two frames than one event tells.
    const events = event.getCoalescedEvents?.() ?? [];
    stroke.push(...(events.length ? events : [event]).map(place));
    update();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    sheet.addEventListener(end, () => (stroke = null));
  }

  // The keyboard moves a pen: arrows, and the space bar lowers and lifts it.
  sheet.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key in moves) {
      const reach = event.shiftKey ? 4 * STEP : STEP;
      cursor.x = Math.min(1, Math.max(0, cursor.x + reach * moves[event.key][0]));
      cursor.y = Math.min(1, Math.max(0, cursor.y + reach * moves[event.key][1]));
      cursor.shown = true;
      if (stroke) {
        stroke.push({ x: cursor.x, y: cursor.y });
        update();
      } else redraw();
    } else if (event.key === " " || event.key === "Enter") {
      cursor.shown = true;
      if (stroke) {
        stroke = null;
        redraw();
        say("Pen up");
      } else {
        begin({ x: cursor.x, y: cursor.y });
        say("Pen down");
      }
    } else if (event.key === "Backspace") undo();
    else if (event.key === "Escape" || event.key === "Delete") clear();
    else return;
    event.preventDefault();
  });
  sheet.addEventListener("focus", () => {
    cursor.shown = sheet.matches(":focus-visible");
    redraw();
  });
  sheet.addEventListener("blur", () => {
    [cursor.shown, stroke] = [false, null];
    redraw();
  });

  function redraw() {
    const side = Math.round(sheet.clientWidth * devicePixelRatio);
    if (sheet.width !== side) sheet.width = sheet.height = side;
    const context = sheet.getContext("2d");
    context.clearRect(0, 0, side, side);
    if (picture) {
      const { width, height } = picture.canvas;
      const scale = side / Math.max(width, height);
      context.imageSmoothingEnabled = scale < 4;
      context.drawImage(
        picture.canvas,
        (side - width * scale) / 2,
        (side - height * scale) / 2,
        width * scale,
        height * scale,
      );
    }
    const style = getComputedStyle(sheet);
    drawStrokes(context, strokes, side, style.color);
    if (cursor.shown) {
      context.beginPath();
      context.arc(cursor.x * side, cursor.y * side, (PEN * side) / 2, 0, 2 * Math.PI);
      context.lineWidth = 2 * devicePixelRatio;
      context.strokeStyle = style.accentColor;
      context.stroke();
    }
  }

  function read() {
    if (picture) return picture.pixels;
    if (strokes.length === 0) return null;
    const canvas = new OffscreenCanvas(GRAIN, GRAIN);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    drawStrokes(context, strokes, GRAIN, "black");
    const { data } = context.getImageData(0, 0, GRAIN, GRAIN);
    const ink = Float32Array.from({ length: GRAIN * GRAIN }, (_, place) => data[4 * place + 3]);
    return toMnist(ink, GRAIN, GRAIN);
  }

  function show(canvas, pixels) {
    [strokes, stroke, picture] = [[], null, { canvas, pixels }];
    sheet.parentElement.classList.remove("empty");
    redraw();
  }

  watchPictures((bitmap) => {
    const { canvas, data, width, height } = pixelsOf(bitmap, 400);
    const pixels = toMnist(inkOf(data, width, height), width, height);
    if (!pixels) say("The picture shows no stroke.");
    show(canvas, pixels);
    changed();
  });
  document.getElementById("clear").addEventListener("click", clear);
  document.getElementById("undo").addEventListener("click", undo);
  new ResizeObserver(redraw).observe(sheet);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  return {
    read,
    showSample(pixels) {
      const canvas = document.createElement("canvas");
      const side = Math.sqrt(pixels.length);
      showPixels(canvas, pixels, { height: side, width: side, channels: 1 });
      show(canvas, pixels);
    },
  };
}

function drawStrokes(context, strokes, side, color) {
  context.strokeStyle = color;
  context.lineWidth = PEN * side;
  context.lineCap = context.lineJoin = "round";
  for (const [first, ...rest] of strokes) {
    context.beginPath();
    context.moveTo(first.x * side, first.y * side);
    // A line of no length would draw nothing; a very short one is a dot.
    if (rest.length === 0) context.lineTo(first.x * side + 0.01, first.y * side);
    for (const point of rest) context.lineTo(point.x * side, point.y * side);
    context.stroke();
  }
}
