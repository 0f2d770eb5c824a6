// The three screens: name, card, end. Text from data only ever becomes text nodes.

const RUBRIC = [
  ["0", "Nothing of it", "Black, scattered bits, or nothing to do with it."],
  ["1", "Something else", "What is visible is another thing."],
  ["2", "A little", "A little of it, and mostly something else."],
  ["3", "A part", "A clear part of it, and much else."],
  ["4", "Most", "Most of it, and little else."],
  ["5", "All that matters", "Everything one knows it by, and nothing else."],
];
const CHOICES = data.mode === "scores"
  ? RUBRIC.map(([value, name, told]) => ({ value, keys: [value], name, told }))
  : [
    { value: "1", keys: ["1", "a"], sign: "A", name: "Accept", told: "The description is true of this picture, and the reasons follow from it." },
    { value: "0", keys: ["0", "r"], sign: "R", name: "Reject", told: "It names what is not there, misses what matters, or the reasons do not follow." },
  ];

function el(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null));
  return element;
}

function button(text, name, onClick, more = {}) {
  return el("button", { type: "button", class: "button", "data-do": name, click: onClick, ...more }, text);
}

function say(text) {
  document.getElementById("said").textContent = text;
  const note = document.getElementById("note");
  if (note) note.textContent = text;
}

function show(...children) {
  document.getElementById("main").replaceChildren(...children);
  window.scrollTo(0, 0);
}

function tally(found) {
  const done = data.mode === "scores" ? "scored" : "decided";
  return `${found.answered} ${done}, ${found.skipped} skipped, ${found.open} open`;
}

function nameScreen() {
  const known = el("p", { class: "quiet", id: "known" });
  const field = el("input", { id: "name", type: "text", autocomplete: "off", spellcheck: "false", maxlength: "60",
    input: () => {
      const answers = nameOf(field.value) ? stored(nameOf(field.value)) : new Map();
      known.textContent = answers.size ? `Found in this browser: ${tally(counts(answers))}. You go on there.` : "";
    },
    keydown: (event) => { if (event.key === "Enter") begin(field.value); } });
  const task = data.mode === "scores"
    ? ["A computer program looked at a photo and answered what it shows. You see its answer, and of the photo the part that it relied on: only this part is visible, or colours mark it.",
      "Say how well this part shows the thing named. Do not guess whether the answer is right: judge only what you see."]
    : ["You see what is visible of a photo, the word that a program answered, and what a judge wrote about it.",
      "Accept the judge's answer if it is true of what you see; else reject it."];
  document.getElementById("who").textContent = "";
  show(el("div", { class: "text" },
    task.map((line) => el("p", null, line)),
    el("table", { class: "rubric" }, el("tbody", null, CHOICES.map((choice) => el("tr", null,
      el("th", { scope: "row" }, choice.sign || choice.value), el("td", null, el("b", null, choice.name), ` ${choice.told}`))))),
    el("p", null, `${data.cards.length} pictures, in an order of your own. Your answers stay in this browser until you save them as a file; nothing is sent.`),
    el("div", { class: "start" }, el("label", { for: "name" }, "Your name, the same each time"), field,
      button("Start", "start", () => begin(field.value), { class: "button strong" })), known,
    el("p", { id: "note" })));
  field.focus();
}

function cardScreen() {
  const card = state.order[state.place];
  const given = state.answers.get(card.token);
  const found = counts(state.answers);
  const choices = CHOICES.map((choice) => el("button", { type: "button", class: "choice", "data-value": choice.value,
    "aria-pressed": String(given === choice.value), click: () => answer(choice.value) },
  el("kbd", null, choice.sign || choice.value), el("span", null, el("b", null, choice.name), el("small", null, choice.told))));
  document.getElementById("said").textContent = `Picture ${state.place + 1}: ${card.label}`;
  const words = data.mode === "acceptance" ? el("dl", { class: "words" },
    el("dt", null, "The judge sees"), el("dd", { id: "description" }, card.description || "–"),
    el("dt", null, "and reasons"), el("dd", { id: "justification" }, card.justification || "–")) : null;
  show(
    el("div", { class: "bar" },
      el("progress", { max: data.cards.length, value: data.cards.length - found.open, "aria-label": "answered" }),
      el("p", { id: "counts" }, `Picture ${state.place + 1} of ${data.cards.length}`, el("span", { class: "quiet" }, tally(found))),
      button("Save file", "save", download)),
    el("div", { class: "card", "data-token": card.token },
      el("div", { class: "picture" }, el("img", { src: card.image, alt: "the picture to judge" })),
      el("div", { class: "ask" },
        el("p", { class: "question" }, data.mode === "scores" ? "How well does the visible or marked part show" : "The program answered", el("strong", { id: "label" }, card.label)),
        words, el("div", { class: "choices" }, choices),
        el("div", { class: "bar" },
          button("← Back", "back", back, { disabled: state.place === 0 }),
          button("Cannot tell (S)", "skip", () => answer(SKIPPED), { "aria-pressed": String(given === SKIPPED) }),
          button("Next →", "next", next, { disabled: given === undefined })),
        el("p", { class: "warning" }, state.kept ? "" : "This browser keeps nothing: save the file before you close the page."),
        el("p", { id: "note" }))));
}

function endScreen() {
  const found = counts(state.answers);
  show(el("div", { class: "text" },
    el("h2", null, found.open ? "Not done yet" : "Done. Thank you."),
    el("p", { id: "counts" }, `${tally(found)}. Skipped pictures are not in the file.`),
    el("div", { class: "bar" }, button("Save file", "save", download, { class: "button strong" }),
      button("← Back to the last one", "back", back),
      button("Go through the skipped again", "again", again, { disabled: found.skipped === 0 })),
    el("p", { id: "note" })));
  document.getElementById("said").textContent = `Done: ${tally(found)}.`;
}
