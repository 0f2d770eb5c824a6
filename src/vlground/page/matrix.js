// Right or wrong × well or badly grounded, of runs whose model decides.

const TEXTS = { matched: "Text that fits", foil: "Foil, which does not fit" };

function percent(share) {
  return `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
}

function decides(run) {
  return Object.keys(TEXTS).some((text) => run.matrix[text]);
}

function thresholds(run) {
  const metric = (run.identity || {}).metric || {};
  return { match: metric.match_threshold ?? "?", high: metric.high_io_ratio ?? "?" };
}

function matrixCell(run, text, name, total) {
  const count = run.matrix[text][name];
  const estimate = run.scores[`${text}_${name}`] || { value: 0, low: null };
  const code = data.cells.indexOf(name);
  const interval = estimate.low === null ? null
    : el("small", null, `${percent(estimate.low)} – ${percent(estimate.high)}`);
  const open = () => {
    sampleState.cell = `${text === "foil" ? "foil_cell" : "cell"} ${code}`;
    sampleState.pictured = false;
    location.hash = runLink("samples", run);
  };
  const cell = el("td", { "data-cell": name }, el("button", { type: "button", title: "show these samples", click: open },
    el("b", null, total ? percent(estimate.value) : "–"), el("span", null, `${count} of ${total}`), interval));
  cell.style.setProperty("--share", `${Math.round(70 * estimate.value)}%`);
  return cell;
}

function matrixTable(run, text) {
  const counts = run.matrix[text];
  if (!counts) return null;
  const { match, high } = thresholds(run);
  const total = data.cells.reduce((sum, name) => sum + counts[name], 0);
  const accuracy = run.scores[`${text}_accuracy`];
  const interval = accuracy.low === null ? "" : ` (${fixed(accuracy.low, 2)}–${fixed(accuracy.high, 2)})`;
  const [yes, no] = text === "matched" ? ["≥", "<"] : ["<", "≥"];
  const row = (head, sign, names) => el("tr", null,
    el("th", { scope: "row" }, head, el("small", null, `match ${sign} ${match}`)),
    names.map((name) => matrixCell(run, text, name, total)));
  const left = [counts.outside ? `${counts.outside} decided, but the map cannot be scored` : "",
    counts.undecided ? `${counts.undecided} without a decision` : ""].filter(Boolean).join("; ");
  return el("figure", { class: "matrix-box", "data-text": text },
    el("table", { class: "matrix" },
      el("caption", null, el("b", null, TEXTS[text]), el("small", null, `right in ${fixed(accuracy.value)}${interval} of ${accuracy.n}`)),
      el("thead", null, el("tr", null, el("td", null),
        el("th", { scope: "col" }, "well grounded", el("small", null, `IO_ratio ≥ ${high}`)),
        el("th", { scope: "col" }, "badly grounded", el("small", null, `IO_ratio < ${high}`)))),
      el("tbody", null, row("right", yes, ["correct_high", "correct_low"]), row("wrong", no, ["wrong_high", "wrong_low"]))),
    left ? el("figcaption", null, `Not in the table: ${left}.`) : null);
}

function matrixNote(run) {
  const whose = run.choices.cam === "shuffled_text" ? "the foil’s" : "for the sample’s own text";
  return `Is the decision right, and does the map lie in the text’s box? Upper left: right for the right reason; ` +
    `upper right: right although the map lies elsewhere. The map is ${whose} in both tables.`;
}

function matrixPair(run) {
  return el("div", { class: "matrices" }, Object.keys(TEXTS).map((text) => matrixTable(run, text)));
}

function matrixSection(run) {
  const missing = run.matrix.missing;
  if (!decides(run)) return missing ? el("p", { class: "quiet" }, `No matrix of right or wrong × well or badly grounded: ${missing}.`) : null;
  const chances = ["match", "foil_match"].map((name) => columnOf(run, name));
  return el("section", { id: "matrix" }, el("h2", null, "Right or wrong × well or badly grounded"),
    el("p", { class: "quiet" }, matrixNote(run), missing ? ` No second table: ${missing}.` : ""),
    el("div", { class: "matrix-line" }, matrixPair(run),
      chances[0] ? el("figure", null, el("figcaption", null, el("b", null, "match"), chances[1] ? " bars: texts that fit, line: foils" : ""),
        histogram(chances[0], null, "histogram of the probability that a text fits", chances[1])) : null));
}

function matrixView() {
  const runs = data.runs.filter(decides);
  if (!runs.length) return [el("h1", null, "Matrix"), el("p", { class: "empty" }, "No model here decides whether a text fits.")];
  return [el("h1", null, "Matrix"),
    el("p", { class: "quiet" }, "Is the decision right (rows), and does the map lie in the text’s box (columns)? " +
      "Upper left: right for the right reason; upper right: right although the map lies elsewhere. " +
      "Shares of the samples with a decision and a scored map; click a cell for its samples."),
    el("div", { class: "matrix-list" }, runs.map((run) => el("section", { "data-path": run.path },
      el("h3", null, el("a", { href: runLink("run", run) }, run.name), run.baseline ? el("span", { class: "tag" }, "baseline") : null),
      run.choices.cam === "shuffled_text" ? el("p", { class: "quiet" }, "The map is the foil’s.") : null, matrixPair(run))))];
}
