// The board: a sheet that is drawn on with mouse, finger, pen or keys, or that a picture or a sample is laid on.
//
// What lies on it is a drawing: {d: [[width, points, ink]...], i: sample, p: picture}, all of it optional. Points are
// bytes in base64, two a point, ink is left out where it is the form's own; pictures are kept while the page is open.

const pictures = [];

const pointsText = (points, longest) => btoa(String.fromCharCode(
  ...points.flat().map(at => Math.round(between(at / longest, 0, 1) * 255))));

function pointsFrom(text, longest) {
  let bytes;
  try { bytes = atob(text); } catch { return []; }
  const at = i => bytes.charCodeAt(i) / 255 * longest;
  return Array.from({length: bytes.length >> 1}, (_, i) => [at(2 * i), at(2 * i + 1)]);
}

/** The lines of a drawing, which may come from anyone's address. */
const linesOf = drawing => (Array.isArray(drawing.d) ? drawing.d : []).filter(line => Array.isArray(line) &&
  Number.isFinite(line[0]) && typeof line[1] === 'string' && (line[2] === undefined || /^#[0-9a-f]{6}$/.test(line[2])));

const colourOf = ink => `#${ink.map(value => Math.round(255 * value).toString(16).padStart(2, '0')).join('')}`;
const inkOf = colour => [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16) / 255);

class Board {
  /** `drawn(sheet)` is called whenever the sheet looks different, `kept(drawing)` when a drawing is to be kept. */
  constructor(form, {drawn, kept}) {
    Object.assign(this, {form, drawn, kept, drawing: {}, lines: [], base: blankSheet(form), sheet: blankSheet(form)});
    this.longest = Math.max(this.sheet.width, this.sheet.height);
    this.cursor = [this.sheet.width / 2, this.sheet.height / 2];
    this.canvas = el('canvas', {
      className: 'board', tabIndex: 0, width: this.sheet.width, height: this.sheet.height, role: 'application',
      aria: {
        label: 'Board to draw on',
        roledescription: 'drawing board',
        description: 'Arrow keys move the pen, the space bar held down draws, Backspace undoes, Delete clears',
      },
      on: {
        pointerdown: event => this.press(event), pointermove: event => this.move(event),
        pointerup: () => this.lift(), pointercancel: () => this.lift(),
        keydown: event => this.key(event), keyup: event => { if (event.key === ' ') this.lift(); },
        focus: () => this.show(), blur: () => { this.lift(); this.steered = false; this.show(); },
      },
    });
    const thick = form.filled ? Math.max(...form.shape.slice(1)) / 12 : form.pen;
    this.width = el('input', {type: 'range', min: 0.5, max: 2.5, step: 0.25, value: 1});
    this.pen = () => Math.max(1, thick * this.sheet.cell * this.width.value);
    this.colour = el('input', {type: 'color', value: colourOf(form.ink.length === 3 ? form.ink : [1, 1, 1])});
    this.undoing = button('Undo', () => this.undo());
    this.clearing = button('Clear', () => this.kept({}));
    this.file = el('input', {
      type: 'file', accept: 'image/*', aria: {label: 'Image file'}, on: {change: () => this.take(this.file.files)},
    });
    this.tools = el('div', {className: 'tools'},
      this.undoing, this.clearing, this.file,
      el('label', {}, 'Pen ', this.width), form.shape[0] === 3 ? el('label', {}, 'Ink ', this.colour) : null);
    this.element = el('div', {
      on: {
        dragover: event => event.preventDefault(),
        drop: event => { event.preventDefault(); this.take(event.dataTransfer.files); },
      },
    }, this.canvas, this.tools);
    this.lay({});
  }

  get ink() { return this.form.shape[0] === 3 ? inkOf(this.colour.value) : this.form.ink; }

  /** Whether the sheet has no drawing, no picture and no sample on it. */
  get blank() { return !this.line && !this.lines.length && !this.layered; }

  /** The image that networks see: what was laid in the frame of a sample stays there; null where there is nothing. */
  get image() { return this.blank ? null : this.framed ? asItLies(this.sheet) : fitted(this.sheet); }

  /** Put a drawing onto the sheet, unless it is there. */
  lay(drawing) {
    if (JSON.stringify(drawing) === this.shown) return;
    this.shown = JSON.stringify(drawing);
    this.drawing = drawing;
    this.line = null;
    this.lines = linesOf(drawing);
    const sheet = this.base = blankSheet(this.form), picture = pictures[drawing.p];
    this.framed = samples.images && Number.isInteger(drawing.i) && drawing.i >= 0 && drawing.i < samples.count;
    this.layered = this.framed || picture instanceof Uint8ClampedArray;
    if (this.framed) laySample(sheet, drawing.i);
    else if (this.layered) lay(sheet, picture);
    for (const [width, points, ink] of this.lines) {
      const wide = between(width, 1, this.longest);
      stroke(sheet, pointsFrom(points, this.longest), wide, ink ? inkOf(ink) : this.form.ink);
    }
    this.sheet.values.set(sheet.values);
    this.undoing.disabled = this.clearing.disabled = this.blank;
    this.show();
    this.drawn(this);
  }

  show() {
    const {width, height, channels, values} = this.sheet, context = this.canvas.getContext('2d');
    showImage(this.canvas, [channels, height, width], values);
    if (!this.steered || document.activeElement !== this.canvas) return;
    context.lineWidth = 2; // seen on any ground: white around black
    for (const [colour, radius] of [['#fff', 2], ['#000', 0]]) {
      context.strokeStyle = colour;
      context.beginPath();
      context.arc(...this.cursor, this.pen() / 2 + radius, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  at(event) {
    const {left, top, width, height} = this.canvas.getBoundingClientRect();
    return [(event.clientX - left) / width * this.sheet.width, (event.clientY - top) / height * this.sheet.height];
  }

  press(event) {
    if (event.button) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.steered = false;
    this.begin(this.at(event));
  }

  move(event) {
    if (!this.line) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) this.draw(this.at(each));
  }

  begin(point) {
    this.line = {points: [], covered: new Float32Array(this.sheet.size), width: this.pen(), ink: this.ink};
    this.draw(point);
  }

  draw(point) {
    const {points, covered, width, ink} = this.line, last = points.at(-1) ?? point;
    if (points.length && Math.hypot(point[0] - last[0], point[1] - last[1]) < 1) return;
    cover(covered, this.sheet, last, point, width);
    points.push(point);
    this.sheet.values.set(this.base.values);
    paint(this.sheet, covered, ink);
    this.show();
    this.drawn(this);
  }

  /** The line is done: keep it with those before. */
  lift() {
    if (!this.line) return;
    const {points, width, ink} = this.line, own = this.form.shape[0] === 3 ? [colourOf(ink)] : [];
    this.line = null;
    this.kept({...this.drawing, d: [...this.lines, [Math.round(width), pointsText(points, this.longest), ...own]]});
  }

  undo() {
    const {d, ...under} = this.drawing;
    this.kept(this.lines.length > 1 ? {...under, d: this.lines.slice(0, -1)} : this.lines.length ? under : {});
  }

  key(event) {
    const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) {
      if (event.key !== 'z' || event.altKey) return;
      this.undo();
    } else if (step) {
      const by = this.sheet.cell / (event.shiftKey ? 4 : 1), {width, height} = this.sheet;
      this.cursor = [width, height].map((most, axis) => between(this.cursor[axis] + by * step[axis], 0, most));
      if (this.line) this.draw(this.cursor);
    } else if (event.key === ' ') {
      if (!this.line) this.begin(this.cursor);
    } else if (event.key === 'Backspace') this.undo();
    else if (event.key === 'Delete') this.kept({});
    else return;
    event.preventDefault();
    this.steered = true;
    this.show();
  }

  /** Lay the first of some files onto the sheet, as large as it can be there. */
  async take([file]) {
    if (!file) return;
    let bitmap;
    try { bitmap = await createImageBitmap(file); } catch {
      app.say(`${file.name} is no image that this browser can read.`);
      return;
    } finally { this.file.value = ''; }
    const {width, height} = this.sheet, context = new OffscreenCanvas(width, height).getContext('2d');
    const zoom = (this.form.filled ? Math.max : Math.min)(width / bitmap.width, height / bitmap.height);
    const size = [bitmap.width * zoom, bitmap.height * zoom];
    context.imageSmoothingQuality = 'high';
    context.drawImage(bitmap, (width - size[0]) / 2, (height - size[1]) / 2, ...size);
    this.kept({p: pictures.push(context.getImageData(0, 0, width, height).data) - 1});
  }
}

/** Lay a sample of the run onto a sheet, which has its frame. */
function laySample(sheet, sample) {
  const pixels = samples.pixels(sample), {width, height, channels} = samples;
  for (let y = 0, at = 0; y < sheet.height; y++) for (let x = 0; x < sheet.width; x++, at++) {
    const from = Math.floor(y * height / sheet.height) * width + Math.floor(x * width / sheet.width);
    for (let c = 0; c < sheet.channels; c++) sheet.values[c * sheet.size + at] = pixels[from * channels + c] / 255;
  }
}

/** Show an image of a shape, values from 0 to 1 channel by channel, in a canvas of its size. */
function showImage(canvas, [channels, height, width], values) {
  const picture = new ImageData(width, height), size = height * width;
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) picture.data[4 * i + c] = Math.round(255 * values[channels === 3 ? c * size + i : i]);
    picture.data[4 * i + 3] = 255;
  }
  canvas.getContext('2d').putImageData(picture, 0, 0);
}
