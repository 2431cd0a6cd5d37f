// Two networks side by side: costs, where they differ, and whether that is more than chance.

const NAMED = 'This is p of two networks that were named before anyone looked at their answers. Whoever chose one of ' +
  'them because it came out well here has to judge it on other samples.';

/** Why the best of all gets no p-value here: it was chosen by these very samples. */
const looked = (best, epoch) => `${best} is ${networks.luck(head.networks, epoch)}. Whether it is really better ` +
  'can’t be told from the samples that it was chosen by: the question versus chooses on some, and judges on others.';

const chance = p => `p = ${p < .0001 ? p.toExponential(1) : p.toFixed(4)} (McNemar, mid-p)` +
  (p < .05 ? '' : ', which chance explains well');

/** Return the elements that compare two networks at an epoch. */
function pair(a, b, epoch) {
  const only = (x, y) => samplesWhere(s => answers.isRight(epoch, s, x) && !answers.isRight(epoch, s, y));
  const onlyA = only(a, b), onlyB = only(b, a), p = mcnemar(onlyA.length, onlyB.length);
  const alike = samplesWhere(s => answers.given(epoch, s, a) === answers.given(epoch, s, b)).length;
  const best = [a, b].findIndex(i => networks.leads(i, epoch));
  const accuracy = networks.values('accuracy', epoch), names = [a, b].map(i => networks.name[i]);
  const rows = [['accuracy', percent(accuracy[a], 2), percent(accuracy[b], 2)],
    ...Object.keys(networks.numbers).map(column =>
      [networks.title(column), ...[a, b].map(i => brief(networks.values(column, epoch)[i]))])];
  return [
    el('div', {}, table(['', ...names], rows, [1, 2]),
      el('p', {className: 'actions'},
        button('Select the two', () => app.set({selection: maskOf(head.networks, [a, b])})),
        ' ', button('Change sides', () => app.set({network: b, other: a})),
        ' ', button('One alone', () => app.set({other: -1}))),
      el('h3', {}, 'Is the difference real?'),
      el('p', {id: 'paired'}, `Of ${counted(head.samples, 'sample')} they answer ${whole(alike)} alike. ` +
        `${names[0]} alone is right on ${whole(onlyA.length)}, ${names[1]} alone on ${whole(onlyB.length)}` +
        `${best < 0 ? `: ${chance(p)}` : ''}.`),
      el('p', {className: 'small'}, best < 0 ? NAMED : looked(names[best], epoch))),
    el('div', {}, el('h3', {}, `Only ${names[0]} is right; beneath, what the other says`),
      tiles(onlyA, s => head.classes[answers.given(epoch, s, b)])),
    el('div', {}, el('h3', {}, `Only ${names[1]} is right; beneath, what the other says`),
      tiles(onlyB, s => head.classes[answers.given(epoch, s, a)])),
  ];
}
