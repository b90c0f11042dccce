"""How far a linear model comes on the demo: ``python -m benchmarks.linear_baseline``.

The mean pose of a video, in the coordinates that the network sees, through softmax
regression. What it scores needs no motion; the network has to beat it by far, or the demo
would be a toy.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.base.recipe import HMDB51_RECIPE
from engine.skeletons.heatmaps import center_crop, compact, resize
from engine.sources.demo.generation import CLASSES, TEST_SAMPLES, sample

F64 = NDArray[np.float64]


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.linear_baseline")
    parser.add_argument("--samples", type=int, default=12_000, help="to fit on (train split)")
    parser.add_argument("--steps", type=int, default=1500)
    args = parser.parse_args()
    x, y = _table("train", args.samples)
    test_x, test_y = _table("test1", TEST_SAMPLES)
    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-6
    weights = fit(_with_one((x - mean) / deviation), y, len(CLASSES), args.steps)
    for name, inputs, labels in (("train", x, y), ("test1", test_x, test_y)):
        found = (_with_one((inputs - mean) / deviation) @ weights).argmax(axis=1)
        print(f"{name}\ttop-1 {(found == labels).mean():.3f} of {len(labels)}")


def _table(split: str, count: int) -> tuple[F64, NDArray[np.int64]]:
    """Mean poses [N, 34] and classes [N]."""
    rows = [mean_pose(sample(split, number)) for number in range(count)]
    return np.array(rows), np.arange(count) % len(CLASSES)


def mean_pose(annotation: dict[str, Any]) -> F64:
    """The mean over time of the surest person's 17 points on the 56-pixel canvas, [34]."""
    recipe = HMDB51_RECIPE
    keypoint = annotation["keypoint"].astype(np.float32)
    keypoint, img_shape = compact(keypoint, annotation["img_shape"], recipe)
    keypoint, img_shape = resize(keypoint, img_shape, recipe)
    centres = center_crop(keypoint.astype(np.float64), img_shape, recipe)
    person = annotation["keypoint_score"].astype(np.float64).mean(axis=(1, 2)).argmax()
    return np.asarray(centres[person].mean(axis=0).ravel())


def _with_one(x: F64) -> F64:
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)


def fit(x: F64, y: NDArray[np.int64], classes: int, steps: int) -> F64:
    """Weights [features, classes] of softmax regression, by Adam on all of the data."""
    weights = np.zeros((x.shape[1], classes))
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(1, steps + 1):
        logits = x @ weights
        share = np.exp(logits - logits.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        share[np.arange(len(y)), y] -= 1
        gradient = x.T @ share / len(x)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        rate = 0.03 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        weights -= rate * first / (np.sqrt(second) + 1e-8)
    return weights


if __name__ == "__main__":
    main()
