"""The overlay: a video with the skeletons, ids and labels of those in it, for ``--save-video``.

Comes in: pose frames with ids, and labels, while they are made. Goes out: an MP4 file (H.264), in a
second pass over the video when all labels are known.
"""

from __future__ import annotations

import bisect
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import IO

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from engine.base.choices import Who
from engine.base.errors import UsageError
from engine.base.files import write_atomically
from engine.base.progress import SampleProgress
from engine.live.labels import Label
from engine.outputs.output import LiveOutput
from engine.outputs.picture import COLOURS
from engine.outputs.run_info import LiveRun
from engine.skeletons.joints import BONES
from engine.sources.pose_frames import Person, PoseFrame
from engine.sources.video.capture import Capture
from engine.sources.video.settings import VideoSettings

Pixels = NDArray[np.uint8]

_SEEN = 0.3  # score of a joint that is drawn
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TIME_BASE = Fraction(1, 90_000)  # seconds, of the file's time stamps


class VideoOverlay(LiveOutput):
    """Draws over the one video that is the run's source, up to the last frame that somebody has
    looked at; writes nothing where there is none."""

    def __init__(self, target: Path) -> None:
        self.path: Path = target
        self._video = ""  # of the video
        self._people: dict[int, tuple[Person, ...]] = {}
        self._labels: dict[Who, list[tuple[int, str]]] = {}
        self._colours: dict[Who, tuple[int, int, int]] = {}

    def begin(self, run: LiveRun) -> None:
        """Raises `UsageError` where there is not just one video."""
        videos = [source.video for source in run.sources]
        if len(videos) != 1 or videos[0] is None:
            raise UsageError("--save-video draws over the one video of --source video:FILE")
        self._video = videos[0]
        run.streams.watchers.append(self._add_frame)

    def record(self, record: Label) -> None:
        text = f"{record.name} {record.score:.2f}" if record.name is not None else ""
        self._labels.setdefault(record.who, []).append((record.last, text))

    def end(self) -> None:
        """Raises `OutputError`, and `SourceError` where the video can no longer be read."""
        if self._people:
            write_atomically(self.path, self._encode)

    def label_at(self, who: Who, number: int) -> str:
        """What a frame says of somebody: the label of the first window that ends with it or after
        it, so that each frame has been looked at before it is labelled."""
        labels = self._labels.get(who, [])
        at = bisect.bisect_left(labels, number, key=lambda label: label[0])
        return labels[at][1] if at < len(labels) else ""

    def _add_frame(self, frame: PoseFrame) -> None:
        self._people[frame.frame] = frame.people

    def _encode(self, target: IO[bytes]) -> None:
        settings = VideoSettings(self._video)
        last = max(self._people)
        with (
            closing(Capture(settings)) as capture,
            av.open(target, "w", format="mp4") as container,
            SampleProgress("frames drawn", last + 1) as progress,
        ):
            stream = None
            for picture in capture:
                if picture.number > last:
                    break
                height, width = (side // 2 * 2 for side in picture.pixels.shape[:2])
                if stream is None:
                    stream = container.add_stream("libx264", rate=round(capture.rate))
                    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                    stream.time_base = stream.codec_context.time_base = _TIME_BASE
                    stream.options = {"preset": "veryfast", "crf": "20"}
                elif (stream.height, stream.width) != (height, width):
                    break  # the video goes on in another size, which no file of ours can hold
                self._draw(picture.pixels, picture.number)
                drawn = np.ascontiguousarray(picture.pixels[:height, :width])
                frame = av.VideoFrame.from_ndarray(drawn, format="rgb24")
                frame.pts, frame.time_base = round(picture.t / _TIME_BASE), _TIME_BASE
                container.mux(stream.encode(frame))
                progress.update(picture.number + 1)
            if stream is not None:
                container.mux(stream.encode())

    def _draw(self, pixels: Pixels, number: int) -> None:
        for person in self._people.get(number, ()):
            colour = self._colours.setdefault(person.id, COLOURS[len(self._colours) % len(COLOURS)])
            draw_skeleton(pixels, person.kpts, colour)
            text = f"{person.id} {self.label_at(person.id, number)}".strip()
            _write(pixels, text, _above(person.kpts, pixels), colour)
        if None in self._labels:
            _write(pixels, self.label_at(None, number), (0, 0), (255, 255, 255))


def draw_skeleton(pixels: Pixels, kpts: NDArray[np.float32], colour: tuple[int, int, int]) -> None:
    """Draw joints [17, 3] and what they join over a picture, RGB uint8 [height, width, 3]."""
    thick = max(1, pixels.shape[0] // 240)
    points = [tuple(int(side) for side in at) for at in kpts[:, :2]]
    seen = kpts[:, 2] >= _SEEN
    for start, end in BONES:
        if seen[start] and seen[end]:
            cv2.line(pixels, points[start], points[end], colour, thick, cv2.LINE_AA)
    for point in (points[joint] for joint in np.flatnonzero(seen)):
        cv2.circle(pixels, point, thick + 1, colour, -1, cv2.LINE_AA)


def _above(kpts: NDArray[np.float32], pixels: Pixels) -> tuple[int, int]:
    """Where somebody's text begins."""
    seen = kpts[kpts[:, 2] >= _SEEN, :2] if (kpts[:, 2] >= _SEEN).any() else kpts[:, :2]
    x, y = (int(side) for side in seen.min(axis=0))
    return x, y - pixels.shape[0] // 12


def _write(
    pixels: Pixels, text: str, corner: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    """Text on a box of its own, wholly within the picture where it fits."""
    height, width = pixels.shape[:2]
    scale, thick = max(0.35, height / 900), max(1, height // 450)
    (long, high), below = cv2.getTextSize(text, _FONT, scale, thick)
    x = max(0, min(corner[0], width - long))
    y = max(0, min(corner[1], height - high - below))
    if text:
        cv2.rectangle(pixels, (x, y), (x + long, y + high + below), (0, 0, 0), -1)
        cv2.putText(pixels, text, (x, y + high), _FONT, scale, colour, thick, cv2.LINE_AA)
