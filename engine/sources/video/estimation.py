"""``python -m engine.sources.video.estimation PARENT``: finds the people in one video.

Comes in: `VideoSettings` on standard input, and the process that wants them as an argument.
Goes out: pose frames as `engine.sources.pose_frames` has them, one a line of standard output;
between them ``{"lost": n}`` and ``{"bad": n}``, frames that nobody looked at in time or that could
not be decoded; last, where something is wrong, ``{"error": text}``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import orjson

from engine.base.errors import EngineError
from engine.base.subprocesses import end_with
from engine.sources.pose_frames import VERSION
from engine.sources.video.capture import Capture, Picture
from engine.sources.video.estimators import ESTIMATORS, Estimator
from engine.sources.video.settings import VideoSettings


def main() -> int:
    """Returns the exit code: 0 at the video's end, 1 after an error."""
    output = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # libraries that print do not print among the lines
    end_with(int(sys.argv[1]))
    settings = VideoSettings(**orjson.loads(sys.stdin.buffer.read()))
    try:
        for line in _estimate(settings):
            output.write(_json_line(line))
    except BrokenPipeError:
        return 0
    except EngineError as error:
        output.write(_json_line({"error": str(error)}))
        return 1
    return 0


def _estimate(settings: VideoSettings) -> Iterator[dict[str, Any]]:
    estimator = ESTIMATORS[settings.estimator](settings)
    with closing(Capture(settings)) as capture:
        lost = bad = 0
        held: dict[str, Any] | None = None  # of a recording, to be marked if it is the last
        for picture in capture:
            if held is not None:
                yield held
            line = _pose_frame(settings, capture, picture, estimator)
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


def _pose_frame(
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


def _json_line(line: dict[str, Any]) -> bytes:
    return orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # threads of cameras and of libraries are not waited for
