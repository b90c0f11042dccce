"""Pickles as nobody writes them: random programs of a pickle's opcodes.

Goes out: bytes of pickles, most of which get far.
"""

from __future__ import annotations

import pickle
import pickletools
import random
import struct
from collections.abc import Sequence

GLOBALS = (
    b"cnumpy\ndtype\n",
    b"cnumpy\nndarray\n",
    b"cnumpy.core.multiarray\n_reconstruct\n",
    b"cnumpy._core.multiarray\nscalar\n",
    b"cnumpy._core.numeric\n_frombuffer\n",
    b"c_codecs\nencode\n",
    b"ccollections\nOrderedDict\n",
    b"ccollections\ndefaultdict\n",
    b"cbuiltins\nset\n",
    b"cbuiltins\nfrozenset\n",
    b"cbuiltins\nbytes\n",
    b"cbuiltins\nlist\n",
    b"cos\nsystem\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch._utils\n_rebuild_parameter\n",
    b"ctorch\nFloatStorage\n",
    b"csome.module\nThing\n",
)
WORDS = tuple(op.code.encode("latin1") for op in pickletools.opcodes) + GLOBALS
_FIELDS = ("keypoint", "keypoint_score", "img_shape", "total_frames", "label", "frame_dir")
_MORE = ("frame_inds", "anno_inds", "raw_file", "filename", "tracks", "keypoint_confidence")


def _atom(rng: random.Random) -> bytes:
    how = rng.randrange(12)
    if how == 0:
        return rng.choice((b"N", b"\x88", b"\x89", b")", b"]", b"}", b"\x8f"))
    if how == 1:
        return b"K" + rng.randbytes(1)
    if how == 2:
        return b"J" + rng.randbytes(4)
    if how == 3:
        return b"G" + rng.choice((rng.randbytes(8), struct.pack(">d", rng.choice((0.0, 0.5, 1e9)))))
    if how == 4:
        number = rng.choice((1, 8, 200))
        return b"\x8a" + bytes([number]) + rng.randbytes(number)
    if how == 5:
        text = rng.choice(
            (b"a", b"f4", b"<f8", b"O", b"keypoint", b"latin1", b"C", b"<", b"x" * 200)
        )
        return b"\x8c" + bytes([len(text)]) + text
    if how == 6:
        data = rng.randbytes(rng.choice((0, 1, 8, 68)))
        return b"C" + bytes([len(data)]) + data
    if how == 7:  # lengths that are not there, or almost
        size = rng.choice((4, 2**31 - 1, 2**32 - 1))
        return rng.choice((b"B", b"X", b"T")) + struct.pack("<I", size) + b"x" * 4
    if how == 8:
        size = rng.choice((4, 2**40, 2**63))
        return rng.choice((b"\x8d", b"\x8e", b"\x96", b"\x95")) + struct.pack("<Q", size) + b"x" * 4
    if how == 9:
        return rng.choice(GLOBALS)
    if how == 10:
        return b"I%d\n" % rng.choice((0, -1, 2**31, 10**30)) + b""
    return b"h" + bytes([rng.randrange(8)])


def _doubled(rng: random.Random) -> bytes:
    """A container of containers of …, each there twice (or more) by name."""
    kind = rng.choice((b"\x86", b"\x87", b"tuple", b"list", b"dict"))
    name = rng.randrange(8)
    put, get = b"q" + bytes([name]), b"h" + bytes([name])
    step = {
        b"\x86": put + b"0" + get + get + b"\x86",
        b"\x87": put + b"0" + get + get + get + b"\x87",
        b"tuple": put + b"0(" + get * rng.choice((2, 30, 200)) + b"t",
        b"list": put + b"0](" + get * rng.choice((2, 30, 200)) + b"e",
        b"dict": put + b"0}(K\x00" + get + b"K\x01" + get + b"u",
    }[kind]
    start = rng.choice((b"K\x01", b")", b"]", b"N", b"G" + bytes(8), b"\x8c\x01a", _array(rng)))
    return start + step * rng.choice((1, 2, 3, 10, 40, 200, 2000))


def _array(rng: random.Random) -> bytes:
    """An array as numpy writes it, or nearly."""
    shape = rng.choice((b"K\x04\x85", b"K\x02K\x02\x86", b"K\x00K\x08\x86", _atom(rng) + b"\x85"))
    code = rng.choice((b"f4", b"i1", b"f8", b"O8", b"U9", b"V4", b"M8"))
    data = rng.choice((b"C\x10" + bytes(16), b"C\x04" + bytes(4), b"](NNNNe", _atom(rng)))
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01"
        + shape
        + b"cnumpy\ndtype\n\x8c\x02"
        + code
        + b"\x89\x88\x87R(K\x03"
        + rng.choice((b"\x8c\x01<", _atom(rng)))
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + data
        + b"tb"
    )


def program(rng: random.Random, steps: int) -> bytes:
    """Opcodes that leave one value on the stack, if all goes well."""
    parts: list[bytes] = []
    height = 0
    for _ in range(steps):
        how = rng.randrange(14)
        if height < 2 or how < 4:
            parts.append(rng.choice((_atom, _atom, _atom, _array, _doubled))(rng))
            height += 1
        elif how == 4:
            parts.append(b"q" + bytes([rng.randrange(8)]))
        elif how == 5:
            parts.append(b"\x86")
            height -= 1
        elif how == 6:
            parts.append(b"2")
            height += 1
        elif how == 7:
            parts.append(b"(" + _atom(rng) + _atom(rng) + rng.choice((b"t", b"l", b"d", b"\x91")))
            height += 1
        elif how == 8:
            parts.append(b"\x85R")  # a call
            height -= 1
        elif how == 9:
            parts.append(b"b")
            height -= 1
        elif how == 10:
            parts.append(b"(" + _atom(rng) + _atom(rng) + rng.choice((b"u", b"e", b"\x90")))
        elif how == 11:
            parts.append(rng.choice((b"a", b"0")))
            height -= 1
        elif how == 12 and height > 2:
            parts.append(b"s")
            height -= 2
        else:
            parts.append(b"\x85")
    return b"".join(parts)


def hostile(rng: random.Random, annotation: bytes) -> bytes:
    """A pickle whose root is a program, or an annotation (given as a pickle) with one in it."""
    made = rng.choice((program(rng, rng.choice((3, 10, 40))), _doubled(rng), _array(rng)))
    if rng.random() < 0.2:
        return b"\x80\x04" + made + b"."
    inner = annotation[2:-1]
    if rng.random() < 0.15:  # as a key
        return b"\x80\x04](" + inner + made + b"K\x01s" + b"e."
    if rng.random() < 0.15:  # in a split
        return (
            b"\x80\x04}(\x8c\x0bannotations]("
            + inner
            + b"e\x8c\x05split}\x8c\x01a("
            + made
            + b"lsu."
        )
    field = rng.choice((*_FIELDS, *_MORE)).encode()
    return b"\x80\x04](" + inner + b"\x8c" + bytes([len(field)]) + field + made + b"se."


def spelt(value: object, protocols: Sequence[int] = (2, 3, 4, 5)) -> list[bytes]:
    """A value as each protocol spells it."""
    return [pickle.dumps(value, protocol) for protocol in protocols]
