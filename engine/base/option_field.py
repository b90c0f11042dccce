"""What an option is besides its name and its type: metadata of its field, and what follows from it.

Comes in: a dataclass whose fields were made by `option`. Goes out: checked values, the files that
they name, and what identifies a run. Nothing here knows an option by name, so that a new one is one
field.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import Field, dataclass, field, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

from engine.base.errors import UsageError

GROUPS = ("input", "live", "model", "device", "processes", "output")

RunKind = Literal["processes", "dataset", "samples", "live", "sources", "averaged"]
"""Kinds of run: with processes of its own, of a data set, of its whole samples, over time, of live
sources, of several clips a sample. A run may be several."""


def parse_bytes(text: str) -> int:
    """A number of bytes: ``1000000``, ``512K``, ``512M``, ``2G`` (powers of 1024)."""
    number, unit = text.strip(), 1
    if number[-1:].upper() in "KMG" and number:
        unit = 1024 ** (1 + "KMG".index(number[-1].upper()))
        number = number[:-1]
    try:
        return int(float(number) * unit)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of bytes such as 512M"
        ) from None


def texts(text: str) -> tuple[str, ...]:
    """Several texts, one a line in a variable."""
    return tuple(part for part in text.split("\n") if part)


def parse_clips(text: str) -> str | int:
    """``all``, ``certain``, ``adaptive``, or a number of clips."""
    return int(text) if re.fullmatch(r"-?\d+", text.strip()) else text


TYPES: dict[Any, tuple[Any, str]] = {
    texts: (tuple, "texts"),
    int: (Integral, "a whole number"),
    parse_bytes: (Integral, "a number of bytes, such as 512M,"),
    parse_clips: ((str, Integral), "all, certain, adaptive or a number"),
    float: (Real, "a number"),
    bool: (bool, "True or False"),
    str: (str, "text"),
}
"""By the kind of an option: the types of its values, and how to call them."""


def one_path(value: str) -> list[str]:
    """A path, as the paths that a value names."""
    return [value]


def keys_below(folder: str) -> list[str]:
    """The files of keys in a folder that may hold others."""
    return [str(path) for depth in ("", "*/") for path in Path(folder).glob(f"{depth}*.key*")]


def comma_separated(value: str) -> list[str]:
    """Several paths."""
    return value.split(",")


def of_uris(uris: Sequence[str]) -> list[str]:
    """The files and folders that URIs of sources name, wherever in them."""
    found: list[str] = []
    for uri in uris:
        _, _, rest = uri.partition(":")
        paths = uri, uri.partition("?")[0], rest, rest.rpartition("@")[0]
        found += [*paths, *re.split("[?&=]", rest)]
    return [path for path in found if path and Path(path).exists()]


@dataclass(frozen=True)
class About:
    """The metadata of an option. All are optional but the first two.

    `kind`: a key of `TYPES`, which makes a value of a text. `bare`: the value of a flag without
    one. `within`: the least and the most of a number. `only`: the one kind of run that it has an
    effect in (`engine.base.run_kinds`); in others its flag is refused and its variable passed over.
    `needs`: options without any of which it has no effect either, perhaps with the value that it
    takes. `dump`: whether ``--dump-bin``
    heeds it. `cluster`: whether a run on a cluster may have it. `reads`: the paths in its value
    that the run reads, or names of published files. `writes`: what the run makes of its value: a
    whole file; a file that may be a device or a pipe as well (line by line), of results in a format
    that its ending says, or not; or a folder. `identity`: the attribute that a run must have in
    common with the one that it resumes.
    """

    group: str
    help: str
    kind: Callable[[str], Any] = str
    metavar: str | None = None
    bare: str | None = None
    choices: Sequence[str] | None = None
    within: tuple[float, float] = (1, 10**15)
    only: RunKind | None = None
    needs: tuple[str, ...] = ()
    dump: bool = False
    cluster: bool = True
    reads: Callable[[Any], list[str]] | None = None
    writes: Literal["file", "lines", "results", "folder"] | None = None
    identity: str | None = None

    def __post_init__(self) -> None:
        assert self.group in GROUPS
        assert self.kind in TYPES


def option(group: str, default: Any, help: str, **more: Any) -> Any:
    """A field of `Options`; `more`: of `About`. Its kind is the default's type, or text, where
    nothing else is said."""
    kind = str if default is None else type(default)
    return field(default=default, metadata={"about": About(group, help, **{"kind": kind, **more})})


def about(f: Field[Any]) -> About:
    """What an option is."""
    found: About = f.metadata["about"]
    return found


def flag(name: str) -> str:
    """An option's name on the command line."""
    return "--" + name.replace("_", "-")


def check_values(options: Any) -> None:
    """Raise `UsageError` for a value that is of another type, out of range or no choice. A path
    becomes text."""
    for f in fields(options):
        value, what = getattr(options, f.name), about(f)
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
            object.__setattr__(options, f.name, value)
        wanted, noun = TYPES[what.kind]
        if not (isinstance(value, wanted) or (value is None and f.default is None)):
            raise UsageError(f"{flag(f.name)} {value!r}: {noun} is needed")
        least, most = what.within
        if isinstance(value, (int, float)) and what.kind is not bool:
            if not value >= least:
                raise UsageError(f"{flag(f.name)} {value}: must be at least {least}")
            if not value <= most:
                raise UsageError(f"{flag(f.name)} {value}: must be at most {most:,}")
        if what.choices and value is not None and value not in what.choices:
            known = ", ".join(what.choices)
            raise UsageError(f"{flag(f.name)} {value!r}: choose from {known}")


def names_read(options: Any) -> Iterator[tuple[str, str]]:
    """Flags that name what a run reads, and the names."""
    for f in fields(options):
        value, reads = getattr(options, f.name), about(f).reads
        if reads is not None and value:
            yield from ((flag(f.name), name) for name in reads(value) if name)


def files_written(options: Any) -> Iterator[tuple[Field[Any], str]]:
    """Options that name a file to be written, and the files."""
    for f in fields(options):
        value = getattr(options, f.name)
        if about(f).writes not in (None, "folder") and value is not None:
            yield f, value


def identity_of(options: Any) -> dict[str, Any]:
    """What options say of a run that must be the same for records to belong together."""
    names = [name for f in fields(options) if (name := about(f).identity) is not None]
    return {name: getattr(options, name) for name in names}
