"""Waves on a device: drawn, run and brought back, some at once.

On a GPU the network is a captured graph, one for each of a few sizes of waves: what a wave has
fewer rows than its graph costs next to nothing (`engine.backends.torch.kernels`). Elsewhere it is
run step by step, with exactly the wave's rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.backends.torch.network import Network
from engine.backends.torch.rasteriser import Poses, put, sent
from engine.network.backend import Wave
from engine.skeletons.clips import Clips, ClipTensor, JointClips
from engine.skeletons.heatmaps import F32, Joints


@dataclass(frozen=True)
class Capacity:
    """How much a wave may have: `frames`, `rows` of a level before the network strides over time
    (behind that, as many fewer), and `clips`."""

    frames: int
    rows: int
    clips: int

    def counts(self, strides: Sequence[int]) -> list[int]:
        """Frames, rows of each level, clips."""
        levels = [self.rows // prod(strides[: number + 1]) for number in range(len(strides))]
        return [self.frames, *levels, self.clips]


class Plain:
    """Runs waves as they come, one at a time."""

    lanes = 1

    def __init__(self, network: Network) -> None:
        self._network = network

    def start(self, lane: int, wave: Wave) -> None:
        """Run it."""
        network, device = self._network, self._network.device
        first = network.first(_drawn(network, wave))
        tables = [torch.from_numpy(table).to(device) for table in wave.levels]
        clips = torch.from_numpy(wave.clips).to(device)
        counts = torch.tensor(wave.counts, dtype=torch.int32, device=device)
        self._logits = network.run(first, tables, clips, counts)

    def finish(self, lane: int) -> F32:
        """Its logits."""
        found: F32 = self._logits[:, : self._network.classes].cpu().numpy()
        return found


class Graphs:
    """Runs waves as captured graphs, several on their way at once: the device takes them in turn,
    and has the next one when it is done with one."""

    lanes = 2

    def __init__(self, network: Network, capacities: Sequence[Capacity]) -> None:
        """`capacities`: ascending."""
        self._network = network
        self._first = torch.zeros(
            (capacities[-1].frames, *network.first_shape),
            dtype=network.dtype,
            device=network.device,
        )
        self._stream = torch.cuda.Stream(network.device)
        self._graphs: list[_Graph] = []
        pool = torch.cuda.graph_pool_handle()
        for capacity in reversed(capacities):  # the largest first: the others fit its memory
            graph = _Graph(network, capacity, self._first, self._stream, pool, self.lanes)
            self._graphs.insert(0, graph)
        self._under_way: list[tuple[_Graph, int] | None] = [None] * self.lanes
        for capacity in capacities:
            self._warm(capacity, drawn=capacity is capacities[0])

    def _warm(self, capacity: Capacity, *, drawn: bool) -> None:
        """Run a wave of that size, of poses and if asked of frames that are `drawn`: what is done
        the first time only is not charged to the first samples."""
        recipe, strides = self._network.recipe.one_view, self._network.strides
        shape = (1, capacity.frames, recipe.joints)
        joints = Joints(np.zeros((*shape, 2)), np.ones(shape, np.float32))
        poses = JointClips(joints, np.zeros((1, recipe.length), np.int32), recipe)
        levels = [np.zeros((1, 3), np.int32) for _ in strides]
        clips = np.zeros((1, self._network.positions), np.int32)
        for sample in (poses, poses.drawn()) if drawn else (poses,):
            self.start(0, Wave([sample], [0], capacity.frames, levels, clips))
            self.finish(0)

    def start(self, lane: int, wave: Wave) -> None:
        """Begin to run it, in a free lane."""
        graph = next(graph for graph in self._graphs if graph.holds(wave))
        with torch.cuda.stream(self._stream):
            self._begin(self._first[: wave.frames], wave)
            graph.replay(lane, wave)
        self._under_way[lane] = graph, len(wave.clips)

    def finish(self, lane: int) -> F32:
        """Wait for the lane's wave: its logits."""
        under_way = self._under_way[lane]
        assert under_way is not None
        graph, clips = under_way
        return graph.logits(lane)[:clips, : self._network.classes].copy()

    def _begin(self, first: Tensor, wave: Wave) -> None:
        """Draw the wave and run the network's first step."""
        stem = self._network.stem
        if stem is None or not all(isinstance(clips, JointClips) for clips in wave.samples):
            first.copy_(self._network.first(_drawn(self._network, wave)))
            return
        stem(first, Poses.of(wave.samples, wave.firsts, wave.frames))


