"""``python -m engine.sources.video.estimation``: looks at one video and says whom it sees.

Comes in: `VideoSettings` as the first line of standard input, whose end is this process's end too.
Goes out: pose frames as `engine.sources.pose_frames` has them, one a line of standard output;
between them ``{"lost": n}`` and ``{"bad": n}``, frames that nobody looked at in time or that could
not be decoded; last, where something is wrong, ``{"error": text}``.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import IO, Any

import orjson

from engine.base.errors import EngineError
from engine.sources.pose_frames import VERSION
from engine.sources.video.capture import Capture, Picture
from engine.sources.video.estimators import ESTIMATORS, Estimator
from engine.sources.video.settings import VideoSettings


def main() -> int:
    """Returns the exit code: 0 at the video's end, 1 after an error."""
    output = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # libraries that print do not print among the lines
    # Unbuffered: a library may fork, and the lock of a buffer that a thread reads would be held
    # there for ever.
    told = os.fdopen(os.dup(0), "rb", buffering=0)
    settings = VideoSettings(**orjson.loads(told.readline()))
    threading.Thread(target=_end_with_parent, args=(told,), daemon=True).start()
    try:
        for line in _look(settings):
            output.write(_spelt(line))
    except BrokenPipeError:
        return 0
    except EngineError as error:
        output.write(_spelt({"error": str(error)}))
        return 1
    return 0


def _look(settings: VideoSettings) -> Iterator[dict[str, Any]]:
    estimator = ESTIMATORS[settings.estimator](settings)
    with closing(Capture(settings)) as capture:
        lost = bad = 0
        held: dict[str, Any] | None = None  # of a recording, to be marked if it is the last
        for picture in capture:
            if held is not None:
                yield held
            line = _frame(settings, capture, picture, estimator)
            if settings.live:
                yield line
            else:
                held = line
            if capture.lost > lost:
                yield {"lost": capture.lost - lost}
            if capture.bad > bad:
                yield {"bad": capture.bad - bad}
            lost, bad = capture.lost, capture.bad
        if held is not None:
            yield held | {"end": True}


def _frame(
    settings: VideoSettings, capture: Capture, picture: Picture, estimator: Estimator
) -> dict[str, Any]:
    height, width = picture.pixels.shape[:2]
    return {
        "v": VERSION,
        "stream": settings.stream,
        "frame": picture.number,
        "t": picture.t,
        "size": [width, height],
        "rate": capture.rate,
        "people": [{"id": None, "kpts": kpts} for kpts in estimator(picture.pixels)],
    }


def _spelt(line: dict[str, Any]) -> bytes:
    return orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)


def _end_with_parent(told: IO[bytes]) -> None:
    told.read()
    os._exit(0)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # threads of cameras and of libraries are not waited for
