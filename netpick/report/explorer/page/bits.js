// Sets of networks as masks: one byte a network where they are held, one bit where they are counted.

/** Return how many bits are set in 32. */
function popcount(x) {
  x -= (x >>> 1) & 0x55555555;
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  return (((x + (x >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24;
}

/** Return a mask of bytes as words of 32 bits. */
function words(mask) {
  const out = new Uint32Array(Math.ceil(mask.length / 32));
  for (let i = 0; i < mask.length; i++) if (mask[i]) out[i >>> 5] |= 1 << (i & 31);
  return out;
}

/** Return how many bytes of a mask are set. */
function count(mask) {
  let n = 0;
  for (let i = 0; i < mask.length; i++) n += mask[i];
  return n;
}

/** Return the places that are set in a mask. */
function places(mask) {
  const out = [];
  for (let i = 0; i < mask.length; i++) if (mask[i]) out.push(i);
  return out;
}

/** Return the mask in which these places are set. */
function maskOf(size, set) {
  const out = new Uint8Array(size);
  for (const i of set) out[i] = 1;
  return out;
}

/** Whether two masks are equal. */
function sameMask(a, b) {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

/** Write a mask as text that can stand in an address: base64 of its bits. */
function maskText(mask) {
  const bytes = new Uint8Array(words(mask).buffer);
  return btoa(String.fromCharCode(...bytes.subarray(0, Math.ceil(mask.length / 8))))
    .replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** Read what `maskText` has written; null for anything else. */
function maskFrom(text, size) {
  let bytes;
  try { bytes = atob(text.replaceAll('-', '+').replaceAll('_', '/')); } catch { return null; }
  if (bytes.length !== Math.ceil(size / 8)) return null;
  const out = new Uint8Array(size);
  for (let i = 0; i < size; i++) out[i] = (bytes.charCodeAt(i >>> 3) >>> (i & 7)) & 1;
  return out;
}
