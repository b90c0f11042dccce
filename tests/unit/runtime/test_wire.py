"""Messages: what is written is read, everything else is refused before it is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.base.errors import WireError
from engine.runtime.transport import wire
from engine.runtime.transport.wire import Message, decode, encode, receive


def raw(message: Message) -> list[bytes]:
    return [bytes(frame) for frame in encode(message)]


@pytest.mark.parametrize("code", sorted(wire.DTYPES))
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (1, 2, 3, 4, 5, 6)])
def test_arrays(code: str, shape: tuple[int, ...]) -> None:
    array = (np.arange(np.prod(shape)).reshape(shape) % 100).astype(code)
    found = decode(raw(Message("k", {"a": [1, None, "x"]}, (array, array.T))))
    assert (found.kind, found.fields) == ("k", {"a": [1, None, "x"]})
    for got, sent in zip(found.arrays, (array, array.T), strict=True):
        assert got.dtype == sent.dtype
        np.testing.assert_array_equal(got, sent)


def header(**changes: Any) -> bytes:
    return orjson.dumps({"kind": "k", "fields": {}, "arrays": [["<f4", [2]]]} | changes)


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b""],
        [b"[]"],
        [b"junk", b"\0" * 8],
        [header()],
        [header(), b"\0" * 7],
        [header(), b"\0" * 8, b""],
        [header(kind=1), b"\0" * 8],
        [header(fields=[]), b"\0" * 8],
        [header(arrays={}), b"\0" * 8],
        [header(arrays=[["<f4"]]), b"\0" * 8],
        [header(arrays=[["|O", [1]]]), b"\0" * 8],
        [header(arrays=[[["<f4"], [2]]]), b"\0" * 8],
        [header(arrays=[["<f4", [-2]]]), b"\0" * 8],
        [header(arrays=[["<f4", [2.0]]]), b"\0" * 8],
        [header(arrays=[["<f4", [2**62, 4]]]), b"\0" * 8],
        [header(arrays=[["<f4", [1] * 7]]), b"\0" * 4],
        [header(arrays=[["<f4", [0, 2**40]]]), b""],
        [b'{"kind": "' + b"x" * wire.MAX_HEADER + b'"}'],
        [header()] * 9,
    ],
    ids=lambda frames: f"{frames}"[:50],
)
def test_refused(frames: list[bytes]) -> None:
    with pytest.raises(WireError):
        decode(frames)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=5), st.data())
def test_noise_raises_nothing_else(frames: list[bytes], data: Any) -> None:
    good = raw(Message("k", {"lease": 3}, (np.arange(6, dtype="<f4"),)))
    place = data.draw(st.integers(0, len(good[0]) - 1))
    mutated = bytearray(good[0])
    mutated[place] = data.draw(st.integers(0, 255))
    for candidate in (frames, [bytes(mutated), good[1]], [good[0], *frames]):
        try:
            message = decode(candidate)
        except WireError:
            continue
        assert isinstance(message.kind, str)


@pytest.fixture
def pair() -> Iterator[Any]:
    context = zmq.Context()
    left, right = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    wire.limit(right, 100_000)
    wire.limit(left, 100_000)
    right.bind("inproc://pair")
    left.connect("inproc://pair")
    yield left, right
    context.destroy(linger=0)


def test_surplus_frames_are_read_away(pair: Any) -> None:
    left, right = pair
    left.send_multipart([header()] * 50)
    left.send_multipart(encode(Message("next")))
    with pytest.raises(WireError, match="more than 5 frames"):
        receive(right)
    assert receive(right)[1].kind == "next"
    with pytest.raises(zmq.Again):
        receive(right)


def test_libzmq_itself_refuses_large_frames(tmp_path: Any) -> None:
    """The peer is cut off; nothing of that size is ever allocated or delivered."""
    context = zmq.Context()
    try:
        right = context.socket(zmq.PULL)
        wire.limit(right, 100_000)
        right.bind(f"ipc://{tmp_path}/s")
        for size, arrives in ((90_000, True), (110_000, False)):
            left = context.socket(zmq.PUSH)
            left.setsockopt(zmq.LINGER, 0)
            left.connect(f"ipc://{tmp_path}/s")
            left.send_multipart(encode(Message("k", {}, (np.zeros(size, "|u1"),))))
            assert bool(right.poll(3000 if arrives else 300)) == arrives
            if arrives:
                assert receive(right)[1].nbytes == size
            left.close()
    finally:
        context.destroy(linger=0)
