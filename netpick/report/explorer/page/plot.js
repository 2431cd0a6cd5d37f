// What is drawn on canvases shares: sharp pixels, the page's colours, markers, axes with their ticks.

// What is looked up while things change would have the browser lay the page out anew each time: so it is kept.
const colours = new Map();
const sizes = new WeakMap();
const dark = matchMedia('(prefers-color-scheme: dark)');
dark.addEventListener('change', () => colours.clear());

/** Return a colour of the page, by the name of its variable. */
function colour(name) {
  const style = () => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  if (!colours.has(name)) colours.set(name, style());
  return colours.get(name);
}

/** Return the size of an element, within its borders, in CSS pixels. */
function sizeOf(element) {
  if (!sizes.has(element)) sizes.set(element, {width: element.clientWidth, height: element.clientHeight});
  return sizes.get(element);
}

/** Fit a canvas to the size of an element; returns its context, in CSS pixels, with width and height. */
function sharp(canvas, element) {
  const {width, height} = sizeOf(element), scale = devicePixelRatio || 1;
  const [w, h] = [width, height].map(side => Math.max(1, Math.round(side * scale)));
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, {width: w, height: h});
  const context = canvas.getContext('2d');
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return {context, width, height};
}

/** Call `draw` when an element changes its size, or the page its colours. */
function redrawn(element, draw) {
  new ResizeObserver(() => { sizes.delete(element); draw(); }).observe(element);
  dark.addEventListener('change', () => draw());
}

const polygon = (n, turn) => Array.from({length: n}, (_, i) => {
  const angle = (turn + 360 * i / n) * Math.PI / 180;
  return [Math.cos(angle), Math.sin(angle)];
});
const cross = w => [
  [-w, -1], [w, -1], [w, -w], [1, -w], [1, w], [w, w], [w, 1], [-w, 1], [-w, w], [-1, w], [-1, -w], [-w, -w],
];
const turned = points => points.map(([x, y]) => [(x - y) * Math.SQRT1_2, (x + y) * Math.SQRT1_2]);

/** Shapes by matplotlib's letters, within a circle of radius 1 or so. */
const SHAPES = {
  's': [[-.85, -.85], [.85, -.85], [.85, .85], [-.85, .85]], 'D': polygon(4, 0).map(([x, y]) => [1.15 * x, 1.15 * y]),
  'd': polygon(4, 0).map(([x, y]) => [.75 * x, 1.25 * y]), '^': polygon(3, -90).map(([x, y]) => [1.15 * x, 1.15 * y]),
  'v': polygon(3, 90).map(([x, y]) => [1.15 * x, 1.15 * y]), '<': polygon(3, 180), '>': polygon(3, 0),
  'P': cross(.36), 'X': turned(cross(.36)), 'h': polygon(6, 90), 'H': polygon(6, 0), 'p': polygon(5, -90),
  '8': polygon(8, 22.5),
};
const BY_ACTIVATION = 'os^DPXvhp<>d';

/** Trace a shape of a radius around a point. */
function trace(context, shape, x, y, radius) {
  context.beginPath();
  const points = SHAPES[shape];
  if (!points) context.arc(x, y, radius, 0, 2 * Math.PI);
  else points.forEach(([dx, dy], i) => context[i ? 'lineTo' : 'moveTo'](x + radius * dx, y + radius * dy));
  context.closePath();
}

/** Return a small picture of a marker, for legends. */
function markerIcon(shape, fillColour) {
  const canvas = el('canvas', {width: 32, height: 32, className: 'icon', aria: {hidden: 'true'}});
  const context = canvas.getContext('2d');
  trace(context, shape, 16, 16, 11);
  context.fillStyle = fillColour;
  context.fill();
  context.strokeStyle = '#8a8f98';
  context.lineWidth = 2;
  context.stroke();
  return canvas;
}

/** The shape of a network: by its computation or its activation. */
function shapeOf(network, by) {
  if (by === 'computation') return networks.style.get(networks.computation[network]).marker;
  return activationShape(networks.activation[network]);
}

