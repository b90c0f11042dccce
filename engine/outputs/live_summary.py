"""The summary of a run over live sources: its figures, for ``--summary``, and the lines printed at
the end."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.base.errors import printable
from engine.base.notes import spelt
from engine.outputs.run_info import LiveRun
from engine.outputs.summary import Summary
from engine.outputs.totals import END_TO_END


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
        "notes": totals.notes.to_json(),
        "labels_per_s": totals.rate,
        "latency_ms": {"median": float(median), "p99": float(p99)},
        "streams": {
            "seen": streams.streams,
            "restarts": windows.restarts,
            "tracked": streams.tracked,
        },
        "frames": {"taken": windows.frames, "late": windows.late, "refused": streams.refused},
        "windows": {
            "made": windows.windows,
            "dropped": streams.dropped,
            "waiting": windows.windows - streams.dropped - totals.done,
        },
        "sources": {name: {**vars(about)} for name, about in run.source_figures.items()},
        "restarts": run.state.figures.restarts,
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
        f"people    tracked in {summary['streams']['tracked']} of {summary['streams']['seen']} "
        "streams; in the others ids, or rows of a file, say who is who",
        f"windows   {windows['made']}, {windows['dropped']} left out for newer ones, "
        f"{windows['waiting']} at the end",
        *(f"noted     {line}" for line in spelt(summary["notes"], "label")),
        *(
            f"source    {printable(name)}: {about['taken']} messages, {about['refused']} refused, "
            f"{about['lost']} lost{_of_empty(about)}"
            f"{', ' + about['error'] if about['error'] else ''}"
            for name, about in summary["sources"].items()
        ),
    ]


def _of_empty(source: dict[str, Any]) -> str:
    """That some videos have no labels because nobody is in them."""
    if not source["empty"]:
        return ""
    first = printable(source["first_empty"])[:80]
    return f", nobody is seen in {source['empty']} of its videos (first: {first})"
