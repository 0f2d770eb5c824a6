// Views by the address's hash: #runs, #run=PATH, #samples=PATH, #compare=PATH&PATH, #ablation, #claims, #notes …

const main = document.getElementById("main");

function plural(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

function runsView() {
  const box = el("div", null);
  const redraw = () => box.replaceChildren(runsLine(), runTable(redraw));
  redraw();
  return [el("h1", null, "Runs"), tableFilters(redraw), box, intervalNote(data.runs),
    judgesBlock(), ...tableBlocks(), notScoredBlock(), troublesBlock(), data.notes ? el("p", { class: "quiet" }, data.notes) : null];
}

function runsLine() {
  const found = filteredRuns().length;
  const picked = tableState.picked;
  const same = picked.length === 2 && picked[0].choices.dataset === picked[1].choices.dataset;
  const hint = picked.length === 0 ? "Tick two runs to compare them."
    : picked.length === 1 ? "Tick one more run of the same data set." : "These two have different data sets.";
  return el("div", { class: "line" }, el("span", { class: "quiet", "aria-live": "polite", id: "found" }, `${found} of ${plural(data.runs.length, "run")}`),
    same ? el("a", { class: "button strong", href: runLink("compare", ...picked) }, "Compare the two ticked")
      : el("span", { class: "quiet" }, hint));
}

function tableBlocks() {
  return [...data.extra, ...data.published].map(([caption, heads, rows, notes, words]) => el("details", { class: "block published", open: true },
    el("summary", null, caption),
    tableBox(el("table", { class: "plain" }, el("thead", null, el("tr", null, heads.map((head, place) => el("th", { scope: "col", class: place < words ? null : "number" }, head)))),
      el("tbody", null, rows.map((row) => el("tr", null, row.map((cell, place) => {
        const [value, interval] = cell.split("\n");
        return el("td", { class: place < words ? null : "score" }, value, interval ? el("small", null, interval) : null);
      })))))),
    notes.map((note) => el("p", { class: "quiet" }, note))));
}

function judgesBlock() {
  if (!data.judges.length) return null;
  return el("details", { class: "block", open: true, id: "judges" }, el("summary", null, "The judges"),
    el("ul", null, data.judges.map((line) => el("li", null, line))));
}

function notScoredBlock() {
  const lines = new Map();
  for (const run of data.runs) {
    const reasons = notScored(run.counts);
    if (!reasons.length) continue;
    const why = reasons.map(([reason, count]) => `${reason} (${count})`).join("; ");
    const line = `${run.counts.samples - run.counts.scored} of ${run.counts.samples} samples: ${why}`;
    lines.set(line, [...(lines.get(line) || []), run.title]);
  }
  if (!lines.size) return null;
  return el("details", { class: "block", open: lines.size <= 4 }, el("summary", null, "Not scored, and why"),
    el("ul", null, [...lines].map(([line, names]) => el("li", null, line, el("span", { class: "quiet" },
      names.length > 4 ? ` — ${names.length} runs` : ` — ${names.join(", ")}`)))));
}

function troublesBlock() {
  if (!data.troubles.length) return null;
  return el("section", { class: "troubles" }, el("h2", null, `${plural(data.troubles.length, "run")} without results`),
    el("ul", null, data.troubles.map(({ path, kind, line }) =>
      el("li", null, el("span", { class: `tag ${kind}` }, kind), el("code", null, path), ` ${line}`))));
}

function notesView() {
  const strips = data.runs.reduce((sum, run) => sum + run.strips.length, 0);
  const rows = data.runs.reduce((sum, run) => sum + (run.rows ? run.rows.rows : 0), 0);
  const held = data.runs.reduce((sum, run) => sum + run.samples.length, 0);
  const pictures = data.runs.reduce((sum, run) => sum + run.overlays.length, 0);
  const items = [
    ...(data.notes ? [data.notes] : []),
    ...(data.runs.some((run) => run.explanation) ? data.cells.map((cell) => `Explanations, ${cell.replace("_", " ")}: ${data.readings[cell]}`) : []),
    "Scores lie in 0–1 and larger is better where the arrow points up. Bold and underlined: best mean among the runs on the same samples with the same metric, baselines left out.",
    "Intervals are 95 % percentile bootstrap intervals over images, 2,000 resamples; none under 20 images.",
    "Compare: mean of A − B over the samples that both runs have, resampled over images with seed 0 in this page. vlground.metrics.statistics.paired_difference draws other random numbers; intervals agree within Monte-Carlo error.",
    "Overlays run from each map’s minimum (dark) to its maximum (bright); green: the box of the truth.",
    `This file: ${data.size}. Scores of ${held} of ${rows} rows, rounded to four digits. Overlays: ${pictures} (${data.overlayNote}). Strips after figure 2: ${strips} (${data.allStrips ? "four samples a run" : "as many as fit, the same samples in every run"}). Equal pictures are stored once.`,
  ];
  const reasons = data.runs.filter((run) => run.noStrips);
  return [el("h1", null, "Notes"), el("ul", { class: "notes" }, items.map((text) => el("li", null, text))),
    reasons.length ? el("details", { class: "block" }, el("summary", null, "Runs without strips"),
      el("ul", null, reasons.map((run) => el("li", null, `${run.name}: ${run.noStrips}`)))) : null];
}

function figureView() {
  return [el("h1", null, "In and out of distribution"),
    el("p", { class: "quiet" }, "After the paper’s figure 3: how a model’s scores shift from the data set X it was made for (blue) to " +
      "X_ood (orange). Heights are shares of the samples of each; dashed lines are means. Baselines are left out."),
    el("img", { class: "figure", src: pictureUrl(data.figure3), alt: "histograms of IoU soft and IO_ratio, in and out of distribution" })];
}

function viewOf(hash) {
  const [view, rest] = hash.replace(/^#/, "").split("=", 2);
  const runs = (rest || "").split("&").filter(Boolean).map((part) => runByPath(decodeURIComponent(part))).filter(Boolean);
  if (view === "run" && runs.length) return ["runs", detailView(runs[0])];
  if (view === "samples") return [view, samplesView(runs[0] || data.runs.find((run) => run.overlays.length) || data.runs[0])];
  if (view === "compare") return [view, compareView(runs)];
  if (view === "matrix") return [view, matrixView()];
  if (view === "figure3" && data.figure3 !== null) return [view, figureView()];
  if (view === "ablation") return [view, ablationView()];
  if (view === "alignment") return [view, alignmentView()];
  if (view === "claims") return [view, claimsView()];
  if (view === "notes") return [view, notesView()];
  return ["runs", runsView()];
}

function show() {
  if (dialog.open) dialog.close();
  const [name, elements] = viewOf(location.hash);
  main.replaceChildren(...elements.filter(Boolean));
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  scrollTo(0, 0);
}

function summaryText() {
  const datasets = new Set(data.runs.map((run) => run.choices.dataset)).size;
  const parts = [plural(data.runs.length, "run"), plural(datasets, "data set"), data.size];
  if (data.troubles.length) parts.splice(2, 0, `${data.troubles.length} without results`);
  return parts.join(" · ");
}

if (data.figure3 === null) document.querySelector("nav [data-view=figure3]").remove();
if (!data.runs.some(decides)) document.querySelector("nav [data-view=matrix]").remove();
if (!ablationAxes().length) document.querySelector("nav [data-view=ablation]").remove();
if (!data.runs.some((run) => peopleOf(run).length)) document.querySelector("nav [data-view=alignment]").remove();
if (!data.claims.length) document.querySelector("nav [data-view=claims]").remove();
document.getElementById("summary").append(summaryText());
addEventListener("hashchange", show);
show();
