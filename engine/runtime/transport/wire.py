"""The wire: messages as frames, a header and raw arrays, checked before anything is used.

On the wire a message is a frame of JSON (``{"kind": …, "fields": {…}, "arrays": [[dtype, shape],
…]}``) and one raw frame an array. Nothing is pickled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import zmq
from numpy.typing import NDArray

from engine.base.errors import WireError

DTYPES = frozenset(["<f2", "<f4", "<f8", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8"])
MAX_HEADER = 1 << 16
MAX_FRAMES = 5  # the header and four arrays
MAX_RANK = 6
AT_ONCE = 1000  # messages that a socket is read for before other things get their turn
# Not zero: libzmq 4.3.5 aborts the process when a socket that drops its messages at once is
# in the middle of one while its peer goes away.
LINGER_MS = 1000
_CURVE_BYTES = 256


@dataclass(frozen=True)
class Message:
    """`kind` says what it is; `fields` are JSON values; `arrays` are C-contiguous."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)
    arrays: tuple[NDArray[Any], ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(a.nbytes for a in self.arrays)


def limit(socket: zmq.Socket[bytes], max_bytes: int) -> None:
    """Make libzmq itself refuse larger frames, which it would allocate before we could look,
    and let no socket wait for its peer for long when it is closed."""
    # What CURVE adds to a frame counts as well.
    socket.setsockopt(zmq.MAXMSGSIZE, max(max_bytes, MAX_HEADER) + _CURVE_BYTES)
    socket.setsockopt(zmq.LINGER, LINGER_MS)


def encode(message: Message) -> list[Any]:
    """The frames of a message: bytes of the header, then buffers of the arrays."""
    arrays = [np.ascontiguousarray(a) for a in message.arrays]
    header = orjson.dumps(
        {
            "kind": message.kind,
            "fields": message.fields,
            "arrays": [[a.dtype.str, list(a.shape)] for a in arrays],
        },
        option=orjson.OPT_SERIALIZE_NUMPY,
    )
    # numpy cannot export an empty array's buffer as contiguous bytes
    return [header, *(a.data if a.size else b"" for a in arrays)]


def decode(frames: Sequence[Any]) -> Message:
    """Check frames (bytes or buffers) and make a message of them; arrays are views.

    Raises `WireError` for anything that `encode` does not write.
    """
    if not 1 <= len(frames) <= MAX_FRAMES:
        raise WireError(f"{len(frames)} frames; expected 1 to {MAX_FRAMES}")
    if len(frames[0]) > MAX_HEADER:
        raise WireError(f"a header of {len(frames[0])} bytes")
    try:
        header = orjson.loads(frames[0])
        kind, fields, specs = header["kind"], header["fields"], header["arrays"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise WireError(f"not a header ({type(error).__name__})") from None
    if not (isinstance(kind, str) and isinstance(fields, dict) and isinstance(specs, list)):
        raise WireError("a header of another form")
    with naming(fields.get("lease")):
        if len(specs) != len(frames) - 1:
            raise WireError(f"{len(specs)} arrays announced, {len(frames) - 1} frames sent")
        arrays = tuple(_array(s, f) for s, f in zip(specs, frames[1:], strict=True))
    return Message(kind, fields, arrays)


@contextmanager
def naming(lease: Any) -> Iterator[None]:
    """A `WireError` of the block is about this lease, if it is a number."""
    try:
        yield
    except WireError as error:
        error.lease = lease if type(lease) is int and lease >= 0 else None
        raise


def _array(spec: Any, frame: Any) -> NDArray[Any]:
    if not (isinstance(spec, list) and len(spec) == 2 and isinstance(spec[1], list)):
        raise WireError("an array described in another form")
    code, shape = spec
    if not isinstance(code, str) or code not in DTYPES:
        raise WireError(f"an array of dtype {code!r:.20}")
    if len(shape) > MAX_RANK or not all(type(n) is int and 0 <= n < 2**31 for n in shape):
        raise WireError(f"an array of shape {shape!r:.60}")
    dtype = np.dtype(code)
    expected = dtype.itemsize
    for n in shape:
        expected *= n
    if expected != len(frame):
        raise WireError(f"an array of {len(frame)} bytes; {code} {shape} needs {expected}")
    array: NDArray[Any] = np.frombuffer(frame, dtype)
    return np.reshape(array, shape)


def receive(socket: zmq.Socket[bytes], *, routed: int = 0) -> tuple[tuple[bytes, ...], Message]:
    """Read one message without waiting: (as many parts of its sender's address, message).

    Raises `zmq.Again` when there is none, and `WireError` for one that is dropped. Arrays
    are views of libzmq's own memory; frames beyond the allowed number are read away.
    """
    parts: list[zmq.Frame] = []
    allowed = MAX_FRAMES + routed
    surplus = False
    while True:
        part = socket.recv(zmq.NOBLOCK, copy=False)
        if len(parts) < allowed:
            parts.append(part)
        else:
            surplus = True
        if not part.more:
            break
    if surplus:
        raise WireError(f"more than {MAX_FRAMES} frames")
    return tuple(p.bytes for p in parts[:routed]), decode([p.buffer for p in parts[routed:]])


def check_array(
    array: NDArray[Any], name: str, dtype: Any, shape: tuple[int | None, ...]
) -> NDArray[Any]:
    """`array` itself if it has `dtype` and `shape` (None: any). Raises `WireError`."""
    fits = array.ndim == len(shape) and (dtype is None or array.dtype == dtype)
    for have, want in zip(array.shape, shape, strict=False):
        fits = fits and (want is None or have == want)
    if not fits:
        raise WireError(f"{name} is {array.dtype} {array.shape}; expected {dtype} {shape}")
    return array
