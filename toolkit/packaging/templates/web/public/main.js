// Brings together what is drawn, the models, and the page.

import { GoldenSamples, Model } from "./model.js";
import { Bars, showPixels } from "./results.js";
import { createSource } from "./source.js";
import { fromPixels, labels, pictureSize, probabilities, toPixels } from "./tensor.js";

const get = (id) => document.getElementById(id);
const json = async (file) => (await fetch(file)).json();

const [contract, app] = await Promise.all([json("./contract.json"), json("./app.json")]);
const [input] = contract.inputs;
const [output] = contract.outputs;
const classifies = output.kind === "probabilities" || output.kind === "logits";

let models = [];
let samples;
let bars;
let sample = null; // the golden sample that is shown, until something is drawn
let sampleNumber = -1;
let waiting = false;
let reading = false;
let speaking;

const source = createSource(input, changed);

/** Something was drawn, dropped or typed: read it, again if it changes meanwhile. */
async function changed({ keepSample = false } = {}) {
  if (!keepSample) sample = null;
  waiting = true;
  if (reading || models.length === 0) return;
  reading = true;
  while (waiting) {
    waiting = false;
    await readOnce();
    await new Promise(requestAnimationFrame);
  }
  reading = false;
}

async function readOnce() {
  const drawn = source.read();
  const data = sample ?? (drawn && (input.image ? fromPixels(drawn, input) : drawn));
  get("seen").hidden = !data || !input.image;
  if (!data) {
    bars.clear();
    get("answer").textContent = "–";
    get("sure").textContent = "";
    return;
  }
  if (input.image) showPixels(get("seen-pixels"), toPixels(data, input), pictureSize(input));
  const rows = [];
  // The order changes from reading to reading, so that neither model always runs second.
  const order = Math.random() < 0.5 ? [...models.keys()] : [...models.keys()].reverse();
  for (const index of order) {
    const scores = await models[index].run(data);
    rows[index] = classifies ? probabilities(scores, output) : Array.from(scores, Number);
  }
  showAnswer(rows);
  models.forEach((model, index) => {
    get(`time-${index}`).textContent = `${model.meanTime.toFixed(2)} ms`;
  });
}

function showAnswer(rows) {
  bars.show(rows);
  if (!classifies) return;
  const names = labels(output, rows[0].length);
  const best = rows.map((row) => row.indexOf(Math.max(...row)));
  const sure = `${(100 * rows[0][best[0]]).toFixed(1)} %`;
  get("answer").textContent = names[best[0]];
  get("answer").classList.toggle("wordy", names[best[0]].length > 3);
  get("sure").textContent = sure;
  best.forEach((index, model) => {
    get(`answer-${model}`).textContent = names[index];
  });
  // A screen reader hears the answer once the hand rests, not at every point of a stroke.
  clearTimeout(speaking);
  speaking = setTimeout(() => {
    const agree = best.every((index) => index === best[0]);
    const others = models.length === 1 ? "" : agree ? " Both agree." : " The two disagree.";
    get("spoken").textContent = `${names[best[0]]}, ${sure} sure.${others}`;
  }, 600);
}

async function start() {
  models = await Promise.all(app.variants.map((variant) => Model.load(variant, contract)));
  samples = await GoldenSamples.load();
  const size = classifies
    ? probabilities(await models[0].run(samples.inputs[0]), output).length
    : (await models[0].run(samples.inputs[0])).length;
  bars = new Bars(get("bars"), labels(output, size), models, classifies);
  get("sample").disabled = false;
  document.body.dataset.state = "ready";
  await changed();
  await check();
}

/** Hold this browser against the machine that made the page. */
async function check() {
  const checks = [];
  for (const model of models) checks.push(await samples.check(model));
  models.forEach((model) => model.forgetTimes());
  const failed = checks.some(({ met, count }) => met < count);
  get("golden").textContent = failed
    ? "Golden samples differ here: do not trust these answers."
    : `${samples.count} golden samples: the same answers as where this page was made.`;
  document.body.dataset.golden = failed ? "failed" : "passed";
  document.body.dataset.checks = JSON.stringify(checks);
}

get("sample").addEventListener("click", () => {
  sampleNumber = (sampleNumber + 1) % samples.count;
  sample = samples.inputs[sampleNumber];
  source.showSample?.(input.image ? toPixels(sample, input) : sample);
  changed({ keepSample: true });
});

// Service workers need https, or this machine.
if ("serviceWorker" in navigator) {
  navigator.serviceWorker
    .register("./service-worker.js")
    .then(() => navigator.serviceWorker.ready)
    .then(() => {
      get("offline").textContent = "Works offline from now on.";
      document.body.dataset.offline = "ready";
    })
    .catch(() => {
      get("offline").textContent = "Needs the network: this browser keeps no copy.";
    });
}

start().catch((error) => {
  document.body.dataset.state = "failed";
  get("golden").textContent = `The model could not be started: ${error.message}`;
});
