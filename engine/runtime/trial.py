"""A trial: a model run in each of several precisions, in a process of its own, so that who asks
loads no runtime and survives a crash of one.

Comes in: settings, as of an executor. Goes out: samples/s of the very runs that an executor makes,
of one made-up video of usual length.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from subprocess import PIPE, TimeoutExpired
from typing import Any, Final

import numpy as np
import onnx

from engine.backends import registry
from engine.base import subprocesses
from engine.base.choices import INT8, SHARED, Precision
from engine.base.errors import BackendError, EngineError, ModelError, UsageError, printable
from engine.base.recipe import Recipe
from engine.base.records import Facts
from engine.network import operations
from engine.network.backend import PartsBackend
from engine.network.contexts import of_plan
from engine.network.cuts import Cuts
from engine.network.models import open_model
from engine.network.recogniser import infer, prepared
from engine.network.runners.base import Runner
from engine.runtime.settings import ExecutorSettings
from engine.runtime.speeds import Rates, timed
from engine.skeletons.clips import Clips, JointClips, sampled
from engine.skeletons.poses import PoseSequence

log = logging.getLogger("engine")

FRAMES: Final = 80  # the median of HMDB51's videos
_PATIENCE_S: Final = 1800
_PICTURE: Final = (240, 320)


@dataclass(frozen=True)
class Trial:
    """`rates`: of the precisions that can be executed. `operations`: that a sample needs in the
    layout, where each is computed once. `ceilings`: operations/s of one large convolution, by
    precision, where the backend runs parts of networks and has it."""

    rates: Rates
    operations: float
    ceilings: dict[Precision, float]


def tried(settings: ExecutorSettings, precisions: Sequence[Precision]) -> Rates:
    """What each of the precisions comes to here, the most exact one first; less those that cannot
    be executed. The only one that can is not run. Raises `EngineError`."""
    log.info("measuring which of %s is the fastest here (once)", ", ".join(precisions))
    rates: Rates = _answer(settings, precisions, thorough=False)["rates"]
    return rates


def examined(settings: ExecutorSettings, precisions: Sequence[Precision]) -> Trial:
    """As `tried`, of a single one too, and what the rates can be compared with."""
    return Trial(**_answer(settings, precisions, thorough=True))


def _answer(
    settings: ExecutorSettings, precisions: Sequence[Precision], *, thorough: bool
) -> dict[str, Any]:
    """What the process says."""
    about = {
        "model": settings.model.spec,
        "sha256": settings.model.sha256,
        "layout": settings.model.layout,
        "backend": settings.backend,
        "device": settings.device,
        "threads": settings.threads,
        "precisions": list(precisions),
        "thorough": thorough,
    }
    process = subprocesses.start(__name__, json.dumps(about), stdout=PIPE, stderr=PIPE)
    try:
        out, said = process.communicate(timeout=_PATIENCE_S)
    except TimeoutExpired:
        raise BackendError(
            f"measuring precisions took more than {_PATIENCE_S} s; name one by --precision"
        ) from None
    finally:
        subprocesses.reap(process, 0)
    lines = said.decode(errors="replace").strip().splitlines()
    reason = printable(lines[-1]) if lines else "no word"
    if process.returncode == UsageError.exit_code:
        raise UsageError(reason)
    if process.returncode:
        raise BackendError(
            f"measuring precisions ended by {subprocesses.spell_exit(process.returncode)} "
            f"({reason}); name one by --precision"
        )
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def main(arguments: Sequence[str]) -> int:
    """The process. Its last line on standard output is the answer, as JSON."""
    parent, about = arguments
    subprocesses.end_with(int(parent))
    try:
        print(json.dumps(_measured(**json.loads(about))))
    except EngineError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return error.exit_code
    return 0


def _measured(
    *,
    model: str,
    sha256: str,
    layout: str,
    precisions: list[Precision],
    thorough: bool,
    **about: Any,
) -> dict[str, Any]:
    opened = open_model(model)
    if opened.sha256 != sha256:
        raise ModelError(f"{model} was replaced while its precisions were measured; run again")
    opened = opened.with_layout(layout, whole_clips=False)
    settings = ExecutorSettings(
        model=opened,
        recipe=opened.recipe,
        precision=precisions[0],
        max_batch=None,
        max_wait=0,
        secret=b"",
        **about,
    )
    exact, *others = precisions
    runners, _ = _opened(settings, others)
    if not (runners or thorough):
        return {"rates": {exact: None}}
    own, why_not = _opened(settings, [exact])
    runners = own | runners
    if not runners:
        raise why_not or UsageError(f"{model} runs in no precision here")
    if len(runners) == 1 and not thorough:
        return {"rates": dict.fromkeys(runners)}
    clock = _clock(next(iter(runners.values())).facts)
    runs = {p: partial(_run, runner, _clips(settings, runner)) for p, runner in runners.items()}
    rates = {p: rate * runners[p].step for p, rate in timed(runs, clock).items()}
    found: dict[str, Any] = {"rates": rates}
    if thorough:
        ceilings = {p: _ceiling(replace(settings, precision=p), clock) for p in runs}
        found["ceilings"] = {p: rate for p, rate in ceilings.items() if rate is not None}
        found["operations"] = _operations(settings)
    return found


def _opened(
    settings: ExecutorSettings, precisions: Sequence[Precision]
) -> tuple[dict[Precision, Runner], EngineError | None]:
    """Runners in the precisions that can be executed, and why the last other one cannot."""
    found: dict[Precision, Runner] = {}
    why: EngineError | None = None
    for precision in precisions:
        try:
            found[precision] = replace(settings, precision=precision).open_runner()
        except UsageError as error:
            why = error
    return found, why


def _clock(facts: Facts) -> Callable[[], float]:
    """Seconds; of a CPU those that its threads computed for, since other work on the machine makes
    them wait, and would decide which precision looks faster."""
    if not facts.threads:
        return time.perf_counter
    return lambda: time.process_time() / facts.threads


def _clips(settings: ExecutorSettings, runner: Runner) -> Clips | JointClips:
    return prepared(runner, sampled(poses_of(settings.recipe), settings.recipe))


def _run(runner: Runner, clips: Clips | JointClips, count: int) -> None:
    """So many runs, each of as many samples as fill one."""
    for _ in infer(runner, [clips] * runner.step * count):
        pass


def poses_of(recipe: Recipe) -> PoseSequence:
    """Somebody who drifts through a picture."""
    rng = np.random.default_rng(0)
    joints = recipe.joints
    body = rng.uniform((40, 40), (120, 200), (joints, 2))
    drift = np.arange(FRAMES)[:, None, None] * (1.0, 0.2)
    return PoseSequence.from_annotation(
        {
            "keypoint": (body + drift + rng.normal(0, 1, (FRAMES, joints, 2)))[None],
            "img_shape": _PICTURE,
            "total_frames": FRAMES,
        },
        recipe,
    )


def _operations(settings: ExecutorSettings) -> float:
    content = settings.model.content()
    if settings.model.layout != SHARED:
        return operations.of_graph(onnx.load_model_from_string(content))
    cuts, clips = Cuts.of(content), sampled(poses_of(settings.recipe), settings.recipe)
    halves = 2 if clips.twins else 1
    return halves * operations.of_contexts(cuts, of_plan(clips.plan, cuts.strides))


def _ceiling(settings: ExecutorSettings, clock: Callable[[], float]) -> float | None:
    part = operations.large_convolution(quantised=settings.precision == INT8)
    try:
        backend = registry.load(
            settings.backend,
            replace(settings.model, layout=SHARED),
            device=settings.device,
            precision=settings.precision,
            threads=settings.threads,
        )
        if not isinstance(backend, PartsBackend):
            return None
        seconds = operations.seconds_of(backend.part(part), part, backend.values, clock)
    except UsageError:
        return None
    return operations.of_graph(part.model) / seconds


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
