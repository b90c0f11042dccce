"""Messages: what the supervisor, workers, executors and guests say to each other.

A record a kind (`engine.runtime.transport.bodies`), read by who may say it: `from_child`,
`from_guest`, `to_child`, `to_guest`. Clips, which go from workers to executors, are
`engine.runtime.transport.clip_messages`'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from engine.base.choices import Wire
from engine.base.errors import WireError
from engine.base.recipe import Recipe
from engine.base.records import Cause, Facts
from engine.runtime.transport import wire
from engine.runtime.transport.bodies import Body, reader
from engine.runtime.transport.wire import Message
from engine.skeletons.poses import Crop, PoseSequence, Track


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker process is told at its start."""

    recipe: Recipe
    wire: Wire


# To the supervisor


@dataclass(frozen=True)
class Join(Body, kind="join"):
    """A guest asks for work."""

    version: str
    host: str
    pid: int

    @classmethod
    def read(cls, message: Message) -> Join:
        """As in `Body`; whatever else a guest of another version says, it is to be answered."""
        return cls(**cls.checked({k: message.fields.get(k) for k in ("version", "host", "pid")}))


@dataclass(frozen=True)
class WorkerReady(Body, kind="worker-ready"):
    """A worker can take leases."""

    pid: int
    numpy: str


@dataclass(frozen=True)
class ExecutorReady(Body, kind="executor-ready"):
    """An executor has loaded the model. `max_batch`: samples."""

    facts: Facts
    max_batch: int


@dataclass(frozen=True)
class Decoding(Body, kind="decoding"):
    """A worker has started a sample."""

    lease: int


@dataclass(frozen=True)
class Sent(Body, kind="sent"):
    """A worker has handed clips to the transport. `busy`: seconds of work; `nbytes`: of clips."""

    lease: int
    busy: float
    nbytes: int


@dataclass(frozen=True)
class Queued(Body, kind="queued"):
    """An executor has received the clips."""

    lease: int


@dataclass(frozen=True)
class Running(Body, kind="running"):
    """An executor has started a batch."""

    leases: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Result(Body, kind="result", arrays={"logits": (np.float32, (None, None))}):
    """The logits of a sample, float32 [clips, classes]. `busy`: seconds of the device; `padded`:
    filler clips that were run since the last result."""

    lease: int
    busy: float
    padded: int
    logits: NDArray[np.float32]


@dataclass(frozen=True)
class Failed(Body, kind="failed"):
    """A sample could not be decoded, or not be run."""

    lease: int
    cause: Cause


@dataclass(frozen=True)
class Dropped(Body, kind="dropped"):
    """A process has dropped a message that was not one of ours."""

    message: str


@dataclass(frozen=True)
class Log(Body, kind="log"):
    """What a process logs. `level` as in `logging`."""

    level: int
    message: str


@dataclass(frozen=True)
class Fatal(Body, kind="fatal"):
    """An executor ends for a reason that another one would have, too."""

    message: str


@dataclass(frozen=True)
class Alive(Body, kind="alive"):
    """A guest has nothing else to say."""


@dataclass(frozen=True)
class Leave(Body, kind="leave"):
    """A guest goes."""


# From the supervisor


@dataclass(frozen=True)
class Welcome(Body, kind="welcome"):
    """A guest is taken; `name` is what it is called."""

    name: str
    settings: WorkerSettings


@dataclass(frozen=True)
class Refused(Body, kind="refused"):
    """A guest is not taken, and why."""

    message: str


@dataclass(frozen=True)
class ExecutorAddress(Body, kind="executor"):
    """Where the process that an executor's slot has now takes clips: children at `endpoint`,
    guests at `port` of the engine's machine."""

    slot: str
    name: str
    endpoint: str
    port: int | None


@dataclass(frozen=True)
class Stop(Body, kind="stop"):
    """It is over."""

    reason: str = "the run is over"


@dataclass(frozen=True)
class Hurry(Body, kind="hurry"):
    """Nothing more comes to the batches of an executor as long as it waits."""


@dataclass(frozen=True)
class _About:
    """The fields of a `PoseSequence` that are no arrays."""

    img_shape: tuple[int, int]
    total_frames: int
    crop: Crop | None
    track: Track | None


_about = reader(_About)


@dataclass(frozen=True, eq=False)
class Grant(
    Body,
    kind="grant",
    arrays={
        "keypoint": (None, (None, None, None, 2)),
        "keypoint_score": (None, (None, None, None)),
    },
):
    """A worker is to decode a sample and to send its clips to an executor, with the seal
    (`engine.runtime.transport.clip_messages.seal`). `about` is what else `poses` needs, which
    checks it: whatever is wrong with it concerns that sample only."""

    lease: int
    seal: str
    executor: str
    about: dict[str, Any]
    keypoint: NDArray[Any]
    keypoint_score: NDArray[Any] | None = None

    @classmethod
    def of(cls, lease: int, seal: str, executor: str, poses: PoseSequence) -> Grant:
        """The message that grants a lease."""
        about = _About(poses.img_shape, poses.total_frames, poses.crop, poses.track)
        score = poses.keypoint_score
        score = None if score is None else _portable(score)
        return cls(lease, seal, executor, vars(about), _portable(poses.keypoint), score)

    def poses(self) -> PoseSequence:
        """The poses. Raises `WireError`."""
        try:
            about: _About = _about(self.about)
        except (LookupError, TypeError, ValueError) as error:
            raise WireError(f"poses: {error!s:.200}") from None
        return PoseSequence(self.keypoint, self.keypoint_score, **vars(about))


def _portable(array: NDArray[Any]) -> NDArray[Any]:
    """The array in a dtype that the wire knows; float32 is what decoding casts to anyway."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return little if little.dtype.str in wire.DTYPES else array.astype(np.float32)


# Who may say what

OfLease = Decoding | Sent | Queued | Running | Result | Failed
"""What becomes of leases."""

FromChild = OfLease | WorkerReady | ExecutorReady | Dropped | Log | Fatal
FromGuest = Join | WorkerReady | Decoding | Sent | Failed | Dropped | Alive | Leave
ToChild = Grant | ExecutorAddress | Hurry | Stop
ToGuest = Welcome | Refused | Grant | ExecutorAddress | Stop
Told = ToChild | ToGuest


def read(message: Message, known: Mapping[str, type[Body]]) -> Any:
    """The record of one of these kinds. Raises `WireError`."""
    found = known.get(message.kind)
    if found is None:
        raise WireError(f"a message of kind {message.kind!r:.20}")
    return found.read(message)


def _reading(union: Any) -> Callable[[Message], Any]:
    return partial(read, known={one.kind: one for one in get_args(union)})


# Each raises `WireError` for anything else.
from_child: Callable[[Message], FromChild] = _reading(FromChild)
"""What a child says to the supervisor."""
from_guest: Callable[[Message], FromGuest] = _reading(FromGuest)
"""What a guest says to the supervisor."""
to_child: Callable[[Message], ToChild] = _reading(ToChild)
"""What the supervisor says to a child."""
to_guest: Callable[[Message], ToGuest] = _reading(ToGuest)
"""What the supervisor says to a guest."""
