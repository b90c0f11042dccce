"""Export PoseC3D through mmaction2 0.24.1 itself.

A stand-alone script for the old Python that has mmaction2 (3.8 syntax; imports nothing
of this project). `converters.pytorch2onnx --via mmaction2` runs it; by hand::

    python3.8 mmaction2_export.py CONFIG CHECKPOINT OUTPUT --batch 1
"""

import argparse

import mmcv
import torch
from mmaction.models import build_model
from mmcv.runner import load_checkpoint


class Logits(torch.nn.Module):
    """``forward_dummy`` as a module: torch 1.13 cannot trace a functools.partial."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, clips):
        return self.model.forward_dummy(clips)[0]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("config")
    parser.add_argument("checkpoint")
    parser.add_argument("output")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--input-name", default="onnx::Reshape_0")
    args = parser.parse_args()

    config = mmcv.Config.fromfile(args.config)
    config.model.backbone.pretrained = None
    model = build_model(config.model, train_cfg=None, test_cfg=config.get("test_cfg"))
    load_checkpoint(model, args.checkpoint, map_location="cpu", strict=True)
    model.eval()
    # The values do not matter for the trace, the shape does.
    clips = torch.zeros(args.batch, 20, 17, 48, 56, 56)
    with torch.no_grad():
        torch.onnx.export(
            Logits(model),
            clips,
            args.output,
            opset_version=11,
            input_names=[args.input_name],
            output_names=["logits"],
        )


if __name__ == "__main__":
    main()
