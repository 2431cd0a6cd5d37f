// Mouse, finger and keyboard on the scatter plot.

/** Whether a point is within a polygon. */
function inside([x, y], corners) {
  let out = false;
  for (let i = 0, j = corners.length - 1; i < corners.length; j = i++) {
    const [xi, yi] = corners[i], [xj, yj] = corners[j];
    if (yi > y !== yj > y && x < (xj - xi) * (y - yi) / (yj - yi) + xi) out = !out;
  }
  return out;
}

Object.assign(scatter, {
  listen() {
    const at = event => {
      const {left, top} = this.frame.getBoundingClientRect();
      return [event.clientX - left, event.clientY - top];
    };
    this.frame.addEventListener('pointerdown', event => {
      if (event.button) return;
      this.path = [at(event)];
      this.before = app.state.selection;
      this.frame.setPointerCapture(event.pointerId);
    });
    this.frame.addEventListener('pointermove', event => {
      if (!this.path) return this.hover(this.nearest(at(event)));
      this.path.push(at(event));
      if (this.dragged()) this.brush(event, true);
    });
    this.frame.addEventListener('pointerup', event => {
      if (!this.path) return;
      if (this.dragged()) this.brush(event, false);
      else this.click(event, this.nearest(this.path[0]));
      this.path = null;
      this.draw();
    });
    this.frame.addEventListener('pointercancel', () => { this.path = null; this.draw(); });
    this.frame.addEventListener('pointerleave', () => this.hover(-1));
    this.frame.addEventListener('keydown', event => this.key(event));
  },

  dragged() {
    const [first, last] = [this.path[0], this.path.at(-1)];
    return this.path.length > 2 && (this.tool === 'lasso' || Math.hypot(first[0] - last[0], first[1] - last[1]) > 5);
  },

  /** Select what is within the drawn shape; in the midst of the movement and at its end. */
  brush(event, moving) {
    const corners = this.corners(), shown = app.shown(), within = new Uint8Array(head.networks);
    for (let i = 0; i < within.length; i++) within[i] = shown[i] && inside(this.places[i], corners) ? 1 : 0;
    const keep = event.shiftKey || event.altKey ? this.before : new Uint8Array(head.networks);
    app.set({selection: within.map((value, i) => event.altKey ? keep[i] & ~value : keep[i] | value)}, {moving});
    if (!moving) app.write(false);
    else if (!app.frame) this.draw(); // nobody came in or went: the outline alone
  },

  click(event, i) {
    if (i < 0) return app.set({selection: app.shown()});
    if (!event.shiftKey) return app.set({selection: maskOf(head.networks, [i]), network: i, other: -1});
    const selection = app.state.selection.slice();
    selection[i] = 1;
    app.set(app.state.network !== i ? {selection, other: i} : {selection, network: i});
  },

  nearest([x, y]) {
    const shown = app.shown();
    let best = -1, least = NEAR;
    this.places?.forEach(([px, py], i) => {
      const away = Math.hypot(px - x, py - y) + (app.state.selection[i] ? 0 : 4);
      if (shown[i] && away < least) [best, least] = [i, away];
    });
    return best;
  },

  hover(i) {
    if (i === this.hovered) return;
    this.hovered = i;
    this.card.hidden = i < 0;
    if (i < 0) return;
    const lines = [app.state.y, app.state.x, 'params', 'macs'].filter((column, k, all) => all.indexOf(column) === k);
    fill(this.card, el('b', {}, networks.name[i]),
      el('p', {}, networks.computation[i] + (networks.activation[i] === 'None' ? '' : `, ${networks.activation[i]}`)),
      el('dl', {}, lines.filter(column => networks.columns.includes(column)).flatMap(column => [
        el('dt', {}, networks.title(column)),
        el('dd', {}, this.scale(column).kind === 'share' ? percent(networks.values(column, app.state.epoch)[i], 2)
          : brief(networks.values(column, app.state.epoch)[i]))])));
    const [x, y] = this.places[i], {width, height} = this.size;
    this.card.style.left = x > width / 2 ? '' : `${x + 14}px`;
    this.card.style.right = x > width / 2 ? `${width - x + 14}px` : '';
    this.card.style.top = y > height / 2 ? '' : `${y}px`;
    this.card.style.bottom = y > height / 2 ? `${height - y}px` : '';
  },

  key(event) {
    const ways = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowDown: [1, 1], ArrowUp: [1, -1]}, way = ways[event.key];
    const here = app.state.network;
    if (way) {
      const shown = places(app.shown()).filter(i => Number.isFinite(this.places[i][0] + this.places[i][1]));
      const order = shown.sort((a, b) => this.places[a][way[0]] - this.places[b][way[0]] || a - b);
      const at = order.indexOf(here), next = order[at < 0 ? 0 : Math.max(0, Math.min(order.length - 1, at + way[1]))];
      if (next === undefined) return;
      app.set({network: next, other: -1}, {moving: true});
      this.hover(next);
      const said = axis => {
        const column = app.state[axis];
        return `${networks.title(column)} ${this.scale(column).text(this.value(axis, next))}`;
      };
      app.say(`${networks.name[next]}: ${said('y')}, ${said('x')}`);
    } else if (event.key === 'Enter') {
      app.set({selection: maskOf(head.networks, [here])});
    } else if (event.key === ' ') {
      app.set({selection: app.state.selection.map((value, i) => i === here ? 1 - value : value)});
    } else if (event.key === 'Escape') {
      app.set({selection: app.shown()});
    } else return;
    event.preventDefault();
  },
});
