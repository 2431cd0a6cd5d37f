// What is looked at, and how the views learn of it: one state, kept in the address, and a list of views.
//
// A view is registered by `view(name, {title, mount(root, app), update(app, changed)})`: `mount` is called once with
// the element that is the view's, `update` after each change, with the set of names of the state that changed (also
// "answers", when those of another epoch have been read). What a view wants to keep in the address it registers by
// `keep(name, ...)`, and changes by `app.set({name: value})`.

const views = [];
function view(name, parts) { views.push(Object.assign(parts, {name})); }

const kept = new Map();
/** Keep a part of the state in the address under a short key; `read` gives undefined for what is no value. */
function keep(name, {key, initial, write = String, read, same = Object.is}) {
  kept.set(name, {key, initial, write, read, same});
}
/** A part that is written as JSON; what does not pass the check is no value of it. */
const asJson = check => ({
  write: JSON.stringify,
  read: text => {
    try {
      const value = JSON.parse(text);
      return check(value) ? value : undefined;
    } catch { return undefined; }
  },
  same: (a, b) => JSON.stringify(a) === JSON.stringify(b),
});
const isObject = value => value !== null && typeof value === 'object' && !Array.isArray(value);
const isWithin = (value, end) => Number.isInteger(value) && value >= 0 && value < end;
const within = (low, high) => ({
  read: text => /^-?\d+$/.test(text) && +text >= low && +text < high ? +text : undefined,
});
const oneOf = (...words) => ({read: text => words.includes(text) ? text : undefined});

keep('filters', {key: 'f', initial: () => ({}), ...asJson(value => isObject(value) && networks.areFilters(value))});
keep('selection', {
  key: 's', initial: app => app.shown(), same: sameMask,
  write: (mask, app) => sameMask(mask, app.shown()) ? '' : maskText(mask),
  read: text => maskFrom(text, head.networks) ?? undefined,
});
keep('epoch', {key: 'e', initial: () => head.epochs - 1, ...within(0, head.epochs)});
keep('sample', {key: 'i', initial: () => samples.hardest[0], ...within(0, head.samples)});
keep('network', {key: 'n', initial: () => networks.champion, ...within(0, head.networks)});
keep('other', {key: 'o', initial: () => -1, ...within(0, head.networks)});
keep('live', {key: 'live', initial: () => ({}), ...asJson(isObject)});

const app = {
  views,
  state: {},
  data: {},
  changed: new Set(),
  written: '',

  /** Change the state. `moving`: part of a movement, of which the address keeps the end alone (after so many ms). */
  async set(partial, {moving = false, silent = false} = {}) {
    if ('filters' in partial && !('selection' in partial)) {
      partial = {...partial, selection: this.shown(partial.filters)};
    }
    if ('epoch' in partial) await answers.load(partial.epoch);
    for (const [name, value] of Object.entries(partial)) {
      if (name in this.state && kept.get(name).same(this.state[name], value)) continue;
      this.state[name] = value;
      this.changed.add(name);
    }
    if (!this.changed.size) return;
    this.asked ??= performance.now();
    if (!silent) this.write(moving);
    this.frame ??= requestAnimationFrame(() => this.update());
  },

  /** Tell the views what has changed, all of it within one frame. */
  update() {
    const changed = this.changed;
    this.changed = new Set();
    this.frame = null;
    keepingFocus(() => { for (const each of views) each.update?.(this, changed); });
    this.took = performance.now() - this.asked;
    this.asked = null;
  },

  /** Return which networks meet the filters, as a mask. */
  shown(filters = this.state.filters ?? {}) { return networks.meeting(filters); },

  /** Return the votes of the selection at the epoch that is looked at; computed once for each. */
  tally() {
    const {epoch, selection} = this.state;
    if (this.tallied?.of !== selection || this.tallied.epoch !== epoch) {
      this.tallied = {of: selection, epoch, votes: answers.tally(epoch, selection)};
    }
    return this.tallied.votes;
  },

  /** Say something to those who do not see the page. */
  say(text) { document.getElementById('said').textContent = text; },

  /** Return the state as the text of an address's fragment. */
  fragment() {
    const out = new URLSearchParams();
    for (const [name, part] of kept) {
      if (part.same(this.state[name], part.initial(this))) continue;
      const text = part.write(this.state[name], this);
      if (text !== '') out.set(part.key, text);
    }
    return `#${out}`;
  },

  /** Read the state from the address; what is missing or no value is as in the beginning. */
  read() {
    const given = new URLSearchParams(location.hash.slice(1)), partial = {};
    for (const [name, part] of kept) {
      const text = given.get(part.key);
      partial[name] = (text === null ? undefined : part.read(text, this)) ??
        (name === 'selection' ? this.shown(partial.filters) : part.initial(this));
    }
    return partial;
  },

  /** Write the state into the address, as a new entry of the history; in a movement once it has come to an end. */
  write(moving) {
    clearTimeout(this.later);
    const write = () => {
      const fragment = this.fragment();
      if (fragment !== this.written) history.pushState(null, '', fragment);
      this.written = fragment;
    };
    if (moving) this.later = setTimeout(write, moving === true ? 250 : moving);
    else queueMicrotask(write);
  },

  /** Go to what the address says: when it was opened, by Back and Forward, or by hand. */
  async go() {
    clearTimeout(this.later);
    this.written = location.hash;
    await this.set(this.read(), {silent: true});
  },
};
