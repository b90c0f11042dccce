"""What is published: benchmarks, their annotation files, and checkpoints of PoseC3D.

Facts from mmaction2 0.24.1 and 1.2.0 and from pyskl: addresses, digests, what the network and the
input of a checkpoint are, and what accuracy its authors report. Nothing here is downloaded unless a
run names it (`engine.base.assets`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from engine.base.assets import DEMO, Asset
from engine.base.constants import HMDB51, LEFT_LIMBS, LIMBS, RIGHT_LIMBS
from engine.base.errors import UsageError
from engine.base.recipe import HMDB51_RECIPE, Limb, Recipe, exchanged

Metric = Literal["top1_acc", "mean_class_accuracy"]
_LONGEST: Final = 1000  # characters of a class's line, on average
Network = Literal["slowonly-346", "slowonly-463", "slowonly-463-long", "c3d-light", "x3d-shallow"]


@dataclass(frozen=True)
class Benchmark:
    """What scores are compared on. `metric`: what its authors report. `names`: the file with the
    names of its classes, the first `count` of them."""

    name: str
    count: int
    names: str = ""
    metric: Metric = "top1_acc"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by label."""
        if not self.names:
            return HMDB51
        lines = (Path(__file__).parent / "classes" / self.names).read_text(encoding="utf-8")
        return tuple(lines.splitlines()[: self.count])


@dataclass(frozen=True, kw_only=True)
class Annotations(Asset):
    """An annotation file. `benchmark`: its name."""

    benchmark: str


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Asset):
    """Weights. `network` and `recipe`: what they are of. `dataset`, `split`: what they are
    tested on (no split where the file has none); `accuracy`: as published, of the benchmark's
    metric, percent."""

    benchmark: str
    network: Network
    recipe: Recipe
    dataset: str
    split: str | None
    accuracy: float


BENCHMARKS: Final = {
    one.name: one
    for one in (
        Benchmark("hmdb51", 51),
        Benchmark("ucf101", 101, "ucf101.txt"),
        Benchmark("ntu60", 60, "ntu120.txt"),  # its classes are the first of NTU120's
        Benchmark("ntu120", 120, "ntu120.txt"),
        Benchmark("gym99", 99, "gym99.txt", "mean_class_accuracy"),
        Benchmark("diving48", 48, "diving48.txt"),
        Benchmark("k400", 400, "k400.txt"),
    )
}


def read_class_names(path: Path, count: int) -> tuple[str, ...]:
    """Names of so many classes, one a line in a file. Raises `UsageError`."""
    try:
        with path.open(encoding="utf-8") as file:
            lines = file.read(count * _LONGEST).split("\n")
            if file.read(1):
                raise UsageError(f"--classes {path}: too long for a list of {count} names")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--classes {path}: {error}") from None
    names = tuple(stripped for line in lines if (stripped := line.strip()))
    if len(names) != count:
        raise UsageError(f"--classes {path}: {len(names)} names for a network of {count} classes")
    return names


def benchmark_of(classes: Sequence[str]) -> Benchmark | None:
    """Whose classes these are, in this order."""
    for benchmark in BENCHMARKS.values():
        if benchmark.count == len(classes) and benchmark.classes == tuple(classes):
            return benchmark
    return None


def other_classes(dataset: str, classes: Sequence[str]) -> str | None:
    """The first class of a published data set, or of the demo's, that is another one in a model, in
    words. None where the classes are the same, or where the names of one side are not known
    (``class_N``); what only one of them has behind the other's last is no difference."""
    if dataset != DEMO and dataset not in DATASETS:
        return None
    benchmark = BENCHMARKS["hmdb51" if dataset == DEMO else DATASETS[dataset].benchmark]
    for number, (ours, theirs) in enumerate(zip(benchmark.classes, classes, strict=False)):
        if theirs != f"class_{number}" and _plain(ours) != _plain(theirs):
            return f"class {number} is {ours!r} in {dataset} and {theirs!r:.60} in the model"
    return None


def _plain(name: str) -> str:
    """A name less what spellings differ in: ``brush_hair``, ``Brush hair``."""
    return "".join(filter(str.isalnum, name.casefold()))


