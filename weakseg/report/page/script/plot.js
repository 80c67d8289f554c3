// A line chart in SVG: axes from round numbers, thin lines as they are, thick ones smoothed.
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8c564b', '#7f7f7f',
  '#6a3d9a', '#b2182b', '#7a8b00', '#17becf'];
const colourOf = index => COLOURS[index % COLOURS.length];

const ticks = (low, high, count) => {
  const rough = (high - low) / count || 1, unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(factor => factor * unit).find(size => size >= rough);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at++) found.push(at * step);
  return found;
};
const decades = (low, high) => {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
    for (const factor of [1, 3]) found.push(factor * 10 ** power);
  return found.filter(value => value >= low * 0.999 && value <= high * 1.001);
};
const smoothed = (values, share) => {
  const reach = Math.round(values.length * share / 200);
  return values.map((_, at) => {
    const near = values.slice(Math.max(0, at - reach), at + reach + 1).filter(value => value !== null);
    return near.length ? near.reduce((sum, value) => sum + value, 0) / near.length : null;
  });
};
const pathOf = (xs, ys, toX, toY) => {
  let path = '', pen = 'M';
  xs.forEach((x, i) => {
    if (ys[i] === null || !Number.isFinite(toY(ys[i]))) { pen = 'M'; return; }
    path += pen + toX(x).toFixed(1) + ' ' + toY(ys[i]).toFixed(1);
    pen = 'L';
  });
  return path;
};
// series: [{name, colour, x, y}]; options: label, log, smooth (per cent of the curve), marks (a dot a point).
const plot = (place, series, {label, log = false, smooth = 0, marks = false}) => {
  const width = Math.max(300, place.clientWidth || 600);
  const height = Math.round(Math.min(420, Math.max(260, width * 0.45)));
  const edge = {left: 52, right: 12, top: 8, bottom: 40};
  const usable = value => value !== null && (!log || value > 0);
  const xs = series.flatMap(one => one.x), ys = series.flatMap(one => one.y).filter(usable);
  if (!ys.length) return place.replaceChildren(make('p', {class: 'muted'}, 'Nothing to draw.'));
  const farX = Math.max(...xs), high = Math.max(...ys), low = log ? Math.min(...ys) : Math.min(0, ...ys);
  const top = high > low ? high : low + 1;
  const scale = log ? value => Math.log(value / low) / Math.log(top / low) : value => (value - low) / (top - low);
  const toX = x => edge.left + x / (farX || 1) * (width - edge.left - edge.right);
  const toY = y => height - edge.bottom - scale(y) * (height - edge.top - edge.bottom);
  const svg = draw('svg', {viewBox: '0 0 ' + width + ' ' + height, width, height, role: 'img',
    'aria-label': label + ' of ' + series.map(one => one.name).join(', ')});
  for (const y of log ? decades(low, top) : ticks(low, top, 5)) {
    svg.append(draw('line', {x1: edge.left, x2: width - edge.right, y1: toY(y), y2: toY(y), class: 'grid'}),
      draw('text', {x: edge.left - 6, y: toY(y) + 4, 'text-anchor': 'end'}, shortNumber(y)));
  }
  for (const x of ticks(0, farX, Math.max(3, Math.floor(width / 130))))
    svg.append(draw('text', {x: toX(x), y: height - edge.bottom + 18, 'text-anchor': 'middle'}, shortNumber(x)));
  svg.append(draw('text', {x: (edge.left + width) / 2, y: height - 4, 'text-anchor': 'middle'}, 'step'));
  for (const {name, colour, x, y} of series) {
    const values = y.map(value => usable(value) ? value : null);
    if (smooth && !marks) svg.append(draw('path', {d: pathOf(x, values, toX, toY), stroke: colour, class: 'raw'}));
    const line = draw('path', {d: pathOf(x, smoothed(values, smooth), toX, toY), stroke: colour, class: 'line'});
    line.append(draw('title', {}, name));
    svg.append(line);
    if (marks || x.length === 1) x.forEach((at, i) => values[i] === null || svg.append(draw('circle', {cx: toX(at), cy: toY(values[i]), r: 3.5, fill: colour},
      draw('title', {}, name + ', step ' + at + ': ' + shortNumber(values[i])))));
  }
  place.replaceChildren(svg);
};
