"""Clocks that jump under a run, by libfaketime: forwards, the wall's and the monotonic one. (That
the latter never goes back is what the system promises.)"""

from __future__ import annotations

import json
import math
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.base.records import Prediction, Record
from tests.support.joints import command

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


def numbers(value: Any) -> Iterator[float]:
    """All of a JSON value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from numbers(one)
    elif isinstance(value, (int, float)):
        yield value


@pytest.mark.usefixtures("paced")
@pytest.mark.parametrize("windows", [False, True])
def test_a_clock_that_jumps(
    many: Path,
    tiny_model: Path,
    undisturbed: dict[str, Record],
    tmp_path: Path,
    windows: bool,
) -> None:
    """Nobody is silent, late or stalled for that; every number of the summary is one."""
    if not LIBRARIES:
        pytest.skip("libfaketime is not installed (Debian: faketime)")
    stamp, output, summary = tmp_path / "stamp", tmp_path / "o.jsonl", tmp_path / "s.json"
    stamp.write_text("+0")
    more = ["--windows", "--no-tta"] if windows else []
    line = command(many, tiny_model, "--output", output, "--summary", summary, *more)
    with subprocess.Popen(
        line,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(stamp),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "0",
        },
    ) as run:
        until = time.monotonic() + 60
        while not output.exists() or output.read_bytes().count(b"\n") < 5:
            assert time.monotonic() < until
            assert run.poll() is None, run.communicate()
            time.sleep(0.01)
        for jump in ("+30", "+3600", "+100000000"):
            beside = tmp_path / "next"
            beside.write_text(jump)
            beside.replace(stamp)
            time.sleep(0.3)
        among = run.poll() is None
        try:
            _, said = run.communicate(timeout=120)
        finally:
            run.kill()
    assert run.returncode == 0, said
    assert among, "the run was over before the jumps"
    for word in ("died", "silent", "killing", "stalled"):
        assert word not in said
    assert all(math.isfinite(n) and n >= 0 for n in numbers(json.loads(summary.read_bytes())))
    if windows:
        return
    for one in map(json.loads, output.read_bytes().splitlines()):
        record = undisturbed[one["id"]]
        assert isinstance(record, Prediction)
        assert np.array_equal(np.array(one["scores"], np.float32), record.scores)
    assert output.read_bytes().count(b"\n") == len(undisturbed)
