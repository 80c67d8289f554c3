  const data = JSON.parse(document.getElementById('data').textContent);
  const byId = id => document.getElementById(id);
  const make = (tag, attributes, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const pageSize = 12;
  let shown = pageSize, order = [], opened = null;

  const layersOf = (card, experiment) => {
    const rule = data.guideOf[experiment] || 'g2';
    const all = [
      ['photo', null], ['ground truth', card.truth], ['cues', card.made.cues], ['seeds', card.made.seeds],
      ['saliency', card.saliency], ['guide (' + rule + ')', card.guides[rule]],
      ['prediction', card.raw[experiment]], ['with CRF', card.crf[experiment]],
    ];
    return all.filter(([name, uri]) => uri || name === 'photo');
  };
  const nameOf = label => data.classes[label] === undefined ? 'class ' + label : data.classes[label];
  const tagsOf = card => card.tags.map(nameOf).join(', ') || 'no tags';
  const percent = value => value === null ? '–' : value.toFixed(1) + ' %';
  const iouOf = (card, experiment) => (card.iou[experiment] || [null, null]);
  const rank = (card, experiment) => {
    const [raw, crf] = iouOf(card, experiment);
    return crf === null ? raw : crf;
  };
  const fill = (tile, card, uri) => {
    tile.replaceChildren(card.photo ? make('img', {src: card.photo, alt: '', decoding: 'async'})
                                    : make('span', {class: 'none'}, 'no photo'));
    if (uri) tile.append(make('img', {src: uri, alt: '', class: 'mask', decoding: 'async'}));
  };
  const tileOf = (card, experiment, index, [name, uri]) => {
    const tile = make('button', {type: 'button', class: 'tile', 'aria-label': 'Enlarge: ' + name + ' of ' + card.id});
    fill(tile, card, uri);
    tile.addEventListener('click', () => open(card, experiment, index));
    return make('figure', {}, tile, make('figcaption', {}, name));
  };
  const cardOf = (card, experiment) => {
    const [raw, crf] = iouOf(card, experiment);
    const iou = raw === null && crf === null ? '' : ' · IoU ' + percent(raw) + ', with CRF ' + percent(crf);
    const tiles = layersOf(card, experiment).map((layer, index) => tileOf(card, experiment, index, layer));
    return make('article', {class: 'card'}, make('h3', {}, tagsOf(card)),
      make('p', {class: 'muted'}, card.id + ' · ' + card.split + iou), make('div', {class: 'tiles'}, ...tiles));
  };
  const sorters = {
    given: () => 0,
    best: (a, b, experiment) => (rank(b, experiment) ?? -1) - (rank(a, experiment) ?? -1),
    worst: (a, b, experiment) => (rank(a, experiment) ?? 101) - (rank(b, experiment) ?? 101),
  };
  const shuffled = cards => {
    const copy = [...cards];
    for (let i = copy.length - 1; i > 0; i--) {
      const j = Math.floor(Math.random() * (i + 1));
      [copy[i], copy[j]] = [copy[j], copy[i]];
    }
    return copy;
  };
  const select = () => {
    const experiment = byId('experiment').value, label = byId('class').value, split = byId('split').value;
    const sort = byId('order').value;
    const cards = data.images.filter(card =>
      (split === '' || card.split === split) && (label === '' || card.tags.includes(Number(label))));
    order = sort === 'random' ? shuffled(cards) : cards.sort((a, b) => sorters[sort](a, b, experiment));
    shown = pageSize;
    draw();
  };
  const draw = () => {
    const experiment = byId('experiment').value;
    const visible = order.slice(0, shown);
    byId('cards').replaceChildren(...visible.map(card => cardOf(card, experiment)));
    byId('count').textContent = order.length === 0 ? 'No photo fits these filters.'
      : visible.length + ' of ' + order.length + (order.length === 1 ? ' photo' : ' photos');
    byId('more').hidden = visible.length === order.length;
  };
  const blend = value => {
    document.documentElement.style.setProperty('--blend', String(value / 100));
    for (const slider of [byId('blend'), byId('blend-large')]) slider.value = value;
  };
  const open = (card, experiment, index) => {
    opened = {card, experiment, index, layers: layersOf(card, experiment)};
    drawOpened();
    byId('large').showModal();
  };
  const drawOpened = () => {
    const {card, index, layers} = opened;
    byId('large-title').textContent = layers[index][0] + ': ' + tagsOf(card);
    fill(byId('large-tile'), card, layers[index][1]);
    const photo = byId('large-tile').querySelector('img');
    const fit = () => photo.naturalHeight &&
      byId('large').style.setProperty('--aspect', String(photo.naturalWidth / photo.naturalHeight));
    if (photo) { photo.addEventListener('load', fit); fit(); }
  };
  const turn = by => {
    opened.index = (opened.index + by + opened.layers.length) % opened.layers.length;
    drawOpened();
  };
  for (const id of ['experiment', 'class', 'split', 'order']) byId(id).addEventListener('change', select);
  for (const id of ['blend', 'blend-large']) byId(id).addEventListener('input', event => blend(event.target.value));
  byId('more').addEventListener('click', () => {
    const first = shown;
    shown += pageSize;
    draw();
    const next = byId('cards').children[first];
    if (next) next.querySelector('button').focus();
  });
  byId('previous').addEventListener('click', () => turn(-1));
  byId('next').addEventListener('click', () => turn(1));
  byId('close').addEventListener('click', () => byId('large').close());
  byId('large').addEventListener('keydown', event => {
    if (event.target.type === 'range') return;
    if (event.key === 'ArrowLeft') turn(-1);
    if (event.key === 'ArrowRight') turn(1);
  });
  blend(70);
  select();
