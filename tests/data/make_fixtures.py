"""Write the binary fixtures of the tests, with the versions that users' files come from.

    python3.8 tests/data/make_fixtures.py       # torch 1.13.1, numpy 1.23.5

``annotations_p{2,3,4,5}.pkl``: annotation files as numpy 1 pickles them (numpy 2 writes
its own inside the tests). ``checkpoint_{zip,legacy}.pth``: a small state dict in both
formats of torch, with everything a real one may hold. The values follow from `value`.
"""

import collections
import os
import pickle

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))


def value(*shape):
    return np.arange(np.prod(shape), dtype=np.float64).reshape(shape) / 8


def annotations():
    return {
        "split": {"test1": ["b", "absent"], "train1": ["a"]},
        "annotations": [
            dict(
                frame_dir="a",
                label=np.int64(3),
                img_shape=(240, 320),
                original_shape=(240, 320),
                total_frames=2,
                keypoint=value(1, 2, 17, 2).astype(np.float16),
                keypoint_score=np.ones((1, 2, 17), np.float16),
            ),
            dict(
                frame_dir="b",
                label=4,
                img_shape=(240, 320),
                total_frames=3,
                keypoint=np.asfortranarray(value(2, 3, 17, 2)).astype(">f4"),
                keypoint_score=np.zeros((2, 3, 17)),
                extra=np.array(["x", "yz"]),
            ),
            dict(
                frame_dir="c",
                label=5,
                img_shape=(1, 1),
                total_frames=3,
                keypoint=np.zeros((0, 3, 17, 2), np.float32),
            ),
        ],
    }


class Log:
    """A class that no reader of the file has."""

    def __init__(self):
        self.entries = [1, 2]


def checkpoint():
    base = torch.from_numpy(value(4, 6).astype(np.float32))
    state = collections.OrderedDict()
    state["float"] = base
    state["transposed_view"] = base.t()[1:, ::2]
    state["double"] = torch.from_numpy(value(3))
    state["half"] = torch.from_numpy(value(2, 2)).half()
    state["bfloat16"] = torch.from_numpy(value(2, 2)).bfloat16()
    state["parameter"] = torch.nn.Parameter(torch.from_numpy(value(2).astype(np.float32)))
    state["scalar"] = torch.tensor(7)
    state["empty"] = torch.zeros(0, 3)
    return {"meta": {"log": Log(), "score": np.float64(0.5), "type": Log}, "state_dict": state}


def main():
    for protocol in (2, 3, 4, 5):
        path = os.path.join(HERE, f"annotations_p{protocol}.pkl")
        with open(path, "wb") as target:
            pickle.dump(annotations(), target, protocol)
    for name, new in (("zip", True), ("legacy", False)):
        torch.save(
            checkpoint(),
            os.path.join(HERE, f"checkpoint_{name}.pth"),
            _use_new_zipfile_serialization=new,
        )


if __name__ == "__main__":
    main()
