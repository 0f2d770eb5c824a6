// The papers' claims with what became of them, and which of their experiments has runs here.

function runsOf(claim) {
  return data.runs.filter((run) => claim.experiments.some((name) => run.experiments.includes(name)));
}

function claimRow(claim) {
  const found = runsOf(claim);
  const kind = claim.status.replaceAll(" ", "-");
  return el("tr", { "data-status": kind },
    el("td", null, claim.words),
    el("td", null, claim.commands.map((command) => el("code", { class: "command" }, command))),
    el("td", null, el("span", { class: `tag status ${kind}` }, claim.status)),
    el("td", { class: "number" }, found.length ? el("a", { href: runLink("run", found[0]) }, plural(found.length, "run")) : ""));
}

function claimsView() {
  const box = el("div", null);
  const state = { status: "", here: false };
  const redraw = () => {
    const kept = data.claims.filter((claim) => (!state.status || claim.status === state.status) && (!state.here || runsOf(claim).length));
    const papers = [...Map.groupBy(kept, ({ paper }) => paper)];
    box.replaceChildren(...papers.flatMap(([paper, claims]) => [el("h2", null, paper),
      tableBox(el("table", { class: "plain claims" }, el("thead", null, el("tr", null,
        ["claim or question", "command", "status", "here"].map((head) => el("th", { scope: "col", class: head === "here" ? "number" : null }, head)))),
      el("tbody", null, claims.map(claimRow))))]),
    ...(papers.length ? [] : [el("p", { class: "empty" }, "No such claim.")]));
  };
  const statuses = [...new Set(data.claims.map(({ status }) => status))];
  redraw();
  return [el("h1", null, "The papers’ claims"), el("p", { class: "quiet" },
    "As the index that came with this version has them (experiments/README.md); “here”: runs of these experiments on this page. " +
    "A status says what came out when the index was written, not what these runs say."),
  el("div", { class: "bar" }, select("Status", [["", "all"], ...statuses.map((status) => [status, status])], "", (value) => { state.status = value; redraw(); }),
    checkField("with runs here", false, (on) => { state.here = on; redraw(); })), box];
}
