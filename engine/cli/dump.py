"""The dump: clip tensors as the files that the published recipe's first step writes.

Comes in: `Options`. Goes out: ``DIR/bin/00000.bin`` …, each a float32 tensor of the shape [views,
channels, length, size, size] that the model takes (HMDB51's: [20, 17, 48, 56, 56], 205 MB);
their labels, ``DIR/hmdb51_label.txt`` for classes of HMDB51, ``ntu60_label.txt`` and the like for
those of another benchmark, else ``label.txt``; and ``DIR/clips.json``, which has the shape and the
recipe. For comparing tensors with other programs, and for feeding ``ais_bench``; the engine itself
needs none of these files.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from engine.base.constants import HMDB51
from engine.base.errors import OutputError, SampleError
from engine.base.files import guarded, write_atomically, write_json
from engine.base.options import Options
from engine.base.progress import SampleProgress
from engine.base.published import BENCHMARKS, DATASETS, Benchmark, benchmark_of, checkpoint_for
from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.base.records import Cause
from engine.cli.checks import taken_by
from engine.runtime.setup import model_of
from engine.skeletons.clips import HeatmapClips, decode
from engine.skeletons.samples import ANY_CLASSES, Sample
from engine.sources.dataset import find_dataset
from engine.sources.formats.poses import Reading

LABELS = "label.txt"
ABOUT = "clips.json"


def dump(options: Options, folder: Path) -> int:
    """Write the tensors of a dataset. Returns the exit code: 3 where a sample could not be
    decoded, which then has no file. Raises `OutputError`, also for too small a disk, and
    `ModelError`."""
    reading = Reading.of(options.size, options.joints, coordinates=options.coordinates)
    select = find_dataset(options.dataset, options.ann_file, reading)
    recipe, split, benchmark = _wanted(options)
    shape = recipe.views, *recipe.clip_shape
    samples = select(options.split, options.limit, split).samples
    guarded(folder, lambda: (folder / "bin").mkdir(parents=True, exist_ok=True))
    labels = folder / (LABELS if benchmark is None else f"{benchmark.name}_{LABELS}")
    taken = taken_by(options)
    linked = [path for path in (folder / "bin").glob("*.bin") if path.is_symlink()]
    for path in (labels, folder / ABOUT, *linked):
        taken.claim("--dump-bin", str(path))
    _check_room(folder, len(samples) * prod(shape) * 4)
    failed = 0
    with SampleProgress("samples", len(samples)) as progress:
        for done, sample in enumerate(samples, 1):
            found = _clips(sample, recipe)
            if isinstance(found, Cause):
                failed += 1
                print(f"engine.run: {sample.id}: {found}", file=sys.stderr)
                continue
            path = folder / "bin" / f"{sample.index:05d}.bin"
            write_atomically(path, partial(_write, found))
            progress.update(done, path.name)
    _write_labels(labels, samples)
    about = {"shape": shape, "dtype": "float32", "recipe": recipe.to_json()}
    write_json(folder / ABOUT, about)
    print(f"wrote {len(samples) - failed} tensors {list(shape)} to {folder / 'bin'}")
    print(f"wrote {labels}\nwrote {folder / ABOUT}")
    return SampleError.exit_code if failed else 0


def _wanted(options: Options) -> tuple[Recipe, str | None, Benchmark | None]:
    """The recipe, and where they are known the split that it is tested on and the benchmark: of the
    model, if one is given, else of the checkpoint that a named data set has, else of HMDB51's."""
    recipe, split, benchmark = HMDB51_RECIPE, None, benchmark_of(HMDB51)
    if options.model is not None:
        model = model_of(options)
        recipe, split, benchmark = model.recipe, model.split, benchmark_of(model.classes)
    elif options.dataset in DATASETS:
        known = checkpoint_for(options.dataset)
        recipe, split, benchmark = known.recipe, known.split, BENCHMARKS[known.benchmark]
    if options.reference:
        recipe = recipe.drawn_as(options.reference)
    return recipe, split, benchmark


def _clips(sample: Sample, recipe: Recipe) -> HeatmapClips | Cause:
    """The clips of a sample, or why it has none."""
    poses = sample.read(ANY_CLASSES, recipe)
    if isinstance(poses, Cause):
        return poses
    try:
        return decode(poses, recipe)
    except Exception as error:
        return Cause.of(error, "decode")


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(
            f"--dump-bin {folder}: {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB free; "
            "--limit takes fewer samples"
        )


def _write(clips: HeatmapClips, target: IO[bytes]) -> None:
    clip = np.empty((1, *clips.shape), np.float32)
    for number in range(clips.views):
        clips.write(number, clip)
        target.write(clip.data)


def _write_labels(path: Path, samples: Sequence[Sample]) -> None:
    """A line ``00000 LABEL`` for each sample that has a label."""
    lines = [f"{s.index:05d} {s.label}\n" for s in samples if s.label is not None]
    write_atomically(path, lambda target: target.write("".join(lines).encode()))
