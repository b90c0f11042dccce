"""The intake: samples in their order become tasks, with their poses checked and weighed.

Comes in: a dataset's samples. Goes out: tasks for the lease table, the poses that a lease
carries, and a failure for a sample that cannot be used. Called by `engine.supervisor`.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine import wire
from engine.aggregator import Aggregator, Failure
from engine.errors import SampleError
from engine.leases import Task
from engine.poses import PoseSequence
from engine.sampling import clip_plan
from engine.sources.dataset import Sample


class Intake:
    """Holds the poses of samples from `next` until `done`."""

    def __init__(
        self,
        samples: Sequence[Sample],
        num_classes: int,
        kind: wire.Wire,
        aggregator: Aggregator,
    ) -> None:
        self._fresh = iter(samples)
        self._num_classes, self._kind, self._aggregator = num_classes, kind, aggregator
        self._poses: dict[int, PoseSequence] = {}

    def next(self) -> Task | Failure | None:
        """The next sample; None when all have been taken."""
        sample = next(self._fresh, None)
        if sample is None:
            return None
        try:
            poses = sample.poses(self._num_classes)
            if poses.nbytes > wire.MAX_POSES:
                raise SampleError(
                    f"{poses.nbytes / 1e9:.1f} GB of poses; a message holds "
                    f"{wire.MAX_POSES / 1e9:.1f} GB"
                )
        except SampleError as error:
            return self._aggregator.fail(sample.index, error.stage, error)
        except Exception as error:
            # Whatever else an annotation provokes concerns that sample only.
            return self._aggregator.fail(sample.index, "read", error)
        self._poses[sample.index] = poses
        unique = len(clip_plan(poses.total_frames).unique)
        clips = wire.clips_nbytes(self._kind, unique, len(poses.keypoint))
        return Task(sample.index, 2 * (poses.nbytes + clips))  # the sender's and the receiver's

    def poses(self, index: int) -> PoseSequence:
        """Of a sample that is not done."""
        return self._poses[index]

    def done(self, index: int) -> None:
        """A sample has its record."""
        del self._poses[index]
