"""The examples of docs/live.md, run as they stand there."""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import zmq

from engine.sources.pose_frames import PoseFrame, decode, parse
from engine.sources.source import open_source
from tests.support import ROOT

PAGE = (ROOT / "docs" / "live.md").read_text()


def example(name: str) -> dict[str, Any]:
    """The names that the code block with `name` in it defines."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    [block] = [block for block in blocks if name in block]
    assert len(block.splitlines()) < 30
    found: dict[str, Any] = {}
    exec(compile(block, f"docs/live.md: {name}", "exec"), found)
    return found


def body(number: int) -> Any:
    low, high = [50, 50, 0.5], [200, 200, 1]
    return np.random.default_rng(number).uniform(low, high, (17, 3)).astype(np.float32)


def test_results_of_an_estimator(tiny_model: Path) -> None:
    results = [
        SimpleNamespace(
            orig_shape=(480, 640),
            keypoints=SimpleNamespace(data=np.stack([body(0), body(1)])),
            boxes=SimpleNamespace(id=[3, 8]),
        )
        for _ in range(50)
    ]
    results[7] = SimpleNamespace(orig_shape=(480, 640), keypoints=None, boxes=None)
    found = list(example("def labels")["labels"](results, model=str(tiny_model)))
    assert {label.who for label in found} == {3, 8}
    assert {label.stream for label in found} == {"camera"}


def test_a_bridge_from_ros() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    source, done = open_source(f"zmq+pull://127.0.0.1:{port}"), threading.Event()
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(source.messages(done.is_set)))
    thread.start()
    bridge = example("class Bridge")["Bridge"](f"tcp://127.0.0.1:{port}")
    stamp = SimpleNamespace(sec=12, nanosec=500_000_000)
    joints = [SimpleNamespace(x=0.01 * n, y=0.02 * n, c=0.9) for n in range(18)]
    message = SimpleNamespace(header=SimpleNamespace(stamp=stamp), skeleton=joints)
    for _ in range(3):
        bridge.on_skeleton("anna", message)
    until = time.monotonic() + 10
    while len(found) < 3 and time.monotonic() < until:
        bridge.on_skeleton("anna", message)
        time.sleep(0.1)
    done.set()
    thread.join(10)
    bridge.socket.close(0)
    zmq.Context.instance().term()
    frame = parse(decode(found[-1]))
    assert (frame.stream, frame.t, frame.size) == ("anna", 12.5, (640, 480))
    np.testing.assert_allclose(frame.people[0].kpts[1, :2], [0.14 * 640, 0.28 * 480], rtol=1e-5)


def test_a_source_fed_from_cpp(tmp_path: Path) -> None:
    path = str(tmp_path / "poses")
    source = example("def cpp")["cpp"](path)
    assert (source.name, source.live) == (f"cpp:{path}", True)

    def program() -> None:
        with socket.socket(socket.AF_UNIX) as client:
            while True:
                try:
                    client.connect(path)
                    break
                except OSError:
                    time.sleep(0.02)
            for number in range(3):
                client.sendall(struct.pack("<IdI", number, number / 30, 1))
                client.sendall(struct.pack("<i", 5) + body(number).tobytes())

    thread = threading.Thread(target=program)
    thread.start()
    frames = list(source.messages(lambda: False))
    thread.join()
    assert [frame.frame for frame in frames] == [0, 1, 2]
    assert all(isinstance(frame, PoseFrame) for frame in frames)
    [person] = frames[2].people
    assert person.id == 5
    np.testing.assert_array_equal(person.kpts, body(2))


@pytest.mark.parametrize("name", ["def labels", "class Bridge", "def cpp"])
def test_no_example_is_long(name: str) -> None:
    example(name)
