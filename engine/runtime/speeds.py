"""Speeds: how fast this host runs a model in each precision, measured once and kept.

Comes in: what a measurement depends on, and who measures. Goes out: the precision to run in, with
the reason in words. Which one is the fastest is a property of the processor, not of the precision:
bf16 is faster where matrix units compute it, slower where they do not, and absent elsewhere.

A measurement stays in the cache directory (`Conditions.path`), so that all runs under the same
conditions, a resumed one too, have the same answer.
"""

from __future__ import annotations

import hashlib
import logging
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from engine.backends import registry
from engine.base import assets, host
from engine.base.choices import PRECISIONS, Precision
from engine.base.errors import OutputError
from engine.base.files import guarded, write_json
from engine.base.version import __version__
from engine.runtime.settings import ExecutorSettings

log = logging.getLogger("engine")

SECONDS: Final = 1.0  # that each precision is run for, or one sample where that takes longer
_ALIKE: Final = 1.05  # a smaller gain is noise, and the more exact precision is taken
_MOST_SAMPLES: Final = 1024  # of one run

Rates = dict[Precision, float | None]
"""Samples/s of each precision that can be executed; None of one that had no rival to measure."""


@dataclass(frozen=True)
class Conditions:
    """What a measurement depends on: the `host` that computes, the SHA-256 of the `model`, the
    `backend` and its version, its `device`, the `layout`, the `threads`, and the engine."""

    host: str
    model: str
    backend: str
    version: str
    device: str
    layout: str
    threads: int
    engine: str = __version__

    @classmethod
    def of(cls, settings: ExecutorSettings) -> Conditions:
        """Those of an executor."""
        return cls(
            host.hardware(),
            settings.model.sha256,
            settings.backend,
            registry.version_of(settings.backend),
            settings.device or "default",
            settings.model.layout,
            settings.threads,
        )

    @property
    def path(self) -> Path:
        """Where its measurement is kept."""
        key = hashlib.sha256(orjson.dumps(asdict(self))).hexdigest()[:16]
        return assets.cache_dir() / "speeds" / f"{key}.json"


@dataclass(frozen=True)
class Speeds:
    """What was measured, with at least one precision."""

    rates: Rates

    @property
    def fastest(self) -> Precision:
        """The most exact of the precisions that are as fast as any."""
        known = {p: self.rates[p] or 0.0 for p in PRECISIONS if p in self.rates}
        return next(p for p, rate in known.items() if rate * _ALIKE >= max(known.values()))

    def in_words(self, *, at_hand: bool) -> str:
        """The fastest and the others; `at_hand`: measured by an earlier run."""
        fastest = self.fastest
        if len(self.rates) == 1:
            return f"{fastest}, the only one that this file can be run in here; nothing to measure"
        others = ", ".join(_spelt(p, r) for p, r in self.rates.items() if p != fastest)
        when = "as measured before" if at_hand else "measured now"
        return f"{_spelt(fastest, self.rates[fastest])}, the fastest here; {others} ({when})"

    def faster_than(self, precision: Precision) -> str | None:
        """In words what is faster than a precision; None where nothing is."""
        fastest, own = self.fastest, self.rates.get(precision)
        best = self.rates.get(fastest)
        if own is None or best is None or best <= own * _ALIKE:
            return None
        return (
            f"{precision}; {fastest} was measured {best / own:.2f} times as fast here "
            "(--precision fastest takes it)"
        )


def _spelt(precision: Precision, rate: float | None) -> str:
    return precision if rate is None else f"{precision} {rate:.3g} samples/s"


def fastest(conditions: Conditions, measure: Callable[[], Rates]) -> tuple[Precision, str]:
    """The precision that is the fastest under these conditions, and why: as was measured before,
    else as `measure` finds now."""
    if (found := kept(conditions)) is not None:
        return found.fastest, found.in_words(at_hand=True)
    rates = measure()
    # of two runs at once the first to end decides, for every run from then on
    if (found := kept(conditions)) is None:
        found = keep(conditions, rates)
    return found.fastest, found.in_words(at_hand=False)


def keep(conditions: Conditions, rates: Rates) -> Speeds:
    """Keep a measurement for later runs, where the cache directory can be written."""
    path = conditions.path
    try:
        guarded(path, lambda: path.parent.mkdir(parents=True, exist_ok=True))
        write_json(path, {"conditions": asdict(conditions), "samples_per_s": rates})
    except OutputError as error:
        log.warning("what was measured cannot be kept, and is measured again next time: %s", error)
    return Speeds(rates)


def kept(conditions: Conditions) -> Speeds | None:
    """What was measured under the same conditions before; None too where its file is damaged."""
    try:
        found = orjson.loads(conditions.path.read_bytes())
        rates = found["samples_per_s"]
        same = found["conditions"] == asdict(conditions)
        return Speeds(rates) if same and _are_rates(rates) else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _are_rates(rates: Any) -> bool:
    if not isinstance(rates, dict) or not rates or rates.keys() - {*PRECISIONS}:
        return False
    if len(rates) == 1 and [*rates.values()] == [None]:
        return True
    return all(type(r) is float and 0 < r < math.inf for r in rates.values())


def timed(
    runs: Mapping[Precision, Callable[[int], object]],
    clock: Callable[[], float] = time.perf_counter,
    seconds: float = SECONDS,
) -> dict[Precision, float]:
    """Samples/s of each, which is told how many samples to run.

    At first each only finds how many take a quarter of the time, unless one takes all of it; then
    they run in turn, so that a drift of the machine's speed meets all alike, and the median
    counts."""
    sizes: dict[Precision, int] = {}
    taken: dict[Precision, list[float]] = {}
    for precision, run in runs.items():
        size, spent = 1, _seconds(run, 1, clock)
        while spent < seconds / 4 and size < _MOST_SAMPLES:
            size *= 2
            spent = _seconds(run, size, clock)
        sizes[precision], taken[precision] = size, [spent] if spent >= seconds else []
    while due := [precision for precision, found in taken.items() if sum(found) < seconds]:
        for precision in due:
            taken[precision].append(_seconds(runs[precision], sizes[precision], clock))
    return {p: sizes[p] / statistics.median(found) for p, found in taken.items()}


def _seconds(run: Callable[[int], object], samples: int, clock: Callable[[], float]) -> float:
    start = clock()
    run(samples)
    return clock() - start
