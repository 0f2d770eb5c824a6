// What Python put into the page, and questions to it.

const data = JSON.parse(document.getElementById("data").textContent);

function prepareRun(run) {
  const { model, cam, dataset, mask, judge, detector, reward, task } = run.choices;
  const further = run.rewarded ? [detector, reward, task] : run.explanation ? [judge] : [];
  run.title = [model, cam, dataset, mask, ...further].filter((name) => name && name !== "none").join(" · ");
  run.optionText = Object.entries(run.options).map(([k, v]) => `${k}=${v}`).join(", ");
  run.name = run.optionText ? `${run.title} (${run.optionText})` : run.title;
  run.overlayOf = new Map(run.overlays);
  run.stripOf = new Map(run.strips);
  run.samples = run.rows ? data.sets[run.rows.set].map((place) => data.samples[place]) : [];
  run.placeOf = new Map(run.samples.map(([id], place) => [id, place]));
  run.cutsOf = Map.groupBy(run.rows ? data.cuts[run.rows.cuts] : [], ([place]) => place);
  run.foils = run.rows && run.rows.foils !== null ? data.foils[run.rows.foils] : null;
  run.reasonOf = new Map(run.rows ? data.reasons[run.rows.reasons] : []);
  run.partial = run.rows !== null && run.samples.length < run.rows.rows;
}

// Scores of explanations whose samples have a column of another name.
const COLUMN_OF = { accuracy: "correct", judge_score: "score" };

function columnOf(run, score) {
  const name = run.explanation && Object.hasOwn(COLUMN_OF, score) ? COLUMN_OF[score] : score;
  if (!run.rows || !Object.hasOwn(run.rows.columns, name)) return null;
  return data.columns[run.rows.columns[name]];
}

function valueOf(run, score, place) {
  const column = columnOf(run, score);
  return column ? column[place] : null;
}

function allScores() {
  // Those with a label in its order, the others, and those of the matrix.
  const known = Object.keys(data.labels).filter((name) => !data.matrix.includes(name));
  const found = new Set(data.runs.flatMap((run) => Object.keys(run.scores)));
  const others = [...found].filter((name) => !known.includes(name) && !data.matrix.includes(name)).sort();
  return [...known, ...others, ...data.matrix].filter((name) => found.has(name));
}

function scoresOf(run) {
  const names = run.explanation ? data.judged : allScores();
  return names.filter((name) => Object.hasOwn(run.scores, name));
}

function valuesOf(run) {
  // What has a value for each sample: scores, and the probabilities of what the model says.
  return [...scoresOf(run), "match", "foil_match", "probability"].filter((name) => columnOf(run, name));
}

function label(score) {
  return Object.hasOwn(data.labels, score) ? data.labels[score] : score.replaceAll("_", " ");
}

function direction(score) {
  // 1: larger is better, -1: smaller is, 0: neither
  if (score === "margin") return 1;
  return label(score).includes("↓") ? -1 : label(score).includes("↑") ? 1 : 0;
}

function ranked(run, score) {
  // What a judge says is not held against others before it is known to look at the picture.
  const judged = run.explanation && score !== "accuracy";
  return !run.baseline && run.scores[score] && (!judged || judgeVerdict(run) === "sound");
}

function bestOf() {
  // For each group of comparable runs and each score the best mean, baselines left out.
  const best = new Map();
  const groups = Map.groupBy(data.runs.filter((run) => !run.baseline), (run) => run.peers);
  for (const [peers, runs] of groups) {
    if (runs.length < 2) continue;
    for (const score of allScores().filter(direction)) {
      const values = runs.filter((run) => ranked(run, score)).map((run) => run.scores[score].value);
      if (values.length < 2) continue;
      const sign = direction(score);
      const top = fixed(sign * Math.max(...values.map((v) => sign * v)));
      // What looks equal is equally good, and where all are there is nothing to point out.
      if (values.some((value) => fixed(value) !== top)) best.set(`${peers} ${score}`, top);
    }
  }
  return best;
}

function pictureUrl(place) {
  const [kind, base64] = data.pictures[place];
  return `data:image/${kind};base64,${base64}`;
}

function notScored(counts) {
  const reasons = { ...counts.skipped, ...counts.flagged };
  return Object.keys(reasons).sort().map((reason) => [reason, reasons[reason]]);
}

function runByPath(path) {
  return data.runs.find((run) => run.path === path) || null;
}

function runLink(view, ...runs) {
  return `#${view}=${runs.map((run) => encodeURIComponent(run.path)).join("&")}`;
}

data.runs.forEach(prepareRun);
