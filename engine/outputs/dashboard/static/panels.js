// The panels below the stage: latency, rates, batches, processes, sources, events.

import {$, bytes, each, element, say, short, svg, table} from "./elements.js";

const NAMES = {assign: "to a worker", decode: "decode", transport: "transport", queue: "queue and batch", infer: "network, its share", total: "from sample to record", "end to end": "from last frame to label"};
const WHOLE = ["total", "end to end"];  // all stages together

export function latency(stages) {
  const list = Object.entries(stages), parts = list.filter(([stage]) => !WHOLE.includes(stage));
  each($("stages"), parts, () => element("i"), (node, [stage, [p50]]) => {
    node.className = `stage-${stage}`;
    node.style.flexGrow = p50;
    node.title = `${NAMES[stage] || stage}: ${short(p50)} ms`;
  });
  $("stages").setAttribute("aria-label", parts.map(([stage, [p50]]) => `${NAMES[stage] || stage} ${short(p50)} ms`).join(", "));
  table($("latency"), ["stage", "p50", "p95"], list.map(([stage, [p50, p95]]) => [NAMES[stage] || stage, `${short(p50)} ms`, `${short(p95)} ms`]), [1, 2]);
  list.forEach(([stage], i) => { $("latency").tBodies[0].rows[i].cells[0].className = WHOLE.includes(stage) ? "" : `stage stage-${stage}`; });
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
  const sizes = Object.entries(counts).filter(([, count]) => count).sort(([a], [b]) => a - b);
  const most = Math.max(1, ...sizes.map(([, count]) => count));
  each($("batches"), sizes, () => element("div", {}, element("span"), element("i"), element("b")), (node, [size, count]) => {
    say(node.children[0], count);
    node.children[1].style.height = `${Math.max(2, 90 * count / most)}px`;
    say(node.children[2], size);
    node.title = `${count} with ${size} in a batch`;
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
