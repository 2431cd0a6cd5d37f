// Small pieces that several views are made of: bars, images as buttons, names of networks as buttons.

/** Return a bar of a share, for which the text beside it says the number. */
function bar(share, kind = '') {
  const inner = el('span', {className: `bar ${kind}`, aria: {hidden: 'true'}});
  inner.style.setProperty('--share', share || 0);
  return inner;
}

/** Return the name of a class where there is little room: two lines of it. */
const classed = c => el('span', {className: 'clamp', title: head.classes[c]}, head.classes[c]);

/** Return an image of a sample that leads to it. */
function tile(sample, caption = '') {
  const picture = samples.images ? samples.drawn(sample, {className: 'pixels', aria: {hidden: 'true'}})
    : el('span', {className: 'blank', aria: {hidden: 'true'}}, classed(samples.label[sample]));
  const out = button('', () => app.set({sample}), {className: 'tile', title: samples.title(sample),
    aria: {label: `Sample ${samples.title(sample)} ${caption}`}});
  out.append(picture, el('span', {className: 'clamp', aria: {hidden: 'true'}}, caption));
  return out;
}

/** Return some images of samples, at most so many, and how many there are beyond. */
function tiles(some, caption = () => '', most = 24) {
  if (!some.length) return el('p', {className: 'small'}, 'None.');
  return el('div', {className: 'tiles'}, some.slice(0, most).map(s => tile(s, caption(s))),
    some.length > most ? el('span', {className: 'small'}, `and ${whole(some.length - most)} more`) : null);
}

/** Return the name of a network as a button that shows it. */
function named(network) {
  return button(networks.name[network], () => app.set({network, other: -1}), {className: 'link'});
}

/** Return a table of rows of cells; the columns that are numbers are given by place. */
function table(headings, rows, numbers = [], caption = '') {
  const kind = i => numbers.includes(i) ? 'n' : '';
  return el('div', {className: 'scroll'}, el('table', {},
    caption ? el('caption', {}, caption) : null,
    el('thead', {}, el('tr', {}, headings.map((text, i) => el('th', {scope: 'col', className: kind(i)}, text)))),
    el('tbody', {}, rows.map(row => el('tr', {}, row.map((cell, i) => el('td', {className: kind(i)}, cell)))))));
}

/** Give a cell of a heat map its colour, for a share from 0 to 1. */
function shade(element, share, hue = 'heat') {
  element.style.setProperty('--heat', share);
  element.classList.add(hue);
  return element;
}
