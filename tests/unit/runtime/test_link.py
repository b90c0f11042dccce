"""The line of a worker to its supervisor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pytest
import zmq

from engine.runtime.transport import wire
from engine.runtime.transport.link import ChildLink
from engine.runtime.transport.messages import Dropped, Failed, Grant, from_child
from engine.skeletons.poses import PoseSequence
from tests.support.samples import annotation


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[zmq.Socket[bytes], ChildLink]]:
    """A supervisor's socket and a child's link."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        router.setsockopt(zmq.LINGER, 0)
        router.setsockopt(zmq.RCVTIMEO, 10_000)
        router.bind(f"ipc://{tmp_path}/control")
        link = ChildLink(f"ipc://{tmp_path}/control", "worker-0.1")
        link.send(Dropped("here"))
        assert router.recv_multipart()[0] == b"worker-0.1"
        yield router, link
        link.close()


@pytest.mark.parametrize("flaw", ["beyond", "other bytes", "a field"])
def test_a_lease_that_cannot_be_read_is_given_back_by_name(
    ends: tuple[zmq.Socket[bytes], ChildLink], flaw: str
) -> None:
    """Nobody waits for it until it is called silent."""
    router, link = ends
    poses = PoseSequence.from_annotation(annotation(3))
    frames = wire.encode(Grant.of(7, "seal", "executor-0.1", poses).write())
    header = orjson.loads(frames[0])
    if flaw == "beyond":
        header["arrays"][0][1] = [0, 2**31, 17, 2]
        frames[1] = b""
    elif flaw == "other bytes":
        frames[1] = np.zeros(3)
    else:
        header["fields"]["seal"] = 5
    router.send_multipart([b"worker-0.1", orjson.dumps(header), *frames[1:]])
    link.socket.poll(10_000)
    assert link.receive() is None
    said = []
    for _ in range(2):
        said.append(from_child(wire.decode(router.recv_multipart()[1:])))
    assert isinstance(said[0], Dropped)
    assert isinstance(said[1], Failed)
    assert said[1].lease == 7
    assert said[1].cause.type == "WireError"


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """What a child starts cannot be noted there: it is told of once, and goes on."""
    (tmp_path / "worker-0.1.started").symlink_to("/dev/full")
    link = ChildLink(f"ipc://{tmp_path}/control", "worker-0.1")
    try:
        for leases in ([1], [1, 2]):
            link.started(leases)
    finally:
        link.context.destroy(linger=0)
        link.close()
