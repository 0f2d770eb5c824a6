// Ablations: runs that are equal but for one choice form a line over its values.

const ablationState = { axis: null, score: null, panels: null };
const FEW = 8; // lines of a panel that colours can tell apart

function settingKeys() {
  return [...new Set(data.runs.flatMap((run) => Object.keys(run.settings)))];
}

function linesOver(axis, score = null) {
  // Options of what the axis chooses (cam.layer of a CAM) go with it.
  const own = (key) => key === axis || key.startsWith(`${axis}.`);
  const groups = new Map();
  for (const run of data.runs) {
    const estimate = score === null ? null : run.scores[score];
    if (!Object.hasOwn(run.settings, axis) || (score !== null && !estimate)) continue;
    const rest = Object.entries(run.settings).filter(([key]) => !own(key));
    const key = JSON.stringify([run.choices.task, rest]);
    if (!groups.has(key)) groups.set(key, { rest: Object.fromEntries(rest), points: [] });
    groups.get(key).points.push({ run, at: run.settings[axis], estimate });
  }
  return [...groups.values()].filter(({ points }) => new Set(points.map(({ at }) => at)).size > 1);
}

function ablationAxes() {
  // Checksums of the data say nothing to a reader.
  return settingKeys().filter((key) => key !== "data" && key !== "task" && linesOver(key).length);
}

function axisScores(axis) {
  const runs = new Set(linesOver(axis).flatMap(({ points }) => points.map(({ run }) => run)));
  return allScores().filter((score) => [...runs].some((run) => run.scores[score]) && linesOver(axis, score).length);
}

function varying(lines) {
  const keys = [...new Set(lines.flatMap(({ rest }) => Object.keys(rest)))].filter((key) => key !== "data");
  return keys.filter((key) => new Set(lines.map(({ rest }) => rest[key] || "")).size > 1);
}

function panelKey(lines) {
  // What leaves the fewest lines in a panel, without a panel for each line.
  if (lines.length <= FEW) return "";
  const most = (key) => Math.max(...[...Map.groupBy(lines, ({ rest }) => rest[key] || "").values()].map((group) => group.length));
  const keys = varying(lines).filter((key) => most(key) > 1);
  return keys.sort((a, b) => most(a) - most(b))[0] || "";
}

function scaleOf(values) {
  const numbers = values.map(Number);
  const numeric = values.every((value, i) => value !== "" && Number.isFinite(numbers[i]));
  const sorted = [...new Set(values)].sort(compareKeys);
  if (!numeric) return { ticks: sorted, place: (value) => (sorted.indexOf(value) + 0.5) / sorted.length };
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  return { ticks: sorted, place: (value) => 0.06 + (0.88 * (Number(value) - low)) / (high - low || 1) };
}

function niceTicks(low, high) {
  const rough = (high - low) / 4 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= rough);
  const first = Math.ceil(low / step - 1e-9) * step;
  return Array.from({ length: 8 }, (_, i) => first + i * step).filter((value) => value <= high + step * 1e-9);
}

function errorPlot(lines, scale, [low, high], title, nameOf) {
  const [width, height] = [400, 230];
  const y = (value) => height - ((value - low) / (high - low || 1)) * height;
  const slanted = scale.ticks.join("").length > 44;
  const drawn = lines.map((line) => {
    // Lines side by side, so that no interval hides another.
    const shift = (line.colour - (FEW - 1) / 2) * 1.6;
    const points = line.points.map((point) => ({ ...point, x: scale.place(point.at) * width + shift }))
      .sort((a, b) => a.x - b.x);
    const bars = points.filter(({ estimate }) => estimate.low !== null).map(({ x, estimate }) =>
      svg("line", { class: "whisk", x1: x, x2: x, y1: y(estimate.low), y2: y(estimate.high) }));
    const dots = points.map(({ x, at, run, estimate }) => svg("circle", { r: 3.6, cx: x, cy: y(estimate.value),
      click: () => { location.hash = runLink("run", run); } },
    svg("title", null, `${nameOf(line)} · ${at}: ${fixed(estimate.value)}${estimate.low === null ? "" : ` (${fixed(estimate.low)} – ${fixed(estimate.high)})`}`)));
    return svg("g", { class: `line-${line.colour} series` },
      svg("polyline", { points: points.map(({ x, estimate }) => `${x},${y(estimate.value)}`).join(" ") }), bars, dots);
  });
  const ticks = niceTicks(low, high);
  const digits = Math.max(0, -Math.floor(Math.log10(ticks[1] - ticks[0] || 1) + 1e-9));
  const grid = ticks.map((value) => [
    svg("line", { class: "grid-line", x1: 0, x2: width, y1: y(value), y2: y(value) }),
    svg("text", { class: "tick", x: -6, y: y(value) + 3.5, "text-anchor": "end" }, fixed(value, digits))]);
  const names = scale.ticks.map((value) => {
    const x = scale.place(value) * width;
    return svg("text", { class: "tick", x, y: height + 15, "text-anchor": slanted ? "end" : "middle",
      transform: slanted ? `rotate(-32 ${x} ${height + 15})` : null }, value);
  });
  return svg("svg", { viewBox: `-46 -8 ${width + 56} ${height + (slanted ? 84 : 32)}`, class: "chart ablation", role: "img", "aria-label": title },
    grid, svg("line", { class: "axis", x1: 0, x2: width, y1: height, y2: height }), drawn, names);
}

