"""Dialects: what a config's test pipeline means, in mmaction2 0.x, mmaction2 1.x and pyskl.

Comes in: the variables of a config (`converters.config`). Goes out: the `Recipe`. A step or a key
that is not known here is refused by name: what it would change is not computed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from converters.config import unknown_keys
from converters.evaluation import test_datasets
from converters.variables import Unreadable, first_unreadable
from engine.base.constants import LEFT_JOINTS, LEFT_LIMBS, LIMBS, RIGHT_JOINTS, RIGHT_LIMBS
from engine.base.errors import ModelError
from engine.base.recipe import COCO_TWINS, Limb, Recipe, exchanged

log = logging.getLogger("engine")

_REQUIRED: Final = object()
_MOST_PERSONS: Final = 10

# The keys that a step may have, and their defaults. Those that change no number stand below.
_STEPS: Final[dict[str, dict[str, Any]]] = {
    "DecompressPose": {"squeeze": True, "max_person": _MOST_PERSONS},
    "UniformSampleFrames": {
        "clip_len": _REQUIRED,
        "num_clips": 1,
        "test_mode": False,
        "seed": 255,
        "p_interval": 1,
    },
    "PoseDecode": {},
    "PoseCompact": {
        "padding": 0.25,
        "threshold": 10,
        "hw_ratio": None,
        "allow_imgpad": True,
    },
    "Resize": {"scale": _REQUIRED, "keep_ratio": True},
    "CenterCrop": {"crop_size": _REQUIRED},
    "GeneratePoseTarget": {
        "sigma": 0.6,
        "use_score": True,
        "with_kp": True,
        "with_limb": False,
        "skeletons": LIMBS,
        "double": False,
        "left_kp": LEFT_JOINTS,
        "right_kp": RIGHT_JOINTS,
        "left_limb": LEFT_LIMBS,
        "right_limb": RIGHT_LIMBS,
        "scaling": 1.0,
    },
}
_OF_VIDEO: Final = {
    *("MMUniformSampleFrames", "MMDecode", "MMCompact", "SampleFrames", "RawFrameDecode"),
    *("DecordInit", "DecordDecode", "PyAVInit", "PyAVDecode", "OpenCVInit", "OpenCVDecode"),
}
_ALIASES: Final = {"UniformSample": "UniformSampleFrames"}
_PACKING: Final = {"FormatShape", "Collect", "ToTensor", "PackActionInputs"}  # change no number
_WITHOUT_EFFECT: Final = {  # on the numbers
    "Resize": {"interpolation"},
}
_ORDER: Final = tuple(_STEPS)


@dataclass(frozen=True)
class Dialect:
    """Whose config it is, and what its steps leave unsaid."""

    name: str
    flip: str
    values: dict[str, Any] = field(default_factory=dict)


OLD: Final = Dialect("mmaction2 0.x", "redraw")
NEW: Final = Dialect("mmaction2 1.x", "mirror", {"precision": "float32"})
PYSKL: Final = Dialect(
    "pyskl", "mirror", {"precision": "float32", "sampler": "pyskl", "threshold": 1e-3}
)


def dialect_of(steps: Sequence[Mapping[str, Any]]) -> Dialect:
    """Whose a test pipeline is, by how it ends."""
    if any(step.get("type") == "PackActionInputs" for step in steps):
        return NEW
    formats = [step.get("input_format") for step in steps if step.get("type") == "FormatShape"]
    return PYSKL if "NCTHW_Heatmap" in formats else OLD


def recipe_of(values: Mapping[str, Any], path: Path) -> Recipe:
    """The recipe that a config tests by: that of the data set, else of ``test_pipeline``. HMDB51's,
    with a warning, where there is no more than a network. Raises `ModelError`."""
    try:
        found = _pipeline(values)
        if found is None:
            log.warning(
                "config %s: neither a test data set nor a test_pipeline; taken with the recipe of "
                "HMDB51 and mmaction2 0.24.1",
                path,
            )
            return Recipe()
        place, pipeline = found
        recipe = _recipe(place, pipeline)
        if values.get("test_pipeline", pipeline) != pipeline:
            log.warning(
                "config %s: test_pipeline is not what %s is, which decides, as in mmaction2",
                path,
                place,
            )
        return recipe
    except (ModelError, TypeError, ValueError) as error:
        raise ModelError(f"config {path}: {error}") from None


def _pipeline(values: Mapping[str, Any]) -> tuple[str, Any] | None:
    """Where the test pipeline is, and the pipeline. None where nothing says how data are read."""
    found: list[tuple[str, Any]] = []
    for place, dataset in test_datasets(values):
        if isinstance(dataset, Unreadable):
            raise ModelError(f"{place} {dataset}")
        if not isinstance(dataset, Mapping) or "pipeline" not in dataset:
            raise ModelError(f"{place} has no pipeline, which would say what the network is given")
        found.append((f"{place}.pipeline", dataset["pipeline"]))
    if not found and "test_pipeline" in values:
        return "test_pipeline", values["test_pipeline"]
    for place, pipeline in found[1:]:
        if pipeline != found[0][1]:
            raise ModelError(f"{found[0][0]} and {place} differ; a network has one input")
    if not found and (others := [name for name in values if _reads_data(name)]):
        raise ModelError(
            f"neither test_dataloader.dataset, nor data.test, nor test_pipeline, but "
            f"{', '.join(others)}: nothing says what the network is given where it is tested; "
            "write test_pipeline"
        )
    return found[0] if found else None


def _reads_data(name: str) -> bool:
    return name == "data" or name.endswith(("pipeline", "_dataloader"))


def _recipe(place: str, steps: Any) -> Recipe:
    if isinstance(steps, Unreadable):
        raise ModelError(f"{place} {steps}")
    if not isinstance(steps, list):
        raise ModelError(f"{place} is not a list of dicts")
    for number, step in enumerate(steps):
        kind = step.get("type") if isinstance(step, Mapping) else step
        if isinstance(kind, Unreadable):
            raise ModelError(f"{place}[{number}] {kind}")
        if not isinstance(step, Mapping):
            raise ModelError(f"{place}[{number}] is {step!r:.60}, not a dict")
    if pictures := [name for name in (str(s.get("type")) for s in steps) if name in _OF_VIDEO]:
        raise ModelError(
            f"test pipeline has {', '.join(pictures)}: this network needs video, and the engine "
            "computes from poses alone"
        )
    dialect = dialect_of(steps)
    names = [_ALIASES.get(str(step.get("type")), str(step.get("type"))) for step in steps]
    given = {
        name: _arguments(name, step)
        for name, step in zip(names, steps, strict=True)
        if name not in _PACKING
    }
    numeric = [name for name in names if name not in _PACKING]
    if (
        numeric != [name for name in _ORDER if name in given]
        or not {
            "UniformSampleFrames",
            "PoseDecode",
            "PoseCompact",
            "Resize",
            "GeneratePoseTarget",
        }
        <= given.keys()
    ):
        raise ModelError(
            f"test pipeline {' '.join(numeric)}; the engine computes {' '.join(_ORDER)}, of which "
            "DecompressPose and CenterCrop may be absent"
        )
    return Recipe(
        **dialect.values,
        **_sampled(given["UniformSampleFrames"], dialect),
        **_compacted(given["PoseCompact"]),
        **_resized(given["Resize"], given.get("CenterCrop")),
        **_drawn(given["GeneratePoseTarget"], dialect),
        most=_kept(given.get("DecompressPose")),
    )


def _arguments(name: str, step: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a step, defaults included."""
    if name not in _STEPS:
        known = ", ".join([*_STEPS, *sorted(_PACKING)])
        raise ModelError(f"test pipeline has {name}; known are {known}")
    defaults = _STEPS[name]
    found = {key: value for key, value in step.items() if key != "type"}
    unknown = found.keys() - defaults.keys() - _WITHOUT_EFFECT.get(name, set())
    if unknown:
        raise ModelError(unknown_keys(name, unknown, defaults))
    for key, value in found.items():
        if unreadable := first_unreadable(value):
            raise ModelError(f"{name}.{key} {unreadable}")
    arguments = {**defaults, **found}
    for key, value in arguments.items():
        if value is _REQUIRED:
            raise ModelError(f"{name} has no {key}")
    return arguments


