// The samples of a run as overlays; one of them large, with the paper's figure 2.

const sampleState = { query: "", sort: "", descending: false, pictured: true, shown: 0, cell: "" };
const PAGE = 60;
const dialog = document.getElementById("sample");

function overlay(run, place) {
  const [id, , text] = run.samples[place];
  if (!run.overlayOf.has(id)) return el("div", { class: "no-picture" }, "no picture");
  return el("img", { src: pictureUrl(run.overlayOf.get(id)), alt: run.rewarded ? "photo" : `map of ${text}`, loading: "lazy" });
}

function inCell(run, place) {
  // sampleState.cell: "" for all, "cut", or a column of cells and a place among them.
  if (!sampleState.cell) return true;
  if (sampleState.cell === "cut") return run.cutsOf.has(place);
  const [column, code] = sampleState.cell.split(" ");
  return valueOf(run, column, place) === Number(code);
}

function cellOptions(run) {
  const cells = [["cell", run.explanation ? "" : "matched"], ["foil_cell", "foil"]].filter(([column]) => columnOf(run, column))
    .flatMap(([column, text]) => data.cells.map((name, code) => [`${column} ${code}`, `${text} ${name.replace("_", " ")}`.trim()]));
  return run.cutsOf.size ? [...cells, ["cut", "cut to the context"]] : cells;
}

function wordsOf(run, place) {
  return ["label", "predicted", "description", "justification"].map((name) => wordOf(run, name, place)).join(" ");
}

function sampleOrder(run) {
  const places = run.samples.map((_, place) => place).filter((place) => {
    const [id, image, text] = run.samples[place];
    return inCell(run, place) && (!sampleState.pictured || run.overlayOf.has(id)) &&
      matches(`${text} ${id} ${image} ${run.reasonOf.get(place) || ""} ${wordsOf(run, place)}`, sampleState.query);
  });
  if (!columnOf(run, sampleState.sort)) return places;
  const key = (place) => valueOf(run, sampleState.sort, place);
  const sign = sampleState.descending ? -1 : 1;
  return places.sort((a, b) => (key(a) === null) - (key(b) === null) || sign * (key(a) - key(b)));
}

function sampleCard(run, place, order) {
  if (run.explanation) return judgedCard(run, place, order);
  const [id, , text] = run.samples[place];
  const reason = run.reasonOf.get(place);
  const main = (columnOf(run, sampleState.sort) && sampleState.sort) || scoresOf(run).find((score) => score === "io_ratio") || scoresOf(run)[0];
  const line = reason || (main ? `${label(main)} ${fixed(valueOf(run, main, place))}` : "");
  return el("button", { type: "button", class: "card", title: id, click: () => showSample(run, place, order) },
    overlay(run, place), run.stripOf.has(id) ? el("span", { class: "steps" }, "step by step") : null,
    el("span", { class: "text" }, text, run.cutsOf.has(place) ? el("span", { class: "tag" }, "cut") : null), el("span", { class: reason ? "quiet" : "number" }, line));
}

function sampleGrid(run, redraw) {
  const order = sampleOrder(run);
  const shown = order.slice(0, sampleState.shown || PAGE);
  const more = order.length > shown.length ? el("button", { type: "button", class: "button", click: () => {
    sampleState.shown = shown.length + 4 * PAGE;
    redraw();
  } }, `Show more (${order.length - shown.length})`) : null;
  return [el("p", { class: "quiet", "aria-live": "polite" }, sampleNote(run, order.length)),
    el("div", { class: run.explanation ? "grid strips" : "grid" }, shown.map((place) => sampleCard(run, place, order))), more];
}

function sampleNote(run, found) {
  if (!run.rows) return `This run has no rows: ${run.problem}.`;
  const pictures = run.overlays.length;
  const parts = [`${found} shown`, `pictures of ${pictures} of ${run.rows.rows} samples`];
  if (run.partial) parts.push(`scores of ${run.samples.length} of ${run.rows.rows}, the same in every run${run.explanation ? ", and the gallery" : ""}`);
  return `${parts.join(" · ")}.`;
}

function sampleFilters(run, redraw) {
  const again = () => { sampleState.shown = 0; redraw(); };
  const scores = [["", "data set’s order"], ...valuesOf(run).map((score) => [score, label(score)])];
  const cells = cellOptions(run);
  if (!cells.some(([value]) => value === sampleState.cell)) sampleState.cell = "";
  return el("div", { class: "bar" },
    select("Run", data.runs.map((other) => [other.path, other.name]), run.path, (path) => {
      location.hash = runLink("samples", runByPath(path));
    }),
    select("Sort by", scores, sampleState.sort, (score) => { sampleState.sort = score; again(); }),
    cells.length ? select("Show", [["", "all"], ...cells], sampleState.cell, (cell) => { sampleState.cell = cell; again(); }) : null,
    checkField("Largest first", sampleState.descending, (on) => { sampleState.descending = on; again(); }),
    checkField("Only with picture", sampleState.pictured, (on) => { sampleState.pictured = on; again(); }),
    searchField("Filter", "text, id, reason …", sampleState.query, (query) => { sampleState.query = query; again(); }));
}

function samplesView(run) {
  if (!run) return [el("p", { class: "empty" }, "No runs.")];
  if (!run.overlays.length) sampleState.pictured = false;
  const box = el("div", null);
  const redraw = () => box.replaceChildren(...sampleGrid(run, redraw).filter(Boolean));
  const filters = sampleFilters(run, redraw);
  redraw();
  return [el("h1", null, "Samples"), filters, box];
}

