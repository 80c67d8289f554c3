"""Style and script of the report page; both stand in the page itself, which loads nothing."""

STYLE = """
:root{--blend:.7;--ink:#1a1c21;--muted:#5b616b;--line:#d9dce1;--soft:#f5f6f8;--accent:#0b5fa5;color-scheme:light}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1280px;padding:1rem clamp(.75rem,3vw,2rem) 4rem;color:var(--ink);background:#fff;
 font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{font-size:1.7rem;margin:.4rem 0}h2{font-size:1.25rem;margin:2.4rem 0 .6rem}h3{font-size:.95rem;margin:0}
p{margin:.4rem 0;max-width:75ch}.muted,small{color:var(--muted)}
nav{display:flex;flex-wrap:wrap;gap:.3rem 1.1rem}a{color:var(--accent)}
.skip{position:absolute;left:-99rem}.skip:focus{left:1rem;background:#fff;padding:.5rem;z-index:9}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
.scroll{overflow-x:auto;max-width:100%}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}caption{text-align:left;color:var(--muted)}
th,td{padding:.3rem .8rem .3rem 0;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child{text-align:left;position:sticky;left:0;background:#fff}thead th{vertical-align:bottom}
td.paper{color:var(--muted);font-style:italic}.bars th{text-align:left}
td.bar{min-width:8.5rem;padding:.15rem .6rem .15rem 0;text-align:left}
td.bar div{background:linear-gradient(#bcd9f0,#bcd9f0) 0/var(--w) 100% no-repeat,var(--soft);padding:.1rem .4rem}
.chip{display:inline-block;width:.95em;height:.95em;border:1px solid #333;vertical-align:-.1em;margin-right:.35em}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1rem;font-size:.9rem;padding:0;margin:.6rem 0;list-style:none}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,330px),1fr));gap:1rem}
.chart{margin-top:1rem}.chart img,.charts img,details img{max-width:100%;height:auto}details .scroll img{max-width:none;width:clamp(640px,100%,900px)}summary{cursor:pointer;padding:.3rem 0}
.controls{position:sticky;top:0;z-index:5;display:flex;flex-wrap:wrap;gap:.5rem 1.1rem;align-items:end;
 padding:.6rem 0;background:#fffffff2;border-bottom:1px solid var(--line)}
.controls label{display:grid;font-size:.8rem;color:var(--muted)}
select,button.plain{font:inherit;color:var(--ink);padding:.35rem .5rem;min-height:2.5rem;border:1px solid #8a9099;
 border-radius:4px;background:#fff;max-width:100%}
input[type=range]{width:min(13rem,60vw);height:2.5rem;accent-color:var(--accent)}
.card{padding:1rem 0;border-bottom:1px solid var(--line)}.card h3,.card p{overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(46%,150px),1fr));gap:.6rem;margin-top:.5rem}
figure{margin:0}figcaption{font-size:.82rem;color:var(--muted)}
.tile{display:block;position:relative;width:100%;padding:0;border:0;background:var(--soft);cursor:zoom-in}
.tile img{display:block;width:100%;height:auto}
.tile .mask{position:absolute;inset:0;height:100%;opacity:var(--blend);image-rendering:pixelated}
.tile .none{display:block;padding:2rem .5rem;color:var(--muted)}
.none~.mask{position:static;height:auto;opacity:1}.tile:has(.mask):has(.none) .none{display:none}
dialog{width:min(96vw,900px);max-height:96vh;border:0;border-radius:6px;padding:1rem;box-shadow:0 8px 50px #0008}
dialog::backdrop{background:#000a}dialog .tile{cursor:default;max-width:calc(74vh*var(--aspect,1.33));margin:.6rem auto}
.row{display:flex;flex-wrap:wrap;gap:.6rem;align-items:center;justify-content:space-between}
@media(max-width:600px){.controls{position:static}.controls label{flex:1 1 44%}.controls select{width:100%}
 th,td{padding-right:.55rem;font-size:.9rem}td.bar{min-width:6.5rem}}
@media print{.controls,.more,nav{display:none}}
"""


SCRIPT = """
'use strict';
(() => {
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
})();
"""
