// The interactive parts of the page. Names from files are inserted as text only; nothing here writes HTML.

const find = (selector, within = document) => within.querySelector(selector);
const findAll = (selector, within = document) => [...within.querySelectorAll(selector)];

/** Create an element with properties (attributes where it has no such property) and children: elements or texts. */
function create(tag, properties = {}, ...children) {
  const svg = ["svg", "path", "line", "circle", "text", "g"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (!svg && name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// Tables ------------------------------------------------------------------------------------------------------------

/** Return the value by which a cell is sorted: a number if its text is one, null if it is empty. */
function valueOf(row, column) {
  const cell = row.cells[column];
  if (!cell || cell.matches(".not-run, :has(.verdict):not([data-value])")) return null;
  const text = (cell.dataset.value ?? cell.textContent).trim().replace(/^×/, "").replace(/,(?=\d{3})/g, "");
  if (text === "" || text === "–") return null;
  return Number.isNaN(Number(text)) ? text : Number(text);
}

function compare(a, b, direction) {
  if (a === null || b === null) return (a === null) - (b === null); // empty cells stay at the end
  if (typeof a === "number" && typeof b === "number") return direction * (a - b);
  return direction * String(a).localeCompare(String(b), "en", { numeric: true });
}

/** Add sort buttons to the header: ascending, descending, and back to the original order, within each table body. */
function makeSortable(table) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const differs = (body) => new Set([...body.rows].map((row) => valueOf(row, column))).size > 1;
    if (![...table.tBodies].some(differs)) return; // all values are equal
    const button = create("button", { type: "button", className: "sort" }, ...header.childNodes);
    button.insertBefore(create("span", { className: "order", ariaHidden: "true" }), find(".unit", button));
    header.append(button);
    button.addEventListener("click", () => {
      const next = { none: "ascending", ascending: "descending", descending: "none" }[header.ariaSort ?? "none"];
      for (const other of headers) other.ariaSort = other === header ? next : "none";
      const direction = next === "descending" ? -1 : 1;
      for (const body of table.tBodies) {
        const rows = [...body.rows];
        rows.forEach((row, i) => (row.dataset.order ??= i));
        const values = new Map(
          rows.map((row) => [row, next === "none" ? Number(row.dataset.order) : valueOf(row, column)]),
        );
        body.append(...rows.sort((a, b) => compare(values.get(a), values.get(b), direction)));
      }
    });
  });
}

function addTableTools(block) {
  const tools = find(".tools", block);
  const table = find("table.scores", block);
  tools.addEventListener("submit", (event) => event.preventDefault());
  tools.addEventListener("input", () => {
    const searched = tools.elements.method.value.trim().toLowerCase();
    for (const row of findAll("tbody tr", table)) {
      row.hidden = !find("th", row).textContent.toLowerCase().includes(searched);
    }
    const rows = findAll("tbody tr", table);
    const shown = rows.filter((row) => !row.hidden).length;
    tools.elements.count.value = shown < rows.length ? `${shown} of ${rows.length} rows` : "";
    table.classList.toggle("no-intervals", !tools.elements.intervals.checked);
  });
  const choice = find(".comparisons select", block);
  if (!choice) return; // fewer than two rows were run
  const tables = findAll(".differences-from", block);
  const show = () => tables.forEach((each, i) => (each.hidden = String(i) !== choice.value));
  choice.addEventListener("input", show);
  show();
}

// Claims ------------------------------------------------------------------------------------------------------------

function addClaimsTools() {
  const tools = find("#claims-tools");
  if (!tools) return; // a report without the paper
  const sections = findAll(".claim-section");
  const { outcome, section, text, count } = tools.elements;
  const update = () => {
    const [which, ...kind] = outcome.value.split(" ");
    const searched = text.value.trim().toLowerCase();
    const filtered = which !== "" || section.value !== "" || searched !== "";
    let shown = 0;
    for (const part of sections) {
      const rows = findAll("tbody tr", part);
      for (const row of rows) {
        row.hidden =
          (which !== "" && row.dataset[which] !== kind.join(" ")) ||
          (section.value !== "" && row.dataset.section !== section.value) ||
          !row.textContent.toLowerCase().includes(searched);
      }
      const matches = rows.filter((row) => !row.hidden).length;
      shown += matches;
      part.hidden = matches === 0;
      part.open = filtered && matches > 0;
    }
    count.value = `${shown} of ${findAll(".claims tbody tr").length} claims`;
  };
  tools.addEventListener("submit", (event) => event.preventDefault());
  tools.addEventListener("input", update);
  tools.addEventListener("reset", () => setTimeout(update));
  update();
}

