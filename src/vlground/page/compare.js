// Two runs of one data set, sample by sample.

const compareState = { score: "io_ratio", pictured: true };
const CHANGED = 12;

function partnersOf(run) {
  return data.runs.filter((other) =>
    other !== run && other.rows && other.choices.dataset === run.choices.dataset && !other.explanation === !run.explanation);
}

function defaultPair(runs) {
  // Without a wish: one CAM on two models, or another CAM, or a baseline.
  const first = runs[0] || data.runs.find((run) => run.rows && partnersOf(run).length);
  if (!first) return null;
  const partners = partnersOf(first);
  if (!partners.length) return [first, null];
  const wished = runs[1] && partners.includes(runs[1]) ? runs[1] : null;
  const others = partners.filter((run) => !run.baseline);
  const sameCam = others.find((run) => run.choices.cam === first.choices.cam);
  return [first, wished || sameCam || others[0] || partners[0]];
}

function pickers(first, second) {
  const runs = data.runs.filter((run) => run.rows);
  const named = (run) => [run.path, run.name];
  const go = (a, b) => { location.hash = b ? runLink("compare", a, b) : runLink("compare", a); };
  return el("div", { class: "bar" },
    select("Run A", runs.map(named), first.path, (path) => go(runByPath(path), second)),
    second ? select("Run B, same data set", partnersOf(first).map(named), second.path, (path) => go(first, runByPath(path))) : null,
    second ? el("button", { type: "button", class: "button", click: () => go(second, first) }, "Swap A and B") : null);
}

function comparisons(first, second, pairs) {
  const scores = scoresOf(first).filter((score) => columnOf(first, score) && columnOf(second, score));
  return new Map(scores.map((score) => [score, pairedDifference(first, second, score, pairs)]));
}

function verdict(score, estimate) {
  if (estimate.low === null || !direction(score)) return "";
  if (estimate.low === 0 && estimate.high === 0) return "equal";
  if (estimate.low > 0 || estimate.high < 0) return estimate.value * direction(score) > 0 ? "A better" : "B better";
  return "open";
}

function isFraction(score) {
  // Differences of fractions share one scale; a margin or a number of peaks has its own.
  return data.runs.every((run) => (columnOf(run, score) || []).every((v) => v === null || (v >= 0 && v <= 1)));
}

function differenceRow(score, estimate, means, scale, redraw) {
  const reach = isFraction(score) ? scale
    : Math.max(...[estimate.value, estimate.low, estimate.high].map((v) => Math.abs(v || 0)));
  const interval = estimate.low === null ? "–" : `${signed(estimate.low)} … ${signed(estimate.high)}`;
  const word = verdict(score, estimate);
  const pick = el("button", { type: "button", class: "link", "aria-pressed": compareState.score === score,
    click: () => { compareState.score = score; redraw(); } }, label(score));
  return el("tr", { class: compareState.score === score ? "chosen" : null, "data-score": score },
    el("th", { scope: "row" }, pick), means.map((mean) => el("td", { class: "number" }, fixed(mean))),
    el("td", { class: "number value", "data-difference": true }, signed(estimate.value, 4)),
    el("td", { class: "number", "data-interval": true }, interval),
    el("td", { class: "whisker-cell" }, estimate.value === null ? null : whisker(estimate, [-reach || -1, reach || 1], 180, 0)),
    el("td", { class: word === "open" || word === "equal" ? "quiet" : null }, word), el("td", { class: "number quiet" }, String(estimate.n)));
}

function meanOf(run, score, places) {
  const values = places.map((place) => valueOf(run, score, place)).filter((value) => value !== null);
  return values.length ? values.reduce((a, b) => a + b, 0) / values.length : null;
}

function differenceTable(first, second, pairs, found, redraw) {
  const near = [...found].filter(([score]) => isFraction(score)).flatMap(([, e]) => [e.value, e.low, e.high].map((v) => Math.abs(v || 0)));
  const scale = Math.max(0.01, ...near);
  const places = [pairs.map(([i]) => i), pairs.map(([, j]) => j)];
  const rows = [...found].map(([score, estimate]) => differenceRow(score, estimate,
    [meanOf(first, score, places[0]), meanOf(second, score, places[1])], scale, redraw));
  const heads = ["score", "A", "B", "A − B", "95 % interval", "", "", "n"];
  return el("table", { class: "plain differences" }, el("thead", null, el("tr", null,
    heads.map((head, i) => el("th", { scope: "col", class: i ? "number" : null }, head)))), el("tbody", null, rows));
}

