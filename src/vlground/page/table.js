// The table of runs: sort, filter, choose columns, choose two to compare.

const tableState = {
  query: "", filters: new Map(), baselines: true, sort: null, descending: false,
  shown: new Set(data.recommended), picked: [],
};
const BEST = bestOf();
const CHOICES = choiceColumns();

function choiceColumns() {
  const worlds = data.runs.some((run) => run.about.world);
  const options = new Set(data.runs.flatMap((run) => Object.keys(run.options)));
  return [
    ...data.groups.map((group) => ({ key: group, head: group, text: (run) => run.choices[group] || "" })),
    ...(worlds ? [{ key: "world", head: "world", text: (run) => String(run.about.world || "") }] : []),
    ...[...options].sort().map((name) => ({ key: name, head: name, option: true,
      text: (run) => (Object.hasOwn(run.options, name) ? run.options[name] : "") })),
  ];
}

function sortKey(run, key) {
  if (key === "n") return run.counts.scored ?? null;
  if (key.startsWith("score ")) {
    const score = run.scores[key.slice(6)];
    return score ? score.value : null;
  }
  return CHOICES.find((column) => column.key === key).text(run);
}

function compareKeys(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

function sortedRuns(runs) {
  if (tableState.sort === null) return runs;
  const sign = tableState.descending ? -1 : 1;
  const keyed = runs.map((run) => [sortKey(run, tableState.sort), run]);
  // Array.sort is stable; what has no value stays last in both directions.
  keyed.sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : sign * compareKeys(a, b)));
  return keyed.map(([, run]) => run);
}

function filteredRuns() {
  return data.runs.filter((run) =>
    (tableState.baselines || !run.baseline) &&
    [...tableState.filters].every(([key, wanted]) => !wanted || sortKey(run, key) === wanted) &&
    matches(`${run.name} ${run.path} ${run.fingerprint}`, tableState.query));
}

function sortBy(key, redraw) {
  const better = key.startsWith("score ") ? direction(key.slice(6)) >= 0 : false;
  if (tableState.sort !== key) [tableState.sort, tableState.descending] = [key, better];
  else if (tableState.descending === better) tableState.descending = !better;
  else tableState.sort = null;
  redraw();
}

function headCell(key, text, kind, redraw, hint = null) {
  const sorted = tableState.sort === key;
  const way = !sorted ? "none" : tableState.descending ? "descending" : "ascending";
  const arrow = !sorted ? "" : tableState.descending ? "▼" : "▲";
  return el("th", { scope: "col", class: kind, "aria-sort": way },
    el("button", { type: "button", title: hint, "data-sort": key, click: () => sortBy(key, redraw) },
      text, el("span", { class: "arrow", "aria-hidden": "true" }, arrow)));
}

function scoreCell(run, score, range) {
  const estimate = run.scores[score];
  if (!estimate) return el("td", { class: "score quiet" }, "–");
  const best = ranked(run, score) && BEST.get(`${run.peers} ${score}`) === fixed(estimate.value);
  const interval = estimate.low === null ? null
    : el("small", null, `${fixed(estimate.low, 2)}–${fixed(estimate.high, 2)}`);
  return el("td", { class: best ? "score best" : "score", title: best ? "best of its data set" : null },
    el("span", { class: "value" }, fixed(estimate.value)), whisker(estimate, range), interval);
}

function scoreRange(score) {
  if (score === "judge_score") return JUDGED;
  const estimates = data.runs.map((run) => run.scores[score]).filter(Boolean);
  return rangeOf(estimates.flatMap((e) => [e.low ?? e.value, e.value, e.high ?? e.value]));
}

function pickBox(run, redraw) {
  const box = el("input", { type: "checkbox", "aria-label": `compare ${run.name}`, change: () => {
    if (box.checked) tableState.picked = [...tableState.picked, run].slice(-2);
    else tableState.picked = tableState.picked.filter((other) => other !== run);
    redraw();
  } });
  box.checked = tableState.picked.includes(run);
  return el("td", { class: "pick" }, box);
}

