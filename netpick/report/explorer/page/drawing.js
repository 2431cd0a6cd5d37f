// A drawing, and how it is brought to the form of the run's own images. No DOM: values from 0 to 1 in Float32Array.
//
// A sheet is what is drawn on: the frame of an image, `cell` times as fine, channel by channel. Its `form` says how the
// run's images lie in their frame (netpick.report.explorer.drawing).

const FINE = 168; // places along the longer side of a sheet

function blankSheet(form, cell = Math.max(1, Math.round(FINE / Math.max(...form.shape.slice(1))))) {
  const [channels, height, width] = form.shape;
  const sheet = {form, cell, channels, height: cell * height, width: cell * width};
  sheet.size = sheet.height * sheet.width;
  sheet.values = new Float32Array(channels * sheet.size);
  for (let c = 0; c < channels; c++) sheet.values.fill(form.paper[c], c * sheet.size, (c + 1) * sheet.size);
  return sheet;
}

// A line between two points, [x, y] in places: how much of each place it covers, where that is more than before.
function cover(covered, sheet, [x0, y0], [x1, y1], width) {
  const dx = x1 - x0, dy = y1 - y0, length = dx * dx + dy * dy, reach = width / 2 + 1;
  const left = Math.max(0, Math.floor(Math.min(x0, x1) - reach));
  const right = Math.min(sheet.width - 1, Math.ceil(Math.max(x0, x1) + reach));
  const bottom = Math.min(sheet.height - 1, Math.ceil(Math.max(y0, y1) + reach));
  for (let y = Math.max(0, Math.floor(Math.min(y0, y1) - reach)); y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      const px = x + 0.5 - x0, py = y + 0.5 - y0, along = length ? between((px * dx + py * dy) / length, 0, 1) : 0;
      const share = between(width / 2 + 0.5 - Math.hypot(px - along * dx, py - along * dy), 0, 1);
      if (share > covered[y * sheet.width + x]) covered[y * sheet.width + x] = share;
    }
  }
}

// Put ink, a value a channel, onto a sheet as far as places are covered.
function paint(sheet, covered, ink) {
  for (let c = 0; c < sheet.channels; c++) {
    for (let i = 0, at = c * sheet.size; i < sheet.size; i++, at++) {
      if (covered[i]) sheet.values[at] += (ink[c] - sheet.values[at]) * covered[i];
    }
  }
}

// A line through points, [x, y] in places.
function stroke(sheet, points, width, ink) {
  const covered = new Float32Array(sheet.size);
  points.forEach((point, i) => cover(covered, sheet, points[Math.max(0, i - 1)], point, width));
  paint(sheet, covered, ink);
}

// How far each place of a sheet is from paper, from 0 to 1.
function inked(sheet) {
  const {paper} = sheet.form;
  return Float32Array.from({length: sheet.size}, (_, i) => {
    let away = 0;
    for (let c = 0; c < sheet.channels; c++) {
      away = Math.max(away, Math.abs(sheet.values[c * sheet.size + i] - paper[c]));
    }
    return away;
  });
}

// Where something is drawn: its box [top, left, bottom, right] and its centre of mass [y, x]; null where nothing is.
function extent(sheet) {
  const ink = inked(sheet);
  let top = Infinity, left = Infinity, bottom = 0, right = 0, mass = 0, my = 0, mx = 0;
  for (let y = 0, i = 0; y < sheet.height; y++) for (let x = 0; x < sheet.width; x++, i++) {
    mass += ink[i];
    my += ink[i] * (y + 0.5);
    mx += ink[i] * (x + 0.5);
    if (ink[i] < 0.1) continue;
    top = Math.min(top, y);
    left = Math.min(left, x);
    bottom = Math.max(bottom, y + 1);
    right = Math.max(right, x + 1);
  }
  return bottom ? {box: [top, left, bottom, right], mass: [my / mass, mx / mass]} : null;
}