// Curves ------------------------------------------------------------------------------------------------------------

const TRUTH_STYLE = { stroke: "#1f2328", "stroke-width": 3 };
const SEED_DASHES = ["", "6 3", "2 2", "8 2 2 2"];

/** Create a short line of this style, for a legend. */
function swatch(style) {
  const line = create("line", { x1: 0, x2: 28, y1: 5, y2: 5, ...style });
  return create("svg", { class: "swatch", viewBox: "0 0 28 10", "aria-hidden": "true" }, line);
}

/** Return about `count` round numbers between two limits. */
function ticks(low, high, count) {
  const rough = (high - low || 1) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((each) => each * power >= rough) * power;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/**
 * Draw lines with both axes into a box.
 *
 * A line is {x, y, style, segments}: each segment is a list of indices of x and y that the line connects; without
 * segments it connects all. The description is for screen readers. Return the picture, the function that maps x to its
 * coordinate, and the top and bottom of the axes.
 */
function drawChart(box, lines, xLabel, yLabel, description) {
  const [width, height] = [Math.max(box.clientWidth, 280), 260];
  const [left, right, top, bottom] = [56, 26, 22, 42];
  const range = (values) => [Math.min(...values), Math.max(...values)];
  const [x0, x1] = range(lines.flatMap((line) => range(line.x)));
  let [y0, y1] = range(lines.flatMap((line) => range(line.y)));
  const margin = (y1 - y0 || 1) * 0.05;
  [y0, y1] = [y0 - margin, y1 + margin];
  const px = (x) => left + ((x - x0) / (x1 - x0 || 1)) * (width - left - right);
  const py = (y) => height - bottom - ((y - y0) / (y1 - y0)) * (height - top - bottom);
  const svg = create("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": description });
  for (const x of ticks(x0, x1, width / 90)) {
    svg.append(create("line", { class: "tick", x1: px(x), x2: px(x), y1: height - bottom, y2: height - bottom + 4 }));
    svg.append(create("text", { x: px(x), y: height - bottom + 18, "text-anchor": "middle" }, x.toLocaleString("en")));
  }
  for (const y of ticks(y0, y1, 5)) {
    svg.append(create("line", { class: "grid", x1: left, x2: width - right, y1: py(y), y2: py(y) }));
    svg.append(create("text", { x: left - 7, y: py(y) + 4, "text-anchor": "end" }, String(y)));
  }
  svg.append(create("line", { class: "tick", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }));
  svg.append(create("text", { x: width - right, y: height - 6, "text-anchor": "end" }, xLabel));
  svg.append(create("text", { x: 0, y: 12 }, yLabel));
  for (const { x, y, style, segments = [[...x.keys()]] } of lines) {
    const point = (i, j) => `${j ? "L" : "M"}${px(x[i]).toFixed(1)} ${py(y[i]).toFixed(1)}`;
    const d = segments.map((segment) => segment.map(point).join("")).join("");
    svg.append(create("path", { d, fill: "none", "stroke-linejoin": "round", ...style }));
    for (const [i] of segments.filter((segment) => segment.length === 1)) {
      const r = 1.5 + style["stroke-width"] / 2; // of the point between two gaps, where no line is
      svg.append(create("circle", { cx: px(x[i]).toFixed(1), cy: py(y[i]).toFixed(1), r, fill: style.stroke }));
    }
  }
  box.replaceChildren(svg);
  return { svg, px, top, bottom: height - bottom };
}

// Image viewer ------------------------------------------------------------------------------------------------------

