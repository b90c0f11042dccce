"""Lengths: what the number of frames in a video does to the rate, and to a message."""

from __future__ import annotations

import pickle
import statistics
from pathlib import Path

from benchmarks import workloads
from engine.base.choices import WIRES, Precision
from engine.base.options import Options
from engine.base.recipe import HMDB51_RECIPE
from engine.base.records import Prediction
from engine.pipeline import Pipeline
from engine.runtime.transport import clip_messages
from engine.runtime.transport.messages import WorkerSettings
from engine.runtime.worker import clips_of
from engine.skeletons.poses import PoseSequence

LENGTHS = (15, 30, 40, 48, 60, 80, 100, 150, 200, 300, 600)  # frames
_ROUNDS = 3


def rates(model: str, precision: Precision, folder: Path) -> dict[int, float]:
    """Samples/s by frames, decoding included, one process: medians of three, interleaved."""
    # The first one warms up and is not counted.
    order = [LENGTHS[0], *LENGTHS * _ROUNDS]
    path = folder / "lengths.pkl"
    path.write_bytes(pickle.dumps([workloads.drifting(n, i) for i, n in enumerate(order)]))
    seconds: dict[int, list[float]] = {n: [] for n in LENGTHS}
    options = Options(dataset=str(path), model=model, precision=precision, in_process=True)
    with Pipeline(options) as pipeline:
        for record, frames in zip(pipeline, order, strict=True):
            assert isinstance(record, Prediction)
            seconds[frames].append(sum(record.ms.values()) / 1e3)
    del seconds[LENGTHS[0]][0]
    return {n: 1 / statistics.median(found) for n, found in seconds.items()}


def bytes_on_wire() -> dict[str, dict[int, int]]:
    """Bytes of a sample of one person, by wire and frames."""
    found: dict[str, dict[int, int]] = {}
    for kind in WIRES:
        found[kind], settings = {}, WorkerSettings(HMDB51_RECIPE, kind)
        for frames in LENGTHS:
            poses = PoseSequence.from_annotation(workloads.drifting(frames, 0))
            clips = clips_of(poses, settings)
            found[kind][frames] = clip_messages.of_clips(1, "", clips).write().nbytes
    return found
