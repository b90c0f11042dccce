"""What outputs are told of a run as it begins, and what they may ask it as it goes.

A `DatasetRun` yields records, a `LiveRun` labels. Plain descriptions: outputs know neither
`Pipeline` nor `Stream`, so that whatever yields records can have all outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from engine.base.choices import Who
from engine.base.options import Options
from engine.base.published import Checkpoint
from engine.base.recipe import Recipe
from engine.base.records import Facts, Figures, PersonFigures
from engine.live.streams import Streams
from engine.live.supply import SourceFigures
from engine.outputs.totals import LabelTotals, SampleTotals, Totals
from engine.sources.dataset import Dataset
from engine.sources.source import Source


class RunState(Protocol):
    """What changes while a run goes on."""

    @property
    def figures(self) -> Figures:
        """Work, bytes and restarts so far."""

    def processes(self) -> list[dict[str, Any]]:
        """The children, each with its name and what the system says of it."""


class DatasetState(RunState, Protocol):
    """Of a run over a data set."""

    @property
    def max_batch(self) -> int:
        """Samples that run as one batch at most."""

    @property
    def engines(self) -> int:
        """How many of the engine there are; several on a cluster."""

    def waits(self) -> str:
        """Which stage waits for which at the moment, in words."""


class LiveState(RunState, Protocol):
    """Of a run over live sources."""

    @property
    def behind(self) -> str | None:
        """That the device cannot keep up, and what would help; None while it can."""

    @property
    def leases(self) -> int:
        """Windows on their way."""

    @property
    def ready(self) -> int:
        """Children that are ready."""

    def settled(self, stream: str, who: Who, t: float) -> bool:
        """Whether every window of somebody that has no label yet begins after `t`."""


@dataclass(frozen=True)
class ModelFacts:
    """The network that runs. `classes`: names, one an output; `recipe`: of its samples;
    `published`: the checkpoint that it was made from, where that is a known one."""

    path: Path
    sha256: str
    layout: str
    classes: Sequence[str]
    recipe: Recipe
    published: Checkpoint | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """What both kinds have in common. `backend`: its registered name, and `backend_reason` why it
    was chosen."""

    options: Options
    model: ModelFacts
    backend: str
    backend_reason: str
    facts: Facts
    state: RunState
    totals: Totals


@dataclass(frozen=True, kw_only=True)
class DatasetRun(Run):
    """A run over a data set.

    `identity`: what has to be the same for records to belong together. `resumes`: whether it goes
    on with the records of another run. `workers` and `executors`: processes of an engine, no
    workers in process. `wire`: what workers send. `startup_s`: seconds until it was ready.
    `persons`: where persons are the samples, what the videos came to. `differs`: how the data set's
    classes are others than the model's, in words.
    """

    state: DatasetState
    totals: SampleTotals
    dataset: Dataset
    identity: Mapping[str, Any]
    resumes: bool
    workers: int
    executors: int
    wire: str
    startup_s: float
    persons: PersonFigures | None = None
    differs: str | None = None


@dataclass(frozen=True, kw_only=True)
class LiveRun(Run):
    """A run over live sources. `source_figures`: what became of each one's messages, by name."""

    state: LiveState
    totals: LabelTotals
    sources: Sequence[Source]
    streams: Streams
    source_figures: Mapping[str, SourceFigures]
