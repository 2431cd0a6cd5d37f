// Numbers: as they are written, and what is computed of them. No data of the run is known here.

const whole = n => Math.round(n).toLocaleString('en-US');
const TINY = 1e-9; // a share of exactly 0.9 must not count as more because of its last bit
const percent = (share, digits = 1) => Number.isFinite(share) ? `${(100 * share).toFixed(digits)} %` : '';

/** Write any number briefly: 12,345 or 0.0123. */
function brief(n) {
  if (n === null || !Number.isFinite(n)) return '';
  if (Math.abs(n) >= 1e9) return `${+(n / 1e9).toPrecision(3)} G`;
  if (Math.abs(n) >= 1e6) return `${+(n / 1e6).toPrecision(3)} M`;
  if (Math.abs(n) >= 1000 || Number.isInteger(n)) return whole(n);
  return n.toPrecision(3).replace(/(\.\d*?)0+$/, '$1').replace(/\.$/, '');
}

/** Write a number of things: 1 network, 2 networks. */
const counted = (n, word) => `${whole(n)} ${word}${n === 1 ? '' : 's'}`;

/** Return the percentage of values below one, those equal to it counted half. */
function percentile(values, value) {
  let below = 0, equal = 0, all = 0;
  for (const each of values) {
    if (!Number.isFinite(each)) continue;
    all++;
    if (each < value) below++;
    else if (each === value) equal++;
  }
  return all ? 100 * (below + equal / 2) / all : NaN;
}

/** Return log n! for n from 0 to `most`. */
function logFactorials(most) {
  const out = new Float64Array(most + 1);
  for (let n = 2; n <= most; n++) out[n] = out[n - 1] + Math.log(n);
  return out;
}

/** Return McNemar's mid-p value from how many samples only the one, and only the other, gets right. */
function mcnemar(onlyA, onlyB) {
  const n = onlyA + onlyB, fewer = Math.min(onlyA, onlyB), logs = logFactorials(n);
  const chance = k => Math.exp(logs[n] - logs[k] - logs[n - k] - n * Math.LN2);
  let tail = 0;
  for (let k = 0; k <= fewer; k++) tail += chance(k);
  return Math.min(1, 2 * tail - chance(fewer));
}

/** Whether all values are positive and spread so widely that a log axis shows them better. */
function spansDecades(values, factor = 30) {
  const known = values.filter(Number.isFinite), low = Math.min(...known), high = Math.max(...known);
  return known.length > 0 && low > 0 && high > factor * low;
}

/** Return places of 0 to n - 1, ordered by a key, smallest first; equals stay in order. */
function orderBy(n, key) {
  const keys = Float64Array.from({length: n}, (_, i) => key(i));
  return Uint32Array.from({length: n}, (_, i) => i).sort((a, b) => keys[a] - keys[b] || a - b);
}
