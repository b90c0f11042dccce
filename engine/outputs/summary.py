"""The report of a run: its figures as a dict, and as the lines printed at the end.

The accuracy lines are spelt as the published NPU recipe prints them, so that its scripts can read
ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from engine.base import host
from engine.base.errors import printable
from engine.base.records import Failure, Prediction
from engine.base.version import __version__
from engine.outputs.accuracy import mean_class_accuracy, top_k_accuracy
from engine.pipeline import Pipeline

_FAILURES_SHOWN = 5


def summarise(
    pipeline: Pipeline,
    predictions: Sequence[Prediction],
    failures: Sequence[Failure],
    *,
    seconds: float,
    startup_s: float,
) -> dict[str, Any]:
    """Figures of a run, JSON types only.

    `seconds`: from the first sample begun to the last record written; fps and clips/s
    are end to end, preprocessing included, samples that failed or were scored before a
    resumed run began not counted. `startup_s`:
    reading annotations and loading the model. Accuracies are None without labels.
    """
    before = pipeline.resumed
    scored = len(predictions) - sum(isinstance(record, Prediction) for record in before)
    rate = scored / seconds if seconds > 0 else 0.0
    options, facts = pipeline.options, pipeline.facts
    return {
        "version": __version__,
        **_accuracies(predictions),
        "samples": len(predictions) + len(failures),
        "ok": len(predictions),
        "failed": len(failures),
        "of": len(pipeline.dataset.samples),
        "resumed": len(before),
        "fps": rate,
        "clips_per_s": rate * options.views,
        "seconds": seconds,
        "startup_s": startup_s,
        "dataset": {
            "name": printable(pipeline.dataset.name),
            "source": printable(pipeline.dataset.source),
            "split": pipeline.dataset.split,
        },
        "model": {
            "path": printable(pipeline.model.path),
            "sha256": pipeline.model.sha256,
            "layout": pipeline.model.layout,
        },
        "reference": options.reference,
        "backend": {
            "name": pipeline.setup.backend_name,
            "runtime": facts.runtime,
            "device": facts.device,
            "precision": facts.precision,
            "threads": facts.threads,
        },
        "pipeline": {
            "workers": pipeline.workers,
            "wire": pipeline.setup.wire,
            "max_batch": pipeline.max_batch,
            "busy": busy_shares(pipeline, seconds),
            **asdict(pipeline.figures),
        },
        "machine": host.describe(),
    }


def busy_shares(pipeline: Pipeline, seconds: float) -> dict[str, float]:
    """Share of `seconds` that each stage worked, 0 to 1, mean over its processes."""
    figures = pipeline.figures
    engines = pipeline.engines
    shares = {
        "decode": figures.decode_s / max(pipeline.workers * engines, 1),
        "device": figures.infer_s / (len(pipeline.setup.executors) * engines),
    }
    return {stage: work / seconds if seconds > 0 else 0.0 for stage, work in shares.items()}


def spell_shares(shares: dict[str, float]) -> str:
    """Busy shares in words, for progress and report."""
    return ", ".join(f"{stage} {100 * share:.0f} % busy" for stage, share in shares.items())


def _accuracies(predictions: Sequence[Prediction]) -> dict[str, Any]:
    labelled = [p for p in predictions if p.label is not None]
    labels = [p.label for p in labelled if p.label is not None]
    scores = np.array([p.scores for p in labelled], np.float32)
    found = {
        "top1_acc": top_k_accuracy(scores, labels, 1),
        "top5_acc": top_k_accuracy(scores, labels, 5),
        "mean_class_accuracy": mean_class_accuracy(scores, labels),
    }
    return {
        "labelled": len(labels),
        **{name: None if math.isnan(value) else value for name, value in found.items()},
    }


def lines(summary: dict[str, Any], failures: Sequence[Failure]) -> list[str]:
    """What is printed at the end of a run."""
    out: list[str] = []
    if summary["labelled"]:
        for name in ("top1_acc", "top5_acc", "mean_class_accuracy"):
            out.append(f"{name}\t{summary[name]:.4f}")
        if summary["labelled"] < summary["ok"]:
            out.append(f"accuracy is over the {summary['labelled']} samples that have a label")
    elif summary["ok"]:
        out.append("no accuracy: the samples have no labels")
    out.append(f"samples\t{summary['ok']} ok, {summary['failed']} failed, of {summary['of']}")
    if summary["resumed"]:
        out.append(f"resumed\t{summary['resumed']} of them are from before; rates are without them")
    for failure in failures[:_FAILURES_SHOWN]:
        name, message = (
            printable(text).replace("\n", "\\n")
            for text in (failure.id[:80], failure.message[:300])
        )
        out.append(f"  failed: {name} ({failure.stage}): {message}")
    if len(failures) > _FAILURES_SHOWN:
        more = len(failures) - _FAILURES_SHOWN
        out.append(f"  and {more} more, which --output FILE has as well")
    out.append(
        f"fps\t{summary['fps']:.3f} end to end, preprocessing included "
        f"({summary['clips_per_s']:.1f} clips/s, {summary['seconds']:.1f} s; "
        f"start-up {summary['startup_s']:.1f} s not included)"
    )
    backend, host, work = summary["backend"], summary["machine"], summary["pipeline"]
    out.append(f"stages\t{spell_shares(work['busy'])}")
    if work["clips_padded"]:
        out.append(f"clips\t{work['clips_run']} real, {work['clips_padded']} padded")
    if work["restarts"]:
        out.append(f"restarts\t{work['restarts']} processes died and were replaced")
    out.append(
        f"backend\t{backend['runtime']}, {backend['device']}, {backend['precision']}, "
        f"{backend['threads']} threads"
    )
    packages = ", ".join(f"{name} {v}" for name, v in host["versions"].items())
    out.append(f"machine\t{host['cpu']}, {host['cores']} cores, {host['system']}; {packages}")
    return out
