"""JSON as programs write it: also Python's, whose absent numbers are ``NaN``, which is no JSON.

Comes in: bytes. Goes out: JSON types. The fast reader takes what is JSON; only where that fails,
and a number that Python writes is there, the one of Python's own library is asked.
"""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

_ODD: Final = (b"NaN", b"Infinity")


def parse_json(text: bytes | bytearray | memoryview) -> Any:
    """What a text says. Raises `ValueError` that says where it is no JSON."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        text = bytes(text)
        if not any(odd in text for odd in _ODD):
            raise ValueError(str(error)) from None
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
