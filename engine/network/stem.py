"""The stem: a network's first convolution, computed from the few cells of a frame that are drawn.

Comes in: `Frames`. Goes out: what the convolution makes of them, channels last. A joint is drawn on
5 x 5 cells of 56 x 56, so nearly all that a dense convolution multiplies by is zero. Here the cells
are cut into *tiles*; what one tile gives is a product of matrices, and is added where it lies.

The bits of a frame do not depend on the frames beside it: products always have the same size, and a
frame's tiles are added in an order of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.skeletons.sparse import Frames

F32 = NDArray[np.float32]
SIDE: Final = 5  # of a tile; a joint of the published recipes is drawn on one
_TILES: Final = 8  # of a product; more go through several kernels of OpenBLAS, of other bits
_PRODUCT: Final = 1 << 18  # multiplications for which OpenBLAS wakes no other threads, whose cores
# run networks meanwhile


@dataclass(frozen=True, eq=False)
class Tiles:
    """Cells that are drawn, in squares of `SIDE`. `frames`, `channels`: whose each is. `rows`,
    `columns`: of its first cell. `values`: float32 [tiles, cells]."""

    frames: NDArray[np.int64]
    channels: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: F32


@dataclass(frozen=True, eq=False)
class Windows:
    """Where tiles give something, in runs of frames, and there by channel.

    `ends`: for each run and channel, where its tiles end. `places`: of each tile the frame in its
    run, then the part of that frame and the part of the window around the tile that meet: top,
    bottom, left and right, the latter two counted in values. `values`: as of `Tiles`."""

    ends: list[list[int]]
    places: list[list[int]]
    values: F32


class Stem:
    """`kernel`: float32 [outputs, channels, size, size], of odd size, moved by one cell at a time
    over frames with half of it around them. `scale`: of what it reads quantised, as uint8."""

    def __init__(self, kernel: F32, scale: float | None = None) -> None:
        outputs, channels, size, _ = kernel.shape
        self.outputs, self._scale = outputs, scale
        self._border = size // 2
        self._window = window = SIDE + size - 1
        # What each cell of a tile gives to each place of the window around it: the kernel, turned.
        spread = np.zeros((channels, SIDE, SIDE, window, window, outputs), np.float32)
        turned = kernel[:, :, ::-1, ::-1].transpose(1, 2, 3, 0)
        for row in range(SIDE):
            for column in range(SIDE):
                spread[:, row, column, row : row + size, column : column + size] = turned
        self._spread = spread.reshape(channels, SIDE**2, window * window * outputs)

    def windows(self, frames: Frames, run: int) -> Windows:
        """Where frames are drawn, for runs of so many."""
        found, (channels, height, width) = tiles(frames, self._scale), frames.shape
        window, outputs = self._window, self.outputs
        top, left = found.rows - self._border, found.columns - self._border
        place = np.stack(
            [
                found.frames % run,
                np.maximum(top, 0),
                np.minimum(top + window, height),
                np.maximum(left, 0) * outputs,
                np.minimum(left + window, width) * outputs,
                np.maximum(-top, 0),
                np.minimum(height - top, window),
                np.maximum(-left, 0) * outputs,
                np.minimum(width - left, window) * outputs,
            ],
            axis=1,
        )
        keys = found.frames // run * channels + found.channels
        order = np.argsort(keys, kind="stable")
        runs = -(-len(frames) // run)
        ends = np.searchsorted(keys[order], np.arange(runs * channels), side="right")
        return Windows(
            ends.reshape(runs, channels).tolist(), place[order].tolist(), found.values[order]
        )

    @np.errstate(over="ignore", invalid="ignore")  # as networks compute: answers are looked at
    def write(self, windows: Windows, number: int, out: F32) -> None:
        """Write what the convolution makes of the frames of a run, without its bias, into `out`,
        float32 [run, height, width, outputs]; rows beyond the last frame are zero then."""
        out[:] = 0
        run, height, width, outputs = out.shape
        canvas = out.reshape(run, height, width * outputs)
        values = np.zeros((_TILES, SIDE**2), np.float32)
        given = np.empty((_TILES, self._window, self._window * outputs), np.float32)
        flat = given.reshape(_TILES, -1)
        most = _PRODUCT // values.size // 64 * 64
        parts = [slice(first, first + most) for first in range(0, flat.shape[1], most)]
        first = windows.ends[number - 1][-1] if number else 0
        for spread, end in zip(self._spread, windows.ends[number], strict=True):
            for start in range(first, end, _TILES):
                chunk = slice(start, min(start + _TILES, end))
                values[: chunk.stop - start] = windows.values[chunk]
                for part in parts:
                    np.matmul(values, spread[:, part], out=flat[:, part])
                for one, (frame, a, b, c, d, e, f, g, h) in zip(
                    given, windows.places[chunk], strict=False
                ):
                    into = canvas[frame, a:b, c:d]
                    np.add(into, one[e:f, g:h], into)
            first = end


def tiles(frames: Frames, scale: float | None = None) -> Tiles:
    """All cells of frames, each in one tile; of a frame and channel first the one that begins with
    its first row. `scale`: that values are quantised by, as whole numbers from 0 to 255."""
    channels, height, width = frames.shape
    places, values = frames.entries()
    if scale is not None:
        values = np.clip(np.rint(values / np.float32(scale)), 0, 255)
    group, place = np.divmod(places, height * width)
    order = np.argsort(group, kind="stable")
    group, place, values = group[order], place[order], values[order]
    row, column = np.divmod(place, width)
    found: list[tuple[NDArray[np.int64], ...]] = []
    squares: list[F32] = []
    while len(group):
        begins = np.flatnonzero(np.diff(group, prepend=-1))
        which = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(group)))
        top = np.minimum(np.minimum.reduceat(row, begins), height - SIDE)
        below = row - top[which]
        high = np.where(below < SIDE, column, width)
        left = np.minimum(np.minimum.reduceat(high, begins), width - SIDE)
        beside = column - left[which]
        inside = (below < SIDE) & (beside >= 0) & (beside < SIDE)
        square = np.zeros((len(begins), SIDE**2), np.float32)
        square[which[inside], (below * SIDE + beside)[inside]] = values[inside]
        frame, channel = np.divmod(group[begins], channels)
        found.append((frame, channel, top, left))
        squares.append(square)
        group, row, column, values = (x[~inside] for x in (group, row, column, values))
    if not found:
        none = np.zeros(0, np.int64)
        return Tiles(none, none, none, none, np.zeros((0, SIDE**2), np.float32))
    frame, channel, top, left = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Tiles(frame, channel, top, left, np.concatenate(squares))
