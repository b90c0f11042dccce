"""Listening: what ``python -m engine.run --source URI`` does.

Comes in: `Options`. Goes out: labels, as JSON lines in ``--output``'s file and, where one changes,
as a line for people; figures at the end.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import orjson
import zmq

from engine.base.addresses import tcp_endpoint
from engine.base.curve import Authenticator, Listening
from engine.base.errors import UsageError, printable
from engine.base.files import append_whole, guarded, is_stream, open_lines, write_json
from engine.base.options import Options
from engine.base.signals import interruptible
from engine.live.labels import Label
from engine.livestream import Stream
from engine.outputs.dashboard import open_screen
from engine.outputs.prometheus import Exposition
from engine.sources.dataset import open_dataset
from engine.sources.recorded import recorded
from engine.sources.sockets import admitting
from engine.sources.source import Source

if TYPE_CHECKING:
    from engine.outputs.overlay import Drawing

_NOT_LIVE = ("scores", "logits", "report", "resume", "listen")
_LATENCIES = 10_000  # of the latest labels


def listen(options: Options) -> int:
    """Label sources until they are over. Returns the exit code: 130 where it was interrupted, 3
    where a source ended by an error or a window could not be scored."""
    for name in _NOT_LIVE:
        if getattr(options, name) is not None:
            raise UsageError(f"--{name} is for a data set's samples; --output has the labels")
    sources: list[str | Source] = list(options.source)
    if options.windows:
        if sources:
            raise UsageError("--windows cuts the videos of --dataset; a --source is cut anyway")
        data = open_dataset(options.dataset, options.ann_file, options.split, options.limit)
        sources = [recorded(data.name, data.samples)]
    with ExitStack() as stack:
        interruption = stack.enter_context(interruptible())
        screen = stack.enter_context(open_screen(options))
        if screen is not None:
            sources = [admitting(source, screen.origins) for source in sources]
        publisher = exposition = None
        if options.publish is not None:
            publisher = stack.enter_context(Publisher(options.publish, options.keys))
        if options.metrics is not None:
            exposition = stack.enter_context(Exposition(options.metrics))
        stream = stack.enter_context(Stream(options, sources))
        interruption.pipeline = stream
        _announce(stream)
        if publisher is not None:
            print(f"publish   {publisher.endpoint}", flush=True)
        followed = None if screen is None else screen.follow(stream)
        drawing = None if options.save_video is None else _drawing(stream)
        lines = None
        if options.output is not None:
            lines = stack.enter_context(open_lines(Path(options.output)))
            if not is_stream(Path(options.output)):
                lines.truncate(0)  # what an earlier run wrote there
        tally = _Tally(stream)
        if exposition is not None:
            exposition.follow(stream)
        shown: dict[tuple[str, Any], str | None] = {}
        for label in stream:
            tally.add(label)
            line = label_json(label)
            if lines is not None:
                _write(Path(options.output or ""), lines, line)
            if publisher is not None:
                publisher.send(label.stream, line)
            if exposition is not None:
                exposition.add(label)
            if drawing is not None:
                drawing.add_label(label)
            if followed is not None:
                followed.add(label)
            key = label.stream, label.who
            if label.error is None and shown.get(key, "") != label.name:
                shown[key] = label.name
                print(spelt(label), flush=True)
        summary = tally.summary()
    print("\n".join(_lines(summary)), flush=True)
    if drawing is not None:
        drawing.write(Path(options.save_video or ""))
    if options.summary is not None:
        write_json(Path(options.summary), summary)
    if stream.interrupted:
        return 130
    errors = [about["error"] for about in summary["sources"].values()]
    return 3 if any(errors) or summary["failed"] else 0


def _drawing(stream: Stream) -> Drawing:
    """Told of every frame from now on. Raises `UsageError`."""
    files = [source.video for source in stream.sources]
    if len(files) != 1 or files[0] is None:
        raise UsageError("--save-video draws over the one video of --source video:FILE")
    from engine.outputs.overlay import Drawing

    drawing = Drawing(files[0])
    stream.streams.watchers.append(drawing.add_frame)
    return drawing


def label_json(label: Label) -> bytes:
    """A label as a JSON line."""
    option = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(_fields(label), option=option)


def _fields(label: Label) -> dict[str, Any]:
    line = {name: getattr(label, name) for name in ("stream", "who", "t", "first", "last")}
    if label.error is not None:
        return {**line, "error": label.error}
    line |= {"label": label.label, "name": label.name, "score": round(label.score, 6)}
    return {**line, "scores": label.scores, "latency_ms": round(label.latency_ms, 1)}


def spelt(label: Label) -> str:
    """A label as a line for people."""
    who = "" if label.who is None else f" {label.who}"
    what = "no action" if label.name is None else f"{label.name} {label.score:.2f}"
    return f"{printable(label.stream)}{who}  {label.t:.2f} s  {what}  ({label.latency_ms:.0f} ms)"


def _write(path: Path, lines: IO[bytes], line: bytes) -> None:
    guarded(path, partial(append_whole, lines, line, stream=is_stream(path)))


def _announce(stream: Stream) -> None:
    model, facts = stream.setup.model, stream.facts
    for source in stream.sources:
        print(f"source    {printable(source.name)}{' (live)' if source.live else ''}")
    print(f"model     {printable(model.path)}: {len(model.classes)} classes, layout {model.layout}")
    print(
        f"backend   {stream.setup.backend_name}: {facts.runtime} on {facts.device}, "
        f"{facts.precision}",
        flush=True,
    )


class Publisher:
    """A PUB socket: whoever subscribes gets what is sent from then on, and holds up nobody."""

    def __init__(self, address: str, keys: str | None) -> None:
        listening = Listening.of(address, keys, "--publish")
        self._stack = ExitStack()
        context: zmq.Context[Any] = self._stack.enter_context(zmq.Context())
        if listening.keys is not None:
            self._stack.callback(Authenticator(context, listening.keys).close)
        self._socket: zmq.Socket[bytes] = self._stack.enter_context(context.socket(zmq.PUB))
        self._socket.setsockopt(zmq.LINGER, 1000)
        port = listening.bind(self._socket, listening.port)
        self.endpoint = tcp_endpoint(listening.host, port)

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def send(self, stream: str, data: bytes) -> None:
        """Publish a label under its stream's name."""
        self._socket.send_multipart([stream.encode(), data])


