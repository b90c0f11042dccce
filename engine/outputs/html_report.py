"""The report: one self-contained HTML file about a run, for people.

Comes in: a run and its totals. Goes out: the file that ``--report`` names. ``report.html`` beside
this module draws; what it draws is computed here.
"""

from __future__ import annotations

import time
from base64 import b64encode
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
from engine.outputs.motion import packed, thinned
from engine.outputs.output import DatasetOutput
from engine.outputs.run_info import DatasetRun
from engine.outputs.summary import summarise
from engine.outputs.totals import SampleTotals

_QUANTILES = (5, 25, 50, 75, 95)
_MAX_FAILURES = 50
_MAX_PAIRS = 12
_MAX_ROWS = 20_000
_MAX_MOTIONS = 2000
_MOTIONS_S = 10.0  # for poses that are slow to come
_MOTION_BYTES = 450_000
_BARS = 12
_RATE = 30.0  # frames a second that a video is taken to have


class HtmlReport(DatasetOutput):
    """Writes the report when the run ends."""

    def __init__(self, path: Path) -> None:
        self.path: Path = path

    def begin(self, run: DatasetRun) -> None:
        self._run = run

    def end(self) -> None:
        run, totals, names = self._run, self._run.totals, self._run.model.classes
        rows = sorted(totals.predictions, key=_how_bad)[:_MAX_ROWS]
        seconds, motions = self._motions(rows)
        data = {
            "summary": summarise(run),
            "classes": _by_class(totals, names),
            "confusion": _confusion(totals, names),
            "throughput": _throughput(totals),
            "latency": _latency(totals.scored),
            "states": _shares(run.state.figures.states or {"all in one process": 1.0}),
            "seen": _seen(totals.predictions, names),
            "pairs": _pairs(totals, names),
            "names": list(names),
            "rows": [_row(prediction) for prediction in rows],
            "of": len(totals.predictions),
            "seconds": seconds,
            "motions": b64encode(motions).decode(),
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

    def _motions(self, rows: Sequence[Prediction]) -> tuple[list[float], bytes]:
        """How long the first rows' samples are, and their skeletons."""
        run, seconds, motions = self._run, [], []
        until = time.monotonic() + _MOTIONS_S
        for row in rows[:_MAX_MOTIONS]:
            if time.monotonic() > until:
                break
            poses = run.dataset.samples[row.index].poses(len(run.model.classes), run.model.recipe)
            seconds.append(round(poses.total_frames / _RATE, 2))
            motions.append(thinned(poses))
        return seconds, packed(motions, _MOTION_BYTES)


def _throughput(totals: SampleTotals) -> list[dict[str, float]]:
    """Rates in equal parts of the run: a few, or as many as are long enough for some samples."""
    came = len(totals.arrivals)
    parts = int(np.clip(came // 8, min(came, _BARS), 60))
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


def _pairs(totals: SampleTotals, names: Sequence[str]) -> list[dict[str, Any]]:
    """Which class was taken for which how often, the most frequent first."""
    wrong = Counter({pair: n for pair, n in totals.answers.items() if pair[0] != pair[1]})
    of: Counter[int] = Counter()
    for (label, _), count in totals.answers.items():
        of[label] += count
    return [
        {"true": names[label], "answer": names[answer], "count": n, "of": of[label]}
        for (label, answer), n in wrong.most_common(_MAX_PAIRS)
    ]


def _seen(predictions: Sequence[Prediction], names: Sequence[str]) -> list[dict[str, Any]]:
    """How often each class was the answer, the most frequent first."""
    counts = Counter(p.best for p in predictions)
    return [{"name": names[c], "count": n} for c, n in counts.most_common()]


def _how_bad(prediction: Prediction) -> tuple[bool, float, int]:
    """Orders mistakes before all others, the surest first, and the others by how unsure they
    are."""
    score, label = prediction.score, prediction.label
    if label is None or label == prediction.best:
        return True, score, prediction.index
    return False, float(prediction.scores[label]) - score, prediction.index


def _row(prediction: Prediction) -> list[Any]:
    """Its name, its class or -1, and the best five classes each with thousand times its score."""
    best = np.argsort(-prediction.scores, kind="stable")[:5]
    shares = np.rint(1000 * prediction.scores[best]).astype(int).tolist()
    who = "" if prediction.who is None else f", {prediction.who}"
    label = -1 if prediction.label is None else prediction.label
    return [printable(prediction.id + who), label, best.tolist(), shares]
