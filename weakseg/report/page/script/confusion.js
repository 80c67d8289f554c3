// Confusion matrices as tables of buttons: a click lists the photos with pixels in that cell.
const MOST_COLUMNS = 60, MOST_PAIRS = 40;
const shareOf = (counts, row, column) => {
  const all = counts[row].reduce((sum, count) => sum + count, 0);
  return all ? 100 * counts[row][column] / all : 0;
};
const showCell = (experiment, row, column) => {
  setState({a: experiment, cell: row + '-' + column, split: '', class: '', q: '', at: 'gallery'});
  byId('gallery').scrollIntoView();
};
const cellButton = (experiment, counts, row, column) => {
  const share = shareOf(counts, row, column);
  const text = share >= 0.5 ? share.toFixed(0) : counts[row][column] ? '·' : '';
  if (!text) return make('td', {});
  const button = make('button', {type: 'button', tabindex: '-1', 'data-cell': row + '-' + column,
    'aria-label': nameOf(row) + ' taken for ' + nameOf(column) + ': ' + share.toFixed(1) + ' per cent'}, text);
  button.title = button.getAttribute('aria-label');
  button.style.setProperty('--share', (share / 100).toFixed(3));
  if (share > 55) button.classList.add('dark');
  button.addEventListener('click', () => showCell(experiment, row, column));
  return make('td', row === column ? {class: 'right'} : {}, button);
};
const moveByArrows = (table, event) => {
  const by = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key];
  if (!by || !event.target.dataset.cell) return;
  event.preventDefault();
  let [row, column] = event.target.dataset.cell.split('-').map(Number);
  for (let next = null; !next; ) { // empty cells are no buttons
    [row, column] = [row + by[0], column + by[1]];
    if (row < 0 || column < 0 || row >= data.classes.length || column >= data.classes.length) return;
    next = table.querySelector('[data-cell="' + row + '-' + column + '"]');
    if (next) next.focus();
  }
};
const matrixOf = (experiment, counts) => {
  const head = data.classes.map((name, label) => make('th', {scope: 'col', title: name}, make('span', {}, nameOf(label))));
  const rows = counts.map((_, row) => make('tr', {}, make('th', {scope: 'row', title: nameOf(row)}, nameOf(row)),
    ...counts.map((_, column) => cellButton(experiment, counts, row, column))));
  const table = make('table', {class: 'matrix'}, make('thead', {}, make('tr', {}, make('td', {}, 'true \\ predicted'), ...head)),
    make('tbody', {}, ...rows));
  const first = table.querySelector('button');
  if (first) first.tabIndex = 0;
  table.addEventListener('keydown', event => moveByArrows(table, event));
  return table;
};
const pairsOf = (experiment, counts) => { // of very many classes, the largest mistakes
  const pairs = counts.flatMap((row, truth) => row.map((pixels, predicted) => ({truth, predicted, pixels})))
    .filter(pair => pair.truth !== pair.predicted && pair.pixels)
    .sort((one, two) => two.pixels - one.pixels).slice(0, MOST_PAIRS);
  return make('ol', {class: 'pairs'}, ...pairs.map(({truth, predicted}) => {
    const button = make('button', {type: 'button', class: 'plain'}, nameOf(truth) + ' taken for ' + nameOf(predicted) + ': '
      + shareOf(counts, truth, predicted).toFixed(1) + ' %');
    button.addEventListener('click', () => showCell(experiment, truth, predicted));
    return make('li', {}, button);
  }));
};
const drawMatrices = () => {
  if (!byId('matrices')) return;
  const measured = [state.a, ...(comparing() ? [state.b] : [])].filter(name => data.confusions[name]);
  const names = measured.length ? measured : Object.keys(data.confusions).slice(0, 1);
  byId('matrices').replaceChildren(...names.map(name => {
    const {kind, counts} = data.confusions[name];
    const title = name + (kind === 'crf' ? ', with CRF' : ', without CRF');
    return make('figure', {}, make('figcaption', {}, title),
      make('div', {class: 'scroll', role: 'region', tabindex: '0', 'aria-label': 'Confusion matrix of ' + name},
        data.classes.length > MOST_COLUMNS ? pairsOf(name, counts) : matrixOf(name, counts)));
  }));
};
