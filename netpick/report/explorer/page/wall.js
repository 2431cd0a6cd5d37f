// The samples as a wall of images, tinted by the share of the selection that has each right, in an order, filtered.
//
// Only what is in sight is drawn: in the images' own pixels into one small canvas, which is then enlarged at once.

const ORDERS = {
  difficulty: ['fewest right first', t => s => t.right[s]],
  entropy: ['entropy of the votes', t => s => -t.entropy[s]],
  weird: ['agreement on one wrong answer', t => s => -t.mistake(s)[1]],
  confusing: ['disagreement', t => s => t.of(s)[t.answer[s]]],
  ability: ['difficulty by ability', () => s => -(samples.difficulty[s] ?? -Infinity)],
  apart: ['wrong here, right for the others', (t, others) => s =>
    t.right[s] / t.count - others.right[s] / (others.count || 1)],
  label: ['class', () => s => samples.label[s]],
};

const KINDS = {
  easy: ['easy', 'all of the selection are right', (t, s) => t.right[s] === t.count],
  weird: ['weird', 'nearly all are wrong, with one answer', (t, s) => {
    const wrong = t.count - t.right[s], {wrong: most, same} = head.thresholds;
    return wrong / t.count > most + TINY && t.mistake(s)[1] / wrong >= same - TINY;
  }],
  confusing: ['confusing', 'no answer has half of the votes', (t, s) =>
    t.of(s)[t.answer[s]] / t.count < head.thresholds.top - TINY && t.entropy[s] >= head.thresholds.entropy - TINY],
  suspect: ['suspect', 'its label is probably wrong', (_, s) => samples.suspect[s]],
};

keep('order', {key: 'by', initial: () => 'difficulty', ...oneOf(...Object.keys(ORDERS))});
keep('only', {key: 'only', initial: () => ({}), ...asJson(value => isObject(value) &&
  [value.truth, value.vote].every(c => c === undefined || isWithin(c, head.classes.length)))});
keep('picked', {key: 'p', initial: () => [],
  ...asJson(value => Array.isArray(value) && value.every(s => isWithin(s, head.samples)))});

