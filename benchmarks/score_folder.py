"""Score a folder that ``ais_bench`` wrote: the published recipe's last step, by our aggregator.

    python -m benchmarks.score_folder --infer_results DIR --label_file hmdb51_label.txt

Each file ``NAME_0.bin`` (float32) or ``NAME_0.npy`` has the logits of one sample's clips; lines of
the label file are ``NAME LABEL``. A sample has as many clips as the ``clips.json`` says that
``--dump-bin`` wrote beside the label file, and 20 where there is none.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import EngineError, UsageError
from engine.base.recipe import HMDB51_RECIPE
from engine.cli.dump import ABOUT
from engine.network.recogniser import average
from engine.outputs.accuracy import mean_class_accuracy, top_k_accuracy


def main(argv: Sequence[str] | None = None) -> int:
    """Print the accuracies, as the recipe does. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.score_folder", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--infer_results", type=Path, required=True, metavar="DIR")
    parser.add_argument("--label_file", type=Path, required=True, metavar="FILE")
    args = parser.parse_args(argv)
    try:
        scores, labels = read(args.infer_results, args.label_file)
    except EngineError as error:
        print(f"score_folder: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{len(labels)} samples")
    labelled = sum(1 for line in args.label_file.read_text().splitlines() if line.strip())
    if labelled > len(labels):
        print(
            f"score_folder: {labelled - len(labels)} samples of {args.label_file} have no result",
            file=sys.stderr,
        )
    for name, value in (
        ("top1_acc", top_k_accuracy(scores, labels, 1)),
        ("top5_acc", top_k_accuracy(scores, labels, 5)),
        ("mean_class_accuracy", mean_class_accuracy(scores, labels)),
    ):
        print(f"{name}\t{value:.4f}")
    return 0


def read(folder: Path, label_file: Path) -> tuple[NDArray[np.float32], list[int]]:
    """Scores [N, classes] and labels of the files in a folder. Raises `UsageError` where a file
    has no label, another size than a row a clip, or where there is none."""
    views = _views(label_file.with_name(ABOUT))
    try:
        pairs = [line.split() for line in label_file.read_text().splitlines() if line.strip()]
        known = {name: int(label) for name, label in pairs}
        # a summary may lie among the results
        paths = sorted(p for p in folder.iterdir() if p.suffix in (".bin", ".npy"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{label_file}, {folder}: {error}") from None
    if not paths:
        raise UsageError(
            f"{folder} has no .bin or .npy files; was ais_bench run with --outfmt BIN?"
        )
    scores, labels = [], []
    for path in paths:
        name = path.stem.rpartition("_")[0] or path.stem
        if name not in known:
            raise UsageError(f"{path.name}: {label_file} has no label for {name}")
        values = np.load(path) if path.suffix == ".npy" else np.fromfile(path, np.float32)
        if values.size == 0 or values.size % views:
            raise UsageError(
                f"{path.name} has {values.size} values, which are no {views} rows; {ABOUT} beside "
                f"{label_file} says how many clips a sample has, and --dump-bin writes it"
            )
        scores.append(average(values.reshape(views, -1).astype(np.float32)))
        labels.append(known[name])
    return np.stack(scores), labels


def _views(about: Path) -> int:
    """Clips of a sample. Raises `UsageError` where a file is damaged."""
    if not about.is_file():
        return HMDB51_RECIPE.views
    try:
        views = json.loads(about.read_text())["shape"][0]
        if type(views) is not int or views < 1:
            raise ValueError(f"{views!r:.40} clips")
    except (OSError, ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise UsageError(f"{about} is damaged ({error!r:.200}); --dump-bin writes it") from None
    return views


if __name__ == "__main__":
    sys.exit(main())
