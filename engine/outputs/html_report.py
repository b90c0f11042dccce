"""The report: one self-contained HTML file about a run, for people.

Comes in: a run and its totals. Goes out: the file that ``--report`` names. ``report.html`` beside
this module draws; what it draws is computed here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from engine.base.errors import printable
from engine.base.files import write_atomically
from engine.base.notes import spelt
from engine.base.records import STAGES, Prediction
from engine.outputs.accuracy import top_classes
from engine.outputs.output import DatasetOutput
from engine.outputs.run_info import DatasetRun
from engine.outputs.summary import summarise
from engine.outputs.totals import SampleTotals
from engine.skeletons.poses import PoseSequence

_QUANTILES = (5, 25, 50, 75, 95)
_RIGHT, _WRONG = 6, 2  # samples shown in motion
_MAX_FRAMES = 60
_MAX_FAILURES = 50
_RATE = 30.0  # frames a second that a video is taken to have


class HtmlReport(DatasetOutput):
    """Writes the report when the run ends."""

    def __init__(self, path: Path) -> None:
        self.path: Path = path

    def begin(self, run: DatasetRun) -> None:
        self._run = run

    def end(self) -> None:
        run, totals, names = self._run, self._run.totals, self._run.model.classes
        samples, recipe = run.dataset.samples, run.model.recipe
        data = {
            "summary": summarise(run),
            "classes": _by_class(totals, names),
            "confusion": _confusion(totals, names),
            "throughput": _throughput(totals),
            "latency": _latency(totals.scored),
            "states": _shares(run.state.figures.states or {"all in one process": 1.0}),
            "samples": [
                in_motion(p, samples[p.index].poses(len(names), recipe), names)
                for p in _chosen(totals.predictions)
            ],
            "failures": [
                {"id": f.id, "stage": f.stage, "type": f.type, "message": f.message[:500]}
                for f in totals.failures[:_MAX_FAILURES]
            ],
            "noted": spelt(totals.notes.to_json(totals.done), "sample"),
            "lacks": run.dataset.lacks,
            "finished": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        }
        # Inside a script element nothing but "<" could end the data.
        text = orjson.dumps(data).replace(b"<", b"\\u003c")
        template = files("engine.outputs").joinpath("report.html").read_bytes()
        page = template.replace(b"__DATA__", text)
        write_atomically(self.path, lambda target: target.write(page))


def _throughput(totals: SampleTotals) -> list[dict[str, float]]:
    """Rates in equal parts of the run, each long enough for a few samples."""
    parts = int(np.clip(len(totals.arrivals) // 8, 1, 60))
    if not totals.arrivals or totals.seconds <= 0:
        return []
    borders = np.linspace(0, totals.seconds, parts + 1)
    counts, _ = np.histogram(totals.arrivals, borders)
    rates = counts / np.diff(borders)
    return [
        {"from": float(a), "to": float(b), "rate": float(r)}
        for a, b, r in zip(borders[:-1], borders[1:], rates, strict=True)
    ]


def _latency(scored: Sequence[Prediction]) -> dict[str, list[float]]:
    """Quantiles of what samples took, by stage."""
    found = {}
    for stage in STAGES:
        if taken := [p.ms[stage] for p in scored if stage in p.ms]:
            found[stage] = np.percentile(taken, _QUANTILES).tolist()
    return found


def _shares(seconds: dict[str, float]) -> list[dict[str, Any]]:
    """Each state's share of the time, the largest first."""
    total = sum(seconds.values()) or 1.0
    ranked = sorted(seconds.items(), key=lambda state: -state[1])
    return [{"name": name, "share": value / total} for name, value in ranked]


def _by_class(totals: SampleTotals, names: Sequence[str]) -> list[dict[str, Any]]:
    counts: Counter[int] = Counter()
    for (label, _), count in totals.answers.items():
        counts[label] += count
    return [
        {"name": names[c], "count": n, "right": totals.answers[c, c]}
        for c, n in sorted(counts.items())
    ]


def _confusion(totals: SampleTotals, names: Sequence[str]) -> dict[str, Any]:
    """Counts [true, answered] of the classes that occur as either."""
    present = sorted({c for pair in totals.answers for c in pair})
    counts = [[totals.answers[row, column] for column in present] for row in present]
    return {"names": [names[c] for c in present], "counts": counts}


def _chosen(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Some that are right, of different classes, and some that are wrong, for a closer look."""
    rows = sorted(predictions, key=lambda p: p.index)
    wrong = [p for p in rows if p.label is not None and p.label != p.scores.argmax()]
    firsts = {int(p.scores.argmax()): p for p in reversed(rows) if p not in wrong}
    others = sorted(firsts.values(), key=lambda p: p.index)
    return others[:: max(1, len(others) // _RIGHT)][:_RIGHT] + wrong[:_WRONG]


def in_motion(prediction: Prediction, poses: PoseSequence, names: Sequence[str]) -> dict[str, Any]:
    """A sample's skeletons, thinned out and rounded, with its first five answers of `names`: JSON
    types. ``frames``: [x, y, hundred times the score] by frame, person and joint."""
    total = poses.total_frames
    frames = np.unique(np.linspace(0, total - 1, min(total, _MAX_FRAMES)).astype(int))
    keypoint = np.nan_to_num(poses.keypoint[:, frames].astype(np.float32))
    score = np.ones(keypoint.shape[:3], np.float32)
    if poses.keypoint_score is not None:
        score = poses.keypoint_score[:, frames].astype(np.float32)
    score = score * (keypoint != 0).any(axis=-1)
    persons = np.argsort(-score.mean(axis=(1, 2)))[:3]
    drawn = np.concatenate([keypoint.clip(-1e5, 1e5), 100 * score.clip(0, 1)[..., None]], axis=-1)
    shown = np.rint(drawn[persons]).astype(int).transpose(1, 0, 2, 3)
    best = top_classes(prediction.scores[None], 5)[0].tolist()
    return {
        "id": printable(prediction.id),
        "truth": None if prediction.label is None else names[prediction.label],
        "top": [{"name": names[c], "score": float(prediction.scores[c])} for c in best],
        "seconds": total / _RATE,
        "frames": shown.tolist(),
    }
