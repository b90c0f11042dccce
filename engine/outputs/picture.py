"""A picture of skeletons: as SVG, as PNG, or in the characters of a terminal.

Comes in: people [persons, 17, 3] of one frame and the picture's size. Nothing but numpy is needed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.base.files import write_atomically
from engine.skeletons.joints import BONES

F32 = NDArray[np.float32]
Pixels = NDArray[np.uint8]

# Told apart by those who see fewer colours, too (Okabe and Ito's).
COLOURS: Final = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
_BACKGROUND: Final = (24, 24, 28)
_LONGEST: Final = 1280  # pixels of the PNG's longer side, at most
_DOTS: Final = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
"""Bits of a braille character's dots, [4, 2]."""


def write_picture(path: Path, people: F32, size: tuple[int, int]) -> None:
    """Write ``.svg`` or ``.png``. Raises `OutputError`."""
    content = svg(people, size) if path.suffix.lower() == ".svg" else png(people, size)
    write_atomically(path, lambda target: target.write(content))


def svg(people: F32, size: tuple[int, int]) -> bytes:
    """The frame with everybody in it, each in a colour."""
    width, height = size
    thick = max(size) / 240
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
        f'<rect width="{width}" height="{height}" fill="{_hex(_BACKGROUND)}"/>',
    ]
    for number, one in enumerate(people):
        colour = _hex(COLOURS[number % len(COLOURS)])
        parts.append(f'<g stroke="{colour}" fill="{colour}" stroke-width="{thick:.2f}">')
        for (x, y), (to_x, to_y) in _bones(one):
            parts.append(f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"/>')
        for x, y in one[_seen(one), :2]:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{thick:.2f}" stroke="none"/>')
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""]).encode()


def png(people: F32, size: tuple[int, int]) -> bytes:
    """The same in pixels, eight bits a colour."""
    scale = min(1.0, _LONGEST / max(size))
    width, height = (max(1, round(side * scale)) for side in size)
    pixels = np.full((height, width, 3), _BACKGROUND, np.uint8)
    for number, one in enumerate(people):
        colour = COLOURS[number % len(COLOURS)]
        pixels[_mask(one, size, (width, height), thick=max(1, max(width, height) // 320))] = colour
    lines = np.insert(pixels.reshape(height, -1), 0, 0, axis=1)  # no filter
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def braille(people: F32, size: tuple[int, int], columns: int, rows: int) -> list[str]:
    """Lines of text, at most so many and so long; a character is 2 x 4 dots."""
    scale = min(2 * columns / size[0], 4 * rows / size[1])
    width, height = max(2, int(size[0] * scale)), max(4, int(size[1] * scale))
    dots = np.zeros((-(-height // 4) * 4, -(-width // 2) * 2), bool)
    for one in people:
        dots[:height, :width] |= _mask(one, size, (width, height), thick=0)
    cells = dots.reshape(dots.shape[0] // 4, 4, dots.shape[1] // 2, 2)
    codes = (cells * _DOTS[None, :, None, :]).sum(axis=(1, 3))
    return ["".join(chr(0x2800 + int(code)) for code in line) for line in codes]


def _mask(one: F32, size: tuple[int, int], shape: tuple[int, int], thick: int) -> NDArray[np.bool_]:
    """Which pixels [height, width] somebody's bones and joints cover."""
    width, height = shape
    scale = np.array(shape, np.float32) / np.array(size, np.float32)
    ends = [*_bones(one), *((at, at) for at in one[_seen(one), :2])]
    mask = np.zeros((height, width), bool)
    for start, end in ends:
        first, last = (np.clip(at * scale, -4 * max(shape), 4 * max(shape)) for at in (start, end))
        steps = int(np.abs(last - first).max()) + 2
        points = np.rint(np.linspace(first, last, steps)).astype(int)
        for off_x in range(-thick, thick + 1):
            for off_y in range(-thick, thick + 1):
                x, y = points[:, 0] + off_x, points[:, 1] + off_y
                inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
                mask[y[inside], x[inside]] = True
    return mask


def _bones(one: F32) -> Iterator[tuple[F32, F32]]:
    seen = _seen(one)
    yield from ((one[a, :2], one[b, :2]) for a, b in BONES if seen[a] and seen[b])


def _seen(one: F32) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (one[:, 2] > 0) & one[:, :2].any(axis=1)
    return found


def _hex(colour: tuple[int, int, int]) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)