const wall = {
  title: 'Samples', zoom: 0, scrolled: 0, order: [],

  mount(root) {
    const classes = [['', 'any'], ...head.classes.map((name, c) => [String(c), name])];
    const field = (label, key) => choice(label, classes, '',
      value => this.only({[key]: value === '' ? undefined : +value}));
    const known = Object.entries(ORDERS).filter(([name]) => name !== 'ability' || head.has.ability);
    this.fields = {
      order: choice('Order', known.map(([name, [text]]) => [name, text]), 'difficulty',
        value => app.set({order: value})),
      truth: field('Class', 'truth'), vote: field('Vote', 'vote'),
    };
    const kinds = Object.entries(KINDS).filter(([name]) => name !== 'suspect' || head.has.suspects);
    this.kinds = kinds.map(([name, [text, title]]) => {
      const chip = button(text, () => this.only({kind: app.state.only.kind === name ? undefined : name}),
        {className: 'chip', title});
      chip.kind = name;
      return chip;
    });
    this.canvas = el('canvas', {aria: {hidden: 'true'}});
    this.spacer = el('div');
    this.scroller = el('div', {className: 'wall', id: 'wall', tabIndex: 0, role: 'application',
      aria: {label: 'Wall of the samples', describedby: 'wall-help'}}, this.canvas, this.spacer);
    this.note = el('p', {className: 'small', id: 'wall-note'});
    this.bar = el('p', {className: 'picked', hidden: true});
    this.listing = new Listing('The samples as a table', [
      ['sample', s => samples.sample[s], true], ['class', s => head.classes[samples.label[s]]],
      ['right', s => percent(app.tally().share(s)), true], ['vote', s => head.classes[app.tally().answer[s]]],
      ['entropy, bits', s => app.tally().entropy[s].toFixed(2), true],
      ...head.has.ability ? [['difficulty', s => brief(samples.difficulty[s]), true]] : [],
    ], () => this.order, s => app.set({sample: s}));
    const resize = by => () => { this.zoom = Math.max(-2, Math.min(4, this.zoom + by)); this.draw(); };
    root.append(el('div', {className: 'head'}, el('h2', {}, this.title), el('div', {className: 'controls'},
      this.fields.order, this.fields.truth, this.fields.vote,
      el('div', {className: 'group', role: 'group', aria: {label: 'Kinds of samples'}}, this.kinds),
      el('div', {className: 'group', role: 'group', aria: {label: 'Size of the images'}},
        button('−', resize(-1), {aria: {label: 'Smaller images'}}),
          button('+', resize(1), {aria: {label: 'Larger images'}})))),
      this.scroller, this.note, this.bar,
      help('wall-help', 'The redder an image and the longer its bar, the more of the selection have it wrong. ' +
        'Click for one image, Shift-click to pick several. Keys: arrows, Page Up and Down, Home, End; Space picks.'),
      this.listing.element);
    this.scroller.addEventListener('scroll', () => { this.scrolled = this.scroller.scrollTop; this.draw(); },
      {passive: true});
    this.scroller.addEventListener('click', event => this.click(event));
    this.scroller.addEventListener('keydown', event => this.key(event));
    redrawn(this.scroller, () => this.draw());
  },

  only(some) {
    const only = {...app.state.only, ...some};
    for (const [key, value] of Object.entries(only)) if (value === undefined) delete only[key];
    return app.set({only});
  },

  update(_, changed) {
    const voted = changed.has('selection') || changed.has('epoch');
    if (voted || changed.has('order') || changed.has('only')) {
      const {order, only} = app.state;
      this.fields.order.field.value = order;
      for (const key of ['truth', 'vote']) this.fields[key].field.value = only[key] ?? '';
      for (const chip of this.kinds) chip.setAttribute('aria-pressed', only.kind === chip.kind);
      this.arrange();
      this.listing.update();
    }
    if (changed.has('picked') || voted) this.pick();
    if (changed.has('sample')) this.reveal();
    this.draw();
  },

  /** Work out which samples are shown, in which order. */
  arrange() {
    const {only, selection} = app.state, tally = app.tally();
    const others = app.state.order === 'apart' && answers.tally(app.state.epoch, selection.map(value => 1 - value));
    const key = ORDERS[app.state.order][1](tally, others);
    const kind = KINDS[only.kind]?.[2];
    const meets = s => (only.truth === undefined || samples.label[s] === only.truth) &&
      (only.vote === undefined || tally.answer[s] === only.vote) && (!kind || (tally.count > 0 && kind(tally, s)));
    this.order = Array.from(orderBy(head.samples, key)).filter(meets);
    this.at = new Map(this.order.map((s, place) => [s, place]));
    fill(this.note, `${whole(this.order.length)} of ${counted(head.samples, 'sample')}, ${ORDERS[app.state.order][0]}` +
      (tally.count ? '' : '; no network is selected'));
  },

  /** How large a tile is, and how many are in a row. */
  grid() {
    const wide = sizeOf(this.scroller).width, aspect = samples.height / samples.width;
    const wanted = Math.max(34, Math.min(64, wide / 14)) * 1.25 ** this.zoom / Math.min(1, Math.sqrt(aspect));
    const columns = Math.max(1, Math.round(wide / wanted)), width = wide / columns;
    return {columns, width, height: width * aspect, wide};
  },

  draw() {
    const {columns, width, height, wide} = this.grid(), high = sizeOf(this.scroller).height;
    if (!wide || !app.state.selection) return;
    this.spacer.style.height = `${Math.max(0, Math.ceil(this.order.length / columns) * height - high)}px`;
    Object.assign(this.canvas.style, {width: `${wide}px`, height: `${high}px`});
    const {context} = sharp(this.canvas, this.scroller), first = Math.floor(this.scrolled / height);
    const rows = Math.ceil(high / height) + 1, offset = first * height - this.scrolled;
    const shown = this.order.slice(first * columns, (first + rows) * columns);
    if (!shown.length) return;
    context.imageSmoothingEnabled = false;
    const lines = Math.ceil(shown.length / columns);
    if (samples.images) {
      context.drawImage(this.images(shown, columns, lines), 0, offset, columns * width, lines * height);
    } else this.cards(context, shown, columns, width, height, offset);
    this.over(context, shown, columns, width, height, offset);
  },

  /** Draw images in their own pixels, tinted, into one canvas. */
  images(shown, columns, rows) {
    const {width: w, height: h, channels} = samples, tally = app.tally();
    const canvas = this.scratch ??= document.createElement('canvas');
    canvas.width = columns * w;
    canvas.height = rows * h;
    const image = new ImageData(columns * w, rows * h), {data} = image;
    shown.forEach((s, k) => {
      const pixels = samples.pixels(s), tint = channels === 3 ? [255, 255, 255] : tinted(tally.share(s));
      const start = Math.floor(k / columns) * h * columns * w + (k % columns) * w;
      for (let y = 0, p = 0; y < h; y++) {
        for (let x = 0, at = 4 * (start + y * columns * w); x < w; x++, at += 4) {
          for (let c = 0; c < 3; c++) {
            const value = channels === 3 ? pixels[p++] : pixels[p];
            data[at + c] = DARK[c] + (tint[c] - DARK[c]) * value / 255;
          }
          data[at + 3] = 255;
          if (channels !== 3) p++;
        }
      }
    });
    canvas.getContext('2d').putImageData(image, 0, 0);
    return canvas;
  },

  /** Draw a card for each sample, in place of an image: its class, and the share that has it right. */
  cards(context, shown, columns, width, height, offset) {
    const tally = app.tally();
    context.textAlign = 'center';
    shown.forEach((s, k) => {
      const x = (k % columns) * width, y = Math.floor(k / columns) * height + offset;
      context.fillStyle = `rgb(${tinted(tally.share(s)).join()})`;
      context.fillRect(x, y, width, height);
      context.fillStyle = `rgb(${DARK.join()})`;
      for (const [text, size, at] of [[head.classes[samples.label[s]], .36, .45],
        [percent(tally.share(s), 0), .26, .78]]) {
        context.font = font(600, size * height);
        context.fillText(text, x + width / 2, y + at * height, width - 6);
      }
    });
  },

  /** Draw what lies over the images: gaps, bars, and frames of those that are looked at. */
  over(context, shown, columns, width, height, offset) {
    const tally = app.tally(), bar = Math.max(2, Math.round(width / 16)), {sample, picked} = app.state;
    context.strokeStyle = colour('gap');
    context.lineWidth = 2;
    shown.forEach((s, k) => {
      const x = (k % columns) * width, y = Math.floor(k / columns) * height + offset, share = tally.share(s);
      if (share < 1) {
        context.fillStyle = `rgb(${(samples.images ? tinted(share) : DARK).join()})`;
        context.fillRect(x, y + height - bar - 1, width * (1 - share), bar);
      }
      context.strokeRect(x, y, width, height);
    });
    const framed = (s, stroke) => {
      const k = shown.indexOf(s);
      if (k < 0) return;
      Object.assign(context, {strokeStyle: stroke, lineWidth: 4});
      context.strokeRect((k % columns) * width + 2, Math.floor(k / columns) * height + offset + 2, width - 4,
        height - 4);
    };
    for (const s of picked) framed(s, colour('gold'));
    framed(sample, colour('bright'));
  },

  click(event) {
    const {left, top} = this.scroller.getBoundingClientRect(), {columns, width, height} = this.grid();
    const column = Math.floor((event.clientX - left) / width),
      row = Math.floor((event.clientY - top + this.scroller.scrollTop) / height);
    const s = column < columns ? this.order[row * columns + column] : undefined;
    if (s === undefined) return;
    if (event.shiftKey) this.toggle(s);
    else app.set({sample: s});
  },

  /** Pick a sample, or put it back. */
  toggle(s) {
    const {picked} = app.state;
    app.set({picked: picked.includes(s) ? picked.filter(each => each !== s) : [...picked, s]});
  },

  key(event) {
    const {columns, height} = this.grid(), page = columns * Math.max(1, Math.floor(this.scroller.clientHeight / height)
      - 1);
    const by = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, PageUp: -page, PageDown: page,
      Home: -Infinity, End: Infinity}[event.key];
    const here = this.at.get(app.state.sample), last = this.order.length - 1;
    if (by !== undefined && last >= 0) {
      const s = this.order[here === undefined ? 0 : Math.max(0, Math.min(last, here + by))];
      app.set({sample: s}, {moving: true});
      app.say(`Sample ${samples.title(s)}: ${percent(app.tally().share(s))} of the selection right`);
    } else if (event.key === ' ' && here !== undefined) this.toggle(app.state.sample);
    else return;
    event.preventDefault();
  },

  /** Scroll to the sample that is looked at. */
  reveal() {
    const place = this.at?.get(app.state.sample);
    if (place === undefined) return;
    const {columns, height} = this.grid(), y = Math.floor(place / columns) * height, high = this.scroller.clientHeight;
    if (y < this.scroller.scrollTop) this.scroller.scrollTop = y;
    else if (y + height > this.scroller.scrollTop + high) this.scroller.scrollTop = y + height - high;
  },

  /** Say which samples are picked, and lead to the networks that read them. */
  pick() {
    const {picked, epoch} = app.state;
    const meeting = test => () => app.set({selection: app.shown().map((value, i) =>
      value && picked[test](s => answers.isRight(epoch, s, i)) ? 1 : 0)});
    this.bar.hidden = !picked.length;
    fill(this.bar, `${counted(picked.length, 'image')} picked. Select the networks that read `,
      button('all of them', meeting('every')), ' ', button('any of them', meeting('some')), ' ',
      button('Put back', () => app.set({picked: []})));
  },
};

const DARK = [13, 16, 20];
/** Of a share that is right: nearly white where all are, through yellow to red where nobody is. */
const TINTS = [[255, 84, 46], [255, 150, 60], [255, 205, 105], [255, 236, 190], [240, 246, 252]];

function tinted(share) {
  if (!(share >= 0)) return [150, 156, 165];
  const at = share * (TINTS.length - 1), k = Math.min(TINTS.length - 2, Math.floor(at));
  return TINTS[k].map((value, c) => Math.round(value + (at - k) * (TINTS[k + 1][c] - value)));
}

view('wall', wall);
