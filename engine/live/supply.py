"""The supply of a live run: windows of streams as samples.

Comes in: pose frames, from sources in threads of their own. Goes out: samples, one a window.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.base import threads
from engine.base.choices import AUTO, PIXELS, Coordinates
from engine.base.errors import EngineError, SourceError, printable, shown
from engine.base.events import event
from engine.base.notes import EMPTY
from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.live.inbox import Inbox, RateLimiter
from engine.live.streams import Streams
from engine.live.windows import Window
from engine.skeletons.poses import Crop, PoseSequence, Track
from engine.skeletons.samples import Sample
from engine.sources.pose_frames import MAX_NAME, PoseFrame, decode, parse, plausible, rate_of, timed
from engine.sources.source import Lost, Message, Source

log = logging.getLogger("engine")

_LOOK_S = 0.02  # at a source's frames, before there is a look at everything else
_FLOOD_S = 0.001  # a source that is faster than we are is read more slowly
_WAIT_S = 0.1
_JOIN_S = 2.0
_REASONS = 5  # of refusals that are kept
_NAMES = 1000  # of streams that are kept


@dataclass
class SourceFigures:
    """Messages of a source: taken, refused (no pose frames), lost (more than there is time for,
    here or in the source); whether it is over, the error that ended it; how many were refused for
    each of the first reasons; recorded videos in which nobody is seen, and the first of them."""

    taken: int = 0
    refused: int = 0
    lost: int = 0
    over: bool = False
    error: str | None = None
    reasons: dict[str, int] = field(default_factory=dict)
    empty: int = 0
    first_empty: str | None = None
    _streams: dict[str, bool] = field(default_factory=dict)  # whether anything of it was taken

    @property
    def unheard(self) -> list[str]:
        """The streams, of the first that came, of which every message was refused."""
        return [stream for stream, heard in self._streams.items() if not heard]

    def to_json(self) -> dict[str, Any]:
        said = {name: value for name, value in vars(self).items() if name != "_streams"}
        return said | {"unheard": self.unheard}

    @property
    def nothing(self) -> str | None:
        """Why there is no label of a source that is over, where it is the source's doing."""
        if not self.over or self.error is not None or self.taken or self.lost:
            return None
        if not self.refused:
            return "nothing came of it: there is no frame in it"
        every = "its one message" if self.refused == 1 else f"every one of {self.refused} messages"
        first = next(iter(self.reasons))
        return f"nothing came of it: {every} was refused, the first because: {first}"

    def refuse(self, why: str, stream: str | None) -> None:
        """Count a message, of a stream where that can be told."""
        self.refused += 1
        if why in self.reasons or len(self.reasons) < _REASONS:
            self.reasons[why] = self.reasons.get(why, 0) + 1
        if stream is not None and len(self._streams) < _NAMES:
            self._streams.setdefault(stream, False)

    def take(self, stream: str) -> None:
        """Count a message."""
        self.taken += 1
        if stream in self._streams or len(self._streams) < _NAMES:
            self._streams[stream] = True

    def count_empty(self, frame: PoseFrame) -> None:
        """Count the stream of a frame if nobody was in all of it."""
        if EMPTY in frame.notes:
            self.empty += 1
            self.first_empty = self.first_empty or printable(frame.stream)


@dataclass(frozen=True, eq=False)
class _WindowSample(Sample):
    """A window; `crop` and `track` as those of its poses."""

    crop: Crop | None = None
    track: Track | None = None

    def poses(self, num_classes: int, recipe: Recipe = HMDB51_RECIPE) -> PoseSequence:
        return replace(super().poses(num_classes, recipe), crop=self.crop, track=self.track)


@dataclass
class _Feed:
    """A source in its thread."""

    source: Source
    inbox: Inbox
    limiter: RateLimiter
    figures: SourceFigures = field(default_factory=SourceFigures)
    thread: threading.Thread | None = None

    @property
    def over(self) -> bool:
        return self.thread is not None and not self.thread.is_alive() and not self.inbox


