"""Runners: how samples go through a network, one module a layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import ceil
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.base.choices import SHARED
from engine.base.constants import VIEWS
from engine.base.records import Facts
from engine.network.backend import Backend, ResidentBackend
from engine.network.cuts import Cuts
from engine.network.models import ModelFile
from engine.network.runners.planned import PlannedRunner
from engine.network.runners.resident import ResidentRunner
from engine.network.runners.shared import SharedRunner
from engine.network.runners.whole import ClipsRunner
from engine.skeletons.clips import Clips, JointClips

_BATCH = 4  # samples
_WINDOWS = 16  # of tracks, of which a few frames are new: they fill runs together

Logits = tuple[int, NDArray[np.float32]]


class Runner(Protocol):
    """Owns a backend and the buffers that it runs on.

    `facts`: of the backend. `step`: samples that fill one run. `clips_run`, `clips_padded`: what
    the device was given, real and filler. `idle`: whether nothing is left to `collect`.
    `pending`: keys of the samples that are not complete. `together`: samples that complete with the
    one that was yielded last, itself included; they are yielded one after the other. `draws`:
    whether it takes clips that are not drawn yet, and draws them where they run.
    """

    draws: bool
    together: int
    clips_run: int
    clips_padded: int

    @property
    def facts(self) -> Facts: ...

    @property
    def step(self) -> int: ...

    @property
    def idle(self) -> bool: ...

    @property
    def pending(self) -> list[int]: ...

    def check(self, clips: Clips | JointClips) -> None:
        """Raise `SampleError` for a sample that the network cannot take."""

    def pads(self, samples: int) -> bool:
        """Whether a batch of so many samples needs filler clips."""

    def feed(
        self, batch: Sequence[tuple[int, Clips | JointClips]], meanwhile: Callable[[], object] = ...
    ) -> Iterator[Logits]:
        """Start the runs of a batch of (key, clips).

        Yields (key, logits float32 [views, classes]) of samples that complete on the way, in
        the order in which they were fed. What is left at the end goes together with the
        next batch, or by `collect`: runs under way, or too little for a full one.
        `meanwhile` is called often, while the device is busy.
        """

    def collect(self, meanwhile: Callable[[], object] = ...) -> Iterator[Logits]:
        """Complete the oldest run; yield the samples that it completes, as `feed` does."""

    def close(self) -> None:
        """Give the device back. No call follows."""


def open_runner(backend: Backend, model: ModelFile, views: int = VIEWS, room: int = 0) -> Runner:
    """The runner of a model's layout, for samples of so many clips. `room`: bytes for what is
    kept of tracks, by the runner that can. Raises `ModelError` or `UsageError`."""
    if model.layout == SHARED and model.compiled:
        return PlannedRunner(backend, len(model.classes), views)
    if model.layout == SHARED and isinstance(backend, ResidentBackend):
        return ResidentRunner(backend, views)
    if model.layout == SHARED:
        return SharedRunner(backend, Cuts.of(model.path), room)
    return ClipsRunner(backend, len(model.classes), views)


def default_batch(runner: Runner, views: int, room: int) -> int:
    """Samples that run as one batch unless the user says otherwise: whole runs. One run where
    samples are windows of one clip that are computed anew: each waits for all that went before it
    to the device."""
    windows = _WINDOWS if room else 1
    return runner.step * ceil((windows if views == 1 else _BATCH) / runner.step)


def prepared(runner: Runner, clips: Clips | JointClips) -> Clips | JointClips:
    """Clips as the runner takes them: drawn, unless it draws by itself. Raises `SampleError` for
    those that cannot be drawn, or that the network cannot take."""
    if isinstance(clips, JointClips) and not runner.draws:
        clips = clips.drawn()
    runner.check(clips)
    return clips


def infer(runner: Runner, batch: Sequence[Clips | JointClips]) -> Iterator[NDArray[np.float32]]:
    """Logits of each sample of the batch, in order; the device is idle at the end."""
    for _, logits in runner.feed(list(enumerate(batch))):
        yield logits
    while not runner.idle:
        for _, logits in runner.collect():
            yield logits
