"""Runs on a real cluster of two nodes: the same records as one process, whatever dies.

``python -m pytest tests/cluster -m "full or not full"`` runs all of it; each run of the tests the
first.
"""

from __future__ import annotations

import os
import pickle
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import psutil
import pytest

from engine.base.errors import UsageError
from engine.base.options import Options
from engine.base.records import Failure, Prediction, Record
from engine.pipeline import Pipeline
from engine.skeletons.samples import Sample
from tests.cluster.conftest import NODE
from tests.support.runs import check, command, options
from tests.support.samples import annotation

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("many") / "many.pkl"
    path.write_bytes(pickle.dumps([annotation(60 + i % 40, seed=i) for i in range(160)]))
    return path


@pytest.fixture
def many_expected(many: Path, tiny_model: Path) -> dict[str, Record]:
    with Pipeline(options(many, tiny_model, in_process=True)) as pipeline:
        return {record.id: record for record in pipeline}


def on(cluster: Any, data: Path, model: Path, **more: Any) -> Options:
    return options(data, model, cluster=cluster.address, **more)


def engine_pids(pipeline: Pipeline) -> list[int]:
    return [one["pid"] for one in pipeline.processes() if one["ready"]]


def scored(pipeline: Pipeline, after: dict[int, Callable[[Pipeline], object]]) -> Iterator[Record]:
    """The records; something happens after the n-th."""
    for number, record in enumerate(pipeline, 1):
        yield record
        if number in after:
            after[number](pipeline)


def test_the_same_records_as_one_process(
    nodes: Any, data: Path, tiny_model: Path, expected: dict[str, Record]
) -> None:
    with Pipeline(on(nodes, data, tiny_model)) as pipeline:
        records = list(pipeline)
        assert pipeline.engines == 2
        check(records, expected)
        assert pipeline.figures.clips_run == 20 * sum(isinstance(r, Prediction) for r in records)
        engines = map(psutil.Process, engine_pids(pipeline))
        children = [child.pid for engine in engines for child in engine.children()]
        assert children
    _wait_until(lambda: not any(map(_alive, children)))


@pytest.mark.full
def test_an_engine_that_is_killed(
    nodes: Any, many: Path, tiny_model: Path, many_expected: dict[str, Record]
) -> None:
    def kill(pipeline: Pipeline) -> None:
        if pids := engine_pids(pipeline):
            os.kill(random.Random(len(pids)).choice(pids), signal.SIGKILL)

    with Pipeline(on(nodes, many, tiny_model)) as pipeline:
        check(list(scored(pipeline, {20: kill, 60: kill, 100: kill})), many_expected)
        assert pipeline.figures.restarts >= 1


@pytest.mark.full
def test_a_node_that_is_lost_and_replaced(
    nodes: Any, many: Path, tiny_model: Path, many_expected: dict[str, Record]
) -> None:
    def lose(pipeline: Pipeline) -> None:
        nodes.remove_node(min(nodes.worker_nodes, key=str), allow_graceful=False)

    def replace(pipeline: Pipeline) -> None:
        nodes.add_node(**NODE)

    with Pipeline(on(nodes, many, tiny_model)) as pipeline:
        check(list(scored(pipeline, {30: lose, 50: replace})), many_expected)


class _Deadly:
    """Whoever unpacks it is dead."""

    def __reduce__(self) -> Any:
        return eval, ("__import__('os').kill(__import__('os').getpid(), 9)",)


def _deadly_77(sample: Sample) -> Sample:
    about = {"keypoint": _Deadly(), "label": sample.label}
    return Sample(77, sample.id, about) if sample.index == 77 else sample


