"""The network: SlowOnly with an I3D head, as a list of layers.

Comes in: an architecture (from `converters.architectures`). Goes out: its convolutions in order,
with the names that a checkpoint gives them. Source: ``ResNet3dSlowOnly`` and ``I3DHead`` of
mmaction2 0.24.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Triple = tuple[int, int, int]

EXPANSION = 4  # of a bottleneck: its last convolution widens by this
BLOCKS_BY_DEPTH = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
BN_EPSILON = 1e-5


@dataclass(frozen=True)
class Architecture:
    """A SlowOnly backbone of bottlenecks with an I3D head. Defaults: the published model.

    One entry a stage in `stage_blocks` (bottlenecks), `inflate` (1: their first
    convolution spans three frames), `spatial_strides` and `temporal_strides`.
    """

    in_channels: int = 17
    base_channels: int = 32
    stage_blocks: tuple[int, ...] = (3, 4, 6)
    inflate: tuple[int, ...] = (0, 1, 1)
    spatial_strides: tuple[int, ...] = (2, 2, 2)
    temporal_strides: tuple[int, ...] = (1, 1, 2)
    conv1_stride_s: int = 1
    pool1_stride_s: int = 1
    num_classes: int = 51

    @property
    def features(self) -> int:
        """Channels that the head receives."""
        return int(self.base_channels * 2 ** (len(self.stage_blocks) - 1)) * EXPANSION


@dataclass(frozen=True)
class Conv:
    """A convolution followed by batch normalisation.

    `name` is the prefix of its tensors in a checkpoint, less ``backbone.``.
    Kernel and stride are (time, height, width); padding is (kernel - 1) / 2.
    """

    name: str
    inputs: int
    outputs: int
    kernel: Triple
    stride: Triple = (1, 1, 1)

    @property
    def padding(self) -> Triple:
        t, h, w = self.kernel
        return t // 2, h // 2, w // 2


@dataclass(frozen=True)
class Bottleneck:
    """Three convolutions and a shortcut, which is a convolution in a stage's first block."""

    name: str
    conv1: Conv
    conv2: Conv
    conv3: Conv
    downsample: Conv | None


def stem(arch: Architecture) -> Conv:
    """The first convolution."""
    stride = (1, arch.conv1_stride_s, arch.conv1_stride_s)
    return Conv("conv1", arch.in_channels, arch.base_channels, (1, 7, 7), stride)


def bottlenecks(arch: Architecture) -> Iterator[Bottleneck]:
    """The blocks of all stages, in order."""
    inputs = arch.base_channels
    for stage, blocks in enumerate(arch.stage_blocks):
        width = arch.base_channels * 2**stage
        span = 3 if arch.inflate[stage] else 1
        for block in range(blocks):
            name = f"layer{stage + 1}.{block}"
            space = arch.spatial_strides[stage] if block == 0 else 1
            time = arch.temporal_strides[stage] if block == 0 else 1
            stride = (time, space, space)
            outputs = width * EXPANSION
            yield Bottleneck(
                name,
                Conv(f"{name}.conv1", inputs, width, (span, 1, 1)),
                Conv(f"{name}.conv2", width, width, (1, 3, 3), stride),
                Conv(f"{name}.conv3", width, outputs, (1, 1, 1)),
                Conv(f"{name}.downsample", inputs, outputs, (1, 1, 1), stride)
                if block == 0
                else None,
            )
            inputs = outputs


def convolutions(arch: Architecture) -> Iterator[Conv]:
    """Every convolution of the backbone."""
    yield stem(arch)
    for block in bottlenecks(arch):
        yield block.conv1
        yield block.conv2
        yield block.conv3
        if block.downsample is not None:
            yield block.downsample
