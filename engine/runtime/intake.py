"""The intake: samples in their order become tasks, with their poses checked and weighed.

Comes in: samples, of a dataset or of live streams. Goes out: tasks for the lease table, the poses
that a lease carries, and a failure for a sample that cannot be used.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from engine.base.constants import plan_rows
from engine.base.records import Cause, Failure
from engine.runtime.aggregator import Aggregator
from engine.runtime.leases import Task
from engine.runtime.transport.clip_messages import clips_nbytes
from engine.runtime.transport.messages import WorkerSettings
from engine.skeletons.poses import PoseSequence
from engine.skeletons.samples import Sample
from engine.skeletons.sampling import clip_plan


class Supply(Protocol):
    """Where samples come from. `exhausted`: whether none will come any more. `fd`: a descriptor
    that is readable when there is something to `poll` for; None where they are all there."""

    fd: int | None

    @property
    def exhausted(self) -> bool: ...

    def poll(self) -> None:
        """Look at what has come. Called often, whether a sample is wanted or not."""

    def next(self) -> Sample | None:
        """The next sample, if there is one at the moment."""


class Listed:
    """The samples of a dataset."""

    fd: int | None = None

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._fresh, self.exhausted = iter(samples), False

    def poll(self) -> None:
        pass

    def next(self) -> Sample | None:
        sample = next(self._fresh, None)
        self.exhausted = sample is None
        return sample


class Intake:
    """Holds the poses of samples from `next` until `done`."""

    def __init__(
        self,
        supply: Supply,
        num_classes: int,
        settings: WorkerSettings,
        aggregator: Aggregator,
    ) -> None:
        self._supply = supply
        self._num_classes, self._settings, self._aggregator = num_classes, settings, aggregator
        self._poses: dict[int, PoseSequence] = {}

    @property
    def exhausted(self) -> bool:
        """Whether no sample will come any more."""
        return self._supply.exhausted

    def next(self) -> Task | Failure | None:
        """The next sample; None where there is none, at the moment or any more."""
        sample = self._supply.next()
        if sample is None:
            return None
        self._aggregator.take(sample)
        poses = sample.read(self._num_classes)
        if isinstance(poses, Cause):
            return self._aggregator.failure(sample.index, poses)
        self._poses[sample.index] = poses
        views = self._settings.views
        plan = clip_plan(poses.total_frames, plan_rows(views)[0])
        persons = len(poses.keypoint)
        clips = clips_nbytes(self._settings.wire, len(plan.unique), persons, views)
        return Task(sample.index, 2 * (poses.nbytes + clips))  # the sender's and the receiver's

    def poses(self, index: int) -> PoseSequence:
        """Of a sample that is not done."""
        return self._poses[index]

    def done(self, index: int) -> None:
        """A sample has its record."""
        del self._poses[index]