function decodeBase64(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

/** Return the numbers that are stored as 16-bit integers from low to high. */
function unpackSpectra({ low, high, values }) {
  const bytes = new DataView(decodeBase64(values).buffer);
  return Array.from(
    { length: bytes.byteLength / 2 },
    (_, i) => low + ((high - low) * bytes.getUint16(2 * i, true)) / 65535,
  );
}

const dot = (a, b) => a.reduce((sum, each, i) => sum + each * b[i], 0);
const meanAbsoluteError = (a, b) => a.reduce((sum, each, i) => sum + Math.abs(each - b[i]), 0) / a.length;

/** Return the angle between two spectra in degrees; NaN if one is zero in all bands. */
function spectralAngle(a, b) {
  const cosine = dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  return (Math.acos(Math.min(1, Math.max(-1, cosine))) * 180) / Math.PI;
}

function startViewer(testImages) {
  find(".no-script").remove();
  const names = ["view", "left", "right", "kind", "divider", "band"];
  const [imageChoice, left, right, kind, divider, bandChoice] = names.map((name) => find(`#viewer-${name}`));
  const [box, grid, legend, chartBox] = ["#compare", "#picker", "#legend tbody", "#spectra"].map((name) => find(name));
  // The state: the test image, the spectra of its pixels (the ground truth's first), the methods that are drawn, the
  // row and column of the chosen pixel in the grid, its spectra, and their chart.
  let shown, spectra, drawn, row, column, pixelSpectra, chart;
  const order = () => shown.bands.segments.flat(); // the bands in the order of their positions
  const label = (i) => (i < 0 ? "Ground truth" : shown.methods[i].label);
  const isDashed = (i) => Number(shown.methods[i].style["stroke-dasharray"] !== "");
  const styleOf = (i) => (i < 0 ? TRUTH_STYLE : { "stroke-width": 1.4, ...shown.methods[i].style });

  function chooseImage() {
    const before = [left, right].map((select) => select.selectedOptions[0]?.textContent);
    shown = testImages[imageChoice.value];
    const methods = [...shown.methods.keys()];
    for (const [side, select] of [left, right].entries()) {
      const all = [-1, ...methods];
      select.replaceChildren(...all.map((i) => create("option", { value: i }, label(i))));
      select.value = all.find((i) => label(i) === before[side]) ?? methods.at(-side); // first and last method
    }
    drawn = new Set(methods);
    find("#viewer-untrained").textContent = shown.untrained.length
      ? `Not shown, untrained: ${shown.untrained.join(", ")}.`
      : "";
    spectra = [shown.truth, ...shown.methods].map((each) => unpackSpectra(each.spectra));
    [row, column] = [shown.rows, shown.columns].map((all) => Math.floor(all.length / 2));
    bandChoice.max = order().length - 1;
    bandChoice.value = Math.floor(order().length / 2);
    const [rows, columns] = shown.shape;
    box.style.width = `${columns * Math.max(1, Math.floor(512 / columns))}px`;
    for (const each of findAll(".compare, .picker")) each.style.aspectRatio = `${columns} / ${rows}`;
    find("#viewer-limit").textContent = `${shown.limit.toPrecision(2)} and more: absolute error, mean over all bands`;
    find("#picker-image").src = shown.truth.picture;
    const cell = (i, j) => {
      const [y, x] = [shown.rows[i], shown.columns[j]];
      const button = create("button", { type: "button", role: "gridcell", ariaLabel: `row ${y + 1}, column ${x + 1}` });
      button.style.top = `${(100 * (y + 0.5)) / rows}%`;
      button.style.left = `${(100 * (x + 0.5)) / columns}%`;
      button.addEventListener("click", () => choosePixel(i, j));
      return button;
    };
    grid.replaceChildren(
      ...shown.rows.map((_, i) => create("div", { role: "row" }, ...shown.columns.map((_, j) => cell(i, j)))),
    );
    listMethods();
    showPictures();
    choosePixel(row, column);
  }

  function showPictures() {
    const errors = kind.value === "error";
    for (const select of [left, right]) {
      const i = Number(select.value);
      const method = i < 0 ? shown.truth : shown.methods[i];
      const picture = find(`#${select.id}-picture`);
      picture.src = errors ? method.error : method.picture;
      const number = i < 0 ? "" : `, MPSNR ${method.psnr.toFixed(2)} dB`;
      picture.alt =
        `${label(i)}: ${errors ? "error map" : "picture"} of test image ${shown.image}, ${shown.title}${number}`;
      find(`#${select.id}-name`).textContent = label(i) + (i < 0 ? "" : `, ${method.psnr.toFixed(2)} dB`);
    }
    find("#viewer-colours").hidden = !errors;
    box.classList.toggle("errors", errors);
    const colours = shown.rgb.map((number) => shown.bands.names[number - 1]);
    find("#viewer-caption").textContent =
      `${shown.title}, test image ${shown.image}. Red, green and blue are the file's bands ${colours.join(", ")}. ` +
      (errors
        ? "All error maps have one scale."
        : "All pictures have one stretch, from 2 to 98 % of the ground truth.") +
      " The pictures are compressed for this page; no number comes from them.";
    slide();
  }

  function slide() {
    box.style.setProperty("--at", `${divider.value}%`);
    divider.ariaValueText = `${label(Number(left.value))} up to ${divider.value} %, then ${label(Number(right.value))}`;
  }

  function listMethods() {
    const line = (i) => {
      const check = create("input", { type: "checkbox", checked: i < 0 || drawn.has(i), disabled: i < 0 });
      check.addEventListener("input", () => {
        drawn[check.checked ? "add" : "delete"](i);
        showPixel();
      });
      const cells = [shown.methods[i]?.psnr.toFixed(2) ?? "–", "–", "–"].map((text) => create("td", {}, text));
      const name = create("label", {}, check, swatch(styleOf(i)), label(i));
      return create("tr", {}, create("th", { scope: "row" }, name), ...cells);
    };
    legend.replaceChildren(line(-1), ...shown.methods.map((_, i) => line(i)));
  }

  function choosePixel(i, j) {
    [row, column] = [i, j];
    for (const [y, line] of [...grid.children].entries()) {
      for (const [x, cell] of [...line.children].entries()) {
        const chosen = y === row && x === column;
        cell.ariaSelected = String(chosen);
        cell.tabIndex = chosen ? 0 : -1;
      }
    }
    showPixel();
  }

  function showPixel() {
    const bands = shown.bands.names.length;
    const start = (row * shown.columns.length + column) * bands;
    const [truth, ...own] = spectra.map((all) => all.slice(start, start + bands));
    const angles = own.map((spectrum) => spectralAngle(spectrum, truth));
    const errors = own.map((spectrum) => meanAbsoluteError(spectrum, truth));
    for (const i of own.keys()) {
      const [, degrees, error] = legend.rows[i + 1].querySelectorAll("td");
      degrees.textContent = Number.isNaN(angles[i]) ? "–" : angles[i].toFixed(2);
      error.textContent = errors[i].toPrecision(3);
    }
    const where = `row ${shown.rows[row] + 1}, column ${shown.columns[column] + 1}`;
    const visible = [...own.keys()].filter((i) => drawn.has(i));
    const smallest = (values) => visible.reduce((best, i) => (values[i] < values[best] ? i : best), visible[0]);
    const [byAngle, byError] = [smallest(angles), smallest(errors)];
    find("#pixel-summary").textContent =
      `The pixel in ${where}. ` +
      (visible.length
        ? `Of the methods that are drawn, ${label(byAngle)} has the smallest spectral angle to the ground truth, ` +
          `${angles[byAngle].toFixed(2)} degrees; ${label(byError)} has the smallest mean absolute error, ` +
          `${errors[byError].toPrecision(3)}.`
        : "No method is drawn.");
    const line = (y, i) => ({ x: shown.bands.positions, y, style: styleOf(i), segments: shown.bands.segments });
    // Dashed lines are drawn last, so that equal solid lines show between their dashes.
    const order = visible.toSorted((a, b) => isDashed(a) - isDashed(b));
    const lines = [line(truth, -1), ...order.map((i) => line(own[i], i))];
    const description = `Spectra of the pixel in ${where}: ${find("#pixel-summary").textContent}`;
    chart = drawChart(chartBox, lines, shown.bands.unit, "value", description);
    chart.svg.append(create("line", { class: "band", y1: chart.top, y2: chart.bottom }));
    pixelSpectra = new Map([[-1, truth], ...visible.map((i) => [i, own[i]])]);
    showBand();
  }

  function showBand() {
    const i = order()[bandChoice.value];
    const x = chart.px(shown.bands.positions[i]).toFixed(1);
    for (const end of ["x1", "x2"]) find(".band", chart.svg).setAttribute(end, x);
    const values = [...pixelSpectra].map(([method, values]) => `${label(method)} ${values[i].toPrecision(3)}`);
    bandChoice.ariaValueText = `Band ${shown.bands.names[i]}`;
    find("#band-values").textContent = `The file's band ${shown.bands.names[i]}: ${values.join(", ")}.`;
  }

  imageChoice.append(...testImages.map((each, i) => create("option", { value: i }, each.title)));
  imageChoice.addEventListener("input", chooseImage);
  for (const select of [left, right, kind]) select.addEventListener("input", showPictures);
  divider.addEventListener("input", slide);
  bandChoice.addEventListener("input", showBand);
  chartBox.addEventListener("pointermove", (event) => {
    const { left: start, width } = chart.svg.getBoundingClientRect();
    const x = ((event.clientX - start) * chart.svg.viewBox.baseVal.width) / width;
    const distances = order().map((i) => Math.abs(chart.px(shown.bands.positions[i]) - x));
    bandChoice.value = distances.indexOf(Math.min(...distances));
    showBand();
  });
  for (const type of ["pointerdown", "pointermove"]) {
    box.addEventListener(type, (event) => {
      if (!event.buttons) return;
      const { left: start, width } = box.getBoundingClientRect();
      divider.value = (100 * (event.clientX - start)) / width;
      box.setPointerCapture(event.pointerId);
      slide();
    });
  }
  grid.addEventListener("keydown", (event) => {
    const [rows, columns] = [shown.rows.length - 1, shown.columns.length - 1];
    const to = {
      ArrowUp: [Math.max(0, row - 1), column],
      ArrowDown: [Math.min(rows, row + 1), column],
      ArrowLeft: [row, Math.max(0, column - 1)],
      ArrowRight: [row, Math.min(columns, column + 1)],
      Home: [row, 0],
      End: [row, columns],
    }[event.key];
    if (!to) return;
    event.preventDefault();
    choosePixel(...to);
    grid.children[row].children[column].focus();
  });
  addEventListener("resize", showPixel);
  chooseImage();
}

// Runs --------------------------------------------------------------------------------------------------------------

const ERROR_NOTE =
  "MAE: mean absolute error; edges: of the 10 % of the pixels with the strongest gradients in the ground truth.";
let runWindows; // a promise of the data of all run windows, by the anchor of the run's line

async function openRun(anchor) {
  runWindows ??= new Response(
    new Blob([decodeBase64(find("#runs-data").textContent)]).stream().pipeThrough(new DecompressionStream("gzip")),
  ).json();
  const data = (await runWindows)[anchor];
  if (!data) return; // a link to a run of another report
  const { title, label, printed, seeds } = data;
  const trained = seeds.filter((seed) => seed.history);
  find("#run-title").textContent = title;
  const body = find("#run-body");
  body.replaceChildren();
  if (label) body.append(create("p", {}, label));
  body.append(create("h3", {}, "Scores"), createScoresTable(seeds), create("p", { className: "hint" }, ERROR_NOTE));
  const chart = create("div", { className: "chart" });
  const seedStyle = (i) => ({
    stroke: data.style.stroke,
    "stroke-width": 1.4,
    "stroke-dasharray": SEED_DASHES[i % SEED_DASHES.length],
  });
  const seedNames = trained.flatMap(({ run }, i) => [" ", swatch(seedStyle(i)), String(run.seed)]);
  // The first epochs are far below the others and are cut off.
  const first = Math.floor(Math.min(...trained.map(({ history }) => history.steps.length)) / 10);
  const cut = first ? ", without the first tenth of the epochs" : "";
  const legend = create("p", {}, `A line for each seed${cut}:`, ...seedNames);
  if (trained.length) body.append(create("h3", {}, "Training"), legend, chart);
  if (printed.length) body.append(create("h3", {}, "Printed numbers"), createVerdictsTable(printed));
  for (const seed of seeds) body.append(createDetails(seed));
  find("#run").showModal();
  find("#run").scrollTop = 0;
  if (trained.length) {
    const ends = trained.map(({ run, history }) => `seed ${run.seed} ends at ${history.mpsnr.at(-1).toFixed(2)} dB`);
    const description = `Validation MPSNR over steps: ${ends.join(", ")}`;
    const curves = trained.map(({ history }, i) => {
      const [x, y] = [history.steps, history.mpsnr].map((all) => all.slice(first));
      return { x, y, style: seedStyle(i) };
    });
    drawChart(chart, curves, "steps", "validation MPSNR, dB", description);
  }
}

/** Create a table of texts; bodies are lists of rows, whose second cell is their heading. */
function createTable(title, headings, bodies) {
  const cell = (text, i) => (i === 1 ? create("th", { scope: "row" }, text) : create("td", {}, text));
  const line = (texts) => create("tr", {}, ...texts.map(cell));
  const head = create("tr", {}, ...headings.map((text) => create("th", { scope: "col" }, text)));
  const table = create(
    "table",
    { className: "runs" },
    create("caption", { className: "visually-hidden" }, title),
    create("thead", {}, head),
    ...bodies.map((lines) => create("tbody", {}, ...lines.map(line))),
  );
  return create("div", { className: "scroll", role: "region", ariaLabel: title, tabIndex: 0 }, table);
}

function createScoresTable(seeds) {
  const names = Object.keys(seeds[0].scores.mean);
  const units = JSON.parse(find("#run").dataset.units);
  const headings = names.map((name) => (units[name] ? `${name}, ${units[name]}` : name));
  const texts = (scores, others) =>
    [...names.map((name) => scores[name]), ...others].map((value) => value?.toFixed(4) ?? "–");
  const bodies = seeds.map(({ scores: { seed, images, mean } }) => [
    ...images.map((image, i) => [
      String(seed),
      `Test image ${i + 1}`,
      ...texts(image.scores, [image.mae, image.mae_edges]),
    ]),
    [String(seed), "Mean", ...texts(mean, [null, null])],
  ]);
  return createTable("Scores of every test image and seed", ["Seed", "Of", ...headings, "MAE", "MAE, edges"], bodies);
}

function createVerdictsTable(printed) {
  const lines = printed.map((each) => [each.table, each.column, each.printed, each.verdict, each.why]);
  return createTable("Printed numbers and their verdicts", ["Table", "Column", "Printed", "Verdict", "Why"], [lines]);
}

/** Create the details of one seed: facts of its scores.json, its settings, the end of its history. */
function createDetails({ run, scores, history }) {
  const facts = create("dl", { className: "facts" });
  const addFact = (name, value) => {
    if (value !== null && typeof value === "object") {
      for (const [inner, each] of Object.entries(value)) addFact(`${name} ${inner}`, each);
      return;
    }
    const terms = [create("dt", {}, name.replaceAll("_", " ")), create("dd", {}, String(value ?? "–"))];
    facts.append(create("div", {}, ...terms));
  };
  const shownElsewhere = ["experiment", "scene", "scale", "model", "seed", "mean", "images"];
  for (const [name, value] of Object.entries(scores)) if (!shownElsewhere.includes(name)) addFact(name, value);
  const summary = create("summary", {}, `Seed ${run.seed}: settings, versions, hashes, history`);
  const part = create("details", {}, summary, facts);
  part.append(create("h4", {}, "Settings"), create("pre", { tabIndex: 0 }, JSON.stringify(run, null, 1)));
  if (history) {
    part.append(create("h4", {}, "Last lines of history.csv"), create("pre", { tabIndex: 0 }, history.last));
  }
  return part;
}

// Start -------------------------------------------------------------------------------------------------------------

for (const part of findAll("[data-script]")) part.hidden = false;
for (const table of findAll("table.scores, table[data-sortable]")) makeSortable(table);
for (const block of findAll(".one-table")) addTableTools(block);
addClaimsTools();
const viewerData = find("#viewer-data"); // missing if nothing was run
if (viewerData) startViewer(JSON.parse(viewerData.textContent));
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const anchor = decodeURIComponent(link.hash.slice(1));
  if (anchor.startsWith("run-")) {
    event.preventDefault();
    openRun(anchor);
  } else if (link.hash === location.hash) reveal(document.getElementById(anchor)); // the address does not change
});
/** Open what the address points to: the window of a run, or the folded parts around an element. */
function openLinked() {
  const anchor = decodeURIComponent(location.hash.slice(1));
  if (anchor.startsWith("run-")) openRun(anchor);
  else reveal(document.getElementById(anchor));
}
function reveal(element) {
  if (!element) return;
  for (let part = element.closest("details"); part; part = part.parentElement.closest("details")) {
    part.hidden = false;
    part.open = true;
  }
  element.hidden = false; // a claim that a filter has hidden
  element.scrollIntoView();
}
addEventListener("hashchange", openLinked);
openLinked();
