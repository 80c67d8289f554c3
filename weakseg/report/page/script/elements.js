// The page's data, and how elements are made: text from data becomes text nodes and attributes, never markup.
const data = JSON.parse(document.getElementById('data').textContent);
const byId = id => document.getElementById(id);
const fill = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(name, value);
  element.append(...children);
  return element;
};
const make = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes, ...children) =>
  fill(document.createElementNS(document.querySelector('#svg').namespaceURI, tag), attributes, children);

const nameOf = label => data.classes[label] === undefined ? 'class ' + label : data.classes[label];
const oneDigit = value => value === null || value === undefined ? '–' : value.toFixed(1);
const percent = value => oneDigit(value) + (value === null || value === undefined ? '' : ' %');
const shortNumber = value => value === null ? '–' : String(Number(value.toPrecision(3)));
const chip = colour => {
  const element = make('span', {class: 'chip'});
  element.style.background = colour;
  return element;
};
