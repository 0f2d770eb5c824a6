// What the keys and buttons do.

const state = { annotator: "", order: [], place: 0, answers: new Map(), kept: true };

function begin(text) {
  const annotator = nameOf(text);
  if (!annotator) return say("Please give a name first.");
  Object.assign(state, { annotator, order: orderFor(annotator), answers: stored(annotator) });
  document.getElementById("who").textContent = annotator;
  keep();
  const open = state.order.findIndex((card) => !state.answers.has(card.token));
  state.place = open < 0 ? data.cards.length : open;
  draw();
}

function draw() {
  if (state.place >= data.cards.length) endScreen();
  else cardScreen();
}

function answer(value) {
  state.answers.set(state.order[state.place].token, value);
  keep();
  forward();
}

function forward() {
  // To the next without an answer; after the last one, to any that was passed over.
  const open = (card) => !state.answers.has(card.token);
  const later = state.order.findIndex((card, place) => place > state.place && open(card));
  const any = later < 0 ? state.order.findIndex(open) : later;
  state.place = any < 0 ? data.cards.length : any;
  draw();
}

function next() {
  if (!state.answers.has(state.order[state.place].token)) return;
  state.place += 1;
  draw();
}

function back() {
  if (state.place === 0) return;
  state.place -= 1;
  draw();
}

function again() {
  for (const [token, value] of state.answers) if (value === SKIPPED) state.answers.delete(token);
  keep();
  state.place = -1;
  forward();
}

document.addEventListener("keydown", (event) => {
  if (!state.annotator || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.key === "ArrowLeft" || event.key === "Backspace") { event.preventDefault(); back(); return; }
  if (state.place >= data.cards.length) return;
  const key = event.key.toLowerCase();
  const choice = CHOICES.find((one) => one.keys.includes(key));
  if (choice) answer(choice.value);
  else if (key === "s") answer(SKIPPED);
  else if (event.key === "ArrowRight") next();
});

nameScreen();
