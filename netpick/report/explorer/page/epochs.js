// The epochs: a slider and a play button; and how many networks are selected, which is always in sight.

const PLAY = 900;

view('epochs', {
  mount(root) {
    const still = matchMedia('(prefers-reduced-motion: reduce)');
    this.slider = el('input', {type: 'range', min: 1, max: head.epochs, step: 1, id: 'epoch',
      on: {input: () => { this.stop(); app.set({epoch: +this.slider.value - 1}, {moving: true}); }}});
    this.out = el('output', {htmlFor: 'epoch'});
    this.play = button('Play', () => this.timer ? this.stop() : this.start(still.matches ? 2 * PLAY : PLAY));
    root.append(el('p', {id: 'selected'}), el('div', {className: 'group'},
      el('label', {htmlFor: 'epoch'}, 'Epoch'), this.slider, this.out, this.play));
    if (head.epochs === 1) this.slider.disabled = this.play.disabled = true;
  },

  start(every) {
    this.play.textContent = 'Stop';
    if (app.state.epoch === head.epochs - 1) app.set({epoch: 0}, {moving: 2 * every});
    this.timer = setInterval(() => {
      if (app.state.epoch >= head.epochs - 1) return this.stop();
      app.set({epoch: app.state.epoch + 1}, {moving: 2 * every});
    }, every);
  },

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.play.textContent = 'Play';
  },

  update(_, changed) {
    if (!changed.has('epoch')) return;
    this.slider.value = app.state.epoch + 1;
    this.slider.setAttribute('aria-valuetext', `${app.state.epoch + 1} of ${head.epochs}`);
    this.out.textContent = `${app.state.epoch + 1} of ${head.epochs}`;
  },
});
