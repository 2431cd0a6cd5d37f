// One network: its layers, costs, curves, its place in every class, its mistakes, who is like it and who completes it.

/** Return the networks that are most like one in their mistakes, and those that have most of its mistakes right. */
function kin(network, epoch) {
  const codes = answers.codes.get(epoch), n = head.networks;
  const wrong = answers.right[epoch].map(right => head.samples - right);
  const same = new Uint32Array(n), saved = new Uint32Array(n);
  for (let s = 0; s < head.samples; s++) {
    const row = s * n, mine = codes[row + network];
    for (let i = 0; mine && i < n; i++) {
      const its = codes[row + i];
      if (!its) saved[i]++;
      else if (its === mine) same[i]++;
    }
  }
  const accuracy = networks.values('accuracy', epoch), either = i => saved[i] + wrong[i];
  const others = Array.from({length: n}, (_, i) => i).filter(i => i !== network);
  const ranked = key => others.toSorted((a, b) =>
    key(b) - key(a) || accuracy[b] - accuracy[a] || networks.first[a] - networks.first[b]);
  const alike = i => either(i) ? same[i] / either(i) : 1;
  return {wrong: wrong[network], nearest: ranked(alike).slice(0, 3).map(i => [i, alike(i)]),
    complements: ranked(i => saved[i]).slice(0, 3).map(i => [i, saved[i]])};
}

