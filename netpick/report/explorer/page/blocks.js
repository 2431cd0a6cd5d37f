// The page's data: a head that is read at once, and blocks that are decompressed when they are first asked for.

const head = JSON.parse(document.getElementById('head').textContent);

const blocks = {
  kept: new Map(),

  /** Return a promise of a block: a typed array, or a value, as `head.blocks` says; null where there is none. */
  get(name) {
    if (!this.kept.has(name)) this.kept.set(name, this.read(name));
    return this.kept.get(name);
  },

  async read(name) {
    const kind = head.blocks[name];
    if (!kind) return null;
    const text = atob(document.getElementById(`block-${name}`).textContent.trim());
    const bytes = Uint8Array.from(text, character => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
    const content = await new Response(stream).arrayBuffer();
    if (kind === 'json') return JSON.parse(new TextDecoder().decode(content));
    return new {u1: Uint8Array, u2: Uint16Array, f4: Float32Array, f8: Float64Array}[kind](content);
  },

  /** Let go of what `get` has kept of a block: it is decompressed again when it is asked for. */
  forget(name) { this.kept.delete(name); },
};
