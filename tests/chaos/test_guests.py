"""Promise 11 over TCP: who has a key may decode for us, nobody else gets in, and guests may go."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.base.curve import make
from engine.base.errors import UsageError
from engine.base.records import Failure, Record
from engine.pipeline import Pipeline
from tests.support.joints import command, options
from tests.support.joints_backend import NAME, PACE
from tests.support.runs import alone, check, children


@pytest.fixture
def key_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    make(folder, ["alice"])
    return folder


def joining(address: str, *more: object) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "engine.join", address, "--wait", 20, *more]
    return subprocess.Popen(
        [str(a) for a in arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def while_waiting(source: Iterator[Record], condition: Callable[[], Any]) -> list[Record]:
    """Records until something has come to be: few a second, so that enough are left."""
    records = []
    while not condition():
        records.append(next(source))
        time.sleep(0.1)
    return records


@contextmanager
def at_its_end(*processes: subprocess.Popen[str]) -> Iterator[None]:
    """Close what tests started, whatever happens."""
    try:
        yield
    finally:
        for process in processes:
            with process:
                process.kill()


@pytest.mark.parametrize("secured", [False, True])
@pytest.mark.parametrize("kind", ["frames", pytest.param("clips", marks=pytest.mark.full)])
def test_a_worker_joins_over_tcp(
    many: Path, tiny_model: Path, undisturbed: Any, key_folder: Path, secured: bool, kind: Any
) -> None:
    """It gets work, its clips give the same bits, and it ends with the run."""
    more = {"keys": str(key_folder)} if secured else {}
    chosen = options(
        many,
        tiny_model,
        workers=1,
        listen="tcp://127.0.0.1",
        layout="shared" if kind == "frames" else "clips",
        wire=kind,
        backend=NAME if kind == "frames" else "openvino",
        **more,
    )
    with Pipeline(chosen) as pipeline:
        assert pipeline.address is not None
        own = ["--key", key_folder / "alice.key_secret", "--engine-key", key_folder / "engine.key"]
        guest = joining(pipeline.address, *(own if secured else []))
        runner: Any = pipeline._driver
        source, by_guest = iter(pipeline), set()
        records = while_waiting(source, lambda: runner._guests.names)
        for record in source:
            records.append(record)
            by_guest |= {x.task.index for x in runner._table.leases if x.worker == "guest-1.1"}
            if kind == "clips" and len(by_guest) == 3:
                pipeline.interrupt()  # each takes 200 MB to where it is run
    stdout, stderr = guest.communicate(timeout=20)
    assert (guest.returncode, stdout, stderr) == (
        0,
        "joined as guest-1.1\nthe run is over\n",
        "",
    )
    if kind == "frames":
        check(records, undisturbed)
    assert len(by_guest) > (2 if kind == "clips" else 20)


def test_guests_come_and_go(many: Path, tiny_model: Path, undisturbed: Any) -> None:
    """The executor is killed, then one guest leaves, one is killed, one is stopped: leases are
    granted again."""
    chosen = options(many, tiny_model, workers=1, listen="tcp://127.0.0.1", lease_timeout=1.5)
    with Pipeline(chosen) as pipeline:
        guests = [joining(str(pipeline.address)) for _ in range(3)]
        runner: Any = pipeline._driver
        source = iter(pipeline)
        records = while_waiting(source, lambda: len(runner._guests.names) == 3)
        events = [
            # its replacement takes their clips on another port
            lambda: os.kill(children(pipeline, "executor")[0], signal.SIGKILL),
            guests[0].terminate,
            guests[1].kill,
            lambda: guests[2].send_signal(signal.SIGSTOP),
        ]
        for number, record in enumerate(source):
            records.append(record)
            if number % 20 == 0 and events:
                events.pop(0)()
    assert not events
    with at_its_end(*guests):
        assert guests[0].wait(10) == 130
    check(records, undisturbed)
    assert pipeline.figures.restarts == 1


def test_guests_of_an_engine_that_dies(
    many: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PACE, "0.2")  # it lives until it is killed
    engine = subprocess.Popen(
        command(many, tiny_model, "--listen", "tcp://127.0.0.1"),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert engine.stdout is not None
    while not (line := engine.stdout.readline()).startswith("listening"):
        assert line
    guest = joining(line.split()[-1])
    with at_its_end(engine, guest):
        assert guest.stdout is not None
        guest.stdout.readline()
        engine.kill()
        assert guest.wait(20) == 1
        assert guest.stderr is not None
        assert "the engine has gone" in guest.stderr.read()


OUTSIDER = """
    import random, sys, time, zmq, zmq.auth
    from pathlib import Path
    from tests.fuzz.messages import Wire, genuine
    port, how, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    context = zmq.Context()
    heard = 0
    for kind in (zmq.DEALER, zmq.PUSH, zmq.PULL, zmq.SUB, zmq.REQ):
        socket = context.socket(kind)
        socket.linger, socket.sndtimeo = 0, 200
        if how == "other key":
            socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
            socket.curve_serverkey = zmq.auth.load_certificate(f"{folder}/engine.key")[0]
        if how == "wrong engine":
            own = zmq.auth.load_certificate(f"{folder}/alice.key_secret")
            socket.curve_publickey, socket.curve_secretkey = own
            socket.curve_serverkey = zmq.curve_keypair()[0]
        if kind == zmq.SUB:
            socket.subscribe(b"")
        socket.connect(f"tcp://127.0.0.1:{port}")
        if kind in (zmq.DEALER, zmq.PUSH, zmq.REQ):
            door, rng = Wire(Path()), random.Random(0)
            try:
                for message in genuine() + [door.make(rng) for _ in range(200)]:
                    socket.send_multipart(message)
            except zmq.Again:
                pass
            except zmq.ZMQError:
                pass
        if kind != zmq.PUSH:
            heard += bool(socket.poll(500))
    print(heard)
