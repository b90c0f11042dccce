"""The doors of messages: between processes and from guests, and of WebSockets."""

from __future__ import annotations

import json
import random
import select
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from engine.base.choices import FRAMES, KEYPOINTS
from engine.base.errors import EngineError, WireError
from engine.base.recipe import HMDB51_RECIPE
from engine.base.records import Cause, Facts
from engine.live.streams import StreamLimits, Streams
from engine.live.supply import LiveSupply
from engine.live.tracking import Tracker
from engine.live.windows import Grid
from engine.runtime.transport import clip_messages, wire
from engine.runtime.transport import messages as m
from engine.runtime.transport.bodies import Body
from engine.runtime.worker import clips_of
from engine.skeletons.poses import PoseSequence
from engine.sources.source import Source
from tests.fuzz.door import CLASSES, Door, Found
from tests.fuzz.mutation import JSON_WORDS, changed, damaged, odd
from tests.support.samples import annotation, walking


def genuine() -> list[list[bytes]]:
    """Every kind of message between processes, as ours write it."""
    poses = PoseSequence.from_annotation(annotation(20))
    bodies: list[Body] = [
        *(
            clip_messages.of_clips(7, "s", clips_of(poses, m.WorkerSettings(HMDB51_RECIPE, k)))
            for k in (FRAMES, KEYPOINTS)
        ),
        m.Join("0.1.0", "h", 1),
        m.WorkerReady(1, "2"),
        m.ExecutorReady(Facts("x", "y", "f32", 1), 4),
        m.Decoding(7),
        m.Sent(7, 0.1, 5),
        m.Queued(7),
        m.Running((7,)),
        m.Result(7, 0.1, 0, np.zeros((20, CLASSES), np.float32)),
        m.Failed(7, Cause("decode", "X", "m")),
        m.Dropped("m"),
        m.Log(30, "m"),
        m.Fatal("m"),
        m.Alive(),
        m.Leave(),
        m.Welcome("n", m.WorkerSettings(HMDB51_RECIPE, "frames")),
        m.Refused("m"),
        m.ExecutorAddress("executor-0", "executor-0.1", "ipc://x", None),
        m.Grant.of(7, "seal", "executor-0.1", poses),
        m.Stop(),
    ]
    return [[bytes(frame) for frame in wire.encode(body.write())] for body in bodies]


