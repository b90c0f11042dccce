"""The Python API: a `Pipeline` yields the records of a dataset as they come.

Comes in: `Options`. Goes out: `Prediction` and `Failure`, exactly one for each sample::

    if __name__ == "__main__":
        for record in engine.predict("annotations.pkl", model="posec3d.onnx"):
            print(record.id, record.scores.argmax())
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from engine.base.addresses import tcp_endpoint
from engine.base.constants import preprocessing
from engine.base.errors import printable
from engine.base.options import Options
from engine.base.records import Cause, Facts, Failure, Record
from engine.network.runners.opening import infer, prepared
from engine.outputs.journal import NAMED, Identity, holds_records, read_journal
from engine.runtime.aggregator import Aggregator
from engine.runtime.execution import Execution, Runner
from engine.runtime.scheduler import Listed
from engine.runtime.settings import ExecutorSettings
from engine.runtime.setup import Setup
from engine.skeletons.clips import Clips, JointClips, sampled
from engine.skeletons.samples import Sample
from engine.sources.dataset import open_dataset


class Pipeline(Execution[Record]):
    """A dataset, a model and a device, ready to run.

    Opening it reads the annotations, starts the processes and loads the model (errors are
    `EngineError`); iterating it, once, does the work; leaving the ``with`` block ends every
    process. `facts` tell what the device really runs; `resumed` has the records that
    ``--resume`` found, which iteration leaves out (`resumes`: whether there were any).
    """

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.options = options
        self.dataset = open_dataset(options.dataset, options.ann_file, options.split, options.limit)
        self.setup = Setup.of(options)
        self.model, self.workers = self.setup.model, self.setup.workers
        self.resumed: list[Record] = []
        # A run may have been killed before it wrote anything.
        self.resumes = options.resume is not None and holds_records(Path(options.resume))
        if options.resume is not None and self.resumes:
            about = self.dataset.samples, len(self.model.classes)
            self.resumed = read_journal(Path(options.resume), self.identity, *about)
        done = {record.index for record in self.resumed}
        # made as they are needed: a data set may be larger than memory
        self.samples: Iterable[Sample] = (s for s in self.dataset.samples if s.index not in done)
        self._start(self._opened())

    def _opened(self) -> Runner:
        if self.options.in_process:
            return _InProcess(self, self.setup.executors[0], self._aggregator)
        if self.options.cluster is not None:
            from engine.runtime.cluster.runner import ClusterRunner  # which needs Ray

            return ClusterRunner(
                iter(self.samples),
                len(self.dataset.samples) - len(self.resumed),
                self.setup,
                self._aggregator,
                lambda: self.interrupted,
            )
        supply = Listed(self.samples)
        return self.setup.supervisor(supply, self._aggregator, lambda: self.interrupted)

    def _items(self) -> Iterator[Record]:
        return self._records()

    @cached_property
    def identity(self) -> Identity:
        """What has to be the same for records to belong together (JSON types only)."""
        return {
            "dataset": self.dataset.identity(),
            f"dataset{NAMED}": printable(self.dataset.source),
            "split": self.dataset.split,
            "model": self.model.sha256,
            f"model{NAMED}": printable(self.model.path),
            "layout": self.model.layout,
            **{f"preprocessing.{name}": value for name, value in preprocessing().items()},
            "reference": self.options.reference,
            "views": self.options.views,
            "backend": self.setup.backend_name,
            "device": self.options.device,
            "precision": self.setup.precision,
        }

    @property
    def max_batch(self) -> int:
        """Samples that run as one batch at most."""
        return self._runner.max_batch

    @property
    def engines(self) -> int:
        """How many of the engine there are: on a cluster one a node, or one a device."""
        return self._runner.engines

    @property
    def address(self) -> str | None:
        """Where workers of other machines may join, with ``--listen``."""
        listening, port = self.setup.executors[0].listening, self._runner.port
        return None if listening is None or port is None else tcp_endpoint(listening.host, port)


class _InProcess:
    """The same work without processes: one sample after the other."""

    port, engines = None, 1

    def __init__(
        self, pipeline: Pipeline, settings: ExecutorSettings, aggregator: Aggregator
    ) -> None:
        self._pipeline, self._aggregator, self._closed = pipeline, aggregator, False
        self._network = settings.open_runner()
        # As many samples together as one run holds.
        self.max_batch = self._network.step
        self.watchers: list[Callable[[float], None]] = []

    def start(self) -> Facts:
        return self._network.facts

    def records(self) -> Iterator[Record]:
        waiting: list[tuple[Sample, Clips | JointClips, float]] = []
        for sample in self._pipeline.samples:
            if self._pipeline.interrupted:
                return
            for watch in self.watchers:
                watch(time.monotonic())
            start = time.perf_counter()
            clips = self._decode(sample)
            if isinstance(clips, Failure):
                yield clips
                continue
            waiting.append((sample, clips, time.perf_counter() - start))
            if len(waiting) == self.max_batch:
                yield from self._infer(waiting)
                waiting.clear()
        if waiting:
            yield from self._infer(waiting)

    def processes(self) -> list[dict[str, Any]]:
        return []

    def waits(self) -> str:
        return "in process"

    def close(self, *, at_once: bool = False) -> None:
        if not self._closed:
            self._closed = True
            self._network.close()

    def _decode(self, sample: Sample) -> Clips | JointClips | Failure:
        self._aggregator.take(sample)
        poses = sample.read(len(self._pipeline.model.classes))
        if isinstance(poses, Cause):
            return self._aggregator.failure(sample.index, poses)
        options = self._pipeline.options
        try:
            return prepared(self._network, sampled(poses, options.reference, options.views))
        except Exception as error:
            # Whatever an unforeseen annotation provokes concerns that sample only.
            return self._aggregator.failure(sample.index, Cause.of(error, "decode"))

    def _infer(self, batch: list[tuple[Sample, Clips | JointClips, float]]) -> Iterator[Record]:
        padded, start = self._network.clips_padded, time.perf_counter()
        outputs = infer(self._network, [clips for _, clips, _ in batch])
        for (sample, _, decoding), logits in zip(batch, outputs, strict=True):
            now = time.perf_counter()
            self._aggregator.figures.decode_s += decoding
            ms = {"decode": 1e3 * decoding, "infer": 1e3 * (now - start)}
            more = self._network.clips_padded - padded
            yield self._aggregator.score(sample.index, logits, more, ms)
            padded, start = self._network.clips_padded, time.perf_counter()


def predict(dataset: str, **options: Any) -> Iterator[Record]:
    """Score a dataset (a name or a path) and yield its records as they come.

    `options` are the fields of `Options`. Raises `EngineError` for what ends the run.
    """
    with Pipeline(Options(dataset=dataset, **options)) as pipeline:
        yield from pipeline
