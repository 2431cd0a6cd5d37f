// The samples of the page: labels, what questions say of them, images.

const samples = {
  count: head.samples,

  async load() {
    Object.assign(this, await blocks.get('samples'));
    this.images = await blocks.get('images'); // null where they were left out of the run
    [this.height, this.width, this.channels] = head.image ?? [1, 1, 1];
  },

  /** The pixels of one image. */
  pixels(sample) {
    const size = this.height * this.width * this.channels;
    return this.images.subarray(sample * size, (sample + 1) * size);
  },

  /** How a sample is called: its number in the run's test samples and its true class. */
  title(sample) { return `no. ${this.sample[sample]}, ${head.classes[this.label[sample]]}`; },

  /** Return a canvas with a sample's image, in the image's own pixels. */
  drawn(sample, properties) {
    const canvas = el('canvas', properties);
    const image = new ImageData(this.width, this.height), pixels = this.pixels(sample), colours = this.channels === 3;
    canvas.width = this.width;
    canvas.height = this.height;
    for (let i = 0; i < this.width * this.height; i++) {
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = pixels[colours ? 3 * i + c : i];
      image.data[4 * i + 3] = 255;
    }
    canvas.getContext('2d').putImageData(image, 0, 0);
    return canvas;
  },
};
