"""Dialects: what a config's test pipeline means, in mmaction2 0.x, mmaction2 1.x and pyskl.

Comes in: the variables of a config (`converters.config`). Goes out: the `Recipe`. A step or a key
that is not known here is refused by name: what it would change is not computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from engine.base.constants import LEFT_JOINTS, LEFT_LIMBS, LIMBS, RIGHT_JOINTS, RIGHT_LIMBS
from engine.base.errors import ModelError
from engine.base.recipe import COCO_TWINS, Recipe, exchanged

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
    """The recipe of a config's ``test_pipeline``; HMDB51's where it has none. Raises
    `ModelError`."""
    if "test_pipeline" not in values:
        return Recipe()
    try:
        return _recipe(values["test_pipeline"])
    except (ModelError, TypeError, ValueError) as error:
        raise ModelError(f"config {path}: {error}") from None


def _recipe(steps: Any) -> Recipe:
    if not isinstance(steps, list) or not all(isinstance(step, Mapping) for step in steps):
        raise ModelError("test_pipeline is not a plain list of dicts")
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
        raise ModelError(f"{name} has unknown {', '.join(sorted(map(str, unknown)))}")
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
    joints = exchanged(17, given["left_kp"], given["right_kp"])
    found: dict[str, Any] = {"sigma": given["sigma"], "flip": flip, "twins": joints}
    if given["with_limb"]:
        found["limbs"] = tuple((int(one), int(other)) for one, other in given["skeletons"])
        if flip == "mirror":
            count = len(found["limbs"])
            found["twins"] = exchanged(count, given["left_limb"], given["right_limb"])
    if flip is None:
        found["twins"] = COCO_TWINS
    return found


def _kept(given: Mapping[str, Any] | None) -> int:
    """Persons of a compressed annotation."""
    if given is None:
        return 0
    _only("DecompressPose", given, squeeze=True)
    return int(given["max_person"])
