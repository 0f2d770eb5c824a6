// The list of images with its filters, and the keys.

const state = { group: "", order: "", query: "", at: 0 };
const ORDERS = {
  "": ["group", () => 0],
  gap: ["penalty gap", (image) => -(image.gap ?? -1)],
  high: ["winner’s penalty, highest first", (image) => -(image.penalty ?? Infinity)],
  tied: ["most candidates tied", (image) => -image.tied],
  removed: ["most sentences removed", (image) => -image.removed.length],
};

const BOXES = data.images.some((image) => pictureUrl(image.place) && image.things.some(([, , boxes]) => boxes.length));

function chosen() {
  const [, key] = ORDERS[state.order];
  const found = data.images.filter((image) =>
    (!state.group || image.groups.includes(state.group)) && matches(image.words, state.query));
  return found.sort((a, b) => key(a) - key(b) || a.place - b.place);
}

function listItem(image, place) {
  const url = pictureUrl(image.place);
  const said = image.winner === null ? "nothing taken"
    : `penalty ${number(image.penalty)}${image.gap === null ? "" : ` · gap ${number(image.gap)}`}`;
  const tags = [image.emptied ? "emptied" : "", image.tied > 1 ? (image.gap === null && image.able > 1 ? "all tied" : `${image.tied} tied`) : "",
    image.removed.length && !image.emptied ? `−${plural(image.removed.length, "sentence")}` : ""].filter(Boolean);
  return el("li", null, el("button", { type: "button", class: "item", "aria-current": place === state.at ? "true" : null,
    click: () => go(place) }, url ? el("img", { src: url, alt: "", loading: "lazy" }) : el("span", { class: "thumb" }, "–"),
  el("span", { class: "item-text" }, el("b", null, image.id), el("small", null, said), tags.length ? el("small", { class: "tags" }, tags.join(" · ")) : null)));
}

function steps(images) {
  const step = (by, text) => el("button", { type: "button", class: "button", "data-step": by,
    disabled: !images[state.at + by], click: () => go(state.at + by) }, text);
  return el("div", { class: "title" }, el("h1", null, `Image ${images[state.at].id}`), el("div", { class: "steps" }, step(-1, "← Previous"), el("span", { class: "quiet" }, `${state.at + 1} of ${images.length}`),
    step(1, "Next →")));
}

function legend() {
  const types = data.asked.sentences ? data.types.map((name, i) => el("li", null, el("b", { class: `letter error-${i}` }, letter(i)), ` ${name}`)) : [];
  const nouns = data.asked.nouns ? [
    el("li", null, el("span", { class: "noun undetected" }, "noun", el("sup", null, "0.12")), ` not detected (≤ ${data.thresholds.noun})`),
    el("li", null, el("span", { class: "noun untold" }, "noun", el("sup", null, "?")), " the detector cannot tell")] : [];
  const notes = [types.length ? `A letter: above ${data.thresholds.sentence}. The stronger the colour, the more probable.` : "Nobody scored sentences.",
    !nouns.length ? "Nobody looked for nouns." : BOXES ? "Point at a noun for its boxes." : ""];
  return el("div", { class: "legend" }, el("ul", null, types, nouns), el("p", { class: "quiet" }, notes.join(" ")));
}

function go(place) {
  state.at = place;
  const images = chosen();
  if (images[place]) history.replaceState(null, "", `#${encodeURIComponent(images[place].id)}`);
  show();
  scrollTo(0, 0);
}

function show() {
  const images = chosen();
  state.at = Math.max(0, Math.min(state.at, images.length - 1));
  const found = document.getElementById("found");
  found.textContent = `${plural(images.length, "image")}${data.note ? `. ${data.note}` : ""}`;
  document.getElementById("list").replaceChildren(...images.map(listItem));
  const shown = images.length ? [steps(images), legend(), ...imageView(images[state.at])] : [el("p", { class: "empty" }, "No image matches.")];
  document.getElementById("main").replaceChildren(...shown.flat(Infinity).filter(Boolean));
  document.querySelector(".item[aria-current]")?.scrollIntoView({ block: "nearest" });
}

function restart() {
  state.at = 0;
  show();
}

function filters() {
  const groups = data.groups.map(([name, text]) => [name, `${text} (${data.images.filter((i) => i.groups.includes(name)).length})`])
    .filter(([name]) => data.images.some((image) => image.groups.includes(name)));
  return [
    select("Show", [["", `all (${data.images.length})`], ...groups], "", (name) => { state.group = name; restart(); }),
    select("Sort by", Object.entries(ORDERS).map(([key, [text]]) => [key, text]), "", (key) => { state.order = key; restart(); }),
    searchField("Filter", "word, object, id …", "", (query) => { state.query = query; restart(); }),
  ];
}

function facts() {
  const { counts, options } = data;
  const told = [plural(counts.images, "image"), `${counts.ties.toLocaleString("en")} decided by ties`, `${counts.all_tied.toLocaleString("en")} all tied`,
    `${counts.emptied.toLocaleString("en")} emptied`, `${plural(counts.sentences_removed, "sentence")} removed`];
  const how = `penalty over ${data.streams.join(" + ")}, normalise=${options.normalise}, pool=${options.pool}, amount=${options.amount}, ` +
    `noun_weight=${options.noun_weight}, refine=${options.refine}`;
  document.getElementById("run").append(el("b", null, data.title), el("span", { class: "quiet", title: data.prompt }, ` ${how}`));
  document.getElementById("counts").append(told.join(" · "));
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select")) return;
  const by = { ArrowRight: 1, j: 1, ArrowLeft: -1, k: -1 }[event.key];
  const button = by && document.querySelector(`[data-step="${by}"]`);
  if (!button || button.disabled) return;
  event.preventDefault();
  button.click();
});

facts();
document.getElementById("filters").append(...filters());
const wanted = data.images.findIndex((image) => image.id === decodeURIComponent(location.hash.slice(1)));
state.at = Math.max(0, wanted);
show();
