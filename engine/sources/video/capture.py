"""Capture: the pictures of a recording, all of them, or of a camera, those that there is time for.

Comes in: `VideoSettings`. Goes out: `Picture`. A camera is read in a thread of its own; of what
nobody has taken yet it keeps the newest.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from engine.base.errors import SourceError, printable
from engine.sources.video.settings import VideoSettings, without_password

_TIMEOUT_S = 10.0  # of a camera that says nothing
_KEPT = 2  # pictures of a camera that wait; more would only be older
_USUAL_RATE = 30.0
_FASTEST = 240.0  # frames/s; cameras that say more do not mean it


@dataclass(frozen=True, eq=False)
class Picture:
    """`pixels`: RGB, uint8 [height, width, 3], C-contiguous. `number` counts frames, those left
    out too; `t` in seconds: into a recording, or of the clock (`time.time`)."""

    number: int
    t: float
    pixels: NDArray[np.uint8]


class Capture:
    """An opened video. `rate`: frames/s. `lost`: pictures that nobody looked at in time; `bad`:
    packets that could not be decoded. Raises `SourceError` where it cannot be opened, or ends
    before its time."""

    def __init__(self, settings: VideoSettings) -> None:
        self._settings = settings
        self._name = printable(without_password(settings.address))
        self.lost = self.bad = 0
        options = {"rtsp_transport": "tcp"} if settings.address.startswith("rtsp:") else {}
        try:
            self._container: InputContainer = av.open(
                settings.address,
                format=settings.format,
                options=options,
                timeout=_TIMEOUT_S,
                metadata_errors="replace",  # old files have titles in old encodings
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            raise SourceError(f"{self._name}: {_reason(error)}") from None
        if not self._container.streams.video:
            raise SourceError(f"{self._name} has no video in it")
        self._stream = self._container.streams.video[0]
        # threads of a frame each would hold a camera's frames back
        self._stream.thread_type = "SLICE" if settings.live else "AUTO"
        rate = float(self._stream.average_rate or self._stream.guessed_rate or 0)
        self.rate = rate if 0 < rate <= _FASTEST else _USUAL_RATE

    def __iter__(self) -> Iterator[Picture]:
        return self._newest() if self._settings.live else self._recorded()

    def close(self) -> None:
        """Let go of the file or camera."""
        self._container.close()

    def _recorded(self) -> Iterator[Picture]:
        for number, (t, frame) in enumerate(self._timed()):
            yield Picture(number, t, _pixels(frame))

    def _newest(self) -> Iterator[Picture]:
        mailbox = _Mailbox()
        threading.Thread(target=self._watch, args=(mailbox,), daemon=True).start()
        while (picture := mailbox.take()) is not None:
            self.lost = mailbox.lost
            yield Picture(picture.number, picture.t, _pixels(picture.frame))
        if mailbox.error is not None:
            raise mailbox.error

    def _watch(self, mailbox: _Mailbox) -> None:
        """Frames are numbered by the time that they came at, so that numbers go on as the clock
        does, whatever a camera leaves out and however often it is opened anew; those of a
        recording are numbered as they are in it."""
        begun, last, paced = time.monotonic(), -1, self._settings.paced
        try:
            for number, (t, frame) in enumerate(self._timed()):
                if paced:
                    time.sleep(max(0.0, begun + t - time.monotonic()))
                    last = number
                else:
                    now = time.monotonic() - self._settings.epoch
                    last = max(last + 1, round(now * self.rate))
                mailbox.put(_Waiting(last, time.time(), frame))
            if not paced:
                raise SourceError(f"{self._name}: the camera has stopped")
        except SourceError as error:
            mailbox.error = error
        finally:
            mailbox.close()

    def _timed(self) -> Iterator[tuple[float, av.VideoFrame]]:
        """Frames and their times in seconds, each later than the one before. AVI has no times:
        what is made up for it is out of order where frames are stored out of order."""
        stamped, last = self._container.format.name != "avi", -1 / self.rate
        for frame in self._decoded():
            t = frame.time if stamped and frame.time is not None else 0.0
            last = t if t > last else last + 1 / self.rate
            yield last, frame

    def _decoded(self) -> Iterator[av.VideoFrame]:
        """Frames; packets that are damaged are counted and passed over."""
        try:
            for packet in self._container.demux(self._stream):
                try:
                    frames = packet.decode()
                except av.InvalidDataError:
                    self.bad += 1
                    continue
                for frame in frames:
                    if isinstance(frame, av.VideoFrame):
                        yield frame
        except (av.FFmpegError, OSError) as error:
            raise SourceError(f"{self._name}: {_reason(error)}") from None


@dataclass(frozen=True, eq=False)
class _Waiting:
    number: int
    t: float
    frame: av.VideoFrame


class _Mailbox:
    """The newest frames, from a camera's thread; the oldest make room, and are counted."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._closed = False
        self.lost = 0
        self.error: SourceError | None = None

    def put(self, frame: _Waiting) -> None:
        with self._changed:
            self._waiting.append(frame)
            if len(self._waiting) > _KEPT:
                self._waiting.popleft()
                self.lost += 1
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def take(self) -> _Waiting | None:
        """The oldest that is left, None at the end. The camera has a time-out of its own."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return self._waiting.popleft() if self._waiting else None


def _pixels(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Upright, RGB. Contiguous: MediaPipe reads what it is given as if it were."""
    pixels = frame.to_ndarray(format="rgb24")
    if frame.rotation:  # of phones that were held upright, degrees counterclockwise
        pixels = np.rot90(pixels, frame.rotation // 90)
    return np.ascontiguousarray(pixels)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
