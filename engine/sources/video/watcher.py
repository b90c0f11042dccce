"""The process of a pose estimator, as the engine sees it.

Comes in: `VideoSettings`. Goes out: the lines that it writes, as messages of a source.
That of a camera is started again where it ends.
"""

from __future__ import annotations

import logging
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from subprocess import PIPE
from typing import IO

import orjson

from engine.base import subprocesses
from engine.base.errors import SourceError, printable
from engine.sources.source import Lost, Message, Stop
from engine.sources.video.settings import VideoSettings

log = logging.getLogger("engine")

_POLL_S = 0.1
_SILENCE_S = 60.0  # importing and loading a model included
_END_S = 1.0
_LONGEST_PAUSE_S = 30.0


def watch(settings: VideoSettings, name: str, stop: Stop) -> Iterator[Message]:
    """The messages of a video. Raises `SourceError` where it cannot be read, or its process
    dies; but a camera that has worked is opened anew for as long as it takes."""
    worked, pause = False, 1.0
    while True:
        try:
            with _EstimatorProcess(settings) as process:
                for message in process.messages(stop):
                    worked, pause = True, 1.0
                    yield message
            return
        except SourceError as error:
            if not worked or not settings.live or settings.paced:
                raise
            log.warning("%s; opened anew in %g s", error, pause)
        until = time.monotonic() + pause
        while time.monotonic() < until:
            if stop():
                return
            time.sleep(_POLL_S)
        pause = min(2 * pause, _LONGEST_PAUSE_S)
        log.info("%s: opened anew", name)


class _EstimatorProcess:
    def __init__(self, settings: VideoSettings) -> None:
        self._process = subprocesses.start(
            "engine.sources.video.estimation", stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        self._said: deque[bytes] = deque(maxlen=10)  # on standard error, last
        assert self._process.stdin is not None
        assert self._process.stderr is not None
        # Not as an argument: its address may hold a password, and arguments can be listed.
        with self._process.stdin as told:
            told.write(orjson.dumps(asdict(settings)))
        self._listener = threading.Thread(
            target=self._said.extend, args=(self._process.stderr,), daemon=True
        )
        self._listener.start()

    def __enter__(self) -> _EstimatorProcess:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if subprocesses.reap(self._process, 0) is None:
            log.error("the pose estimator (pid %d) was killed and does not die", self._process.pid)
            return
        self._listener.join()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def messages(self, stop: Stop) -> Iterator[Message]:
        """Until the video's end, or `stop`. Raises `SourceError`."""
        assert self._process.stdout is not None
        for line in self._lines(self._process.stdout, stop):
            if line.startswith(b'{"v"'):
                yield line
                continue
            said = orjson.loads(line)
            if "error" in said:
                raise SourceError(said["error"])
            if "lost" in said:
                yield Lost(said["lost"])
            for _ in range(said.get("bad", 0)):
                yield SourceError("a part of the video that cannot be decoded")
        if stop():
            return
        if code := self._process.wait(_END_S):
            self._listener.join()
            what = subprocesses.spell_exit(code)
            last = printable(b"".join(self._said).decode(errors="replace")[-1000:].strip())
            raise SourceError(f"the process of the pose estimator has ended ({what}): {last}")

    def _lines(self, pipe: IO[bytes], stop: Stop) -> Iterator[bytes]:
        """Whole lines."""
        rest, heard = b"", time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while not stop():
                if not selector.select(_POLL_S):
                    if self._process.poll() is not None:
                        return  # whoever else has its end of the pipe
                    if time.monotonic() - heard > _SILENCE_S:
                        raise SourceError(
                            f"the pose estimator has said nothing for {_SILENCE_S:g} s"
                        )
                    continue
                data = os.read(pipe.fileno(), 1 << 16)
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                yield from lines
                heard = time.monotonic()  # what the reader took for them is not silence
