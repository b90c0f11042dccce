// The panels below the stage: latency, rates, batches, processes, sources, events.

import {$, bytes, each, element, percent, say, short, svg, table} from "./elements.js";

const NAMES = {assign: "to a worker", decode: "decode", transport: "transport", queue: "queue, and others of the batch", infer: "network, its share", total: "from sample to record", "end to end": "from last frame to label"};
const LOW = 0.1;  // milliseconds, the axis' left end
const ROWS = 32;  // of batches, also of sizes that there were none of

export function latency(stages) {
  const high = Math.max(1000, ...Object.values(stages).map(([, q]) => q));
  const at = ms => percent(Math.max(0, Math.log(Math.max(ms, LOW) / LOW) / Math.log(high / LOW)), 1).replace(" ", "");
  const node = $("latency");
  say($("axis"), `Milliseconds of the last 30 seconds, on a logarithmic axis from ${LOW} to ${short(high)}. Bar: median. Line: 95th percentile.`);
  table(node, ["stage", "", "p50", "p95"], Object.entries(stages).map(([stage, [p50, p95]]) => [NAMES[stage] || stage, undefined, `${short(p50)} ms`, `${short(p95)} ms`].map(cell => cell ?? "")), [2, 3]);
  Object.values(stages).forEach(([p50, p95], i) => {
    const cell = node.tBodies[0].rows[i].cells[1];
    if (!cell.firstElementChild) { cell.className = "wide"; cell.append(element("div", {class: "track"}, element("i", {class: "fill"}), element("b"))); }
    const [fill, mark] = cell.firstElementChild.children;
    fill.style.width = at(p50);
    mark.style.left = at(p95);
  });
}

export function rates(series, current) {
  const names = Object.keys(series).filter(name => name !== "ago");
  each($("rates"), names, () => {
    const base = svg("path", {class: "base", d: "M0 50H120"}), area = svg("path", {class: "area"}), line = svg("path", {class: "line"});
    const picture = svg("svg", {viewBox: "0 0 120 50", preserveAspectRatio: "none", role: "img"}, base, area, line);
    const root = element("div", {class: "rate"}, element("div", {}, element("b"), element("span")), picture);
    root.update = (name, values, ago, now) => {
      const high = Math.max(1e-9, ...values);
      const points = values.map((y, i) => `${(120 - ago[i]).toFixed(1)} ${(50 - 48 * y / high).toFixed(1)}`);
      const path = points.length ? `M${points.join("L")}` : "";
      line.setAttribute("d", path);
      area.setAttribute("d", points.length ? `${path}V50H${120 - ago[0]}Z` : "");
      picture.setAttribute("aria-label", `${name} a second over the last two minutes, ${short(Math.max(0, ...values))} at most`);
      say(root.querySelector("b"), short(now));
      say(root.querySelector("span"), `${name}/s`);
    };
    return root;
  }, (node, name) => node.update(name, series[name], series.ago, current[name] || 0));
}

export function batches(counts) {
  const largest = Math.max(0, ...Object.keys(counts).map(Number)), all = Array.from({length: largest}, (_, i) => i + 1);
  const sizes = (largest <= ROWS ? all : all.filter(size => counts[size])).map(size => [size, counts[size] || 0]);
  const most = Math.max(1, ...sizes.map(([, count]) => count)), node = $("batches");
  table(node, ["in a batch", "", "batches"], sizes.map(([size, count]) => [size, "", count]), [2]);
  sizes.forEach(([, count], i) => {
    const cell = node.tBodies[0].rows[i].cells[1];
    if (!cell.firstElementChild) { cell.className = "wide"; cell.append(element("div", {class: "track"}, element("i", {class: "fill"}))); }
    cell.firstElementChild.firstElementChild.style.width = percent(count / most, 1).replace(" ", "");
  });
}

export function processes(list, restarts) {
  say($("restarts"), restarts ? `${restarts} died and were replaced.` : "None has died.");
  table($("processes"), ["process", "pid", "state", "cores", "memory", "says nothing for"], list.map(p => [
    p.process, p.pid, p.killed ? `killed: ${p.killed}` : p.ready ? "ready" : "starting", p.cpu.toFixed(2), bytes(p.rss), p.silent === undefined ? "" : `${p.silent.toFixed(1)} s`,
  ]), [1, 3, 4, 5]);
}

export function sources(all) {
  const list = Object.entries(all);
  $("sources-section").hidden = list.length === 0;
  table($("sources"), ["source", "messages", "refused", "lost", "state"], list.map(([name, s]) => [name, s.taken, s.refused, s.lost, s.error ? `ended: ${s.error}` : s.over ? "over" : "open"]), [1, 2, 3]);
  list.forEach(([, s], i) => { $("sources").tBodies[0].rows[i].cells[4].className = s.error ? "error" : ""; });
}

export function events(list) {
  const latest = list.toReversed();
  table($("events"), ["time", "process", "what"], latest.map(e => [new Date(e.time).toLocaleTimeString(), e.process, e.text]));
  latest.forEach((e, i) => { $("events").tBodies[0].rows[i].cells[2].className = e.level; });
}
