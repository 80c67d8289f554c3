// One photo large, layer by layer; the arrow keys turn layers and photos.
const opened = () => data.images.find(card => card.id === state.photo);
let opener = null;

const drawOpened = () => {
  const card = opened(), dialog = byId('large');
  if (!card) {
    if (dialog.open) dialog.close();
    return;
  }
  const layers = layersOf(card), index = Math.min(Number(state.layer) || 0, layers.length - 1);
  byId('large-title').textContent = layers[index][0] + ': ' + tagsOf(card) + ' · ' + card.id;
  fillTile(byId('large-tile'), card, layers[index]);
  dialog.style.setProperty('--aspect', String(card.size[0] / card.size[1] || 1.33));
  if (!dialog.open) {
    opener = document.activeElement;
    dialog.showModal();
  }
};
const turnLayer = by => {
  const count = layersOf(opened()).length;
  setState({layer: String((Number(state.layer) + by + count) % count)});
};
const turnPhoto = by => {
  const at = list.cards.indexOf(opened());
  const next = list.cards[at + by];
  if (at >= 0 && next) setState({photo: next.id});
};
const closeOpened = () => {
  setState({photo: '', layer: ''});
  if (opener && opener.isConnected) opener.focus();
};
const bindEnlarged = () => {
  onState(['photo', 'layer', 'a', 'b', 'kind'], drawOpened);
  byId('previous').addEventListener('click', () => turnLayer(-1));
  byId('next').addEventListener('click', () => turnLayer(1));
  byId('close').addEventListener('click', () => byId('large').close());
  byId('large').addEventListener('close', closeOpened);
  byId('large').addEventListener('keydown', event => {
    if (event.target.type === 'range') return;
    const step = {ArrowLeft: [turnLayer, -1], ArrowRight: [turnLayer, 1], ArrowUp: [turnPhoto, -1], ArrowDown: [turnPhoto, 1]};
    if (!step[event.key]) return;
    event.preventDefault();
    step[event.key][0](step[event.key][1]);
  });
};
