// One sample: who votes for what, by computation, when it was learned and forgotten, who reads it and who doesn't.

const MOST_CLASSES = 16;

const oneSample = {
  title: 'One sample',

  mount(root) {
    this.heading = el('h2', {}, this.title);
    this.body = el('div', {className: 'one'});
    root.append(el('div', {className: 'head'}, this.heading), this.body);
  },

  update(_, changed) {
    if (!['sample', 'selection', 'epoch', 'answers', 'picked'].some(name => changed.has(name))) return;
    const {sample} = app.state;
    this.heading.textContent = `Sample ${samples.title(sample)}`;
    const tally = app.tally();
    fill(this.body,
      el('div', {className: 'beside'}, el('div', {className: 'picture'}, this.picture(sample), this.picking(sample)),
        el('div', {}, this.said(sample, tally), this.votes(sample, tally))),
      el('h3', {}, 'Votes by computation'), this.byComputation(sample),
      el('h3', {}, 'Learned and forgotten'), this.history(sample),
      this.readers(sample));
  },

  picture(sample) {
    if (!samples.images) return el('p', {className: 'small'}, 'Its image was left out when the run was published.');
    const label = `The image of sample ${samples.title(sample)}`;
    return samples.drawn(sample, {className: 'pixels large', role: 'img', aria: {label}});
  },

  picking(sample) {
    const text = app.state.picked.includes(sample) ? 'Put this image back' : 'Pick this image';
    return button(text, () => wall.toggle(sample),
      {title: 'Pick several, and select the networks that read all of them'});
  },

  said(sample, tally) {
    if (!tally.count) return el('p', {}, 'No network is selected.');
    const [mistake, n] = tally.mistake(sample), facts = [`${percent(tally.share(sample))} of the selection read it`];
    if (n) facts.push(`the most frequent wrong answer is ${head.classes[mistake]} (${whole(n)})`);
    facts.push(`entropy of the votes ${tally.entropy[sample].toFixed(2)} bits`);
    const difficulty = samples.difficulty[sample];
    if (difficulty !== null) facts.push(`difficulty ${brief(difficulty)}`);
    if (samples.suspect[sample]) facts.push('its label is suspect');
    return el('p', {className: 'said'}, `${facts.join('; ')}.`);
  },

  /** Select those of the selection that give a class, at this epoch. */
  select(test) {
    return () => app.set({selection: app.state.selection.map((value, i) => value && test(i) ? 1 : 0)});
  },

  votes(sample, tally) {
    const votes = tally.of(sample), {epoch} = app.state, label = samples.label[sample];
    const order = votes.length > MOST_CLASSES
      ? Array.from(orderBy(votes.length, c => -votes[c])).filter(c => votes[c]).slice(0, MOST_CLASSES)
      : [...votes.keys()];
    return el('ul', {className: 'votes',
      aria: {label: 'Votes of the selection by class; each selects those that vote so'}},
      order.map(c => {
        const each = button('', this.select(i => answers.given(epoch, sample, i) === c), {
          disabled: !votes[c], className: 'vote', data: {class: c, votes: votes[c]},
          aria: {label: `${head.classes[c]}${c === label ? ', the label' : ''}: ${counted(votes[c], 'vote')}`},
        });
        each.append(el('span', {className: 'name'}, head.classes[c] + (c === label ? ' ✓' : '')),
          bar(votes[c] / tally.count, c === label ? 'right' : 'wrong'), el('span', {className: 'n'}, whole(votes[c])));
        return el('li', {}, each);
      }));
  },

  byComputation(sample) {
    const {selection, epoch} = app.state, classes = head.classes.length;
    const groups = new Map(head.look.computations.map(({name}) => [name, new Uint32Array(classes)])),
      all = new Uint32Array(classes);
    for (let i = 0; i < selection.length; i++) {
      if (!selection[i]) continue;
      const given = answers.given(epoch, sample, i);
      groups.get(networks.computation[i])[given]++;
      all[given]++;
    }
    const most = [...all.keys()].filter(c => all[c]).sort((a, b) => all[b] - all[a]).slice(0, MOST_CLASSES);
    const shown = most.sort((a, b) => a - b);
    const rows = [...groups].filter(([, votes]) => votes.some(Boolean)).map(([name, votes]) => {
      const sum = votes.reduce((a, b) => a + b);
      return [name, ...shown.map(c => shade(button(votes[c] ? percent(votes[c] / sum, 0) : '', this.select(i =>
        networks.computation[i] === name && answers.given(epoch, sample, i) === c), {
        className: 'cell', disabled: !votes[c],
        aria: {label: `${name}, ${head.classes[c]}: ${counted(votes[c], 'network')}`},
      }), votes[c] / sum, c === samples.label[sample] ? 'heat' : 'cold'))];
    });
    return table(['', ...shown.map(classed)], rows);
  },

  history(sample) {
    const {selection} = app.state, some = places(selection), selected = words(selection);
    if (!some.length) return null;
    let before = -1;
    const rows = [];
    for (let e = 0; e < head.epochs; e++) {
      if (!answers.bits[e]) continue;
      const right = answers.rightOf(e, sample, selected), known = before === e - 1 && e > 0;
      const turned = (now, then) => known ? some.filter(i =>
        answers.isRight(e, sample, i) === now && answers.isRight(e - 1, sample, i) === then) : [];
      const who = list => !list.length ? (known ? '0' : '')
        : button(whole(list.length), () => app.set({selection: maskOf(head.networks, list)}), {className: 'link'});
      const here = button(String(e + 1), () => app.set({epoch: e}),
        {className: 'link', aria: e === app.state.epoch ? {current: 'true'} : {}});
      rows.push([here, bar(right / some.length, 'right'), percent(right / some.length), who(turned(1, 0)),
        who(turned(0, 1))]);
      before = e;
    }
    return table(['epoch', 'right', '', 'learned', 'forgotten'], rows, [2, 3, 4]);
  },

  readers(sample) {
    const {epoch} = app.state, some = places(app.state.selection).sort((a, b) => networks.first[a] - networks.first[b]);
    const list = (title, right) => {
      const who = some.filter(i => Boolean(answers.isRight(epoch, sample, i)) === right);
      return el('div', {}, el('h3', {}, `${title} (${whole(who.length)})`),
        el('p', {className: 'small'}, who.length ? 'The cheapest: ' : 'Nobody.',
          who.slice(0, 6).map((i, k, all) =>
            [el('span', {className: 'whole'}, named(i), k < all.length - 1 ? ',' : ''), ' '])),
        button('Select these', () => app.set({selection: maskOf(head.networks, who)}),
          {disabled: !who.length, data: {reads: right}}));
    };
    return el('div', {className: 'two'}, list('Who reads it', true), list('Who doesn’t', false));
  },
};

view('sample', oneSample);