@pytest.mark.full
def test_a_sample_that_kills_its_engine_is_convicted(
    nodes: Any, many: Path, tiny_model: Path, many_expected: dict[str, Record]
) -> None:
    with Pipeline(on(nodes, many, tiny_model, limit=100)) as pipeline:
        runner: Any = pipeline._driver
        runner._samples = map(_deadly_77, runner._samples)
        records = list(pipeline)
    by_index = {record.index: record for record in records}
    poison = by_index.pop(77)
    assert isinstance(poison, Failure)
    assert (poison.stage, poison.type) == ("infer", "EngineDied")
    known = {i: r for i, r in many_expected.items() if r.index < 100 and r.index != 77}
    check(list(by_index.values()), known)


@pytest.mark.full
def test_a_driver_that_is_killed_goes_on(
    nodes: Any, many: Path, tiny_model: Path, many_expected: dict[str, Record], tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    run = command(many, tiny_model, "--cluster", nodes.address, "--resume", out)
    first = subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _wait_until(lambda: out.is_file() and out.read_bytes().count(b"\n") >= 30, within=120)
    first.kill()
    first.wait()
    assert out.read_bytes().count(b"\n") < len(many_expected)
    second = subprocess.run(run, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    lines = [orjson.loads(line) for line in out.read_bytes().splitlines()]
    assert sorted(line["index"] for line in lines) == list(range(len(many_expected)))
    for line in lines:
        record = many_expected[line["id"]]
        assert isinstance(record, Prediction)
        assert np.array_equal(np.array(line["scores"], np.float32), record.scores)


@pytest.mark.full
def test_an_interrupted_run_finishes_what_is_on_its_way(
    nodes: Any, many: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    run = command(many, tiny_model, "--cluster", nodes.address, "--output", out)
    process = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _wait_until(lambda: out.is_file() and out.read_bytes().count(b"\n") >= 10, within=120)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "finishing" in errors
    indices = [orjson.loads(line)["index"] for line in out.read_bytes().splitlines()]
    assert 10 <= len(indices) == len(set(indices)) < 160


@pytest.mark.full
def test_what_no_node_can_do_is_said(nodes: Any, data: Path, tiny_model: Path) -> None:
    with pytest.raises(UsageError, match=r"no node of the cluster has CPUs and a GPU.*'CPU': 2"):
        Pipeline(on(nodes, data, tiny_model, backend="torch", device="cuda"))
    with pytest.raises(UsageError, match="on the node .*OpenVINO has no device 'XPU'"):
        Pipeline(on(nodes, data, tiny_model, device="XPU"))


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ray://127.0.0.1:9", "nobody answers there"),
        ("127.0.0.1:9", "nobody answers there"),
        ("lokal", "local, auto, ray://HOST:PORT or HOST:PORT"),
    ],
)
def test_an_address_where_nothing_is(data: Path, tiny_model: Path, address: str, said: str) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (pip install -e '.[ray]')")
    with pytest.raises(UsageError, match=said):
        Pipeline(options(data, tiny_model, cluster=address))


def test_a_small_data_set_is_shared(nodes: Any, data: Path, tiny_model: Path) -> None:
    """Whoever is ready first does not take all of it."""
    with Pipeline(on(nodes, data, tiny_model, limit=6)) as pipeline:
        runner: Any = pipeline._driver
        granted: dict[str, int] = {}
        shards = runner._shards
        grant = shards.grant

        def counted(engine: str, room: int) -> list[int]:
            found: list[int] = grant(engine, room)
            granted[engine] = max(granted.get(engine, 0), len(found))
            return found

        shards.grant = counted
        assert len(list(pipeline)) == 6
    assert max(granted.values()) <= 3


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"engines": 2}, "--engines N is for --cluster"),
        ({"cluster": "local", "in_process": True}, "--cluster has no effect with --in-process"),
        ({"cluster": "local", "listen": "tcp://127.0.0.1"}, "data sets; leave --listen out"),
    ],
)
def test_options_that_do_not_go_together(chosen: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Options(**chosen)


def _alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _wait_until(happened: Callable[[], bool], within: float = 30) -> None:
    until = time.monotonic() + within
    while not happened():
        assert time.monotonic() < until, "it does not happen"
        time.sleep(0.05)