// The shares in which the places that a pixel covers, from `start` on and `step` long, make it up: [place, share].
function shares(start, step, places) {
  const out = [], end = start + step;
  for (let i = Math.max(0, Math.floor(start)); i < Math.min(places, end); i++) {
    const share = (Math.min(end, i + 1) - Math.max(start, i)) / step;
    if (share > 0) out.push([i, share]);
  }
  return out;
}

// The image that networks see, channel by channel, where pixel (0, 0) begins at `start` and each is `step` places long.
function imageOf(sheet, start, step) {
  const [channels, height, width] = sheet.form.shape, {paper} = sheet.form;
  const columns = Array.from({length: width}, (_, x) => shares(start[1] + x * step, step, sheet.width));
  const out = new Float32Array(channels * height * width);
  for (let y = 0, o = 0; y < height; y++) {
    const rows = shares(start[0] + y * step, step, sheet.height);
    for (let x = 0; x < width; x++, o++) for (let c = 0; c < channels; c++) {
      let sum = 0;
      for (const [row, tall] of rows) for (const [column, wide] of columns[x]) {
        sum += (sheet.values[c * sheet.size + row * sheet.width + column] - paper[c]) * tall * wide;
      }
      out[c * height * width + o] = paper[c] + sum;
    }
  }
  return out;
}

// The image in the frame as it is.
const asItLies = sheet => imageOf(sheet, [0, 0], sheet.cell);

// The image brought to the size and the place that the run's own images have; null where nothing is drawn.
function fitted(sheet) {
  const {form} = sheet, there = extent(sheet);
  if (!there) return null;
  if (form.filled) return asItLies(sheet);
  const [top, left, bottom, right] = there.box, spans = [bottom - top, right - left];
  const longest = Math.max(...spans, Math.max(sheet.height, sheet.width) / 6); // a dot stays one
  const step = longest / form.size;
  const middle = form.middle === 'mass' ? there.mass : [(top + bottom) / 2, (left + right) / 2];
  const start = [0, 1].map(axis => {
    const first = there.box[axis], room = form.shape[axis + 1] - spans[axis] / step;
    const before = form.centre[axis] - (middle[axis] - first) / step; // pixels between the frame's edge and the box
    return first - step * (room > 0 ? between(before, 0, room) : room / 2);
  });
  return imageOf(sheet, start, step);
}

// Lay a picture, RGBA bytes as large as the sheet, onto it: as it is, or as ink where the run's images are drawn.
function lay(sheet, rgba) {
  const {form} = sheet, colours = sheet.channels === 3;
  const lightness = i => (0.299 * rgba[4 * i] + 0.587 * rgba[4 * i + 1] + 0.114 * rgba[4 * i + 2]) / 255;
  const value = (i, c) => colours ? rgba[4 * i + c] / 255 : lightness(i);
  if (form.filled) {
    for (let at = 0; at < sheet.values.length; at++) {
      sheet.values[at] = value(at % sheet.size, Math.floor(at / sheet.size));
    }
    return;
  }
  const of = what => Float32Array.from({length: sheet.size}, (_, i) => what(i));
  const light = of(lightness), there = of(i => rgba[4 * i + 3] / 255);
  const edge = light.filter((_, i) => there[i] && onEdge(sheet, there, i)).sort();
  const paper = edge.length ? edge[edge.length >> 1] : 1;
  const away = light.map((each, i) => there[i] * Math.abs(each - paper));
  const most = away.reduce((a, b) => Math.max(a, b), 0) || 1;
  paint(sheet, away.map(each => between((each / most - 0.2) / 0.6, 0, 1)), form.ink); // below is the paper's grain
}

// Whether a place of a picture has none of it beside it.
function onEdge({width, size}, there, i) {
  const x = i % width;
  return x === 0 || x === width - 1 || !there[i - 1] || !there[i + 1] || i < width || i >= size - width ||
    !there[i - width] || !there[i + width];
}
