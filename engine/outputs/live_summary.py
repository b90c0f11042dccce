"""The summary of a run over live sources: its figures, for ``--summary``, and the lines printed at
the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from engine.base.errors import printable
from engine.base.notes import spelt
from engine.outputs.run_info import LiveRun
from engine.outputs.summary import Summary
from engine.outputs.totals import END_TO_END

_STREAMS: Final = 5  # that are named


class LiveSummary(Summary[LiveRun]):
    """Of a run over live sources."""

    def _figures(self, run: LiveRun) -> dict[str, Any]:
        return _summarise(run)

    def _lines(self, run: LiveRun, figures: dict[str, Any]) -> list[str]:
        return _lines(figures)


def _summarise(run: LiveRun) -> dict[str, Any]:
    """Latencies are of the last 10,000 labels."""
    totals, windows, streams = run.totals, run.streams.totals(), run.streams.figures
    latencies = totals.latencies.of(END_TO_END)
    median, p99 = np.percentile(latencies, [50, 99]) if latencies else (0, 0)
    return {
        "seconds": totals.seconds,
        "labels": totals.done,
        "failed": totals.failed,
        "notes": totals.notes.to_json(totals.done),
        "labels_per_s": totals.rate,
        "latency_ms": {"median": float(median), "p99": float(p99)},
        "streams": {
            "seen": streams.streams,
            "restarts": windows.restarts,
            "tracked": streams.tracked,
            "unseen": streams.unseen,
            "first_unseen": streams.first_unseen,
        },
        "frames": {"taken": windows.frames, "late": windows.late, "refused": streams.refused},
        "windows": {
            "made": windows.windows,
            "dropped": streams.dropped,
            "waiting": windows.windows - streams.dropped - totals.done,
        },
        "sources": {name: about.to_json() for name, about in run.source_figures.items()},
        "restarts": run.state.figures.restarts,
    }


def _lines(summary: dict[str, Any]) -> list[str]:
    frames, windows, latency = summary["frames"], summary["windows"], summary["latency_ms"]
    return [
        f"labels    {summary['labels']} in {summary['seconds']:.1f} s "
        f"({summary['labels_per_s']:.1f}/s), {summary['failed']} failed",
        f"latency   {latency['median']:.0f} ms median, {latency['p99']:.0f} ms p99, from the last "
        "frame of a window to its label",
        f"streams   {summary['streams']['seen']}, {frames['taken']} frames, "
        f"{frames['late']} late or twice, {summary['streams']['restarts']} restarts",
        f"people    tracked in {summary['streams']['tracked']} of {summary['streams']['seen']} "
        "streams; in the others ids, or rows of a file, say who is who",
        f"windows   {windows['made']}, {windows['dropped']} left out for newer ones, "
        f"{windows['waiting']} at the end",
        *_of_unseen(summary["streams"]),
        *_of_late(frames["late"], frames["taken"]),
        *(f"noted     {line}" for line in spelt(summary["notes"], "label")),
        *(line for name, about in summary["sources"].items() for line in _of_source(name, about)),
    ]


def _of_unseen(streams: dict[str, Any]) -> Iterator[str]:
    """That people were in streams, and nothing was asked about them."""
    if count := streams["unseen"]:
        first = printable(streams["first_unseen"])[:80] or "without a name"
        yield (
            f"noted     {count} stream{'s' * (count != 1)}: people, and no window, as nobody is "
            f"seen in enough of its moments (first: {first}). Does frame count frames, one by one, "
            "and does somebody keep their id?"
        )


def _of_late(late: int, taken: int) -> Iterator[str]:
    """That most of what came was left out."""
    if late > taken / 2:
        yield (
            f"noted     {late} of {taken} frames came late or twice, and were left out: does frame "
            "count the frames of its stream?"
        )


def _of_source(name: str, about: dict[str, Any]) -> Iterator[str]:
    yield (
        f"source    {printable(name)}: {about['taken']} messages, {about['refused']} refused, "
        f"{about['lost']} lost{_of_empty(about)}{', ' + about['error'] if about['error'] else ''}"
    )
    for why, count in about["reasons"].items():
        yield f"refused   {count} of {printable(name)}: {printable(why)}"
    if (rest := about["refused"] - sum(about["reasons"].values())) > 0:
        yield f"refused   {rest} of {printable(name)} for other reasons"
    if unheard := [printable(stream)[:80] or "without a name" for stream in about["unheard"]]:
        named = ", ".join(unheard[:_STREAMS]) + ", …" * (len(unheard) > _STREAMS)
        yield f"refused   all that came of {len(unheard)} streams: {named}"


def _of_empty(source: dict[str, Any]) -> str:
    """That some videos have no labels because nobody is in them."""
    if not source["empty"]:
        return ""
    first = printable(source["first_empty"])[:80]
    return f", nobody is seen in {source['empty']} of its videos (first: {first})"
