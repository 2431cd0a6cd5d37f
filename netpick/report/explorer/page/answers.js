// The answers of all networks to all samples, epoch by epoch, and the votes that a selection comes to.
//
// An answer is kept as its difference from the label modulo the classes, sample by sample: 0 is right. What is right is
// kept as bits too, one a network, so that a selection's share is counted 32 networks at a time.

const MOST_BYTES = 4e8; // of the answers that are held at once; bits are held of all epochs

const answers = {
  codes: new Map(), // epoch -> answers, those used last at the end
  bits: [], // epoch -> what is right, in words
  right: [], // epoch -> how many samples each network has right
  words: Math.ceil(head.networks / 32),
  made: new Map(),

  /** Read the answers of an epoch, unless they are here. */
  async load(epoch) {
    let codes = this.codes.get(epoch);
    this.codes.delete(epoch);
    codes ??= this.inOrder(await blocks.get(`answers-${epoch}`));
    blocks.forget(`answers-${epoch}`);
    this.codes.set(epoch, codes);
    if (!this.bits[epoch]) [this.bits[epoch], this.right[epoch]] = this.whatIsRight(codes);
    while (this.codes.size > 1 && this.codes.size * codes.byteLength > MOST_BYTES) {
      this.codes.delete(this.codes.keys().next().value);
    }
  },

  /** Bring answers, which lie with the hardest sample first, into the order of the samples. */
  inOrder(raw) {
    const out = new raw.constructor(raw.length), n = head.networks;
    samples.hardest.forEach((s, k) => out.set(raw.subarray(k * n, (k + 1) * n), s * n));
    return out;
  },

  whatIsRight(codes) {
    const bits = new Uint32Array(head.samples * this.words), right = new Uint32Array(head.networks);
    for (let s = 0, at = 0; s < head.samples; s++) {
      const row = s * this.words;
      for (let n = 0; n < head.networks; n++, at++) {
        if (codes[at]) continue;
        bits[row + (n >>> 5)] |= 1 << (n & 31);
        right[n]++;
      }
    }
    return [bits, right];
  },

  /** Return the class that a network gives a sample at an epoch whose answers are here. */
  given(epoch, sample, network) {
    return (this.codes.get(epoch)[sample * head.networks + network] + samples.label[sample]) % head.classes.length;
  },

  /** Whether a network has a sample right; for any epoch that has been read once. */
  isRight(epoch, sample, network) {
    return (this.bits[epoch][sample * this.words + (network >>> 5)] >>> (network & 31)) & 1;
  },

  /** Return how many networks of a selection (in words) have a sample right at an epoch. */
  rightOf(epoch, sample, selected) {
    const bits = this.bits[epoch], at = sample * this.words;
    let n = 0;
    for (let w = 0; w < this.words; w++) n += popcount(bits[at + w] & selected[w]);
    return n;
  },

  /** Return the votes of a selection at an epoch; the last few are kept. */
  tally(epoch, selection) {
    const key = `${epoch} ${maskText(selection)}`;
    let out = this.made.get(key);
    this.made.delete(key);
    out ??= new Tally(epoch, selection);
    this.made.set(key, out);
    if (this.made.size > 4) this.made.delete(this.made.keys().next().value);
    return out;
  },
};

/** The votes of a selection at an epoch: each part is computed when it is first asked for. */
class Tally {
  constructor(epoch, selection) {
    this.epoch = epoch;
    this.words = words(selection);
    this.count = count(selection);
  }

  /** How many have each sample right. */
  get right() {
    return this.rightKept ??= Uint32Array.from({length: head.samples}, (_, s) =>
      answers.rightOf(this.epoch, s, this.words));
  }

  /** The share of the selection that has a sample right; NaN where nobody is selected. */
  share(sample) { return this.right[sample] / this.count; }

  /** How many give each class: samples × classes. Only wrong answers are looked at one by one. */
  get votes() {
    if (this.votesKept) return this.votesKept;
    const classes = head.classes.length, out = new Uint32Array(head.samples * classes);
    const codes = answers.codes.get(this.epoch), bits = answers.bits[this.epoch], {right} = this;
    for (let s = 0; s < head.samples; s++) {
      const label = samples.label[s], start = s * classes, row = s * head.networks, at = s * answers.words;
      out[start + label] = right[s];
      if (right[s] === this.count) continue;
      for (let w = 0; w < answers.words; w++) {
        let wrong = this.words[w] & ~bits[at + w];
        while (wrong) {
          const lowest = wrong & -wrong;
          const given = label + codes[row + (w << 5) + 31 - Math.clz32(lowest)];
          out[start + (given < classes ? given : given - classes)]++;
          wrong ^= lowest;
        }
      }
    }
    return this.votesKept = out;
  }

  /** The votes on one sample, by class. */
  of(sample) {
    const classes = head.classes.length;
    return this.votes.subarray(sample * classes, (sample + 1) * classes);
  }

  /** The class that has most votes on each sample, the first of equals. */
  get answer() {
    return this.answerKept ??= Uint16Array.from({length: head.samples}, (_, s) => top(this.of(s)));
  }

  /** The entropy of the votes on each sample, in bits. */
  get entropy() {
    return this.entropyKept ??= Float64Array.from({length: head.samples}, (_, s) => {
      let sum = 0;
      for (const n of this.of(s)) if (n && n < this.count) sum -= n / this.count * Math.log2(n / this.count);
      return sum;
    });
  }

  /** Of each sample the wrong class that has most votes and how many: [class, votes]; -1 where nobody is wrong. */
  mistake(sample) {
    const votes = this.of(sample), label = samples.label[sample];
    let best = -1;
    for (let c = 0; c < votes.length; c++) {
      if (c !== label && votes[c] && (best < 0 || votes[c] > votes[best])) best = c;
    }
    return [best, best < 0 ? 0 : votes[best]];
  }

  /** Accuracy of the vote. */
  get accuracy() {
    if (!this.count) return NaN;
    return this.answer.reduce((sum, given, s) => sum + (given === samples.label[s]), 0) / head.samples;
  }
}

/** Return the place of the largest value, the first of equals. */
function top(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}
