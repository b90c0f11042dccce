"""What configs are tested on."""

from __future__ import annotations

from pathlib import Path

import pytest

from converters.evaluation import evaluation_of
from engine.base.published import BENCHMARKS, CHECKPOINTS

NEW = "test_dataloader = dict(batch_size=1, dataset=dict(type='PoseDataset', {}))"
OLD = "data = dict(videos_per_gpu=16, test=dict(type='PoseDataset', {}))"


@pytest.mark.parametrize("form", [NEW, OLD])
@pytest.mark.parametrize(
    ("values", "split", "benchmark"),
    [
        ("ann_file=ann_file, split='xsub_val'", "xsub_val", "ntu60"),
        ("ann_file='../gym_hrnet.pkl', split='val'", "val", "gym99"),
        ("ann_file='data/mine.pkl', split='val'", "val", None),
        ("ann_file='data/posec3d/ntu120_xsub_val.pkl'", None, "ntu120"),
        ("ann_file=find(), split=choose()", None, None),
        ("", None, None),
    ],
)
def test_configs(
    tmp_path: Path, form: str, values: str, split: str | None, benchmark: str | None
) -> None:
    config = tmp_path / "config.py"
    config.write_text(f"ann_file = 'data/skeleton/ntu60_2d.pkl'\n{form.format(values)}\n")
    found = evaluation_of(str(config))
    assert found.split == split
    assert (found.benchmark and found.benchmark.name) == benchmark


def test_several_data_sets(tmp_path: Path) -> None:
    """What they have in common."""
    config = tmp_path / "config.py"
    sets = "dict(ann_file='hmdb51_2d.pkl', split='a'), dict(ann_file='hmdb51_2d.pkl', split='b')"
    config.write_text(f"test_dataloader = dict(dataset=dict(datasets=[{sets}]))\n")
    found = evaluation_of(str(config))
    assert (found.split, found.benchmark) == (None, BENCHMARKS["hmdb51"])


def test_without_a_data_set(tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text("data = 3\n")
    assert evaluation_of(str(tmp_path / "config.py")).split is None


def test_names() -> None:
    for name, one in CHECKPOINTS.items():
        found = evaluation_of(name)
        assert found.split == one.split
        assert found.benchmark is not None
        assert found.benchmark.name == one.benchmark
