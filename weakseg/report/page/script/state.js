// What the visitor has chosen. It stands in the address (#a=sec&class=3…), so that a link shows the same again.
const defaults = {
  a: data.experiments[0] || '', b: '', kind: 'crf', split: data.images.length ? data.images[0].split : '', class: '',
  q: '', order: 'given', cell: '', photo: '', layer: '', term: 'loss', smooth: '5', log: '', runs: '', at: '',
};
const state = {...defaults};
const listeners = [];
const onState = (keys, listener) => listeners.push({keys, listener});

const readAddress = () => {
  const text = location.hash.slice(1);
  if (!text.includes('=')) return false; // a section's name
  const given = new URLSearchParams(text);
  for (const key of Object.keys(defaults)) state[key] = given.get(key) ?? defaults[key];
  if (!data.experiments.includes(state.a)) state.a = defaults.a;
  if (!data.experiments.includes(state.b)) state.b = '';
  return true;
};
const writeAddress = () => {
  const changed = Object.entries(state).filter(([key, value]) => value !== defaults[key]);
  const text = new URLSearchParams(changed).toString();
  if (text || location.hash.includes('=')) history.replaceState(null, '', '#' + (text || 'gallery='));
};
const showState = () => {
  for (const control of document.querySelectorAll('[data-state]')) {
    if (control.value !== state[control.dataset.state]) control.value = state[control.dataset.state];
  }
};
const tell = keys => {
  showState();
  for (const {keys: wanted, listener} of listeners) if (keys.some(key => wanted.includes(key))) listener(keys);
};
const setState = changes => {
  const keys = Object.keys(changes).filter(key => state[key] !== changes[key]);
  if (!keys.length) return;
  Object.assign(state, changes);
  writeAddress();
  tell(keys);
};
const bindControls = () => {
  for (const control of document.querySelectorAll('[data-state]')) {
    const section = control.closest('section').getAttribute('aria-labelledby');
    const kind = control.tagName === 'SELECT' ? 'change' : 'input';
    control.addEventListener(kind, () => setState({[control.dataset.state]: control.value, at: section}));
  }
  window.addEventListener('hashchange', () => { if (readAddress()) tell(Object.keys(defaults)); });
};
