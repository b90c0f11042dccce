"""The summary of a run: its figures, for ``--summary``, and the lines printed at the end.

The accuracy lines are spelt as the published NPU recipe prints them, so that its scripts can read
ours.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from heapq import nsmallest
from pathlib import Path
from typing import Any, Generic

import numpy as np

from engine.base import host
from engine.base.console import say
from engine.base.errors import printable
from engine.base.files import write_json
from engine.base.notes import spelt
from engine.base.published import BENCHMARKS, Checkpoint, Metric, benchmark_of
from engine.base.records import Failure, Prediction
from engine.base.version import __version__
from engine.outputs.accuracy import accuracies
from engine.outputs.output import Output, RunT
from engine.outputs.run_info import DatasetRun
from engine.sources.dataset import Dataset

_FAILURES_SHOWN = 5
_ANSWERS_SHOWN = 20


class Summary(Output[RunT, Any], Generic[RunT]):
    """Writes the figures of a run when it ends, where a file is named, and prints them."""

    def __init__(self, name: str | None) -> None:
        self.path = None if name is None else Path(name)

    def begin(self, run: RunT) -> None:
        self._run = run

    def end(self) -> None:
        figures = self._figures(self._run)
        if self.path is not None:
            write_json(self.path, figures)
        say("\n".join(self._lines(self._run, figures)))

    @abstractmethod
    def _figures(self, run: RunT) -> dict[str, Any]:
        """JSON types only."""

    @abstractmethod
    def _lines(self, run: RunT, figures: dict[str, Any]) -> list[str]:
        """What is printed."""


class DatasetSummary(Summary[DatasetRun]):
    """Of a run over a data set."""

    def _figures(self, run: DatasetRun) -> dict[str, Any]:
        return summarise(run)

    def _lines(self, run: DatasetRun, figures: dict[str, Any]) -> list[str]:
        return [*_answers(run), *_lines(figures, run.totals.failures)]


def summarise(run: DatasetRun) -> dict[str, Any]:
    """Figures of a run, JSON types only.

    ``seconds``: from the start to the last record; ``fps`` and ``clips_per_s`` are end to end,
    preprocessing included, samples that failed or were scored before a resumed run began not
    counted. ``startup_s``: reading annotations and loading the model. Accuracies are None without
    labels, and where ``classes_differ`` says how the data set's classes are not the model's.
    """
    facts, totals, clips = run.facts, run.totals, _clips(run)
    return {
        "version": __version__,
        **_accuracies(totals.predictions),
        "classes_differ": run.differs,
        "metric": _metric(run),
        "published": _published(run.model.published),
        "samples": totals.done,
        "ok": len(totals.predictions),
        "failed": totals.failed,
        "of": len(run.dataset.samples),
        "resumed": totals.resumed,
        "persons": None if run.persons is None else asdict(run.persons),
        "notes": totals.notes.to_json(totals.done),
        "fps": totals.rate,
        "clips_per_s": totals.rate * clips["mean"],
        "clips": clips,
        "seconds": totals.seconds,
        "startup_s": run.startup_s,
        "dataset": {
            "name": printable(run.dataset.name),
            "source": printable(run.dataset.source),
            "split": run.dataset.split,
            "absent": absent_json(run.dataset),
        },
        "model": {
            "path": printable(run.model.path),
            "sha256": run.model.sha256,
            "layout": run.model.layout,
        },
        "recipe": run.model.recipe.in_words,
        "reference": run.model.recipe.reference,
        "backend": {
            "name": run.backend,
            "runtime": facts.runtime,
            "device": facts.device,
            "precision": facts.precision,
            "threads": facts.threads,
        },
        "pipeline": {
            "workers": run.workers,
            "wire": run.wire,
            "max_batch": run.state.max_batch,
            "busy": busy_shares(run),
            **asdict(run.state.figures),
        },
        "machine": host.describe(),
    }


def _clips(run: DatasetRun) -> dict[str, Any]:
    """How many clips of a sample were averaged, by which rule."""
    averaged = [p.clips for p in run.totals.predictions if p.clips is not None]
    views = run.model.recipe.views
    mean = float(np.mean(averaged)) if averaged else float(views)
    return {"rule": run.identity.get("clips", "all"), "mean": mean, "of": views}


def absent_json(data: Dataset) -> dict[str, Any] | None:
    """How many names of the split the file does not have, and the first of them."""
    if not data.absent:
        return None
    return {"count": len(data.absent), "first": [printable(name) for name in data.absent[:5]]}


def busy_shares(run: DatasetRun) -> dict[str, float]:
    """Share of the time so far that each stage worked, 0 to 1, mean over its processes."""
    figures, engines, seconds = run.state.figures, run.state.engines, run.totals.seconds
    shares = {
        "decode": figures.decode_s / max(run.workers * engines, 1),
        "device": figures.infer_s / (run.executors * engines),
    }
    return {stage: work / seconds if seconds > 0 else 0.0 for stage, work in shares.items()}


def spell_shares(shares: dict[str, float]) -> str:
    """Busy shares in words, for progress and report."""
    return ", ".join(f"{stage} {100 * share:.0f} % busy" for stage, share in shares.items())


def _accuracies(predictions: Sequence[Prediction]) -> dict[str, Any]:
    labelled = [p for p in predictions if p.label is not None]
    scores = np.array([p.scores for p in labelled], np.float32)
    return accuracies(scores, [p.label for p in labelled if p.label is not None])


def _beside(summary: dict[str, Any], metric: str) -> str:
    """The published figure, beside ours. It is that of its own split, whatever was scored here."""
    published = summary["published"]
    if published is None or published["metric"] != metric:
        return ""
    where = " ".join(filter(None, (published["dataset"], published["split"])))
    return f" (published: {published['accuracy']:.3f} on all of {where})"


def _metric(run: DatasetRun) -> Metric:
    """Which accuracy comes first: the one that the benchmark's authors report."""
    benchmark = benchmark_of(run.model.classes)
    return "top1_acc" if benchmark is None else benchmark.metric


