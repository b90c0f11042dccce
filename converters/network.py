"""Networks as lists of layers, with the names that a checkpoint gives their tensors.

The families are in modules of their own: `converters.slowonly`, `converters.c3d`, `converters.x3d`.
What is made of the layers: a graph (`converters.graph`), and the proof that it is right
(`converters.verification`). Behind them all is mmaction2's ``I3DHead``: the mean over time and
space, then one linear layer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

Triple = tuple[int, int, int]
"""Of time, height and width."""

BN_EPSILON = 1e-5


@dataclass(frozen=True)
class Conv:
    """A convolution, batch normalisation where `normalised`, and ReLU where `activated`.

    `name` is the prefix of its tensors in a checkpoint, less ``backbone.``. Padding is
    (kernel - 1) / 2. `groups`: of channels, each convolved by itself.
    """

    name: str
    inputs: int
    outputs: int
    kernel: Triple
    stride: Triple = (1, 1, 1)
    groups: int = 1
    normalised: bool = True
    activated: bool = True

    @property
    def padding(self) -> Triple:
        t, h, w = self.kernel
        return t // 2, h // 2, w // 2

    @property
    def shape(self) -> tuple[int, ...]:
        """Of its kernel in a checkpoint."""
        return self.outputs, self.inputs // self.groups, *self.kernel


@dataclass(frozen=True)
class MaxPool:
    """Padded as a convolution is."""

    name: str
    kernel: Triple
    stride: Triple

    @property
    def padding(self) -> Triple:
        t, h, w = self.kernel
        return t // 2, h // 2, w // 2


@dataclass(frozen=True)
class AveragePool:
    """Neighbours side by side, without padding; what is left over at an end is dropped."""

    name: str
    kernel: Triple


@dataclass(frozen=True)
class Residual:
    """Convolutions in a row and a way around them, which may be a convolution; the sum of both,
    and ReLU."""

    name: str
    body: tuple[Conv, ...]
    shortcut: Conv | None


Layer = Conv | MaxPool | AveragePool | Residual


@dataclass(frozen=True)
class Architecture(ABC):
    """A backbone and its head. `network`: the backbone's name in configs. `in_channels`: of a
    heatmap."""

    network: ClassVar[str]
    in_channels: int = 17
    base_channels: int = 32
    num_classes: int = 51

    @property
    @abstractmethod
    def layers(self) -> tuple[Layer, ...]:
        """The backbone's, in order."""

    @property
    def features(self) -> int:
        """Channels that the head receives."""
        *_, last = convolutions(self)
        return last.outputs


def convolutions(arch: Architecture) -> Iterator[Conv]:
    """Every convolution of the backbone."""
    for layer in arch.layers:
        if isinstance(layer, Conv):
            yield layer
        elif isinstance(layer, Residual):
            yield from layer.body
            if layer.shortcut is not None:
                yield layer.shortcut
