// The page: takes what the engine tells it, and keeps the clock.

import {camera} from "./camera.js";
import {$, each, element, percent, say, short, time} from "./elements.js";
import * as panels from "./panels.js";
import {forgetColours} from "./skeleton.js";
import {Stage} from "./stage.js";

const SILENT_MS = 8000, RETRY_MS = 2000;
const stage = new Stage($("stage"));
const held = new Map();  // what came while it was paused, the last of each
let paused = false, over = null, heard = performance.now(), reached = false, stream = null;

history.replaceState(null, "", location.pathname);  // the token has been kept as a cookie

const takers = {
  state(state) {
    over = state.about.over || null;
    introduce(state.about);
    tiles(state);
    say($("lagging"), state.behind || "");  // that the device cannot keep up
    $("lagging").hidden = !state.behind;
    if (state.streams) stage.streams(state.streams);
    $("nobody").hidden = stage.cards.size > 0;
    panels.latency(state.latency);
    panels.rates(state.series, state.rates);
    panels.batches(state.batches || {});
    panels.processes(state.processes, state.restarts || 0);
    panels.sources(state.sources || {});
  },
  skeletons(byName) { stage.skeletons(byName, performance.now()); },
  samples(list) { stage.samples(list); $("nobody").hidden = list.length > 0; },
  events: panels.events,
  beat() {},
};

function connect() {
  stream = new EventSource("events");
  for (const [name, take] of Object.entries(takers)) {
    stream.addEventListener(name, message => {
      heard = performance.now();
      reached = true;
      if (paused) held.set(name, message.data);
      else take(JSON.parse(message.data));
      link();
    });
  }
  stream.addEventListener("error", () => {
    reached = false;
    link();
    // a refusal, unlike a broken connection, is final to the browser
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, RETRY_MS);
  });
}

function link() {
  const silent = (performance.now() - heard) / 1000;
  let [kind, text] = ["good", paused ? "paused" : "live"];
  if (over !== null) [kind, text] = ["odd", over];
  else if (!reached) [kind, text] = ["bad", `engine not reached for ${silent.toFixed(0)} s`];
  else if (1000 * silent > SILENT_MS) [kind, text] = ["bad", `nothing heard for ${silent.toFixed(0)} s`];
  say($("link"), text);
  $("link").className = `badge ${kind}`;
  document.body.classList.toggle("stale", kind !== "good");
}

function introduce(about) {
  const parts = about.kind ? [...about.where, about.model, about.backend] : ["starting: the model is loaded"];
  say($("about"), parts.join(" · "));
  document.title = about.kind ? `${about.where[0]} · posec3d-engine` : "posec3d-engine";
  const recorded = about.kind === "dataset";
  say($("stage-title"), recorded ? "Samples" : "Streams");
  say($("stage-about"), recorded ? "" : `Bold: the label with its score, of the mean of ${about.smooth || 1} windows, and its age. Bars: the last window alone, and the ones before it as a line. `);
  $("progress").hidden = !recorded;
  camera(about.kind ? about.camera : []);  // before that nobody takes poses
}

function tiles(state) {
  const found = [];
  if (state.streams) {
    const live = state.streams.filter(s => s.state === "live").length;
    found.push([live, `of ${state.streams.length} streams live`], [short(state.rates.frames || 0), "frames a second"], [short(state.rates.labels || 0), "labels a second"]);
    const end = state.latency["end to end"];
    if (end) found.push([`${end[0].toFixed(0)} ms`, "last frame to label, median"], [`${end[1].toFixed(0)} ms`, "95th percentile"]);
    found.push([state.totals["left out"] || 0, "windows left out", state.rates["left out"] > 0]);
    if (state.failed) found.push([state.failed, "windows failed", true]);
  } else if (state.of !== undefined) {
    $("bar").value = state.of ? state.done / state.of : 0;
    found.push([state.done, `of ${state.of} samples`], [short(state.rates.samples || 0), "samples a second, end to end"]);
    if (state.top1 !== null) found.push([percent(state.top1, 1), "top-1 accuracy so far"]);
    if (state.left_s !== null && !over) found.push([time(state.left_s), "left"]);
    if (state.failed) found.push([state.failed, "samples failed", true]);
  }
  found.push([time(state.seconds), "since it began"]);
  each($("tiles"), found, () => element("div", {class: "tile"}, element("b"), element("span")), (node, [value, what, bad]) => {
    say(node.children[0], value);
    say(node.children[1], what);
    node.className = bad ? "tile bad" : "tile";
  });
}

// Controls

function pause() {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", paused);
  say($("pause"), paused ? "Go on" : "Pause");
  if (!paused) for (const [name, data] of held) takers[name](JSON.parse(data));
  held.clear();
  link();
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  say($("theme"), `Theme: ${name}`);
  localStorage.setItem("theme", name);
  forgetColours();
  stage.repaint();
}

const next = {system: "light", light: "dark", dark: "system"};
$("pause").addEventListener("click", pause);
$("theme").addEventListener("click", () => theme(next[document.documentElement.dataset.theme]));
theme(localStorage.getItem("theme") || "system");
addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select")) return;
  if (event.key === "p") pause();
  if (event.key === "t") $("theme").click();
  if (event.key === "Escape") stage.shrink();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { forgetColours(); stage.repaint(); });
addEventListener("resize", () => stage.repaint());

function paint(now) {
  requestAnimationFrame(paint);
  if (!paused) stage.paint(now);
}
requestAnimationFrame(paint);
setInterval(link, 1000);
connect();
