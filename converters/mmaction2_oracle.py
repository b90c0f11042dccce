"""What mmaction2 0.24.1 itself computes for an annotation file.

A stand-alone script for the old Python that has mmaction2 (3.8 syntax; imports nothing
of this project). `converters.oracle` runs it and compares; by hand::

    python3.8 mmaction2_oracle.py CONFIG CHECKPOINT ANNOTATIONS.pkl OUTPUT.npz --split test1

Writes ``id`` [N], ``sha256`` [N] of each clip tensor, and ``logits`` [L, 20, classes] and
``scores`` [L, classes] of the first L samples (the network takes half a minute a sample).
"""

import argparse
import hashlib
import sys

import mmcv
import numpy as np
import torch
from mmaction.datasets import build_dataset
from mmaction.models import build_model
from mmcv.runner import load_checkpoint


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("config")
    parser.add_argument("checkpoint")
    parser.add_argument("annotations")
    parser.add_argument("output")
    parser.add_argument("--split", default="test1", help="`none` for a bare list")
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--network", type=int, default=4, help="samples that the network scores")
    args = parser.parse_args()

    config = mmcv.Config.fromfile(args.config)
    config.data.test.ann_file = args.annotations
    config.data.test.split = None if args.split == "none" else args.split
    dataset = build_dataset(config.data.test, dict(test_mode=True))
    config.model.backbone.pretrained = None
    model = build_model(config.model, train_cfg=None, test_cfg=config.get("test_cfg"))
    load_checkpoint(model, args.checkpoint, map_location="cpu", strict=True)
    model.eval()

    count = len(dataset) if args.limit is None else min(args.limit, len(dataset))
    ids, digests, logits, scores = [], [], [], []
    for index in range(count):
        info = dataset.video_infos[index]
        ids.append(info.get("filename", info.get("frame_dir")))
        clips = dataset[index]["imgs"].contiguous()
        digests.append(hashlib.sha256(clips.numpy().tobytes()).hexdigest())
        if index < args.network:
            with torch.no_grad():
                logits.append(model.forward_dummy(clips[None])[0].numpy())
                scores.append(model(clips[None], return_loss=False)[0])
        print(f"oracle: {index + 1}/{count} {ids[-1]}", file=sys.stderr)
    np.savez(
        args.output,
        id=np.array(ids),
        sha256=np.array(digests),
        logits=np.array(logits),
        scores=np.array(scores),
    )


if __name__ == "__main__":
    main()
