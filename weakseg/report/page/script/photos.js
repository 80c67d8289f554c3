// One photo: its layers, its card, and which photos are listed in which order.
const tagsOf = card => card.tags.map(nameOf).join(', ') || 'no tags';
const iouOf = (card, experiment) => card.iou[experiment] || [null, null];
const rank = (card, experiment) => {
  const [raw, crf] = iouOf(card, experiment);
  return crf === null ? raw : crf;
};
const maskOf = (card, experiment) => {
  const [first, second] = state.kind === 'raw' ? [card.raw, card.crf] : [card.crf, card.raw];
  return first[experiment] || second[experiment];
};
const comparing = () => state.b !== '' && state.b !== state.a;

// Layers as [name, data URI or null, function that draws a map].
const layersOf = card => {
  const known = comparing() ? comparedLayers(card) : ownLayers(card);
  return known.filter(([name, uri, map]) => uri || map || name === 'photo');
};
const ownLayers = card => {
  const rule = data.guideOf[state.a] || 'g2', mask = card.crf[state.a] || card.raw[state.a];
  return [
    ['photo', null], ['ground truth', card.truth], ['cues', card.made.cues], ['seeds', card.made.seeds],
    ['saliency', card.saliency], ['guide (' + rule + ')', card.guides[rule]], ['prediction', card.raw[state.a]],
    ['with CRF', card.crf[state.a]],
    ['errors', null, card.truth && mask && (() => errorMap(card.truth, mask, WRONG.a))],
  ];
};
const comparedLayers = card => {
  const [a, b] = [maskOf(card, state.a), maskOf(card, state.b)];
  return [
    ['photo', null], ['ground truth', card.truth], [state.a, a], [state.b, b],
    ['errors of ' + state.a, null, card.truth && a && (() => errorMap(card.truth, a, WRONG.a))],
    ['errors of ' + state.b, null, card.truth && b && (() => errorMap(card.truth, b, WRONG.b))],
    card.truth ? ['who is wrong', null, a && b && (() => changeMap(card.truth, a, b))]
               : ['where they differ', null, a && b && (() => differenceMap(a, b))],
  ];
};

const fillTile = (tile, card, [, uri, map]) => {
  const old = tile.token = {}; // a map that is drawn too late stays out
  tile.replaceChildren(card.photo ? make('img', {src: card.photo, alt: '', decoding: 'async'})
                                  : make('span', {class: 'none'}, 'no photo'));
  if (uri) tile.append(make('img', {src: uri, alt: '', class: 'mask', decoding: 'async'}));
  if (map) map().then(canvas => { if (tile.token === old) tile.append(canvas); });
};
const tileOf = (card, layer, index) => {
  const tile = make('button', {type: 'button', class: 'tile', 'aria-label': 'Enlarge: ' + layer[0] + ' of ' + card.id});
  fillTile(tile, card, layer);
  tile.addEventListener('click', () => setState({photo: card.id, layer: String(index), at: 'gallery'}));
  return make('figure', {}, tile, make('figcaption', {title: layer[0]}, layer[0]));
};
const iouText = card => {
  if (comparing()) {
    const [a, b] = [state.a, state.b].map(name => iouOf(card, name)[state.kind === 'raw' ? 0 : 1]);
    return a === null && b === null ? '' : ' · IoU ' + percent(a) + ' and ' + percent(b);
  }
  const [raw, crf] = iouOf(card, state.a);
  return raw === null && crf === null ? '' : ' · IoU ' + percent(raw) + ', with CRF ' + percent(crf);
};
const cardOf = card => {
  const tags = tagsOf(card), facts = card.id + ' · ' + card.split + iouText(card);
  const tiles = layersOf(card).map((layer, index) => tileOf(card, layer, index));
  return make('article', {class: 'card'}, make('h3', {title: tags}, tags),
    make('p', {class: 'muted', title: facts}, facts), make('div', {class: 'tiles'}, ...tiles));
};

const pixelsIn = (card, cell) => {
  const [row, column] = cell.split('-').map(Number);
  const found = (card.pixels[state.a] || []).find(([truth, predicted]) => truth === row && predicted === column);
  return found ? found[2] : 0;
};
const change = card => Math.abs((rank(card, state.b) ?? 0) - (rank(card, state.a) ?? 0));
const sorters = {
  given: () => 0,
  best: (one, two) => (rank(two, state.a) ?? -1) - (rank(one, state.a) ?? -1),
  worst: (one, two) => (rank(one, state.a) ?? 101) - (rank(two, state.a) ?? 101),
  change: (one, two) => comparing() ? change(two) - change(one) : 0,
};
const shuffled = cards => { // always the same way, so that a link shows the same
  let seed = 1;
  const key = new Map(cards.map(card => [card, seed = seed * 48271 % 2147483647]));
  return cards.sort((one, two) => key.get(one) % 9973 - key.get(two) % 9973);
};
const chosenPhotos = () => {
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  const cards = data.images.filter(card => {
    if (state.split !== '' && card.split !== state.split) return false;
    if (state.class !== '' && !card.tags.includes(Number(state.class))) return false;
    if (state.cell !== '' && !pixelsIn(card, state.cell)) return false;
    const text = (card.id + ' ' + card.split + ' ' + tagsOf(card)).toLowerCase();
    return words.every(word => text.includes(word));
  });
  if (state.cell !== '') return cards.sort((one, two) => pixelsIn(two, state.cell) - pixelsIn(one, state.cell));
  return state.order === 'random' ? shuffled(cards) : cards.sort(sorters[state.order] || sorters.given);
};
