"""Fusion: the scores of several networks for the same samples as one, such as of joints and limbs.

Comes in: archives of scores (`engine.outputs.archive`) and a weight each. Goes out: an archive of
their weighted mean, as the papers of PoseC3D fuse streams.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import UsageError
from engine.outputs.archive import UNKNOWN, ScoreArchive

_SHOWN = 3  # ids of a difference


@dataclass(frozen=True, eq=False)
class Fusion:
    """`streams` under their `names` and with their `weights`: all have the samples of `fused`, in
    its order, and what any of them knows of labels and classes. `left_out`: samples that only some
    had."""

    names: tuple[str, ...]
    streams: tuple[ScoreArchive, ...]
    weights: tuple[float, ...]
    fused: ScoreArchive
    left_out: int


def fuse_scores(
    archives: Sequence[str | os.PathLike[str] | ScoreArchive],
    weights: Sequence[float] | None = None,
    *,
    common: bool = False,
) -> ScoreArchive:
    """The weighted mean of the scores of several networks, sample by sample.

    `archives`: two or more files that ``--scores`` wrote, or `ScoreArchive` objects. Samples are
    matched by id and come out in the order of the first one. `weights`: one an archive, not
    negative (default: equal); only their ratios count. `common`: leave out samples that are not in
    all archives, which are refused otherwise. Computed is ``sum(w * scores) / sum(w)`` in float64,
    rounded once to float32.

    Raises `UsageError` for archives or weights that do not fit together, and `DatasetError` for a
    file that is no such archive.
    """
    return fuse(archives, weights, common=common).fused


def fuse(
    archives: Sequence[str | os.PathLike[str] | ScoreArchive],
    weights: Sequence[float] | None = None,
    *,
    common: bool = False,
) -> Fusion:
    """As `fuse_scores`, with the streams beside what becomes of them."""
    if isinstance(archives, (str, os.PathLike, ScoreArchive)) or len(archives) < 2:
        raise UsageError("there is nothing to be fused; name two archives or more, in a list")
    names = tuple(
        f"archive {number}" if isinstance(archive, ScoreArchive) else os.fspath(archive)
        for number, archive in enumerate(archives, 1)
    )
    weights = [1.0] * len(archives) if weights is None else weights
    shares = _shares(weights, len(archives))
    streams = [a if isinstance(a, ScoreArchive) else ScoreArchive.read(Path(a)) for a in archives]
    classes = _classes(names, streams)
    streams, left_out = _aligned(names, streams, common=common)
    labels = _labels(names, streams)
    mean = sum(w * s.scores.astype(np.float64) for w, s in zip(shares, streams, strict=True))
    fused = np.asarray(mean / sum(shares), np.float32)
    ids = streams[0].ids
    return Fusion(
        names,
        tuple(ScoreArchive(ids, stream.scores, labels, classes) for stream in streams),
        tuple(weights),
        ScoreArchive(ids, fused, labels, classes),
        left_out,
    )


def _shares(weights: Sequence[float], count: int) -> list[float]:
    """Weights over the largest of them, so that no sum overflows."""
    if isinstance(weights, str) or not all(isinstance(weight, Real) for weight in weights):
        raise UsageError(f"weights {weights!r:.80}: a list of numbers is needed")
    if len(weights) != count:
        raise UsageError(f"{len(weights)} weights for {count} archives; one each is needed")
    if not all(math.isfinite(w) and w >= 0 for w in weights) or not any(weights):
        spelt = ",".join(f"{w:g}" for w in weights)
        raise UsageError(
            f"weights {spelt}: finite numbers are needed, none negative and not all zero"
        )
    return [weight / max(weights) for weight in weights]


def _classes(names: Sequence[str], streams: Sequence[ScoreArchive]) -> tuple[str, ...] | None:
    """The names of the classes; ``class_N``, of a model that knows none, gives way to a name.
    Raises `UsageError` where archives differ."""
    found: list[str] | None = None
    first = names[0]
    for name, stream in zip(names, streams, strict=True):
        counts = streams[0].scores.shape[1], stream.scores.shape[1]
        if counts[0] != counts[1]:
            raise UsageError(f"{names[0]} has {counts[0]} classes, {name} {counts[1]}")
        if found is None:
            found, first = None if stream.classes is None else list(stream.classes), name
            continue
        for number, other in enumerate(stream.classes or ()):
            nameless = f"class_{number}"
            if found[number] == nameless:
                found[number] = other
            elif other not in (found[number], nameless):
                raise UsageError(
                    f"class {number} is {found[number]!r:.60} in {first} and {other!r:.60} in "
                    f"{name}: scores of different classes cannot be fused"
                )
    return None if found is None else tuple(found)


def _aligned(
    names: Sequence[str], streams: Sequence[ScoreArchive], *, common: bool
) -> tuple[list[ScoreArchive], int]:
    """The archives with the same samples in the order of the first, and how many that leaves out.
    Raises `UsageError` where some have samples that others lack, unless `common`."""
    everywhere = set(streams[0].ids.tolist()).intersection(*(s.ids.tolist() for s in streams[1:]))
    anywhere = dict.fromkeys(name for stream in streams for name in stream.ids.tolist())
    left_out = len(anywhere) - len(everywhere)
    if not everywhere:
        raise UsageError(f"{' and '.join(names)} have no sample in common")
    if left_out and not common:
        lacking = (_lacking(n, s, list(anywhere)) for n, s in zip(names, streams, strict=True))
        raise UsageError(
            f"{'; '.join(filter(None, lacking))}. (A sample that failed is in no archive.) "
            f"--common goes on with the {len(everywhere)} that all have"
        )
    order = [name for name in streams[0].ids.tolist() if name in everywhere]
    return [_ordered(stream, order) for stream in streams], left_out


def _lacking(name: str, stream: ScoreArchive, wanted: Sequence[str]) -> str:
    """What an archive does not have, in words."""
    has = set(stream.ids.tolist())
    lacks = [one for one in wanted if one not in has]
    if not lacks:
        return ""
    shown = ", ".join(f"{one:.60}" for one in lacks[:_SHOWN])
    more = ", …" if len(lacks) > _SHOWN else ""
    return f"{name} lacks {len(lacks)} of {len(wanted)} samples ({shown}{more})"


def _ordered(stream: ScoreArchive, order: Sequence[str]) -> ScoreArchive:
    rows = {name: row for row, name in enumerate(stream.ids.tolist())}
    chosen = [rows[name] for name in order]
    return ScoreArchive(
        stream.ids[chosen], stream.scores[chosen], stream.labels[chosen], stream.classes
    )


def _labels(names: Sequence[str], streams: Sequence[ScoreArchive]) -> NDArray[np.int64]:
    """The labels that any of the archives knows. Raises `UsageError` where two differ."""
    labels = streams[0].labels.astype(np.int64)
    for name, stream in zip(names[1:], streams[1:], strict=True):
        differ = (labels != stream.labels) & (labels != UNKNOWN) & (stream.labels != UNKNOWN)
        if differ.any():
            row = int(differ.argmax())
            first = next(n for n, s in zip(names, streams, strict=True) if s.labels[row] != UNKNOWN)
            raise UsageError(
                f"{str(stream.ids[row])!r:.80} has label {labels[row]} in {first} and "
                f"{stream.labels[row]} in {name} ({int(differ.sum())} such samples): these are not "
                "scores of the same data"
            )
        labels = np.where(labels == UNKNOWN, stream.labels, labels)
    return labels
