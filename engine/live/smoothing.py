"""Smoothing: one label at a time out of the scores of window after window.

Comes in: the scores of somebody's windows, in order. Goes out: a label, or none. Pure; one object
a person (or group) of a stream.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray


class Smoother:
    """The mean of the last `windows` scores names the label. It changes only when another class
    leads by `margin`, and is none below `threshold`."""

    def __init__(self, windows: int = 3, threshold: float = 0.3, margin: float = 0.05) -> None:
        self._last: deque[NDArray[np.float32]] = deque(maxlen=windows)
        self._threshold, self._margin = threshold, margin
        self.label: int | None = None

    def add(self, scores: NDArray[np.float32]) -> tuple[int | None, NDArray[np.float32]]:
        """Take the scores [classes] of a window; the label, and the mean scores."""
        self._last.append(scores)
        mean: NDArray[np.float32] = np.stack(self._last).mean(axis=0, dtype=np.float64)
        mean = mean.astype(np.float32)
        best = int(mean.argmax())
        if self.label is None or best != self.label:
            held = -1.0 if self.label is None else float(mean[self.label])
            if mean[best] >= held + self._margin or held < self._threshold:
                self.label = best
        if self.label is not None and mean[self.label] < self._threshold:
            self.label = None
        return self.label, mean
