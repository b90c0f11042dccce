"""A backend for tests of what goes on around a network: fast to start, and cheap.

It draws by itself, as a GPU does, and runs no network: logits are drawn from a checksum of a
sample's frames, so that they are the same in every process, beside any other sample and however
the frames came there, and differ where a single value does. With ``PACE`` in the environment each
sample takes so many seconds, in which the processor is idle.
"""

from __future__ import annotations

import os
import time
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.base.choices import Precision
from engine.base.records import Facts
from engine.network.backend import Array, PartNetwork, Wave
from engine.network.contexts import contexts
from engine.network.cuts import Part
from engine.network.models import ModelFile
from engine.skeletons.clips import JointClips

NAME = "joints"
PACE = "JOINTS_PACE"
_AT_ONCE = 4  # samples


class JointsBackend:
    """A run is done when it is started."""

    sizes: tuple[int, ...] = ()
    lanes = 1
    rows = 0
    values = np.dtype(np.float32)
    executed_s = None
    strides = (1,)
    capacity = (1 << 20, _AT_ONCE * 20 * 48, 1 << 20)

    def __init__(
        self, model: ModelFile, *, device: str | None, precision: Precision, threads: int
    ) -> None:
        self.facts = Facts("joints", device or "numpy", precision, threads)
        self._classes = len(model.classes)
        self._pace = float(os.environ.get(PACE, 0))

    def start_wave(self, lane: int, wave: Wave) -> None:
        self._logits = np.concatenate([self._logits_of(clips) for clips in wave.samples])
        time.sleep(self._pace * len(wave.samples))

    def finish(self, lane: int) -> NDArray[np.float32]:
        return self._logits

    def _logits_of(self, clips: Any) -> NDArray[np.float32]:
        """Of each distinct clip of a sample, from -8 to 8: float32 [clips, classes]."""
        drawn = clips.drawn() if isinstance(clips, JointClips) else clips
        places, values = drawn.frames.entries()
        sums = [zlib.crc32(np.ascontiguousarray(part)) for part in (places, values, drawn.plan)]
        distinct = len(contexts(drawn.plan, self.strides).clips)
        shape = ((1 + drawn.twins) * distinct, self._classes)
        return np.random.default_rng(sums).random(shape, np.float32) * 16 - 8

    def inputs(self, lane: int, size: int) -> tuple[Array, ...]:
        raise NotImplementedError

    def start(self, lane: int, size: int) -> None:
        raise NotImplementedError

    def part(self, part: Part) -> PartNetwork:
        raise NotImplementedError

    def close(self) -> None:
        pass
