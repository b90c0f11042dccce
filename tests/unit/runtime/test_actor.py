"""An engine of a cluster, told things by a driver that is not as it should be."""

from __future__ import annotations

import hashlib
from pathlib import Path

from engine.base.options import Options
from engine.base.version import __version__
from engine.runtime.cluster.actor import Engine, Refused
from tests.support.networks import TINY, random_state_dict, write_model


def engine() -> Engine:
    """As Ray makes it, but in a program of somebody else's."""
    made = object.__new__(Engine)
    made._supervisor = None
    return made


def test_another_version() -> None:
    """It may tell anything."""
    for told in ([], ["what", 5, "knows"], [None] * 9):
        answer = engine().start("0.0.9", *told)
        assert isinstance(answer, Refused)
        assert f"has engine {__version__}, this one is 0.0.9; install the same" in answer.message


def test_a_model_that_was_damaged_on_its_way(tmp_path: Path) -> None:
    """A bit of it."""
    content = write_model(tmp_path / "m.onnx", random_state_dict(TINY), TINY).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    damaged = bytearray(content)
    damaged[len(damaged) // 2] ^= 1
    answer = engine().start(
        __version__, Options(dataset="x"), {"m.onnx": bytes(damaged)}, digest, 1
    )
    assert isinstance(answer, Refused)
    assert "m.onnx is not the model of this run: it was changed meanwhile" in answer.message