"""


@pytest.mark.parametrize("how", ["no key", "other key", "wrong engine"])
def test_an_unauthorised_process_gets_nowhere(
    many: Path,
    tiny_model: Path,
    undisturbed: Any,
    key_folder: Path,
    tmp_path: Path,
    how: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It neither injects (clips, results) nor gets work, at the supervisor's port and at the
    executor's, in whatever manner it connects."""
    script = tmp_path / "outsider.py"
    script.write_text(textwrap.dedent(OUTSIDER))
    chosen = options(many, tiny_model, workers=1, listen="tcp://127.0.0.1", keys=str(key_folder))
    with Pipeline(chosen) as pipeline:
        runner: Any = pipeline._driver
        [executor] = runner._pool.of_role("executor")
        outsiders = [
            subprocess.Popen(
                [sys.executable, script, str(port), how, key_folder],
                text=True,
                stdout=subprocess.PIPE,
            )
            for port in (runner.port, executor.port)
        ]
        source = iter(pipeline)
        records = while_waiting(source, lambda: None not in [o.poll() for o in outsiders])
        records.extend(source)
        for outsider in outsiders:
            assert outsider.communicate(timeout=60)[0] == "0\n"
        assert not runner._guests.names
    check(records, undisturbed)
    assert pipeline.figures.restarts == 0
    assert pipeline.figures.dropped > 0  # the operator is told of connections that were refused
    assert {
        "no key": "does not speak as ours do, or without a key",
        "other key": "is not allowed",
        "wrong engine": "does not speak as ours do",
    }[how] in caplog.text


def test_a_key_that_is_taken_back(data: Path, tiny_model: Path, key_folder: Path) -> None:
    make(key_folder, ["bob"])
    (key_folder / "workers" / "alice.key").unlink()
    chosen = options(data, tiny_model, workers=1, listen="tcp://127.0.0.1", keys=str(key_folder))
    with Pipeline(chosen) as pipeline:
        own = ["--engine-key", key_folder / "engine.key", "--key"]
        guest = joining(str(pipeline.address), *own, key_folder / "alice.key_secret")
        assert guest.wait(30) == 1
        with guest:
            assert guest.stderr is not None
            assert "did not let us in" in guest.stderr.read()


