"""Live sources: where pose frames come from, by URI, or as an iterator of one's own.

``SCHEME:REST`` is opened by what is registered as SCHEME under the entry point group
``engine.sources``: a function of REST that returns a `Source`. The path of a video is short for
``video:PATH``. A source yields what
`engine.sources.pose_frames.parse` takes, or `PoseFrame` themselves::

    def shaky(rest):
        def messages(stop):
            while not stop():
                yield {"stream": rest, "frame": …, "t": …, "size": [640, 480], "people": […]}
        return Source(f"shaky:{rest}", messages, live=True)

A function with a second parameter is given what the user says of recorded poses, a `Reading`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from inspect import signature
from pathlib import Path
from typing import Any

from engine.base.addresses import is_video
from engine.base.errors import SourceError, UsageError
from engine.sources.formats.pose_frames import is_messages
from engine.sources.formats.poses import Reading
from engine.sources.pose_frames import PoseFrame

GROUP = "engine.sources"


@dataclass(frozen=True)
class Lost:
    """So many frames that nobody looked at in time, in the source itself."""

    frames: int


Message = PoseFrame | Mapping[str, Any] | bytes | Lost | SourceError
Stop = Callable[[], bool]


@dataclass(frozen=True)
class Source:
    """A place that pose frames come from.

    `messages`: called once, in a thread of its own, with a function that says whether to stop;
    may block for a moment, ends when the source is over. What is no pose frame is counted and
    left out, and so is a `SourceError` among them; what it says is `Lost` is counted, too; any
    other error ends the source. `live`: it does not wait for us, so that its oldest windows are
    left out where the device is too slow; a source that is not is read as fast as it can be
    scored, and nothing of it is left out. `video`: the file whose frames its numbers are, if any.
    """

    name: str
    messages: Callable[[Stop], Iterator[Message]]
    live: bool
    video: str | None = None


def open_source(source: str | Source | Iterable[Message], reading: Reading | None = None) -> Source:
    """A URI, a path, a `Source`, or anything that yields messages (taken as recorded). `reading`:
    what the user says of recorded poses. Raises `UsageError`."""
    if isinstance(source, Source):
        return source
    if not isinstance(source, str):
        if isinstance(source, (Mapping, bytes)) or not isinstance(source, Iterable):
            raise UsageError(
                f"a source is a URI, a Source or an iterator of messages, not a "
                f"{type(source).__name__}; for one message give a list of it"
            )
        if isinstance(source, (list, tuple)) and any(isinstance(item, str) for item in source):
            raise UsageError("several sources: engine.Stream(options, [source, …]) takes them")
        return Source("iterator", lambda stop: iter(source), live=False)
    opener, rest = _opener(source)
    return opener(rest, reading or Reading()) if _reads(opener) else opener(rest)


def heeds(uri: str) -> bool:
    """Whether it matters to a source what the user says of recorded poses. Raises `UsageError`."""
    return _reads(_opener(uri)[0])


def _opener(source: str) -> tuple[Callable[..., Source], str]:
    """What opens a URI or a path, and the rest of it."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    scheme, _, rest = addressed(source, found).partition(":")
    # zmq+pull://host:port and the like keep their slashes
    if scheme not in found:
        known = ", ".join(sorted(found)) or "none: install the package, pip install ."
        if is_video(source) and not rest:
            raise UsageError(f"--source {source}: no such file")
        raise UsageError(f"--source {source}: no source is called {scheme!r}; known: {known}")
    try:
        return found[scheme].load(), rest
    except ImportError as error:
        raise UsageError(
            f"--source {source}: {error}. Install its package: pip install '.[live]'"
        ) from None


def _reads(opener: Callable[..., Source]) -> bool:
    return len(signature(opener).parameters) > 1


def addressed(source: str, schemes: Container[str]) -> str:
    """A path that is there, without a scheme, as the URI that is meant by it; any other one as it
    is."""
    if is_video(source) and Path(source.partition("?")[0]).is_file():
        return f"video:{source}"
    path = Path(source)
    if source.partition(":")[0] in schemes or not path.exists():
        return source
    own = path.suffix.lower() == ".jsonl" and path.is_file() and is_messages(path)
    return f"jsonl:{source}" if own else f"poses:{source}"
