"""The setup: model, device and processes of a run, as options ask for them.

Comes in: `Options`. Goes out: `Setup`, and the supervisor of it.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from engine.backends import registry
from engine.backends.ascend.common import device_number
from engine.backends.ascend.npus import warn_of_others
from engine.base import host
from engine.base.assets import DEMO
from engine.base.choices import (
    AUTO,
    CLIPS,
    CONTEXTS,
    FASTEST,
    FRAMES,
    INT8,
    KEYPOINTS,
    SHARED,
    TORCH,
    Precision,
    Wire,
)
from engine.base.curve import Listening
from engine.base.errors import UsageError
from engine.base.options import Options
from engine.base.published import CHECKPOINTS, DATASETS, DEFAULT_CHECKPOINT, checkpoint_for
from engine.base.recipe import Recipe
from engine.base.suggestions import meant
from engine.network.agreement import agreement_for
from engine.network.clip_rules import ALL, ClipRule
from engine.network.models import ModelFile, open_model
from engine.network.recogniser import Recogniser
from engine.runtime.aggregator import Aggregator
from engine.runtime.scheduler import Supply
from engine.runtime.settings import ExecutorSettings, PoolSettings, SupervisorSettings
from engine.runtime.speeds import Conditions, Speeds, fastest, kept
from engine.runtime.supervisor import Supervisor
from engine.runtime.transport.messages import WorkerSettings
from engine.runtime.trial import tried

log = logging.getLogger("engine")

_OR_DEMO = (
    "Or try --model demo, the weights that ship: they know 24 actions, were trained on generated "
    "motion alone, and are right on two of five real clips of these (top-1 0.398 of 176)."
)


@dataclass(frozen=True)
class Setup:
    """`executors`: settings of each, one a device; `workers`: 0 in process. `precision` is the
    one that is executed, whatever it was chosen by."""

    options: Options
    model: ModelFile
    backend_name: str
    backend_reason: str
    precision: Precision
    precision_said: str | None  # where there is something to say about it
    clips_said: str | None  # likewise
    wire: Wire
    workers: int
    executors: tuple[ExecutorSettings, ...]
    listening: Listening | None  # for guests

    @classmethod
    def of(cls, options: Options) -> Setup:
        """Open the model and choose. Starts nothing. Raises `UsageError` or `ModelError`."""
        model = model_of(options).with_layout(options.layout, whole_clips=options.wire == CLIPS)
        name, reason = registry.choose(
            options.backend,
            options.device,
            compiled=model.compiled,
            quantised=model.precision == INT8,
            network=model.network,
            static=model.form == CONTEXTS,
        )
        devices = registry.devices(options.device)
        if model.compiled:
            for warning in warn_of_others([device_number(device) for device in devices]):
                log.warning("%s; the rate of this run is not that of the device alone", warning)
        if options.in_process and len(devices) > 1:
            raise UsageError(f"--device {options.device}: --in-process runs on one device")
        recipe = model.recipe
        if options.reference is not None:
            recipe = recipe.drawn_as(options.reference)
        if not options.averages:
            recipe = recipe.one_view
        rule, rule_said = _rule(options, model, recipe)
        settings = ExecutorSettings(
            backend=name,
            model=model,
            device=None,
            precision=registry.default_precision(model),
            threads=options.threads or max(1, host.cores() // len(devices)),
            max_batch=options.max_batch,
            max_wait=options.max_wait_ms / 1e3,
            recipe=recipe,
            secret=secrets.token_bytes(32),
            guests=options.listen is not None,
            rule=rule,
            room=_room(options, recipe, rule) // len(devices),
        )
        precision, said = _precision(options.precision, replace(settings, device=devices[0]))
        settings = replace(settings, precision=precision)
        workers = 0 if options.in_process else options.workers or default_workers()
        executors = tuple(replace(settings, device=device) for device in devices)
        drawn: Wire = KEYPOINTS if name == TORCH and model.layout == SHARED else FRAMES
        wire = drawn if options.wire == AUTO else options.wire
        listen = options.listen
        listening = None if listen is None else Listening.of(listen, options.keys)
        return cls(
            options,
            model,
            name,
            reason,
            precision,
            said,
            rule_said,
            wire,
            workers,
            executors,
            listening,
        )

    @property
    def recipe(self) -> Recipe:
        """How samples become clips: the model's recipe, as the options change it."""
        return self.executors[0].recipe

    @property
    def rule(self) -> ClipRule:
        """How many clips of a sample are run."""
        return self.executors[0].rule

    def recogniser(self) -> Recogniser:
        """The model, loaded in this process on the first device. Raises what
        `ExecutorSettings.open_runner` does."""
        runner = self.executors[0].open_runner()
        return Recogniser(runner, len(self.model.classes), self.recipe)

    def supervisor(
        self, supply: Supply, aggregator: Aggregator, interruptions: Callable[[], int]
    ) -> Supervisor:
        """The supervisor of the processes, which are not started yet."""
        options = self.options
        settings = SupervisorSettings(
            pool=PoolSettings(
                workers=self.workers,
                executors=self.executors,
                worker=WorkerSettings(self.recipe, self.wire),
                start_timeout=options.start_timeout,
            ),
            max_memory=options.max_memory or host.memory_limit() // 4,
            lease_timeout=options.lease_timeout,
            stall_timeout=options.stall_timeout,
            grace=options.grace,
            listening=self.listening,
        )
        return Supervisor(supply, len(self.model.classes), aggregator, settings, interruptions)