class Wire(Door):
    """Messages between processes and from guests: read by all who read any, clips drawn."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._genuine = genuine()
        self._headers = [orjson.loads(frames[0]) for frames in self._genuine]

    def make(self, rng: random.Random) -> list[bytes]:
        number = rng.randrange(len(self._genuine))
        frames = list(self._genuine[number])
        how = rng.randrange(8)
        if how == 0:  # noise
            return [rng.randbytes(rng.choice([0, 1, 9, 200])) for _ in range(rng.randint(1, 8))]
        if how == 1:  # some bytes of the header
            heads = [one[0] for one in self._genuine]
            frames[0] = damaged(rng, frames[0], heads, (b"null", b"[[", b'"<f8"', b"1e999"))
        elif how in (2, 3):  # a value of another type somewhere in it
            with suppress(TypeError):  # what orjson does not write
                frames[0] = orjson.dumps(changed(rng, self._headers[number]))
        elif how == 4:  # cut, doubled, shuffled
            rng.shuffle(frames)
            frames = frames[: rng.randint(1, len(frames))] * rng.randint(1, 3)
        elif how == 5:  # an array of another length, announced or not
            place = rng.randrange(len(frames))
            frames[place] = frames[place][: rng.randrange(len(frames[place]) + 1)]
            if place and rng.random() < 0.7:
                frames[0] = _announced(self._headers[number], place - 1, len(frames[place]))
        elif how == 6 and len(frames) > 1:  # other bytes in an array
            place = rng.randrange(1, len(frames))
            frames[place] = damaged(rng, frames[place], frames[1:], ())[: len(frames[place])]
            frames[place] = frames[place].ljust(len(self._genuine[number][place]), b"\0")
        else:  # the arrays of another message
            frames[1:] = rng.choice(self._genuine)[1:]
        return frames

    def enter(self, made: list[bytes]) -> None:
        message = wire.decode(made)
        if message.nbytes > sum(map(len, made)):
            raise Found(f"{message.nbytes} bytes of {sum(map(len, made))}")
        read = False
        for reader in (m.from_child, m.from_guest, m.to_child, m.to_guest, clip_messages.read):
            with suppress(WireError):
                self._use(reader(message))
                read = True
        if not read:
            raise WireError("nobody reads it")

    def _use(self, body: Any) -> None:
        """What its reader does first, where an exception is a message's or a sample's own."""
        if isinstance(body, m.Grant):
            poses = body.poses()
            with suppress(Exception):  # as the worker does
                clips_of(poses, m.WorkerSettings(HMDB51_RECIPE, KEYPOINTS))
        elif isinstance(body, clip_messages.SentJoints):
            joints = body.clips(HMDB51_RECIPE)
            with suppress(Exception):  # as the executor does
                joints.drawn()
        elif isinstance(body, (clip_messages.SentFrames, clip_messages.SentTensor)):
            body.clips(HMDB51_RECIPE)


def _announced(header: dict[str, Any], place: int, size: int) -> bytes:
    """A header whose array has as many elements as there are bytes for."""
    arrays = [list(spec) for spec in header["arrays"]]
    code, shape = arrays[place]
    row = max(1, int(np.dtype(code).itemsize * np.prod(shape[1:])))
    arrays[place] = [code, [size // row, *shape[1:]]]
    return orjson.dumps({**header, "arrays": arrays})


class Messages(Door):
    """Pose frames of WebSockets and of whoever pushes, a few of a stream: as windows of samples."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        points = np.round(walking(2, 60, seed=5), 1)
        score = np.full((17, 1), 0.9)
        self._frames: list[dict[str, Any]] = [
            {
                "v": 1,
                "stream": "door",
                "frame": number,
                "t": number / 30,
                "size": [640, 480],
                "people": [
                    {"id": n, "kpts": np.hstack([points[n, number], score]).tolist()}
                    for n in (0, 1)
                ],
            }
            for number in range(60)
        ]

    def make(self, rng: random.Random) -> list[bytes]:
        first, step = rng.randrange(60), rng.choice((1, 1, 2, 7))
        frames = self._frames[first::step][: rng.choice((1, 1, 1, 1, 2, 2, 3, 3, 5, 60))]
        keep = rng.choice((0.0, 0.5, 0.95))
        return [self._message(rng, frame, keep) for frame in frames]

    def _message(self, rng: random.Random, frame: dict[str, Any], keep: float) -> bytes:
        if rng.random() < keep:
            return orjson.dumps(frame)
        how = rng.random()
        tree = changed(rng, frame)
        if how < 0.2:
            name = rng.choice(("rate", "fps", "end", "coordinates", "layout", "v", "t", "frame"))
            tree = {**frame, name: rng.choice((odd(rng), "normalised", "openpose25", True, 1e-9))}
        text = json.dumps(tree).encode("utf-8", "surrogatepass")
        if how > 0.8:
            return damaged(rng, text, [text], JSON_WORDS)
        return text

    def enter(self, made: Sequence[bytes]) -> None:
        streams = Streams(
            lambda first: Grid.of(1.6, 0.5, first.rate or 30.0, "person"),
            lambda: Tracker().track,
            StreamLimits(),
        )
        source = Source("fuzz", lambda stop: iter(made), live=False)
        supply = LiveSupply([source], streams, lambda number, window, arrived: None)
        supply.start()
        try:
            while not supply.exhausted:
                sample = supply.next()
                if sample is None:
                    select.select([supply.fd] if supply.fd is not None else [], [], [], 0.001)
                    continue
                self.look(sample)
            figures = supply.figures["fuzz"]
            if figures.error is not None:
                raise Found(figures.error)
            if not figures.taken:
                raise EngineError("no frame was taken")
        finally:
            supply.close()
