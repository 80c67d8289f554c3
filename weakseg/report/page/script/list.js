// The list of photos: as many as there are, but only those near the screen are elements of the page.
const GAP = 10, HEAD = 50, CAPTION = 22, SMALLEST_TILE = 132, LARGEST_TILE = 330, AT_FIRST = 12;
const list = {cards: [], rows: [], perRow: 1, columns: 1, tile: 0, width: 0, shown: new Map()};

const layOut = () => {
  const width = byId('cards').clientWidth;
  const most = list.cards.reduce((count, card) => Math.max(count, layersOf(card).length), 1);
  list.perRow = Math.max(1, Math.floor((width + 4 * GAP) / (most * (1.35 * SMALLEST_TILE + GAP) + 4 * GAP)));
  list.perRow = Math.min(list.perRow, Math.max(1, list.cards.length));
  list.width = (width - (list.perRow - 1) * 4 * GAP) / list.perRow;
  list.columns = Math.min(most, Math.max(2, Math.floor((list.width + GAP) / (SMALLEST_TILE + GAP))));
  list.tile = Math.min(LARGEST_TILE, (list.width - (list.columns - 1) * GAP) / list.columns);
  list.rows = [];
  let top = 0;
  for (let first = 0; first < list.cards.length; first += list.perRow) {
    const height = Math.max(...list.cards.slice(first, first + list.perRow).map(heightOf));
    list.rows.push({first, top, height});
    top += height;
  }
  byId('cards').style.height = top + 'px';
  for (const element of list.shown.values()) element.remove();
  list.shown.clear();
  drawVisible();
};
const aspectOf = card => Math.min(1.5, Math.max(0.4, card.size[1] / card.size[0] || 0.75)); // height over width
const heightOf = card => {
  const rows = Math.ceil(layersOf(card).length / list.columns);
  return HEAD + rows * (list.tile * aspectOf(card) + CAPTION + GAP) + 2 * GAP;
};
const place = (element, card, index) => {
  const row = list.rows[Math.floor(index / list.perRow)];
  element.style.top = row.top + 'px';
  element.style.left = (index % list.perRow) * (list.width + 4 * GAP) + 'px';
  element.style.width = list.width + 'px';
  element.style.setProperty('--tile', list.tile + 'px');
  element.style.setProperty('--columns', list.columns);
  element.style.setProperty('--shape', 1 / aspectOf(card));
};
const drawVisible = () => {
  const start = byId('cards').getBoundingClientRect().top, reach = window.innerHeight;
  const wanted = new Set();
  for (const row of list.rows) {
    const first = start > 0 && row.first < AT_FIRST; // there before anyone scrolls to them
    if (!first && (start + row.top + row.height < -reach || start + row.top > 2 * reach)) continue;
    for (let index = row.first; index < Math.min(row.first + list.perRow, list.cards.length); index++) wanted.add(index);
  }
  for (const [index, element] of list.shown) {
    if (wanted.has(index) || element.contains(document.activeElement)) continue;
    element.remove();
    list.shown.delete(index);
  }
  for (const index of [...wanted].sort((one, two) => one - two)) {
    if (list.shown.has(index)) continue;
    const element = cardOf(list.cards[index]);
    element.dataset.index = index;
    place(element, list.cards[index], index);
    const after = [...byId('cards').children].find(other => Number(other.dataset.index) > index);
    byId('cards').insertBefore(element, after || null); // in the order of the list, for the Tab key
    list.shown.set(index, element);
  }
};
const meaningsOf = cards => { // of the colours of errors, where the truth is known, and of differences, where it is not
  const predicted = cards.filter(card => maskOf(card, state.a));
  const known = predicted.some(card => card.truth), unknown = predicted.some(card => !card.truth && maskOf(card, state.b));
  if (!comparing()) return known ? [[WRONG.a, 'errors: the prediction is wrong']] : [];
  return [
    ...(known ? [[WRONG.a, state.a + ' is wrong'], [WRONG.b, state.b + ' is wrong'], [WRONG.both, 'both are wrong']] : []),
    ...(unknown ? [[WRONG.differ, 'where they differ']] : []),
  ];
};
const listPhotos = () => {
  list.cards = chosenPhotos();
  const all = data.images.filter(card => state.split === '' || card.split === state.split).length;
  byId('count').textContent = list.cards.length === 0 ? 'No photo fits these filters.'
    : list.cards.length === all ? all + (all === 1 ? ' photo' : ' photos')
    : list.cards.length + ' of ' + all + ' photos';
  byId('uncell').hidden = state.cell === '';
  if (state.cell !== '') {
    const [truth, predicted] = state.cell.split('-').map(Number);
    byId('uncell').textContent = (truth === predicted ? nameOf(truth) + ' that ' + state.a + ' got right'
      : nameOf(truth) + ' that ' + state.a + ' took for ' + nameOf(predicted)) + ' ×';
  }
  byId('error-legend').replaceChildren(
    ...meaningsOf(list.cards).map(([colour, text]) => make('li', {}, chip('rgb(' + colour + ')'), text)));
  document.body.classList.toggle('comparing', comparing());
  layOut();
};
let asked = false;
const soon = task => {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; task(); });
};
