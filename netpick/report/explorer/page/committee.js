// The selection as a committee: majority vote, mean probability, what all members cost, and what they confuse.

/** The mean probabilities of the selection, on those samples whose scores travel: accuracy over all samples. */
class Means {
  async load() {
    this.carriers = head.has.scores.networks;
    if (!this.carriers.length) return;
    this.samples = await blocks.get('scored');
    this.raw = await blocks.get('scores'); // steps of square roots
  }

  /** Return the accuracy of the mean of those of the selection whose scores travel, and how many they are. */
  of(selection) {
    const members = this.carriers.flatMap((network, k) => selection[network] ? [k] : []), classes = head.classes.length;
    const {raw} = this;
    if (!members.length) return {members: 0, accuracy: NaN};
    const sum = new Float64Array(classes), size = this.carriers.length * classes;
    let wrong = 0;
    this.samples.forEach((s, k) => {
      sum.fill(0);
      for (const member of members) {
        const at = k * size + member * classes;
        for (let c = 0; c < classes; c++) sum[c] += raw[at + c] * raw[at + c];
      }
      if (top(sum) !== samples.label[s]) wrong++;
    });
    return {members: members.length, accuracy: 1 - wrong / head.samples};
  }
}

const committee = {
  title: 'The selection as a committee', means: new Means(),

  async mount(root) {
    this.body = el('div', {});
    root.append(el('div', {className: 'head'}, el('h2', {}, this.title)), this.body);
    await this.means.load();
  },

  update(_, changed) {
    if (!['selection', 'epoch', 'only'].some(name => changed.has(name))) return;
    const tally = app.tally();
    if (!tally.count) return fill(this.body, el('p', {className: 'small'}, 'No network is selected.'));
    fill(this.body, this.accuracies(tally), el('h3', {}, 'What it confuses'), this.confusion(tally));
  },

  accuracies(tally) {
    const {epoch, selection} = app.state, some = places(selection),
      everyone = Array.from({length: head.networks}, (_, i) => i);
    const accuracy = networks.values('accuracy', epoch), best = networks.best(some, epoch),
      first = networks.best(everyone, epoch);
    const cost = (column, who) => who.reduce((sum, i) => sum + networks.values(column, epoch)[i], 0);
    const columns = ['params', 'macs'].filter(column => networks.columns.includes(column));
    const luck = many => el('span', {className: 'luck'}, networks.luck(many, epoch));
    const row = (what, share, who) => [what, percent(share, 2), bar(share),
      ...columns.map(column => brief(cost(column, who)))];
    const rows = [row(`Majority vote of ${counted(some.length, 'network')}`, tally.accuracy, some)];
    if (epoch === head.epochs - 1) {
      const mean = this.means.of(selection), carriers = this.means.carriers.filter(i => selection[i]);
      const whose = mean.members < some.length ? `${whole(mean.members)} of them` : 'the same';
      if (mean.members) rows.push(row(`Mean probability of ${whose}`, mean.accuracy, carriers));
    }
    rows.push(row(['Its best member, ', named(best), luck(some.length)], accuracy[best], [best]));
    const other = ['The best network, ', named(first), luck(head.networks)];
    if (first !== best) rows.push(row(other, accuracy[first], [first]));
    const here = `Votes are counted on the ${whole(head.samples)} samples in this page`;
    const notes = [head.rule ? `${here}, single networks on all ${whole(head.of)}.` : '',
      this.means.carriers.length && this.means.carriers.length < head.networks
        ? `Scores of ${counted(this.means.carriers.length, 'network')} travel in this page, taken from all families.`
          : '',
      some.length < head.networks ? 'Whoever selects by accuracy selects on these very samples, which flatters all ' +
        'of these numbers.' : ''];
    return [table(['', 'accuracy', '', ...columns], rows, [1, 3, 4]), el('p', {className: 'small'}, notes.join(' '))];
  },

  confusion(tally) {
    const size = head.classes.length, counts = new Uint32Array(size * size);
    for (let s = 0; s < head.samples; s++) counts[samples.label[s] * size + tally.answer[s]]++;
    return size > MOST_CLASSES ? this.worst(counts, size) : this.matrix(counts, size);
  },

  /** A cell that filters the wall by true class and vote. */
  cell(truth, vote, n, share) {
    const {only} = app.state, on = only.truth === truth && only.vote === vote;
    const press = () => app.set({only: on ? {} : {truth, vote}});
    return shade(button(n ? whole(n) : '', press, {className: 'cell', disabled: !n, data: {truth, vote}, aria: {
      pressed: on, label: `${head.classes[truth]} taken for ${head.classes[vote]}: ${whole(n)}`,
    }}), share, truth === vote ? 'heat' : 'cold');
  },

  matrix(counts, size) {
    const all = [...head.classes.keys()],
      wrong = all.flatMap(t => all.filter(v => v !== t).map(v => counts[t * size + v]));
    const most = Math.max(1, ...wrong);
    const rows = all.map(t => {
      const sum = all.reduce((n, v) => n + counts[t * size + v], 0);
      const share = v => counts[t * size + v] / (t === v ? sum / .8 : most);
      return [classed(t), ...all.map(v => this.cell(t, v, counts[t * size + v], share(v)))];
    });
    return table(['class ↓ vote →', ...all.map(classed)], rows);
  },

  /** With many classes: the pairs that are confused most. */
  worst(counts, size) {
    const pairs = Array.from(counts.keys()).filter(k => counts[k] && Math.floor(k / size) !== k % size)
      .sort((a, b) => counts[b] - counts[a] || a - b).slice(0, 2 * MOST_CLASSES);
    return table(['class', 'vote', 'samples'],
      pairs.map(k => [classed(Math.floor(k / size)), classed(k % size),
      this.cell(Math.floor(k / size), k % size, counts[k], counts[k] / counts[pairs[0]])]), [2]);
  },
};

view('committee', committee);
