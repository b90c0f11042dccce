"""Records: what becomes of a sample, and what a run amounts to.

A `Prediction` or a `Failure` is the one record of a sample; `Figures` count work, bytes and
restarts, `PersonFigures` persons; `Facts` are what a device really runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from engine.base.choices import Who
from engine.base.errors import EngineError, SampleError, printable
from engine.base.notes import Note


@dataclass(frozen=True)
class Facts:
    """What a loaded backend really runs on; printed and written into the summary."""

    runtime: str  # name and version
    device: str  # the device as the runtime calls it
    precision: str  # what is executed, not the one requested
    threads: int  # of the runtime; 0 where the notion has no meaning


STAGES = ("assign", "decode", "transport", "queue", "infer", "total")
"""Keys of `Prediction.ms`, in the order of a sample's way."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """The scores of a sample.

    `logits`: float32 [clips, classes], of the clips that were run, in the order of the views.
    `scores`: float32 [classes], sums to one. `ms`: milliseconds of work or waiting, by stage.
    `who`: whom of a video it is about; None for all together. `notes`: what was decided about its
    poses. `clips`: how many were averaged; None where a file of records does not say. `classes`:
    names, one a score, where they are known. `label` is the annotation's class; the answer is
    `best`, `name` and `score`.
    """

    index: int
    id: str
    label: int | None
    logits: NDArray[np.float32]
    scores: NDArray[np.float32]
    ms: dict[str, float] = field(default_factory=dict)
    who: Who = None
    notes: tuple[Note, ...] = ()
    clips: int | None = None
    classes: Sequence[str] = field(default=(), repr=False)

    @property
    def best(self) -> int:
        """The class with the highest score; the first of several."""
        return int(self.scores.argmax())

    @property
    def name(self) -> str:
        """Of the best class."""
        return self._name(self.best)

    @property
    def score(self) -> float:
        """Of the best class."""
        return float(self.scores[self.best])

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """Names and scores of the `k` best classes, or of all where there are fewer, best first."""
        order = np.argsort(-self.scores, kind="stable")[: max(k, 0)].tolist()
        return [(self._name(number), float(self.scores[number])) for number in order]

    def _name(self, number: int) -> str:
        return self.classes[number] if self.classes else f"class_{number}"


@dataclass(frozen=True)
class Cause:
    """Why a sample could not be scored: where (`stage`), what (`type`) and why (`message`)."""

    stage: str
    type: str
    message: str

    @classmethod
    def of(cls, error: Exception, stage: str) -> Cause:
        """Whatever an unforeseen sample provokes in `stage` concerns that sample only. A
        `SampleError` knows its own stage, and what it says is for people."""
        if isinstance(error, EngineError):
            stage = error.stage if isinstance(error, SampleError) else stage
            return cls(stage, type(error).__name__, printable(error))
        doing = _DOING.get(stage, stage)
        return cls(stage, type(error).__name__, f"{printable(error)} (unforeseen, {doing})")

    def __str__(self) -> str:
        """In one line, where there is no field for the type: what nobody foresaw has it."""
        foreseen = self.type == SampleError.__name__
        return self.message if foreseen else f"{self.type}: {self.message}"


@dataclass(frozen=True)
class Failure:
    """A sample that could not be scored; `stage`, `type` and `message` as in `Cause`, `who` as in
    `Prediction`."""

    index: int
    id: str
    label: int | None
    stage: str
    type: str
    message: str
    who: Who = None


_DOING = {
    "read": "while the annotation was read",
    "decode": "while its clips were made",
    "infer": "while the network ran",
    "score": "while its clips were averaged",
}


Record = Prediction | Failure


@dataclass
class Figures:
    """What a run amounted to so far, for progress and report."""

    decode_s: float = 0.0  # seconds of work, all workers together
    infer_s: float = 0.0  # seconds of work, all executors together
    clips_run: int = 0
    clips_padded: int = 0
    bytes_sent: int = 0  # of clips, between processes
    peak_bytes: int = 0  # in flight
    states: dict[str, float] = field(default_factory=dict)  # seconds in which who waited for whom
    batches: dict[str, int] = field(default_factory=dict)  # by the number of samples in them
    restarts: int = 0
    dropped: int = 0  # messages that were not ours

    def add(self, more: Figures) -> None:
        """Add those of another part of the run."""
        for one in fields(self):
            value, added = getattr(self, one.name), getattr(more, one.name)
            if isinstance(value, dict):
                for key, number in added.items():
                    value[key] = value.get(key, 0) + number
            elif one.name == "peak_bytes":
                self.peak_bytes = max(value, added)
            else:
                setattr(self, one.name, value + added)


@dataclass
class PersonFigures:
    """What the videos of a data set came to.

    `persons`: samples. `as_rows`, `tracked`: videos whose rows are persons, and detections that
    were tracked. `brief`: persons who are left out, since they are seen in fewer than `least`
    frames (in a short video in fewer than half of them). `empty`: videos in which nobody is seen
    for longer, `first_empty` the first of them. Videos that cannot be read are only in `videos`.
    """

    least: int
    videos: int = 0
    persons: int = 0
    as_rows: int = 0
    tracked: int = 0
    brief: int = 0
    empty: int = 0
    first_empty: str | None = None
