// Class ids back from the colours of a mask's picture, and maps of where predictions are wrong, drawn here.
const WRONG = {a: [213, 0, 50], b: [0, 90, 200], both: [120, 0, 140], differ: [255, 120, 0]};
const classOfColour = new Map(data.colours.map((colour, label) => [parseInt(colour.slice(1), 16), label]));
const IGNORED = 255;
classOfColour.set(parseInt(data.ignored.slice(1), 16), IGNORED);

const decoded = new Map(); // by data URI, the last few
const classesOf = uri => {
  if (!decoded.has(uri)) {
    if (decoded.size > 300) decoded.delete(decoded.keys().next().value);
    decoded.set(uri, decode(uri));
  }
  return decoded.get(uri);
};
const decode = async uri => {
  const image = new Image();
  image.src = uri;
  await image.decode();
  const canvas = make('canvas', {width: image.naturalWidth, height: image.naturalHeight});
  const context = canvas.getContext('2d', {willReadFrequently: true});
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const labels = new Uint8Array(canvas.width * canvas.height);
  for (let i = 0; i < labels.length; i++) {
    const colour = pixels[4 * i] << 16 | pixels[4 * i + 1] << 8 | pixels[4 * i + 2];
    labels[i] = pixels[4 * i + 3] < 255 ? 0 : classOfColour.get(colour) ?? IGNORED; // background is transparent
  }
  return {width: canvas.width, height: canvas.height, labels};
};
const mapOf = async (uris, paint) => {
  const maps = await Promise.all(uris.map(classesOf));
  const {width, height} = maps[0];
  const canvas = make('canvas', {width, height, class: 'mask'});
  const context = canvas.getContext('2d');
  const picture = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const colour = paint(...maps.map(map => map.labels[i]));
    if (colour) picture.data.set([...colour, 255], 4 * i);
  }
  context.putImageData(picture, 0, 0);
  return canvas;
};
// Where a prediction is wrong; where only one of two is; where two differ and nobody knows which is right.
const errorMap = (truth, predicted, colour) =>
  mapOf([truth, predicted], (t, p) => t === IGNORED || t === p ? null : colour);
const changeMap = (truth, a, b) => mapOf([truth, a, b], (t, p, q) => {
  if (t === IGNORED || (t === p && t === q)) return null;
  return t === q ? WRONG.a : t === p ? WRONG.b : WRONG.both;
});
const differenceMap = (a, b) => mapOf([a, b], (p, q) => p === q ? null : WRONG.differ);
