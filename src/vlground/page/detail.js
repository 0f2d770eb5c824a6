// One run: scores with intervals, histograms, what was not scored, identity.

function scoreTable(run) {
  const apart = run.explanation ? [] : data.matrix; // those of the matrix stand in its cells
  const rows = scoresOf(run).filter((score) => !apart.includes(score)).map((score) => {
    const estimate = run.scores[score];
    const interval = estimate.low === null ? "–" : `${fixed(estimate.low)} – ${fixed(estimate.high)}`;
    return el("tr", null, el("th", { scope: "row", title: score }, label(score)),
      el("td", { class: "number value" }, fixed(estimate.value)), el("td", { class: "number" }, interval),
      el("td", { class: "whisker-cell" }, whisker(estimate, scoreRange(score), 200)),
      el("td", { class: "number quiet" }, String(estimate.n)));
  });
  return el("table", { class: "plain" }, el("thead", null, el("tr", null,
    ["score", "mean", "95 % interval", "", "n"].map((head, i) =>
      el("th", { scope: "col", class: i ? "number" : null }, head)))), el("tbody", null, rows));
}

function facts(pairs) {
  return el("dl", { class: "facts" }, pairs.filter(([, value]) => value !== "" && value !== undefined && value !== null)
    .map(([name, value]) => [el("dt", null, name), el("dd", null, value)]));
}

function countFacts(run) {
  const counts = run.counts;
  const left = Object.entries(counts.annotations_left_out || {});
  return facts([
    ["scored", `${counts.scored ?? "–"} of ${counts.samples ?? "–"} samples`],
    ...notScored(counts).map(([reason, count]) => [`not scored: ${count}`, reason]),
    ...left.map(([reason, count]) => [`left out: ${count}`, `${reason} (by the data set)`]),
    ["cut to the context", counts.truncated || counts.truncated_foils
      ? `${plural(counts.truncated, "text")}, ${plural(counts.truncated_foils, "foil")}` : ""],
    ...usageFacts(run),
    ["degenerate", counts.degenerate ? String(counts.degenerate) : "none"],
    ["rows", run.problem || (run.partial ? `${run.samples.length} of ${run.rows.rows} in this page` : "all in this page")],
  ]);
}

function choiceFacts(run) {
  const about = run.about;
  const git = about.git ? `${String(about.git.commit).slice(0, 12)}${about.git.dirty ? ", changed" : ""}` : "";
  const folder = folderOf(run);
  return facts([
    ...Object.entries(run.choices).filter(([, option]) => option !== "none"),
    ...Object.entries(run.options),
    ["experiment", about.experiment], ["fingerprint", run.fingerprint],
    ["took", about.seconds === undefined ? "" : `${about.seconds} s on ${about.device}`], ["git", git],
    ["directory", el("a", { href: folder }, run.path)],
  ]);
}

function folderOf(run) {
  return `./${run.path.split("/").map(encodeURIComponent).join("/")}/`;
}

function reviewLink(run) {
  return run.review ? el("a", { class: "button", href: `${folderOf(run)}review.html` }, "Review of candidates") : null;
}

function histograms(run) {
  const charts = valuesOf(run).map((score) => {
    const column = columnOf(run, score);
    // Whether a prediction is right is 0 or 1; what the model says of texts is drawn at the matrix.
    if (!column || score === "accuracy" || score.endsWith("match")) return null;
    const estimate = run.scores[score] || null;
    const title = `histogram of ${score}`;
    return el("figure", null, el("figcaption", null, el("b", null, label(score)), estimate ? ` ${fixed(estimate.value)}` : null),
      histogram(column, estimate, title, null, score === "judge_score" ? JUDGED : null));
  }).filter(Boolean);
  if (!charts.length) return el("p", { class: "empty" }, `No rows to draw: ${run.problem || "none"}.`);
  return el("div", { class: "charts" }, charts);
}

function identityBlock(run) {
  const block = (name, value) => el("details", { class: "block" }, el("summary", null, name),
    el("pre", null, JSON.stringify(value, null, 2)));
  return [block("Identity: everything the numbers depend on", run.identity), block("Versions and machine", run.about)];
}

function detailView(run) {
  const count = run.overlays.length;
  return [
    el("div", { class: "title" }, el("h1", null, run.title),
      run.baseline ? el("span", { class: "tag" }, "baseline") : null, judgeTag(run),
      run.optionText ? el("p", { class: "quiet" }, run.optionText) : null),
    el("div", { class: "bar" }, el("a", { class: "button", href: "#runs" }, "← All runs"),
      el("a", { class: "button", href: runLink("samples", run) }, count ? `Samples (${count} pictures)` : "Samples"),
      el("a", { class: "button", href: runLink("compare", run) }, "Compare with …"), reviewLink(run)),
    judgeWarning(run),
    el("div", { class: "columns" },
      el("section", null, el("h2", null, "Scores"), scoreTable(run), intervalNote([run])),
      el("section", null, el("h2", null, "Samples"), countFacts(run), el("h2", null, "Choices"), choiceFacts(run))),
    matrixSection(run), ...judgeSections(run), rewardSection(run),
    el("section", null, el("h2", null, "Distributions over samples"),
      el("p", { class: "quiet" }, "Line: mean. Band: its 95 % interval, where there is one."), histograms(run)),
    el("section", null, identityBlock(run)),
  ];
}

function intervalNote(runs) {
  const some = runs.some((run) => Object.values(run.scores).some((e) => e.low !== null));
  const none = runs.some((run) => Object.values(run.scores).every((e) => e.low === null));
  const about = "95 % percentile bootstrap over images (samples of one image are dependent)";
  const judged = runs.some((run) => run.explanation) ? " Shares of explanations: Wilson, where an image has one sample." : "";
  const text = !some ? "No intervals: fewer than 20 images."
    : `Intervals: ${about}.${none ? " None where a run has fewer than 20 images." : ""}${judged}`;
  return el("p", { class: "quiet" }, text);
}
