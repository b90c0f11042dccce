"""Frames: heatmaps, kept as the cells that are not zero.

A joint is drawn on 25 cells, so of the 53,312 cells of a frame of HMDB51's recipe fewer than one in
a hundred hold anything. Drawn by `engine.skeletons.drawing`, carried by
`engine.runtime.transport.clip_messages`, written out by the runners where the runtime wants them,
which costs less than copying the zeros would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Frames:
    """Heatmap frames, each float32 [channels, size, size], which is `shape`.

    `starts`: int32 [n + 1]; frame i has the entries ``starts[i]`` to ``starts[i + 1]`` of
    `cells`: uint16 or uint32, places in the flattened frame, and `values`: float32. All other
    cells are zero.
    """

    starts: NDArray[np.int32]
    cells: NDArray[Any]
    values: NDArray[np.float32]
    shape: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, chosen: slice) -> Frames:
        """Consecutive frames; the entries stay where they are."""
        first, last, _ = chosen.indices(len(self))
        return replace(self, starts=self.starts[first : last + 1])

    def chosen(self, rows: NDArray[np.integer[Any]]) -> Frames:
        """Frames by their numbers."""
        counts = np.diff(self.starts)[rows]
        ends = counts.cumsum()
        entries = np.arange(counts.sum()) + np.repeat(self.starts[rows] - (ends - counts), counts)
        starts = np.concatenate([[0], ends]).astype(np.int32)
        return Frames(starts, self.cells[entries], self.values[entries], self.shape)

    @classmethod
    def joined(cls, parts: Sequence[Frames]) -> Frames:
        """The frames of `parts`, one after the other."""
        entries = [slice(part.starts[0], part.starts[-1]) for part in parts]
        counts = np.concatenate([np.diff(part.starts) for part in parts])
        return cls(
            np.concatenate([[0], counts.cumsum()]).astype(np.int32),
            np.concatenate([part.cells[e] for part, e in zip(parts, entries, strict=True)]),
            np.concatenate([part.values[e] for part, e in zip(parts, entries, strict=True)]),
            parts[0].shape,
        )

    def flawed(self) -> str | None:
        """What is wrong with frames that somebody sent, None if nothing is."""
        starts, entries = self.starts, len(self.values)
        if (
            not len(starts)
            or starts[0] != 0
            or starts[-1] != entries
            or (np.diff(starts) < 0).any()
        ):
            return f"starts that do not divide {entries} values"
        if len(self.cells) != entries:
            return f"{len(self.cells)} cells and {entries} values"
        if entries and self.cells.max() >= prod(self.shape):
            return f"a cell {self.cells.max()} of {prod(self.shape)}"
        return None

    def entries(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """All entries: places in the flattened [n, channels, size, size], and values."""
        first, last = self.starts[0], self.starts[-1]
        origins = np.repeat(np.arange(len(self)) * prod(self.shape), np.diff(self.starts))
        return origins + self.cells[first:last], self.values[first:last]

    def dense(self) -> NDArray[np.float32]:
        """The frames themselves: float32 [n, channels, size, size]."""
        out = np.zeros((len(self), *self.shape), np.float32)
        places, values = self.entries()
        out.reshape(-1)[places] = values
        return out

    def write_clip(self, plan: NDArray[Any], out: NDArray[Any]) -> None:
        """Write the frames that `plan` [t] names as a clip into `out`, float32 or float16
        [channels, t, size, size], C-contiguous."""
        firsts, counts = self.starts[plan], np.diff(self.starts)[plan]
        ends = counts.cumsum()
        entries = np.arange(ends[-1]) + np.repeat(firsts - (ends - counts), counts)
        area = prod(self.shape[1:])
        channel, pixel = np.divmod(self.cells[entries].astype(np.int64), area)
        time = np.repeat(np.arange(len(plan)), counts)
        out[:] = 0
        out.reshape(-1)[(channel * len(plan) + time) * area + pixel] = self.values[entries]
