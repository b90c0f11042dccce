"""The publisher: labels on a ZeroMQ PUB socket, at ``--publish tcp://HOST:PORT``.

Comes in: labels. Goes out: messages of two parts, the stream's name and the label's JSON line.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack, suppress
from typing import Any

import zmq

from engine.base.addresses import tcp_endpoint
from engine.base.curve import Listening
from engine.base.gate import Door, Gate
from engine.base.private import private_directory
from engine.live.labels import Label
from engine.outputs.journal import json_line
from engine.outputs.label_lines import label_json
from engine.outputs.output import LiveOutput
from engine.outputs.run_info import LiveRun

log = logging.getLogger("engine")

_LARGEST = 1 << 10  # bytes of a subscription
_WAITING = 1000  # labels
_ROOM = 256 << 20  # bytes that subscribers may make the gate hold; who reads nothing misses labels
_LINGER_MS = 1000


class Publisher(LiveOutput):
    """Whoever subscribes gets what is sent from then on, and holds up nobody. Raises `UsageError`
    for an address that is none, is taken, or is reached by others without `keys`."""

    def __init__(self, address: str, keys: str | None) -> None:
        listening = Listening.of(address, keys, "--publish")
        endpoint, directory = listening.endpoint(listening.port), private_directory()
        back = f"ipc://{directory}/labels"
        door = Door(
            f"--publish {endpoint}", "PUB", endpoint, back, _LARGEST, _WAITING, listening.keys
        )
        with ExitStack() as stack:
            self._gate = Gate(directory, [door], _ROOM)
            stack.callback(self._gate.close)
            context: zmq.Context[Any] = stack.enter_context(zmq.Context())
            self._socket: zmq.Socket[bytes] = stack.enter_context(context.socket(zmq.PUSH))
            self._socket.setsockopt(zmq.LINGER, _LINGER_MS)
            self._socket.bind(back)
            self.endpoint = tcp_endpoint(listening.host, self._gate.ports[0])
            self._stack = stack.pop_all()

    def begin(self, run: LiveRun) -> None:
        self._classes, self._top_k = run.model.classes, run.options.top_k or 0
        print(f"publish   {self.endpoint}", flush=True)

    def record(self, record: Label) -> None:
        line = json_line(label_json(record, self._classes, self._top_k))
        with suppress(zmq.Again):
            self._socket.send_multipart([record.stream.encode(), line], zmq.NOBLOCK)

    def tick(self, now: float) -> None:
        for text in self._gate.news():
            log.warning("%s", text)

    def close(self) -> None:
        self._stack.close()
