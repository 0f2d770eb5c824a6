// Rewards: how penalties spread over candidates, and which of them win.

const PENALTIES = { penalty: "penalty, all streams", penalty_sentences: "of sentences (the human branch)", penalty_nouns: "of nouns (the automatic branch)" };

function rewardSection(run) {
  const winner = columnOf(run, "winner");
  const shown = Object.keys(PENALTIES).filter((name) => columnOf(run, name));
  if (!shown.length) return null;
  const figures = shown.map((name) => {
    const values = columnOf(run, name);
    const winners = winner ? values.filter((_, place) => winner[place] === 1) : null;
    return el("figure", { "data-penalty": name }, el("figcaption", null, el("b", null, PENALTIES[name])),
      histogram(values, null, `histogram of ${name}`, winners));
  });
  const whose = run.partial ? ` Of ${run.samples.length} of ${run.rows.rows} candidates.` : "";
  return el("section", { id: "rewards" }, el("h2", null, "Penalties of candidates"),
    el("p", { class: "quiet" }, `Bars: all candidates; line: the winners, as shares of each. A stream that is the same for all decides nothing.${whose}`),
    el("div", { class: "charts" }, figures));
}
