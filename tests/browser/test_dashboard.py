"""The page in a real browser, told by real runs."""

from __future__ import annotations

import json
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from tests.browser.conftest import Begin
from tests.browser.shown import (
    SIZE,
    bars,
    count,
    drawn,
    drawn_at,
    fits,
    looks_well,
    no_complaints,
    text,
    until,
)
from tests.integration.test_livestream import free_port
from tests.support.samples import annotation

HOSTILE = "<img src=x onerror=alert(1)>"


WHOLE_TABLE = """
const around = document.querySelector("#processes").parentElement;
return around.scrollWidth <= around.clientWidth
"""
EMPTY_BATCHES = """
return [...document.querySelectorAll("#batches span")].filter(e => e.textContent === "0").length
"""


class Cameras:
    """Streams that send at 30 frames/s until they are told not to."""

    def __init__(self, port: int) -> None:
        self.bodies: dict[str, Callable[[int], Any]] = {}  # joints [17, 3] of a moment
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH)
        self._socket.connect(f"tcp://127.0.0.1:{port}")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        number = 0
        while not self._over.wait(1 / 30):
            number += 1
            for stream, body in list(self.bodies.items()):
                people = [{"id": HOSTILE, "kpts": body(number).tolist()}]
                frame = {"stream": stream, "frame": number, "t": number / 30, "size": SIZE}
                self._socket.send(json.dumps({**frame, "people": people}).encode())

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._context.destroy(linger=0)


def standing(number: int) -> Any:
    """Somebody who does not move, joints far apart."""
    body = np.zeros((17, 3))
    body[:5, :2] = np.array([320, 60]) + np.arange(5)[:, None] * 4
    body[5:, 0] = np.tile([400, 240], 6)
    body[5:, 1] = np.repeat([120, 180, 220, 260, 350, 440], 2)
    body[:, 2] = 0.9
    return body


def waving(number: int) -> Any:
    body = standing(number)
    body[5:, :2] += 60 * np.sin(number / 4 + np.arange(24).reshape(12, 2))
    return body


@contextmanager
def cameras(port: int) -> Iterator[Cameras]:
    found = Cameras(port)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture(params=[(1280, "light"), (1280, "dark"), (390, "dark")], ids=str)
def window(browser: Any, request: pytest.FixtureRequest) -> Any:
    """The browser, of such a width, and how it looks."""
    width, theme = request.param
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 2, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": feature})
    return browser


def test_streams(window: Any, run: Begin) -> None:
    """Skeletons move, bars change, and the page says when the run is over."""
    port = free_port()
    with run("--source", f"zmq+pull://127.0.0.1:{port}", "--stride", 0.2) as running:
        window.get(running.url)
        with cameras(port) as sent:
            sent.bodies = {"door": standing, HOSTILE: waving}
            until(lambda: drawn_at(window, "door", standing(0)), "a skeleton is drawn")
            until(lambda: len(set(bars(window))) >= 5, "there are bars")
            before = bars(window)
            elsewhere = standing(0) + np.array([100, 20, 0])
            assert not drawn_at(window, "door", elsewhere)
            sent.bodies["door"] = lambda number: elsewhere
            until(lambda: drawn_at(window, "door", elsewhere), "it moves")
            assert not drawn_at(window, "door", standing(0)), "and is nowhere else"
            until(lambda: bars(window) != before, "bars change")
            assert count(window, "img") == 0, "text stays text"
            assert count(window, ".spark path[d*=L]") > 0, "they have a past"
            until(lambda: text(window, ".rate:nth-child(2) b") != "0", "rates change")
            line = "return document.querySelector('.rate .line').getAttribute('d').length"
            short = window.execute_script(line)
            until(lambda: window.execute_script(line) > short, "and their past grows")
            visible = text(window, "body")
            for said in (
                HOSTILE,
                "of 2 streams live",
                "frames a second",
                "from last frame to label",
                "executor-0.1",
                "worker-0.1",
                "in a batch",
                f"zmq+pull://127.0.0.1:{port}",
                "door begins",
            ):
                assert said in visible
            fits(window)
            above = "return document.querySelector('#stage').getBoundingClientRect().top"
            assert window.execute_script(above) < 220, "streams come first"
            assert count(window, "#batches div") >= 1
            assert window.execute_script(EMPTY_BATCHES) == 0
            assert window.execute_script(WHOLE_TABLE), "all of the processes' table is in view"
            looks_well(window)
        no_complaints(window)
        running.process.send_signal(signal.SIGINT)
        until(lambda: text(window, "#link") == "the run is over", "the run is over")


def test_a_stream_dies(browser: Any, run: Begin) -> None:
    port = free_port()
    with run("--source", f"zmq+pull://127.0.0.1:{port}") as running, cameras(port) as sent:
        browser.get(running.url)
        sent.bodies = {"door": standing, "yard": waving}
        until(lambda: "2\nof 2 streams live" in text(browser, "#tiles"), "both live")
        del sent.bodies["door"]
        until(lambda: "silent for" in text(browser, ".card.silent"), "it is silent")
        until(lambda: text(browser, ".card.over .badge") == "over", "it is over")
        until(lambda: "door is over" in text(browser, "#events"), "and that is an event")
        assert "1\nof 2 streams live" in text(browser, "#tiles")
        assert text(browser, "#link") == "live"
    browser.get("about:blank")


