"""Train the demo weights: ``python -m converters.train_demo OUTPUT.pth``.

A PoseC3D of the published architecture, from scratch, on the demo's train split
(`engine.sources.demo`), which never ends: every clip is a new sample. Short, small clips first,
the real size last; batch normalisation is re-estimated on clips of the test pipeline.
Deterministic up to the runtime's own order of sums; about 90 minutes on two cores.
Needs torch (``pip install -e '.[convert]'``). The test split is not looked at.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from converters.slowonly import SlowOnly
from converters.torch_network import Network
from engine.base.constants import SIGMA, SIZE
from engine.base.progress import SampleProgress
from engine.base.recipe import HMDB51_RECIPE
from engine.skeletons.clips import decode
from engine.skeletons.heatmaps import center_crop, compact, flip, resize
from engine.skeletons.poses import PoseSequence
from engine.sources.demo.generation import sample

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Phase:
    """Steps of `batch` clips of `frames` frames at `size` pixels."""

    steps: int
    frames: int
    size: int
    batch: int

    @property
    def cost(self) -> float:
        """In clips of the real size."""
        return self.steps * self.batch * self.frames * self.size**2 / (48 * SIZE**2)


PHASES = (
    Phase(2600, 16, 32, 16),
    Phase(1500, 16, 48, 16),
    Phase(240, 32, 48, 16),
    Phase(150, 48, SIZE, 16),
)
PEAK_RATE = 1.5e-3
WEIGHT_DECAY = 0.05
SMOOTHING = 0.05
DROPOUT = 0.2
WARM_UP = 0.04  # share of the steps
BN_SAMPLES = 192
VALIDATION = range(1_000_000, 1_000_240)  # of the train split, never trained on


def main() -> int:
    """Train and write the checkpoint."""
    parser = argparse.ArgumentParser(prog="python -m converters.train_demo", description=__doc__)
    parser.add_argument("output", type=Path, help="checkpoint to write (.pth)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget", type=float, default=1.0, help="share of the steps to do")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    network = train(args.seed, args.budget)
    print("re-estimating batch normalisation", file=sys.stderr)
    estimate_statistics(network)
    torch.save({"meta": {"seed": args.seed}, "state_dict": compressed(network)}, args.output)
    print(f"{args.output}: validation top-1 {validate(network, SIZE, 48):.3f}", file=sys.stderr)
    return 0


def train(seed: int, budget: float) -> Network:
    """All phases. Prints loss and rate, and the validation accuracy after each phase."""
    rng = np.random.RandomState(seed)
    network = Network(SlowOnly(), DROPOUT)
    optimizer = torch.optim.AdamW(_groups(network), lr=PEAK_RATE, weight_decay=WEIGHT_DECAY)
    phases = [Phase(max(1, round(p.steps * budget)), p.frames, p.size, p.batch) for p in PHASES]
    total, done, number = sum(p.cost for p in phases), 0.0, 0
    for phase in phases:
        title = f"{phase.frames} frames, {phase.size} px"
        losses: list[float] = []
        with SampleProgress(title, phase.steps * phase.batch) as progress:
            for step in range(phase.steps):
                share = (done + phase.cost * step / phase.steps) / total
                for group in optimizer.param_groups:
                    group["lr"] = PEAK_RATE * schedule(share)
                numbers = range(number, number + phase.batch)
                number += phase.batch
                clips, labels = batch_of(numbers, phase, rng)
                losses.append(_step(network, optimizer, clips, labels))
                recent = float(np.mean(losses[-50:]))
                progress.update((step + 1) * phase.batch, f"loss {recent:.3f}")
        done += phase.cost
        accuracy = validate(network, phase.size, phase.frames)
        print(f"{title}: loss {recent:.3f}, validation top-1 {accuracy:.3f}", file=sys.stderr)
    return network


def schedule(share: float) -> float:
    """Learning rate over its peak: a warm-up, then half a cosine."""
    if share < WARM_UP:
        return 0.05 + 0.95 * share / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (share - WARM_UP) / (1 - WARM_UP)))


def _groups(network: Network) -> list[dict[str, Any]]:
    """Weights decay, biases and normalisations do not."""
    parameters = list(network.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1]},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]


def _step(
    network: Network, optimizer: torch.optim.Optimizer, clips: Tensor, labels: Tensor
) -> float:
    network.train()
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(clips)
    loss = torch.nn.functional.cross_entropy(logits.float(), labels, label_smoothing=SMOOTHING)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
    optimizer.step()
    return float(loss.detach())


def batch_of(
    numbers: range, phase: Phase, rng: np.random.RandomState | None
) -> tuple[Tensor, Tensor]:
    """Clips [B, 17, T, S, S] and labels [B] of samples of the train split; augmented with `rng`."""
    annotations = [sample("train", number) for number in numbers]
    drawn = [draw(*place(a, phase.frames, rng), phase.size) for a in annotations]
    labels = torch.tensor([a["label"] for a in annotations])
    return torch.stack(drawn), labels


def place(
    annotation: dict[str, Any], frames: int, rng: np.random.RandomState | None
) -> tuple[F32, F32]:
    """Key points [P, T, 17, 2] on the 56-pixel canvas, and scores [P, T, 17], of one clip."""
    total = annotation["total_frames"]
    source = rng or np.random.RandomState(total)
    if total < frames:
        chosen = (source.randint(total) + np.arange(frames)) % total
    else:  # one out of each of equal parts
        borders = np.arange(frames + 1) * total // frames
        chosen = borders[:-1] + source.randint(np.maximum(np.diff(borders), 1))
    keypoint = annotation["keypoint"][:, chosen].astype(np.float32)
    score = annotation["keypoint_score"][:, chosen].astype(np.float32)
    recipe = HMDB51_RECIPE
    keypoint, img_shape = compact(keypoint, annotation["img_shape"], recipe)
    keypoint, img_shape = resize(keypoint, img_shape, recipe)
    centres = center_crop(keypoint.astype(np.float64), img_shape, recipe)
    if rng is not None:
        if rng.rand() < 0.5:
            centres, score = flip(centres, recipe), score[..., recipe.twin]
        scale, aspect = rng.uniform(0.9, 1.3), rng.uniform(0.88, 1.13)
        angle, shear = np.radians(rng.normal(0, 6)), rng.normal(0, 0.06)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        turn = turn @ np.array([[scale * aspect, shear], [0, scale / aspect]])
        shift = rng.uniform(-4, 4, 2)
        centres = (centres - SIZE / 2) @ turn.T + SIZE / 2 + shift
    return centres.astype(np.float32), score


def draw(centres: F32, score: F32, size: int) -> Tensor:
    """Heatmaps [17, T, S, S]; without the reference's cut-off, which `estimate_statistics`
    and the test pipeline have."""
    cells = torch.arange(size, dtype=torch.float32)
    points = torch.from_numpy(centres * np.float32(size / SIZE))[..., None]  # [P, T, 17, 2, 1]
    bell = torch.exp(-((cells - points) ** 2) / (2 * SIGMA**2))
    bell = torch.where((cells - points).abs() < 4 * SIGMA, bell, 0)
    peaks = torch.from_numpy(np.where(score < 1e-4, np.float32(0), score))[..., None, None]
    maps = bell[..., 1, :, None] * bell[..., 0, None, :] * peaks  # [P, T, 17, S, S]
    return maps.amax(dim=0).permute(1, 0, 2, 3)


def validate(network: Network, size: int, frames: int) -> float:
    """Share of validation samples that one clip recognises."""
    network.eval()
    phase, right = Phase(0, frames, size, 16), 0
    for first in range(VALIDATION.start, VALIDATION.stop, phase.batch):
        clips, labels = batch_of(range(first, first + phase.batch), phase, None)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            right += int((network(clips).argmax(dim=1) == labels).sum())
    return right / len(VALIDATION)


def estimate_statistics(network: Network) -> None:
    """Running means and variances, float32, over clips exactly as they are tested."""
    network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a plain mean over all batches
    with torch.no_grad():
        for clips in _tested_clips():
            network(clips)


def _tested_clips() -> Iterator[Tensor]:
    """Batches of 16 clips: of each sample one plain and one flipped."""
    for first in range(VALIDATION.stop, VALIDATION.stop + BN_SAMPLES, 8):
        clips = []
        for number in range(first, first + 8):
            both = decode(PoseSequence.from_annotation(sample("train", number)), HMDB51_RECIPE)
            frames = both.frames.dense()
            clips += [frames[both.plan[0]], frames[both.unique + both.plan[5]]]
        yield torch.from_numpy(np.stack(clips)).permute(0, 2, 1, 3, 4)


def compressed(network: Network) -> dict[str, Tensor]:
    """The state dict, convolutions and the classifier in float16."""
    state = network.state_dict()
    return {
        name: (tensor.half() if tensor.ndim > 1 else tensor).contiguous()
        for name, tensor in state.items()
        if "num_batches_tracked" not in name
    }


if __name__ == "__main__":
    sys.exit(main())
