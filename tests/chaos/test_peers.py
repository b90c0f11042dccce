"""Peers that mean harm: messages without an end, connections that say nothing, readers that do not
read. The peers are processes' own sockets, by hand, so that they can do what libzmq would not."""

from __future__ import annotations

import json
import re
import resource
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest
import zmq

from engine.base.curve import make
from tests.chaos.test_memory import rss
from tests.support.joints import command
from tests.support.joints_backend import PACE
from tests.support.leaks import descendants
from tests.support.zmtp import connected, endless, greeting, ready

MUCH = 3 << 30  # bytes that a peer tries to leave
LIMIT = 700 << 20  # bytes that all processes may have more than before it came


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def memory(pid: int) -> int:
    return sum(rss(one) for one in {pid, *descendants(pid)})


class Run:
    """A command that runs, what it prints, and its memory."""

    def __init__(self, process: subprocess.Popen[str], errors: Path) -> None:
        self.process, self._errors = process, errors

    def line(self, part: str) -> str:
        """The next line with that in it."""
        assert self.process.stdout is not None
        while part not in (line := self.process.stdout.readline()):
            assert line, self.errors()
        return line

    def errors(self) -> str:
        return self._errors.read_text()

    def until(self, condition: Callable[[], Any], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.errors()
            assert time.monotonic() < end, self.errors()
            time.sleep(0.05)

    @property
    def memory(self) -> int:
        return memory(self.process.pid)


@contextmanager
def running(arguments: list[str], folder: Path, descriptors: int | None = None) -> Iterator[Run]:
    """`descriptors`: as ``ulimit -n`` sets them, soft and hard."""

    def limit() -> None:
        if descriptors is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    errors = folder / "stderr"
    with (
        errors.open("w") as file,
        subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=file, text=True, preexec_fn=limit
        ) as process,
    ):
        try:
            yield Run(process, errors)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def live(model: Path, *more: object) -> list[str]:
    """A command that listens."""
    found = command(Path("x"), model, *more)
    place = found.index("--dataset")
    return [*found[:place], *found[place + 2 :]]


def frame(number: int) -> bytes:
    person = [[10.0 + joint, 20.0 + joint, 0.9] for joint in range(17)]
    people = [{"id": 1, "kpts": person}]
    about = {"stream": "door", "frame": number, "t": number / 30, "size": [640, 480]}
    return orjson.dumps({**about, "rate": 30, "people": people})


def feed(socket: zmq.Socket[bytes], lines: Path, first: int, topic: bool = False) -> int:
    """Send frames until labels of them come. Returns the number of the next frame."""
    before = lines.read_bytes().count(b"\n") if lines.exists() else 0
    end = time.monotonic() + 60
    while not lines.exists() or lines.read_bytes().count(b"\n") <= before:
        assert time.monotonic() < end
        socket.send_multipart([b"poses"] * topic + [frame(first)])
        first += 1
        time.sleep(0.01)
    return first


def feed_websocket(port: int, count: int) -> None:
    """Send so many frames over a connection of their own."""
    from websockets.sync.client import connect

    with connect(f"ws://127.0.0.1:{port}", open_timeout=5, close_timeout=5) as client:
        for number in range(count):
            client.send(frame(number).decode())
            time.sleep(0.002)


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        ("pull", 1 << 20),
        ("sub", 1),
        pytest.param("pull", 1, marks=pytest.mark.full),
        pytest.param("sub", 1 << 20, marks=pytest.mark.full),
    ],
)
def test_a_message_without_an_end_to_a_source(
    tiny_model: Path, tmp_path: Path, kind: str, part: int
) -> None:
    """It costs a bounded amount, and its peer the connection; who speaks properly is heard."""
    port, lines = free_port(), tmp_path / "labels.jsonl"
    with ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        if kind == "pull":
            peer: Any = stack.enter_context(context.socket(zmq.PUSH))
            peer.connect(f"tcp://127.0.0.1:{port}")
        else:
            hostile = stack.enter_context(socket.create_server(("127.0.0.1", port)))
            peer = stack.enter_context(context.socket(zmq.PUB))
            honest = peer.bind_to_random_port("tcp://127.0.0.1")
        peer.setsockopt(zmq.LINGER, 0)
        sources = ["--source", f"zmq+{kind}://127.0.0.1:{port}"]
        if kind == "sub":
            sources += ["--source", f"zmq+sub://127.0.0.1:{honest}"]
        run = stack.enter_context(running(live(tiny_model, *sources, "--output", lines), tmp_path))
        run.line("source")
        number = feed(peer, lines, 0, topic=kind == "sub")
        before = run.memory
        if kind == "pull":
            attacker = stack.enter_context(connected(port, "PUSH"))
        else:
            attacker = stack.enter_context(hostile.accept()[0])
            attacker.sendall(greeting() + ready("PUB"))
        endless(attacker, part, MUCH, 15)
        assert run.memory - before < LIMIT
        run.until(lambda: "without the end of a message" in run.errors())
        feed(peer, lines, number, topic=kind == "sub")