def _precision(
    wanted: Precision | Literal["auto", "fastest"], settings: ExecutorSettings
) -> tuple[Precision, str | None]:
    """The precision to run in, and what there is to say about it. Measures, where the fastest is
    wanted and not known yet: one of a file's own has nothing to be measured against."""
    if wanted == FASTEST:
        if len(allowed := registry.candidates(settings.model)) == 1:
            return allowed[0], Speeds(dict.fromkeys(allowed)).in_words(at_hand=True)
        return fastest(Conditions.of(settings), lambda: tried(settings, allowed))
    precision = settings.precision if wanted == AUTO else wanted
    known = kept(Conditions.of(settings))
    return precision, None if known is None else known.faster_than(precision)


def _rule(options: Options, model: ModelFile, recipe: Recipe) -> tuple[ClipRule, str | None]:
    """What ``--clips`` says, and what there is to say about it. Raises `UsageError`."""
    clips, views = options.clips, recipe.views
    if clips == "certain":
        return ClipRule(until="certain"), f"until the best class is certain, {views} at most"
    if clips == "adaptive":
        table = agreement_for(options.model or "", model)
        rule = ClipRule(until="adaptive", factor=table.factor(options.agreement))
        said = (
            f"{rule}, for an agreement of {options.agreement:g}; fitted to {table.samples} samples"
        )
        return rule, f"{said} of {table.of}"
    if isinstance(clips, str) or clips == views:
        return ALL, None
    if clips > views:
        raise UsageError(f"--clips {clips}: a sample has {views}")
    return ClipRule(first=int(clips)), f"the first {clips} of {views}"


def _room(options: Options, recipe: Recipe, rule: ClipRule) -> int:
    """Bytes for what is kept from stage to stage, or of tracks where windows can have anything in
    common."""
    if rule.until is not None:
        return host.memory_limit() // 4
    if recipe.views > 1 or options.crop != "steady" or options.sampling != "grid":
        return 0
    return host.memory_limit() // 4 if options.track_memory is None else options.track_memory


def model_of(options: Options) -> ModelFile:
    """The model file that options name, or that suits the data. Raises as `open_model` does."""
    name = options.model or _default_model(options)
    try:
        return open_model(name, options.gears, options.config, options.classes)
    except UsageError as error:
        own = options.model is None and (options.source or options.dataset not in DATASETS)
        mistyped = name not in CHECKPOINTS and not Path(name).exists()
        hint = meant(name, (DEMO, *CHECKPOINTS)) if mistyped else f"\n{_OR_DEMO}" if own else ""
        if not hint:
            raise
        raise type(error)(f"{error}{hint}") from None


def _default_model(options: Options) -> str:
    sources = {source.partition(":")[0] for source in options.source}
    if (sources or {options.dataset}) == {DEMO}:
        return DEMO
    if not sources and options.dataset in DATASETS:
        return checkpoint_for(options.dataset).name
    return DEFAULT_CHECKPOINT


def default_workers() -> int:
    """Decode workers by the number of cores: rendering a sample costs about a hundredth of
    running it on a CPU, so one worker serves a small machine; an accelerator wants more."""
    return max(1, min(8, host.cores() // 4))
