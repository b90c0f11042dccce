// The stage: a card for each stream, or for each of the latest samples.

import {each, element, percent, say, short, svg} from "./elements.js";
import {blank, caption, skeleton} from "./skeleton.js";

const PEOPLE = 3;  // of a stream, with bars
const OLD_S = 3;  // a label that is faint
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Stage {
  constructor(root) {
    this.root = root;
    this.cards = new Map();
    this.watcher = new IntersectionObserver(entries => {
      for (const entry of entries) entry.target.card.inSight(entry.isIntersecting);
    });
  }
  // Cards of these keys, in this order.
  arrange(keys, make) {
    const wanted = new Set(keys);
    for (const [key, card] of this.cards) if (!wanted.has(key)) { this.watcher.unobserve(card.root); card.root.remove(); this.cards.delete(key); }
    keys.forEach((key, i) => {
      let card = this.cards.get(key);
      if (card === undefined) { card = make(key); card.root.card = card; this.cards.set(key, card); this.watcher.observe(card.root); }
      if (this.root.children[i] !== card.root) this.root.insertBefore(card.root, this.root.children[i] || null);
    });
  }
  streams(list) {
    this.arrange(list.map(stream => stream.name), name => new StreamCard(name));
    for (const stream of list) this.cards.get(stream.name).update(stream);
  }
  skeletons(byName, now) {
    for (const [name, frame] of Object.entries(byName)) if (this.cards.has(name)) this.cards.get(name).move(frame, now);
  }
  samples(list) {
    this.arrange(list.map(sample => sample.id), () => new SampleCard());
    for (const sample of list) this.cards.get(sample.id).update(sample);
  }
  paint(now) { for (const card of this.cards.values()) card.paint(now); }
  repaint() { for (const card of this.cards.values()) card.stale = true; }
  shrink() { for (const card of this.cards.values()) card.enlarge(false); }
}

class Card {
  constructor() {
    this.title = element("h3");
    this.about = element("small");
    this.badge = element("span", {class: "badge"});
    this.button = element("button", {type: "button", "aria-pressed": "false"}, "Enlarge");
    this.canvas = element("canvas", {role: "img"});
    this.people = element("div");
    this.root = element("article", {class: "card"},
      element("header", {}, element("div", {}, this.title, this.about), this.badge, this.button), this.canvas, this.people);
    this.button.addEventListener("click", () => this.enlarge(!this.root.classList.contains("big")));
    this.stale = true;
    this.visible = false;
  }
  inSight(visible) { this.visible = visible; this.stale = true; }
  enlarge(big) {
    this.root.classList.toggle("big", big);
    this.button.setAttribute("aria-pressed", big);
    say(this.button, big ? "Shrink" : "Enlarge");
    this.stale = true;
    if (big) this.root.scrollIntoView({block: "start"});
  }
}

class StreamCard extends Card {
  constructor(name) {
    super();
    this.root.classList.add("stream");
    say(this.title, name);
    this.before = this.frame = null;
    this.arrived = 0;
    this.interval = 60;
  }
  update(stream) {
    this.root.classList.toggle("over", stream.state === "over");
    this.root.classList.toggle("silent", stream.state === "silent");
    const state = stream.state === "silent" ? `silent for ${stream.silent.toFixed(0)} s` : stream.state;
    say(this.badge, state);
    this.badge.className = `badge ${stream.state === "live" ? "good" : stream.state === "over" ? "bad" : "odd"}`;
    say(this.about, `${short(stream.rate)} frames/s, ${stream.frames} in all` + (stream.dropped ? `, ${stream.dropped} windows left out` : ""));
    const told = stream.people.map(p => `${p.who}: ${p.name || "no action"}`).join(", ");
    this.canvas.setAttribute("aria-label", `${stream.name}, ${state}. ${told}`);
    const more = stream.people.length - PEOPLE;
    each(this.people, stream.people.slice(0, PEOPLE), person, (node, value) => node.update(value, value === stream.people[PEOPLE - 1] && more > 0 ? more : 0));
  }
  move(frame, now) {
    if (this.frame !== null && this.frame[2] === frame[2]) return;
    this.before = this.frame;
    this.frame = frame;
    this.interval = Math.min(200, Math.max(20, now - this.arrived));
    this.arrived = now;
    this.stale = true;
  }
  paint(now) {
    if (!this.visible || !this.stale || this.frame === null) return;
    const share = still.matches ? 1 : Math.max(0, Math.min(1, (now - this.arrived) / this.interval));
    this.stale = share < 1;
    const {pen, width, height} = blank(this.canvas), [w, h, , people] = this.frame;
    const zoom = Math.min(width / w, height / h), place = [zoom, (width - w * zoom) / 2, (height - h * zoom) / 2];
    const earlier = new Map(this.before === null ? [] : this.before[3].map(([who, , joints]) => [who, joints]));
    const drawn = people.map(([who, said, joints]) => [who, said, between(earlier.get(who), joints, share)]);
    for (const [, , joints] of drawn) skeleton(pen, joints, place);
    const taken = [];
    for (const [who, said, joints] of drawn) caption(pen, joints, place, who, said, width, taken);
  }
}