_SITE: Final = "https://download.openmmlab.com/mmaction"
_KPFILES: Final = {
    "k400_2d": "the skeletons, the folder kpfiles (k400_kpfiles_2d.zip of "
    "https://openxlab.org.cn/datasets/OpenMMLab/Kinetics400-skeleton)",
    "k400_hrnet": "the skeletons, the folder kpfiles (its address is in "
    "https://github.com/kennymckormick/pyskl/blob/main/tools/data/README.md)",
}
"""What two tables of contents are nothing without."""


def _annotations() -> Iterator[Annotations]:
    """Of mmaction2 0.x (a file a split, or with splits), of 1.x and of pyskl."""
    for name, benchmark in (
        ("hmdb51", "hmdb51"),
        ("ucf101", "ucf101"),
        ("gym_val", "gym99"),
        ("gym_train", "gym99"),
        ("ntu60_xsub_val", "ntu60"),
        ("ntu60_xsub_train", "ntu60"),
        ("ntu120_xsub_val", "ntu120"),
        ("ntu120_xsub_train", "ntu120"),
    ):
        yield Annotations(name, f"{name}.pkl", f"{_SITE}/posec3d/{name}.pkl", benchmark=benchmark)
    for stem, folder, benchmark in (
        ("hmdb51", "hmdb51", "hmdb51"),
        ("ucf101", "ucf101", "ucf101"),
        ("ntu60", "nturgbd", "ntu60"),
        ("ntu120", "nturgbd", "ntu120"),
        ("gym", "gym", "gym99"),
        ("diving48", "diving48", "diving48"),
        ("k400", "k400", "k400"),
    ):
        for name, address in (
            (f"{stem}_2d", f"v1.0/skeleton/data/{stem}_2d.pkl"),
            (f"{stem}_hrnet", f"pyskl/data/{folder}/{stem}_hrnet.pkl"),
        ):
            url = f"{_SITE}/{address}"
            beside = _KPFILES.get(name, "")
            yield Annotations(name, f"{name}.pkl", url, beside=beside, benchmark=benchmark)


DATASETS: Final = {one.name: one for one in _annotations()}
"""Annotation files by name; a name is that of the file."""

# What a configuration draws. Limbs as most of them list them, and as pyskl's own default does.
_LISTED: Final[tuple[Limb, ...]] = (
    *((0, 5), (0, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (11, 13), (13, 15)),
    *((6, 12), (12, 14), (14, 16), (0, 1), (0, 2), (1, 3), (2, 4), (11, 12)),
)
_LISTED_TWINS: Final = exchanged(17, (0, 2, 3, 6, 7, 8, 12, 14), (1, 4, 5, 9, 10, 11, 13, 15))
_DRAWN: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    # what is drawn, and by what its mirror image is made
    "joints": ({}, {}),
    "limbs": ({"limbs": _LISTED}, {"twins": _LISTED_TWINS}),
    "default limbs": ({"limbs": LIMBS}, {"twins": exchanged(17, LEFT_LIMBS, RIGHT_LIMBS)}),
}
_MIRRORED: Final[dict[str, Any]] = {"flip": "mirror", "precision": "float32"}
_PYSKL: Final[dict[str, Any]] = {
    **_MIRRORED,
    "sampler": "pyskl",
    "threshold": 1e-3,
    "fit": "stretch",
}

_346: Final[Network] = "slowonly-346"
_463: Final[Network] = "slowonly-463"