def _published(checkpoint: Checkpoint | None) -> dict[str, Any] | None:
    """What is reported of a published checkpoint, the accuracy as a share."""
    if checkpoint is None:
        return None
    return {
        "checkpoint": checkpoint.name,
        "metric": BENCHMARKS[checkpoint.benchmark].metric,
        "accuracy": checkpoint.accuracy / 100,
        "dataset": checkpoint.dataset,
        "split": checkpoint.split,
    }


def _answers(run: DatasetRun) -> Iterator[str]:
    """What a run has found where no sample has a label: a line each of the first ones."""
    predictions = run.totals.predictions
    if run.totals.labelled or not predictions:
        return
    first = nsmallest(_ANSWERS_SHOWN, predictions, key=lambda prediction: prediction.index)
    for one in first:
        who = "" if one.who is None else f" {printable(one.who)[:40]}"
        name = run.model.classes[one.best]
        yield f"{printable(one.id)[:80]}{who}\t{printable(name)}\t{one.score:.2f}"
    if more := len(predictions) - len(first):
        where = run.options.resume or run.options.output
        has = "--output FILE has" if where is None else f"{printable(where)} has"
        yield f"… and {more} more: {has} all of them"


def _lines(summary: dict[str, Any], failures: Sequence[Failure]) -> list[str]:
    """What is printed at the end of a run."""
    out: list[str] = []
    if summary["labelled"]:
        names = ["top1_acc", "top5_acc", "mean_class_accuracy"]
        for name in sorted(names, key=lambda name: name != summary["metric"]):
            out.append(f"{name}\t{summary[name]:.4f}{_beside(summary, name)}")
        if summary["labelled"] < summary["ok"]:
            out.append(f"accuracy is over the {summary['labelled']} samples that have a label")
    elif summary["persons"]:
        out.append("no accuracy: a label is of a video, and these records are of persons")
    elif summary["classes_differ"]:
        out.append(f"no accuracy: {summary['classes_differ']}")
    elif summary["ok"]:
        out.append("no accuracy: the samples have no labels")
    out.append(f"samples\t{summary['ok']} ok, {summary['failed']} failed, of {summary['of']}")
    out += [f"noted\t{line}" for line in spelt(summary["notes"], "sample")]
    if (clips := summary["clips"])["rule"] != "all":
        mean, views = clips["mean"], clips["of"]
        out.append(f"clips\t{mean:.2f} of {views} averaged, mean of all samples ({clips['rule']})")
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