def test_a_process_dies(browser: Any, run: Begin) -> None:
    with run("--source", "demo:1") as running:
        browser.get(running.url)
        until(lambda: "executor-0.1" in text(browser, "#processes"), "the table is there")
        pids = browser.execute_script(
            "return [...document.querySelectorAll('#processes tbody tr')]"
            ".map(row => [row.cells[0].textContent, Number(row.cells[1].textContent)])"
        )
        [worker] = [pid for name, pid in pids if name == "worker-0.1"]
        os.kill(worker, signal.SIGKILL)
        until(lambda: "worker-0.2" in text(browser, "#processes"), "it has been replaced")
        until(lambda: "worker-0.1" in text(browser, "#events .warning"), "and is an event")
        assert text(browser, "#restarts") == "1 died and were replaced."
        running.process.kill()
        until(lambda: "not reached" in text(browser, "#link"), "the engine is gone")
    browser.get("about:blank")


def test_samples(window: Any, run: Begin, tmp_path: Path) -> None:
    """A run over a data set, with samples that cannot be used."""
    path = tmp_path / "data.pkl"
    samples = [annotation(40, seed=n, persons=1 + n % 2) for n in range(150)]
    samples[3] = annotation(20, seed=3, img_shape=(0, 0))
    samples[0]["frame_dir"] = HOSTILE
    path.write_bytes(pickle.dumps(samples))
    with run("--dataset", path) as running:
        window.get(running.url)
        until(lambda: count(window, ".card") >= 2, "samples are shown")
        first = until(lambda: drawn(window), "a skeleton is drawn")
        until(lambda: drawn(window) not in (b"", first), "and it moves")
        assert len(bars(window)) % 5 == 0
        until(lambda: "\nleft" in text(window, "#tiles"), "it says for how long")
        visible = text(window, "body")
        for said in (
            "of 150 samples",
            "samples a second, end to end",
            "samples failed",
            "top-1 accuracy so far",
            "from sample to record",
        ):
            assert said in visible
        assert count(window, "img") == 0
        assert float(window.execute_script("return document.querySelector('progress').value")) > 0
        fits(window)
        until(lambda: running.process.poll() is not None, "the run ends", 60)
        until(lambda: "the run is over" in text(window, "#link"), "and the page knows")
        assert text(window, ".tile b") == "150", "what it came to stays to be seen"


def test_cards_that_are_younger_than_a_frame(browser: Any, run: Begin, tmp_path: Path) -> None:
    """A slow page makes a card after the frame has begun that paints it: here two seconds."""
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps([annotation(40, seed=n) for n in range(8)]))
    late = "const now = performance.now.bind(performance); performance.now = () => now() + 2000"
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": late})
    with run("--dataset", path) as running:
        browser.get(running.url)
        until(lambda: count(browser, ".card"), "samples are shown")
        first = until(lambda: drawn(browser), "a skeleton is drawn")
        until(lambda: drawn(browser) not in (b"", first), "and it moves")
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_by_keyboard(browser: Any, run: Begin) -> None:
    """Everything that can be done can be done without a mouse."""
    from selenium.webdriver import ActionChains, Keys

    with run("--source", "demo:2") as running:
        browser.get(running.url)
        until(lambda: count(browser, ".card") == 2, "streams are shown")
        press = lambda *keys: ActionChains(browser).send_keys(*keys).perform()  # noqa: E731
        reached = []
        for _ in range(12):
            press(Keys.TAB)
            reached.append(
                browser.execute_script(
                    "const e = document.activeElement; return e.id || e.className || e.innerText"
                )
            )
        assert reached[:4] == ["pause", "theme", "Enlarge", "Enlarge"]
        assert reached.count("scroll") >= 2, "what scrolls can be scrolled"
        browser.execute_script("document.querySelector('.card button').focus()")
        press(Keys.ENTER)
        assert count(browser, ".card.big") == 1
        until(lambda: count(browser, ".card.big .person"), "it has a label")
        low = "return document.querySelector('.card.big .person').getBoundingClientRect().bottom"
        assert 0 < browser.execute_script(low) <= browser.execute_script("return innerHeight")
        press(Keys.ESCAPE)
        assert count(browser, ".card.big") == 0
        press("p")
        assert text(browser, "#link") == "paused"
        seconds = text(browser, "#tiles")
        time.sleep(1.5)
        assert text(browser, "#tiles") == seconds
        press("p")
        until(lambda: text(browser, "#tiles") != seconds, "it goes on")
        seen = []
        for _ in range(3):
            press("t")
            seen.append(
                browser.execute_script(
                    "return [document.documentElement.dataset.theme,"
                    " getComputedStyle(document.body).backgroundColor]"
                )
            )
        assert [name for name, _ in seen] == ["light", "dark", "system"]
        assert seen[0][1] != seen[1][1]
        unnamed = browser.execute_script("""
            const wanted = "button, input, select, canvas, svg[role], progress";
            return [...document.querySelectorAll(wanted)]
                .filter(e => !(e.innerText || e.getAttribute("aria-label") || e.labels?.length))
                .map(e => e.outerHTML)
        """)
        assert unnamed == []
        no_complaints(browser)
    browser.get("about:blank")


