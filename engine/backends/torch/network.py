"""The network on a device: `engine.backends.torch.steps`, run over rows.

Maps are [rows, height, width, channels], the channels innermost, as the matrix units of a GPU want
them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import ceil, prod
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engine.backends.torch import rasteriser
from engine.backends.torch.rasteriser import Poses
from engine.backends.torch.steps import Convolution, Step, Steps, last_uses
from engine.base.recipe import Recipe


class Network:
    """Weights on a device. `recipe`: of the network's input. `kernels`: the module that computes,
    this package's `plain` or `kernels`. `channels`: of a frame, filled up. `positions`: of a clip,
    behind the last temporal convolution. `stem`: draws poses and
    runs the first step at once, into its output; `draw`: draws them onto a canvas; None where the
    kernels have nothing for it."""

    def __init__(
        self,
        steps: Steps,
        recipe: Recipe,
        device: torch.device,
        dtype: torch.dtype,
        kernels: ModuleType,
    ) -> None:
        self._steps, self._kernels, self.recipe = steps, kernels, recipe
        self.device, self.dtype, self.strides = device, dtype, steps.strides
        self.positions = ceil(recipe.length / prod(steps.strides))
        self._unused = last_uses(steps)
        self._weights = [
            (
                self._on_device(step.weight, step.bias, dtype),
                None if step.then is None else self._on_device(*step.then, dtype),
            )
            if isinstance(step, Convolution)
            else None
            for step in steps.steps
        ]
        self.classes = len(steps.head.bias)
        head = steps.head.weight.T[None, None, None]
        self._head = self._on_device(head, steps.head.bias, torch.float32)
        first = steps.steps[0]
        self.channels = self._filled(first.source.channels)
        size = first.target.size
        self.first_shape = (size, size, self._filled(first.target.channels))
        self.stem = self._stem(first)
        limbs = getattr(kernels, "limbs", None)
        self.draw: Callable[[Tensor, Poses], None] | None = rasteriser.draw
        if recipe.limbs is not None:
            self.draw = None if limbs is None else limbs.draw

    def first(self, canvas: Tensor) -> Tensor:
        """What the first step makes of frames [rows, size, size, channels]."""
        step, weights = self._steps.steps[0], self._weights[0]
        assert isinstance(step, Convolution)
        assert weights is not None
        found: Tensor = self._kernels.convolve(
            canvas,
            *weights[0],
            then=weights[1],
            stride=step.stride,
            relu=step.relu,
            sources=None,
            gathered=False,
            residual=None,
            residual_gathered=False,
            rows=len(canvas),
            count=torch.tensor([len(canvas)], dtype=torch.int32, device=self.device),
        )
        return found

    def run(self, first: Tensor, tables: Sequence[Tensor], clips: Tensor, counts: Tensor) -> Tensor:
        """Logits, float32 [clips, classes], filled up to more.

        `first`: of each frame what `first` makes of it. `tables`: of each level int32 [rows, 3], as
        `engine.network.contexts.Level.sources`. `clips`: int32 [clips, positions]. `counts`: int32,
        how many of them there really are: frames, rows of each level, clips.
        """
        found = {self._steps.steps[0].target.name: first}
        for step, weights, unused in zip(
            self._steps.steps[1:], self._weights[1:], self._unused[1:], strict=True
        ):
            level = step.target.level
            count, x = counts[level : level + 1], found[step.source.name]
            if isinstance(step, Convolution):
                assert weights is not None
                residual = step.residual
                out = self._kernels.convolve(
                    x,
                    *weights[0],
                    then=weights[1],
                    stride=step.stride,
                    relu=step.relu,
                    sources=tables[level - 1] if level else None,
                    gathered=step.source.level < level,
                    residual=None if residual is None else found[residual.name],
                    residual_gathered=residual is not None and residual.level < level,
                    rows=len(tables[level - 1]) if level else len(first),
                    count=count,
                )
            else:
                out = self._kernels.pool(x, kernel=step.kernel, stride=step.stride, count=count)
            found[step.target.name] = out
            for name in unused:
                del found[name]
        last = counts[len(tables) + 1 :]
        features = self._kernels.mean(found[self._steps.features.name], clips, last)
        logits: Tensor = self._kernels.convolve(
            features[:, None, None],
            *self._head,
            stride=1,
            relu=False,
            sources=None,
            gathered=False,
            residual=None,
            residual_gathered=False,
            then=None,
            rows=len(clips),
            count=last,
        )
        return logits[:, 0, 0]

    def _stem(self, first: Step) -> Callable[[Tensor, Poses], None] | None:
        stem = getattr(self._kernels, "stem", None)
        if stem is None or not isinstance(first, Convolution) or not stem.fits(first, self.recipe):
            return None
        taps = first.weight[0].reshape(-1, *first.weight.shape[-2:]).transpose(1, 0, 2)
        _, number, outputs = taps.shape
        room = stem.TAPS - number, self._filled(outputs) - outputs
        weight = np.pad(taps, ((0, 0), (0, room[0]), (0, room[1])))
        on_device = torch.from_numpy(weight).to(self.device, self.dtype)
        _, bias = self._on_device(first.weight, first.bias, self.dtype)
        kernel = first.weight.shape[1]
        return partial(stem.draw, weight=on_device, bias=bias, kernel=kernel)

    def _on_device(
        self, weight: NDArray[np.float32], bias: NDArray[np.float32], dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """A weight and a bias, with as many channels more as the kernels want."""
        inputs, outputs = (self._filled(n) - n for n in weight.shape[-2:])
        filled = functional.pad(torch.from_numpy(weight.copy()), (0, outputs, 0, inputs))
        added = functional.pad(torch.from_numpy(bias.copy()), (0, outputs))
        return filled.to(self.device, dtype).contiguous(), added.to(self.device)

    def _filled(self, channels: int) -> int:
        found: int = self._kernels.filled(channels)
        return found
