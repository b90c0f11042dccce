"""Promise 11 over TCP: who has a key may decode for us, nobody else gets in, and guests may go."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine import keys
from engine.base.curve import ClientKeys, Listening, make
from engine.base.errors import UsageError
from engine.base.options import Options
from engine.pipeline import Pipeline
from tests.support.runs import check, children, command, options


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
        limit=400 if kind == "frames" else 20,
        **more,
    )
    with Pipeline(chosen) as pipeline:
        assert pipeline.address is not None
        own = ["--key", key_folder / "alice.key_secret", "--engine-key", key_folder / "engine.key"]
        guest = joining(pipeline.address, *(own if secured else []))
        runner: Any = pipeline._runner
        records, by_guest = [], set()
        for record in pipeline:
            records.append(record)
            by_guest |= {x.task.index for x in runner._table.leases if x.worker == "guest-1.1"}
    stdout, stderr = guest.communicate(timeout=20)
    assert (guest.returncode, stdout, stderr) == (
        0,
        "joined as guest-1.1\nthe run is over\n",
        "",
    )
    if kind == "frames":
        check(records, undisturbed)
    assert len(by_guest) > len(records) / 10


def test_guests_come_and_go(many: Path, tiny_model: Path, undisturbed: Any) -> None:
    """The executor is killed, then one guest leaves, one is killed, one is stopped: leases are
    granted again."""
    chosen = options(many, tiny_model, workers=1, listen="tcp://127.0.0.1", lease_timeout=1.5)
    with Pipeline(chosen) as pipeline:
        guests = [joining(str(pipeline.address)) for _ in range(3)]
        runner: Any = pipeline._runner
        records = []
        for record in pipeline:
            records.append(record)
            if len(records) == 100:  # its replacement takes their clips on another port
                os.kill(children(pipeline, "executor")[0], signal.SIGKILL)
            elif len(records) == 150:
                assert len(runner._guests.names) == 3
                guests[0].terminate()
            elif len(records) == 200:
                guests[1].kill()
            elif len(records) == 250:
                guests[2].send_signal(signal.SIGSTOP)
    with at_its_end(*guests):
        assert guests[0].wait(10) == 130
    check(records, undisturbed)
    assert pipeline.figures.restarts == 1


def test_guests_of_an_engine_that_dies(many: Path, tiny_model: Path, tmp_path: Path) -> None:
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
    from tests.chaos.test_untrusted import Fuzzer
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
            fuzzer = Fuzzer(0)
            try:
                for message in fuzzer._genuine + [fuzzer.message() for _ in range(200)]:
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
        runner: Any = pipeline._runner
        [executor] = runner._pool.of_role("executor")
        outsiders = [
            subprocess.Popen(
                [sys.executable, script, str(port), how, key_folder],
                text=True,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.getcwd()},
            )
            for port in (runner.port, executor.port)
        ]
        records = list(pipeline)
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


def test_another_version_is_refused(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import engine; engine.__version__ = '9.9'")
    chosen = options(data, tiny_model, workers=1, listen="tcp://127.0.0.1")
    with Pipeline(chosen) as pipeline:
        arguments = [sys.executable, "-m", "engine.join", str(pipeline.address)]
        guest = subprocess.Popen(
            arguments,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
        )
        records = iter(pipeline)
        for _ in range(5):
            next(records)
        deadline = time.monotonic() + 20
        while guest.poll() is None and time.monotonic() < deadline:
            next(records, None)
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


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "*", "[::]", "example.org"])
def test_off_loopback_keys_are_needed(host: str) -> None:
    with pytest.raises(UsageError, match="so it needs --keys"):
        Listening.of(f"tcp://{host}:5555", None)


def test_a_port_that_is_taken(data: Path, tiny_model: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=re.escape(f"--listen tcp://127.0.0.1:{port}: ")):
            Pipeline(options(data, tiny_model, listen=f"tcp://127.0.0.1:{port}"))


def test_usage(key_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--keys FOLDER protects --listen"):
        Options(keys=str(key_folder))
    with pytest.raises(UsageError, match="is not a key"):
        Listening.of("tcp://127.0.0.1", str(tmp_path))
    (key_folder / "workers" / "alice.key").unlink()
    with pytest.raises(UsageError, match="nobody could connect"):
        Listening.of("tcp://127.0.0.1", str(key_folder))


def test_an_address_that_is_none(data: Path, tiny_model: Path) -> None:
    for address in ("", "tcp://127.0.0.1:"):
        with pytest.raises(UsageError, match=f"--listen '{address}' is no address"):
            Pipeline(options(data, tiny_model, listen=address))


def test_the_keys_command(tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "keys"
    assert keys.main([str(folder), "alice", "bob"]) == 0
    assert "--listen tcp://ADDRESS:PORT --keys" in capsys.readouterr().out
    for name in ("engine", "alice", "bob"):
        assert stat.S_IMODE((folder / f"{name}.key_secret").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    engine = (folder / "engine.key_secret").read_bytes()
    assert keys.main([str(folder), "carol"]) == 0
    assert (folder / "engine.key_secret").read_bytes() == engine
    for name in ("alice", "engine", "../x", ""):
        assert keys.main([str(folder), name]) == 2
    assert "exists; delete it" in capsys.readouterr().err
    with pytest.raises(UsageError, match="has no secret key"):
        ClientKeys.of(folder / "engine.key", folder / "engine.key")
