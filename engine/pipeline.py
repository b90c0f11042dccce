"""The Python API: a `Pipeline` yields the records of a dataset as they come.

Comes in: `Options`. Goes out: `Prediction` and `Failure`, exactly one for each sample::

    if __name__ == "__main__":
        for record in engine.predict("annotations.pkl", model="posec3d.onnx"):
            print(record.id, record.name, record.score)
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from engine.base.addresses import tcp_endpoint
from engine.base.choices import AUTO
from engine.base.constants import JOINTS, preprocessing
from engine.base.errors import UsageError, printable
from engine.base.option_field import identity_of
from engine.base.options import Options
from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.base.records import PersonFigures, Prediction, Record
from engine.network.clip_rules import ALL
from engine.outputs.formats import journal_of, result_of
from engine.outputs.journal import NAMED, Identity, holds_records, read_journal
from engine.predictions import Predictions
from engine.runtime.execution import Driver, Execution
from engine.runtime.in_process import InProcessDriver
from engine.runtime.scheduler import Listed
from engine.runtime.setup import Setup
from engine.skeletons.joints import take_layout
from engine.skeletons.samples import Sample
from engine.sources.dataset import Selection, find_dataset
from engine.sources.formats.poses import Reading
from engine.sources.given import NAME as GIVEN
from engine.sources.given import find_given


class Pipeline(Execution[Record]):
    """A dataset, a model and a device, ready to run.

    Opening it reads the annotations, starts the processes and loads the model (errors are
    `EngineError`); iterating it, once, does the work; leaving the ``with`` block ends every
    process. `facts` tell what the device really runs; `resumed` has the records that
    ``--resume`` found, which iteration leaves out (`resumes`: whether there were any). `persons`:
    what the videos of `dataset` came to with ``--per person``, which has their persons as samples.
    `found`: a data set in place of the one that the options name.
    """

    def __init__(self, options: Options, found: Selection | None = None) -> None:
        super().__init__()
        self.options = options
        if found is None:
            reading = Reading.of(options.size, options.joints, coordinates=options.coordinates)
            found = find_dataset(options.dataset, options.ann_file, reading)
        self.setup = Setup.of(options)
        self.model, self.workers = self.setup.model, self.setup.workers
        self.persons: PersonFigures | None = None
        self.resumed: list[Record] = []
        # made as they are needed: a data set may be larger than memory
        self.samples: Iterable[Sample] = self._samples()
        if options.in_process or options.cluster is not None:
            self._read(found)
            self._start(self._opened())
            return
        supervisor = self.setup.supervisor(
            Listed(self.samples), self._aggregator, lambda: self.interruptions
        )
        try:
            supervisor.launch()  # children load what they need while this process reads
            self._read(found)
        except BaseException:
            supervisor.close(at_once=True)
            raise
        self._start(supervisor)

    def _read(self, found: Selection) -> None:
        """The data set, and what an earlier run has of it."""
        options = self.options
        self.dataset = found(options.split, options.limit, self.model.split)
        if options.whom == "person":
            self._tell_persons_apart()
        # A run may have been killed before it wrote anything.
        journal = None if options.resume is None else journal_of(result_of(Path(options.resume)))
        self.resumes = journal is not None and holds_records(journal)
        if journal is not None and self.resumes:
            about = self.dataset.samples, len(self.model.classes)
            self.resumed = read_journal(journal, self.identity, *about)

    def _samples(self) -> Iterator[Sample]:
        """Those that an earlier run has no records of."""
        done = {record.index for record in self.resumed}
        yield from (sample for sample in self.dataset.samples if sample.index not in done)

    def _tell_persons_apart(self) -> None:
        if (joints := self.setup.recipe.joints) != JOINTS:
            raise UsageError(
                f"--per person: {self.model.path} takes {joints} joints; persons are told apart by "
                f"COCO's {JOINTS}"
            )
        from engine.live.persons import persons_of  # which needs SciPy

        about = self.dataset, len(self.model.classes), self.setup.recipe
        self.dataset, self.persons = persons_of(*about)

    def _opened(self) -> Driver:
        if self.options.in_process:
            recogniser = self.setup.recogniser()
            return InProcessDriver(
                self.samples, recogniser, self._aggregator, lambda: self.interruptions
            )
        from engine.runtime.cluster.driver import ClusterDriver  # which needs Ray

        return ClusterDriver(
            iter(self.samples),
            len(self.dataset.samples) - len(self.resumed),
            self.setup,
            self._aggregator,
            lambda: self.interruptions,
        )

    def _items(self) -> Iterator[Record]:
        for record in self._records():
            if isinstance(record, Prediction):
                record = replace(record, classes=self.model.classes)
            yield record

    def _said_of_poses(self) -> str:
        """What the user says of recorded poses, which is part of their digest."""
        said = {"--size": self.options.size, "--joints": self.options.joints}
        return "".join(f", {flag} {given}" for flag, given in said.items() if given is not None)

    @cached_property
    def identity(self) -> Identity:
        """What has to be the same for records to belong together (JSON types only)."""
        return {
            "dataset": self.dataset.identity(),
            f"dataset{NAMED}": printable(self.dataset.source) + self._said_of_poses(),
            "split": self.dataset.split,
            "model": self.model.sha256,
            f"model{NAMED}": printable(self.model.path),
            "layout": self.model.layout,
            **_of_recipe(self.model.recipe),
            "reference": self.setup.recipe.reference,
            "views": self.setup.recipe.views,
            **identity_of(self.options),
            **(_of_classes(self.model.classes) if self.model.renamed else {}),
            **({} if self.persons is None else {"per": "person"}),
            **({} if self.setup.rule == ALL else {"clips": str(self.setup.rule)}),
            **({} if (given := self.options.coordinates) == AUTO else {"coordinates": given}),
            "backend": self.setup.backend_name,
            "precision": self.setup.precision,
        }

    @property
    def max_batch(self) -> int:
        """Samples that run as one batch at most."""
        return self._driver.max_batch

    @property
    def engines(self) -> int:
        """How many of the engine there are: on a cluster one a node, or one a device."""
        return self._driver.engines

    @property
    def address(self) -> str | None:
        """Where workers of other machines may join, with ``--listen``."""
        listening, port = self.setup.listening, self._driver.port
        return None if listening is None or port is None else tcp_endpoint(listening.host, port)


def predict(dataset: str | os.PathLike[str] | Iterable[Any], **options: Any) -> Predictions:
    """Score a data set and yield its records as they come.

    `dataset`: a name, a path, or annotations, in a list or from an iterator, which is read as it is
    needed, in the thread that asks for records. `options` are the fields of `Options`; ``layout``
    may be one of joints as well, such as ``body25`` (`engine.skeletons.joints`). Nothing is done
    before the first record is asked for. Raises `EngineError` for what ends the run.
    """
    return Predictions(_predicted(dataset, options))


def _predicted(
    dataset: str | os.PathLike[str] | Iterable[Any], options: dict[str, Any]
) -> Iterator[Record]:
    layout = take_layout(options)
    found = None
    if isinstance(dataset, (str, os.PathLike)):
        name = os.fspath(dataset)
        if layout is not None:
            options["joints"] = layout.name
        chosen = Options(dataset=name, **options)
    else:
        chosen = Options(dataset=GIVEN, **options)
        Reading.of(chosen.size, None).leave_out("a list of annotations")
        found = find_given(dataset, chosen.coordinates, layout)
    with Pipeline(chosen, found) as pipeline:
        yield from pipeline


def _of_classes(names: Sequence[str]) -> dict[str, str]:
    """Names that are not the model's own, as identities have them."""
    digest = hashlib.sha256("\n".join(names).encode("utf-8", "surrogatepass")).hexdigest()
    return {"classes": digest, f"classes{NAMED}": "names of --classes"}


def _of_recipe(recipe: Recipe) -> dict[str, Any]:
    """A model's recipe, as identities have it: HMDB51's by the names that it always had."""
    if recipe == HMDB51_RECIPE:
        return {f"preprocessing.{name}": value for name, value in preprocessing().items()}
    return {f"recipe.{name}": value for name, value in recipe.to_json().items()}
