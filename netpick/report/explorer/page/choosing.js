// The selection by words: groups that are known, chips by family, sliders by range, a search by name.

const choosing = {
  mount() {
    const group = (title, ...children) => el('div', {className: 'group', role: 'group', aria: {label: title}},
      children);
    const all = Array.from({length: head.networks}, (_, i) => i);
    const chosen = some => () => app.set({selection: maskOf(head.networks, some())});
    const known = [
      ['All', () => app.set({filters: {}})],
      ['Good', chosen(() => all.filter(i => networks.good[i]))],
      ['Gold stars', chosen(() => all.filter(i => networks.star[i]))],
      ['Pareto front', chosen(() => front(app.state.x, app.state.y, places(app.shown())))],
      ['The others', () => app.set({selection: app.state.selection.map((value, i) => app.shown()[i] & ~value)})],
    ];
    this.chips = new Map();
    const chips = (key, title, names, icon) => group(title, el('span', {className: 'label'}, title),
      names.map(name => {
        const chip = button(name, () => this.toggle(key, name, names), {className: 'chip'});
        chip.icon = icon;
        this.chips.set(`${key} ${name}`, chip);
        return chip;
      }));
    this.search = el('input', {type: 'search', aria: {label: 'Networks whose name has'}, placeholder: 'Name',
      on: {input: () => this.filter({q: this.search.value || undefined}, true)}});
    this.ranges = networks.columns.map(column => this.range(column));
    this.ranges.element = el('details', {className: 'listing'}, el('summary', {}, 'By range'),
      el('div', {className: 'ranges'}, this.ranges));
    return el('div', {className: 'choosing'},
      group('Known groups', known.map(([text, click]) => button(text, click)), this.search),
      chips('c', 'Computation', head.look.computations.map(each => each.name),
        name => markerIcon(app.state.shapes === 'computation' ? networks.style.get(name).marker : 's',
          networks.style.get(name).colour)),
      chips('a', 'Activation', head.look.activations,
        name => app.state.shapes === 'activation' ? markerIcon(activationShape(name), '#8a8f98') : ''));
  },

  /** Change some of the filters; those without a value fall away. */
  filter(some, moving = false) {
    const filters = {...app.state.filters, ...some};
    for (const [key, value] of Object.entries(filters)) if (value === undefined) delete filters[key];
    return app.set({filters}, {moving});
  },

  /** Add a family to those that are shown, or take it away; the first one that is chosen is shown alone. */
  toggle(key, name, names) {
    const now = app.state.filters[key] ?? [];
    const next = now.includes(name) ? now.filter(each => each !== name) : [...now, name];
    this.filter({[key]: next.length && next.length < names.length ? next : undefined});
  },

  range(column) {
    const scale = scatter.scale(column), out = el('output');
    const ends = ['least', 'most'].map((word, k) => el('input', {type: 'range', min: 0, max: 1000, value: 1000 * k,
      aria: {label: `${networks.title(column)}, ${word}`}, on: {input: () => {
        const [low, high] = ends.map(each => +each.value / 1000);
        const chosen = [low ? scale.value(low) : scale.low, high < 1 ? scale.value(high) : scale.high];
        const r = {...app.state.filters.r, [column]: chosen};
        if (!low && high === 1) delete r[column];
        this.filter({r: Object.keys(r).length ? r : undefined}, true);
      }}}));
    const row = el('div', {className: 'range', title: networks.meaning(column)},
      el('span', {}, networks.title(column)), ends, out);
    row.show = () => {
      const given = app.state.filters.r?.[column];
      ends.forEach((each, k) => {
        const value = given ? Math.round(1000 * scale.at(given[k])) : 1000 * k;
        each.value = given && given[k] === (k ? scale.high : scale.low) ? 1000 * k : value;
        each.setAttribute('aria-valuetext', scale.text((given ?? [scale.low, scale.high])[k]));
      });
      out.textContent = (given ?? [scale.low, scale.high]).map(value => scale.text(value)).join(' to ');
    };
    return row;
  },

  update(changed) {
    const {filters} = app.state;
    if (changed.has('shapes')) {
      for (const [name, chip] of this.chips) chip.replaceChildren(chip.icon(name.slice(2)), name.slice(2));
    }
    if (!changed.has('filters')) return;
    for (const [name, chip] of this.chips) {
      const [key] = name, some = filters[key];
      chip.setAttribute('aria-pressed', Boolean(some?.includes(name.slice(2))));
      chip.classList.toggle('off', Boolean(some && !some.includes(name.slice(2))));
    }
    if (this.search.value !== (filters.q ?? '')) this.search.value = filters.q ?? '';
    for (const row of this.ranges) row.show();
  },
};
