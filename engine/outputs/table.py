"""Every output that there is: a line each, with the function that opens it if options ask for it.

A new output is a subclass of `engine.outputs.output.Output` in a file of its own and a line
here. Outputs are opened, told of records and ended in the order of their table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from engine.base.errors import UsageError
from engine.base.options import Options
from engine.base.records import Record
from engine.live.labels import Label
from engine.outputs.formats import result_of
from engine.outputs.html_report import HtmlReport
from engine.outputs.label_lines import LabelLines, PrintedLabels
from engine.outputs.live_summary import LiveSummary
from engine.outputs.output import DatasetOutput, LiveOutput, Outputs
from engine.outputs.progress_line import ProgressLine
from engine.outputs.publisher import Publisher
from engine.outputs.results import Archive, RecordLines
from engine.outputs.run_info import DatasetRun, LiveRun
from engine.outputs.segment_lines import SegmentLines
from engine.outputs.summary import DatasetSummary

T = TypeVar("T")
U = TypeVar("U")


@contextmanager
def _installed_with(extra: str, flag: str) -> Iterator[None]:
    """What is imported here comes with one of the package's extras."""
    try:
        yield
    except ImportError as error:
        raise UsageError(f"{flag}: {error}; pip install '.[{extra}]'") from None


def _dataset_dashboard(options: Options) -> DatasetOutput | None:
    if options.dashboard is None:
        return None
    with _installed_with("dashboard", "--dashboard"):
        from engine.outputs.dashboard.output import DatasetDashboard
    return DatasetDashboard(options.dashboard)


def _live_dashboard(options: Options) -> LiveOutput | None:
    if options.dashboard is None:
        return None
    with _installed_with("dashboard", "--dashboard"):
        from engine.outputs.dashboard.output import LiveDashboard
    cameras = [s.partition("?")[0].rstrip("/") for s in options.source if s.startswith("ws:")]
    return LiveDashboard(options.dashboard, cameras)


def _prometheus(options: Options) -> LiveOutput | None:
    if options.metrics is None:
        return None
    with _installed_with("live", "--metrics"):
        from engine.outputs.prometheus import PrometheusExporter
    return PrometheusExporter(options.metrics)


def _overlay(options: Options) -> LiveOutput | None:
    if options.save_video is None:
        return None
    with _installed_with("video", "--save-video"):
        from engine.outputs.overlay import VideoOverlay
    return VideoOverlay(Path(options.save_video))


def _if_named(name: str | None, make: Callable[[Path], T]) -> T | None:
    """An output to a file, if one is named."""
    return None if name is None else make(Path(name))


def _records(options: Options) -> DatasetOutput | None:
    if options.resume is not None:
        return RecordLines(result_of(Path(options.resume)))
    return _if_named(options.output, RecordLines)


OF_DATASETS: list[Callable[[Options], DatasetOutput | None]] = [
    _records,
    lambda options: ProgressLine(),
    _dataset_dashboard,
    lambda options: _if_named(options.scores, lambda path: Archive(path, "scores")),
    lambda options: _if_named(options.logits, lambda path: Archive(path, "logits")),
    lambda options: DatasetSummary(options.summary),
    lambda options: _if_named(options.report, HtmlReport),
]

OF_LIVE_SOURCES: list[Callable[[Options], LiveOutput | None]] = [
    _live_dashboard,
    lambda options: LiveSummary(options.summary),
    _overlay,
    lambda options: _if_named(options.output, LabelLines),
    lambda options: _if_named(options.segments, SegmentLines),
    lambda options: None if options.publish is None else Publisher(options.publish, options.keys),
    _prometheus,
    lambda options: PrintedLabels(),
]


def outputs_of_dataset(options: Options) -> Outputs[DatasetRun, Record]:
    """Open the outputs of a run over a data set. Raises `EngineError` where one cannot be."""
    return Outputs(_opened(OF_DATASETS, options))


def outputs_of_live(options: Options) -> Outputs[LiveRun, Label]:
    """Open the outputs of a run over live sources. Raises `EngineError` where one cannot be."""
    return Outputs(_opened(OF_LIVE_SOURCES, options))


def _opened(table: Sequence[Callable[[Options], U | None]], options: Options) -> Iterator[U]:
    for open_output in table:
        if (output := open_output(options)) is not None:
            yield output
