"""Recogniser: the way of a sample in one process, from its poses to its scores.

Poses are sampled (which frames each clip has, and where their joints are), prepared (drawn, unless
the device draws), and go through the network with others of a batch; the scores are the average
over a sample's clips. Where processes share the work, workers do the first, executors go on with
`prepared`, and the parent ends with `scored`.

What is wrong with a sample concerns that sample only: it is returned as a `Cause`. What is raised
concerns all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from engine.base.errors import SampleError
from engine.base.notes import Note
from engine.base.recipe import Recipe
from engine.base.records import Cause
from engine.network.clip_rules import probabilities
from engine.network.runners.base import F32, Logits, Runner
from engine.skeletons.clips import Clips, JointClips, sampled
from engine.skeletons.poses import PoseSequence
from engine.skeletons.samples import Sample


class Recogniser:
    """Owns a `runner`. `num_classes`: of the model; `recipe`: how samples become clips."""

    def __init__(self, runner: Runner, num_classes: int, recipe: Recipe) -> None:
        self.runner, self.num_classes, self._recipe = runner, num_classes, recipe

    def clips(self, sample: Sample) -> tuple[Clips | JointClips, tuple[Note, ...]] | Cause:
        """A sample, ready to run, and the notes of its poses. Raises `EngineError` where its data
        set is out of reach."""
        poses = sample.read(self.num_classes, self._recipe)
        if isinstance(poses, Cause):
            return poses
        clips = self.prepare(poses)
        return clips if isinstance(clips, Cause) else (clips, poses.notes)

    def prepare(self, poses: PoseSequence) -> Clips | JointClips | Cause:
        """Checked poses, ready to run."""
        try:
            return prepared(self.runner, sampled(poses, self._recipe))
        except Exception as error:
            return Cause.of(error, "decode")

    def logits(self, batch: Sequence[Clips | JointClips]) -> Iterator[F32]:
        """Logits of each sample of a batch, float32 [clips, classes], in order. Raises
        `BackendError` or `ModelError`."""
        return infer(self.runner, batch)

    def close(self) -> None:
        """Give the device back. No call follows."""
        self.runner.close()


def prepared(runner: Runner, clips: Clips | JointClips) -> Clips | JointClips:
    """Clips as the runner takes them: drawn, unless it draws by itself. Raises `SampleError` for
    those that cannot be drawn, or that the network cannot take."""
    if isinstance(clips, JointClips) and not runner.draws:
        clips = clips.drawn()
    runner.check(clips)
    return clips


def infer(runner: Runner, batch: Sequence[Clips | JointClips]) -> Iterator[F32]:
    """Logits of each sample of the batch, in order; the device is idle at the end."""
    early: dict[int, F32] = {}  # of samples that are complete before those in front of them
    due = 0
    for key, logits in _completed(runner, batch):
        early[key] = logits
        while due in early:
            yield early.pop(due)
            due += 1


def _completed(runner: Runner, batch: Sequence[Clips | JointClips]) -> Iterator[Logits]:
    yield from runner.feed(list(enumerate(batch)))
    while not runner.idle:
        yield from runner.collect()


def scored(logits: F32) -> F32 | Cause:
    """The scores of a sample, float32 [classes], or why it has none."""
    try:
        return average(logits)
    except SampleError as error:
        return Cause.of(error, "score")


def average(logits: F32) -> F32:
    """Mean over the clips of the softmax over the classes: float32 [classes].

    `logits` float32 [clips, classes]. Computed in float64, so that the order of summation
    does not show. Raises `SampleError` where a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise SampleError("the network's logits are not finite", stage="score")
    scores: F32 = probabilities(logits).mean(axis=0).astype(np.float32)
    return scores