function activationShape(name) { return BY_ACTIVATION[head.look.activations.indexOf(name) % BY_ACTIVATION.length]; }

/** A scale of a column: linear, logarithmic, or for shares spread out towards 100 %. */
class Scale {
  constructor(column) {
    this.column = column;
    const marked = column in head.marks, epochs = marked ? [...Array(head.epochs).keys()] : [head.epochs - 1];
    const values = epochs.flatMap(epoch => networks.values(column, epoch)).filter(Number.isFinite);
    this.kind = ['accuracy', 'worst_class'].includes(column) ? 'share' : spansDecades(values) ? 'log' : 'linear';
    this.least = 0.4 / Math.max(head.of, 20);
    const low = Math.min(...values), high = Math.max(...values);
    const [a, b] = [this.bent(low), this.bent(high)], room = (b - a || 1) * 0.04;
    this.from = a - room;
    this.to = b + room;
    Object.assign(this, {low, high});
  }

  bent(value) {
    if (this.kind === 'log') return Math.log10(value);
    return this.kind === 'share' ? -Math.log10(Math.max(1 - value, this.least)) : value;
  }

  /** The place of a value, from 0 to 1. */
  at(value) { return (this.bent(value) - this.from) / (this.to - this.from); }

  /** The value at a place. */
  value(at) {
    const bent = this.from + at * (this.to - this.from);
    if (this.kind === 'log') return 10 ** bent;
    return this.kind === 'share' ? 1 - 10 ** -bent : bent;
  }

  text(value) {
    return this.kind === 'share' ? `${+(100 * value).toFixed(2)} %` : short(value);
  }

  /** Return ticks that people read, about as many as there is room for. */
  ticks(most) {
    if (this.low === this.high) return [this.low];
    const within = value => this.at(value) >= 0 && this.at(value) <= 1;
    let out;
    if (this.kind === 'share') out = [0, .2, .4, .5, .6, .7, .8, .9, .95, .98, .99, .995, .998, .999, 1];
    else if (this.kind === 'log') out = decades(this.value(0), this.value(1));
    else out = steps(this.value(0), this.value(1), most);
    out = out.filter(within);
    if (this.kind === 'share' && out.length < 2) out = steps(this.low, this.high, most);
    const spaced = [];
    for (const value of this.kind === 'share' ? out.reverse() : out) {
      if (!spaced.length || Math.abs(this.at(value) - this.at(spaced.at(-1))) > 0.75 / most) spaced.push(value);
    }
    return spaced;
  }
}

function decades(low, high) {
  const out = [], some = Math.log10(high / low) > 2.5 ? [1] : [1, 2, 5];
  for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e++) out.push(...some.map(m => +`${m}e${e}`));
  return out;
}

function steps(low, high, most) {
  const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(m => m * power).find(each => each >= rough);
  const out = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) out.push(+(k * step).toPrecision(12));
  return out;
}

/** Write a value of an axis: 20k, 1.5M, 0.002. */
function short(value) {
  const [size, letter] = [[1e9, 'G'], [1e6, 'M'], [1e3, 'k']].find(([each]) => Math.abs(value) >= each) ?? [1, ''];
  return `${+(value / size).toPrecision(3)}${letter}`;
}

/** The font of texts on canvases: that of the page, somewhat smaller. */
function font(weight = 400, size = .78 * parseFloat(getComputedStyle(document.documentElement).fontSize)) {
  return `${weight} ${size}px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif`;
}

/** Draw a line of values over the epochs, with a dot each; `to` brings [epoch, value] to pixels. */
function drawCurve(context, values, to, stroke, dash = []) {
  context.strokeStyle = context.fillStyle = stroke;
  context.lineWidth = 2;
  context.setLineDash(dash);
  context.beginPath();
  values.forEach((value, e) => context[e ? 'lineTo' : 'moveTo'](...to(e, value)));
  context.stroke();
  context.setLineDash([]);
  values.forEach((value, e) => { context.beginPath(); context.arc(...to(e, value), 3, 0, 7); context.fill(); });
}
