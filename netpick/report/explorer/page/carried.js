// The networks that travel in the page: what `forward` runs, made of bytes when a network is first asked.

// `steps` has a list of steps a network, `weights` (Int8Array) and `numbers` (Float32Array) those of all one after the
// other. The last vector of a step with weights has the scale of each of its rows.
function carriedNetworks(steps, weights, numbers) {
  let atWeights = 0, atNumbers = 0;
  return steps.map(own => {
    const starts = [atWeights, atNumbers];
    for (const step of own) {
      if (step.weight) atWeights += step.weight[0] * step.weight[1];
      for (const length of step.numbers) atNumbers += length;
    }
    let made = null;
    return {get steps() { return made ??= unpackedSteps(own, weights, numbers, ...starts); }};
  });
}

function unpackedSteps(steps, weights, numbers, atWeights, atNumbers) {
  return steps.map(step => {
    const vectors = step.numbers.map(length => numbers.subarray(atNumbers, atNumbers += length));
    if (!step.weight) return {...step, numbers: vectors};
    const [rows, columns] = step.weight, scale = vectors.pop(), weight = new Float32Array(rows * columns);
    for (let row = 0, i = 0; row < rows; row++)
      for (let column = 0; column < columns; column++, i++) weight[i] = weights[atWeights++] * scale[row];
    return {...step, numbers: vectors, weight};
  });
}

// What one network says: scores, the class with the highest (the first of equals), and its probability.
function answerOf(network, pixels) {
  const scores = forward(network, pixels);
  let said = 0;
  for (let c = 1; c < scores.length; c++) if (scores[c] > scores[said]) said = c;
  return {scores, said, sure: Math.exp(scores[said])};
}
