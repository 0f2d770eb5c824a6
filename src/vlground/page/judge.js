// Explanations: what a judge makes of a classifier's maps, and whether the judge can be trusted.

const GALLERIES = {
  correct_low: "Right, but hardly for a reason that can be seen (correct low), the lowest scores first",
  wrong_high: "Wrong, though the part shown convinces the judge (wrong high), the highest scores first",
};
const CONTROLS = {
  own: "what the map shows", random: "a random part of equal area", black: "black",
  complement: "what the map leaves out", shuffled_label: "what the map shows, another label",
  full: "the whole image (not tested)",
};

function wordOf(run, name, place) {
  const words = run.rows ? run.rows.words : {};
  return Object.hasOwn(words, name) ? data.words[words[name]][place] : "";
}

function judgeVerdict(run) {
  return run.explanation && run.explanation.sanity ? run.explanation.sanity.verdict : "not tested";
}

function judgeTag(run) {
  // Beside every name of a run whose judge is not known to be sound.
  if (!run.explanation || judgeVerdict(run) === "sound") return null;
  return el("span", { class: judgeVerdict(run) === "unsound" ? "tag failed" : "tag" }, `judge ${judgeVerdict(run)}`);
}

function judgeWarning(run) {
  if (!run.explanation || judgeVerdict(run) === "sound") return null;
  const { sanity } = run.explanation;
  const text = sanity ? sanity.sentence.replace(/^\w+: /, "") : "no controls were run";
  const meaning = judgeVerdict(run) === "unsound" ? "Do not take its scores for a view of the picture."
    : "It is not shown that its scores depend on the picture.";
  return el("p", { class: `notice ${judgeVerdict(run)}`, role: "note" }, el("b", null, `Judge ${judgeVerdict(run)}`), `: ${text}. ${meaning}`);
}

function predictionOf(run, place) {
  const [predicted, truth] = [wordOf(run, "predicted", place), wordOf(run, "label", place)];
  if (!predicted) return run.samples[place][2];
  return valueOf(run, "correct", place) === 0 ? `${predicted}, labelled ${truth}` : predicted;
}

function scoreOf5(run, place) {
  const score = valueOf(run, "score", place);
  const cell = valueOf(run, "cell", place);
  const parts = [score === null ? "no score" : `score ${tick(score)} of 5`];
  if (cell !== null) parts.push(data.cells[cell].replace("_", " "));
  return parts.join(" · ");
}

function judgement(run, place) {
  // All that is known of one sample: the prediction, the score and the judge's words.
  const unknown = wordOf(run, "label", place) ? "not known: the model has no such class" : "not known: no label";
  const right = { 1: "right", 0: "wrong" }[valueOf(run, "correct", place)] || unknown;
  const said = (name) => {
    const text = wordOf(run, name, place);
    return text ? [el("h3", null, `Judge: ${name}`), el("blockquote", null, text)] : null;
  };
  const reason = run.reasonOf.get(place);
  return [facts([
    ["predicted", wordOf(run, "predicted", place)], ["label", wordOf(run, "label", place) || "none"], ["prediction", right],
    ["probability", fixed(valueOf(run, "probability", place))],
    ["judge", reason ? `no score: ${reason}` : scoreOf5(run, place)], ["answered by", wordOf(run, "judge_model", place)],
  ]), said("description"), said("justification")];
}

function judgedCard(run, place, order) {
  const words = run.reasonOf.get(place) || wordOf(run, "justification", place);
  return el("button", { type: "button", class: "card", title: run.samples[place][0], click: () => showSample(run, place, order) },
    overlay(run, place), el("span", { class: "text" }, predictionOf(run, place)),
    el("span", { class: "number" }, scoreOf5(run, place)), el("span", { class: "words" }, words));
}

function galleryBlock(run) {
  const parts = Object.entries(GALLERIES).map(([cell, title]) => {
    const places = run.explanation.gallery[cell].map((id) => run.placeOf.get(id)).filter((place) => place !== undefined);
    return [el("h3", null, title), places.length ? el("div", { class: "grid strips", "data-gallery": cell }, places.map((place) => judgedCard(run, place, places)))
      : el("p", { class: "quiet" }, "None.")];
  });
  return el("section", { id: "gallery" }, el("h2", null, "Worth a look"),
    el("p", { class: "quiet" }, "Left the photo, then the map over it, then what the judge was shown."), parts);
}

