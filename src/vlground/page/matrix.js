// Right or wrong × well or badly grounded: of runs whose model decides, and in a judge's eyes.

const TEXTS = { matched: "Text that fits", foil: "Foil, which does not fit", judge: "Prediction × judge" };

function percent(share) {
  return `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
}

function decides(run) {
  return Object.keys(TEXTS).some((text) => run.matrix[text]);
}

function thresholds(run) {
  const metric = (run.identity || {}).metric || {};
  return { match: metric.match_threshold ?? "?", high: metric.high_io_ratio ?? "?", score: metric.threshold ?? "?" };
}

function matrixScore(run, text, name) {
  // A judge's run has one matrix, so its scores have no prefix.
  return run.scores[text === "judge" ? name : `${text}_${name}`];
}

function axes(run, text) {
  // Heads with what they mean: of the rows, of the columns.
  const { match, high, score } = thresholds(run);
  if (text === "judge") {
    return [[["right", "the label"], ["wrong", "another class"]], [["high", `score ≥ ${score}`], ["low", `score < ${score}`]]];
  }
  const [yes, no] = text === "matched" ? ["≥", "<"] : ["<", "≥"];
  return [[["right", `match ${yes} ${match}`], ["wrong", `match ${no} ${match}`]],
    [["well grounded", `IO_ratio ≥ ${high}`], ["badly grounded", `IO_ratio < ${high}`]]];
}

function outsideMatrix(counts) {
  // What became of the samples that are in no cell.
  if (counts.outside === undefined) {
    return Object.entries(counts).filter(([name, count]) => !data.cells.includes(name) && count)
      .map(([name, count]) => ({ "no label": `${count} scored, without a label that the model knows`, error: plural(count, "error"),
        refusal: plural(count, "refusal") }[name] || `${count} ${name}`));
  }
  return [counts.outside ? `${counts.outside} decided, but the map cannot be scored` : "",
    counts.undecided ? `${counts.undecided} without a decision` : ""].filter(Boolean);
}

function matrixCell(run, text, name, total) {
  const count = run.matrix[text][name];
  const estimate = matrixScore(run, text, name) || { value: 0, low: null };
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
  const [[right, wrong], columns] = axes(run, text);
  const total = data.cells.reduce((sum, name) => sum + counts[name], 0);
  const accuracy = matrixScore(run, text, "accuracy");
  const interval = !accuracy || accuracy.low === null ? "" : ` (${fixed(accuracy.low, 2)}–${fixed(accuracy.high, 2)})`;
  const row = ([head, meaning], names) => el("tr", null,
    el("th", { scope: "row" }, head, el("small", null, meaning)),
    names.map((name) => matrixCell(run, text, name, total)));
  const left = outsideMatrix(counts).join("; ");
  return el("figure", { class: "matrix-box", "data-text": text },
    el("table", { class: "matrix" },
      el("caption", null, el("b", null, TEXTS[text]), accuracy ? el("small", null, `right in ${fixed(accuracy.value)}${interval} of ${accuracy.n}`) : null),
      el("thead", null, el("tr", null, el("td", null),
        columns.map(([head, meaning]) => el("th", { scope: "col" }, head, el("small", null, meaning))))),
      el("tbody", null, row(right, ["correct_high", "correct_low"]), row(wrong, ["wrong_high", "wrong_low"]))),
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
  if (run.explanation) return null; // it has judgeSections
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
  const boxes = "Is the decision right (rows), and does the map lie in the text’s box (columns)? " +
    "Upper left: right for the right reason; upper right: right although the map lies elsewhere. " +
    "Shares of the samples with a decision and a scored map; click a cell for its samples.";
  const judges = "Is the prediction right (rows), and does what the map shows support the predicted class in the eyes of the judge (columns)? " +
    "Upper right: right, but not for a reason that can be seen. Shares of the samples with a label and a score; click a cell for its samples.";
  return [el("h1", null, "Matrix"),
    runs.some((run) => !run.explanation) ? el("p", { class: "quiet" }, boxes) : null,
    runs.some((run) => run.explanation) ? el("p", { class: "quiet" }, judges) : null,
    el("div", { class: "matrix-list" }, runs.map((run) => el("section", { "data-path": run.path },
      el("h3", null, el("a", { href: runLink("run", run) }, run.name), run.baseline ? el("span", { class: "tag" }, "baseline") : null, judgeTag(run)),
      run.choices.cam === "shuffled_text" ? el("p", { class: "quiet" }, "The map is the foil’s.") : null, matrixPair(run))))];
}