function countCell(run) {
  const lost = (run.counts.samples ?? 0) - (run.counts.scored ?? 0);
  const why = notScored(run.counts).map(([reason, count]) => `${reason} (${count})`).join("; ");
  return el("td", { class: "number", title: why || null }, String(run.counts.scored ?? "–"),
    lost > 0 ? el("small", null, `of ${run.counts.samples}`) : null);
}

function runRow(run, scores, ranges, redraw) {
  const cells = CHOICES.map(({ key, text }) => el("td", { class: key === "cam" ? "cam" : "choice", title: text(run) },
    key === "cam" ? el("a", { href: runLink("run", run) }, text(run) || (run.rewarded ? run.about.task : "run")) : text(run),
    key === "cam" && run.baseline ? el("span", { class: "tag" }, "baseline") : null, key === "cam" ? judgeTag(run) : null));
  const open = (event) => {
    if (!event.target.closest("a, input, .pick") && !String(getSelection())) location.hash = runLink("run", run);
  };
  return el("tr", { class: run.baseline ? "baseline" : null, click: open, "data-path": run.path },
    pickBox(run, redraw), cells, countCell(run), scores.map((score, i) => scoreCell(run, score, ranges[i])));
}

function runTable(redraw) {
  const scores = allScores().filter((score) => tableState.shown.has(score));
  const ranges = scores.map(scoreRange);
  const runs = sortedRuns(filteredRuns());
  const head = el("tr", null, el("th", { class: "pick" }, el("span", { class: "hidden" }, "compare")),
    CHOICES.map(({ key, head: text, option }) => headCell(key, text, option ? "option" : "", redraw)),
    headCell("n", "n", "number", redraw, "samples scored"),
    scores.map((score) => headCell(`score ${score}`, label(score), "score", redraw, score)));
  const body = runs.map((run) => runRow(run, scores, ranges, redraw));
  return tableBox(el("table", { class: "runs" }, el("thead", null, head), el("tbody", null, body)),
    runs.length ? null : el("p", { class: "empty" }, "No run matches."));
}

function tableBox(table, note) {
  // The page scrolls and the head sticks to its top; only a table too wide scrolls in a box.
  const box = el("div", { class: "table-box", role: "region", "aria-label": "table of runs" }, table, note);
  new ResizeObserver(() => {
    box.classList.remove("wide");
    box.classList.toggle("wide", table.offsetWidth > box.clientWidth);
    if (box.classList.contains("wide")) box.setAttribute("tabindex", "0");
    else box.removeAttribute("tabindex");
  }).observe(box);
  return box;
}

function scoreMenu(redraw) {
  const boxes = allScores().map((score) => checkField(label(score), tableState.shown.has(score), (on) => {
    if (on) tableState.shown.add(score);
    else tableState.shown.delete(score);
    redraw();
  }));
  const set = (scores) => () => {
    tableState.shown = new Set(scores);
    boxes.forEach((box, i) => { box.querySelector("input").checked = tableState.shown.has(allScores()[i]); });
    redraw();
  };
  return el("details", { class: "menu" }, el("summary", null, "Scores shown"),
    el("div", { class: "panel" }, el("div", { class: "row" },
      el("button", { type: "button", click: set(data.recommended) }, "Recommended"),
      el("button", { type: "button", "data-all": true, click: set(allScores()) }, "All")), boxes));
}

function tableFilters(redraw) {
  const selects = CHOICES.map(({ key, head, text }) => {
    const values = [...new Set(data.runs.map(text))].sort(compareKeys);
    if (values.length < 2) return null;
    const options = [["", "all"], ...values.map((value) => [value, value || "(none)"])];
    return select(head, options, tableState.filters.get(key) || "", (value) => {
      tableState.filters.set(key, value);
      redraw();
    });
  });
  return el("div", { class: "bar" },
    searchField("Filter", "model, CAM, option …", tableState.query, (value) => { tableState.query = value; redraw(); }), selects,
    checkField("Baselines", tableState.baselines, (on) => { tableState.baselines = on; redraw(); }),
    scoreMenu(redraw));
}
