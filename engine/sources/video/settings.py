"""What the process of a pose estimator is told, as JSON on its standard input."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_SECRET: Final = re.compile(
    r"(?i)([?&](?:user\w*|usr|loginuse|pass\w*|pwd|loginpas|token|auth\w*|key|secret|sign\w*)=)"
    r"[^&]*"
)
"""What cameras are told in the query, as ``?usr=me&pwd=secret``."""


@dataclass(frozen=True)
class VideoSettings:
    """`address`: a path, a device or a URL, and `format` how to read it where that does not say.
    `live`: it does not wait, so frames that nobody looked at in time are left out; `paced`: a
    recording that is played at its own speed.

    `stream`: the name of its pose frames. `estimator`: of
    `engine.sources.video.estimators.ESTIMATORS`; `model` and `detector`: its files; `people`: at
    most, in a frame. `epoch`: monotonic seconds at which a camera's frames are counted from 0.
    """

    address: str
    stream: str = ""
    model: str = ""
    format: str | None = None
    live: bool = False
    paced: bool = False
    estimator: str = "mediapipe"
    detector: str | None = None
    people: int = 4
    epoch: float = 0.0


def without_password(address: str) -> str:
    """A URL as it may be shown: without who may see it, who it is and by which secret."""
    scheme, separator, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    shown = f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"
    return _SECRET.sub(r"\1…", shown) if separator else shown
