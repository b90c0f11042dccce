"""What the process of a pose estimator is told, as JSON on its standard input."""

from __future__ import annotations

from dataclasses import dataclass


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
    """A URL as it may be shown: without who may see it."""
    scheme, separator, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"
