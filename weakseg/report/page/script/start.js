const blend = value => {
  document.documentElement.style.setProperty('--blend', String(value / 100));
  for (const slider of [byId('blend'), byId('blend-large')]) slider.value = value;
};
for (const id of ['blend', 'blend-large']) byId(id).addEventListener('input', event => blend(event.target.value));
byId('uncell').addEventListener('click', () => setState({cell: '', split: defaults.split}));

const fromLink = readAddress();
bindCurves();
bindControls();
bindEnlarged();
onState(['a', 'b', 'kind', 'split', 'class', 'q', 'order', 'cell'], listPhotos);
onState(['a', 'b', 'kind'], drawDifferences);
onState(['a', 'b'], drawMatrices);
onState(['term', 'smooth', 'log', 'runs'], drawCurves);
blend(70);
tell(Object.keys(defaults));
window.addEventListener('scroll', () => soon(drawVisible), {passive: true});
let lastWidth = window.innerWidth;
window.addEventListener('resize', () => {
  if (window.innerWidth === lastWidth) return drawVisible(); // a phone's address bar
  lastWidth = window.innerWidth;
  layOut();
  drawCurves();
});
if (fromLink && state.at && byId(state.at)) byId(state.at).scrollIntoView();
