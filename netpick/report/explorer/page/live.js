// The live class: networks that travel with their weights answer what is drawn, at once, in the page.

const ALIKE = 12;
const MOST_NAMES = 20;
const REST = 150; // milliseconds without a change after which the samples are looked through

const liveClass = {
  title: 'A live class',

  async mount(root) {
    this.root = root;
    if (!head.live.networks) return this.empty();
    const {form, networks: names, able} = head.live;
    this.board = new Board(form, {drawn: () => this.look(), kept: drawing => app.set({live: drawing})});
    if (samples.images) {
      this.board.tools.append(button('Lay the sample here', () => app.set({live: {i: app.state.sample}})));
    }
    this.seen = el('canvas', {className: 'pixels seen', width: form.shape[2], height: form.shape[1], role: 'img'});
    for (const part of ['verdict', 'asked', 'bars', 'families', 'alike', 'took']) {
      this[part] = el('div', {className: part});
    }
    const travel = names.length < able
      ? `${whole(names.length)} of ${whole(able)} networks travel in this page, from all families, the smallest first`
      : `${counted(able, 'network')} ${able === 1 ? 'travels' : 'travel'} in this page`;
    fill(root, el('div', {className: 'head'}, el('h2', {}, this.title)),
      el('p', {className: 'small'}, `Draw on the board, or drop an image on it. ${travel}; each weight has 8 bits.` +
        (samples.images ? '' : ' This run has no images: a drawing is taken as it lies, so let it fill the board.')),
      el('div', {className: 'live'},
        this.board.element,
        el('div', {}, this.verdict, this.asked, this.bars),
        el('div', {}, el('figure', {}, this.seen, el('figcaption', {}, 'As the networks see it', this.took)),
          el('h3', {}, 'Votes by computation'), this.families)),
      el('h3', {}, 'Test samples that were voted on most alike'), this.alike, this.listing().element, this.leftOut());
    this.room = await Classroom.open();
    return undefined;
  },

  /** The table of all answers. */
  listing() {
    const of = i => this.room.members[i], said = i => this.room.answers[i];
    return this.list = new Listing('What each network says', [
      ['network', i => networks.name[of(i)]],
      ['computation', i => networks.computation[of(i)]],
      ['activation', i => networks.activation[of(i)]],
      ['says', i => head.classes[said(i).said]],
      ['probability', i => percent(said(i).sure), true],
    ], () => this.voters.filter(said), i => app.set({network: of(i), other: -1}));
  },

  /** Nobody travels: say why, where there is a reason. */
  empty() {
    this.root.hidden = !Object.keys(head.left_out).length;
    document.querySelector('nav a[data-view=live]').hidden = this.root.hidden;
    fill(this.root, el('div', {className: 'head'}, el('h2', {}, this.title)),
      el('p', {className: 'small'}, 'No network of this run can answer here.'), this.leftOut());
  },

  /** The networks that can't answer here, by reason. */
  leftOut() {
    const reasons = Object.entries(head.left_out), all = reasons.reduce((sum, [, names]) => sum + names.length, 0);
    const line = ([reason, names]) => `${reason}: ${names.slice(0, MOST_NAMES).join(', ')}` +
      (names.length > MOST_NAMES ? ` and ${whole(names.length - MOST_NAMES)} more` : '');
    return all ? el('details', {className: 'listing left-out'},
      el('summary', {}, `${counted(all, 'network')} can’t answer here`),
      el('ul', {}, reasons.map(each => el('li', {}, line(each))))) : null;
  },

  update(_, changed) {
    if (!this.room) return;
    if (changed.has('selection')) this.voters = this.room.voters(app.state.selection);
    if (changed.has('live')) this.board.lay(app.state.live);
    if (changed.has('selection')) this.tell();
  },

  /** Look at what is on the board, and ask the class about it. */
  look() {
    if (!this.room) return;
    const {image} = this.board, {form} = head.live;
    showImage(this.seen, form.shape, image ?? blankSheet(form, 1).values);
    this.seen.setAttribute('aria-label', image ? 'The drawing as the networks see it' : 'Nothing is drawn yet');
    clearTimeout(this.later);
    this.root.dataset.state = 'asked';
    this.room.ask(image, () => this.tell());
  },

  /** Tell what has been said so far. */
  tell() {
    const {room, voters} = this, said = room.votes(voters), {votes, given} = said, most = given ? top(votes) : -1;
    fill(this.verdict, given ? [el('strong', {}, head.classes[most]),
      `, say ${whole(votes[most])} of ${counted(given, 'network')}`] : 'Nothing is drawn yet.');
    fill(this.asked, el('p', {className: 'small'}, app.state.selection[room.members[voters[0]]]
      ? `${whole(voters.length)} of ${counted(count(app.state.selection), 'selected network')} ` +
        `${voters.length === 1 ? 'travels, and is asked.' : 'travel, and are asked.'}`
      : `None of the selected networks travels: all ${whole(voters.length)} that do are asked.`));
    fill(this.bars, this.byClass(said, most));
    fill(this.families, this.byComputation(said, most));
    this.list.update();
    if (!room.done) return;
    fill(this.took, `${counted(room.pupils.length, 'answer')} in ${whole(room.spent)} ms`);
    this.root.dataset.state = 'asked';
    clearTimeout(this.later);
    this.later = setTimeout(() => this.showAlike(said), REST);
  },

  /** The classes that have a row: all, or those with most votes. */
  rows({votes}) {
    const all = [...votes.keys()];
    if (votes.length <= MOST_CLASSES) return all;
    return all.sort((a, b) => votes[b] - votes[a] || a - b).slice(0, MOST_CLASSES).sort((a, b) => a - b);
  },

  /** Select those that have answered and pass a test. */
  select(test) {
    const {room} = this;
    return () => app.set({selection: maskOf(head.networks,
      this.voters.filter(i => room.answers[i] && test(i)).map(i => room.members[i]))});
  },

  byClass(said, most) {
    const {votes, sure, given} = said, voted = c => i => this.room.answers[i].said === c;
    const row = c => {
      const mean = given ? percent(sure[c]) : '', label = `${head.classes[c]}: ${counted(votes[c], 'vote')}`;
      const each = button('', this.select(voted(c)), {
        disabled: !votes[c], className: 'vote', data: {class: c, votes: votes[c]},
        aria: {label: mean ? `${label}, mean probability ${mean}` : label},
      });
      const number = text => el('span', {className: 'n'}, text);
      each.append(el('span', {className: 'name'}, head.classes[c]),
        bar(given ? votes[c] / given : 0, c === most ? 'right' : 'wrong'), number(whole(votes[c])), number(mean));
      return el('li', {}, each);
    };
    const title = 'Votes by class; each selects those that vote so';
    return [el('p', {className: 'small sure', aria: {hidden: 'true'}}, 'votes, and mean probability'),
      el('ul', {className: 'votes', aria: {label: title}}, this.rows(said).map(row))];
  },

  byComputation(said, most) {
    const {room} = this, shown = this.rows(said), kind = i => networks.computation[room.members[i]];
    const rows = head.look.computations.map(({name}) => {
      const mine = this.voters.filter(i => room.answers[i] && kind(i) === name);
      const votes = new Uint32Array(head.classes.length);
      for (const i of mine) votes[room.answers[i].said]++;
      const voted = c => i => kind(i) === name && room.answers[i].said === c;
      const cell = c => shade(button(votes[c] ? whole(votes[c]) : '', this.select(voted(c)), {
        className: 'cell', disabled: !votes[c], data: {computation: name, class: c},
        title: `${name}, ${head.classes[c]}: ${counted(votes[c], 'network')}`,
      }), votes[c] / mine.length, c === most ? 'heat' : 'cold');
      return mine.length ? [name, ...shown.map(cell)] : null;
    }).filter(Boolean);
    return rows.length ? table(['', ...shown.map(classed)], rows) : null;
  },

  async showAlike({votes, given}) {
    const {room, voters} = this, asked = room.answers, near = await room.alike(voters, ALIKE), most = top(votes);
    if (asked !== room.answers || voters !== this.voters) return; // something else was asked meanwhile
    const [least, far] = [near[0], near.at(-1)].map(([, apart]) => whole(apart));
    const from = least === far ? '' : `${least} to `;
    fill(this.alike, tiles(near.map(([sample]) => sample), s => head.classes[samples.label[s]]),
      el('p', {className: 'small'}, `Of ${counted(voters.length, 'vote')}, ${from}${far} were for another class.`));
    const said = `${whole(votes[most])} of ${counted(given, 'network')} say ${head.classes[most]}.`;
    if (this.told !== asked) app.say(said);
    this.told = asked;
    this.root.dataset.state = 'answered';
  },
};

view('live', liveClass);
