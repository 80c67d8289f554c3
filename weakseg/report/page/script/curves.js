// Curves of the training: every run that has the chosen column, one over the other.
const runs = Object.keys(data.curves);
const terms = [...new Set(runs.flatMap(run => Object.keys(data.curves[run])))].filter(name => name !== 'step');
const shownRuns = () => {
  if (state.runs) return new Set(state.runs.split(' ').map(index => runs[Number(index)]));
  const segmenters = runs.filter(run => run.startsWith('segmenter-'));
  return new Set(segmenters.length ? segmenters : runs);
};
const toggleRun = run => {
  const shown = shownRuns();
  if (!shown.delete(run)) shown.add(run);
  const indices = runs.map((name, index) => shown.has(name) ? index : null).filter(index => index !== null);
  setState({runs: indices.length ? indices.join(' ') : '-1', at: 'training'});
};
const drawRuns = () => {
  const shown = shownRuns();
  byId('runs').replaceChildren(byId('runs').querySelector('legend'), ...runs.map((run, index) => {
    const box = make('input', {type: 'checkbox'});
    box.checked = shown.has(run);
    box.disabled = !data.curves[run][state.term];
    box.addEventListener('change', () => {
      toggleRun(run);
      byId('runs').querySelectorAll('input')[index].focus();
    });
    return make('label', {class: 'tick'}, box, chip(colourOf(index)), run);
  }));
};
const drawCurves = () => {
  if (!byId('loss-plot')) return;
  const shown = shownRuns();
  const series = runs.map((run, index) => ({name: run, colour: colourOf(index), x: data.curves[run].step, y: data.curves[run][state.term]}))
    .filter(({name, y}) => y && shown.has(name));
  const label = state.term.replaceAll('_', ' ');
  byId('term-title').textContent = label;
  byId('log').checked = state.log !== '';
  plot(byId('loss-plot'), series, {label, log: state.log !== '', smooth: Number(state.smooth) || 0});
  if (byId('validation-plot')) {
    const names = Object.keys(data.validation).filter(name => shown.has('segmenter-' + name) || !runs.includes('segmenter-' + name));
    plot(byId('validation-plot'), names.map(name => ({
      name, colour: colourOf(Math.max(0, runs.indexOf('segmenter-' + name))), x: data.validation[name].step, y: data.validation[name].miou,
    })), {label: 'validation mIoU', marks: true});
  }
  drawRuns();
};
const bindCurves = () => {
  if (!byId('term')) return;
  byId('term').replaceChildren(...terms.map(term => make('option', {value: term}, term.replaceAll('_', ' '))));
  if (!terms.includes(state.term)) state.term = terms[0];
  byId('log').addEventListener('change', event => setState({log: event.target.checked ? '1' : '', at: 'training'}));
};
