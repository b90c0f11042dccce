// Elements: made once, changed in place. Whatever others have said is text, never markup.

export const $ = id => document.getElementById(id);

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function say(node, text) {
  if (node.textContent !== String(text)) node.textContent = text;
}

// As many children as items: `make` builds one, `change` brings it up to date.
export function each(parent, items, make, change) {
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  while (parent.children.length < items.length) parent.append(make());
  items.forEach((item, i) => change(parent.children[i], item));
}

// A table of texts and nodes; `numbers`: which columns are.
export function table(node, heads, rows, numbers = []) {
  if (!node.tHead) {
    const row = node.createTHead().insertRow();
    heads.forEach((head, i) => row.append(element("th", {scope: "col", class: numbers.includes(i) ? "number" : ""}, head)));
    node.createTBody();
  }
  each(node.tBodies[0], rows, () => element("tr", {}, ...heads.map((_, i) => element("td", {class: numbers.includes(i) ? "number" : ""}))),
    (row, cells) => cells.forEach((cell, i) => {
      if (cell instanceof Node) { if (row.cells[i].firstChild !== cell) row.cells[i].replaceChildren(cell); }
      else say(row.cells[i], cell);
    }));
}

export const percent = (x, digits = 0) => `${(100 * x).toFixed(digits)} %`;
export const bytes = n => n >= 1e9 ? `${(n / 1e9).toFixed(2)} GB` : `${(n / 1e6).toFixed(0)} MB`;
export const short = x => x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(x ? 2 : 0);

export function time(seconds) {
  const s = Math.max(0, Math.round(seconds)), two = n => String(n).padStart(2, "0");
  return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)}` : `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}