class _Graph:
    """The network for waves up to a capacity, with the memory that it reads and writes."""

    def __init__(
        self,
        network: Network,
        capacity: Capacity,
        first: Tensor,
        stream: torch.cuda.Stream,
        pool: Any,
        lanes: int,
    ) -> None:
        self._most = capacity.counts(network.strides)
        frames, *levels, clips = self._most
        shapes = [(len(self._most),), *((rows, 3) for rows in levels), (clips, network.positions)]
        total = sum(map(prod, shapes))
        # What the host says of a wave goes over in one piece; each lane has its own to write to.
        self._said = [torch.zeros(total, dtype=torch.int32, pin_memory=True) for _ in range(lanes)]
        self._written = [_divided(said.numpy(), shapes) for said in self._said]
        self._heard = torch.zeros(total, dtype=torch.int32, device=network.device)
        counts, *tables, ids = _divided(self._heard, shapes)

        def run() -> Tensor:
            return network.run(first[:frames], tables, ids, counts)

        with torch.cuda.stream(stream):
            run()  # compiles what is not compiled yet, which no graph may
        stream.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool, stream=stream):
            self._found = run()
        self._back = [
            torch.empty(self._found.shape, dtype=torch.float32, pin_memory=True)
            for _ in range(lanes)
        ]
        # The host sleeps while it waits: workers may need the core.
        self._done = [torch.cuda.Event(blocking=True) for _ in range(lanes)]

    def holds(self, wave: Wave) -> bool:
        return all(count <= most for count, most in zip(wave.counts, self._most, strict=True))

    def replay(self, lane: int, wave: Wave) -> None:
        """On the current stream."""
        said: list[Any] = [wave.counts, *wave.levels, wave.clips]
        for into, values in zip(self._written[lane], said, strict=True):
            into[: len(values)] = values
        self._heard.copy_(self._said[lane], non_blocking=True)
        self._graph.replay()
        self._back[lane].copy_(self._found, non_blocking=True)
        self._done[lane].record()

    def logits(self, lane: int) -> F32:
        self._done[lane].synchronize()
        found: F32 = self._back[lane].numpy()
        return found


def _divided(memory: Any, shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    """Arrays of these shapes, one behind the other in flat memory."""
    ends = np.cumsum([prod(shape) for shape in shapes]).tolist()
    return [
        memory[end - prod(shape) : end].reshape(shape)
        for shape, end in zip(shapes, ends, strict=True)
    ]


def _drawn(network: Network, wave: Wave) -> Tensor:
    """A canvas with what a wave's samples are of, each from its first frame on."""
    device, size = network.device, network.recipe.size
    shape = (wave.frames, size, size, network.channels)
    canvas = torch.zeros(shape, dtype=network.dtype, device=device)
    samples: Sequence[Clips | JointClips] = wave.samples
    if network.draw is None:
        samples = [one.drawn() if isinstance(one, JointClips) else one for one in samples]
    elif any(isinstance(clips, JointClips) for clips in samples):
        network.draw(canvas, Poses.of(samples, wave.firsts, wave.frames))
    for first, clips in zip(wave.firsts, samples, strict=True):
        if isinstance(clips, ClipTensor):
            # [clips, channels, length, size, size] to one frame after the other, channels innermost
            frames = sent(clips.clips, device).permute(0, 2, 3, 4, 1)
            frames = frames.reshape(-1, *frames.shape[2:])
            canvas[first : first + len(frames), ..., : frames.shape[-1]] = frames
        elif not isinstance(clips, JointClips):
            places, values = clips.frames.entries()
            part = canvas[first : first + len(clips.frames)]
            put(part, sent(places, device), sent(values, device), clips.frames.shape)
    return canvas
