"""Nodes: the connection to a Ray cluster, and what an engine takes of it."""

from __future__ import annotations

import logging
import os
import socket
from collections import Counter
from dataclasses import dataclass
from typing import Any

from engine.base import host
from engine.base.addresses import host_and_port
from engine.base.choices import TORCH
from engine.base.errors import UsageError, printable
from engine.runtime.setup import Setup

LOCAL, AUTO = "local", "auto"
_CLIENT = "ray://"
_ANSWER_S = 5.0  # that a host gets to take a connection
_OBJECTS_BYTES = 256 << 20  # of a local cluster: what is on its way are keypoints
_GPU, _NPU, _CPU = "GPU", "NPU", "CPU"


@dataclass(frozen=True)
class Place:
    """What an engine takes: `cores`, and one of `device` (``GPU`` or ``NPU``) if there is one."""

    cores: int
    device: str | None

    def options(self) -> dict[str, Any]:
        """As Ray's ``.options`` of an actor has it."""
        asked: dict[str, Any] = {"num_cpus": self.cores}
        if self.device == _GPU:
            asked["num_gpus"] = 1
        elif self.device is not None:
            asked["resources"] = {self.device: 1}
        return asked

    def __str__(self) -> str:
        return f"{self.cores} CPUs" + (f" and one {self.device}" if self.device else "")


def connect(address: str) -> tuple[Any, bool]:
    """Ray, connected to the cluster that ``--cluster`` names, and whether it was connected here
    and now: a program that uses us may have done so. Raises `UsageError`."""
    # What Ray would report to its makers of a cluster that is ours.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UsageError("--cluster needs Ray: pip install '.[ray]'") from None
    if ray.is_initialized():
        return ray, False
    _check(address)
    more: dict[str, Any] = {}
    if address == LOCAL:
        more = {
            "num_cpus": host.cores(),
            "include_dashboard": False,
            "object_store_memory": _OBJECTS_BYTES,
        }
    try:
        ray.init(address=address, logging_level=logging.ERROR, **more)
    except Exception as error:  # Ray has no base class for what comes of a wrong address
        if address == AUTO and isinstance(error, ConnectionError):
            raise UsageError(
                "--cluster auto: no cluster runs on this machine; ray start --head starts one, "
                "and --cluster local one for this run"
            ) from None
        said = printable(error).partition("\n")[0].rstrip(".")
        raise UsageError(
            f"--cluster {address}: {type(error).__name__}: {said}. Is a cluster running there "
            "(ray start --head), of the same version of Ray and Python, and does this machine have "
            "its token, if it asks for one?"
        ) from None
    return ray, True


def _check(address: str) -> None:
    """Raise `UsageError` for an address that is none, or where nobody answers: Ray would try for
    minutes, and heed no signal."""
    if address in (LOCAL, AUTO):
        return
    refusal = f"--cluster {address}: local, auto, ray://HOST:PORT or HOST:PORT"
    where = host_and_port(address.removeprefix(_CLIENT), refusal)
    try:
        socket.create_connection(where, _ANSWER_S).close()
    except OSError as error:
        raise UsageError(
            f"--cluster {address}: nobody answers there ({error}). Is a cluster running (ray start "
            "--head), and is this its port? The one for ray:// is another than that for nodes"
        ) from None


def places(ray: Any, setup: Setup, engines: int | None) -> list[Place]:
    """What each engine takes: one for each device, or where they run on CPUs one for each node, or
    for each ``--threads`` of its CPUs; or `engines` of them. Raises `UsageError` where the
    cluster has nothing for any."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    device, threads = _device(setup), setup.options.threads
    found: list[Place] = []
    for resources in nodes:
        cores = int(resources.get(_CPU, 0))
        # On CPUs one a node, or as many as have the threads that they are to have.
        shares = int(resources.get(device, 0)) if device else cores // (threads or max(1, cores))
        if cores and shares:
            found += [Place(max(1, cores // shares), device)] * shares
    if not found:
        counted: Counter[str] = Counter()
        for resources in nodes:
            counted.update({name: n for name, n in resources.items() if ":" not in name})
        raise UsageError(
            f"no node of the cluster has CPUs{f' and a {device}' if device else ''} for an engine; "
            f"it has {dict(counted)}"
        )
    if engines is None:
        return found
    if engines <= len(found):
        return found[:engines]
    # More than there are places now: nodes may join.
    return found + [found[-1]] * (engines - len(found))


def _device(setup: Setup) -> str | None:
    """What Ray calls the devices that a backend runs on."""
    if setup.model.compiled:
        return _NPU
    asked = (setup.options.device or "").lower()
    if asked == "cpu" or (setup.backend_name != TORCH and not asked.startswith(("cuda", "tensor"))):
        return None
    return _GPU
