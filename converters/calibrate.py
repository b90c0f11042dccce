"""Recorded logits to an agreement: the program behind ``python -m converters.calibrate``.

Comes in: archives that ``--logits`` wrote of runs with all clips, of samples on which the model was
not trained. Goes out: how often fewer clips give the same best class, for ``--clips adaptive``
(`engine.network.agreement`), beside the model file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from math import sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.output import exit_code
from engine.base.command_parser import CommandParser
from engine.base.errors import DatasetError, UsageError
from engine.base.files import place_of, write_json
from engine.base.npz import npz_file
from engine.cli.checks import Taken
from engine.network.agreement import Agreement, fitted, samples_for, table_path
from engine.network.models import ModelFile, open_model

_SHOWN = (0.95, 0.98, 0.99, 0.995, 0.998)
_LEAST = 20  # samples


def main(argv: Sequence[str] | None = None) -> int:
    """Fit, write, print. Returns the exit code."""
    args = _parser().parse_args(argv)
    return exit_code("calibrate", lambda: _calibrate(args))


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m converters.calibrate",
        description="Fit --clips adaptive to a model: from the logits of all clips of samples that "
        "it was not trained on, how many of them tell the best class already.",
    )
    parser.add_argument(
        "logits",
        nargs="+",
        type=Path,
        metavar="LOGITS.npz",
        help="archives that python -m engine.run --logits wrote, with all clips",
    )
    parser.add_argument("--model", required=True, help="the model, as engine.run takes it")
    parser.add_argument("--config", help="the config of a checkpoint, as engine.run takes it")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="where to write (default: beside the model)"
    )
    parser.add_argument(
        "--any-model",
        action="store_true",
        help="of archives of several models, for any model: such a file is for no one alone",
    )
    return parser


def _calibrate(args: argparse.Namespace) -> None:
    model = open_model(args.model, config=args.config)
    output = args.output or table_path(args.model, model)
    taken = Taken([("an archive that is read", path) for path in args.logits])
    for path in (Path(args.model), model.path):
        if path.is_file() and place_of(path) == place_of(output):
            raise UsageError(f"--output {output} is the model")
    taken.claim("--output", str(output))
    if len({place_of(path) for path in args.logits}) < len(args.logits):
        raise UsageError("the same archive twice")
    found = [_logits(path, model, any_model=args.any_model) for path in args.logits]
    samples = [one for archive in found for one in archive]
    if len(samples) < _LEAST:
        raise DatasetError(f"{len(samples)} samples tell nothing of others; {_LEAST} at least")
    of = ", ".join(
        f"{path.name} ({len(one)})" for path, one in zip(args.logits, found, strict=True)
    )
    points = fitted(samples, model.recipe)
    made = Agreement(points, len(samples), of, None if args.any_model else model.sha256)
    write_json(output, made.to_json())
    print(f"samples\t{len(samples)} of {of}")
    print("wanted\tfactor\tagrees\tclips of a sample, mean")
    for wanted in _SHOWN:
        try:
            factor = made.factor(wanted)
        except UsageError:
            need = samples_for(wanted)
            why = f"takes {need} samples" if len(samples) < need else "none agrees so often"
            print(f"{wanted:g}\t{why}")
            continue
        point = next(point for point in points if point.factor == factor)
        low, high = _interval(point.agreement, len(samples))
        print(
            f"{wanted:g}\t{factor:g}\t{point.agreement:.4f} (95 %: {low:.4f} to {high:.4f})\t"
            f"{point.clips:.2f} of {model.recipe.views}"
        )
    print(f"wrote\t{output}")


def _logits(path: Path, model: ModelFile, *, any_model: bool) -> NDArray[np.float32]:
    """Those of an archive, [N, views, classes]. Raises `DatasetError` that names the file."""
    views, classes = model.recipe.views, len(model.classes)
    with npz_file(path) as arrays:
        logits = arrays.get("logits")
        if logits is None or logits.dtype != np.float32 or logits.ndim != 3:
            raise DatasetError("no array `logits` [N, clips, classes]; --logits writes it")
        if logits.shape[1] != views:
            raise DatasetError(f"{logits.shape[1]} clips a sample; all {views} are needed")
        of = arrays.get("model")
        if not any_model and (logits.shape[2] != classes or of not in (None, model.sha256)):
            raise DatasetError(f"logits of another model than {model.path}")
        if np.isnan(logits).any():
            raise DatasetError("clips that were not run; write it with --clips all")
        if not np.isfinite(logits).all():
            raise DatasetError("logits that are not finite")
        return logits


def _interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's interval of a share of so many, 95 %."""
    z = 1.96
    middle = share + z * z / (2 * count)
    half = z * sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


if __name__ == "__main__":
    sys.exit(main())