function panel(strip, place) {
  const picture = el("img", { src: strip, alt: data.panels[place] });
  // The strip is one picture; each panel in it has a gutter on either side.
  const cell = 1 + 2 * data.gutter;
  picture.style.width = `${100 * data.panels.length * cell}%`;
  picture.style.marginLeft = `${-100 * (place * cell + data.gutter)}%`;
  return el("figure", { class: "panel-figure" }, el("div", { class: "crop" }, picture),
    el("figcaption", null, data.panels[place]));
}

function figureTwo(run, id) {
  if (run.explanation || run.rewarded) return null;
  if (!run.stripOf.has(id)) {
    const some = run.strips.length ? `drawn for ${run.strips.length} samples of this run, as space allows` : "none for this run";
    return el("p", { class: "quiet" }, `Step by step: ${run.noStrips || some}.`);
  }
  const strip = pictureUrl(run.stripOf.get(id));
  const box = el("div", { class: "strip" }, data.panels.map((_, place) => panel(strip, place)));
  const first = box.querySelector("img");
  first.addEventListener("load", () =>
    box.classList.toggle("tall", first.naturalHeight * data.panels.length > first.naturalWidth));
  return [el("h3", null, "Step by step, after the paper’s figure 2"), box,
    el("p", { class: "quiet" }, "Peaks: disc in the box, cross outside, ring where peaks share the top. " +
      "Both penalties have one scale.")];
}

function scoreList(run, place) {
  const reason = run.reasonOf.get(place);
  if (reason) return el("p", null, `Not scored: ${reason}`);
  return facts(valuesOf(run).map((score) => [label(score), fixed(valueOf(run, score, place))]));
}

function decisions(run, place) {
  // What the model made of the text and of the foil, in words.
  const line = (text, probability, cell, fits) => {
    if (probability === null) return null;
    const says = probability >= thresholds(run).match ? "it fits" : "it does not fit";
    const verdict = cell === null ? "the map is not scored" : data.cells[cell].replace("_", ", map ");
    return el("p", null, el("b", null, fits), ` “${text}”: ${says} (match ${fixed(probability)}) — ${verdict}`);
  };
  const foil = run.foils ? line(run.foils[place], valueOf(run, "foil_match", place), valueOf(run, "foil_cell", place), "Foil") : null;
  return [line(run.samples[place][2], valueOf(run, "match", place), valueOf(run, "cell", place), "Text"), foil];
}

function cuts(run, place) {
  return (run.cutsOf.get(place) || []).map(([, name, read]) =>
    el("p", null, el("b", null, name === "truncated" ? "Text cut" : "Foil cut"), ` to the model’s context; it read: “${read}”`));
}

function elsewhere(run, id) {
  const others = data.runs.filter((other) => other.choices.dataset === run.choices.dataset &&
    !other.explanation === !run.explanation && other.overlayOf.has(id));
  if (others.length < 2) return null;
  const cards = others.map((other) => el("button", {
    type: "button", class: "card", "aria-current": other === run, title: other.name,
    click: () => showSample(other, other.placeOf.get(id), null) }, overlay(other, other.placeOf.get(id)),
  el("span", { class: "text" }, other.explanation ? other.name : `${other.choices.model} · ${other.choices.cam}`),
  el("span", { class: "number" }, other.explanation ? `${predictionOf(other, other.placeOf.get(id))}: ${scoreOf5(other, other.placeOf.get(id))}`
    : `IO ${fixed(valueOf(other, "io_ratio", other.placeOf.get(id)))}`)));
  return [el("h3", null, "The same sample in other runs"), el("div", { class: run.explanation ? "grid strips" : "grid small" }, cards)];
}

function neighbours(run, place, order) {
  const at = order ? order.indexOf(place) : -1;
  const step = (by, text, key) => {
    const next = at < 0 ? undefined : order[at + by];
    return el("button", { type: "button", class: "button", "data-key": key, disabled: next === undefined,
      click: () => showSample(run, next, order) }, text);
  };
  return [step(-1, "← Previous", "ArrowLeft"), step(1, "Next →", "ArrowRight")];
}

function showSample(run, place, order) {
  const [id, image, text] = run.samples[place];
  const close = el("button", { type: "button", class: "button", click: () => dialog.close() }, "Close");
  dialog.replaceChildren(
    el("div", { class: "dialog-head" }, el("div", null, el("h2", { id: "sample-title" }, run.explanation ? predictionOf(run, place) : text),
      el("p", { class: "quiet" }, `${run.name} · ${id} · image ${image}`)),
    el("div", { class: "row" }, neighbours(run, place, order), close)),
    el("div", { class: run.explanation ? "large judged" : "large" }, overlay(run, place),
      el("div", null, run.explanation ? judgement(run, place) : [scoreList(run, place), decisions(run, place), cuts(run, place)])),
    ...[figureTwo(run, id), elsewhere(run, id)].flat().filter(Boolean));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

dialog.addEventListener("keydown", (event) => {
  const button = dialog.querySelector(`button[data-key="${event.key === "ArrowLeft" || event.key === "ArrowRight" ? event.key : ""}"]`);
  if (button && !button.disabled) button.click();
});
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