MODEL = """
export const layout = "coco17";
let count = 0;
export async function people(video, ms) {
  if (!video.videoWidth) throw new Error("no picture");
  count++;
  const sway = j => 5 * Math.sin(count / 5 + j);
  return [Array.from({length: 17}, (_, j) => [100 + 20 * j, 100 + 15 * j + sway(j), 0.9])];
}
"""


def test_the_camera_of_the_browser(browser_with_camera: Any, run: Begin, tmp_path: Path) -> None:
    """It sends poses to the run's own `ws` source, and shows what comes of them."""
    browser, port = browser_with_camera, free_port()
    model = tmp_path / "poses.mjs"
    model.write_text(MODEL)
    out = tmp_path / "labels.jsonl"
    with run("--source", f"ws://127.0.0.1:{port}", "--stride", 0.2, "--output", out) as running:
        browser.get(running.url)
        by = browser.find_element
        until(lambda: by("id", "camera").is_displayed(), "there is a form")
        by("id", "model").send_keys(str(model))
        by("id", "name").clear()
        by("id", "name").send_keys("my desk")
        by("id", "record").click()
        until(lambda: "frames sent" in text(browser, "#camera-state"), "poses are sent")
        until(lambda: "my desk" in text(browser, ".card h3"), "the stream is there")
        until(lambda: len(bars(browser)) == 5, "and has labels")
        until(lambda: "live" in text(browser, ".card .badge"), "and lives")
        by("id", "record").click()
        until(lambda: "Stopped" in text(browser, "#camera-state"), "it can be stopped")
        until(lambda: text(browser, ".card .badge") == "over", "at once", 5)
        (tmp_path / "none.mjs").write_text("export const nothing = 1;")
        by("id", "model").send_keys(str(tmp_path / "none.mjs"))
        by("id", "record").click()
        until(lambda: "exports no function people" in text(browser, "#camera-state"), "it says why")
        no_complaints(browser)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert {line["stream"] for line in lines} == {"my desk"}
    assert all("error" not in line for line in lines)


@pytest.mark.full
@pytest.mark.timeout(900)
def test_ten_minutes(browser: Any, run: Begin) -> None:
    """Nothing grows: neither the page nor the engine's process."""
    with run("--source", "demo:3") as running:
        browser.get(running.url)
        until(lambda: count(browser, ".card") == 3, "streams are shown")
        found = []
        for _ in range(10):
            time.sleep(60)
            browser.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
            browser.execute_cdp_cmd("Performance.enable", {})
            metrics = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
            figures = {m["name"]: m["value"] for m in metrics}
            status = Path(f"/proc/{running.process.pid}/status").read_text()
            memory = int(status.partition("VmRSS:")[2].split()[0]) / 1e3
            found.append((figures["JSHeapUsedSize"] / 1e6, figures["Nodes"], memory))
            print("heap {:.2f} MB, {:.0f} nodes; supervisor {:.1f} MB".format(*found[-1]))
        heap, nodes, memories = np.array(found).T
        assert heap[-3:].min() < heap[2:5].max() + 0.5
        assert nodes[-3:].min() <= nodes[2:5].max() + 200
        assert memories[-1] < memories[3] + 10
        no_complaints(browser)
    browser.get("about:blank")


def test_one_run_after_another(browser: Any, run: Begin, tmp_path: Path) -> None:
    """A page that stays open shows whatever runs there, and its end even if it was paused."""
    path, address = tmp_path / "data.pkl", f"127.0.0.1:{free_port()}"
    path.write_bytes(pickle.dumps([annotation(40, seed=n) for n in range(5)]))
    with run("--dataset", path, address=address) as running:
        browser.get(running.url)
        until(lambda: text(browser, "#stage-title") == "Samples", "a data set")
        until(lambda: running.process.poll() is not None, "which ends")
        until(lambda: count(browser, ".card") == 5, "all that it has is shown")
    with run("--source", "demo:1", address=address) as running:
        until(lambda: text(browser, "#stage-title") == "Streams", "a live run")
        until(lambda: "1\nof 1 streams live" in text(browser, "#tiles"), "which lives")
        assert not browser.find_element("id", "progress").is_displayed()
        assert count(browser, ".card") == 1
        browser.find_element("id", "pause").click()
        running.process.send_signal(signal.SIGINT)
        running.process.wait(30)
        time.sleep(0.5)
        browser.find_element("id", "pause").click()
        until(lambda: text(browser, "#link") == "the run is over", "paused, it has heard that")
        assert text(browser, ".card .badge") == "over"
    browser.get("about:blank")
