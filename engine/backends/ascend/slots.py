"""Slots: inputs and outputs of runs in memory that two processes share.

A runtime that holds the GIL while it executes would stop every thread of the executor, so it
gets a process of its own (`engine.backends.ascend.process`). The executor goes on to fill one slot
while the device works on another one; only descriptors of slots go between them, over a pair of
sockets whose end of file tells either side that the other one has died.
"""

from __future__ import annotations

import mmap
import os
import socket
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import orjson

from engine.network.backend import Array
from engine.network.om import Interface, within

_PAGE = mmap.ALLOCATIONGRANULARITY
_MAX_MESSAGE = 1 << 17


@dataclass(frozen=True)
class SlotShape:
    """What a slot has room for. `size`: as of a run of `Backend`, at most. `dtype`: of the clips
    or frames, ``float32`` or ``float16``."""

    interface: Interface
    size: int
    dtype: str
    classes: int

    def arrays(self) -> list[tuple[tuple[int, ...], str]]:
        """Shape and dtype of each input, and last of the logits."""
        interface = self.interface
        if interface.whole:
            return [
                ((self.size, *interface.recipe.clip_shape), self.dtype),
                ((self.size, self.classes), "float32"),
            ]
        inputs = zip(interface.room(self.size), interface.types(self.dtype), strict=True)
        return [*inputs, ((interface.rows(self.size), self.classes), "float32")]

    def nbytes(self) -> int:
        """Of the whole slot."""
        return sum(_rounded(shape, dtype) for shape, dtype in self.arrays())


class Slot:
    """A slot, mapped into this process. `fd`: a file in memory, without a name."""

    def __init__(self, fd: int, shape: SlotShape) -> None:
        self.fd, self._interface = fd, shape.interface
        memory = mmap.mmap(fd, shape.nbytes())
        arrays, start = [], 0
        for dimensions, dtype in shape.arrays():
            count = prod(dimensions)
            array: Array = np.frombuffer(memory, dtype, count, start)
            arrays.append(array.reshape(dimensions))
            start += _rounded(dimensions, dtype)
        *self._inputs, self.logits = arrays

    @classmethod
    def create(cls, shape: SlotShape) -> Slot:
        """A new one, of zeros."""
        fd = os.memfd_create("posec3d-slot")
        os.ftruncate(fd, shape.nbytes())
        return cls(fd, shape)

    def inputs(self, first: int, size: int) -> tuple[Array, ...]:
        """Clips or frames `first`, `first` + 1, …, and what else a run of so many takes."""
        rows, *rest = self._inputs
        if not rest:
            return (rows[first : first + size],)
        _, *shapes = self._interface.inputs(size)
        return rows[first : first + size], *map(within, rest, shapes)


def _rounded(shape: tuple[int, ...], dtype: str) -> int:
    nbytes = prod(shape) * np.dtype(dtype).itemsize
    return -(-nbytes // _PAGE) * _PAGE


class Line:
    """One end of the pair of sockets: JSON messages, and the descriptors of slots."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    @classmethod
    def pair(cls) -> tuple[Line, socket.socket]:
        """Both ends; the second one is for the other process."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), theirs

    def send(self, **message: Any) -> None:
        """Send a message. Raises `EOFError` when the other side has died."""
        try:
            self._end.send(orjson.dumps(message))
        except OSError:
            raise EOFError from None

    def receive(self) -> dict[str, Any]:
        """The next message. Raises `EOFError` when the other side has died."""
        try:
            data = self._end.recv(_MAX_MESSAGE)
        except ConnectionError:
            data = b""
        if not data:
            raise EOFError
        message: dict[str, Any] = orjson.loads(data)
        return message

    def waiting(self) -> bool:
        """Whether a message, or the end of file, is there to be received."""
        try:
            self._end.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        return True

    def send_slots(self, slots: list[Slot]) -> None:
        """Let the other side map slots. Raises `EOFError` when it has died."""
        try:
            socket.send_fds(self._end, [b"slots"], [slot.fd for slot in slots])
        except OSError:
            raise EOFError from None

    def receive_slots(self, shape: SlotShape) -> list[Slot]:
        """The slots that the other side has sent. Raises `EOFError` when it has died."""
        data, fds, _, _ = socket.recv_fds(self._end, 16, 8)
        if not data:
            raise EOFError
        return [Slot(fd, shape) for fd in fds]

    def close(self) -> None:
        """The other side receives the end of file."""
        self._end.close()