function ablationPanels(axis, score, chosen) {
  const lines = linesOver(axis, score);
  const by = chosen === null ? panelKey(lines) : chosen;
  const inside = varying(lines).filter((key) => key !== by);
  const nameOf = ({ rest }) => inside.map((key) => (key.includes(".") ? `${key}=${rest[key] || "–"}` : rest[key] || "–")).join(" · ");
  const names = [...new Set(lines.map(nameOf))];
  for (const line of lines) line.colour = names.indexOf(nameOf(line)) % FEW;
  const values = lines.flatMap(({ points }) => points.flatMap(({ estimate }) => [estimate.low ?? estimate.value, estimate.high ?? estimate.value]));
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const ends = [least - 0.05 * (most - least), most + 0.05 * (most - least)];
  const scale = scaleOf(lines.flatMap(({ points }) => points.map(({ at }) => at)));
  const panels = [...Map.groupBy(lines, ({ rest }) => rest[by] || "")].sort(([a], [b]) => compareKeys(a, b));
  const legend = names.length > 1 || names[0] ? el("ul", { class: "legend" }, names.slice(0, 4 * FEW).map((name, i) =>
    el("li", { class: `line-${i % FEW}` }, name)), names.length > 4 * FEW ? el("li", { class: "quiet" }, `and ${names.length - 4 * FEW} more`) : null) : null;
  return [names.length > FEW ? el("p", { class: "quiet" }, `${FEW} colours for ${names.length} lines: point at a dot for its name, or choose other panels.`) : null,
    legend, el("div", { class: "panels" }, panels.map(([value, group]) => el("figure", { "data-lines": group.length },
      by ? el("figcaption", null, el("b", null, by.includes(".") ? `${by}=${value}` : value)) : null,
      errorPlot(group, scale, ends, `${label(score)} over ${axis}`, nameOf))))];
}

function ablationView() {
  const axes = ablationAxes();
  if (!axes.length) return [el("h1", null, "Ablations"), el("p", { class: "empty" }, "No two runs differ in one choice alone.")];
  const box = el("div", null);
  const redraw = () => {
    if (!axes.includes(ablationState.axis)) ablationState.axis = axes.find((key) => key.includes(".")) || axes[0];
    const scores = axisScores(ablationState.axis);
    if (!scores.includes(ablationState.score)) ablationState.score = scores.find((name) => data.recommended.includes(name)) || scores[0];
    const { axis, score, panels } = ablationState;
    const others = varying(linesOver(axis, score));
    const by = others.includes(panels) || panels === "" ? panels : null;
    const change = (name) => (value) => { ablationState[name] = value === "auto" ? null : value; redraw(); };
    box.replaceChildren(
      el("div", { class: "bar" }, select("Over", axes.map((key) => [key, key]), axis, change("axis")),
        select("Score", scores.map((name) => [name, label(name)]), score, change("score")),
        others.length ? select("Panels", [["auto", "as many as it takes"], ["", "one"], ...others.map((key) => [key, key])], by ?? "auto", change("panels")) : null),
      ...ablationPanels(axis, score, by).filter(Boolean));
  };
  redraw();
  return [el("h1", null, "Ablations"), el("p", { class: "quiet" },
    "Runs that are equal but for one choice form a line over its values. Bars: 95 % intervals, each run alone; two runs that share samples " +
    "are told apart better under Compare, where they are paired. Click a dot for its run."), box];
}
