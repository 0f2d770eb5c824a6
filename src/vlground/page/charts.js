// Small charts as inline SVG; colours come from the style sheet.

const BINS = 20;
const JUDGED = [0, 5]; // what a judge can score

function rangeOf(values) {
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  if (low >= 0 && high <= 1) return [0, 1];
  if (low >= -1 && high <= 1) return [-1, 1];
  return [Math.min(0, low), high > low ? high : low + 1];
}

function binned(values, [low, high]) {
  const counts = new Array(BINS).fill(0);
  for (const value of values) {
    counts[Math.min(BINS - 1, Math.floor(((value - low) / (high - low)) * BINS))] += 1;
  }
  return counts;
}

function tick(value) {
  const text = Number.isInteger(value) ? String(value) : value.toFixed(Math.abs(value) < 10 ? 2 : 0);
  return text.replace("-", "−");
}

function outline(counts, most, width, height) {
  // The contour of a second histogram, over the bars of the first.
  const step = width / BINS;
  const points = counts.flatMap((count, i) => {
    const y = height - (count / most) * height;
    return [`${i * step},${y}`, `${(i + 1) * step},${y}`];
  });
  return svg("polyline", { class: "outline", points: `0,${height} ${points.join(" ")} ${width},${height}` });
}

function histogram(values, estimate, title, other = null, ends = null) {
  const kept = values.filter((value) => value !== null);
  const beside = other ? other.filter((value) => value !== null) : [];
  if (!kept.length) return el("p", { class: "quiet" }, "no values");
  const [width, height] = [240, 84];
  const range = ends || rangeOf(kept.concat(beside));
  // Two groups of different sizes are compared as shares of each.
  const share = (counts, all) => (beside.length ? counts.map((count) => count / all.length) : counts);
  const counts = share(binned(kept, range), kept);
  const others = share(binned(beside, range), beside);
  const most = Math.max(...counts, ...others);
  const x = (value) => ((value - range[0]) / (range[1] - range[0])) * width;
  const bars = counts.map((count, i) => svg("rect", {
    class: "bar", x: (i * width) / BINS + 0.5, width: width / BINS - 1,
    y: height - (count / most) * height, height: (count / most) * height,
  }, svg("title", null, beside.length ? percent(count) : String(count))));
  const marks = [];
  if (estimate && estimate.low !== null) {
    marks.push(svg("rect", { class: "band", x: x(estimate.low), y: 0, height,
      width: Math.max(1, x(estimate.high) - x(estimate.low)) }));
  }
  if (estimate && estimate.value !== null) {
    marks.push(svg("line", { class: "mean", x1: x(estimate.value), x2: x(estimate.value), y1: 0, y2: height }));
  }
  const ticks = [[0, range[0], "start"], [width / 2, (range[0] + range[1]) / 2, "middle"], [width, range[1], "end"]];
  return svg("svg", { viewBox: `-2 -14 ${width + 4} ${height + 32}`, role: "img", "aria-label": title, class: "chart" },
    svg("text", { x: 0, y: -4, class: "tick" }, `largest bin ${beside.length ? percent(most) : most}`),
    bars, beside.length ? outline(others, most, width, height) : null, marks,
    svg("line", { class: "axis", x1: 0, x2: width, y1: height, y2: height }),
    ticks.map(([at, value, anchor]) =>
      svg("text", { x: at, y: height + 13, "text-anchor": anchor, class: "tick" }, tick(value))));
}

function whisker(estimate, [low, high], width = 100, zero = null) {
  // A mean and its interval on a line from low to high.
  const height = 12;
  const x = (value) => Math.min(width, Math.max(0, ((value - low) / (high - low)) * width));
  const line = estimate.low === null ? null : svg("rect", { class: "interval", x: x(estimate.low), y: 4, height: 4, rx: 2,
    width: Math.max(1, x(estimate.high) - x(estimate.low)) });
  return svg("svg", { viewBox: `-5 0 ${width + 10} ${height}`, class: "whisker", "aria-hidden": "true" },
    svg("line", { class: "track", x1: 0, x2: width, y1: 6, y2: 6 }),
    zero === null ? null : svg("line", { class: "zero", x1: x(zero), x2: x(zero), y1: 0, y2: height }),
    line, svg("circle", { class: "dot", cx: x(estimate.value), cy: 6, r: 3.2 }));
}

function scatter(points, title, names, onPick, ends = null) {
  // points: [x, y, tooltip, key]
  const side = 320;
  const range = ends || rangeOf(points.flatMap(([x, y]) => [x, y]));
  const at = (value) => ((value - range[0]) / (range[1] - range[0])) * side;
  const seen = new Map();
  const dots = points.map(([x, y, tip, key]) => {
    const place = `${x} ${y}`;
    const again = seen.get(place) || 0;
    seen.set(place, again + 1);
    // Equal points fan out a little: a pointing game has only a few values.
    const [angle, radius] = [again * 2.4, 1.7 * Math.sqrt(again)];
    return svg("circle", { class: "point", r: 4, cx: at(x) + radius * Math.cos(angle),
      cy: side - at(y) + radius * Math.sin(angle), click: () => onPick(key) }, svg("title", null, tip));
  });
  const ticks = range.flatMap((value, i) => [
    svg("text", { class: "tick", x: i * side, y: side + 16, "text-anchor": i ? "end" : "start" }, tick(value)),
    svg("text", { class: "tick", x: -6, y: side - i * (side - 8), "text-anchor": "end" }, tick(value))]);
  return svg("svg", { viewBox: `-44 -12 ${side + 58} ${side + 56}`, class: "chart scatter", role: "img", "aria-label": title },
    svg("rect", { class: "frame", x: 0, y: 0, width: side, height: side }),
    svg("line", { class: "zero", x1: 0, y1: side, x2: side, y2: 0 }), dots, ticks,
    svg("text", { class: "axis-name", x: side / 2, y: side + 32, "text-anchor": "middle" }, names[0]),
    svg("text", { class: "axis-name", x: -side / 2, y: -26, "text-anchor": "middle", transform: "rotate(-90)" }, names[1]));
}
