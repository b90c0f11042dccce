"""Drawing on a device: poses, or cells that are drawn already, onto a canvas of frames.

The same as `engine.skeletons.heatmaps` draws, of which this follows every cast; a device's ``exp``
may differ in its last bits. A GPU needs no canvas for poses (`engine.backends.torch.stem`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.base.constants import JOINTS, SCORE_THRESHOLD, SIGMA, SIZE
from engine.base.recipe import HMDB51_RECIPE
from engine.skeletons.clips import JointClips

PLAIN: Final = 0  # as the joints are
FLIPPED: Final = 1  # coordinates flipped, as 0.24.1 does
MIRRORED: Final = 2  # the mirror image of what is drawn, as 1.x does


@dataclass(frozen=True, eq=False)
class Poses:
    """What is drawn where.

    `centres`: float64 [poses, 17, 2]; `peaks`: float32 [poses, 17]. `frames`: int32 [frames, 4],
    for each frame its first pose, how many poses further the next person's is, how many persons
    there are, and in which way they are drawn.
    """

    centres: NDArray[np.float64]
    peaks: NDArray[np.float32]
    frames: NDArray[np.int32]

    @classmethod
    def of(cls, samples: Sequence[Any], firsts: Sequence[int], count: int) -> Poses:
        """Those of samples whose frames begin at `firsts`; others than `JointClips` have none."""
        frames = np.zeros((count, 4), np.int32)
        centres, peaks, pose = [np.empty((0, JOINTS, 2))], [np.empty((0, JOINTS), np.float32)], 0
        for first, clips in zip(firsts, samples, strict=True):
            if not isinstance(clips, JointClips):
                continue
            persons, unique = clips.joints.peaks.shape[:2]
            twin = MIRRORED if clips.recipe.flip == "mirror" else FLIPPED
            for half, way in enumerate((PLAIN, twin)[: 1 + clips.twins]):
                rows = frames[first + half * unique :][:unique]
                rows[:, 0] = np.arange(pose, pose + unique)
                rows[:, 1:] = unique, persons, way
            centres.append(clips.joints.centres.reshape(-1, JOINTS, 2))
            peaks.append(clips.joints.peaks.reshape(-1, JOINTS))
            pose += persons * unique
        return cls(np.concatenate(centres), np.concatenate(peaks), frames)


def draw(canvas: Tensor, poses: Poses) -> None:
    """Draw poses onto a cleared canvas [frames, 56, 56, channels], the maximum of all."""
    first, step, persons, way = poses.frames.astype(np.int64).T
    row = np.repeat(np.arange(len(poses.frames)), persons)
    person = np.arange(len(row)) - np.repeat(persons.cumsum() - persons, persons)
    pose = first[row] + person * step[row]
    ways = torch.from_numpy(way[row]).to(canvas.device)[:, None]
    joint = torch.arange(JOINTS, device=canvas.device)
    # Left and right change places in a twin.
    joint = torch.where(
        ways == PLAIN, joint, torch.from_numpy(HMDB51_RECIPE.twin.copy()).to(canvas.device)
    )
    centres = torch.from_numpy(poses.centres[pose]).to(canvas.device)
    centres = centres.gather(1, joint[..., None].expand(-1, -1, 2))
    peaks = torch.from_numpy(poses.peaks[pose]).to(canvas.device).gather(1, joint)
    across = centres[..., 0]
    across = torch.where((ways == FLIPPED) & (across != 0), SIZE - across, across)
    y, x, values = _stamps(torch.stack([across, centres[..., 1]], -1), peaks)
    x = torch.where(ways[..., None] == MIRRORED, SIZE - 1 - x, x)
    channels = canvas.shape[-1]
    rows = torch.from_numpy(row).to(canvas.device)
    origin = rows[:, None] * (SIZE * SIZE * channels) + torch.arange(JOINTS, device=canvas.device)
    places = origin[..., None, None] + (y[..., :, None] * SIZE + x[..., None, :]) * channels
    flat = canvas.view(-1)
    flat.scatter_reduce_(0, places.reshape(-1), values.reshape(-1).to(canvas.dtype), "amax")


def _stamps(centres: Tensor, peaks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cells of each joint and their values: int64 y and x [poses, 17, 5], values [poses, 17, 5, 5],
    zero where nothing is drawn."""
    near = centres.clamp(-4.0 * SIZE, 4.0 * SIZE)
    first = (near - HMDB51_RECIPE.reach).trunc().clamp(min=0).long()
    last = ((near + HMDB51_RECIPE.reach).trunc() + 1).clamp(max=SIZE).long()
    cells = first[..., None] + torch.arange(
        HMDB51_RECIPE.window, device=centres.device
    )  # [poses, 17, 2, 5]
    offset = cells.float() - centres.float()[..., None]
    square = offset * offset
    exponent = square[..., 0, None, :] + square[..., 1, :, None]
    values = torch.exp(-exponent / 2 / SIGMA**2) * peaks[..., None, None]
    wanted = (cells < last[..., None]) & ~(peaks.double() < SCORE_THRESHOLD)[..., None, None]
    values = values.where(wanted[..., 0, None, :] & wanted[..., 1, :, None], 0.0)
    cells = cells.clamp(0, SIZE - 1)
    return cells[..., 1, :], cells[..., 0, :], values


def put(canvas: Tensor, places: Tensor, values: Tensor) -> None:
    """Write cells onto a cleared canvas; `places`: int64, in frames [n, 17, 56, 56]."""
    frame, cell = places // HMDB51_RECIPE.cells, places % HMDB51_RECIPE.cells
    joint, pixel = cell // (SIZE * SIZE), cell % (SIZE * SIZE)
    at = (frame * (SIZE * SIZE) + pixel) * canvas.shape[-1] + joint
    canvas.view(-1)[at] = values.to(canvas.dtype)
