"""The publisher: labels on a ZeroMQ PUB socket, at ``--publish tcp://HOST:PORT``.

Comes in: labels. Goes out: messages of two parts, the stream's name and the label's JSON line.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import zmq

from engine.base.addresses import tcp_endpoint
from engine.base.curve import Authenticator, Listening
from engine.live.labels import Label
from engine.outputs.journal import json_line
from engine.outputs.label_lines import label_json
from engine.outputs.output import LiveOutput
from engine.outputs.run_info import LiveRun


class Publisher(LiveOutput):
    """Whoever subscribes gets what is sent from then on, and holds up nobody. Raises `UsageError`
    for an address that is none, is taken, or is reached by others without `keys`."""

    def __init__(self, address: str, keys: str | None) -> None:
        listening = Listening.of(address, keys, "--publish")
        with ExitStack() as stack:
            context: zmq.Context[Any] = stack.enter_context(zmq.Context())
            if listening.keys is not None:
                stack.callback(Authenticator(context, listening.keys).close)
            self._socket: zmq.Socket[bytes] = stack.enter_context(context.socket(zmq.PUB))
            self._socket.setsockopt(zmq.LINGER, 1000)
            port = listening.bind(self._socket, listening.port)
            self.endpoint = tcp_endpoint(listening.host, port)
            self._stack = stack.pop_all()

    def begin(self, run: LiveRun) -> None:
        self._classes, self._top_k = run.model.classes, run.options.top_k or 0
        print(f"publish   {self.endpoint}", flush=True)

    def record(self, record: Label) -> None:
        line = json_line(label_json(record, self._classes, self._top_k))
        self._socket.send_multipart([record.stream.encode(), line])

    def close(self) -> None:
        self._stack.close()
