// People beside the judge: each sample that both have scored, 0 to 5.

const DRAWN = 12; // runs at once

function peopleOf(run) {
  if (!run.explanation) return [];
  return run.samples.map(([id], place) => [place, valueOf(run, "score", place), data.people[id] ?? null])
    .filter(([, judge, people]) => judge !== null && people !== null);
}

function pearson(pairs) {
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  const [xs, ys] = [pairs.map(([, x]) => x), pairs.map(([, , y]) => y)];
  const [mx, my] = [mean(xs), mean(ys)];
  const product = mean(pairs.map(([, x, y]) => (x - mx) * (y - my)));
  const spread = Math.sqrt(mean(xs.map((x) => (x - mx) ** 2)) * mean(ys.map((y) => (y - my) ** 2)));
  return spread > 0 ? product / spread : null;
}

function peopleFigure(run) {
  const pairs = peopleOf(run);
  const order = pairs.map(([place]) => place);
  const points = pairs.map(([place, judge, people]) =>
    [judge, people, `${predictionOf(run, place)}: judge ${tick(judge)}, people ${tick(people)}`, place]);
  return el("figure", { "data-path": run.path },
    el("figcaption", null, el("a", { href: runLink("run", run) }, run.name), judgeTag(run),
      ` r = ${fixed(pearson(pairs), 2)}, ${plural(pairs.length, "sample")}${run.partial ? ", of those on this page" : ""}`),
    scatter(points, `judge and people, ${run.name}`, ["judge", "people"], (place) => showSample(run, place, order), JUDGED));
}

function alignmentView() {
  const runs = data.runs.filter((run) => peopleOf(run).length);
  const box = el("div", null);
  const redraw = (query) => {
    const found = runs.filter((run) => matches(run.name, query));
    const more = found.length > DRAWN ? `${DRAWN} of ${found.length} runs; the filter finds others.` : plural(found.length, "run");
    box.replaceChildren(el("p", { class: "quiet" }, more), el("div", { class: "panels small" }, found.slice(0, DRAWN).map(peopleFigure)));
  };
  redraw("");
  return [el("h1", null, "Judge and people"), el("p", { class: "quiet" },
    "Each dot: a sample that the judge and people have scored, 0 to 5; people: the mean of the annotators. On the line both agree. " +
    "Intervals, ceiling and tests stand in the tables of the first view. Click a dot for its sample."),
  runs.length > DRAWN ? el("div", { class: "bar" }, searchField("Filter", "model, CAM, option …", "", redraw)) : null, box];
}
