"""Opening: the runner that suits a model, its backend and the samples."""

from __future__ import annotations

from math import ceil

from engine.base.choices import CLIPS, SHARED
from engine.base.errors import ModelError, UsageError
from engine.base.recipe import Recipe
from engine.network.backend import (
    Backend,
    ClipsBackend,
    PartsBackend,
    PlanBackend,
    TablesBackend,
    WavesBackend,
)
from engine.network.clip_rules import ALL, ClipRule
from engine.network.cuts import Cuts
from engine.network.models import ModelFile
from engine.network.runners.base import Runner
from engine.network.runners.planned import PlannedRunner
from engine.network.runners.resident import ResidentRunner
from engine.network.runners.shared import SharedRunner
from engine.network.runners.staged_clips import StagedClipsRunner
from engine.network.runners.tables import TablesRunner
from engine.network.runners.whole import ClipsRunner

_BATCH = 4  # samples
_WINDOWS = 16  # of tracks, of which a few frames are new: they fill runs together


def open_runner(
    backend: Backend, model: ModelFile, recipe: Recipe, rule: ClipRule = ALL, room: int = 0
) -> Runner:
    """The runner of a model's layout, for samples of a recipe. `rule`: how many of their clips are
    run. `room`: bytes for what is kept of tracks or from stage to stage, by the runner that can.
    Raises `ModelError` or `UsageError`."""
    try:
        if (runner := _suitable(backend, model, recipe, rule, room)) is not None:
            return runner
    except ModelError as error:
        raise ModelError(
            f"{model.path} on {backend.facts.runtime}, layout {model.layout}: {error}"
        ) from None
    other = CLIPS if isinstance(backend, ClipsBackend) else SHARED
    raise UsageError(
        f"{backend.facts.runtime} does not run layout {model.layout}; --layout {other} does"
    )


def _suitable(
    backend: Backend, model: ModelFile, recipe: Recipe, rule: ClipRule, room: int
) -> Runner | None:
    classes = len(model.classes)
    if model.layout == SHARED:
        if isinstance(backend, PlanBackend | TablesBackend):
            if rule != ALL:
                raise UsageError(
                    f"--clips {rule}: a compiled file of layout shared runs all of a sample's "
                    "clips at once; --clips all does, or a file of layout clips"
                )
            about = classes, model.recipe, recipe.views
            if isinstance(backend, PlanBackend):
                return PlannedRunner(backend, *about)
            return TablesRunner(backend, *about, model.strides, model.interface)
        if isinstance(backend, WavesBackend):
            return ResidentRunner(backend, classes, recipe, rule)
        if isinstance(backend, PartsBackend):
            return SharedRunner(backend, classes, Cuts.of(model.content()), recipe, rule, room)
    elif isinstance(backend, ClipsBackend):
        if rule == ALL:
            return ClipsRunner(backend, classes, recipe.views)
        return StagedClipsRunner(backend, classes, recipe, rule)
    return None


def default_batch(runner: Runner, views: int, room: int) -> int:
    """Samples that run as one batch unless the user says otherwise: whole runs. Four samples of
    twenty clips; sixteen windows where rows of tracks are kept; otherwise one run of windows, since
    each window waits for all of its batch."""
    windows = _WINDOWS if room else 1
    return runner.step * ceil((windows if views == 1 else _BATCH) / runner.step)
