"""Promise 11: what comes over a wire is checked, bounded, and from those who may send it."""

from __future__ import annotations

import contextlib
import os
import random
import stat
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq

from engine.base.errors import WireError
from engine.base.recipe import HMDB51_RECIPE
from engine.pipeline import Pipeline
from engine.runtime.transport import clip_messages, wire
from engine.runtime.transport import messages as m
from engine.runtime.transport.messages import WorkerSettings
from engine.runtime.transport.wire import Message
from engine.runtime.worker import clips_of
from engine.skeletons.poses import PoseSequence
from tests.chaos.test_memory import rss
from tests.fuzz.messages import Wire
from tests.support.joints import options
from tests.support.runs import check, children
from tests.support.samples import annotation

Frames = list[bytes]


READERS: list[Callable[[Message], Any]] = [
    m.from_child,
    m.from_guest,
    m.to_child,
    m.to_guest,
    lambda message: clip_messages.read(message).clips(HMDB51_RECIPE),
]


def test_a_hundred_thousand_messages(tmp_path: Path) -> None:
    """To whoever reads any: refused by `WireError`, or really a message. What passes has arrays no
    larger than the frames that came."""
    door, rng = Wire(tmp_path), random.Random(0)
    passed, dropped = Counter[int](), 0
    for _ in range(100_000):
        frames = door.make(rng)
        try:
            message = wire.decode(frames)
        except WireError:
            dropped += 1
            continue
        assert message.nbytes <= sum(map(len, frames))
        for number, read in enumerate(READERS):
            with contextlib.suppress(WireError):
                read(message)
                passed[number] += 1
    assert dropped > 20_000
    for number in range(len(READERS)):  # some mutations are harmless, so the fuzzer gets far
        assert passed[number] > 500


def flood(connect: Any, seed: int, count: int) -> threading.Thread:
    """Send that many messages from a thread of its own."""

    def run() -> None:
        context = zmq.Context()
        socket = connect(context)
        door, rng = Wire(Path()), random.Random(seed)
        for _ in range(count):
            socket.send_multipart(door.make(rng))
        socket.close(linger=10_000)
        context.term()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.usefixtures("paced")
@pytest.mark.parametrize("count", [3000, pytest.param(20_000, marks=pytest.mark.full)])
@pytest.mark.parametrize("target", ["supervisor", "executor", "worker's name"])
def test_a_flood_while_a_run_is_on(
    many: Path, tiny_model: Path, undisturbed: Any, target: str, count: int
) -> None:
    """By a process of the same user (nobody else gets into the directory): nothing changes."""
    with Pipeline(options(many, tiny_model, workers=1)) as pipeline:
        runner: Any = pipeline._driver
        directory = runner._directory

        def connect(context: Any) -> Any:
            socket = context.socket(zmq.PUSH if target == "executor" else zmq.DEALER)
            if target == "worker's name":
                socket.setsockopt(zmq.IDENTITY, b"worker-0.1")  # taken
            place = "executor-0.1" if target == "executor" else "control"
            socket.setsockopt(zmq.SNDTIMEO, 60_000)
            socket.connect(f"ipc://{directory}/{place}")
            return socket

        source = iter(pipeline)
        records = [next(source)]
        # libzmq keeps a second one of a name out; what that sends is never seen.
        thread = flood(connect, 1, 1 if target == "worker's name" else count)
        records.extend(source)
        thread.join(300)
    check(records, undisturbed)
    assert pipeline.figures.restarts == 0
    if target != "worker's name":
        assert pipeline.figures.dropped > min(count, 3000) // 4


@pytest.mark.usefixtures("paced")
def test_clips_that_nobody_asked_for(
    many: Path, tiny_model: Path, undisturbed: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Well-formed, of leases that are out, that may be, and of one that has had its clips: by a
    neighbour on loopback. The executor runs none of them."""
    chosen = options(many, tiny_model, workers=1, listen="tcp://127.0.0.1")
    with Pipeline(chosen) as pipeline:
        runner: Any = pipeline._driver
        [executor] = runner._pool.of_role("executor")
        poses = PoseSequence.from_annotation(annotation(20, seed=77))
        clips = clips_of(poses, WorkerSettings(HMDB51_RECIPE, "frames"))
        sealed = clip_messages.seal(runner._settings.pool.executors[0].secret, 3)

        def push() -> None:
            context = zmq.Context()
            socket = context.socket(zmq.PUSH)
            socket.setsockopt(zmq.SNDTIMEO, 60_000)
            socket.connect(f"tcp://127.0.0.1:{executor.port}")
            for lease in range(1, 1000):
                for seal in ("", "0" * 64, sealed):  # a seal is good for its own lease only
                    sent = clip_messages.of_clips(lease, seal, clips)
                    socket.send_multipart(wire.encode(sent.write()))
            socket.close(linger=0)
            context.term()

        source = iter(pipeline)
        records = [next(source) for _ in range(30)]
        thread = threading.Thread(target=push)
        thread.start()
        records.extend(source)
        thread.join()
    check(records, undisturbed)
    assert pipeline.figures.dropped > 100
    assert pipeline.figures.restarts == 0
    assert pipeline.figures.clips_run == 20 * len(records)
    assert "never granted" in caplog.text


def test_frames_larger_than_a_socket_takes(many: Path, tiny_model: Path, undisturbed: Any) -> None:
    """libzmq cuts the sender off before it allocates: memory stays as it was."""
    with Pipeline(options(many, tiny_model, workers=1)) as pipeline:
        runner: Any = pipeline._driver
        source = iter(pipeline)
        records = [next(source) for _ in range(20)]
        before = rss(os.getpid())
        context = zmq.Context()
        socket = context.socket(zmq.DEALER)
        socket.connect(f"ipc://{runner._directory}/control")
        large = bytes(200_000_000)
        socket.send_multipart([b"{}", large])
        records.extend(source)
        after = rss(os.getpid())
        socket.close(linger=0)
        context.term()
    check(records, undisturbed)
    assert after - before < 300_000_000  # the sender's own array, and no second one


def test_sockets_are_private(data: Path, tiny_model: Path) -> None:
    with Pipeline(options(data, tiny_model, workers=1)) as pipeline:
        runner: Any = pipeline._driver
        assert stat.S_IMODE(runner._directory.stat().st_mode) == 0o700
        for pid in [*children(pipeline, "worker"), *children(pipeline, "executor")]:
            assert not listening_ports(pid)
        assert not listening_ports(os.getpid())


def listening_ports(pid: int) -> set[int]:
    """TCP ports that a process listens on."""
    sockets = psutil.Process(pid).net_connections("tcp")
    return {socket.laddr.port for socket in sockets if socket.status == psutil.CONN_LISTEN}
