"""X3D: blocks whose middle convolution keeps channels apart.

Source: ``X3D`` of pyskl without squeeze and excitation and with ReLU only, as published PoseC3D
configs have it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from converters.network import Architecture, Conv, Layer, Residual, Triple

EXPANSION = 2.25  # of a block: how much wider it is inside
_POINT: Triple = (1, 1, 1)


@dataclass(frozen=True)
class X3D(Architecture):
    """Defaults: X3D-shallow. One entry a stage in `stage_blocks` and `spatial_strides`."""

    network: ClassVar[str] = "X3D"
    base_channels: int = 24
    stage_blocks: tuple[int, ...] = (2, 5, 3)
    spatial_strides: tuple[int, ...] = (2, 2, 2)

    @property
    def layers(self) -> tuple[Layer, ...]:
        return tuple(self._layers())

    def _layers(self) -> Iterator[Layer]:
        width = self.base_channels
        space, time = (1, 3, 3), (5, 1, 1)
        yield Conv(
            "conv1_s",
            self.in_channels,
            width,
            space,
            (1, 2, 2),
            normalised=False,
            activated=False,
        )
        yield Conv("conv1_t", width, width, time, groups=width)
        for stage, blocks in enumerate(self.stage_blocks):
            outputs = self.base_channels * 2**stage
            for block in range(blocks):
                stride = self.spatial_strides[stage] if block == 0 else 1
                yield _block(f"layer{stage + 1}.{block}", width, outputs, stride)
                width = outputs
        yield Conv("conv5", width, int(width * EXPANSION), _POINT)


def _block(name: str, inputs: int, outputs: int, stride: int) -> Residual:
    inner, strides = int(outputs * EXPANSION), (1, stride, stride)
    body = (
        Conv(f"{name}.conv1", inputs, inner, _POINT),
        Conv(f"{name}.conv2", inner, inner, (3, 3, 3), strides, groups=inner, activated=False),
        Conv(f"{name}.conv3", inner, outputs, _POINT, activated=False),
    )
    around = Conv(f"{name}.downsample", inputs, outputs, _POINT, strides, activated=False)
    return Residual(name, body, around if stride != 1 or inputs != outputs else None)
