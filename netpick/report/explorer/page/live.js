// The live class: networks that travel with their weights answer what is drawn.

view('live', {
  title: 'A live class',
  mount(root) { root.hidden = !head.live.networks; },
});
