"""Drawing on a device: joints, or cells that are drawn already, onto a canvas of frames.

The same as `engine.skeletons.drawing` draws, of which this follows every cast; a device's ``exp``
may differ in its last bits. A GPU needs no canvas for joints (`engine.backends.torch.stem`), and
draws limbs by a kernel (`engine.backends.torch.limbs`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.base.recipe import Recipe
from engine.skeletons.clips import JointClips

PLAIN: Final = 0  # as the joints are
FLIPPED: Final = 1  # coordinates flipped, as 0.24.1 does
MIRRORED: Final = 2  # the mirror image of what is drawn, as 1.x does


@dataclass(frozen=True, eq=False)
class Poses:
    """What is drawn where, of samples of one recipe.

    `centres`: float64 [poses, joints, 2]; `peaks`: float32 [poses, joints]. `frames`: int32
    [frames, 4], for each frame its first pose, how many poses further the next person's is, how
    many persons there are, and in which way they are drawn.
    """

    centres: NDArray[np.float64]
    peaks: NDArray[np.float32]
    frames: NDArray[np.int32]
    recipe: Recipe

    @classmethod
    def of(cls, samples: Sequence[Any], firsts: Sequence[int], count: int) -> Poses:
        """Those of samples whose frames begin at `firsts`; others than `JointClips`, of which
        there is one at least, have none."""
        frames = np.zeros((count, 4), np.int32)
        centres, peaks, pose = [], [], 0
        for first, clips in zip(firsts, samples, strict=True):
            if not isinstance(clips, JointClips):
                continue
            persons, unique, joints = clips.joints.peaks.shape
            recipe = clips.recipe
            twin = MIRRORED if recipe.flip == "mirror" else FLIPPED
            for half, way in enumerate((PLAIN, twin)[: 1 + clips.twins]):
                rows = frames[first + half * unique :][:unique]
                rows[:, 0] = np.arange(pose, pose + unique)
                rows[:, 1:] = unique, persons, way
            centres.append(clips.joints.centres.reshape(-1, joints, 2))
            peaks.append(clips.joints.peaks.reshape(-1, joints))
            pose += persons * unique
        return cls(np.concatenate(centres), np.concatenate(peaks), frames, recipe)


def draw(canvas: Tensor, poses: Poses) -> None:
    """Draw the joints of poses onto a cleared canvas [frames, size, size, channels], the maximum
    of all."""
    recipe, device = poses.recipe, canvas.device
    size, channels = recipe.size, canvas.shape[-1]
    first, step, persons, way = poses.frames.astype(np.int64).T
    row = np.repeat(np.arange(len(poses.frames)), persons)
    person = np.arange(len(row)) - np.repeat(persons.cumsum() - persons, persons)
    pose = first[row] + person * step[row]
    ways = torch.from_numpy(way[row]).to(device)[:, None]
    joint = torch.arange(recipe.joints, device=device).expand(len(row), -1)
    if recipe.flip is not None:  # left and right change places in a twin
        joint = torch.where(ways == PLAIN, joint, torch.from_numpy(recipe.twin.copy()).to(device))
    centres = torch.from_numpy(poses.centres[pose]).to(device)
    centres = centres.gather(1, joint[..., None].expand(-1, -1, 2))
    peaks = torch.from_numpy(poses.peaks[pose]).to(device).gather(1, joint)
    across = centres[..., 0]
    across = torch.where((ways == FLIPPED) & (across != 0), size - across, across)
    y, x, values = _stamps(torch.stack([across, centres[..., 1]], -1), peaks, recipe)
    x = torch.where(ways[..., None] == MIRRORED, size - 1 - x, x)
    rows = torch.from_numpy(row).to(device)
    origin = rows[:, None] * (size * size * channels) + torch.arange(recipe.joints, device=device)
    places = origin[..., None, None] + (y[..., :, None] * size + x[..., None, :]) * channels
    flat = canvas.view(-1)
    flat.scatter_reduce_(0, places.reshape(-1), values.reshape(-1).to(canvas.dtype), "amax")


def _stamps(centres: Tensor, peaks: Tensor, recipe: Recipe) -> tuple[Tensor, Tensor, Tensor]:
    """Cells of each joint and their values: int64 y and x [poses, joints, window], values [poses,
    joints, window, window], zero where nothing is drawn."""
    size = recipe.size
    near = centres.clamp(-4.0 * size, 4.0 * size)
    first = (near - recipe.reach).trunc().clamp(min=0).long()
    last = ((near + recipe.reach).trunc() + 1).clamp(max=size).long()
    # [poses, joints, 2, window]
    cells = first[..., None] + torch.arange(recipe.window, device=centres.device)
    offset = cells.float() - centres.float()[..., None]
    square = offset * offset
    exponent = square[..., 0, None, :] + square[..., 1, :, None]
    values = torch.exp(-exponent / 2 / recipe.sigma**2) * peaks[..., None, None]
    wanted = (cells < last[..., None]) & ~(peaks.double() < recipe.threshold)[..., None, None]
    values = values.where(wanted[..., 0, None, :] & wanted[..., 1, :, None], 0.0)
    cells = cells.clamp(0, size - 1)
    return cells[..., 1, :], cells[..., 0, :], values


def put(canvas: Tensor, places: Tensor, values: Tensor, shape: tuple[int, int, int]) -> None:
    """Write cells onto a cleared canvas; `places`: int64, in frames of a shape [n, channels, size,
    size]."""
    area = prod(shape[1:])
    frame, cell = places // prod(shape), places % prod(shape)
    channel, pixel = cell // area, cell % area
    canvas.view(-1)[(frame * area + pixel) * canvas.shape[-1] + channel] = values.to(canvas.dtype)


def sent(array: NDArray[Any], device: torch.device) -> Tensor:
    """The array on a device, which takes it while the host goes on."""
    found = torch.from_numpy(np.ascontiguousarray(array))
    if device.type == "cuda":
        found = found.pin_memory()
    return found.to(device, non_blocking=True)
