// What the page can do beyond being read. Names from files reach it as text only: nothing here writes HTML.

const find = (selector, within = document) => within.querySelector(selector);
const findAll = (selector, within = document) => [...within.querySelectorAll(selector)];

/** An element with properties, attributes where it has no such property, and children: elements or text. */
function make(tag, properties = {}, ...children) {
  const svg = ["svg", "path", "line", "text", "g"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (!svg && name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// Tables ------------------------------------------------------------------------------------------------------------

/** What a cell is sorted by: a number where it is one; nothing where it has no value. */
function valueOf(row, column) {
  const cell = row.cells[column];
  if (!cell || cell.matches(".not-run, :has(.verdict):not([data-value])")) return null;
  const text = (cell.dataset.value ?? cell.textContent).trim().replace(/^×/, "").replace(/,(?=\d{3})/g, "");
  if (text === "" || text === "–") return null;
  return Number.isNaN(Number(text)) ? text : Number(text);
}

function compare(a, b, direction) {
  if (a === null || b === null) return (a === null) - (b === null); // what has no value stays at the end
  if (typeof a === "number" && typeof b === "number") return direction * (a - b);
  return direction * String(a).localeCompare(String(b), "en", { numeric: true });
}

/** Buttons in the header: rising, falling, and back to the order of the page; each body is sorted by itself. */
function sortable(table) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const differs = (body) => new Set([...body.rows].map((row) => valueOf(row, column))).size > 1;
    if (![...table.tBodies].some(differs)) return; // there is nothing to sort
    const button = make("button", { type: "button", className: "sort" }, ...header.childNodes);
    button.insertBefore(make("span", { className: "order", ariaHidden: "true" }), find(".unit", button));
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

function tableTools(block) {
  const tools = find(".tools", block);
  const table = find("table.scores", block);
  tools.addEventListener("submit", (event) => event.preventDefault());
  tools.addEventListener("input", () => {
    const wanted = tools.elements.method.value.trim().toLowerCase();
    for (const row of findAll("tbody tr", table)) {
      row.hidden = !find("th", row).textContent.toLowerCase().includes(wanted);
    }
    const rows = findAll("tbody tr", table);
    const shown = rows.filter((row) => !row.hidden).length;
    tools.elements.count.value = shown < rows.length ? `${shown} of ${rows.length} rows` : "";
    table.classList.toggle("no-intervals", !tools.elements.intervals.checked);
  });
  const choice = find(".comparisons select", block);
  if (!choice) return; // fewer than two rows were run
  const parts = findAll(".against", block);
  const show = () => parts.forEach((part, i) => (part.hidden = String(i) !== choice.value));
  choice.addEventListener("input", show);
  show();
}

// Claims ------------------------------------------------------------------------------------------------------------

function claimsTools() {
  const tools = find("#claims-tools");
  const rows = findAll(".claims tbody tr");
  const { outcome, section, text, count } = tools.elements;
  const update = () => {
    const [which, ...kind] = outcome.value.split(" ");
    const wanted = text.value.trim().toLowerCase();
    for (const row of rows) {
      row.hidden =
        (which !== "" && row.dataset[which] !== kind.join(" ")) ||
        (section.value !== "" && row.dataset.section !== section.value) ||
        !row.textContent.toLowerCase().includes(wanted);
    }
    count.value = `${rows.filter((row) => !row.hidden).length} of ${rows.length} claims`;
  };
  tools.addEventListener("submit", (event) => event.preventDefault());
  tools.addEventListener("input", update);
  for (const link of findAll("#contradictions ~ ul a")) {
    link.addEventListener("click", () => { // a claim that is filtered away cannot be jumped to
      tools.reset();
      update();
    });
  }
  update();
}

// Curves ------------------------------------------------------------------------------------------------------------

const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]; // Okabe & Ito 2008
const DASHES = ["", "6 3", "2 2", "8 2 2 2"];
/** How the line of number i looks; -1 is the ground truth. */
const styleOf = (i) => ({
  stroke: COLOURS[i % COLOURS.length] ?? "#1f2328",
  "stroke-width": i < 0 ? 3 : 1.4,
  "stroke-dasharray": DASHES[Math.floor(i / COLOURS.length) % DASHES.length] ?? "",
});

/** A piece of such a line, for a key. */
function swatch(i) {
  const line = make("line", { x1: 0, x2: 28, y1: 5, y2: 5, ...styleOf(i) });
  return make("svg", { class: "swatch", viewBox: "0 0 28 10", "aria-hidden": "true" }, line);
}

/** Round numbers between two: at most about `count`. */
function ticks(low, high, count) {
  const rough = (high - low || 1) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((each) => each * power >= rough) * power;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** Draw lines, each {x, y, style}, with both axes, into a box. */
function draw(box, lines, xLabel, yLabel, told) {
  const [width, height] = [Math.max(box.clientWidth, 280), 260];
  const [left, right, top, bottom] = [56, 26, 22, 42];
  const range = (values) => [Math.min(...values), Math.max(...values)];
  const [x0, x1] = range(lines.flatMap((line) => range(line.x)));
  let [y0, y1] = range(lines.flatMap((line) => range(line.y)));
  const margin = (y1 - y0 || 1) * 0.05;
  [y0, y1] = [y0 - margin, y1 + margin];
  const px = (x) => left + ((x - x0) / (x1 - x0 || 1)) * (width - left - right);
  const py = (y) => height - bottom - ((y - y0) / (y1 - y0)) * (height - top - bottom);
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": told });
  for (const x of ticks(x0, x1, width / 90)) {
    svg.append(make("line", { class: "tick", x1: px(x), x2: px(x), y1: height - bottom, y2: height - bottom + 4 }));
    svg.append(make("text", { x: px(x), y: height - bottom + 18, "text-anchor": "middle" }, x.toLocaleString("en")));
  }
  for (const y of ticks(y0, y1, 5)) {
    svg.append(make("line", { class: "grid", x1: left, x2: width - right, y1: py(y), y2: py(y) }));
    svg.append(make("text", { x: left - 7, y: py(y) + 4, "text-anchor": "end" }, String(y)));
  }
  svg.append(make("line", { class: "tick", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }));
  svg.append(make("text", { x: width - right, y: height - 6, "text-anchor": "end" }, xLabel));
  svg.append(make("text", { x: 0, y: 12 }, yLabel));
  for (const { x, y, style } of lines) {
    const d = x.map((each, i) => `${i ? "L" : "M"}${px(each).toFixed(1)} ${py(y[i]).toFixed(1)}`).join("");
    svg.append(make("path", { d, fill: "none", "stroke-linejoin": "round", ...style }));
  }
  box.replaceChildren(svg);
}

// Look closer -------------------------------------------------------------------------------------------------------

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

/** 16-bit integers from low to high as numbers. */
function unpack({ low, high, values }) {
  const bytes = new DataView(bytesOf(values).buffer);
  return Array.from(
    { length: bytes.byteLength / 2 },
    (_, i) => low + ((high - low) * bytes.getUint16(2 * i, true)) / 65535,
  );
}

const dot = (a, b) => a.reduce((sum, each, i) => sum + each * b[i], 0);
const absoluteError = (a, b) => a.reduce((sum, each, i) => sum + Math.abs(each - b[i]), 0) / a.length;

/** The angle between two spectra in degrees; not a number where one is all zero. */
function angle(a, b) {
  const cosine = dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  return (Math.acos(Math.min(1, Math.max(-1, cosine))) * 180) / Math.PI;
}

function lookCloser(views) {
  find(".no-script").remove();
  const [viewChoice, left, right, kind, divider] = ["view", "left", "right", "kind", "divider"].map((name) =>
    find(`#look-${name}`),
  );
  const [box, grid, legend] = ["#compare", "#pick", "#legend tbody"].map((name) => find(name));
  // What is shown: a view, the spectra of all its pixels (the truth's first), the methods drawn, the pixel in the grid.
  let view, spectra, drawn, row, column;

  const label = (i) => {
    if (i < 0) return "Ground truth";
    return view.methods[i].label + (view.methods[i].untrained === null ? "" : " (untrained)");
  };

  function chooseView() {
    const before = [left, right].map((select) => select.selectedOptions[0]?.textContent);
    view = views[viewChoice.value];
    const methods = [...view.methods.keys()];
    const trained = methods.filter((i) => view.methods[i].untrained === null);
    for (const [side, select] of [left, right].entries()) {
      const all = [-1, ...methods];
      select.replaceChildren(...all.map((i) => make("option", { value: i }, label(i))));
      select.value = all.find((i) => label(i) === before[side]) ?? trained.at(-side) ?? -1; // the first and the last one
    }
    drawn = new Set(trained);
    spectra = [view.truth, ...view.methods].map((each) => unpack(each.spectra));
    [row, column] = [view.rows, view.columns].map((all) => Math.floor(all.length / 2));
    const [rows, columns] = view.shape;
    box.style.width = `${columns * Math.max(1, Math.floor(512 / columns))}px`;
    for (const each of findAll(".compare, .pick")) each.style.aspectRatio = `${columns} / ${rows}`;
    find("#look-limit").textContent = `${view.limit.toPrecision(2)} and more: absolute error, mean over all bands`;
    find("#pick-picture").src = view.truth.picture;
    const cell = (i, j) => {
      const [y, x] = [view.rows[i], view.columns[j]];
      const button = make("button", { type: "button", role: "gridcell", ariaLabel: `row ${y + 1}, column ${x + 1}` });
      button.style.top = `${(100 * (y + 0.5)) / rows}%`;
      button.style.left = `${(100 * (x + 0.5)) / columns}%`;
      button.addEventListener("click", () => choosePixel(i, j));
      return button;
    };
    grid.replaceChildren(
      ...view.rows.map((_, i) => make("div", { role: "row" }, ...view.columns.map((_, j) => cell(i, j)))),
    );
    listMethods();
    showPictures();
    choosePixel(row, column);
  }

  function showPictures() {
    const errors = kind.value === "error";
    for (const select of [left, right]) {
      const i = Number(select.value);
      const method = i < 0 ? view.truth : view.methods[i];
      const picture = find(`#${select.id}-picture`);
      picture.src = errors ? method.error : method.picture;
      picture.alt = `${label(i)}: ${errors ? "error map" : "picture"} of test image ${view.image}, ${view.title}`;
      find(`#${select.id}-name`).textContent = label(i) + (i < 0 ? "" : `, ${method.psnr.toFixed(2)} dB`);
    }
    find("#look-colours").hidden = !errors;
    box.classList.toggle("errors", errors);
    find("#look-caption").textContent =
      `${view.title}, test image ${view.image}. ` +
      (errors ? "All error maps have one scale." : "All have one stretch, from 2 to 98 % of the ground truth.") +
      " The pictures are compressed for this page; no number comes from them.";
    slide();
  }

  function slide() {
    box.style.setProperty("--at", `${divider.value}%`);
    divider.ariaValueText = `${label(Number(left.value))} up to ${divider.value} %, then ${label(Number(right.value))}`;
  }

  function listMethods() {
    const line = (i) => {
      const check = make("input", { type: "checkbox", checked: i < 0 || drawn.has(i), disabled: i < 0 });
      check.addEventListener("input", () => {
        drawn[check.checked ? "add" : "delete"](i);
        showPixel();
      });
      const cells = [view.methods[i]?.psnr.toFixed(2) ?? "–", "–", "–"].map((text) => make("td", {}, text));
      return make("tr", {}, make("th", { scope: "row" }, make("label", {}, check, swatch(i), label(i))), ...cells);
    };
    legend.replaceChildren(line(-1), ...view.methods.map((_, i) => line(i)));
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
    const bands = view.nanometres.length;
    const start = (row * view.columns.length + column) * bands;
    const [truth, ...own] = spectra.map((all) => all.slice(start, start + bands));
    const angles = own.map((spectrum) => angle(spectrum, truth));
    const errors = own.map((spectrum) => absoluteError(spectrum, truth));
    for (const i of own.keys()) {
      const [, degrees, error] = legend.rows[i + 1].querySelectorAll("td");
      degrees.textContent = Number.isNaN(angles[i]) ? "–" : angles[i].toFixed(2);
      error.textContent = errors[i].toPrecision(3);
    }
    const where = `row ${view.rows[row] + 1}, column ${view.columns[column] + 1}`;
    const shown = [...own.keys()].filter((i) => drawn.has(i));
    const least = (values) => shown.reduce((best, i) => (values[i] < values[best] ? i : best), shown[0]);
    const [byAngle, byError] = [least(angles), least(errors)];
    find("#pixel-said").textContent =
      `The pixel in ${where}. ` +
      (shown.length
        ? `Of the methods drawn, ${label(byAngle)} has the least spectral angle to the ground truth, ` +
          `${angles[byAngle].toFixed(2)} degrees; ${label(byError)} has the least mean absolute error, ` +
          `${errors[byError].toPrecision(3)}.`
        : "No method is drawn.");
    const line = (y, i) => ({ x: view.nanometres, y, style: styleOf(i) });
    const lines = [line(truth, -1), ...shown.map((i) => line(own[i], i))];
    draw(find("#spectra"), lines, "nm", "value", `Spectra of the pixel in ${where}`);
  }

  viewChoice.append(...views.map((each, i) => make("option", { value: i }, each.title)));
  viewChoice.addEventListener("input", chooseView);
  for (const select of [left, right, kind]) select.addEventListener("input", showPictures);
  divider.addEventListener("input", slide);
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
    const [rows, columns] = [view.rows.length - 1, view.columns.length - 1];
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
  chooseView();
}

// Runs --------------------------------------------------------------------------------------------------------------

const ABSOLUTE =
  "MAE: mean absolute error; edges: of the tenth of the pixels where the ground truth has its strongest gradients.";
let unpacked; // a promise of what is known of all runs, by the anchor of their line

async function openRun(anchor) {
  unpacked ??= new Response(
    new Blob([bytesOf(find("#runs-data").textContent)]).stream().pipeThrough(new DecompressionStream("gzip")),
  ).json();
  const known = (await unpacked)[anchor];
  if (!known) return; // a link to a run of another report
  const { title, label, printed, seeds } = known;
  const trained = seeds.filter((seed) => seed.history);
  find("#run-title").textContent = title;
  const body = find("#run-body");
  body.replaceChildren();
  if (label) body.append(make("p", {}, label));
  body.append(make("h3", {}, "Scores"), scoresTable(seeds), make("p", { className: "hint" }, ABSOLUTE));
  const chart = make("div", { className: "chart" });
  const named = trained.flatMap(({ run }, i) => [" ", swatch(i), String(run.seed)]);
  const first = Math.floor(Math.min(...trained.map(({ history }) => history.steps.length)) / 10); // far below the others
  const without = first ? ", without the first tenth of the epochs" : "";
  const key = make("p", {}, `A line for each seed${without}:`, ...named);
  if (trained.length) body.append(make("h3", {}, "Training"), key, chart);
  if (printed.length) body.append(make("h3", {}, "Printed numbers"), verdictsTable(printed));
  for (const seed of seeds) body.append(details(seed));
  find("#run").showModal();
  find("#run").scrollTop = 0;
  if (trained.length) {
    const told = `Validation MPSNR over steps, ${trained.length} seed${trained.length > 1 ? "s" : ""}`;
    const curves = trained.map(({ history }, i) => {
      const [x, y] = [history.steps, history.mpsnr].map((all) => all.slice(first));
      return { x, y, style: styleOf(i) };
    });
    draw(chart, curves, "steps", "validation MPSNR, dB", told);
  }
}

/** A table of texts: the second cell of a line names it; each body is a list of lines. */
function tableOf(title, headings, bodies) {
  const cell = (text, i) => (i === 1 ? make("th", { scope: "row" }, text) : make("td", {}, text));
  const line = (texts) => make("tr", {}, ...texts.map(cell));
  const head = make("tr", {}, ...headings.map((text) => make("th", { scope: "col" }, text)));
  const table = make(
    "table",
    { className: "runs" },
    make("caption", { className: "visually-hidden" }, title),
    make("thead", {}, head),
    ...bodies.map((lines) => make("tbody", {}, ...lines.map(line))),
  );
  return make("div", { className: "scroll", role: "region", ariaLabel: title, tabIndex: 0 }, table);
}

function scoresTable(seeds) {
  const names = Object.keys(seeds[0].scores.mean);
  const headings = names.map((name) => name + ({ MPSNR: ", dB", SAM: ", degrees" }[name] ?? ""));
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
  return tableOf("Scores of every test image and seed", ["Seed", "Of", ...headings, "MAE", "MAE, edges"], bodies);
}

function verdictsTable(printed) {
  const lines = printed.map((each) => [each.table, each.column, each.printed, each.verdict, each.why]);
  return tableOf("Printed numbers and their verdicts", ["Table", "Column", "Printed", "Verdict", "Why"], [lines]);
}

/** One seed: what it took, its settings, its history. */
function details({ run, scores, history }) {
  const facts = make("dl", { className: "facts" });
  const tell = (name, value) => {
    if (value !== null && typeof value === "object") {
      for (const [inner, each] of Object.entries(value)) tell(`${name} ${inner}`, each);
      return;
    }
    const words = [make("dt", {}, name.replaceAll("_", " ")), make("dd", {}, String(value ?? "–"))];
    facts.append(make("div", {}, ...words));
  };
  const known = ["experiment", "scene", "scale", "model", "seed", "mean", "images"];
  for (const [name, value] of Object.entries(scores)) if (!known.includes(name)) tell(name, value);
  const part = make("details", {}, make("summary", {}, `Seed ${run.seed}: settings, versions, hashes, history`), facts);
  part.append(make("h4", {}, "Settings"), make("pre", { tabIndex: 0 }, JSON.stringify(run, null, 1)));
  if (history) {
    part.append(make("h4", {}, "Last lines of history.csv"), make("pre", { tabIndex: 0 }, history.last));
  }
  return part;
}

// Start -------------------------------------------------------------------------------------------------------------

for (const part of findAll("[data-script]")) part.hidden = false;
for (const table of findAll("table.scores, table[data-sortable]")) sortable(table);
for (const block of findAll(".one-table")) tableTools(block);
claimsTools();
const views = find("#look-data"); // missing where nothing was run
if (views) lookCloser(JSON.parse(views.textContent));
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#run-"]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  openRun(decodeURIComponent(link.hash.slice(1)));
});
const openLinked = () => location.hash.startsWith("#run-") && openRun(decodeURIComponent(location.hash.slice(1)));
addEventListener("hashchange", openLinked);
openLinked();