def _only(name: str, given: Mapping[str, Any], **wanted: Any) -> None:
    """Raise `ModelError` for another value than those that are computed."""
    for key, value in wanted.items():
        if given[key] != value:
            raise ModelError(
                f"test pipeline {name} has {key}={given[key]!r:.60}; the engine computes "
                f"{key}={value!r} only"
            )


def _sampled(given: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    if dialect is not PYSKL:  # which knows by itself that it tests
        _only("UniformSampleFrames", given, test_mode=True)
    if given["p_interval"] not in (1, (1, 1), [1, 1]):
        _only("UniformSampleFrames", given, p_interval=1)
    return {"length": given["clip_len"], "clips": given["num_clips"], "seed": given["seed"]}


def _compacted(given: Mapping[str, Any]) -> dict[str, Any]:
    ratio = given["hw_ratio"]
    if ratio not in (1, (1, 1), [1, 1]):
        _only("PoseCompact", given, hw_ratio=1.0)
    _only("PoseCompact", given, allow_imgpad=True)
    return {"padding": given["padding"], "least_box": given["threshold"]}


def _resized(given: Mapping[str, Any], crop: Mapping[str, Any] | None) -> dict[str, Any]:
    scale, size = given["scale"], None if crop is None else crop["crop_size"]
    pair = tuple(scale) if isinstance(scale, (list, tuple)) else (scale, scale)
    if given["keep_ratio"] is False and crop is None and len(pair) == 2 and pair[0] == pair[1]:
        return {"size": pair[0], "fit": "stretch"}
    if given["keep_ratio"] is True and size is not None and pair == (-1, size):
        return {"size": size, "fit": "crop"}
    raise ModelError(
        f"test pipeline resizes to {scale!r:.60} with keep_ratio={given['keep_ratio']!r} and crops "
        f"{size!r:.60}; the engine computes (-1, S) and CenterCrop S, or (S, S) with "
        "keep_ratio=False and no crop"
    )


def _drawn(given: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    name = "GeneratePoseTarget"
    _only(name, given, use_score=True, scaling=1.0)
    if bool(given["with_kp"]) == bool(given["with_limb"]):
        raise ModelError(
            f"test pipeline {name} has with_kp={given['with_kp']!r} and "
            f"with_limb={given['with_limb']!r}; one of them is needed"
        )
    flip = dialect.flip if given["double"] else None
    joints = exchanged(17, _numbers(given, "left_kp"), _numbers(given, "right_kp"))
    found: dict[str, Any] = {"sigma": given["sigma"], "flip": flip, "twins": joints}
    if given["with_limb"]:
        found["limbs"] = _limbs(given["skeletons"])
        if flip == "mirror":
            count = len(found["limbs"])
            sides = _numbers(given, "left_limb"), _numbers(given, "right_limb")
            found["twins"] = exchanged(count, *sides)
    if flip is None:
        found["twins"] = COCO_TWINS
    return found


def _numbers(given: Mapping[str, Any], key: str) -> Sequence[int]:
    found = given[key]
    if isinstance(found, (list, tuple)) and all(type(one) is int for one in found):
        return found
    raise ModelError(f"GeneratePoseTarget.{key} is {found!r:.60}; a list of numbers is needed")


def _limbs(found: Any) -> tuple[Limb, ...]:
    if not isinstance(found, (list, tuple)):
        raise ModelError(f"GeneratePoseTarget.skeletons is {found!r:.60}, no list of limbs")
    for limb in found:
        pair = isinstance(limb, (list, tuple)) and len(limb) == 2
        if not pair or not all(type(joint) is int for joint in limb):
            raise ModelError(
                f"GeneratePoseTarget.skeletons has {limb!r:.40}; a limb is a pair of joints"
            )
    return tuple((one, other) for one, other in found)


def _kept(given: Mapping[str, Any] | None) -> Any:
    """Persons of a compressed annotation; `Recipe` checks the number."""
    if given is None:
        return 0
    _only("DecompressPose", given, squeeze=True)
    return given["max_person"]
