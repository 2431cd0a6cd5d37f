// The beginning: data are read, views are mounted, and what the address says is shown.

async function begin() {
  await Promise.all([networks.load(), samples.load()]);
  Object.assign(app.data, {head, networks, samples, answers});
  for (const each of views) await each.mount(document.getElementById(`view-${each.name}`), app);
  await app.go();
  document.documentElement.dataset.state = 'ready';
  addEventListener('popstate', () => app.go());
  for (const link of document.querySelectorAll('nav a')) {
    link.hidden = document.getElementById(`view-${link.dataset.view}`).hidden;
    link.addEventListener('click', lead);
  }
  for (let epoch = head.epochs - 1; epoch >= 0; epoch--) {
    if (answers.bits[epoch]) continue;
    await new Promise(later => setTimeout(later, 30));
    await answers.load(epoch);
    await answers.load(app.state.epoch);
  }
  app.changed.add('answers');
  app.asked ??= performance.now();
  app.update();
  document.documentElement.dataset.state = 'whole';
}

/** Lead to a view without touching the address, which has the state. */
function lead(event) {
  const section = document.getElementById(`view-${event.target.dataset.view}`);
  section.tabIndex = -1;
  section.focus();
  section.scrollIntoView();
  event.preventDefault();
}

window.netpick = app; // for the console of those who want to know more
begin().catch(error => {
  fill(document.getElementById('said'), `This page could not be opened: ${error.message ?? error}`);
  document.documentElement.dataset.state = 'broken';
  throw error;
});
