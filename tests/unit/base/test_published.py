"""What is published, by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.base.constants import HMDB51
from engine.base.errors import UsageError
from engine.base.published import (
    BENCHMARKS,
    CHECKPOINTS,
    DATASETS,
    DEFAULT_CHECKPOINT,
    benchmark_of,
    checkpoint_for,
    checkpoint_of,
    config_of,
    other_classes,
    read_class_names,
)
from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.cli.listing import listing

SITE = "https://download.openmmlab.com/mmaction"


def test_addresses() -> None:
    assert DATASETS["hmdb51"].url == f"{SITE}/posec3d/hmdb51.pkl"
    assert DATASETS["ntu60_2d"].url == f"{SITE}/v1.0/skeleton/data/ntu60_2d.pkl"
    assert DATASETS["ntu60_hrnet"].url == f"{SITE}/pyskl/data/nturgbd/ntu60_hrnet.pkl"
    first = CHECKPOINTS[DEFAULT_CHECKPOINT]
    assert first.filename.endswith("-76ffdd8b.pth")
    assert (first.sha256, first.recipe, first.accuracy) == ("76ffdd8b", HMDB51_RECIPE, 69.3)
    limbs = CHECKPOINTS["slowonly_r50_8xb16-u48-240e_ntu60-xsub-limb"]
    assert limbs.url == (
        f"{SITE}/v1.0/skeleton/posec3d/slowonly_r50_8xb16-u48-240e_ntu60-xsub-limb/"
        "slowonly_r50_8xb16-u48-240e_ntu60-xsub-limb_20220815-af2f119a.pth"
    )
    joint = CHECKPOINTS["pyskl/slowonly_r50_gym/joint"]
    assert joint.url == f"{SITE}/pyskl/ckpt/posec3d/slowonly_r50_gym/joint.pth"


def test_all_have_a_name_of_their_own() -> None:
    assert len(CHECKPOINTS) == 42
    assert len({one.filename for one in CHECKPOINTS.values()}) == 42
    assert len({one.url for one in CHECKPOINTS.values()}) == 42
    assert len({one.filename for one in DATASETS.values()}) == len(DATASETS) == 22
    for one in CHECKPOINTS.values():
        assert DATASETS[one.dataset].benchmark == one.benchmark


def test_a_path_of_a_published_config(tmp_path: Path) -> None:
    """Where there is no such file, its name tells; a file is read."""
    path = tmp_path / f"{DEFAULT_CHECKPOINT}.py"
    assert config_of(f"configs/skeleton/posec3d/{DEFAULT_CHECKPOINT}.py") == DEFAULT_CHECKPOINT
    assert config_of(str(path)) == DEFAULT_CHECKPOINT
    path.write_text("model = dict()\n")
    for config in (str(path), DEFAULT_CHECKPOINT, "configs/own.py", f"{DEFAULT_CHECKPOINT}.pth"):
        assert config_of(config) == config


def test_a_checkpoint_is_known_by_its_digest() -> None:
    found = checkpoint_of("f3adabf1" + "0" * 56)
    assert found is CHECKPOINTS["slowonly_r50_u48_240e_ntu60_xsub_keypoint"]
    assert found.recipe == Recipe(size=64)
    assert checkpoint_of("0" * 64) is checkpoint_of("") is None  # not pyskl's, which have none


@pytest.mark.parametrize(
    ("dataset", "checkpoint"),
    [
        ("hmdb51", DEFAULT_CHECKPOINT),
        ("ntu60_2d", "slowonly_r50_8xb16-u48-240e_ntu60-xsub-keypoint"),
        ("ntu120_2d", "pyskl/slowonly_r50_ntu120_xsub/joint"),  # 1.x has none
        ("gym_train", "slowonly_r50_u48_240e_gym_keypoint"),
        ("diving48_2d", "pyskl/slowonly_r50_diving48/joint"),
    ],
)
def test_the_checkpoint_for_a_dataset(dataset: str, checkpoint: str) -> None:
    assert checkpoint_for(dataset).name == checkpoint


def test_class_names() -> None:
    assert BENCHMARKS["hmdb51"].classes == HMDB51
    for benchmark in BENCHMARKS.values():
        assert len(benchmark.classes) == benchmark.count
        assert benchmark_of(benchmark.classes) is benchmark
    ntu60, ntu120 = BENCHMARKS["ntu60"].classes, BENCHMARKS["ntu120"].classes
    assert (ntu60[0], ntu60[-1], ntu120[60]) == (
        "drink water",
        "walking apart from each other",
        "put on headphone",
    )
    assert benchmark_of([f"class_{i}" for i in range(60)]) is None


def test_names_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("walk\r\n\n fall \n")
    assert read_class_names(path, 2) == ("walk", "fall")
    with pytest.raises(UsageError, match=r"classes.txt: 2 names for a network of 3 classes"):
        read_class_names(path, 3)
    path.write_bytes(b"\xff")
    with pytest.raises(UsageError, match=r"classes.txt: .*decode"):
        read_class_names(path, 1)


def test_classes_of_a_model_and_of_its_data() -> None:
    """Compared where both sides have names; `class_N` is none."""
    ntu120, ntu60 = BENCHMARKS["ntu120"].classes, BENCHMARKS["ntu60"].classes
    assert other_classes("demo", ntu60) == (
        "class 0 is 'brush_hair' in demo and 'drink water' in the model"
    )
    assert other_classes("ntu60_2d", HMDB51) == (
        "class 0 is 'drink water' in ntu60_2d and 'brush_hair' in the model"
    )
    shuffled = (*HMDB51[:49], HMDB51[50], HMDB51[49])
    assert (other_classes("demo", shuffled) or "").startswith("class 49 is ")
    for dataset, classes in (
        ("demo", HMDB51),
        ("demo", [name.replace("_", " ").title() for name in HMDB51]),
        ("demo", [f"class_{i}" for i in range(60)]),
        ("ntu60_2d", ntu120),  # which begins with them
        ("ntu120_hrnet", ntu60),
        ("my.pkl", ntu60),
    ):
        assert other_classes(dataset, classes) is None
    for one in CHECKPOINTS.values():
        assert other_classes(one.dataset, BENCHMARKS[one.benchmark].classes) is None


def test_what_a_table_of_contents_is_nothing_without() -> None:
    assert {name for name, one in DATASETS.items() if one.beside} == {"k400_2d", "k400_hrnet"}


def test_a_file_that_is_not_the_published_one_is_listed_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a digest is published: pyskl has none."""
    monkeypatch.setenv("ENGINE_DATA_DIR", str(tmp_path))
    known, unknown = CHECKPOINTS[DEFAULT_CHECKPOINT], CHECKPOINTS["pyskl/slowonly_r50_gym/joint"]
    for one in (known, unknown):
        (tmp_path / one.filename).write_bytes(b"others")
    rows = {line.split()[0]: line.split()[2:4] for line in listing().split("\n") if line}
    assert rows[known.name] == ["another", "file"]
    assert rows[unknown.name][0] == "yes"


def test_listing() -> None:
    lines = listing().split("\n")
    [row] = [line for line in lines if line.startswith("slowonly_r50_u48_240e_gym_limb ")]
    assert row.split()[1:] == [
        *("gym99", "no", "20", "x", "limbs", "48x64x64,", "slowonly-463"),
        *("94.0", "mean", "gym_val"),
    ]
    [row] = [line for line in lines if line.startswith("ntu60_2d ")]
    assert row.split()[2:4] == ["no", "xsub_val"]


def test_class_names_that_have_no_end(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too long for a list of 51 names"):
        read_class_names(Path("/dev/zero"), 51)
    path = tmp_path / "names"
    path.write_text("".join(f"{n:999}\r\n" for n in range(51)), newline="")
    assert read_class_names(path, 51) == tuple(map(str, range(51)))
