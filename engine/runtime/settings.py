"""Settings: what the processes of a run are, and within which limits they run.

Apart from the code of an executor, which the parent has no need of.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.backends import registry
from engine.base.choices import Precision
from engine.base.curve import Listening
from engine.base.recipe import Recipe
from engine.network.clip_rules import ALL, ClipRule
from engine.network.models import ModelFile
from engine.network.runners.base import Runner
from engine.network.runners.opening import open_runner
from engine.runtime.transport.messages import WorkerSettings


@dataclass(frozen=True)
class ExecutorSettings:
    """What an executor process is told at its start."""

    backend: str
    model: ModelFile
    device: str | None
    precision: Precision
    threads: int
    max_batch: int | None  # samples; None: what suits the runner
    max_wait: float  # seconds
    secret: bytes  # see `engine.runtime.transport.clip_messages.seal`
    recipe: Recipe  # of the clips of every sample
    guests: bool = False  # whether workers of other machines send clips, too
    rule: ClipRule = ALL  # how many of them are run
    room: int = 0  # bytes for what is kept of tracks, or from stage to stage of a sample

    def open_runner(self) -> Runner:
        """Load the model. Raises what `registry.load` and `opening.open_runner` do."""
        backend = registry.load(
            self.backend,
            self.model,
            device=self.device,
            precision=self.precision,
            threads=self.threads,
        )
        return open_runner(backend, self.model, self.recipe, self.rule, self.room)


@dataclass(frozen=True)
class PoolSettings:
    """How many children, with what, and how long they may take to get READY."""

    workers: int
    executors: tuple[ExecutorSettings, ...]
    worker: WorkerSettings
    start_timeout: float  # seconds; loading a model onto a device can take minutes


@dataclass(frozen=True)
class SupervisorSettings:
    """Which children, and within which limits."""

    pool: PoolSettings
    max_memory: int  # bytes in flight
    lease_timeout: float  # seconds of a worker's silence
    stall_timeout: float  # seconds of an executor's silence
    grace: float  # seconds to finish what is on its way after an interruption
    listening: Listening | None  # for guests
