"""The network in torch, trainable, with the tensor names of mmaction2's checkpoints.

Comes in: heatmap clips. Goes out: logits.

Frames are kept side by side, [B * T, C, H, W] channels-last, which is also the layout of
[B, C, T, H * W]: convolutions in space and in time are both two-dimensional ones, faster on
a CPU than three-dimensional ones and the same numbers.
"""

from __future__ import annotations

from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional

from converters.network import BN_EPSILON, Conv, Residual
from converters.slowonly import SlowOnly


class _ConvBn(nn.Module):
    """A convolution and its batch normalisation; the weight has five axes as in a checkpoint."""

    def __init__(self, layer: Conv) -> None:
        super().__init__()
        self.layer = layer
        self.conv = nn.Conv3d(layer.inputs, layer.outputs, layer.kernel, bias=False)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        self.bn = nn.BatchNorm2d(layer.outputs, eps=BN_EPSILON)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        weight, (kernel, _, _) = self.conv.weight, self.layer.kernel
        step, space, _ = self.layer.stride
        if step > 1:  # such a layer never spans frames
            x = _every(x, frames, step)
        if kernel == 1:
            y = functional.conv2d(x, weight[:, :, 0], stride=space, padding=self.layer.padding[1:])
        else:
            _, channels, height, width = x.shape
            in_time = x.permute(0, 2, 3, 1).reshape(-1, frames, height * width, channels)
            y = functional.conv2d(
                in_time.permute(0, 3, 1, 2), weight[..., 0], padding=(kernel // 2, 0)
            )
            y = y.permute(0, 2, 3, 1).reshape(-1, height, width, y.shape[1]).permute(0, 3, 1, 2)
        return torch.as_tensor(self.bn(y))


def _every(x: Tensor, frames: int, step: int) -> Tensor:
    """Every `step`-th of `frames` frames."""
    _, channels, height, width = x.shape
    split = x.permute(0, 2, 3, 1).reshape(-1, frames, height, width, channels)[:, ::step]
    return split.reshape(-1, height, width, channels).permute(0, 3, 1, 2)


class _Block(nn.Module):
    """A bottleneck."""

    def __init__(self, block: Residual) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = map(_ConvBn, block.body)
        nn.init.zeros_(self.conv3.bn.weight)  # a block starts as its shortcut
        self.downsample = _ConvBn(block.shortcut) if block.shortcut is not None else None
        self.step = self.conv2.layer.stride[0]

    def forward(self, x: Tensor, frames: int) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x, frames)
        y = functional.relu(self.conv1(x, frames))
        y = functional.relu(self.conv2(y, frames))
        return functional.relu(self.conv3(y, frames // self.step) + shortcut)


class Network(nn.Module):
    """SlowOnly with an I3D head: heatmaps [B, 17, T, S, S] to logits [B, classes]."""

    def __init__(self, arch: SlowOnly, dropout: float) -> None:
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.conv1 = _ConvBn(arch.stem)
        self.blocks: list[_Block] = []  # the same modules as below, in order
        bottlenecks = arch.bottlenecks()
        for index, count in enumerate(arch.stage_blocks):
            stage = [_Block(block) for block in islice(bottlenecks, count)]
            self.backbone.add_module(f"layer{index + 1}", nn.Sequential(*stage))
            self.blocks += stage
        self.cls_head = nn.Module()
        self.cls_head.fc_cls = nn.Linear(arch.features, arch.num_classes)
        nn.init.normal_(self.cls_head.fc_cls.weight, std=0.01)
        self.pool_stride, self.dropout = arch.pool1_stride_s, dropout

    def forward(self, clips: Tensor) -> Tensor:
        batch, channels, frames, height, width = clips.shape
        x = clips.permute(0, 2, 3, 4, 1).reshape(-1, height, width, channels).permute(0, 3, 1, 2)
        x = functional.relu(self.backbone.get_submodule("conv1")(x, frames))
        x = functional.max_pool2d(x, 3, self.pool_stride, 1)
        for block in self.blocks:
            x = block(x, frames)
            frames //= block.step
        x = x.float().mean(dim=(2, 3)).reshape(batch, frames, -1).mean(dim=1)
        x = functional.dropout(x, self.dropout, self.training)
        return torch.as_tensor(self.cls_head.get_submodule("fc_cls")(x))
