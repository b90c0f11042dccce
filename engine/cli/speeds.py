"""The table of speeds: what ``python -m engine.doctor --measure`` measures and prints.

Comes in: a model. Goes out: for each precision that it can be run in here, and each layout,
samples/s of one video of usual length. They are kept, as those of ``--precision fastest``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.backends import registry
from engine.base.choices import LAYOUTS, Layout, Precision
from engine.base.errors import UsageError
from engine.base.options import Options
from engine.runtime import speeds, trial
from engine.runtime.setup import Setup
from engine.runtime.speeds import Conditions
from engine.runtime.trial import Trial


@dataclass(frozen=True)
class Cell:
    """`samples_per_s`: of videos of `trial.FRAMES` frames. `of_ceiling`: what that is of the
    operations/s that one large convolution reaches in the same precision; None where the backend
    has no such figure."""

    precision: Precision
    layout: Layout
    backend: str
    samples_per_s: float
    of_ceiling: float | None


def measured(model: str) -> list[Cell]:
    """Measure a model on the backend that suits it. Raises `EngineError`."""
    found: list[Cell] = []
    for layout in LAYOUTS:
        try:
            setup = Setup.of(Options(model=model, layout=layout))
        except UsageError:
            if layout != LAYOUTS[0]:  # not every network can be cut
                continue
            raise
        if setup.model.compiled:
            raise UsageError(
                f"--measure {model}: an .om has one precision; python -m benchmarks.pure_inference "
                "measures it"
            )
        settings = setup.executors[0]
        of_layout = trial.examined(settings, registry.candidates(setup.model))
        speeds.keep(Conditions.of(settings), of_layout.rates)
        found += _cells(of_layout, layout, setup.backend_name)
    return found


def _cells(found: Trial, layout: Layout, backend: str) -> list[Cell]:
    cells = []
    for precision, rate in found.rates.items():
        assert rate is not None  # all were measured
        ceiling = found.ceilings.get(precision)
        share = None if ceiling is None else rate * found.operations / ceiling
        cells.append(Cell(precision, layout, backend, rate, share))
    return cells


def printed(cells: Sequence[Cell]) -> str:
    """As lines."""
    lines = [
        f"a video of {trial.FRAMES} frames through backend {cells[0].backend}",
        f"{'precision':10} {'layout':7} {'samples/s':>9} {'of the ceiling':>15}",
    ]
    for cell in cells:
        share = "-" if cell.of_ceiling is None else f"{cell.of_ceiling:.0%}"
        lines.append(f"{cell.precision:10} {cell.layout:7} {cell.samples_per_s:9.3g} {share:>15}")
    return "\n".join(lines)