function sanityBlock(run) {
  const { sanity } = run.explanation;
  if (!sanity) return null;
  const names = [...Object.keys(CONTROLS), ...Object.keys(sanity.means)].filter((name, i, all) => all.indexOf(name) === i && sanity.means[name]);
  const row = (name) => {
    const [mean, less] = [sanity.means[name], sanity.differences[name]];
    const ends = (e, form) => (e && e.low !== null ? `${form(e.low, 2)} … ${form(e.high, 2)}` : "–");
    const failed = sanity.failed.includes(`own > ${name}`);
    return el("tr", { class: failed ? "failed" : null, "data-control": name }, el("th", { scope: "row" }, CONTROLS[name] || name),
      el("td", { class: "number value" }, fixed(mean.value, 2)), el("td", { class: "number" }, ends(mean, fixed)),
      el("td", { class: "whisker-cell" }, whisker(mean, JUDGED, 200)),
      el("td", { class: "number" }, less ? signed(less.value, 2) : "–"), el("td", { class: "number" }, ends(less, signed)),
      el("td", { class: failed ? "bad" : "quiet" }, failed ? "not above" : less && less.low !== null ? "above" : ""));
  };
  const heads = ["shown to the judge", "mean", "95 % interval", "0 to 5", "own − this", "95 % interval", ""];
  return el("section", { id: "sanity" }, el("h2", null, "Is the judge sound?"),
    el("p", null, el("b", null, `${sanity.verdict}`), sanity.sentence.replace(/^\w+/, ""), "."),
    el("p", { class: "quiet" }, `The same ${sanity.samples} samples, shown again in ways that a judge who looks at the picture scores lower than the real mask.`),
    names.length ? tableBox(el("table", { class: "plain sanity" }, el("thead", null, el("tr", null,
      heads.map((head, i) => el("th", { scope: "col", class: i ? "number" : null }, head)))), el("tbody", null, names.map(row)))) : null);
}

function classTable(run) {
  const { classes, allClasses } = run.explanation;
  if (!classes.length) return null;
  const cell = (score) => (score === null || score[0] === null ? el("td", { class: "score quiet" }, "–")
    : el("td", { class: "score" }, fixed(score[0], 2), el("small", null, score[1] === null ? "" : `${fixed(score[1], 2)}–${fixed(score[2], 2)}`)));
  const rows = classes.map(([name, scores]) => el("tr", null, el("th", { scope: "row" }, name),
    el("td", { class: "number" }, String(scores[0] ? scores[0][3] : "–")), scores.map(cell)));
  const all = classes.length === allClasses ? "" : ` The ${classes.length} with the most samples of ${allClasses}.`;
  return el("details", { class: "block", id: "classes", open: classes.length <= 12 }, el("summary", null, "By class of the label"),
    el("p", { class: "quiet" }, `n: samples with a prediction. Intervals as above.${all}`),
    tableBox(el("table", { class: "plain" }, el("thead", null, el("tr", null,
      ["class", "n", ...data.judged.map(label)].map((head, i) => el("th", { scope: "col", class: i ? "number" : null }, head)))), el("tbody", null, rows))));
}

function readingList() {
  return el("dl", { class: "readings" }, data.cells.map((cell) =>
    [el("dt", null, cell.replace("_", " ")), el("dd", null, data.readings[cell])]));
}

function judgeSections(run) {
  if (!run.explanation) return [];
  return [el("section", { id: "matrix" }, el("h2", null, "Right or wrong × what the judge sees"),
    el("div", { class: "matrix-line judged" }, matrixTable(run, "judge"), readingList()),
    el("p", { class: "quiet" }, "Intervals: Wilson, or bootstrap over images where an image has several samples. Click a cell for its samples.")),
  galleryBlock(run), sanityBlock(run), classTable(run)].filter(Boolean);
}

function usageFacts(run) {
  if (!run.explanation) return [];
  const { usage } = run.explanation;
  const models = Object.entries(usage.models || {});
  const asked = usage.calls || usage.cached;
  return [
    [models.length > 1 ? "answered by several models" : "answered by", models.map(([name, count]) => `${name} (${count})`).join(", ")],
    ["asked", asked ? `${plural(usage.calls, "call")}, ${plural(usage.cached, "answer")} from the cache` : ""],
    ["tokens", asked ? `${usage.tokens_in} in, ${usage.tokens_out} out` : ""],
    ["cost", asked ? (usage.cost ?? "not known") : ""],
  ];
}
