// Skeletons on a canvas, in COCO's order of 17 joints.

const LEFT = [[15, 13], [13, 11], [5, 7], [7, 9]], RIGHT = [[16, 14], [14, 12], [6, 8], [8, 10]];
const MIDDLE = [[11, 12], [5, 11], [6, 12], [5, 6], [0, 1], [0, 2], [1, 3], [2, 4]];
const SEEN = 5;  // of a hundred

let colours = null;
export function forgetColours() { colours = null; }
function palette() {
  if (colours === null) {
    const style = getComputedStyle(document.documentElement);
    colours = Object.fromEntries(["ink", "soft", "card", "blue", "orange", "grey"].map(name => [name, style.getPropertyValue(`--${name}`).trim()]));
  }
  return colours;
}

// A pen over an empty canvas, in CSS pixels, and their number.
export function blank(canvas) {
  const scale = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  return {pen, width, height};
}

// `joints`: x, y and score of each, one after the other; `place`: [zoom, x, y] of the picture.
export function skeleton(pen, joints, [zoom, left, top]) {
  const {ink, blue, orange} = palette();
  const x = j => joints[3 * j] * zoom + left, y = j => joints[3 * j + 1] * zoom + top, seen = j => joints[3 * j + 2] > SEEN;
  pen.lineWidth = 3; pen.lineCap = "round";
  for (const [bones, colour] of [[MIDDLE, ink], [LEFT, blue], [RIGHT, orange]]) {
    pen.strokeStyle = pen.fillStyle = colour;
    pen.beginPath();
    for (const [a, b] of bones) if (seen(a) && seen(b)) { pen.moveTo(x(a), y(a)); pen.lineTo(x(b), y(b)); }
    if (bones === MIDDLE && seen(0) && seen(5) && seen(6)) { pen.moveTo(x(0), y(0)); pen.lineTo((x(5) + x(6)) / 2, (y(5) + y(6)) / 2); }  // the neck
    pen.stroke();
    for (const j of new Set(bones.flat())) if (seen(j)) { pen.beginPath(); pen.arc(x(j), y(j), j < 5 ? 2 : 3, 0, 7); pen.fill(); }
  }
}

// Who it is and what is done, over the head, within the canvas and beside what is `taken` already.
export function caption(pen, joints, [zoom, left, top], who, said, width, taken) {
  const {ink, soft, card} = palette();
  let high = Infinity, middle = 0, count = 0;
  for (let j = 0; j < joints.length / 3; j++) if (joints[3 * j + 2] > SEEN) { high = Math.min(high, joints[3 * j + 1]); middle += joints[3 * j]; count++; }
  if (!count) return;
  pen.font = "600 12px system-ui, sans-serif";
  const first = said || "", second = (said ? "  " : "") + who, a = pen.measureText(first).width;
  pen.font = "12px system-ui, sans-serif";
  const wide = a + pen.measureText(second).width + 12;
  const x = Math.max(2, Math.min(width - wide - 2, middle / count * zoom + left - wide / 2));
  let y = Math.max(20, high * zoom + top - 8);
  for (const other of taken) if (x < other.x + other.wide && other.x < x + wide && Math.abs(y - other.y) < 22) y = other.y + 22;
  taken.push({x, y, wide});
  pen.globalAlpha = 0.86; pen.fillStyle = card;
  pen.beginPath(); pen.roundRect(x, y - 17, wide, 20, 5); pen.fill();
  pen.globalAlpha = 1;
  pen.fillStyle = soft; pen.fillText(second, x + 6 + a, y - 3);
  pen.font = "600 12px system-ui, sans-serif"; pen.fillStyle = ink; pen.fillText(first, x + 6, y - 3);
}
