"""SlowOnly: bottlenecks that look along time in the later stages only.

Source: ``ResNet3dSlowOnly`` of mmaction2 0.24.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from converters.network import Architecture, Conv, Layer, MaxPool, Residual
from engine.network.models import SLOWONLY

EXPANSION = 4  # of a bottleneck: its last convolution widens by this
BLOCKS_BY_DEPTH = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


@dataclass(frozen=True)
class SlowOnly(Architecture):
    """Defaults: the published model of HMDB51.

    One entry a stage in `stage_blocks` (bottlenecks), `inflate` (1: their first
    convolution spans three frames), `spatial_strides` and `temporal_strides`.
    """

    network: ClassVar[str] = SLOWONLY
    stage_blocks: tuple[int, ...] = (3, 4, 6)
    inflate: tuple[int, ...] = (0, 1, 1)
    spatial_strides: tuple[int, ...] = (2, 2, 2)
    temporal_strides: tuple[int, ...] = (1, 1, 2)
    conv1_stride_s: int = 1
    pool1_stride_s: int = 1

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self.stem, self.pool, *self.bottlenecks()

    @property
    def stem(self) -> Conv:
        """The first convolution."""
        stride = (1, self.conv1_stride_s, self.conv1_stride_s)
        return Conv("conv1", self.in_channels, self.base_channels, (1, 7, 7), stride)

    @property
    def pool(self) -> MaxPool:
        """What follows it."""
        return MaxPool("maxpool", (1, 3, 3), (1, self.pool1_stride_s, self.pool1_stride_s))

    def bottlenecks(self) -> Iterator[Residual]:
        """Of all stages, in order: three convolutions each, and in a stage's first a shortcut."""
        inputs = self.base_channels
        for stage, blocks in enumerate(self.stage_blocks):
            width = self.base_channels * 2**stage
            outputs = width * EXPANSION
            span = 3 if self.inflate[stage] else 1
            for block in range(blocks):
                name, first = f"layer{stage + 1}.{block}", block == 0
                space = self.spatial_strides[stage] if first else 1
                stride = (self.temporal_strides[stage] if first else 1, space, space)
                body = (
                    Conv(f"{name}.conv1", inputs, width, (span, 1, 1)),
                    Conv(f"{name}.conv2", width, width, (1, 3, 3), stride),
                    Conv(f"{name}.conv3", width, outputs, (1, 1, 1), activated=False),
                )
                around = Conv(
                    f"{name}.downsample", inputs, outputs, (1, 1, 1), stride, activated=False
                )
                yield Residual(name, body, around if first else None)
                inputs = outputs