def _of_0x() -> Iterator[Checkpoint]:
    """Of mmaction2 0.24.1. Its NTU120 limbs name NTU60's annotations; their weights have 120
    classes."""
    k400 = "slowonly_kinetics400_pretrained_r50_u48_120e"
    own = "slowonly_r50_u48_240e"
    for config, digest, benchmark, dataset, split, accuracy in (
        (f"{k400}_hmdb51_split1_keypoint", "76ffdd8b", "hmdb51", "hmdb51", "test1", 69.3),
        (f"{k400}_ucf101_split1_keypoint", "cae8aa4a", "ucf101", "ucf101", "test1", 87.0),
        (f"{own}_gym_keypoint", "b07a98a0", "gym99", "gym_val", None, 93.7),
        (f"{own}_gym_limb", "c0d7b482", "gym99", "gym_val", None, 94.0),
        (f"{own}_ntu60_xsub_keypoint", "f3adabf1", "ntu60", "ntu60_xsub_val", None, 93.7),
        (f"{own}_ntu60_xsub_limb", "1d69006a", "ntu60", "ntu60_xsub_val", None, 93.4),
        (f"{own}_ntu120_xsub_keypoint", "6736b03f", "ntu120", "ntu120_xsub_val", None, 86.3),
        (f"{own}_ntu120_xsub_limb", "803c2317", "ntu120", "ntu120_xsub_val", None, 85.7),
    ):
        drawn, _ = _DRAWN["limbs" if config.endswith("limb") else "joints"]
        small = config.startswith(k400)
        recipe = HMDB51_RECIPE if small else Recipe(size=64, **drawn)
        file = f"{config}-{digest}.pth"
        url = f"{_SITE}/skeleton/posec3d/{config}/{file}"
        network = _346 if small else _463
        yield Checkpoint(
            config,
            file,
            url,
            digest,
            benchmark=benchmark,
            network=network,
            recipe=recipe,
            dataset=dataset,
            split=split,
            accuracy=accuracy,
        )


def _of_1x() -> Iterator[Checkpoint]:
    """Of mmaction2 1.2.0."""
    k400 = "slowonly_kinetics400-pretrained-r50_8xb16-u48-120e"
    own = "slowonly_r50_8xb16-u48-240e"
    for config, version, benchmark, split, accuracy in (
        (f"{k400}_hmdb51-split1-keypoint", "20220815-17eaa484", "hmdb51", "test1", 69.6),
        (f"{k400}_ucf101-split1-keypoint", "20220815-9972260d", "ucf101", "test1", 86.8),
        (f"{own}_gym-keypoint", "20220815-da338c58", "gym99", "val", 93.5),
        (f"{own}_gym-limb", "20220815-2e6e3c5c", "gym99", "val", 93.6),
        (f"{own}_ntu60-xsub-keypoint", "20220815-38db104b", "ntu60", "xsub_val", 93.6),
        (f"{own}_ntu60-xsub-limb", "20220815-af2f119a", "ntu60", "xsub_val", 93.5),
        ("slowonly_r50_8xb32-u48-240e_k400-keypoint", "20230731-7f498b55", "k400", "val", 47.4),
        ("rgbpose_conv3d/pose_only", "20230228-fa40054e", "ntu60", "xsub_val", 93.5),
    ):
        drawn, mirrored = _DRAWN["limbs" if config.endswith("limb") else "joints"]
        recipe, network = Recipe(size=64, **drawn, **_MIRRORED, **mirrored), _463
        folder, _, name = config.rpartition("/")
        if config.startswith(k400):
            recipe, network = replace(recipe, size=56), _346
        elif benchmark == "k400":
            recipe, network = replace(recipe, fit="stretch", most=10), _346
        elif folder:
            recipe = replace(recipe, fit="stretch", length=32, flip=None)
            network = "slowonly-463-long"
        file = f"{name}_{version}.pth"
        url = f"{_SITE}/v1.0/skeleton/posec3d/{folder or config}/{file}"
        digest = version.rpartition("-")[2]
        dataset = f"{benchmark.removesuffix('99')}_2d"
        yield Checkpoint(
            config,
            file,
            url,
            digest,
            benchmark=benchmark,
            network=network,
            recipe=recipe,
            dataset=dataset,
            split=split,
            accuracy=accuracy,
        )


