// How a network answers: its steps, one function each, over Float32Array. No DOM, nothing of the page.
//
// A network is {steps}; a step is {op, of, ...sizes, weight, numbers}, see netpick.exam.forward_steps: `of` are the
// steps whose outputs it takes (-1 is the image), `weight` a matrix with a row an output channel, `numbers` vectors.

function erf(x) { // Abramowitz and Stegun 7.1.26, right to 1.5e-7
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return Math.sign(x) * (1 - tail * Math.exp(-x * x));
}

const sigmoid = x => 1 / (1 + Math.exp(-x));
const softplus = x => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const between = (x, low, high) => Math.min(Math.max(x, low), high);
const SELU = {alpha: 1.6732632423543772, scale: 1.0507009873554805};

const ACTIVATIONS = {
  CELU: ({alpha}) => x => Math.max(x, 0) + Math.min(0, alpha * Math.expm1(x / alpha)),
  ELU: ({alpha}) => x => x > 0 ? x : alpha * Math.expm1(x),
  GELU: ({approximate}) => approximate === 'tanh'
    ? x => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))
    : x => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
  Hardshrink: ({lambd}) => x => x > lambd || x < -lambd ? x : 0,
  Hardsigmoid: () => x => between(x + 3, 0, 6) / 6,
  Hardswish: () => x => x * between(x + 3, 0, 6) / 6,
  Hardtanh: ({min_val, max_val}) => x => between(x, min_val, max_val),
  LeakyReLU: ({negative_slope}) => x => x > 0 ? x : x * negative_slope,
  LogSigmoid: () => x => -softplus(-x),
  Mish: () => x => x * Math.tanh(softplus(x)),
  RReLU: ({lower, upper}) => x => x >= 0 ? x : x * (lower + upper) / 2,
  ReLU: () => x => x > 0 ? x : 0,
  ReLU6: () => x => between(x, 0, 6),
  SELU: () => x => SELU.scale * (x > 0 ? x : SELU.alpha * Math.expm1(x)),
  SiLU: () => x => x * sigmoid(x),
  Sigmoid: () => sigmoid,
  Softplus: ({beta, threshold}) => x => x * beta > threshold ? x : softplus(x * beta) / beta,
  Softshrink: ({lambd}) => x => x > lambd ? x - lambd : x < -lambd ? x + lambd : 0,
  Softsign: () => x => x / (1 + Math.abs(x)),
  Tanh: () => Math.tanh,
  Tanhshrink: () => x => x - Math.tanh(x),
};

const volume = sizes => sizes[0] * sizes[1] * sizes[2] * sizes[3];

// The places of a window that lie inside: for output i and offset k the input is i * stride + k * dilation - lead.
function reached(k, size, count, stride, dilation, lead) {
  const start = k * dilation - lead;
  return [Math.max(0, Math.ceil(-start / stride)), Math.min(count - 1, Math.floor((size - 1 - start) / stride)), start];
}

function eachWindow(step, visit) { // visit(offset in the kernel, ranges of places in depth, height and width)
  const {given, gives, kernel, stride, dilation, lead} = step;
  const ranges = [0, 1, 2].map(i => Array.from({length: kernel[i]}, (_, k) =>
    reached(k, given[i + 1], gives[i + 1], stride[i], dilation[i], lead[i])));
  let k = 0;
  for (const d of ranges[0]) for (const h of ranges[1]) for (const w of ranges[2]) visit(k++, d, h, w);
}

// How many places each window has when those in the padding count, but not those behind it.
function spans({given, gives, kernel, stride, lead}) {
  const along = i => Array.from({length: gives[i + 1]}, (_, at) => {
    const start = at * stride[i] - lead[i];
    return Math.min(start + kernel[i], given[i + 1] + lead[i]) - start;
  });
  const [depth, height, width] = [0, 1, 2].map(along);
  return Float32Array.from(depth.flatMap(d => height.flatMap(h => width.map(w => d * h * w))));
}

