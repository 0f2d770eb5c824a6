"""The suite written down as literally as the paper's formulas read: one pixel at a time.

Slow and plain on purpose; it shares no code with the package. Tests compare against it and
`benchmarks/metrics.py` times it.
"""

import math


def scores(raw, boxes, options):
    """Scores of one map (nested lists of floats) and its boxes, for a map that can be scored."""
    a = normalised(raw, options)
    height, width = len(a), len(a[0])
    m = mask(boxes, height, width, options)
    d = distances(m, options)
    result = {"area": sum(map(sum, m)) / (height * width)}
    for kind, x in (("soft", a), ("binary", binary(a, options))):
        result.update({f"{name}_{kind}": v for name, v in overlap(x, m, d, options).items()})
    inside = outside = 0.0
    for i in range(height):
        for j in range(width):
            inside += a[i][j] * m[i][j]
            outside += a[i][j] * (1 - m[i][j])
    total = inside + outside
    result["io_ratio"] = inside / total if total else math.nan
    result["io_lift"] = result["io_ratio"] / result["area"]
    result["pointing_game"] = pointing_game(a, m, options)
    result.update(peak_scores(a, m, options))
    return result


def normalised(raw, options):
    values = [v for row in raw for v in row]
    low, high = min(values), max(values)
    if options.normalise == "minmax":
        return [[(v - low) / (high - low) for v in row] for row in raw]
    if options.normalise == "max":
        return [[max(0.0, v / high) for v in row] for row in raw]
    return [[max(0.0, v) for v in row] for row in raw]


def binary(a, options):
    t = options.threshold
    return [[float(v > t if options.threshold_strict else v >= t) for v in row] for row in a]


def mask(boxes, height, width, options):
    """Per pixel and box, by the pixel's centre or its corners."""
    boxes = [b for b in boxes if b[0] < b[2] and b[1] < b[3]]
    boxes = [b for b in boxes if b[2] > 0 and b[3] > 0 and b[0] < width and b[1] < height]
    if options.box_merge == "merged" and boxes:
        x0, y0, x1, y1 = zip(*boxes, strict=True)
        boxes = [(min(x0), min(y0), max(x1), max(y1))]
    # The image ends the box: a pixel at the edge that sticks out of nothing is wholly inside.
    boxes = [(max(b[0], 0), max(b[1], 0), min(b[2], width), min(b[3], height)) for b in boxes]
    m = [[0] * width for _ in range(height)]
    for i in range(height):
        for j in range(width):
            for x0, y0, x1, y1 in boxes:
                if options.box_edge == "centre":
                    hit = x0 <= j + 0.5 < x1 and y0 <= i + 0.5 < y1
                elif options.box_edge == "outward":
                    hit = j + 1 > x0 and j < x1 and i + 1 > y0 and i < y1
                else:
                    hit = j >= x0 and j + 1 <= x1 and i >= y0 and i + 1 <= y1
                m[i][j] |= hit
    return m


def distances(m, options):
    """To the nearest pixel of the mask; only the mask's rim can be nearest, which saves hours."""
    height, width = len(m), len(m[0])

    def interior(i, j):
        around = [(i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
        return all(0 <= y < height and 0 <= x < width and m[y][x] for y, x in around)

    pixels = [(i, j) for i in range(height) for j in range(width) if m[i][j]]
    if options.box_merge == "merged":  # one rectangle: the paper's D = max(0, …) + max(0, …)
        top, bottom = pixels[0][0], pixels[-1][0]
        left, right = min(j for _, j in pixels), max(j for _, j in pixels)

        def nearest(i, j):
            dy, dx = max(0, top - i, i - bottom), max(0, left - j, j - right)
            return length(dy, dx, options.wdp_distance)

    else:
        rim = [p for p in pixels if not interior(*p)]

        def nearest(i, j):
            if m[i][j]:
                return 0
            return min(length(abs(i - y), abs(j - x), options.wdp_distance) for y, x in rim)

    unit = math.hypot(height, width) if options.wdp_unit == "diagonal" else 1
    return [[nearest(i, j) / unit for j in range(width)] for i in range(height)]


def length(dy, dx, metric):
    if metric == "manhattan":
        return dy + dx
    return math.sqrt(dy * dy + dx * dx) if metric == "euclidean" else max(dy, dx)


def overlap(x, m, d, options):
    inter = mass = area = penalty = 0.0
    for i in range(len(x)):
        for j in range(len(x[0])):
            inter += x[i][j] * m[i][j]
            mass += x[i][j]
            area += m[i][j]
            penalty += x[i][j] * d[i][j] * (1 - m[i][j])
    s = options.smooth
    wdp = {
        "mass": lambda: penalty / (penalty + inter),
        "area": lambda: penalty / (penalty + area),
        "exponential": lambda: 1 - math.exp(-penalty / area),
        "mean": lambda: penalty / mass,
    }[options.wdp_normalisation]
    return {
        "iou": (inter + s) / (mass + area - inter + s),
        "dice": (2 * inter + s) / (mass + area + s),
        "wdp": wdp() if mass else math.nan,
    }


def pointing_game(a, m, options):
    top = max(map(max, a))
    hits = []
    for i in range(len(a)):
        for j in range(len(a[0])):
            if a[i][j] >= top * (1 - options.tie_tolerance):
                hits.append(bool(m[i][j]))
    if options.tie == "expected":
        return sum(hits) / len(hits)
    return float({"any": any(hits), "all": all(hits), "first": hits[0]}[options.tie])


def peaks(a, threshold, distance):
    """(value, row, column) of the local maxima that survive suppression, largest first."""
    height, width = len(a), len(a[0])
    seen, found = set(), []
    for i in range(height):
        for j in range(width):
            if a[i][j] <= threshold or (i, j) in seen:
                continue
            plateau, is_peak, todo = [], True, [(i, j)]
            seen.add((i, j))
            while todo:
                y, x = todo.pop()
                plateau.append((y, x))
                for v in range(max(0, y - 1), min(height, y + 2)):
                    for u in range(max(0, x - 1), min(width, x + 2)):
                        if a[v][u] > a[y][x]:
                            is_peak = False
                        elif a[v][u] == a[y][x] and (v, u) not in seen:
                            seen.add((v, u))
                            todo.append((v, u))
            if is_peak:
                n, ys, xs = len(plateau), sum(y for y, _ in plateau), sum(x for _, x in plateau)
                point = min((((n * y - ys) ** 2 + (n * x - xs) ** 2), y, x) for y, x in plateau)
                found.append((a[i][j], *point[1:]))
    found.sort(key=lambda peak: (-peak[0], peak[1], peak[2]))
    kept = []
    for value, y, x in found:
        if all((y - v) ** 2 + (x - u) ** 2 > distance**2 for _, v, u in kept):
            kept.append((value, y, x))
    return kept


def peak_scores(a, m, options):
    unit = math.hypot(len(a), len(a[0])) if options.peak_unit == "diagonal" else 1
    kept = peaks(a, options.peak_threshold, options.peak_distance * unit)
    if not kept:
        return {"n_peaks": 0, "pg_uncertainty": math.nan, "margin": math.nan}
    inside = [v for v, y, x in kept if m[y][x]]
    outside = [v for v, y, x in kept if not m[y][x]]
    best = kept[0][0] * (1 - options.tie_tolerance)
    return {
        "n_peaks": len(kept),
        "pg_uncertainty": float(any(v >= best for v in inside) and any(v >= best for v in outside)),
        "margin": max(inside, default=0) - max(outside, default=0),
    }
