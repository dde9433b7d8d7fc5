// The table of classes with a bar for each model, and the picture that the models see.

const ROWS = 10;

/** The bars: all classes in their order, or the likeliest ten when there are more than twelve. */
export class Bars {
  #labels;
  #ranked;
  #rows;
  #classifies;

  constructor(table, labels, models, classifies) {
    this.#labels = labels;
    this.#classifies = classifies;
    this.#ranked = labels.length > ROWS + 2;
    table.classList.toggle("wordy", labels.some((label) => label.length > 3));
    const head = table.createTHead().insertRow();
    head.append(cell("th", "class", "class"));
    for (const [index, model] of models.entries()) {
      const name = cell("th", "model", model.name);
      name.dataset.model = index;
      name.scope = "col";
      head.append(name);
    }
    const body = table.createTBody();
    const count = this.#ranked ? ROWS : labels.length;
    this.#rows = Array.from({ length: count }, (_, index) => {
      const row = body.insertRow();
      const name = cell("th", "class", labels[index]);
      name.title = labels[index];
      name.scope = "row";
      row.append(name);
      const cells = models.map((_model, model) => {
        const data = cell("td", "bar", "");
        data.dataset.model = model;
        row.append(data);
        return data;
      });
      return { row, name, cells };
    });
  }

  /** Show one row of values per model. */
  show(rows) {
    const order = [...this.#labels.keys()];
    if (this.#ranked && this.#classifies) order.sort((a, b) => rows[0][b] - rows[0][a]);
    const largest = Math.max(...rows.flat().map(Math.abs), 1e-9);
    this.#rows.forEach(({ row, name, cells }, place) => {
      const index = order[place];
      name.textContent = name.title = this.#labels[index];
      row.classList.toggle("best", rows[0][index] === Math.max(...rows[0]));
      cells.forEach((data, model) => {
        const value = rows[model][index];
        const part = this.#classifies ? value : Math.abs(value) / largest;
        data.style.setProperty("--part", part.toFixed(4));
        data.textContent = this.#classifies ? percent(value) : value.toPrecision(4);
      });
    });
  }

  /** Show that there is nothing to read. */
  clear() {
    for (const { row, cells } of this.#rows) {
      row.classList.remove("best");
      for (const data of cells) {
        data.style.setProperty("--part", 0);
        data.textContent = "";
      }
    }
  }
}

/** Draw height x width x channels pixels into a canvas of that size. */
export function showPixels(canvas, pixels, { height, width, channels }) {
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  for (let place = 0; place < width * height; place++) {
    for (let channel = 0; channel < 3; channel++) {
      image.data[4 * place + channel] = pixels[place * channels + (channels === 3 ? channel : 0)];
    }
    image.data[4 * place + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function percent(value) {
  return `${(100 * value).toFixed(1)} %`;
}

function cell(tag, className, text) {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}
