"""The compact form of a sample and its tensor are the same thing."""

from __future__ import annotations

from typing import Any

import numpy as np

import engine
from engine.base.recipe import HMDB51_RECIPE
from engine.skeletons.clips import decode
from engine.skeletons.poses import PoseSequence


def test_tensor_is_frames_taken_by_plan(make_annotation: Any) -> None:
    annotation = make_annotation(70, persons=2)
    clips = decode(PoseSequence.from_annotation(annotation), HMDB51_RECIPE)
    tensor = engine.preprocess(annotation)
    frames = clips.frames.dense().reshape(2, clips.unique, 17, 56, 56)
    for c in range(20):
        expected = frames[c // 10][clips.plan[c % 10]].swapaxes(0, 1)
        np.testing.assert_array_equal(tensor[c], expected)


def test_any_window_of_clips(make_annotation: Any) -> None:
    clips = decode(PoseSequence.from_annotation(make_annotation(20)), HMDB51_RECIPE)
    tensor = clips.tensor()
    for first, count in ((0, 1), (8, 4), (19, 1), (3, 0)):
        out = np.full((count, 17, 48, 56, 56), -1, np.float32)
        clips.write(first, out)
        np.testing.assert_array_equal(out, tensor[first : first + count])