const oneNetwork = {
  title: 'One network',

  mount(root) {
    this.heading = el('h2', {}, this.title);
    this.body = el('div', {className: 'network'});
    const names = el('datalist', {id: 'names'}, networks.name.map(name => el('option', {value: name})));
    const field = (label, key) => {
      const input = el('input', {type: 'search', placeholder: 'Name', on: {change: () => {
        const network = networks.name.indexOf(input.value);
        if (network >= 0) app.set({[key]: network});
        input.value = '';
      }}});
      input.setAttribute('list', names.id);
      return el('label', {className: 'choice'}, el('span', {}, label), input);
    };
    root.append(el('div', {className: 'head'}, this.heading, el('div', {className: 'controls'},
      field('Show', 'network'), field('Compare with', 'other'), names)), this.body);
  },

  update(_, changed) {
    if (!['network', 'other', 'epoch'].some(name => changed.has(name))) return;
    const {network, other, epoch} = app.state;
    this.heading.textContent = other < 0 ? networks.name[network]
      : `${networks.name[network]} and ${networks.name[other]}`;
    if (other >= 0) return fill(this.body, pair(network, other, epoch));
    fill(this.body,
      el('div', {}, el('p', {}, this.family(network)), el('h3', {}, 'Layers'),
        table(['layer', 'shape', 'params', 'macs'], networks.layers[network].map(([layer, shape, params, macs]) =>
          [el('code', {}, layer), shape, brief(params), brief(macs)]), [2, 3])),
      el('div', {}, el('h3', {}, 'Costs'), this.costs(network),
        el('h3', {}, 'Over the epochs'), this.curves(network)),
      el('div', {}, el('h3', {}, 'Class by class'), this.classes(network, epoch), this.mistakes(network, epoch)));
    this.drawCurves(network);
  },

  family(i) {
    const activation = networks.activation[i] === 'None' ? 'without activation' : `with ${networks.activation[i]}`;
    const accuracy = networks.values('accuracy', app.state.epoch);
    const better = accuracy.filter(value => value > accuracy[i]).length;
    const luck = networks.leads(i, app.state.epoch) && networks.luck(head.networks, app.state.epoch);
    return `${networks.computation[i]} ${activation}: ${percent(accuracy[i], 2)} of ${whole(head.of)} test samples, ` +
      `${luck || `place ${whole(better + 1)} of ${whole(head.networks)}`}${networks.star[i] ? '; a gold star' : ''}.`;
  },

  costs(network) {
    const rows = Object.keys(networks.numbers).map(column => {
      const values = networks.values(column, 0), value = values[network];
      return [el('abbr', {title: networks.meaning(column)}, networks.title(column)), brief(value),
        Number.isFinite(value) ? percentile(values, value).toFixed(1) : '',
        ...networks.basic >= 0 ? [brief(values[networks.basic])] : []];
    });
    return table(['cost', 'value', 'percentile', ...networks.basic >= 0 ? ['Basic'] : []], rows, [1, 2, 3]);
  },

  curves(network) {
    this.plot = el('canvas', {className: 'curves', role: 'img',
      aria: {label: 'Accuracy over the epochs; the table has the numbers'}});
    const rows = networks.curve('accuracy', network).map((accuracy, e) => [e + 1, percent(accuracy, 2),
      brief(networks.curve('loss', network)[e]), brief(networks.curve('train_loss', network)[e])]);
    return [this.plot, table(['epoch', 'accuracy', 'loss', 'training loss'], rows, [0, 1, 2, 3])];
  },

  /** Draw a network's accuracy over the epochs, among those of all others. */
  drawCurves(network) {
    const {context, width, height} = sharp(this.plot, this.plot), scale = scatter.scale('accuracy');
    const left = 52, to = (e, value) => [left + (width - left - 12) * (head.epochs > 1 ? e / (head.epochs - 1) : .5),
      height - 20 - (height - 30) * scale.at(value)];
    context.font = font();
    context.textAlign = 'right';
    for (const value of scale.ticks(height / 34)) {
      context.fillStyle = colour('soft');
      context.fillText(scale.text(value), left - 6, to(0, value)[1] + 4);
      context.strokeStyle = colour('line');
      context.beginPath();
      context.moveTo(left, to(0, value)[1]);
      context.lineTo(width, to(0, value)[1]);
      context.stroke();
    }
    context.textAlign = 'center';
    context.fillStyle = colour('soft');
    for (let e = 0; e < head.epochs; e += Math.ceil(head.epochs / 12)) context.fillText(e + 1, to(e, 0)[0], height - 4);
    const best = networks.best(places(app.shown()), head.epochs - 1);
    if (best >= 0 && best !== network) drawCurve(context, networks.curve('accuracy', best), to, colour('faint'),
      [5, 4]);
    drawCurve(context, networks.curve('accuracy', network), to, colour('bright'));
  },

  classes(network, epoch) {
    const mine = networks.ofClasses(network, epoch), size = head.classes.length;
    const of = c => Array.from({length: head.networks},
      (_, i) => networks.by_classes[(epoch * head.networks + i) * size + c]);
    const order = size > MOST_CLASSES ? Array.from(orderBy(size, c => mine[c])).slice(0, MOST_CLASSES)
      : [...mine.keys()];
    const rows = order.filter(c => Number.isFinite(mine[c])).map(c => {
      const place = percentile(of(c), mine[c]);
      return [classed(c), percent(mine[c]), place.toFixed(1), bar(place / 100)];
    });
    const cut = size > MOST_CLASSES ? `The ${MOST_CLASSES} worst of ${size}` : '';
    return table(['class', 'accuracy', 'percentile', ''], rows, [1, 2], cut);
  },

  mistakes(network, epoch) {
    const wrong = samplesWhere(s => !answers.isRight(epoch, s, network)), found = kin(network, epoch);
    const list = (some, text) => el('ul', {}, some.map(([i, value]) => el('li', {}, named(i), ` ${text(value)} `,
      button('Compare', () => app.set({other: i}),
        {className: 'link', aria: {label: `Compare with ${networks.name[i]}`}}))));
    return [
      el('h3', {}, `Its mistakes (${whole(wrong.length)}${head.rule ? ' of the samples in this page' : ''}); ` +
        'beneath, what it says'),
      tiles(wrong, s => head.classes[answers.given(epoch, s, network)]),
      ...head.networks < 2 ? [] : [
        el('h3', {}, 'Nearest: the same mistakes'), list(found.nearest, value => percent(value, 0)),
        el('h3', {}, 'Best complement: has its mistakes right'),
        list(found.complements, value => `${whole(value)} of ${whole(found.wrong)}`),
        el('p', {className: 'small'}, 'Both are found on these samples, which flatters them.'),
      ],
    ];
  },
};

/** Return the samples that meet a test, those first that fewest of the selection have right. */
function samplesWhere(test) {
  const {right} = app.tally();
  return Array.from({length: head.samples}, (_, s) => s).filter(test).sort((a, b) => right[a] - right[b] || a - b);
}

view('network', oneNetwork);