const STEPS = {
  linear(step, x) {
    const {weight, numbers: [bias], rows} = step, outputs = bias.length, inputs = weight.length / outputs;
    const out = new Float32Array(rows * outputs);
    for (let r = 0, o = 0; r < rows; r++) {
      const from = r * inputs;
      for (let c = 0, w = 0; c < outputs; c++, o++) {
        let sum = 0;
        for (let i = 0; i < inputs; i++) sum += weight[w++] * x[from + i];
        out[o] = sum + bias[c];
      }
    }
    return out;
  },

  // Kernel offset by kernel offset over whole rows of the output: the inner loop has no conditions.
  conv(step, x) {
    const {given, gives, stride: [sd, sh, sw], groups, weight, numbers: [bias]} = step;
    const [C, D, H, W] = given, [O, P, Q, R] = gives, plane = P * Q * R, inputs = C / groups, share = O / groups;
    const out = new Float32Array(O * plane), columns = weight.length / O, offsets = columns / inputs;
    for (let o = 0; o < O; o++) out.fill(bias[o], o * plane, (o + 1) * plane);
    eachWindow(step, (k, [d0, d1, dd], [h0, h1, dh], [w0, w1, dw]) => {
      for (let o = 0; o < O; o++) {
        const first = Math.floor(o / share) * inputs;
        for (let c = 0; c < inputs; c++) {
          const v = weight[o * columns + c * offsets + k];
          if (v === 0) continue;
          for (let d = d0; d <= d1; d++) for (let h = h0; h <= h1; h++) {
            const row = (((first + c) * D + d * sd + dd) * H + h * sh + dh) * W + dw;
            const end = o * plane + (d * Q + h) * R;
            for (let w = w0; w <= w1; w++) out[end + w] += v * x[row + w * sw];
          }
        }
      }
    });
    return out;
  },

  pool(step, x) {
    const {given, gives, kind, stride: [sd, sh, sw]} = step, [C, D, H, W] = given, [, P, Q, R] = gives;
    const most = kind === 'Max', plane = P * Q * R;
    const out = new Float32Array(C * plane).fill(most ? -Infinity : 0), counts = new Float32Array(plane);
    eachWindow(step, (k, [d0, d1, dd], [h0, h1, dh], [w0, w1, dw]) => {
      for (let d = d0; d <= d1; d++) for (let h = h0; h <= h1; h++) for (let w = w0; w <= w1; w++) {
        const at = (d * Q + h) * R + w, from = ((d * sd + dd) * H + h * sh + dh) * W + dw + w * sw;
        counts[at]++;
        for (let c = 0; c < C; c++) {
          const value = x[c * D * H * W + from], o = c * plane + at;
          if (!most) out[o] += value;
          else if (value > out[o]) out[o] = value;
        }
      }
    });
    if (most) return out;
    const divisors = step.divisor ? counts.fill(step.divisor) : step.counts_padding ? spans(step) : counts;
    return out.map((sum, i) => sum / divisors[i % plane]);
  },

  adaptive({given, gives, kind}, x) {
    const [C, D, H, W] = given, [, P, Q, R] = gives, out = new Float32Array(C * P * Q * R);
    const part = (i, size, count) => [Math.floor(i * size / count), Math.ceil((i + 1) * size / count)];
    let o = 0;
    for (let c = 0; c < C; c++) for (let p = 0; p < P; p++) for (let q = 0; q < Q; q++) for (let r = 0; r < R; r++) {
      const [d0, d1] = part(p, D, P), [h0, h1] = part(q, H, Q), [w0, w1] = part(r, W, R);
      let sum = 0, most = -Infinity;
      for (let d = d0; d < d1; d++) for (let h = h0; h < h1; h++) for (let w = w0; w < w1; w++) {
        const value = x[((c * D + d) * H + h) * W + w];
        sum += value;
        if (value > most) most = value;
      }
      out[o++] = kind === 'Max' ? most : sum / ((d1 - d0) * (h1 - h0) * (w1 - w0));
    }
    return out;
  },

  pad({given, gives, lead, mode}, x) {
    const [, ...sizes] = given, [C, P, Q, R] = gives;
    const source = (at, size) => mode === 'circular' ? (at + size) % size
      : mode === 'replicate' ? between(at, 0, size - 1)
      : at < 0 ? -at : at >= size ? 2 * (size - 1) - at : at;
    const [depth, height, width] = [P, Q, R].map((count, i) =>
      Array.from({length: count}, (_, at) => source(at - lead[i], sizes[i])));
    const out = new Float32Array(volume(gives));
    let o = 0;
    for (let c = 0; c < C; c++) for (const d of depth) for (const h of height) for (const w of width)
      out[o++] = x[((c * sizes[0] + d) * sizes[1] + h) * sizes[2] + w];
    return out;
  },

  affine({numbers: [scale, shift], channels, inner}, x) {
    return x.map((value, i) => {
      const c = Math.floor(i / inner) % channels;
      return value * scale[c] + shift[c];
    });
  },

  normalise({size, eps}, x) {
    const out = new Float32Array(x.length);
    for (let start = 0; start < x.length; start += size) {
      let mean = 0, variance = 0;
      for (let i = start; i < start + size; i++) mean += x[i] / size;
      for (let i = start; i < start + size; i++) variance += (x[i] - mean) ** 2 / size;
      for (let i = start; i < start + size; i++) out[i] = (x[i] - mean) / Math.sqrt(variance + eps);
    }
    return out;
  },

  slopes({numbers: [slope], channels, inner}, x) {
    return x.map((value, i) => value > 0 ? value : value * slope[Math.floor(i / inner) % channels]);
  },

  softmax({size, inner, log}, x) {
    const out = new Float32Array(x.length);
    for (let start = 0; start < x.length; start += size * inner) for (let j = 0; j < inner; j++) {
      const at = c => start + c * inner + j;
      let most = -Infinity, sum = 0;
      for (let c = 0; c < size; c++) most = Math.max(most, x[at(c)]);
      for (let c = 0; c < size; c++) sum += Math.exp(x[at(c)] - most);
      for (let c = 0; c < size; c++) {
        const score = x[at(c)] - most - Math.log(sum);
        out[at(c)] = log ? score : Math.exp(score);
      }
    }
    return out;
  },

  concat(step, x, earlier) {
    const out = new Float32Array(x.length + earlier.length);
    out.set(x);
    out.set(earlier, x.length);
    return out;
  },

  act({name, ...numbers}, x) {
    return x.map(ACTIVATIONS[name](numbers));
  },

  add(step, x, earlier) {
    return x.map((value, i) => value + earlier[i]);
  },
};

// The natural logarithms of the class probabilities for pixels from 0 to 1, (channels, height, width) in a row.
function forward(network, pixels) {
  const outputs = [];
  const output = at => at < 0 ? pixels : outputs[at];
  network.steps.forEach((step, i) => outputs.push(STEPS[step.op](step, ...step.of.map(output))));
  const scores = output(outputs.length - 1);
  return STEPS.softmax({size: scores.length, inner: 1, log: true}, scores);
}
