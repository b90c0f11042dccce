"""Agreement: how sure a best class has to be before the other clips are left out.

Comes in: the logits of all clips of samples whose answers are known by then. Goes out: for each
factor of a rule (`engine.network.clip_rules.ClipRule`) how often its answer is that of all clips,
kept as JSON beside a model file. What ships is of the demo's motion and of JHMDB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import ceil, sqrt
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from engine.base.errors import ModelError, UsageError, printable
from engine.base.recipe import Recipe
from engine.network.clip_rules import ClipRule, probabilities
from engine.network.models import ModelFile

FACTORS: Final = tuple(round(0.05 * step, 2) for step in range(61))
"""Those that are tried, ascending: 0 to 3."""

_SHIPPED: Final = "agreement.json"


@dataclass(frozen=True)
class Point:
    """What became of the samples with a factor: the share that has the same best class as by all
    clips, and the mean number of clips that were run."""

    factor: float
    agreement: float
    clips: float


@dataclass(frozen=True)
class Agreement:
    """`points`: by ascending factor. `samples`: of how many. `of`: what they were, in words.
    `model`: SHA-256 of the file that it was fitted for, hex; None for any."""

    points: tuple[Point, ...]
    samples: int
    of: str
    model: str | None = None

    def factor(self, wanted: float) -> float:
        """The least factor from which on so large a share agrees. Raises `UsageError` where there
        is none, and where there are too few samples to tell: one more or less is a larger share."""
        if self.samples < (needed := samples_for(wanted)):
            raise UsageError(
                f"--agreement {wanted:g}: {self.samples} samples of {self.of} cannot tell that; it "
                f"takes {needed}. Ask for less, fit to more (python -m converters.calibrate), or "
                "take --clips certain"
            )
        found: float | None = None
        for point in reversed(self.points):
            if point.agreement < wanted:
                break
            found = point.factor
        if found is None:
            best = max(point.agreement for point in self.points)
            raise UsageError(
                f"--agreement {wanted:g}: of the {self.samples} samples of {self.of} at most "
                f"{best:.4f} agree; ask for less, or take --clips certain"
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """JSON types only."""
        points = [[p.factor, p.agreement, p.clips] for p in self.points]
        return {"points": points, "samples": self.samples, "of": self.of, "model": self.model}

    @classmethod
    def from_json(cls, found: Any) -> Agreement:
        """Raises `ValueError` for what `to_json` does not give."""
        try:
            points = tuple(Point(*(float(number) for number in one)) for one in found["points"])
            samples, of, model = int(found["samples"]), str(found["of"]), found["model"]
        except (LookupError, TypeError) as error:
            raise ValueError("another structure") from error
        factors = [point.factor for point in points]
        if not points or factors != sorted(factors) or not np.isfinite(factors).all():
            raise ValueError("factors that do not ascend")
        if not all(0 <= point.agreement <= 1 for point in points):
            raise ValueError("an agreement beyond 0 to 1")
        return cls(points, samples, of, None if model is None else str(model))


def samples_for(wanted: float) -> int:
    """How many samples it takes to tell whether so large a share agrees."""
    return ceil(1 / max(1 - wanted, 1e-6) - 1e-6)


def table_path(named: str, model: ModelFile) -> Path:
    """Where the agreement of a model is kept: beside the file that is `named`, else, of a name,
    beside the file that it stands for."""
    path = Path(named) if Path(named).is_file() else model.path
    return path.with_name(f"{path.name}.clips.json")


def agreement_for(named: str, model: ModelFile) -> Agreement:
    """That of a model, or what ships. Raises `ModelError` where what is kept is of another one, or
    damaged."""
    path = table_path(named, model)
    again = (
        "python -m converters.calibrate makes it anew, and without it the one that ships is used"
    )
    try:
        found = Agreement.from_json(orjson.loads(path.read_bytes()))
    except FileNotFoundError:
        return _shipped()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not what calibrate writes"
        raise ModelError(f"{printable(path)}: {reason}; {again}") from None
    if found.model not in (None, model.sha256):
        raise ModelError(f"{printable(path)} is of another model file; {again}")
    return found


@cache
def _shipped() -> Agreement:
    content = files("engine.network").joinpath(_SHIPPED).read_bytes()
    return Agreement.from_json(orjson.loads(content))


def fitted(logits: Sequence[NDArray[np.float32]], recipe: Recipe) -> tuple[Point, ...]:
    """Of samples of which all clips were run, each float32 [views, classes], finite: what becomes
    of them with each of `FACTORS`."""
    order, views = list(recipe.view_order), recipe.views
    ends = ClipRule(until="adaptive").stages(views)
    scores = [probabilities(one[order]) for one in logits]
    best = np.array([[one[:end].sum(axis=0).argmax() for end in ends] for one in scores])
    gaps = np.array([[_gap(one[:end]) * sqrt(end) for end in ends] for one in scores])
    certain = ClipRule(until="certain")
    over = np.array([[certain.decided(one[:end], views) for end in ends] for one in scores])
    points = []
    for factor in FACTORS:
        stage = (over | (gaps > factor)).argmax(axis=1)  # the last one is always over
        chosen = np.take_along_axis(best, stage[:, None], axis=1)[:, 0]
        agrees = float((chosen == best[:, -1]).mean())
        points.append(Point(factor, agrees, float(np.array(ends)[stage].mean())))
    return tuple(points)


def _gap(scores: NDArray[np.float64]) -> float:
    """Between the two best mean scores."""
    if scores.shape[1] == 1:
        return 1.0
    second, best = np.partition(scores.mean(axis=0), scores.shape[1] - 2)[-2:]
    return float(best - second)