def _of_pyskl() -> Iterator[Checkpoint]:
    """Of pyskl, which publishes no digests. NTU120's ``joint`` draws limbs there."""
    networks: tuple[tuple[str, Network, str, str, float, float], ...] = (
        ("slowonly_r50_ntu60_xsub", _463, "ntu60", "xsub_val", 93.7, 93.4),
        ("slowonly_r50_ntu60_xview", _463, "ntu60", "xview_val", 96.5, 96.0),
        ("slowonly_r50_ntu120_xsub", _463, "ntu120", "xsub_val", 85.9, 85.9),
        ("slowonly_r50_ntu120_xset", _463, "ntu120", "xset_val", 89.7, 89.7),
        ("slowonly_r50_gym", _463, "gym99", "val", 93.8, 93.8),
        ("slowonly_r50_346_k400", _346, "k400", "val", 47.3, 46.9),
        ("slowonly_r50_463_k400", _463, "k400", "val", 46.6, 45.7),
        ("c3d_light_ntu60_xsub", "c3d-light", "ntu60", "xsub_val", 92.7, 92.6),
        ("c3d_light_gym", "c3d-light", "gym99", "val", 91.8, 91.2),
        ("x3d_shallow_ntu60_xsub", "x3d-shallow", "ntu60", "xsub_val", 92.1, 91.6),
        ("x3d_shallow_gym", "x3d-shallow", "gym99", "val", 91.4, 90.0),
    )
    for folder, network, benchmark, split, *accuracies in networks:
        for stream, accuracy in zip(("joint", "limb"), accuracies, strict=True):
            kind = "limbs" if stream == "limb" else "joints"
            if benchmark == "ntu120" and stream == "joint":
                kind = "default limbs"
            recipe = _pyskl_recipe(kind, most=10 if benchmark == "k400" else 0)
            yield _pyskl(f"{folder}/{stream}", network, recipe, benchmark, split, accuracy)
    joints, small = _pyskl_recipe("joints"), _pyskl_recipe("joints", size=56)
    for name, network, recipe, benchmark, split, accuracy in (
        ("slowonly_r50_diving48/joint", _463, joints, "diving48", "test", 54.5),
        ("slowonly_r50_hmdb51_k400p/s1_joint", _346, small, "hmdb51", "test1", 69.4),
        ("slowonly_r50_ucf101_k400p/s1_joint", _346, small, "ucf101", "test1", 86.9),
    ):
        yield _pyskl(name, network, recipe, benchmark, split, accuracy)
    alone = replace(joints, flip=None, length=32, clips=1)
    one = _pyskl("rgbpose_conv3d/pose_only", "slowonly-463-long", alone, "ntu60", "xsub_val", 92.9)
    yield replace(one, url=f"{_SITE}/pyskl/ckpt/rgbpose_conv3d/pose_only.pth")


def _pyskl_recipe(kind: str, **more: Any) -> Recipe:
    drawn, mirrored = _DRAWN[kind]
    return Recipe(**{"size": 64, **_PYSKL, **drawn, **mirrored, **more})


def _pyskl(
    name: str,
    network: Network,
    recipe: Recipe,
    benchmark: str,
    split: str,
    accuracy: float,
) -> Checkpoint:
    file = f"{name.replace('/', '-')}.pth"  # all of them are called joint.pth or limb.pth
    url = f"{_SITE}/pyskl/ckpt/posec3d/{name}.pth"
    dataset = f"{benchmark.removesuffix('99')}_hrnet"
    return Checkpoint(
        f"pyskl/{name}",
        f"pyskl-{file}",
        url,
        benchmark=benchmark,
        network=network,
        recipe=recipe,
        dataset=dataset,
        split=split,
        accuracy=accuracy,
    )


CHECKPOINTS: Final = {one.name: one for one in (*_of_0x(), *_of_1x(), *_of_pyskl())}
"""Checkpoints by the names of their configurations."""

DEFAULT_CHECKPOINT: Final = next(iter(CHECKPOINTS))


def config_of(config: str) -> str:
    """A name or a file of a config, as it was given; where there is no such file and its name is
    that of a published config, the latter, for which no file is needed."""
    path = Path(config)
    if path.suffix != ".py" or path.stem not in CHECKPOINTS or path.is_file():
        return config
    return path.stem


def checkpoint_of(sha256: str) -> Checkpoint | None:
    """The published checkpoint with this digest, hex."""
    for one in CHECKPOINTS.values():
        if one.sha256 and sha256.startswith(one.sha256):
            return one
    return None


def checkpoint_for(dataset: str) -> Checkpoint:
    """The first that is tested on a data set, or on pyskl's edition of it, or on its benchmark."""
    benchmark, other = DATASETS[dataset].benchmark, dataset.replace("_2d", "_hrnet")

    def rank(one: Checkpoint) -> tuple[bool, bool, bool]:
        return one.dataset != dataset, one.dataset != other, one.benchmark != benchmark

    return min(CHECKPOINTS.values(), key=rank)
