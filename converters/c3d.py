"""C3D: convolutions of three by three by three, the picture halved between them.

Source: ``C3D`` of pyskl.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from converters.network import Architecture, AveragePool, Conv, Layer

# Of each stage: its convolutions, and their width in multiples of the first's.
_STAGES = (("a", 1), ("a", 2), ("ab", 4), ("ab", 8), ("ab", 8))


@dataclass(frozen=True)
class C3D(Architecture):
    """Defaults: C3D-light. `num_stages`: as pyskl counts them, one more than is pooled between.
    `temporal_downsample`: whether all pools but the first halve the time, too."""

    network: ClassVar[str] = "C3D"
    num_stages: int = 3
    temporal_downsample: bool = False

    @property
    def layers(self) -> tuple[Layer, ...]:
        return tuple(self._layers())

    def _layers(self) -> Iterator[Layer]:
        inputs = self.in_channels
        for stage, (names, width) in enumerate(_STAGES[: self.num_stages + 1]):
            if stage:
                span = 2 if self.temporal_downsample and stage > 1 else 1
                yield AveragePool(f"pool{stage}", (span, 2, 2))
            for name in names:
                outputs = width * self.base_channels
                yield Conv(f"conv{stage + 1}{name}", inputs, outputs, (3, 3, 3))
                inputs = outputs
