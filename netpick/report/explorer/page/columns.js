// The networks of the page: what is known of each, by column, and which of them meet some filters.

const networks = {
  count: head.networks,

  async load() {
    Object.assign(this, await blocks.get('networks'));
    for (const name of ['accuracy', 'loss', 'train_loss', 'classes', 'epochs']) {
      this[`by_${name}`] = await blocks.get(`mark-${name}`);
    }
    this.style = new Map(head.look.computations.map(each => [each.name, each]));
    this.basic = this.name.indexOf('Basic');
    this.columns = [
      ...Object.keys(head.marks).filter(name => name !== 'worst_class' || head.classes.length > 1),
      ...Object.keys(this.numbers),
    ];
    this.made = new Map();
    this.champion = this.best([...this.name.keys()], head.epochs - 1);
  },

  /** What a column means, in words. */
  meaning(column) { return head.marks[column] ?? this.numbers[column].meaning; },

  /** How a column is called on the page. */
  title(column) { return column.replaceAll('_', ' '); },

  /** Whether more of it is better. */
  moreIsBetter(column) { return ['accuracy', 'worst_class', 'throughput'].includes(column); },

  /** Return a column's values at an epoch, one a network; NaN where there is none. */
  values(column, epoch) {
    const key = `${column} ${column in head.marks ? epoch : ''}`;
    if (!this.made.has(key)) this.made.set(key, this.make(column, epoch));
    return this.made.get(key);
  },

  make(column, epoch) {
    if (column === 'worst_class') {
      return Array.from({length: this.count}, (_, i) => Math.min(...this.ofClasses(i, epoch).filter(Number.isFinite)));
    }
    if (column in head.marks) {
      return Array.from(this[`by_${column}`].subarray(epoch * this.count, (epoch + 1) * this.count));
    }
    return this.numbers[column].values.map(value => value ?? NaN);
  },

  /** Return the accuracy of a network in each class at an epoch. */
  ofClasses(network, epoch) {
    const size = head.classes.length, start = (epoch * this.count + network) * size;
    return Array.from(this.by_classes.subarray(start, start + size));
  },

  /** Return a curve over the epochs: a column's value of one network, as far as it was trained. */
  curve(column, network) {
    return Array.from({length: this.by_epochs[network]}, (_, e) => this[`by_${column}`][e * this.count + network]);
  },

  /** Whether these are filters: {c: computations, a: activations, r: {column: [low, high]}, q: part of the name}. */
  areFilters({c = [], a = [], r = {}, q = ''}) {
    return Array.isArray(c) && Array.isArray(a) && typeof q === 'string' && isObject(r) &&
      Object.entries(r).every(([column, range]) => this.columns.includes(column) && range?.length === 2);
  },

  /** Return which networks meet filters, as a mask. */
  meeting({c, a, r = {}, q = ''}) {
    const out = new Uint8Array(this.count).fill(1);
    const drop = keeps => { for (let i = 0; i < out.length; i++) if (out[i] && !keeps(i)) out[i] = 0; };
    if (c) drop(i => c.includes(this.computation[i]));
    if (a) drop(i => a.includes(this.activation[i]));
    for (const [column, [low, high]] of Object.entries(r)) {
      const values = this.values(column, head.epochs - 1);
      drop(i => values[i] >= low && values[i] <= high);
    }
    if (q) drop(i => this.name[i].toLowerCase().includes(q.toLowerCase()));
    return out;
  },

  /** Whether nobody of all is more accurate than a network at an epoch: then it may have been chosen for that. */
  leads(network, epoch) {
    const accuracy = this.values('accuracy', epoch);
    return !accuracy.some(value => value > accuracy[network] + TINY);
  },

  /** What the accuracy of the best of so many networks is called, since who is best of many was lucky too. */
  luck(many, epoch) {
    if (many < 2) return '';
    const known = many === head.networks && epoch === head.epochs - 1 && head.best;
    return known || `best of ${whole(many)} on these samples, which flatters it`;
  },

  /** Return the most accurate of some networks at an epoch; of equals the one that is cheaper. */
  best(some, epoch) {
    const accuracy = this.values('accuracy', epoch);
    return some.reduce((top, i) => top < 0 || accuracy[i] > accuracy[top] ||
      (accuracy[i] === accuracy[top] && this.first[i] < this.first[top]) ? i : top, -1);
  },
};