// On the way from where somebody was to where they are.
function between(before, after, share) {
  if (before === undefined || share >= 1) return after;
  return after.map((value, i) => i % 3 === 2 || !before[3 * Math.floor(i / 3) + 2] ? value : before[i] + share * (value - before[i]));
}

class SampleCard extends Card {
  constructor() { super(); this.begun = performance.now(); }
  update(sample) {
    if (this.sample !== undefined) return;
    this.sample = sample;
    const right = sample.truth === null ? null : sample.truth === sample.top[0].name;
    say(this.title, sample.id);
    say(this.about, sample.truth === null ? "no label" : `is ${sample.truth}`);
    say(this.badge, right === null ? sample.top[0].name : right ? "right" : "wrong");
    this.badge.className = `badge ${right === null ? "" : right ? "good" : "bad"}`;
    this.canvas.setAttribute("aria-label", `${sample.id}: ${sample.top[0].name}`);
    const seen = sample.frames.flat(2).filter(p => p[2] > 5), xs = seen.map(p => p[0]), ys = seen.map(p => p[1]);
    this.box = seen.length ? [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)] : [0, 0, 1, 1];
    const node = person();
    node.update({who: "", name: sample.top[0].name, score: sample.top[0].score, truth: sample.truth, top: sample.top.map(t => [t.name, t.score, []])}, 0);
    this.people.append(node);
  }
  paint(now) {
    const {frames, seconds} = this.sample;
    // A frame may have begun before the card, of which it is the first.
    const passed = still.matches ? 0 : Math.max(0, now - this.begun);
    const number = Math.floor(passed / 1000 / seconds * frames.length) % frames.length;
    if (!this.visible || (number === this.number && !this.stale)) return;
    this.number = number;
    this.stale = false;
    const {pen, width, height} = blank(this.canvas), [x0, y0, x1, y1] = this.box;
    const zoom = Math.min((width - 30) / Math.max(x1 - x0, 1), (height - 30) / Math.max(y1 - y0, 1));
    const place = [zoom, width / 2 - (x0 + x1) / 2 * zoom, height / 2 - (y0 + y1) / 2 * zoom];
    for (const one of frames[number]) skeleton(pen, one.flat(), place);
  }
}

// Somebody's scores: the best five as bars, with their recent past.
function person() {
  const what = element("b"), who = element("span"), bars = element("ol", {class: "bars"});
  const root = element("div", {class: "person"}, element("p", {}, what, who), bars);
  root.update = (value, more) => {
    say(what, value.name === null ? "no action" : `${value.name} ${percent(value.score)}`);
    const when = (value.age === undefined ? "" : `, ${value.age.toFixed(1)} s old`) + (value.here === false ? ", not here any more" : "");
    say(who, value.who + when + (more ? `, and ${more} more` : ""));
    root.classList.toggle("gone", value.here === false || value.age > OLD_S);
    each(bars, value.top, bar, (node, [name, score, past]) => node.update(name, score, past, value.truth === name));
  };
  return root;
}

function bar() {
  const name = element("span", {class: "name"}), fill = element("i"), value = element("span", {class: "value"}), path = svg("path");
  const spark = svg("svg", {class: "spark", viewBox: "0 0 47 100", preserveAspectRatio: "none", "aria-hidden": "true"}, path);
  const root = element("li", {}, name, element("span", {class: "track"}, fill), value, spark);
  root.update = (what, score, past, truth) => {
    say(name, what);
    name.title = root.title = `${what} ${percent(score)}`;
    fill.style.width = percent(score, 1).replace(" ", "");
    say(value, percent(score));
    root.classList.toggle("true", truth);
    path.setAttribute("d", past.map((y, i) => `${i ? "L" : "M"}${47 - past.length + 1 + i} ${100 - y}`).join(""));
  };
  return root;
}