def test_another_version_is_refused(many: Path, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import engine.base.version as v; v.__version__ = '9.9'"
    )
    chosen = options(many, tiny_model, workers=1, listen="tcp://127.0.0.1")
    with Pipeline(chosen) as pipeline:
        arguments = [sys.executable, "-m", "engine.join", str(pipeline.address)]
        guest = subprocess.Popen(
            arguments,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
        )
        while_waiting(iter(pipeline), lambda: guest.poll() is not None)
        with guest:
            assert guest.wait(20) == 2
            assert guest.stderr is not None
            assert "the worker is 9.9" in guest.stderr.read()


def test_nobody_there() -> None:
    guest = subprocess.run(
        [sys.executable, "-m", "engine.join", "tcp://127.0.0.1:9", "--wait", "1"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert guest.returncode == 1
    assert "no engine answered for 1 s" in guest.stderr


def test_a_port_that_is_taken(data: Path, tiny_model: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=re.escape(f"--listen tcp://127.0.0.1:{port}: ")):
            Pipeline(options(data, tiny_model, listen=f"tcp://127.0.0.1:{port}"))


def test_an_address_that_is_none(data: Path, tiny_model: Path) -> None:
    for address in ("", "tcp://127.0.0.1:"):
        with pytest.raises(UsageError, match=f"--listen '{address}' is no address"):
            Pipeline(options(data, tiny_model, listen=address))


LIAR = """
import random, sys
from dataclasses import replace
import numpy as np
import engine.join
from engine.runtime.transport import clip_messages

rng, real = random.Random(int(sys.argv[2])), clip_messages.of_clips

def of_clips(lease, seal, clips):
    sent = real(lease, seal, clips)
    name = rng.choice(["starts", "cells", "values", "plan"])
    array = np.array(getattr(sent, name))
    data = array.view(np.uint8).reshape(-1)
    for _ in range(rng.choice([1, 3, 50])):
        data[rng.randrange(data.size)] ^= 1 << rng.randrange(8)
    return replace(sent, **{name: array})

clip_messages.of_clips = of_clips
sys.exit(engine.join.main([sys.argv[1], "--wait", "20"]))
"""


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.full)])
@pytest.mark.parametrize("backend", [NAME, pytest.param("openvino", marks=pytest.mark.full)])
def test_a_guest_whose_clips_are_damaged(
    many: Path, tiny_model: Path, tmp_path: Path, backend: str, seed: int
) -> None:
    """In transit or on purpose: refused as that sample's error, or well-formed and its own word;
    nobody else's bits change, and nobody dies of it."""
    script = tmp_path / "liar.py"
    script.write_text(LIAR)
    about: dict[str, Any] = {"backend": backend, "layout": "shared"}
    about["limit"] = 400 if backend == NAME else 100
    expected = alone(options(many, tiny_model, in_process=True, **about))
    chosen = options(many, tiny_model, workers=1, listen="tcp://127.0.0.1", wire="frames", **about)
    of_guest: set[int] = set()
    with Pipeline(chosen) as pipeline:
        guest = subprocess.Popen(
            [sys.executable, str(script), str(pipeline.address), str(seed)],
            stdout=subprocess.DEVNULL,
        )
        driver: Any = pipeline._driver
        grant = driver._scheduler.grant

        def watched(*arguments: Any) -> Any:
            granted = grant(*arguments)
            if granted is not None and granted[0].startswith("guest"):
                of_guest.add(driver._table.leases[-1].task.index)
            return granted

        driver._scheduler.grant = watched
        source = iter(pipeline)
        records = while_waiting(source, lambda: driver._guests.names)
        records += source
    assert guest.wait(20) == 0
    assert len(of_guest) > 10
    assert sorted(record.index for record in records) == list(range(about["limit"]))
    others = [record for record in records if record.index not in of_guest]
    check(others, {record.id: expected[record.id] for record in others})
    refused = [record for record in records if isinstance(record, Failure)]
    assert {record.index for record in refused} <= of_guest
    assert any(record.type == "WireError" for record in refused)
    assert pipeline.figures.restarts == 0
