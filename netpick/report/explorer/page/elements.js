// Elements of the page, made by hand: what comes from a run goes in as text, never as markup.

/** Return an element. Properties are set as such; `on` has listeners, `aria` and `data` have attributes. */
function el(tag, properties = {}, ...children) {
  const out = document.createElement(tag);
  const {on = {}, aria = {}, data = {}, role, ...others} = properties;
  Object.assign(out, others);
  if (role) out.setAttribute('role', role);
  for (const [name, value] of Object.entries(aria)) out.setAttribute(`aria-${name}`, value);
  for (const [name, value] of Object.entries(data)) out.dataset[name] = value;
  for (const [name, listener] of Object.entries(on)) out.addEventListener(name, listener);
  out.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined));
  return out;
}

/** Return a button. */
function button(text, click, more = {}) {
  return el('button', {type: 'button', ...more, on: {click, ...more.on}}, text);
}

/** Return a field to choose one of some values, given as [value, text]. */
function choice(label, options, value, change) {
  const select = el('select', {on: {change: event => change(event.target.value)}},
    options.map(([each, text]) => el('option', {value: each, selected: each === value}, text)));
  const out = el('label', {className: 'choice'}, el('span', {}, label), select);
  out.field = select;
  return out;
}

/** Replace what is in an element. */
function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter(child => child !== null && child !== undefined));
  return element;
}

/** Return a text on how something is used, closed until it is wanted; what it is about refers to it by its id. */
function help(id, text) {
  return el('details', {className: 'help'}, el('summary', {}, 'Mouse and keys'),
    el('p', {id, className: 'small'}, text));
}

/** Do what replaces elements; where one of them had the focus, that which took its place has it, or else its view. */
function keepingFocus(act) {
  const was = document.activeElement, home = was.closest('section');
  const said = e => `${e.tagName} ${e.ariaLabel} ${e.textContent}`;
  const name = said(was);
  act();
  if (!home || was.isConnected) return;
  const next = [...home.querySelectorAll('button, input, select')].find(e => !e.disabled && said(e) === name) ?? home;
  if (next === home) home.tabIndex = -1;
  next.focus({preventScroll: true});
}

const PAGE_ROWS = 25;

/**
 * A table beside a picture, for those who do not see it: some rows at a time, closed until it is wanted.
 *
 * `columns` are [heading, row => text, number?]; `rows()` gives all rows; `pick(row)` is called for the button that the
 * first cell of a row is.
 */
class Listing {
  constructor(title, columns, rows, pick = null) {
    Object.assign(this, {columns, rows, pick, start: 0});
    this.body = el('div', {className: 'scroll', tabIndex: 0, role: 'region', aria: {label: title}});
    this.element = el('details', {className: 'listing', on: {toggle: () => this.update()}},
      el('summary', {}, title), this.body);
  }

  update() {
    if (!this.element.open) return;
    const rows = this.rows(), start = Math.max(0, Math.min(this.start, rows.length - 1));
    const shown = rows.slice(start, start + PAGE_ROWS), end = start + shown.length;
    const go = by => () => keepingFocus(() => { this.start = Math.max(0, start + by); this.update(); });
    const head = el('tr', {}, this.columns.map(([name, , number]) =>
      el('th', {scope: 'col', className: number ? 'n' : ''}, name)));
    const cell = ([, text, number], row, first) => el('td', {className: number ? 'n' : ''},
      first && this.pick ? button(text(row), () => this.pick(row), {className: 'link'}) : String(text(row)));
    fill(this.body,
      el('table', {}, el('thead', {}, head), el('tbody', {}, shown.map(row =>
        el('tr', {}, this.columns.map((column, i) => cell(column, row, i === 0)))))),
      rows.length > PAGE_ROWS ? el('p', {className: 'paging'},
        button('Before', go(-PAGE_ROWS), {disabled: !start}),
        ` ${whole(start + 1)} to ${whole(end)} of ${whole(rows.length)} `,
        button('Next', go(PAGE_ROWS), {disabled: end >= rows.length})) : null);
  }
}