@pytest.mark.parametrize(
    ("door", "secured", "part"),
    [
        ("guests", False, 60_000),
        ("clips", False, 1),
        ("clips", True, 60_000),
        *(
            pytest.param(*case, marks=pytest.mark.full)
            for case in (
                ("guests", False, 1),
                ("guests", True, 60_000),
                ("guests", True, 1),
                ("clips", False, 60_000),
                ("clips", True, 1),
            )
        ),
    ],
)
def test_a_message_without_an_end_to_an_engine_that_listens(
    many: Path,
    tiny_model: Path,
    undisturbed: Any,
    tmp_path: Path,
    door: str,
    secured: bool,
    part: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a neighbour without a key: nothing happens to the run, and with keys he is not even
    heard."""
    monkeypatch.setenv(PACE, "0.05")
    more: list[object] = ["--max-memory", "256M", "--output", tmp_path / "o.jsonl"]
    if secured:
        make(tmp_path / "keys", ["alice"])
        more += ["--keys", tmp_path / "keys"]
    with running(command(many, tiny_model, "--listen", "tcp://127.0.0.1", *more), tmp_path) as run:
        port = int(re.findall(r":(\d+)", run.line("listening"))[0])
        before = run.memory
        ports = {
            one.laddr.port
            for pid in {run.process.pid, *descendants(run.process.pid)}
            for one in psutil.Process(pid).net_connections("tcp")
            if one.status == psutil.CONN_LISTEN
        }
        target = port if door == "guests" else next(iter(ports - {port}))
        with connected(target, "DEALER" if door == "guests" else "PUSH") as attacker:
            sent = endless(attacker, part, MUCH, 10)
        assert run.memory - before < LIMIT + (256 << 20)
        assert sent < MUCH
        said = "without a key" if secured else "without the end of a message"
        run.until(lambda: said in run.errors())
        assert run.process.wait(120) == 0
    records = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert sorted(record["id"] for record in records) == sorted(undisturbed)


def test_a_message_without_an_end_to_the_publisher(tiny_model: Path, tmp_path: Path) -> None:
    """By a subscriber."""
    arguments = live(tiny_model, "--source", "demo", "--publish", "tcp://127.0.0.1:0")
    with running(arguments, tmp_path) as run:
        port = int(run.line("publish").rpartition(":")[2])
        run.line("  demo-")  # a label
        before = run.memory
        with connected(port, "SUB") as attacker:
            assert endless(attacker, 1000, MUCH, 15) < MUCH
        assert run.memory - before < LIMIT
        with zmq.Context() as context, context.socket(zmq.SUB) as honest:
            honest.subscribe(b"")
            honest.connect(f"tcp://127.0.0.1:{port}")
            assert honest.poll(20_000)


def test_subscribers_that_read_nothing(tiny_model: Path, tmp_path: Path) -> None:
    """Two hundred of them hold nobody up, and cost little."""
    arguments = live(tiny_model, "--source", "demo:8", "--publish", "tcp://127.0.0.1:0")
    with running(arguments, tmp_path) as run, ExitStack() as stack:
        port = int(run.line("publish").rpartition(":")[2])
        run.line("  demo-")
        before = run.memory
        for _ in range(200):
            peer = stack.enter_context(connected(port, "SUB"))
            peer.sendall(b"\x00\x01\x01")  # a subscription to everything
        context = stack.enter_context(zmq.Context())
        honest = stack.enter_context(context.socket(zmq.SUB))
        honest.subscribe(b"")
        honest.connect(f"tcp://127.0.0.1:{port}")
        for _ in range(100):
            assert honest.poll(20_000)
            honest.recv_multipart()
        assert run.memory - before < LIMIT


def idle(port: int, count: int, stack: ExitStack) -> None:
    """Connections that say nothing: so many, or until some are not taken."""
    refused = 0
    while count and refused < 10:
        try:
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 0.5))
            count -= 1
        except OSError:
            refused += 1


def test_idle_connections_to_an_engine_that_listens(
    many: Path, tiny_model: Path, undisturbed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as it may have descriptors, and then a worker dies: the run has them left for its
    replacement, and for the files that it writes in the end."""
    monkeypatch.setenv(PACE, "0.02")
    scores, summary = tmp_path / "s.npz", tmp_path / "s.json"
    more = ["--workers", 1, "--scores", scores, "--summary", summary]
    arguments = command(many, tiny_model, "--listen", "tcp://127.0.0.1", *more)
    with ExitStack() as stack:
        run = stack.enter_context(running(arguments, tmp_path, descriptors=400))
        idle(int(re.findall(r":(\d+)", run.line("listening"))[0]), 500, stack)
        worker = next(
            child
            for child in psutil.Process(run.process.pid).children()
            if any("spawn_main" in word for word in child.cmdline())
        )
        worker.kill()
        assert run.process.wait(120) == 0, run.errors()
    assert scores.stat().st_size
    assert summary.stat().st_size


@pytest.mark.parametrize("door", ["ws", "dashboard", "metrics"])
def test_idle_connections_to_a_server(tiny_model: Path, tmp_path: Path, door: str) -> None:
    """More than there are descriptors: the run goes on, and who asks is answered, at that time and
    when they have gone."""
    port = free_port()
    more: list[object] = ["--source", "demo:1"]
    if door == "ws":
        pytest.importorskip("websockets")
        more += ["--source", f"ws://127.0.0.1:{port}"]
    else:
        more += [f"--{door}", f"127.0.0.1:{port}"]
    lines = tmp_path / "labels.jsonl"

    def answered() -> bool:
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            client.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            client.settimeout(5)
            try:
                return client.recv(100).startswith(b"HTTP/1.")
            except OSError:
                return False

    with running(live(tiny_model, *more, "--output", lines), tmp_path, descriptors=400) as run:
        run.until(lambda: lines.exists() and lines.stat().st_size)
        for _ in range(2):
            with ExitStack() as stack:
                idle(port, 500, stack)
                size = lines.stat().st_size
                run.until(answered)
                run.until(lambda size=size: lines.stat().st_size > size)
            run.until(answered)
