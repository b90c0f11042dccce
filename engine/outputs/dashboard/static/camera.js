// The camera of this browser as a source: a pose model of the user's choice, poses to a `ws` source.
//
// The model is a module that exports `people(video, ms)`, which returns (a promise of) a list of
// [x, y, score] of each joint for each person, and `layout`, whose joints they are.

import {$, element, say} from "./elements.js";

const RATE = 30, FULL = 1 << 20;
let known = "", recording = null;

export function camera(addresses) {
  if (addresses.join() === known) return;
  known = addresses.join();
  $("camera").hidden = addresses.length === 0;
  $("to").replaceChildren(...addresses.map(address => element("option", {}, address)));
}

$("camera-form").addEventListener("submit", async event => {
  event.preventDefault();
  if (recording !== null) return recording.stop();
  $("record").disabled = true;
  try {
    recording = await begin($("model").files[0], $("name").value, $("to").value);
    say($("record"), "Stop");
  } catch (error) {
    tell(`The camera cannot be used: ${error.message || error}`);
  }
  $("record").disabled = false;
});

const tell = text => say($("camera-state"), text);

async function begin(file, stream, address) {
  if (!navigator.mediaDevices) throw new Error("browsers open cameras for https and localhost only");
  tell("Loading the pose model");
  const url = URL.createObjectURL(file), model = await import(url).finally(() => URL.revokeObjectURL(url));
  if (typeof model.people !== "function") throw new Error(`${file.name} exports no function people(video, ms)`);
  const media = await navigator.mediaDevices.getUserMedia({video: {width: 640, height: 480, frameRate: RATE}});
  try {
    const socket = await connected(address);
    const video = $("preview");
    video.srcObject = media;
    await video.play();
    video.hidden = false;
    return new Recording(model, media, socket, video, stream);
  } catch (error) {
    for (const track of media.getTracks()) track.stop();
    throw error;
  }
}

function connected(address) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(address);
    socket.addEventListener("open", () => resolve(socket), {once: true});
    socket.addEventListener("error", () => reject(new Error(`${address} does not take poses`)), {once: true});
  });
}

class Recording {
  constructor(model, media, socket, video, stream) {
    Object.assign(this, {model, media, socket, video, stream, begun: performance.now(), last: -1, sent: 0, skipped: 0, over: false});
    socket.addEventListener("close", () => this.stop("The engine has closed the connection"));
    media.getVideoTracks()[0].addEventListener("ended", () => this.stop("The camera is gone"));
    this.turn = () => this.look().catch(error => this.stop(`The pose model failed: ${error.message || error}`));
    video.requestVideoFrameCallback(this.turn);
  }
  async look() {
    if (this.over) return;
    // numbered by the clock, so that a window spans its seconds however slow the model is
    const now = performance.now(), frame = Math.round((now - this.begun) / 1000 * RATE);
    if (frame > this.last && this.video.videoWidth) {
      this.last = frame;
      const found = await this.model.people(this.video, now);
      if (this.over) return;
      if (this.socket.bufferedAmount > FULL) this.skipped++;
      else { this.send(frame, found.map(kpts => ({kpts}))); this.sent++; }
      tell(`${this.sent} frames sent` + (this.skipped ? `, ${this.skipped} left out` : ""));
    }
    this.video.requestVideoFrameCallback(this.turn);
  }
  send(frame, people, end = false) {
    const size = [this.video.videoWidth, this.video.videoHeight], layout = this.model.layout || "coco17";
    this.socket.send(JSON.stringify({v: 1, stream: this.stream, frame, t: Date.now() / 1000, size, layout, rate: RATE, people, end}));
  }
  stop(reason = "Stopped") {
    if (this.over) return;
    this.over = true;
    recording = null;
    if (this.socket.readyState === WebSocket.OPEN) this.send(this.last + 1, [], true);
    this.socket.close();
    for (const track of this.media.getTracks()) track.stop();
    this.video.hidden = true;
    this.video.srcObject = null;
    say($("record"), "Start");
    tell(`${reason}. ${this.sent} frames were sent.`);
  }
}
