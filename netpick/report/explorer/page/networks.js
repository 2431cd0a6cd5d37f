// The networks as points: any column against any other; what is brushed, lassoed or clicked becomes the selection.

keep('x', {key: 'x', initial: () => networks.columns.includes('macs') ? 'macs' : networks.columns.at(-1),
  read: text => networks.columns.includes(text) ? text : undefined});
keep('y', {key: 'y', initial: () => 'accuracy', read: text => networks.columns.includes(text) ? text : undefined});
keep('shapes', {key: 'shapes', initial: () => 'activation', ...oneOf('activation', 'computation')});

const EDGE = {left: 56, right: 14, top: 12, bottom: 40};
const NEAR = 14;

/** Return who is on the Pareto front of two columns among some networks: nobody is better in both. */
function front(x, y, some) {
  const [xs, ys] = [x, y].map(column => {
    const sign = networks.moreIsBetter(column) ? -1 : 1;
    return networks.values(column, app.state.epoch).map(value => sign * value);
  });
  const order = some.filter(i => Number.isFinite(xs[i]) && Number.isFinite(ys[i]))
    .sort((a, b) => xs[a] - xs[b] || ys[a] - ys[b] || networks.first[a] - networks.first[b]);
  let best = Infinity;
  return order.filter(i => ys[i] < best && (best = ys[i], true));
}

