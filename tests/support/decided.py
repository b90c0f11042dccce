"""A network of random numbers that is sure of some samples and not of others."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.base.records import Prediction
from tests.support.networks import TINY, random_state_dict, write_decided, write_model
from tests.support.runs import alone, options


def decided_model(folder: Path, data: Path) -> Path:
    """For the samples of `data`."""
    state = random_state_dict(TINY)
    state["cls_head.fc_cls.bias"][:] = 0
    unbiased = write_model(folder / "unbiased.onnx", state, TINY)
    found = alone(options(data, unbiased, in_process=True)).values()
    logits = np.concatenate([one.logits for one in found if isinstance(one, Prediction)])
    return write_decided(folder / "decided.onnx", logits.mean(axis=0))
