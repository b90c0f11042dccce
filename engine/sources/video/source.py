"""Videos and cameras as sources: a pose estimator finds people in them, in its own process.

* ``video:FILE``: read as fast as it can be scored; ``video:FILE?live`` plays it as a camera would.
* ``webcam:0``: the first camera (``/dev/video0``).
* ``rtsp://…``, ``rtmp://…``, ``http://…``, ``https://…``: a camera of the network. Of the latter
  two an address that ends as a video file does (``…/a.mp4``) is a recording, and is read as one.

After a question mark, separated by ``&``: ``estimator=mediapipe`` (or ``rtmlib``),
``model=FILE``, ``detector=FILE`` and ``people=N`` (`engine.sources.video.settings`).
"""

from __future__ import annotations

import importlib.util
import time
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from engine.base.addresses import is_video
from engine.base.assets import Asset, locate
from engine.base.errors import UsageError, printable
from engine.sources.pose_frames import MAX_NAME, MAX_PEOPLE
from engine.sources.source import Source
from engine.sources.video.settings import VideoSettings, without_password
from engine.sources.video.watcher import watch

_ESTIMATORS = ("mediapipe", "rtmlib")  # each a package of that name
_POSE_LANDMARKER: Final = Asset(
    "MediaPipe's pose model (?model=FILE names another one)",
    "pose_landmarker_lite.task",
    "https://storage.googleapis.com/mediapipe-models/pose_landmarker/pose_landmarker_lite/"
    "float16/latest/pose_landmarker_lite.task",
)
_KEYS = {"estimator", "model", "detector", "people"}


def video(rest: str) -> Source:
    """``video:FILE``."""
    path, given = _split(f"video:{rest}", rest, _KEYS | {"live"})
    if not Path(path).is_file():
        raise UsageError(f"video:{path}: no such file")
    live = "live" in given
    return _source(
        f"video:{path}", given, address=path, stream=Path(path).stem, live=live, paced=live
    )


def webcam(rest: str) -> Source:
    """``webcam:0``, ``webcam:/dev/video2``."""
    device, given = _split(f"webcam:{rest}", rest, _KEYS)
    path = f"/dev/video{device}" if device.isdecimal() else device
    if not Path(path).exists():
        raise UsageError(f"webcam:{device}: there is no {path}")
    return _source(
        f"webcam:{device}", given, address=path, stream=f"webcam{device}", format="v4l2", live=True
    )


def _of_network(scheme: str, rest: str) -> Source:
    """``SCHEME://HOST/PATH``; what is not ours after the question mark is the camera's."""
    path, given = _split(without_password(f"{scheme}:{rest}"), rest, None)
    address = f"{scheme}:{path}"
    if not urlsplit(address).hostname:
        raise UsageError(f"--source {without_password(address)}: {scheme}://HOST/PATH is needed")
    name = without_password(address)
    live = not (scheme in ("http", "https") and is_video(address))
    stream = name.removeprefix(f"{scheme}://")
    return _source(name, given, address=address, stream=stream, live=live)


rtsp = partial(_of_network, "rtsp")
rtmp = partial(_of_network, "rtmp")
http = partial(_of_network, "http")
https = partial(_of_network, "https")


def _source(name: str, given: dict[str, str], *, stream: str, **about: Any) -> Source:
    estimator = given.get("estimator", "mediapipe")
    if estimator not in _ESTIMATORS:
        known = ", ".join(_ESTIMATORS)
        raise UsageError(f"--source {name}: estimator={estimator}; known: {known}")
    for package in ("av", estimator):
        if importlib.util.find_spec(package) is None:
            raise UsageError(f"--source {name} needs {package}: pip install '.[live,video]'")
    people = given.get("people", "4")
    if not people.isdecimal() or not 1 <= int(people) <= MAX_PEOPLE:
        raise UsageError(f"--source {name}: people={people}; a number from 1 to {MAX_PEOPLE}")
    settings = VideoSettings(
        stream=printable(stream)[:MAX_NAME],
        estimator=estimator,
        model=_model(name, given),
        detector=given.get("detector"),
        people=int(people),
        epoch=time.monotonic(),
        **about,
    )
    file = None if settings.live and not settings.paced else settings.address
    return Source(name, partial(watch, settings, name), settings.live, file)


def _model(name: str, given: dict[str, str]) -> str:
    """The estimator's model file, which is there, as is its detector. Raises `UsageError`."""
    if "model" not in given:
        if given.get("estimator") == "rtmlib":
            raise UsageError(
                f"--source {name}: estimator=rtmlib needs model=RTMO.onnx, or "
                "model=RTMPOSE.onnx&detector=YOLOX.onnx"
            )
        return str(locate(_POSE_LANDMARKER))
    for key in ("model", "detector"):
        if key in given and not Path(given[key]).is_file():
            raise UsageError(f"--source {name}: {key}={given[key]}: no such file")
    return given["model"]


def _split(name: str, rest: str, known: set[str] | None) -> tuple[str, dict[str, str]]:
    """The address, and what is said after its question mark. Without `known`, what we do not know
    stays in the address."""
    address, _, query = rest.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    given = {key: value for key, value in pairs if key in (known or _KEYS)}
    others = [(key, value) for key, value in pairs if key not in given]
    if known is None:
        return f"{address}?{urlencode(others)}" if others else address, given
    if others:
        unknown, wanted = ", ".join(key for key, _ in others), ", ".join(sorted(known))
        raise UsageError(f"--source {name}: unknown {unknown}; known: {wanted}")
    return address, given
