// Two experiments, class by class, and the difference.
const differenceRow = (label, a, b, most) => {
  const known = a !== null && b !== null && a !== undefined && b !== undefined;
  const by = known ? b - a : 0;
  const bar = make('div', {class: by < 0 ? 'less' : 'more'});
  bar.style.width = (most ? 50 * Math.abs(by) / most : 0) + '%';
  const name = label === null ? make('th', {scope: 'row'}, 'mean')
    : make('th', {scope: 'row'}, chip(data.colours[label]), nameOf(label));
  return make('tr', label === null ? {class: 'mean'} : {}, name, make('td', {}, oneDigit(a)), make('td', {}, oneDigit(b)),
    make('td', {}, known ? (by > 0 ? '+' : by < 0 ? '−' : '±') + Math.abs(by).toFixed(1) : '–'),
    make('td', {class: 'diverging', 'aria-hidden': 'true'}, bar));
};
const drawDifferences = () => {
  if (!byId('differences')) return;
  const [one, two] = [data.ious[state.a], data.ious[state.b]];
  byId('differences').hidden = !comparing() || !one || !two;
  byId('differences-note').textContent = !comparing() ? 'Choose another experiment to compare with.'
    : !one || !two ? 'One of them was not measured.'
    : 'IoU of each class, per cent. Bars: what ' + state.b + ' gains (right) or loses (left), the longest '
      + 'for the largest difference. Photo by photo: in the gallery.';
  if (byId('differences').hidden) return;
  const kind = state.kind === 'raw' ? 'raw' : 'crf', index = kind === 'raw' ? 0 : 1;
  const head = ['class', state.a, state.b, 'difference'].map(text => make('th', {scope: 'col'}, text));
  const most = Math.max(...data.classes.map((_, label) => Math.abs(two[kind][label] - one[kind][label]) || 0));
  byId('differences').replaceChildren(
    make('thead', {}, make('tr', {}, ...head, make('th', {'aria-hidden': 'true'}))),
    make('tbody', {}, differenceRow(null, one.miou[index], two.miou[index], most),
      ...data.classes.map((_, label) => differenceRow(label, one[kind][label], two[kind][label], most))));
};