function commonNote(first, second, pairs) {
  const all = [first, second].map((run) => run.samples.length);
  const whole = pairs.length === all[0] && pairs.length === all[1];
  const count = whole ? `All ${pairs.length} samples are in both.`
    : `${pairs.length} samples in common (A has ${all[0]}, B has ${all[1]}); only these are compared.`;
  const part = first.partial || second.partial
    ? ` This page holds scores of ${all[0]} of ${first.rows.rows} samples of A and ${all[1]} of ${second.rows.rows} of B, chosen by hash.` : "";
  const images = new Set(pairs.map(([i]) => first.samples[i][1])).size;
  const interval = images < MIN_IMAGES ? `No intervals: ${images} images, fewer than ${MIN_IMAGES}.`
    : `Intervals: ${RESAMPLES} resamples of up to ${images} images.`;
  return el("p", { class: "quiet" }, `${count}${part} ${interval}`);
}

function changedCard(first, second, [i, j], difference) {
  const score = compareState.score;
  const side = (run, place, letter) => el("button", { type: "button", class: "card", title: run.name,
    click: () => showSample(run, place, null) }, overlay(run, place),
  el("span", { class: "number" }, `${letter}  ${fixed(valueOf(run, score, place))}`));
  return el("div", { class: "pair" }, el("div", { class: "pair-head" }, el("b", null, first.samples[i][2]),
    el("span", { class: "number" }, signed(difference))), side(first, i, "A"), side(second, j, "B"));
}

function changed(first, second, pairs, estimate) {
  const pictured = ([i, j]) => first.overlayOf.has(first.samples[i][0]) && second.overlayOf.has(second.samples[j][0]);
  const all = pairs.map((pair, place) => [pair, estimate.values[place]]).filter(([, value]) => value !== null);
  const eligible = all.filter(([pair]) => !compareState.pictured || pictured(pair));
  const candidates = eligible.filter(([, value]) => Math.abs(value) >= 0.0005);
  candidates.sort(([, a], [, b]) => Math.abs(b) - Math.abs(a));
  const cards = candidates.slice(0, CHANGED).map(([pair, value]) => changedCard(first, second, pair, value));
  const of = compareState.pictured ? `of the ${eligible.length} with pictures in both` : `of all ${all.length}`;
  const text = cards.length ? `The ${cards.length} largest differences ${of}.` : `No difference in any ${of}.`;
  return [el("p", { class: "quiet" }, text), el("div", { class: first.explanation ? "pairs stacked" : "pairs" }, cards)];
}

function scoreCharts(first, second, pairs) {
  const score = compareState.score;
  const points = pairs.map(([i, j]) => [valueOf(first, score, i), valueOf(second, score, j), i])
    .filter(([a, b]) => a !== null && b !== null)
    .map(([a, b, i]) => [a, b, `${first.samples[i][2]}: A ${fixed(a)}, B ${fixed(b)}`, i]);
  const [a, b] = [columnOf(first, score), columnOf(second, score)];
  return el("div", { class: "score-charts" },
    scatter(points, `${score} of each sample in both runs`, [`A  ${first.title}`, `B  ${second.title}`],
      (place) => showSample(first, place, null)),
    el("figure", null, el("figcaption", null, el("b", null, label(score)), " bars A, line B"),
      histogram(a, null, `histogram of ${score} in both runs`, b, score === "judge_score" ? JUDGED : null)));
}

function compareView(runs) {
  const pair = defaultPair(runs);
  if (!pair) return [el("p", { class: "empty" }, "No two runs of one data set have rows.")];
  const [first, second] = pair;
  if (!second) return [el("h1", null, "Compare"), pickers(first, null), el("p", { class: "empty" }, "No other run has this data set.")];
  const pairs = commonSamples(first, second);
  const found = comparisons(first, second, pairs);
  if (!found.has(compareState.score)) compareState.score = found.has("judge_score") ? "judge_score" : found.keys().next().value;
  const box = el("div", null);
  const redraw = () => box.replaceChildren(...comparison(first, second, pairs, found, redraw));
  redraw();
  return [el("h1", null, "Compare"), pickers(first, second), commonNote(first, second, pairs), box];
}

function comparison(first, second, pairs, found, redraw) {
  if (!found.size || !pairs.length) return [el("p", { class: "empty" }, "Nothing in common.")];
  const only = checkField("Only samples with pictures", compareState.pictured, (on) => {
    compareState.pictured = on;
    redraw();
  });
  return [el("div", { class: "columns wide" },
    el("section", null, el("h2", null, "Mean paired difference"), differenceTable(first, second, pairs, found, redraw),
      el("p", { class: "quiet" }, "Click a score to look at it sample by sample. “open”: the interval holds 0.")),
    el("section", null, el("h2", null, `Sample by sample: ${label(compareState.score)}`), scoreCharts(first, second, pairs))),
  el("section", null, el("h2", null, `What changed most in ${label(compareState.score)}`), el("div", { class: "bar" }, only),
    ...changed(first, second, pairs, found.get(compareState.score)))];
}