class _Tally:
    """What a run came to."""

    def __init__(self, stream: Stream) -> None:
        self._stream, self._begun = stream, time.monotonic()
        self._labels = self._failed = 0
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)

    def add(self, label: Label) -> None:
        self._labels += 1
        self._failed += label.error is not None
        self._latencies.append(label.latency_ms)

    def summary(self) -> dict[str, Any]:
        """JSON types only."""
        stream, seconds = self._stream, time.monotonic() - self._begun
        totals, streams = stream.streams.totals(), stream.streams.figures
        percentiles = np.percentile(self._latencies, [50, 99]) if self._latencies else [0, 0]
        return {
            "seconds": seconds,
            "labels": self._labels,
            "failed": self._failed,
            "labels_per_s": self._labels / seconds,
            "latency_ms": {"median": float(percentiles[0]), "p99": float(percentiles[1])},
            "streams": {"seen": streams.streams, "restarts": totals.restarts},
            "frames": {"taken": totals.frames, "late": totals.late, "refused": streams.refused},
            "windows": {
                "made": totals.windows,
                "dropped": streams.dropped,
                "waiting": totals.windows - streams.dropped - self._labels,
            },
            "sources": {name: vars(about) for name, about in stream.supply.figures.items()},
            "restarts": stream.figures.restarts,
        }


def _lines(summary: dict[str, Any]) -> list[str]:
    frames, windows, latency = summary["frames"], summary["windows"], summary["latency_ms"]
    return [
        f"labels    {summary['labels']} in {summary['seconds']:.1f} s "
        f"({summary['labels_per_s']:.1f}/s), {summary['failed']} failed",
        f"latency   {latency['median']:.0f} ms median, {latency['p99']:.0f} ms p99, from the last "
        "frame of a window to its label",
        f"streams   {summary['streams']['seen']}, {frames['taken']} frames, {frames['late']} late, "
        f"{summary['streams']['restarts']} restarts",
        f"windows   {windows['made']}, {windows['dropped']} left out for newer ones, "
        f"{windows['waiting']} at the end",
        *(
            f"source    {printable(name)}: {about['taken']} messages, {about['refused']} refused, "
            f"{about['lost']} lost{', ' + about['error'] if about['error'] else ''}"
            for name, about in summary["sources"].items()
        ),
    ]
