// Paired comparison of two runs, as vlground.metrics.statistics.paired_difference does it: images
// are resampled, not samples, and no interval is given below 20 images. Only the random numbers are
// others (mulberry32, seed 0), so that intervals agree within Monte-Carlo error.

const MIN_IMAGES = 20;
const RESAMPLES = 2000;

function mulberry32(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function quantile(sorted, at) {
  // Linear between the two neighbours, numpy's default.
  const place = at * (sorted.length - 1);
  const low = Math.floor(place);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (place - low) * (sorted[high] - sorted[low]);
}

function perImage(values, images) {
  const sums = new Map();
  values.forEach((value, i) => {
    if (value === null) return;
    const entry = sums.get(images[i]) || [0, 0];
    sums.set(images[i], [entry[0] + value, entry[1] + 1]);
  });
  return [...sums.values()];
}

function bootstrapMean(values, images) {
  const table = perImage(values, images);
  const n = table.reduce((sum, [, count]) => sum + count, 0);
  const value = n ? table.reduce((sum, [total]) => sum + total, 0) / n : null;
  if (table.length < MIN_IMAGES) return { value, low: null, high: null, n, images: table.length };
  const random = mulberry32(0);
  const means = new Float64Array(RESAMPLES);
  for (let resample = 0; resample < RESAMPLES; resample += 1) {
    let sum = 0;
    let count = 0;
    for (let draw = 0; draw < table.length; draw += 1) {
      const drawn = table[Math.floor(random() * table.length)];
      sum += drawn[0];
      count += drawn[1];
    }
    means[resample] = sum / count;
  }
  means.sort();
  const [low, high] = [quantile(means, 0.025), quantile(means, 0.975)];
  return { value, low, high, n, images: table.length };
}

function commonSamples(first, second) {
  // Pairs of places of the samples that both runs have; runs are paired by sample id.
  const pairs = [];
  for (const [place, [id]] of first.samples.entries()) {
    const other = second.placeOf.get(id);
    if (other !== undefined) pairs.push([place, other]);
  }
  return pairs;
}

function pairedDifference(first, second, score, pairs) {
  const values = pairs.map(([i, j]) => {
    const [a, b] = [valueOf(first, score, i), valueOf(second, score, j)];
    return a === null || b === null ? null : a - b;
  });
  const images = pairs.map(([i]) => first.samples[i][1]);
  return { ...bootstrapMean(values, images), values };
}
