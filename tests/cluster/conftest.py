"""A real cluster of Ray on this machine: a head without CPUs, and two nodes of one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.leaks import import_openvino, left_since, traces

# So that a node that is gone is missed within seconds, not half a minute.
HEALTH = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 500,
    "health_check_failure_threshold": 3,
}
NODE = {"num_cpus": 1, "object_store_memory": 100 << 20}


@pytest.fixture(autouse=True, scope="session")
def _reported() -> None:
    import_openvino()


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """As of all tests, less the sockets, of which Ray keeps some of its own. Whom Ray kills cannot
    remove the folder of its own sockets either."""
    before = traces()
    yield
    left = left_since(before)
    left.pop("sockets", None)
    for name in left.pop("temporary files", ()):
        shutil.rmtree(Path(tempfile.gettempdir()) / name)
    assert not left, left


@pytest.fixture(autouse=True)
def _short_paths(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ray's sockets have paths of 107 bytes at most, and a test's own folder takes half of them."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as own:
        monkeypatch.setenv("RAY_TMPDIR", own)
        yield


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The cluster; its nodes are ``worker_nodes``."""
    pytest.importorskip("ray", reason="Ray is not installed (pip install -e '.[ray]')")
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # workers import the package from where it is
    head = {"num_cpus": 0, "object_store_memory": 100 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={**head, "_system_config": HEALTH})
    try:
        for _ in range(2):
            cluster.add_node(**NODE)
        cluster.wait_for_nodes()
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()
