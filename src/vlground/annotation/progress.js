// What an annotator has answered, kept in this browser: token -> answer, or SKIPPED.

const SKIPPED = "skipped";

function slot(annotator) {
  return `vlground-annotation ${data.page} ${annotator}`;
}

function stored(annotator) {
  try {
    const found = JSON.parse(localStorage.getItem(slot(annotator)) || "{}");
    const known = new Set(data.cards.map((card) => card.token));
    return new Map(Object.entries(found).filter(([token, answer]) =>
      known.has(token) && (answer === SKIPPED || CHOICES.some((choice) => choice.value === answer))));
  } catch {
    return new Map();
  }
}

function keep() {
  try {
    localStorage.setItem(slot(state.annotator), JSON.stringify(Object.fromEntries(state.answers)));
    state.kept = true;
  } catch {
    state.kept = false; // a private window, or a full disk
  }
}

function counts(answers) {
  const skipped = [...answers.values()].filter((answer) => answer === SKIPPED).length;
  return { answered: answers.size - skipped, skipped, open: data.cards.length - answers.size };
}
