"""The listing: what ``--list`` prints, every data set and checkpoint that has a name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.base.assets import DEMO, Asset, as_published, find
from engine.base.published import BENCHMARKS, CHECKPOINTS, DATASETS, Checkpoint, checkpoint_for


def listing() -> str:
    """Two tables, as text."""
    datasets = [("data set", "classes", "here", "default split", "default model")]
    datasets.append((DEMO, "hmdb51", "yes", "test1", DEMO))
    for name, data in DATASETS.items():
        model = checkpoint_for(name)
        datasets.append((name, data.benchmark, _here(data), model.split or "none", model.name))
    models = [("checkpoint", "classes", "here", "input", "published", "on")]
    for one in CHECKPOINTS.values():
        where = f"{one.dataset} {one.split or ''}".strip()
        models.append((one.name, one.benchmark, _here(one), _input(one), _accuracy(one), where))
    return "\n".join(
        [
            *_aligned(datasets),
            "",
            *_aligned(models),
            "",
            "What is not here yet is downloaded on first use; a run refuses `another file`, whose "
            "SHA-256 is not the",
            "published one, until it is deleted. Accuracies are what the authors of a checkpoint "
            "report,",
            "in percent: top-1, for gym99 mean class accuracy. --dataset takes a name of the first "
            "table or a path,",
            "--model and --config one of the second.",
        ]
    )


def _here(asset: Asset) -> str:
    path = find(asset)
    if path is None:
        return "no"
    return "yes" if as_published(path, asset) else "another file"


def _input(one: Checkpoint) -> str:
    return f"{one.recipe.input}, {one.network}"


def _accuracy(one: Checkpoint) -> str:
    mean = " mean" if BENCHMARKS[one.benchmark].metric == "mean_class_accuracy" else ""
    return f"{one.accuracy:.1f}{mean}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