class LiveSupply:
    """Samples of live and recorded sources; see `engine.runtime.scheduler.Supply`. `expect` is told
    the number of each sample, its window, and when its last frame arrived. `fps`: frames/s of
    streams that do not say; `coordinates`: what theirs are."""

    def __init__(
        self,
        sources: Sequence[Source],
        streams: Streams,
        expect: Callable[[int, Window, float], None],
        fps: float = 30.0,
        coordinates: Coordinates = AUTO,
    ) -> None:
        self._streams, self._expect, self._fps = streams, expect, fps
        self._coordinates = coordinates
        self._feeds = [
            _Feed(source, Inbox(live=source.live), RateLimiter(fps)) for source in sources
        ]
        self._stopping = False
        self._count = 0
        self._under_way: dict[int, str] = {}  # streams, by the numbers of their samples
        self.fd: int | None = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def start(self) -> None:
        """Start to listen."""
        for feed in self._feeds:
            feed.thread = threading.Thread(
                target=self._listen, args=(feed,), name=feed.source.name, daemon=True
            )
            threads.start(feed.thread)

    @property
    def exhausted(self) -> bool:
        """Whether every source is over and every window has been taken."""
        return all(feed.over for feed in self._feeds) and not self._streams.waiting

    @property
    def figures(self) -> dict[str, SourceFigures]:
        """What became of the messages, by source."""
        return {feed.source.name: feed.figures for feed in self._feeds}

    def poll(self) -> None:
        """Look at what live sources have said; notice what has fallen silent."""
        assert self.fd is not None
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)
        now = time.monotonic()
        for feed in self._feeds:
            while feed.source.live and self._take(feed):
                if time.monotonic() - now > _LOOK_S:
                    self._wake()  # to go on
                    break
        read = all(not feed.inbox for feed in self._feeds if not feed.source.live)
        self._streams.sweep(now, recorded=read and not self._streams.recorded)
        if all(feed.over for feed in self._feeds):
            self._streams.end(now)

    def next(self) -> Sample | None:
        self.poll()
        while (found := self._streams.next(time.monotonic())) is None and not self._streams.full:
            if not any(self._take(feed) for feed in self._feeds if not feed.source.live):
                self.poll()  # the last of them may have ended meanwhile
                found = self._streams.next(time.monotonic())
                break
        return None if found is None else self._sample(*found)

    def answered(self, index: int) -> None:
        """A sample has its record."""
        stream = self._under_way.pop(index)
        if self._streams.freshness is not None:
            self._streams.freshness.answered(stream, time.monotonic())

    def close(self) -> None:
        """Tell sources to stop, and wait a moment for them."""
        self._stopping = True
        until = time.monotonic() + _JOIN_S
        for feed in self._feeds:
            if feed.thread is not None:
                feed.thread.join(max(0.0, until - time.monotonic()))
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def _sample(self, window: Window, arrived: float) -> Sample:
        index, self._count = self._count, self._count + 1
        self._under_way[index] = window.stream
        self._expect(index, window, arrived)
        poses = window.poses
        who = "" if window.who is None else f"/{window.who}"
        annotation = {
            "keypoint": poses.keypoint,
            "keypoint_score": poses.keypoint_score,
            "img_shape": poses.img_shape,
            "total_frames": poses.total_frames,
        }
        name = f"{window.stream}{who}@{window.last}"
        about = poses.crop, poses.track
        return _WindowSample(index, name, annotation, PIXELS, *about, notes=poses.notes)

    def _take(self, feed: _Feed) -> bool:
        """Look at one frame of a source. False where there is none."""
        if (found := feed.inbox.take()) is None:
            return False
        frame, arrived = found
        self._streams.add(frame, arrived, live=feed.source.live, now=time.monotonic())
        return True

    # In the source's thread

    def _listen(self, feed: _Feed) -> None:
        figures = feed.figures
        try:
            for message in feed.source.messages(lambda: self._stopping):
                if self._stopping:
                    return
                try:
                    self._hear(feed, message)
                except SourceError as error:
                    figures.refuse(str(error), _stream_of(message))
                    if figures.refused < 10 or not figures.refused % 1000:
                        log.warning("%s: %s (%d so far)", feed.source.name, error, figures.refused)
        except EngineError as error:
            figures.error = str(error)
        except BaseException as error:  # a thread ends by nothing else: CancelledError is one, too
            count = figures.taken + figures.refused
            figures.error = f"{_raised(error)}, raised by the source at message {count + 1}"
        finally:
            figures.over = True
            wrong = figures.error or (None if self._stopping else figures.nothing)
            if wrong is not None:
                name = printable(feed.source.name)
                about = event("source", feed.source.name, error=wrong)
                log.error("%s ended: %s", name, wrong, extra=about)
            self._wake()

    def _hear(self, feed: _Feed, message: Message) -> None:
        """Raises `SourceError` for what is no pose frame."""
        if isinstance(message, SourceError):
            raise message
        if isinstance(message, Lost):
            feed.figures.lost += message.frames
            return
        if isinstance(message, PoseFrame):
            stream, rate = message.stream, message.rate
        else:
            message = decode(message)
            stream, rate = message.get("stream", ""), rate_of(message)
        name = shown(stream, MAX_NAME)  # not checked yet
        if feed.source.live and not feed.limiter.admits(name, _said(rate), time.monotonic()):
            feed.figures.lost += 1
            time.sleep(_FLOOD_S)
            return
        if isinstance(message, PoseFrame):
            frame = plausible(message, self._coordinates)
        else:
            frame = parse(message, self._coordinates)
        feed.figures.take(frame.stream)
        feed.figures.count_empty(frame)
        self._put(feed, timed(frame, self._fps))

    def _put(self, feed: _Feed, frame: PoseFrame) -> None:
        item = frame, time.monotonic()
        if feed.source.live:
            if not feed.inbox.put(item, 0):
                feed.figures.lost += 1
                time.sleep(_FLOOD_S)
        else:
            while not feed.inbox.put(item, _WAIT_S) and not self._stopping:
                pass
        self._wake()

    def _wake(self) -> None:
        fd = self.fd
        if fd is not None:
            with contextlib.suppress(OSError):  # closed meanwhile
                os.eventfd_write(fd, 1)


def _raised(error: BaseException) -> str:
    """An error of somebody's own code: what it is, what it says, and the line that raised it."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {printable(error)}, {Path(where.filename).name}:{where.lineno}"


def _stream_of(message: Message) -> str | None:
    """Which stream a message that was refused is of, where it says so."""
    if isinstance(message, (SourceError, Lost)):
        return None
    if isinstance(message, PoseFrame):
        return message.stream
    try:
        stream = decode(message).get("stream", "")
    except (SourceError, TypeError, AttributeError):
        return None
    return stream[:MAX_NAME] if isinstance(stream, str) else None


def _said(rate: object) -> float | None:
    """A rate as a message has it, not checked yet."""
    return rate if isinstance(rate, (int, float)) and rate > 0 else None
