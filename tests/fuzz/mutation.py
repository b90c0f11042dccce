"""Mutation: what was valid, damaged; the same for the same random numbers.

Comes in: bytes, or trees of JSON's types. Goes out: others of them.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

NUMBERS = (0, 1, 2, 17, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40)
"""Lengths, counts and offsets at which something may end."""

JSON_WORDS = (
    *(b"NaN", b"Infinity", b"null", b"\n", b"[" * 100, b'{"', b"1e999", b"\\ud800", b"-0.0"),
)


def damaged(
    rng: random.Random, data: bytes, others: Sequence[bytes], words: Sequence[bytes]
) -> bytes:
    """Bytes with a few changes; `others`: what parts may be taken of; `words`: what the format is
    made of."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        rng.choice(_CHANGES)(rng, found, others, words)
    return bytes(found)


def _place(rng: random.Random, data: bytearray) -> int:
    return rng.randrange(len(data) + 1)


def _bits(rng: random.Random, data: bytearray, *_: Any) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _noise(rng: random.Random, data: bytearray, *_: Any) -> None:
    place = _place(rng, data)
    data[place : place + rng.choice((1, 1, 4, 16))] = rng.randbytes(rng.choice((1, 1, 4, 16)))


def _number(rng: random.Random, data: bytearray, *_: Any) -> None:
    form = rng.choice(("<B", "<H", "<I", "<Q", ">I", ">Q"))
    size = struct.calcsize(form)
    number = (rng.choice(NUMBERS) - rng.randrange(2)) % (1 << 8 * size)
    place = _place(rng, data)
    data[place : place + size] = struct.pack(form, number)


def _digits(rng: random.Random, data: bytearray, *_: Any) -> None:
    """Another number where one is written out."""
    places = [n for n, byte in enumerate(data[: 1 << 16]) if 48 <= byte <= 57]
    if places:
        place = rng.choice(places)
        data[place : place + 1] = str(rng.choice(NUMBERS)).encode()


def _less(rng: random.Random, data: bytearray, *_: Any) -> None:
    place = _place(rng, data)
    del data[place : place + rng.choice((1, 2, 8, 64, 1024))]


def _end(rng: random.Random, data: bytearray, *_: Any) -> None:
    del data[_place(rng, data) :]


def _again(rng: random.Random, data: bytearray, *_: Any) -> None:
    start, place = _place(rng, data), _place(rng, data)
    part = data[start : start + rng.choice((1, 4, 32, 256))]
    data[place:place] = part * rng.choice((1, 2, 30))


def _spliced(
    rng: random.Random, data: bytearray, others: Sequence[bytes], words: Sequence[bytes]
) -> None:
    other = rng.choice(others)
    data[_place(rng, data) :] = other[rng.randrange(len(other) + 1) :]


def _word(
    rng: random.Random, data: bytearray, others: Sequence[bytes], words: Sequence[bytes]
) -> None:
    if words:
        place, word = _place(rng, data), rng.choice(words)
        data[place : place + (len(word) if rng.random() < 0.5 else 0)] = word


_CHANGES: Sequence[Callable[..., None]] = (
    _bits,
    _bits,
    _noise,
    _number,
    _digits,
    _less,
    _end,
    _again,
    _spliced,
    _word,
    _word,
)


def changed(rng: random.Random, value: Any) -> Any:
    """A tree with another value somewhere; sometimes two."""
    for _ in range(rng.choice((1, 1, 2))):
        value = _changed(rng, value)
    return value


def _changed(rng: random.Random, value: Any) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        how = rng.random()
        if how < 0.1:
            return {k: v for k, v in value.items() if k != key}
        if how < 0.15:
            return {**value, rng.choice(("", "x" * 300, "split", "keypoint", str(key) + "\0")): 1}
        return {**value, key: _changed(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.85:
        place = rng.randrange(len(value))
        how = rng.random()
        if how < 0.05:
            return value[:place]
        if how < 0.1:
            return value * rng.choice((2, 20))
        return [*value[:place], _changed(rng, value[place]), *value[place + 1 :]]
    return odd(rng)


def odd(rng: random.Random) -> Any:
    """A value that is seldom expected."""
    how = rng.randrange(5)
    if how == 0:
        return rng.choice((None, True, False, "", [], {}, [[]], [{}], "NaN", "\ud7ff", "7", "-1"))
    if how == 1:
        number = rng.choice(NUMBERS)
        return rng.choice((number, -number, float(number), number + 0.5, str(number)))
    if how == 2:
        return rng.choice((1e308, -1e308, 1e-320, 0.0, -0.0, 2**53, 2**63 - 1, 2**64 - 1))
    if how == 3:
        size = rng.choice((3, 100, 70_000))
        return rng.choice(("x" * size, [0] * size, {str(n): n for n in range(size // 7)}))
    nested: Any = rng.choice((0, "x", None))
    for _ in range(rng.choice((2, 5, 60, 300))):
        nested = [nested] if rng.random() < 0.9 else {"a": nested}
    return nested
