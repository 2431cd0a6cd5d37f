// The class: the networks that travel in the page, what each says of the image that it is asked about, and their votes.

const SLICE = 16; // milliseconds of one frame in which networks answer

class Classroom {
  static async open() {
    const kinds = ['steps', 'weights', 'numbers'].map(kind => blocks.get(`live_${kind}`));
    const [steps, weights, numbers] = await Promise.all(kinds);
    const place = new Map(networks.name.map((name, i) => [name, i]));
    const pupils = carriedNetworks(steps, new Int8Array(weights.buffer), numbers);
    return new Classroom(pupils, head.live.networks.map(name => place.get(name)));
  }

  /** `members` are the places that the networks have among all of the page. */
  constructor(pupils, members) {
    Object.assign(this, {pupils, members, answers: [], histograms: new Map()});
  }

  /** Ask all about an image; `told` is called after each slice of time. Whoever is asked meanwhile, is asked anew. */
  ask(pixels, told) {
    cancelAnimationFrame(this.frame);
    this.answers = [];
    this.spent = 0;
    if (!pixels) return told();
    const go = () => {
      const start = performance.now();
      while (this.answers.length < this.pupils.length && performance.now() < start + SLICE) {
        this.answers.push(answerOf(this.pupils[this.answers.length], pixels));
      }
      this.spent += performance.now() - start;
      if (!this.done) this.frame = requestAnimationFrame(go);
      told();
    };
    this.frame = requestAnimationFrame(go);
    return undefined;
  }

  get done() { return this.answers.length === this.pupils.length; }

  /** Which of the class are selected, as places in it; all where none is. */
  voters(selection) {
    const all = [...this.members.keys()], some = all.filter(i => selection[this.members[i]]);
    return some.length ? some : all;
  }

  /** The votes of some by class of the data, their mean probability of each, and how many have answered. */
  votes(voters) {
    const votes = new Uint32Array(head.classes.length), sure = new Float64Array(head.classes.length);
    const there = voters.filter(i => this.answers[i]);
    for (const i of there) {
      const {said, scores} = this.answers[i];
      votes[said]++;
      scores.forEach((score, c) => { sure[c] += Math.exp(score) / there.length; });
    }
    return {votes, sure, given: there.length};
  }

  /** The votes of some of the class on each test sample, after the last epoch: samples × classes. */
  async histogram(voters) {
    const key = voters.join();
    if (!this.histograms.has(key)) {
      const last = head.epochs - 1, classes = head.classes.length, out = new Uint16Array(head.samples * classes);
      await answers.load(last);
      for (let s = 0; s < head.samples; s++) {
        for (const i of voters) out[s * classes + answers.given(last, s, this.members[i])]++;
      }
      await answers.load(app.state.epoch);
      this.histograms.clear();
      this.histograms.set(key, out);
    }
    return this.histograms.get(key);
  }

  /** The test samples on which the votes were most alike, nearest first: [sample, votes that would have to change]. */
  async alike(voters, most) {
    const {votes} = this.votes(voters), table = await this.histogram(voters), classes = votes.length;
    const apart = s => {
      let sum = 0;
      for (let c = 0; c < classes; c++) sum += Math.abs(table[s * classes + c] - votes[c]);
      return sum / 2;
    };
    const far = Float64Array.from({length: head.samples}, (_, s) => apart(s));
    return [...orderBy(head.samples, s => far[s]).subarray(0, most)].map(s => [s, far[s]]);
  }
}