const scatter = {
  title: 'Networks', tool: 'rectangle', sprites: new Map(), scales: new Map(), path: null, hovered: -1,

  mount(root) {
    const axes = networks.columns.map(name => [name, networks.title(name)]);
    const field = (label, key, options) => choice(label, options, app.state[key], value => app.set({[key]: value}));
    this.fields = {x: field('Across', 'x', axes), y: field('Up', 'y', axes),
      shapes: field('Shapes', 'shapes', [['activation', 'activation'], ['computation', 'computation']])};
    this.tools = ['rectangle', 'lasso'].map(tool => button(tool === 'lasso' ? 'Lasso' : 'Rectangle', () => {
      this.tool = tool;
      this.tools.forEach((each, i) => each.setAttribute('aria-pressed', ['rectangle', 'lasso'][i] === tool));
    }, {aria: {pressed: tool === 'rectangle'}}));
    this.canvas = el('canvas', {aria: {hidden: 'true'}});
    this.card = el('div', {className: 'card', hidden: true});
    this.frame = el('div', {className: 'plot', tabIndex: 0, role: 'application', id: 'scatter',
      aria: {label: 'Scatter plot of the networks', describedby: 'scatter-help'}}, this.canvas, this.card);
    this.note = el('p', {className: 'small'});
    const rows = () => places(app.shown()).sort((a, b) => this.value('y', b) - this.value('y', a));
    this.listing = new Listing('The networks as a table', [
      ['network', i => networks.name[i]], ['computation', i => networks.computation[i]],
      ['activation', i => networks.activation[i]], ['selected', i => app.state.selection[i] ? 'yes' : 'no'],
      ...networks.columns.map(column => [networks.title(column), i =>
        this.scale(column).kind === 'share' ? percent(networks.values(column, app.state.epoch)[i], 2)
          : brief(networks.values(column, app.state.epoch)[i]), true]),
    ], rows, i => app.set({network: i, other: -1}));
    root.append(el('div', {className: 'head'}, el('h2', {}, this.title),
      el('div', {className: 'controls'}, this.fields.y, this.fields.x, this.fields.shapes,
        el('div', {className: 'group', role: 'group', aria: {label: 'What dragging draws'}}, this.tools))),
      this.frame, choosing.mount(), this.note, help('scatter-help',
        'Drag to select; with Shift to add, with Alt to take away. Click for one network, Shift-click to compare a ' +
        'second. Keys: arrows go from network to network, Enter selects it alone, Space adds it or takes it away, ' +
        'Escape selects all.'), choosing.ranges.element, this.listing.element);
    this.listen();
    redrawn(this.frame, () => { this.sprites.clear(); this.draw(); });
  },

  update(_, changed) {
    if (['filters', 'selection', 'epoch', 'network', 'other', 'x', 'y', 'shapes'].some(name => changed.has(name))) {
      for (const [key, each] of Object.entries(this.fields)) each.field.value = app.state[key];
      choosing.update(changed);
      this.draw();
      this.listing.update();
    }
    if (changed.has('selection') || changed.has('epoch')) this.tell();
  },

  tell() {
    const chosen = count(app.state.selection);
    const text = `${whole(chosen)} of ${counted(head.networks, 'network')} selected`;
    fill(document.getElementById('selected'), text);
    app.say(chosen ? `${text}; together they read ${percent(app.tally().accuracy)} of the samples` : text);
  },

  scale(column) {
    if (!this.scales.has(column)) this.scales.set(column, new Scale(column));
    return this.scales.get(column);
  },

  value(axis, i) { return networks.values(app.state[axis], app.state.epoch)[i]; },

  /** Where a network is on the canvas, in CSS pixels. */
  place(i) {
    const {width, height} = this.size,
      [x, y] = ['x', 'y'].map(axis => this.scale(app.state[axis]).at(this.value(axis, i)));
    const [across, up] = [width - EDGE.left - EDGE.right, height - EDGE.top - EDGE.bottom];
    return [EDGE.left + x * across, height - EDGE.bottom - y * up];
  },

  draw() {
    if (!app.state.selection) return;
    const {context, width, height} = sharp(this.canvas, this.frame);
    if (!width) return;
    this.size = {width, height};
    this.axes(context);
    const {selection, shapes} = app.state;
    this.places = Array.from({length: head.networks}, (_, i) => this.place(i));
    const radius = Math.max(2.6, Math.min(6, width / 130) * (head.networks > 3000 ? .7 : 1));
    context.fillStyle = colour('faint');
    for (let i = 0; i < head.networks; i++) {
      if (selection[i]) continue;
      const [x, y] = this.places[i];
      context.fillRect(x - 1.2, y - 1.2, 2.4, 2.4);
    }
    const chosen = places(selection);
    for (const i of chosen) {
      const sprite = this.sprite(networks.computation[i], shapeOf(i, shapes), radius), [x, y] = this.places[i];
      context.drawImage(sprite.canvas, x - sprite.half, y - sprite.half, 2 * sprite.half, 2 * sprite.half);
    }
    this.front(context, chosen);
    this.named(context, radius);
    if (this.path) this.outline(context);
  },

  sprite(computation, shape, radius) {
    const key = `${computation} ${shape} ${radius}`;
    if (!this.sprites.has(key)) {
      const half = Math.ceil(radius * 1.3 + 2), scale = devicePixelRatio || 1,
        canvas = document.createElement('canvas');
      canvas.width = canvas.height = 2 * half * scale;
      const context = canvas.getContext('2d');
      context.scale(scale, scale);
      trace(context, shape, half, half, radius);
      context.globalAlpha = .85;
      context.fillStyle = networks.style.get(computation).colour;
      context.fill();
      context.strokeStyle = colour('rim');
      context.lineWidth = .9;
      context.stroke();
      this.sprites.set(key, {canvas, half});
    }
    return this.sprites.get(key);
  },

  axes(context) {
    const {width, height} = this.size, {x, y} = app.state, right = width - EDGE.right, low = height - EDGE.bottom;
    context.font = font();
    context.strokeStyle = colour('line');
    context.fillStyle = colour('soft');
    context.lineWidth = 1;
    context.textAlign = 'center';
    for (const value of this.scale(x).ticks(width / 80)) {
      const at = EDGE.left + this.scale(x).at(value) * (right - EDGE.left);
      context.beginPath(); context.moveTo(at, EDGE.top); context.lineTo(at, low); context.stroke();
      context.fillText(this.scale(x).text(value), at, low + 16);
    }
    context.textAlign = 'right';
    for (const value of this.scale(y).ticks(height / 44)) {
      const at = low - this.scale(y).at(value) * (low - EDGE.top);
      context.beginPath(); context.moveTo(EDGE.left, at); context.lineTo(right, at); context.stroke();
      context.fillText(this.scale(y).text(value), EDGE.left - 6, at + 4);
    }
    context.fillStyle = colour('ink');
    context.fillText(`${networks.title(x)}${this.scale(x).kind === 'log' ? ' (log)' : ''} →`, right, height - 6);
    context.textAlign = 'left';
    const upward = `↑ ${networks.title(y)}${this.scale(y).kind === 'log' ? ' (log)' : ''}`;
    context.fillText(upward, EDGE.left + 6, EDGE.top + 12);
  },

  front(context, chosen) {
    const {x, y} = app.state;
    if (x === y) return fill(this.note);
    const best = front(x, y, chosen);
    context.strokeStyle = colour('gold');
    context.lineWidth = 2;
    context.beginPath();
    best.forEach((i, k) => context[k ? 'lineTo' : 'moveTo'](...this.places[i]));
    context.stroke();
    for (const i of best) { context.beginPath(); context.arc(...this.places[i], 8, 0, 7); context.stroke(); }
    const said = `Ringed: ${counted(best.length, 'network')} of the selection that no other beats in both columns.`;
    fill(this.note, best.length ? said : '');
  },

  /** Mark `Basic`, and the networks that are looked at. */
  named(context, radius) {
    context.font = font(600);
    const mark = (i, text, draw) => {
      const [x, y] = this.places[i];
      if (!Number.isFinite(x + y)) return;
      draw(x, y);
      context.textAlign = x > this.size.width * .7 ? 'right' : 'left';
      context.strokeStyle = colour('paper');
      context.lineWidth = 4;
      const at = [x + (x > this.size.width * .7 ? -13 : 13), y + 4];
      context.strokeText(text, ...at);
      context.fillStyle = colour('ink');
      context.fillText(text, ...at);
    };
    if (networks.basic >= 0) mark(networks.basic, 'Basic', (x, y) => {
      trace(context, 'd', x, y, radius + 2);
      Object.assign(context, {fillStyle: colour('paper'), strokeStyle: colour('ink'), lineWidth: 2});
      context.fill(); context.stroke();
    });
    for (const i of new Set([app.state.network, app.state.other])) {
      if (i >= 0) mark(i, i === networks.basic ? '' : networks.name[i], (x, y) => {
        Object.assign(context, {strokeStyle: colour('blue'), lineWidth: 3});
        context.beginPath(); context.arc(x, y, 11, 0, 7); context.stroke();
      });
    }
  },

  outline(context) {
    context.beginPath();
    this.corners().forEach(([x, y], i) => context[i ? 'lineTo' : 'moveTo'](x, y));
    context.closePath();
    context.fillStyle = colour('brush');
    context.fill();
    Object.assign(context, {strokeStyle: colour('blue'), lineWidth: 1.5});
    context.stroke();
  },

  /** The corners of what is being drawn. */
  corners() {
    const [first, last] = [this.path[0], this.path.at(-1)];
    return this.tool === 'lasso' ? this.path : [first, [last[0], first[1]], last, [first[0], last[1]]];
  },
};

view('networks', scatter);
