"""The Python API: a `Pipeline` yields the records of a dataset as they come.

Comes in: `Options`. Goes out: `Prediction` and `Failure`, exactly one for each sample.
Called by `engine.run`, and by users::

    for record in engine.predict("annotations.pkl", model="posec3d.onnx"):
        print(record.id, record.scores.argmax())
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from engine import backends, machine
from engine.aggregator import Failure, Prediction, Record, average
from engine.clips import decode
from engine.errors import EngineError, SampleError
from engine.executor import Executor
from engine.models import open_model
from engine.options import Options
from engine.sources.dataset import Sample, open_dataset


class Pipeline:
    """A dataset, a model and a device, ready to run.

    Opening it reads the annotations and loads the model (errors are `EngineError`);
    iterating it does the work. `started` and `finished` are monotonic seconds of the
    first sample begun and the last record taken.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.dataset = open_dataset(options.dataset, options.ann_file, options.split, options.limit)
        self.model = open_model(options.model)
        self.backend_name, self.backend_reason = backends.choose(options.backend)
        self._backend = backends.load(
            self.backend_name,
            self.model,
            device=options.device,
            precision=options.precision,
            threads=options.threads or machine.cores(),
        )
        self.facts = self._backend.facts
        self.executor = Executor(self._backend)

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._backend.close()

    def __iter__(self) -> Iterator[Record]:
        for sample in self.dataset.samples:
            yield self._score(sample)

    def _score(self, sample: Sample) -> Record:
        start = time.perf_counter()
        try:
            clips = decode(sample.poses(len(self.model.classes)), self.options.reference)
            decoded = time.perf_counter()
            [logits] = self.executor.infer([clips])
            scores = average(logits)
        except SampleError as error:
            return _failure(sample, error.stage, error)
        except EngineError:
            raise
        except Exception as error:
            # Whatever else an unforeseen annotation provokes concerns that sample only.
            return _failure(sample, "decode", error)
        end = time.perf_counter()
        ms = {"decode": 1e3 * (decoded - start), "infer": 1e3 * (end - decoded)}
        return Prediction(sample.index, sample.id, sample.label, logits, scores, ms)


def predict(dataset: str, **options: Any) -> Iterator[Record]:
    """Score a dataset (a name or a path) and yield its records as they come.

    `options` are the fields of `Options`. Raises `EngineError` for what ends the run.
    """
    with Pipeline(Options(dataset=dataset, **options)) as pipeline:
        yield from pipeline


def _failure(sample: Sample, stage: str, error: Exception) -> Failure:
    message = str(error) or repr(error)
    return Failure(sample.index, sample.id, sample.label, stage, type(error).__name__, message)
