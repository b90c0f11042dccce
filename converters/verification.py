"""Proof that an exported file computes what its checkpoint says.

Comes in: an ONNX file of layout ``clips`` and the unfolded weights. Goes out: the largest relative
difference between the two on one clip.

The expected logits come from an independent computation: torch where it is installed,
else plain numpy in float64, batch norm kept apart in both. Neither shares code with
`converters.graph` beyond the list of layers.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.network import (
    BN_EPSILON,
    Architecture,
    AveragePool,
    Conv,
    MaxPool,
    Residual,
    Triple,
)
from engine.base.recipe import Recipe

TOLERANCE = 1e-4  # relative to the largest logit

Weights = Mapping[str, NDArray[np.float32]]
F64 = NDArray[np.float64]


def example_clip(recipe: Recipe) -> NDArray[np.float32]:
    """One clip of a recipe's shape, float32: sparse like heatmaps, busy in every channel."""
    rng = np.random.default_rng(0)
    clip = rng.random(recipe.clip_shape, np.float32)
    clip[rng.random(recipe.clip_shape, np.float32) > 0.05] = 0
    return clip


def difference(actual: NDArray[Any], expected: NDArray[Any]) -> float:
    """Largest absolute difference over the largest expected magnitude."""
    scale = max(float(np.abs(expected).max()), 1e-12)
    return float(np.abs(actual.astype(np.float64) - expected).max()) / scale


def run_onnx(path: Path, clip: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits [classes] of one clip through the exported file, in float32 on the CPU."""
    import openvino as ov

    core = ov.Core()
    model = core.read_model(path)
    model.reshape([1, 1, *clip.shape])
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled([clip[None, None]])[0][0])


def run_checkpoint(
    arch: Architecture, weights: Weights, clip: NDArray[np.float32]
) -> tuple[F64, str]:
    """Logits [classes] of one clip from the unfolded weights, and what computed them."""
    if importlib.util.find_spec("torch") is not None:
        import torch

        return _network(arch, clip, _TorchLayers(weights)), f"torch {torch.__version__}"
    return _network(arch, clip, _NumpyLayers(weights)), f"numpy {np.__version__}"


def _network(
    arch: Architecture, clip: NDArray[np.float32], layers: _NumpyLayers | _TorchLayers
) -> F64:
    def convolved(conv: Conv, x: Any) -> Any:
        y = layers.conv_bn(conv, x)
        return layers.relu(y) if conv.activated else y

    x: Any = layers.enter(clip)
    for layer in arch.layers:
        match layer:
            case Conv():
                x = convolved(layer, x)
            case MaxPool():
                x = layers.max_pool(layer, x)
            case AveragePool():
                x = layers.average_pool(layer, x)
            case Residual(_, body, shortcut):
                around = x if shortcut is None else convolved(shortcut, x)
                for conv in body:
                    x = convolved(conv, x)
                x = layers.relu(x + around)
    return layers.head(x)


class _NumpyLayers:
    """Float64 arrays [channels, time, height, width]."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def enter(self, clip: NDArray[np.float32]) -> F64:
        return clip.astype(np.float64)

    def conv_bn(self, conv: Conv, x: F64) -> F64:
        weight = self.weights[f"{conv.name}.conv.weight"].astype(np.float64)
        borders = [(0, 0), *((p, p) for p in conv.padding)]
        padded = np.pad(x, borders)
        axes = list(zip(padded.shape[1:], conv.kernel, conv.stride, strict=True))
        size = [(length - kernel) // stride + 1 for length, kernel, stride in axes]
        weight = weight.reshape(conv.groups, -1, *conv.shape[1:])
        out = np.zeros((*weight.shape[:2], int(np.prod(size))))
        for tap in np.ndindex(*conv.kernel):
            # what this tap of the kernel sees, one column for each output
            seen = padded
            for axis, (first, count, stride) in enumerate(zip(tap, size, conv.stride, strict=True)):
                places = np.arange(first, first + count * stride, stride)
                seen = seen.take(places, axis=axis + 1)
            t, h, w = tap
            out += weight[..., t, h, w] @ seen.reshape(conv.groups, conv.shape[1], -1)
        out = out.reshape(conv.outputs, *size)
        if not conv.normalised:
            return out
        mean, var, scale, shift = (
            self.weights[f"{conv.name}.bn.{part}"].astype(np.float64)[:, None, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return np.asarray((out - mean) / np.sqrt(var + BN_EPSILON) * scale + shift, np.float64)

    def relu(self, x: F64) -> F64:
        return np.maximum(x, 0)

    def max_pool(self, pool: MaxPool, x: F64) -> F64:
        borders = [(0, 0), *((p, p) for p in pool.padding)]
        padded = np.pad(x, borders, constant_values=-np.inf)
        return np.asarray(_windows(padded, pool.kernel, pool.stride).max((-3, -2, -1)), np.float64)

    def average_pool(self, pool: AveragePool, x: F64) -> F64:
        return np.asarray(_windows(x, pool.kernel, pool.kernel).mean((-3, -2, -1)), np.float64)

    def head(self, x: F64) -> F64:
        pooled = x.mean(axis=(1, 2, 3))
        return np.asarray(
            self.weights["fc_cls.weight"] @ pooled + self.weights["fc_cls.bias"], np.float64
        )


def _windows(x: F64, kernel: Triple, stride: Triple) -> F64:
    """[channels, time, height, width, *kernel]: what a pool sees for each of its outputs."""
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(1, 2, 3))
    t, h, w = stride
    return windows[:, ::t, ::h, ::w]


class _TorchLayers:
    """Float32 tensors [1, channels, time, height, width], torch's own layers."""

    def __init__(self, weights: Weights) -> None:
        import torch

        self.functional = torch.nn.functional
        self.tensor = torch.from_numpy
        self.weights = weights

    def enter(self, clip: NDArray[np.float32]) -> Any:
        return self.tensor(clip)[None]

    def _get(self, name: str) -> Any:
        return self.tensor(np.array(self.weights[name]))

    def conv_bn(self, conv: Conv, x: Any) -> Any:
        kernel = self._get(f"{conv.name}.conv.weight")
        y = self.functional.conv3d(
            x, kernel, stride=conv.stride, padding=conv.padding, groups=conv.groups
        )
        if not conv.normalised:
            return y
        parts = ("running_mean", "running_var", "weight", "bias")
        return self.functional.batch_norm(
            y, *(self._get(f"{conv.name}.bn.{part}") for part in parts), eps=BN_EPSILON
        )

    def relu(self, x: Any) -> Any:
        return self.functional.relu(x)

    def max_pool(self, pool: MaxPool, x: Any) -> Any:
        return self.functional.max_pool3d(x, pool.kernel, pool.stride, pool.padding)

    def average_pool(self, pool: AveragePool, x: Any) -> Any:
        return self.functional.avg_pool3d(x, pool.kernel)

    def head(self, x: Any) -> F64:
        pooled = x.mean(dim=(2, 3, 4))
        logits = self.functional.linear(
            pooled, self._get("fc_cls.weight"), self._get("fc_cls.bias")
        )
        return np.asarray(logits[0].numpy(), np.float64)
