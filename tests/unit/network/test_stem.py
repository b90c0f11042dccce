"""The stem against a dense convolution, and that nobody's bits depend on who is beside."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.network.stem import SIDE, Stem, tiles
from engine.skeletons.sparse import Frames

SHAPE = CHANNELS, HEIGHT, WIDTH = 3, 12, 14
OUTPUTS = 4


@st.composite
def frames(draw: st.DrawFn, most: int = 7) -> Frames:
    """A few frames with cells anywhere, drawn in any order."""
    cell = st.integers(0, CHANNELS * HEIGHT * WIDTH - 1)
    each = draw(st.lists(st.lists(cell, unique=True, max_size=30), min_size=1, max_size=most))
    starts = np.cumsum([0, *map(len, each)]).astype(np.int32)
    cells = np.array([cell for one in each for cell in one], np.uint32)
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    return Frames(starts, cells, rng.random(len(cells), np.float32), SHAPE)


def kernel(size: int, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((OUTPUTS, CHANNELS, size, size)).astype(np.float32)


def convolved(dense: NDArray[np.float64], kernel: NDArray[np.float32]) -> NDArray[np.float64]:
    """The definition: [n, height, width, outputs]."""
    half = kernel.shape[-1] // 2
    padded = np.pad(dense, ((0, 0), (0, 0), (half, half), (half, half)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[2:], axis=(2, 3))
    return np.einsum("nchwyx,ocyx->nhwo", windows, kernel.astype(float))


def written(stem: Stem, of: Frames, rows: int = 3) -> NDArray[np.float32]:
    """In runs of so many."""
    windows = stem.windows(of, rows)
    out = np.full((len(windows.ends), rows, HEIGHT, WIDTH, OUTPUTS), np.nan, np.float32)
    for number, run in enumerate(out):
        stem.write(windows, number, run)
    return out.reshape(-1, HEIGHT, WIDTH, OUTPUTS)


@given(frames(), st.sampled_from([1, 3, 7]))
def test_what_a_dense_convolution_makes(some: Frames, size: int) -> None:
    found = written(Stem(kernel(size)), some)
    expected = convolved(some.dense().astype(float), kernel(size))
    np.testing.assert_allclose(found[: len(some)], expected, atol=1e-5)
    assert not found[len(some) :].any()


@given(frames())
def test_quantised_frames_give_whole_numbers(some: Frames) -> None:
    scale = np.float32(0.7 / 255)  # some values are beyond the largest
    whole = np.rint(10 * kernel(7))
    read = np.clip(np.rint(some.dense() / scale), 0, 255).astype(float)
    found = written(Stem(whole, float(scale)), some)
    np.testing.assert_array_equal(found[: len(some)], convolved(read, whole))


@given(frames())
def test_the_bits_of_a_frame_are_its_own(some: Frames) -> None:
    stem = Stem(kernel(7))
    together = written(stem, some)
    for row in range(len(some)):
        np.testing.assert_array_equal(written(stem, some[row : row + 1])[0], together[row])


@given(frames())
def test_every_cell_is_in_one_tile(some: Frames) -> None:
    found = tiles(some)
    again = np.zeros((len(some), *SHAPE), np.float32)
    for frame, channel, row, column, values in zip(
        found.frames, found.channels, found.rows, found.columns, found.values, strict=True
    ):
        square = again[frame, channel, row : row + SIDE, column : column + SIDE]
        assert not (square.astype(bool) & values.reshape(SIDE, SIDE).astype(bool)).any()
        square += values.reshape(SIDE, SIDE)
    np.testing.assert_array_equal(again, some.dense())


def test_a_joint_is_one_tile() -> None:
    cells = [row * WIDTH + column for row in range(3, 8) for column in range(9, 14)]
    joint = Frames(np.array([0, 25], np.int32), np.array(cells), np.ones(25, np.float32), SHAPE)
    found = tiles(joint)
    assert (found.rows.tolist(), found.columns.tolist()) == ([3], [9])
